//! The configuration file: loaded whole or not at all.

use crate::document::{Fields, FromNode, Node, Place, Problems, parse, sha256_hex};
use crate::policy::{Disruption, Mode, Window};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where the metrics page listens if nothing is set: loopback, so that nothing is shown to the network by accident.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9797";

/// The settings as they are in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where they come from, for messages.
    pub origin: Arc<str>,
    /// SHA-256 of the text, for the audit log.
    pub digest: Arc<str>,
    /// The node's own settings, for standalone.
    pub node: NodeSettings,
    /// The highest mode and class that this configuration allows, whatever the node's own settings say.
    pub ceiling: Ceiling,
    /// Windows in which disruptive runs may start.
    pub windows: Vec<Window>,
    /// Attempts per signature.
    pub attempts: Attempts,
    /// Where more signatures are.
    pub signatures_dir: Option<PathBuf>,
    /// Where more playbooks are.
    pub playbooks_dir: Option<PathBuf>,
    /// Who is trusted to sign playbooks, besides the pinned release keys.
    pub trust: Trust,
    /// Files with certificates, and directories of such; empty for the usual places.
    pub certificates: Vec<PathBuf>,
    /// Where the metrics page listens.
    pub listen: SocketAddr,
}

/// The node's own settings: `node:`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSettings {
    /// Its name; else the host name.
    pub name: Option<String>,
    /// How far the agent may go.
    pub mode: Mode,
    /// The highest class that it may use.
    pub allow: Disruption,
    /// Why nothing may start, if so.
    pub pause: Option<String>,
}

/// The most that a node's own settings may ask for: `limits:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Highest mode.
    pub mode: Mode,
    /// Highest class.
    pub allow: Disruption,
}

/// Attempts per signature: `attempts:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How many.
    pub max: u32,
    /// In which span.
    pub span: Duration,
    /// How long to wait between two.
    pub cooldown: Duration,
}

/// Who is trusted to sign playbooks: `trust:`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Names and public keys.
    pub keys: Vec<(String, String)>,
    /// Digests of unsigned playbooks that may run all the same.
    pub digests: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origin: Arc::from("built-in defaults"),
            digest: Arc::from(sha256_hex(b"").as_str()),
            node: NodeSettings::default(),
            ceiling: Ceiling {
                mode: Mode::Auto,
                allow: Disruption::Reboot,
            },
            windows: Vec::new(),
            attempts: Attempts {
                // safety.md, I10.
                max: 3,
                span: Duration::from_secs(86_400),
                cooldown: Duration::from_secs(600),
            },
            signatures_dir: None,
            playbooks_dir: None,
            trust: Trust::default(),
            certificates: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9797)),
        }
    }
}

/// I10 is an upper bound; an operator may only go below it.
const MOST_ATTEMPTS: u32 = 3;

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Problems> {
        let mut config = Config {
            origin: Arc::from(origin),
            digest: Arc::from(sha256_hex(text.as_bytes()).as_str()),
            ..Config::default()
        };
        if is_blank(text) {
            return Ok(config);
        }
        let node = parse(origin, text)?;
        let mut problems = Problems::of(origin);
        if let Some(mut fields) = Fields::of(&node, "the configuration", &mut problems) {
            config.read(&mut fields, &mut problems);
            fields.finish(&mut problems);
        }
        problems.into_result(Some(config))
    }

    fn read(&mut self, fields: &mut Fields<'_>, problems: &mut Problems) {
        if let Some(node) = fields.node("node") {
            self.read_node(node, problems);
        }
        if let Some(node) = fields.node("limits")
            && let Some(mut limits) = Fields::of(node, "`limits`", problems)
        {
            self.ceiling.mode = word_or(&mut limits, "mode", self.ceiling.mode, problems);
            self.ceiling.allow = word_or(&mut limits, "allow", self.ceiling.allow, problems);
            limits.finish(problems);
        }
        self.windows = fields.or_default("windows", problems);
        if let Some(node) = fields.node("attempts") {
            self.read_attempts(node, problems);
        }
        self.signatures_dir = read_dir(fields, "signatures", "`signatures`", problems);
        self.playbooks_dir = read_dir(fields, "playbooks", "`playbooks`", problems);
        if let Some(node) = fields.node("trust") {
            self.trust = read_trust(node, problems).unwrap_or_default();
        }
        if let Some(node) = fields.node("certificates") {
            self.certificates = read_certificates(node, problems).unwrap_or_default();
        }
        if let Some(node) = fields.node("listen")
            && let Some(text) = String::from_node(node, problems)
        {
            match text.parse() {
                Ok(address) => self.listen = address,
                Err(_) => problems.add(
                    node.place,
                    format!("`{text}` is no address; write it like {DEFAULT_LISTEN} or [::1]:9797"),
                ),
            }
        }
    }

    fn read_node(&mut self, node: &Node, problems: &mut Problems) {
        let Some(mut fields) = Fields::of(node, "`node`", problems) else {
            return;
        };
        self.node.name = fields.optional("name", problems);
        self.node.mode = word_or(&mut fields, "mode", Mode::Observe, problems);
        self.node.allow = word_or(&mut fields, "allow", Disruption::None, problems);
        self.node.pause = fields.optional("pause", problems);
        fields.finish(problems);
    }

    fn read_attempts(&mut self, node: &Node, problems: &mut Problems) {
        let Some(mut fields) = Fields::of(node, "`attempts`", problems) else {
            return;
        };
        let place = fields.node("max").map_or(fields.place(), |node| node.place);
        self.attempts.max = fields
            .optional("max", problems)
            .unwrap_or(self.attempts.max);
        self.attempts.span = fields
            .optional("in", problems)
            .unwrap_or(self.attempts.span);
        self.attempts.cooldown = fields
            .optional("cooldown", problems)
            .unwrap_or(self.attempts.cooldown);
        if self.attempts.max > MOST_ATTEMPTS {
            problems.add(place, format!("`max` is at most {MOST_ATTEMPTS}: more attempts hide what only a person can mend"));
        }
        if self.attempts.span < Duration::from_secs(86_400) {
            problems.add(
                fields.place(),
                "`in` is at least 24h: a shorter span allows more attempts a day",
            );
        }
        fields.finish(problems);
    }
}

