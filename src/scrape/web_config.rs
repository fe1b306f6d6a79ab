//! The file of `--web.config.file`, in the format of Prometheus' exporter-toolkit: TLS and users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;
use thiserror::Error;

use crate::collectors::source::held::read_once;

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
    /// A setting that is known and cannot be used here.
    #[error("{what}")]
    Setting {
        /// What is wrong and what to do.
        what: String,
    },
    /// A certificate or key is none.
    #[error("{} does not hold a certificate or key in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together, or the CA is empty.
    #[error("the certificate, key or client CA cannot be used together")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WebConfigError {
    /// A short stable word for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            WebConfigError::Read { .. } => "read",
            WebConfigError::Format { .. } => "format",
            WebConfigError::Setting { .. } => "setting",
            WebConfigError::Pem { .. } => "pem",
            WebConfigError::Tls(_) => "tls",
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
    tls_server_config: Option<Tls>,
    http_server_config: Http,
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
struct Tls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    client_allowed_sans: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
}

impl WebConfig {
    /// Reads the file and what it names; paths in it are relative to its directory.
    ///
    /// *Errors*: the first thing that cannot be used. Nothing is served then: a server that was
    /// meant to have TLS must not come up without.
    pub fn load(path: &Path) -> Result<WebConfig, WebConfigError> {
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
        for (user, hash) in &file.basic_auth_users {
            if bcrypt::HashParts::from_str_checked(hash).is_none() {
                let what = format!(
                    "the password of user {user} is not a bcrypt hash; make one with `htpasswd -nBC 10 {user}`"
                );
                return Err(WebConfigError::Setting { what });
            }
        }
        Ok(WebConfig {
            tls: file
                .tls_server_config
                .map(|tls| tls.load(base))
                .transpose()?,
            users: file.basic_auth_users,
            headers: file.http_server_config.headers,
        })
    }
}

/// The check of a hash's form before the first login.
trait Checked: Sized {
    fn from_str_checked(text: &str) -> Option<Self>;
}

impl Checked for bcrypt::HashParts {
    fn from_str_checked(text: &str) -> Option<bcrypt::HashParts> {
        text.parse().ok()
    }
}

impl Tls {
    fn load(self, base: &Path) -> Result<Arc<ServerConfig>, WebConfigError> {
        self.refuse_unusable()?;
        let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) else {
            return setting("tls_server_config needs both cert_file and key_file");
        };
        let (cert, key) = (base.join(cert), base.join(key));
        let chain = certificates(&cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key)?)
            .map_err(|source| WebConfigError::Pem { path: key, source })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wanted = self.versions()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&wanted)
            .map_err(|error| WebConfigError::Tls(Box::new(error)))?;
        let kind = self.client_auth_type.as_deref().unwrap_or("NoClientCert");
        let builder = match (kind, &self.client_ca_file) {
            ("NoClientCert" | "", None) => builder.with_no_client_auth(),
            ("RequireAndVerifyClientCert" | "VerifyClientCertIfGiven", Some(ca)) => {
                let mut roots = rustls::RootCertStore::empty();
                for certificate in certificates(&base.join(ca))? {
                    roots
                        .add(certificate)
                        .map_err(|error| WebConfigError::Tls(Box::new(error)))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match kind {
                    "VerifyClientCertIfGiven" => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| WebConfigError::Tls(Box::new(error)))?;
                builder.with_client_cert_verifier(verifier)
            }
            (kind, ca) => {
                let with = if ca.is_some() { "with" } else { "without" };
                return setting(&format!(
                    "client_auth_type {kind} {with} client_ca_file cannot be used; give NoClientCert, or RequireAndVerifyClientCert or VerifyClientCertIfGiven with a CA"
                ));
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| WebConfigError::Tls(Box::new(error)))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Settings that would make the server weaker or stricter than asked if they were ignored.
    fn refuse_unusable(&self) -> Result<(), WebConfigError> {
        let unusable = [
            ("cipher_suites", self.cipher_suites.is_empty()),
            ("curve_preferences", self.curve_preferences.is_empty()),
            ("client_allowed_sans", self.client_allowed_sans.is_empty()),
        ];
        match unusable.iter().find(|(_, is_empty)| !is_empty) {
            Some((name, _)) => setting(&format!(
                "{name} cannot be set here: rustls has only safe suites and curves, and checks no names of clients; leave it out"
            )),
            None => Ok(()),
        }
    }

    fn versions(&self) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, WebConfigError> {
        let number = |name: &Option<String>, default| match name.as_deref() {
            None | Some("") => Ok(default),
            Some("TLS12") => Ok(12),
            Some("TLS13") => Ok(13),
            Some("TLS10" | "TLS11") => Ok(11),
            Some(other) => setting(&format!(
                "TLS version {other} is not known; give TLS12 or TLS13"
            )),
        };
        let (least, most) = (
            number(&self.min_version, 12)?,
            number(&self.max_version, 13)?,
        );
        let all = [(12, &TLS12), (13, &TLS13)];
        let wanted: Vec<_> = all
            .into_iter()
            .filter(|(version, _)| (least..=most).contains(version))
            .map(|(_, version)| version)
            .collect();
        if wanted.is_empty() {
            return setting("no TLS version is left between min_version and max_version");
        }
        Ok(wanted)
    }
}

fn setting<T>(what: &str) -> Result<T, WebConfigError> {
    Err(WebConfigError::Setting {
        what: what.to_owned(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebConfigError> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    all.map_err(|source| WebConfigError::Pem {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a file as far as a sensible one goes: `/dev/zero` or a pipe in its place must neither eat
/// the memory nor hang the server.
fn read(path: &Path) -> Result<Vec<u8>, WebConfigError> {
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
            (
                "basic_auth_users:\n  ann: plain\n".to_owned(),
                Err("setting"),
            ),
            ("nonsense: 1\n".to_owned(), Err("format")),
            (
                "tls_server_config:\n  cert_file: a\n".to_owned(),
                Err("setting"),
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n".to_owned(),
                Err("read"),
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: [X]\n"
                    .to_owned(),
                Err("setting"),
            ),
        ];
        for (text, want) in cases {
            std::fs::write(&path, &text).unwrap();
            let got = WebConfig::load(&path).map(|config| config.users.len());
            assert_eq!(got.map_err(|error| error.kind()), want, "{text}");
        }
    }
}
