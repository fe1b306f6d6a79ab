//! The file of `--web.config.file`, in the format of Prometheus' exporter-toolkit: TLS and users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use serde::Deserialize;
use thiserror::Error;

use crate::collectors::settings::go_duration;
use crate::collectors::source::held::read_once;
use crate::scrape::tls::Tls;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum WebConfigError {
    /// A file named in it, or it itself, cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is not the format of exporter-toolkit.
    #[error("{} is not a web configuration", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Settings, or files that they name, that cannot be used here.
    #[error("{} cannot be used: {}", path.display(), problems.join("; "))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Each with what is wrong and what to do.
        problems: Vec<String>,
    },
}

impl WebConfigError {
    /// A short stable word for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            WebConfigError::Read { .. } => "read",
            WebConfigError::Format { .. } => "format",
            WebConfigError::Unusable { .. } => "unusable",
        }
    }
}

/// What the file means.
#[derive(Clone, Default)]
pub struct WebConfig {
    /// TLS as rustls wants it; `None` for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Users and their bcrypt hashes; empty if nobody has to say who they are.
    pub users: BTreeMap<String, String>,
    /// Headers added to every answer.
    pub headers: BTreeMap<String, String>,
    /// How often requests are answered; `None` for always.
    pub rate: Option<Rate>,
    /// The files that it was made of: with a new certificate it is another one.
    pub files: Vec<Stamp>,
}

/// A file, and when it was written, as it was just before it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: PathBuf) -> Stamp {
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified());
        Stamp {
            path,
            modified: modified.ok(),
        }
    }

    /// The same file now.
    pub fn again(&self) -> Stamp {
        Stamp::of(self.path.clone())
    }
}

/// One request per interval, and so many more at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The pause after which one more request is answered.
    pub interval: Duration,
    /// The most requests that are answered at once.
    pub burst: u32,
}

impl std::fmt::Debug for WebConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The hashes stay out of every log.
        let users: Vec<&String> = self.users.keys().collect();
        out.debug_struct("WebConfig")
            .field("tls", &self.tls.is_some())
            .field("users", &users)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Tls,
    http_server_config: Http,
    rate_limit: RateLimit,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateLimit {
    interval: Option<Interval>,
    burst: i64,
}

/// As Go reads it: text with units, or a number of nanoseconds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Interval {
    Nanos(u64),
    Text(String),
}

/// Headers that may be set, and the values that they may have; none for any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl WebConfig {
    /// Reads the file and what it names; paths in it are relative to its directory.
    ///
    /// *Errors*: everything that cannot be used. Nothing is served then: a server that was meant to have TLS must not come up
    /// without.
    pub fn load(path: &Path) -> Result<WebConfig, WebConfigError> {
        let mut files = vec![Stamp::of(path.to_path_buf())];
        let text = read(path)?;
        let text = String::from_utf8_lossy(&text);
        let file: File = if text.trim().is_empty() {
            File::default()
        } else {
            serde_saphyr::from_str(&text).map_err(|source| WebConfigError::Format {
                path: path.to_path_buf(),
                source: Box::new(source),
            })?
        };
        let base = path.parent().unwrap_or(Path::new("."));
        let mut problems = Vec::new();
        problems.extend(file.basic_auth_users.iter().filter_map(refused_user));
        problems.extend(
            file.http_server_config
                .headers
                .iter()
                .filter_map(refused_header),
        );
        let rate = file.rate_limit.rate();
        problems.extend(rate.as_ref().err().cloned());
        let tls = &file.tls_server_config;
        files.extend(tls.files().map(|file| Stamp::of(base.join(file))));
        let tls = match tls.is_unset() {
            true => Ok(None),
            false => tls.load(base).map(Some),
        };
        problems.extend(tls.as_ref().err().into_iter().flatten().cloned());
        match (tls, rate) {
            (Ok(tls), Ok(rate)) if problems.is_empty() => Ok(WebConfig {
                tls,
                rate,
                users: file.basic_auth_users,
                headers: file.http_server_config.headers,
                files,
            }),
            _ => Err(WebConfigError::Unusable {
                path: path.to_path_buf(),
                problems,
            }),
        }
    }
}

