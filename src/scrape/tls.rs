//! TLS of the web configuration: what Go calls suites, curves and client authentication, by rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use serde::Deserialize;

use crate::document::in_full;
use crate::scrape::web_config::read;

/// `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    cert: String,
    cert_file: PathBuf,
    key: String,
    key_file: PathBuf,
    client_ca: String,
    client_ca_file: PathBuf,
    client_auth_type: String,
    min_version: String,
    max_version: String,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    client_allowed_sans: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
}

/// How clients show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    /// They are not asked: also where Go would ask and let in whoever shows nothing.
    No,
    /// Whoever has any key pair at all.
    Any,
    /// Who shows a certificate must have it from the CA.
    IfGiven,
    /// Everybody must have a certificate from the CA.
    Verified,
}

/// Suites of TLS 1.2 that Go has and rustls does not: CBC, and keys without forward secrecy.
const OLD_SUITES: [&str; 11] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];
/// Curves by Go's names; `None` for those that this build of rustls does not have.
const CURVES: [(&str, Option<NamedGroup>); 5] = [
    ("X25519", Some(NamedGroup::X25519)),
    ("CurveP256", Some(NamedGroup::secp256r1)),
    ("CurveP384", Some(NamedGroup::secp384r1)),
    ("CurveP521", None),
    ("X25519MLKEM768", None),
];