fn is_blank(text: &str) -> bool {
    text.lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn word_or<T: FromStr<Err = crate::policy::UnknownWord>>(
    fields: &mut Fields<'_>,
    name: &'static str,
    default: T,
    problems: &mut Problems,
) -> T {
    let Some(node) = fields.node(name) else {
        return default;
    };
    let Some(text) = String::from_node(node, problems) else {
        return default;
    };
    match text.parse() {
        Ok(value) => value,
        Err(error) => {
            problems.add(node.place, error.to_string());
            default
        }
    }
}

fn read_dir(
    fields: &mut Fields<'_>,
    name: &'static str,
    what: &'static str,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let node = fields.node(name)?;
    let mut inner = Fields::of(node, what, problems)?;
    let dir: Option<String> = inner.required("dir", problems);
    let place = inner.node("dir").map(|node| node.place).unwrap_or_default();
    inner.finish(problems);
    let dir = PathBuf::from(dir?);
    if !dir.is_absolute() {
        problems.add(
            place,
            format!("`dir: {}` must be an absolute path", dir.display()),
        );
        return None;
    }
    Some(dir)
}

fn read_certificates(node: &Node, problems: &mut Problems) -> Option<Vec<PathBuf>> {
    let mut fields = Fields::of(node, "`certificates`", problems)?;
    let texts: Vec<String> = fields.or_default("paths", problems);
    let place = fields.node("paths").map_or(node.place, |node| node.place);
    fields.finish(problems);
    let paths: Vec<PathBuf> = texts.iter().map(PathBuf::from).collect();
    for path in paths.iter().filter(|path| !path.is_absolute()) {
        let text = format!("`{}` must be an absolute path", path.display());
        problems.add(place, text);
    }
    Some(paths)
}

fn read_trust(node: &Node, problems: &mut Problems) -> Option<Trust> {
    let mut fields = Fields::of(node, "`trust`", problems)?;
    let mut trust = Trust::default();
    for key in fields.or_default::<Vec<TrustedKey>>("keys", problems) {
        trust.keys.push((key.name, key.key));
    }
    let place = fields
        .node("digests")
        .map_or_else(Place::default, |node| node.place);
    for digest in fields.or_default::<Vec<String>>("digests", problems) {
        if digest.len() == 64
            && digest
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            trust.digests.push(digest);
        } else {
            problems.add(place, format!("`{digest}` is no digest: 64 lower-case hexadecimal digits, as `playbook show` prints them"));
        }
    }
    fields.finish(problems);
    Some(trust)
}

struct TrustedKey {
    name: String,
    key: String,
}

impl FromNode for TrustedKey {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a trusted key", problems)?;
        let name = fields.required("name", problems);
        let key = fields.required("key", problems);
        fields.finish(problems);
        Some(Self {
            name: name?,
            key: key?,
        })
    }
}