fn refused_user((user, hash): (&String, &String)) -> Option<String> {
    let is_hash = hash.parse::<bcrypt::HashParts>().is_ok();
    (!is_hash).then(|| {
        format!("the password of user {user} is not a bcrypt hash; make one with `htpasswd -nBC 10 {user}`")
    })
}

/// As exporter-toolkit: only these headers, so that nobody breaks the page for its readers.
fn refused_header((name, value): (&String, &String)) -> Option<String> {
    match HEADERS.iter().find(|(known, _)| known == name) {
        None => Some(format!("header {name} cannot be set")),
        Some((_, values)) if !values.is_empty() && !values.contains(&value.as_str()) => {
            Some(format!(
                "header {name} cannot be {value:?}; give {}",
                values.join(" or ")
            ))
        }
        Some(_) => None,
    }
}

impl RateLimit {
    fn rate(&self) -> Result<Option<Rate>, String> {
        let interval = match &self.interval {
            None => Duration::ZERO,
            Some(Interval::Nanos(nanos)) => Duration::from_nanos(*nanos),
            Some(Interval::Text(text)) => go_duration(text)
                .ok_or_else(|| format!("rate_limit: {text:?} is no interval such as 1s"))?,
        };
        let burst = u32::try_from(self.burst)
            .map_err(|_| format!("rate_limit: burst {} is no number of requests", self.burst))?;
        Ok((!interval.is_zero()).then_some(Rate { interval, burst }))
    }
}

/// Reads a file as far as a sensible one goes: `/dev/zero` or a pipe in its place must neither eat
/// the memory nor hang the server.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, WebConfigError> {
    read_once(path.to_path_buf()).map_err(|error| WebConfigError::Read {
        path: path.to_path_buf(),
        source: match error.errno() {
            Some(errno) => errno.into(),
            None => std::io::ErrorKind::FileTooLarge.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::WebConfig;

    #[test]
    fn bad_configurations_are_refused_and_good_ones_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        let hash = bcrypt::hash("secret", 4).unwrap();
        let cases = [
            (String::new(), Ok(0)),
            (format!("basic_auth_users:\n  ann: {hash}\n"), Ok(1)),
            ("rate_limit: {interval: 1s, burst: 5}\n".to_owned(), Ok(0)),
            ("rate_limit: {interval: 0, burst: 0}\n".to_owned(), Ok(0)),
            ("nonsense: 1\n".to_owned(), Err("format")),
            ("rate_limit: {interval: soon}\n".to_owned(), Err("unusable")),
            (
                "rate_limit: {interval: 1s, burst: -1}\n".to_owned(),
                Err("unusable"),
            ),
            (
                "http_server_config: {headers: {Content-Type: a}}\n".to_owned(),
                Err("unusable"),
            ),
            (
                "tls_server_config: {client_allowed_sans: [a], cert: c, key: k}\n".to_owned(),
                Err("unusable"),
            ),
        ];
        for (text, want) in cases {
            std::fs::write(&path, &text).unwrap();
            let got = WebConfig::load(&path).map(|config| config.users.len());
            assert_eq!(got.map_err(|error| error.kind()), want, "{text}");
        }
    }

    #[test]
    fn everything_that_cannot_be_used_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        let text = "\
basic_auth_users: {ann: plain}
http_server_config: {headers: {X-Frame-Options: foo}}
rate_limit: {interval: soon}
tls_server_config:
  cert_file: a
  min_version: TLS14
  cipher_suites: [TLS_NULL]
  curve_preferences: [CurveP257]
  client_auth_type: Perhaps
";
        std::fs::write(&path, text).unwrap();
        let said = WebConfig::load(&path).unwrap_err().to_string();
        for part in [
            "user ann",
            "X-Frame-Options",
            "soon",
            "cannot read",
            "key_file",
            "TLS14",
            "TLS_NULL",
            "CurveP257",
            "Perhaps",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
