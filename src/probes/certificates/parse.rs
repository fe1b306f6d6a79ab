//! Pure: the bytes of a file to the end of its first certificate that runs out. Of a kubeconfig, which has a key beside
//! them, nothing but the certificates is looked at, and nothing but their ends is kept.

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;

/// Most certificates of one file that are looked at: a bundle of authorities has about 150.
const MAX_CERTIFICATES: usize = 1000;

/// What holds a certificate in a kubeconfig (v1 Config), in base64: the node's own, and those that it trusts.
const EMBEDDED: [&str; 2] = ["client-certificate-data", "certificate-authority-data"];

/// Why a file says nothing about certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither PEM, nor a certificate in DER, nor a kubeconfig with one.
    #[error("it holds no certificate, neither in PEM nor in DER nor inside a kubeconfig")]
    NoCertificate,
    /// A certificate that is not one.
    #[error("it holds a certificate that is cut off or garbled")]
    Garbled,
}

/// When the first of a file's certificates runs out, since 1970: every one in PEM, or one in DER, or those inside a
/// kubeconfig. Keys beside them are passed over.
///
/// # Errors
/// There is none, or one of them cannot be read.
pub fn earliest_end(bytes: &[u8]) -> Result<Duration, Unusable> {
    if let Some(end) = earliest_in_pem(bytes)?.or_else(|| not_after(bytes)) {
        return Ok(end);
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut ends = Vec::new();
    for encoded in EMBEDDED.iter().flat_map(|key| values(text, key)) {
        let pem = decoded(encoded).ok_or(Unusable::Garbled)?;
        ends.push(earliest_in_pem(&pem)?.ok_or(Unusable::Garbled)?);
    }
    ends.into_iter().min().ok_or(Unusable::NoCertificate)
}

fn earliest_in_pem(bytes: &[u8]) -> Result<Option<Duration>, Unusable> {
    let mut earliest: Option<Duration> = None;
    for certificate in CertificateDer::pem_slice_iter(bytes).take(MAX_CERTIFICATES) {
        let certificate = certificate.map_err(|_| Unusable::Garbled)?;
        let end = not_after(&certificate).ok_or(Unusable::Garbled)?;
        earliest = Some(earliest.map_or(end, |known| known.min(end)));
    }
    Ok(earliest)
}

/// The values of a key in YAML or JSON: what stands behind its colon, without quotes.
fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let found = text.match_indices(key).take(MAX_CERTIFICATES);
    found.filter_map(move |(at, key)| {
        let rest = text.get(at + key.len()..)?.trim_start_matches('"');
        let value = rest.strip_prefix(':')?.trim_start_matches([' ', '"', '\'']);
        let is_end = |sign: char| !sign.is_ascii_alphanumeric() && !"+/=".contains(sign);
        Some(value.split(is_end).next().unwrap_or_default())
    })
}

/// Base64, decoded by the reader of PEM, whose body is the same.
fn decoded(base64: &str) -> Option<Vec<u8>> {
    let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
    let body = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    Some(body.to_vec())
}

/// `notAfter` of one certificate (RFC 5280, section 4.1), since 1970; a time before that is 1970.
fn not_after(certificate: &[u8]) -> Option<Duration> {
    let mut whole = sequence(&mut SliceReader::new(certificate).ok()?)?;
    let mut fields = sequence(&mut whole)?;
    // The version is there from 2 on: then serial number, algorithm and issuer stand before the validity.
    if matches!(Tag::peek(&fields).ok()?, Tag::ContextSpecific { .. }) {
        fields.tlv_bytes().ok()?;
    }
    for _ in 0..3 {
        fields.tlv_bytes().ok()?;
    }
    let mut validity = sequence(&mut fields)?;
    time(&mut validity)?;
    time(&mut validity)
}

/// What stands inside the sequence that comes next.
fn sequence<'a>(reader: &mut SliceReader<'a>) -> Option<SliceReader<'a>> {
    let next = AnyRef::decode(reader).ok()?;
    next.tag().assert_eq(Tag::Sequence).ok()?;
    SliceReader::new(next.value()).ok()
}

fn time<'a>(reader: &mut SliceReader<'a>) -> Option<Duration> {
    match Tag::peek(reader).ok()? {
        Tag::UtcTime => Some(UtcTime::decode(reader).ok()?.to_unix_duration()),
        Tag::GeneralizedTime => Some(GeneralizedTime::decode(reader).ok()?.to_unix_duration()),
        _ => None,
    }
}

/// Which share of a token's life is left at `now`, since 1970; negative after its end. `None` for one that is no JSON Web
/// Token (RFC 7519) or has no end.
pub fn share_left(token: &str, now: Duration) -> Option<f64> {
    let claims = token.trim().split('.').nth(1)?;
    let mut claims = claims.replace('-', "+").replace('_', "/");
    claims.push_str("=".repeat(claims.len().wrapping_neg() % 4).as_str());
    let claims: serde_json::Value = serde_json::from_slice(&decoded(&claims)?).ok()?;
    let time = |name| claims.get(name).and_then(serde_json::Value::as_f64);
    let (begin, end) = (time("iat")?, time("exp")?);
    (end > begin).then(|| (end - now.as_secs_f64()) / (end - begin))
}

/// Days from `now` to `end`, both since 1970.
pub fn days_left(end: Duration, now: Duration) -> f64 {
    const DAY_SECONDS: f64 = 86_400.0;
    (end.as_secs_f64() - now.as_secs_f64()) / DAY_SECONDS
}