impl FromNode for Window {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        match Window::parse(&text, |name| jiff::tz::TimeZone::get(name).ok()) {
            Ok(window) => Some(window),
            Err(error) => {
                problems.add(node.place, error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "\
# everything
node: { name: node-7, mode: auto, allow: restart, pause: maintenance }
limits: { mode: approve, allow: restart }
windows: [\"Sun 02:00-04:00 UTC\"]
attempts: { max: 2, in: 48h, cooldown: 20m }
signatures: { dir: /etc/nodemend/signatures }
playbooks: { dir: /etc/nodemend/playbooks }
trust:
  keys: [{ name: ours, key: abc }]
  digests: [ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad]
listen: 0.0.0.0:9797
";

    #[test]
    fn a_full_configuration_is_read() {
        let config = Config::parse("c.yaml", FULL).expect("reads");
        assert_eq!(
            (config.node.mode, config.node.allow),
            (Mode::Auto, Disruption::Restart)
        );
        assert_eq!(config.ceiling.mode, Mode::Approve);
        assert_eq!(config.attempts.max, 2);
        assert_eq!(config.windows.len(), 1);
        assert_eq!(config.listen.port(), 9797);
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_they_only_observe() {
        for text in ["", "\n", "# nothing\n\n"] {
            let config = Config::parse("c.yaml", text).expect("reads");
            assert_eq!(config.node.mode, Mode::Observe);
            assert_eq!(config.node.allow, Disruption::None);
        }
    }

    #[test]
    fn broken_configurations_are_refused_with_place_and_remedy() {
        for (text, place, part) in [
            ("nodes: {}", "c.yaml:1:1", "did you mean `node`"),
            ("node: auto", "c.yaml:1:7", "must be a mapping"),
            (
                "node: { mode: Auto }",
                "c.yaml:1:15",
                "observe, approve, auto",
            ),
            ("node: { mode: yes }", "c.yaml:1:15", "expected text"),
            (
                "node: { allow: all }",
                "c.yaml:1:16",
                "none, restart, drain, reboot",
            ),
            ("node: { pause: [] }", "c.yaml:1:16", "expected text"),
            ("node: { mod: auto }", "c.yaml:1:9", "did you mean `mode`"),
            ("limits: { mode: 1 }", "c.yaml:1:17", "expected text"),
            ("limits: { cap: 3 }", "c.yaml:1:11", "no key `cap`"),
            ("windows: always", "c.yaml:1:10", "must be a list"),
            ("windows: [always]", "c.yaml:1:11", "not a window"),
            (
                "windows: [\"Sun 02:00-04:00 Mars\"]",
                "c.yaml:1:11",
                "time zone",
            ),
            ("attempts: { max: -1 }", "c.yaml:1:18", "whole number"),
            ("attempts: { max: 100 }", "c.yaml:1:18", "at most 3"),
            ("attempts: { in: 1h }", "c.yaml:1:11", "at least 24h"),
            ("attempts: { cooldown: 5 }", "c.yaml:1:23", "span of time"),
            ("signatures: { dir: relative }", "c.yaml:1:20", "absolute"),
            ("signatures: /etc/x", "c.yaml:1:13", "must be a mapping"),
            ("playbooks: {}", "c.yaml:1:12", "needs `dir`"),
            ("trust: { keys: [abc] }", "c.yaml:1:17", "must be a mapping"),
            (
                "trust: { keys: [{ name: a }] }",
                "c.yaml:1:17",
                "needs `key`",
            ),
            ("trust: { digests: [abc] }", "c.yaml:1:19", "64 lower-case"),
            ("listen: 9797", "c.yaml:1:9", "expected text"),
            ("listen: localhost", "c.yaml:1:9", "no address"),
            ("listen: :9797", "c.yaml:1:9", "no address"),
            ("- node", "c.yaml:1:1", "must be a mapping"),
            ("node: {mode: auto}\nnode: {mode: observe}", "c.yaml:2:", ""),
            ("node: {mode: auto", "c.yaml:1:", ""),
        ] {
            let error = Config::parse("c.yaml", text).expect_err(text).to_string();
            assert!(
                error.starts_with(place) && error.contains(part),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let error = Config::parse(
            "c.yaml",
            "node: { mode: x, allow: y }\nlisten: z\nextra: 1\n",
        )
        .expect_err("refused");
        assert_eq!(error.list.len(), 4, "{error}");
    }
}
