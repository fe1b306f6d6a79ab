//! Pure: the bytes of a file to the end of its first certificate that runs out.

use der::asn1::{GeneralizedTime, UtcTime};
use der::{Decode, Header, Reader, SliceReader, Tag};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;

/// Most certificates of one file that are looked at: a bundle of authorities has about 150.
const MAX_CERTIFICATES: usize = 1000;

/// Why a file says nothing about certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither PEM nor a certificate in DER.
    #[error("it holds no certificate, neither in PEM nor in DER")]
    NoCertificate,
    /// A certificate that is not one.
    #[error("it holds a certificate that is cut off or garbled")]
    Garbled,
}

/// When the first of a file's certificates runs out, since 1970: every one in PEM, or one in DER. Keys beside them are
/// passed over.
///
/// # Errors
/// There is none, or one of them cannot be read.
pub fn earliest_end(bytes: &[u8]) -> Result<Duration, Unusable> {
    let mut earliest: Option<Duration> = None;
    for certificate in CertificateDer::pem_slice_iter(bytes).take(MAX_CERTIFICATES) {
        let certificate = certificate.map_err(|_| Unusable::Garbled)?;
        let end = not_after(&certificate).ok_or(Unusable::Garbled)?;
        earliest = Some(earliest.map_or(end, |known| known.min(end)));
    }
    earliest
        .or_else(|| not_after(bytes))
        .ok_or(Unusable::NoCertificate)
}

/// `notAfter` of one certificate (RFC 5280, section 4.1), since 1970; a time before that is 1970.
fn not_after(certificate: &[u8]) -> Option<Duration> {
    let mut outer = SliceReader::new(certificate).ok()?;
    let whole = Header::decode(&mut outer).ok()?;
    whole.tag().assert_eq(Tag::Sequence).ok()?;
    let mut inner = SliceReader::new(outer.read_slice(whole.length()).ok()?).ok()?;
    let signed = Header::decode(&mut inner).ok()?;
    signed.tag().assert_eq(Tag::Sequence).ok()?;
    let mut fields = SliceReader::new(inner.read_slice(signed.length()).ok()?).ok()?;
    // The version is there from 2 on: then serial number, algorithm and issuer stand before the validity.
    if matches!(Tag::peek(&fields).ok()?, Tag::ContextSpecific { .. }) {
        fields.tlv_bytes().ok()?;
    }
    for _ in 0..3 {
        fields.tlv_bytes().ok()?;
    }
    let mut validity = SliceReader::new(fields.tlv_bytes().ok()?).ok()?;
    let header = Header::decode(&mut validity).ok()?;
    header.tag().assert_eq(Tag::Sequence).ok()?;
    time(&mut validity)?;
    time(&mut validity)
}

fn time<'a>(reader: &mut SliceReader<'a>) -> Option<Duration> {
    match Tag::peek(reader).ok()? {
        Tag::UtcTime => Some(UtcTime::decode(reader).ok()?.to_unix_duration()),
        Tag::GeneralizedTime => Some(GeneralizedTime::decode(reader).ok()?.to_unix_duration()),
        _ => None,
    }
}

/// Days from `now` to `end`, both since 1970.
pub fn days_left(end: Duration, now: Duration) -> f64 {
    const DAY_SECONDS: f64 = 86_400.0;
    (end.as_secs_f64() - now.as_secs_f64()) / DAY_SECONDS
}