impl Tls {
    /// Whether nothing is set that TLS would need: then it is plain HTTP, as in exporter-toolkit.
    pub fn is_unset(&self) -> bool {
        let texts = [
            &self.cert,
            &self.key,
            &self.client_ca,
            &self.client_auth_type,
        ];
        texts.iter().all(|text| text.is_empty()) && self.files().count() == 0
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let all = [&self.cert_file, &self.key_file, &self.client_ca_file];
        all.into_iter()
            .map(PathBuf::as_path)
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// The server's side of TLS; files are looked for below `base`.
    ///
    /// *Errors*: everything that cannot be used, for people.
    pub fn load(&self, base: &Path) -> Result<Arc<ServerConfig>, Vec<String>> {
        let mut problems = Vec::new();
        let provider = {
            let mut provider = ring::default_provider();
            note(&mut problems, self.narrow_suites(&mut provider));
            note(&mut problems, self.narrow_curves(&mut provider));
            Arc::new(provider)
        };
        let versions = note(&mut problems, self.versions());
        let cert = note(
            &mut problems,
            given("cert", &self.cert, &self.cert_file, base),
        );
        let key = note(&mut problems, given("key", &self.key, &self.key_file, base));
        let chain = cert.and_then(|pem| note(&mut problems, certificates("cert", &pem)));
        let key = key.and_then(|pem| {
            let key = PrivateKeyDer::from_pem_slice(&pem);
            note(
                &mut problems,
                key.map_err(|error| format!("key is no private key in PEM form: {error}")),
            )
        });
        let verifier = note(&mut problems, self.verifier(base, &provider));
        let (Some(versions), Some(chain), Some(key), Some(verifier)) =
            (versions, chain, key, verifier)
        else {
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map(|builder| match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            })
            .and_then(|builder| builder.with_single_cert(chain, key));
        let mut config = config.map_err(|error| {
            vec![format!(
                "certificate, key and versions do not go together: {error}"
            )]
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        Ok(Arc::new(config))
    }

    /// As in Go the list bounds TLS 1.2 only; suites of 1.3 are always all there.
    fn narrow_suites(&self, provider: &mut CryptoProvider) -> Result<(), String> {
        if self.cipher_suites.is_empty() {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for name in &self.cipher_suites {
            // Go's names of the suites of 1.3 lack the version that rustls' have.
            let of_13 = name.replacen("TLS_", "TLS13_", 1);
            let known = |suite: &&rustls::SupportedCipherSuite| {
                let id = format!("{:?}", suite.suite());
                id == *name || id == of_13
            };
            match provider.cipher_suites.iter().find(known) {
                Some(suite) => wanted.push(*suite),
                None if OLD_SUITES.contains(&name.as_str()) => {
                    tracing::warn!(
                        suite = name,
                        "cipher_suites: rustls does not have this old suite; clients that have no other are refused"
                    );
                }
                None => return Err(format!("cipher_suites: {name} is not known")),
            }
        }
        if wanted.is_empty() {
            return Err("cipher_suites: none of them is in rustls; add one of ECDHE with GCM or CHACHA20_POLY1305".to_owned());
        }
        let all = std::mem::take(&mut provider.cipher_suites);
        let of_13 = all.into_iter().filter(|suite| suite.tls13().is_some());
        let of_12 = wanted.into_iter().filter(|suite| suite.tls13().is_none());
        provider.cipher_suites = of_13.chain(of_12).collect();
        Ok(())
    }

    fn narrow_curves(&self, provider: &mut CryptoProvider) -> Result<(), String> {
        if self.curve_preferences.is_empty() {
            return Ok(());
        }
        let mut groups = Vec::new();
        for name in &self.curve_preferences {
            let known = CURVES.iter().find(|(go, _)| go == name);
            let (_, group) = known.ok_or_else(|| {
                format!(
                    "curve_preferences: {name} is not known; give CurveP256, CurveP384 or X25519"
                )
            })?;
            let here = provider.kx_groups.iter();
            match here.copied().find(|one| Some(one.name()) == *group) {
                Some(one) => groups.push(one),
                None => {
                    tracing::warn!(
                        curve = name,
                        "curve_preferences: rustls does not have this curve; clients that have no other are refused"
                    );
                }
            }
        }
        if groups.is_empty() {
            return Err(
                "curve_preferences: none of them is in rustls; add CurveP256, CurveP384 or X25519"
                    .to_owned(),
            );
        }
        provider.kx_groups = groups;
        Ok(())
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let number = |name: &str, default| match name {
            "" => Ok(default),
            "TLS10" => Ok(10),
            "TLS11" => Ok(11),
            "TLS12" => Ok(12),
            "TLS13" => Ok(13),
            other => Err(format!(
                "TLS version {other} is not known; give TLS12 or TLS13"
            )),
        };
        let least = number(&self.min_version, 12)?;
        let most = number(&self.max_version, 13)?;
        let wanted: Vec<_> = [(12, &TLS12), (13, &TLS13)]
            .into_iter()
            .filter(|(version, _)| (least..=most).contains(version))
            .map(|(_, version)| version)
            .collect();
        if wanted.is_empty() {
            return Err("no TLS version that rustls has (TLS12, TLS13) is left between min_version and max_version".to_owned());
        }
        Ok(wanted)
    }

    fn client_auth(&self) -> Result<ClientAuth, String> {
        let has_ca = !self.client_ca.is_empty() || !self.client_ca_file.as_os_str().is_empty();
        let kind = self.client_auth_type.as_str();
        let auth = match (kind, has_ca) {
            ("" | "NoClientCert", true) => {
                return Err("a client CA is given, but client_auth_type says that clients are not asked; give RequireAndVerifyClientCert".to_owned());
            }
            ("RequireAndVerifyClientCert", false) => {
                return Err("client_auth_type RequireAndVerifyClientCert needs client_ca_file or client_ca: without it no client would get in".to_owned());
            }
            ("" | "NoClientCert", false) | ("RequestClientCert", _) => ClientAuth::No,
            ("VerifyClientCertIfGiven", false) => ClientAuth::No,
            ("VerifyClientCertIfGiven", true) => ClientAuth::IfGiven,
            ("RequireAndVerifyClientCert", true) => ClientAuth::Verified,
            ("RequireAnyClientCert" | "RequireClientCert", _) => ClientAuth::Any,
            _ => return Err(format!("client_auth_type {kind} is not known")),
        };
        let is_bound = matches!(auth, ClientAuth::Verified | ClientAuth::Any);
        if !self.client_allowed_sans.is_empty() && !is_bound {
            return Err("client_allowed_sans binds nobody unless clients must show a certificate; give client_auth_type RequireAndVerifyClientCert".to_owned());
        }
        Ok(auth)
    }

    fn verifier(
        &self,
        base: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let auth = self.client_auth()?;
        let checks = match auth {
            ClientAuth::No => return Ok(None),
            ClientAuth::Any => None,
            ClientAuth::IfGiven | ClientAuth::Verified => {
                Some(self.by_ca(base, provider, auth == ClientAuth::IfGiven)?)
            }
        };
        if let Some(checks) = checks
            .as_ref()
            .filter(|_| self.client_allowed_sans.is_empty())
        {
            return Ok(Some(Arc::clone(checks)));
        }
        Ok(Some(Arc::new(Clients {
            checks,
            allowed: self.client_allowed_sans.clone(),
            provider: Arc::clone(provider),
        })))
    }

    fn by_ca(
        &self,
        base: &Path,
        provider: &Arc<CryptoProvider>,
        may_lack: bool,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let pem = given("client_ca", &self.client_ca, &self.client_ca_file, base)?;
        let unusable = |error: &dyn std::error::Error| format!("client_ca cannot be used: {error}");
        let mut roots = RootCertStore::empty();
        for certificate in certificates("client_ca", &pem)? {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = match may_lack {
            true => verifier.allow_unauthenticated(),
            false => verifier,
        };
        verifier.build().map_err(|error| unusable(&error))
    }
}

/// A result, or `None` and its problem noted.
fn note<T>(problems: &mut Vec<String>, result: Result<T, String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// The PEM text that stands in the file, or that the file names; the named one counts.
fn given(what: &str, text: &str, file: &Path, base: &Path) -> Result<Vec<u8>, String> {
    if !file.as_os_str().is_empty() {
        return read(&base.join(file)).map_err(|error| format!("{what}_file: {}", in_full(&error)));
    }
    if text.is_empty() {
        return Err(format!("tls_server_config needs {what}_file or {what}"));
    }
    Ok(text.as_bytes().to_vec())
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(format!("{what} holds no certificate in PEM form")),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("{what} holds no certificate in PEM form: {error}")),
    }
}

/// Lets in whoever has the key to the certificate that he shows (Go's `RequireAnyClientCert`), if `checks` lets him in and the
/// certificate has one of the names that are `allowed`, where there are such.
#[derive(Debug)]
struct Clients {
    checks: Option<Arc<dyn ClientCertVerifier>>,
    allowed: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.checks
            .as_ref()
            .map_or(&[], |checks| checks.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(checks) = &self.checks {
            checks.verify_client_cert(end, between, now)?;
        }
        let names = alternative_names(end).unwrap_or_default();
        if self.allowed.is_empty() || names.iter().any(|name| self.allowed.contains(name)) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The subject's alternative names (RFC 5280, section 4.2.1.6): DNS names, addresses of mail and network, URIs. `None` for what
/// is no certificate.
fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    /// The object identifier 2.5.29.17 with its head.
    const ALTERNATIVE_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
    /// The tag of the extensions, the last field of what is signed.
    const EXTENSIONS: u8 = 0xa3;

    let mut signed = within(within(certificate)?.tlv_bytes().ok()?)?;
    let mut fields = std::iter::from_fn(|| (!signed.is_finished()).then(|| signed.tlv_bytes()));
    let extensions =
        fields.find_map(|field| field.ok().filter(|one| one.first() == Some(&EXTENSIONS)));
    let mut extensions = within(within(extensions?)?.tlv_bytes().ok()?)?;
    let mut names = Vec::new();
    while !extensions.is_finished() {
        let mut extension = within(extensions.tlv_bytes().ok()?)?;
        if extension.tlv_bytes().ok()? != ALTERNATIVE_NAME {
            continue;
        }
        let mut value = extension.tlv_bytes().ok()?;
        // Whether it is critical may stand before it.
        if !extension.is_finished() {
            value = extension.tlv_bytes().ok()?;
        }
        let mut list = within(within(value)?.tlv_bytes().ok()?)?;
        while !list.is_finished() {
            names.extend(name_of(list.tlv_bytes().ok()?));
        }
    }
    Some(names)
}

/// What stands inside one value.
fn within(value: &[u8]) -> Option<SliceReader<'_>> {
    SliceReader::new(AnyRef::from_der(value).ok()?.value()).ok()
}

/// A name as Go writes it; `None` for kinds that it does not compare.
fn name_of(value: &[u8]) -> Option<String> {
    let name = AnyRef::from_der(value).ok()?;
    let bytes = name.value();
    let Tag::ContextSpecific { number, .. } = name.tag() else {
        return None;
    };
    match number.value() {
        // rfc822Name, dNSName, uniformResourceIdentifier.
        1 | 2 | 6 => String::from_utf8(bytes.to_vec()).ok(),
        // iPAddress.
        7 => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes)
                .ok()
                .map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        _ => None,
    }
}
