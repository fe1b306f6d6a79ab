//! Where this machine gets Debian packages from, as its own apt is told; no host is written down here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Names under which an archive offers Debian itself (a vendor's suite is called otherwise).
const DEBIAN_SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];
/// Where Debian keeps the keys of its archive; debootstrap's default on Debian, needed elsewhere.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The archives as configured under /etc/apt.
#[derive(Debug)]
pub struct Archive {
    /// URI of the main archive.
    pub main: String,
    keyring: Option<PathBuf>,
    /// apt.conf lines that reach an archive from here need: proxies and validity checks.
    pub settings: String,
}

/// One suite at one place, component main.
pub struct Source {
    uri: String,
    suite: String,
}

/// Everything that this machine's apt is told of, in its order.
pub fn sources() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for file in source_files()? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources.extend(stanzas(&text)),
            _ => sources.extend(one_line_entries(&text)),
        }
    }
    Ok(sources)
}

/// Where the first suite of this kind is.
pub fn uri_of(sources: &[Source], wanted: impl Fn(&str) -> bool) -> Result<Option<String>> {
    let source = sources.iter().find(|source| wanted(&source.suite));
    source.map(|source| plain_uri(&source.uri)).transpose()
}

/// Whether an archive of Debian itself has a suite of this name.
pub fn is_debian(suite: &str) -> bool {
    DEBIAN_SUITES.contains(&suite)
}

impl Archive {
    pub fn of_this_machine() -> Result<Self> {
        let Some(main) = uri_of(&sources()?, is_debian)? else {
            bail!(
                "no Debian archive (component main) is configured under /etc/apt: add one, the lab's nodes are made from it"
            );
        };
        let keyring = Some(PathBuf::from(DEBIAN_KEYRING)).filter(|path| path.exists());
        Ok(Self {
            main,
            keyring,
            settings: settings()?,
        })
    }

    /// The command that makes `tree`: a minimal `suite` and these packages, one a line.
    pub fn debootstrap(&self, suite: &str, packages: &str, tree: &Path) -> Command {
        let packages: Vec<_> = packages
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        let mut command = contained(&["nice", "debootstrap", "--variant=minbase"]);
        command.arg(format!("--include={}", packages.join(",")));
        if let Some(keyring) = &self.keyring {
            command.arg(format!("--keyring={}", keyring.display()));
        }
        command.arg(suite).arg(tree).arg(&self.main);
        command.envs(self.proxy_environment());
        command
    }

    /// apt's proxy as the environment variable that debootstrap's downloader reads.
    fn proxy_environment(&self) -> Vec<(&'static str, String)> {
        let proxy = |key: &str| {
            let line = self.settings.lines().find(|line| line.starts_with(key))?;
            line.split('"')
                .nth(1)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let http = proxy("Acquire::http::Proxy ").map(|value| ("http_proxy", value));
        let https = proxy("Acquire::https::Proxy ").map(|value| ("https_proxy", value));
        http.into_iter().chain(https).collect()
    }
}

/// A command that ends with the thread that starts it, and takes along what it started and mounted: the tree that it was
/// making can be removed then.
pub fn contained(argv: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare", "--mount"])
        .args(["--propagation", "slave", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--"])
        .args(argv);
    command
}

fn source_files() -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        for entry in folder {
            files.push(entry?.path());
        }
    }
    files.retain(|file| {
        let known = matches!(
            file.extension().and_then(|e| e.to_str()),
            Some("list" | "sources")
        );
        known && file.is_file()
    });
    files.sort();
    Ok(files)
}

/// Entries of the deb822 format (sources.list(5)).
fn stanzas(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let words = |field: &str| -> Vec<String> {
            let line = stanza.lines().find_map(|line| line.strip_prefix(field));
            line.unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        let is_wanted = words("Types:").contains(&"deb".to_owned())
            && words("Components:").contains(&"main".to_owned())
            && !words("Enabled:").contains(&"no".to_owned());
        let uris = words("URIs:");
        let (true, Some(uri)) = (is_wanted, uris.first()) else {
            continue;
        };
        found.extend(words("Suites:").into_iter().map(|suite| Source {
            uri: uri.clone(),
            suite,
        }));
    }
    found
}

/// Entries of the one-line format (sources.list(5)): `deb [options] uri suite components`.
fn one_line_entries(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else {
            continue;
        };
        let rest = match rest.trim_start().strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            continue;
        };
        if words.any(|component| component == "main") {
            found.push(Source {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
            });
        }
    }
    found
}

/// Debian's cloud images name a file with the mirror in it instead of the mirror.
fn plain_uri(uri: &str) -> Result<String> {
    let Some(list) = uri.strip_prefix("mirror+file:") else {
        return Ok(uri.trim_end_matches('/').to_owned());
    };
    let list = Path::new(list.trim_start_matches("//"));
    let text = fs::read_to_string(list).with_context(|| format!("read {}", list.display()))?;
    let mirror = text
        .split_whitespace()
        .next()
        .with_context(|| format!("{} is empty", list.display()))?;
    Ok(mirror.trim_end_matches('/').to_owned())
}

/// The machine's apt settings without which the archive may not be reachable or not be accepted.
fn settings() -> Result<String> {
    let output = Command::new("apt-config")
        .arg("dump")
        .output()
        .context("start apt-config")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wanted = |line: &&str| {
        let key = line.split_whitespace().next().unwrap_or_default();
        key.starts_with("Acquire::") && (key.contains("Proxy") || key.contains("::Check-"))
    };
    Ok(text
        .lines()
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{Source, one_line_entries, stanzas};

    fn check(found: &[Source], expected: &[(&str, &str)]) {
        let found: Vec<_> = found
            .iter()
            .map(|s| (s.uri.as_str(), s.suite.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn deb822_stanzas_give_one_entry_a_suite() {
        // As the installer of Debian 12 and its container images write it, with a vendor's stanza between.
        let text = "Types: deb\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: https://v/x\nSuites: bookworm\nComponents: stable\n\n\
                    Types: deb deb-src\nURIs: http://a/debian-security\nSuites: bookworm-security\nComponents: main contrib\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://b/debian\nSuites: sid\nComponents: main\n";
        let expected = [
            ("http://a/debian", "bookworm"),
            ("http://a/debian", "bookworm-updates"),
            ("http://a/debian-security", "bookworm-security"),
        ];
        check(&stanzas(text), &expected);
    }

    #[test]
    fn one_line_entries_may_have_options_and_comments_around_them() {
        let text = "# deb http://c/debian bookworm main\ndeb http://a/debian/ bookworm main contrib\n\
                    deb-src http://a/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://v/linux bookworm stable\n\
                    deb [trusted=yes] http://a/debian-security bookworm-security main\n";
        let expected = [
            ("http://a/debian/", "bookworm"),
            ("http://a/debian-security", "bookworm-security"),
        ];
        check(&one_line_entries(text), &expected);
    }
}
