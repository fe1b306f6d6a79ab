//! What certificates say, and what broken ones cost. Real certificates, made by `openssl` of the machine.

use super::{Unusable, days_left, earliest_end, read, share_left, with_token};
use crate::host::{Host, clock};
use crate::signal::{Batch, Value};
use std::fs::{create_dir_all, write};
use std::path::PathBuf;
use std::time::Duration;

/// Ends at 2031-02-03 04:05:06 UTC; made as the folder's README tells.
const UTC_TIME: &str = include_str!("../../../tests/fixtures/certificates/utc-time.pem");
/// Ends in 2066: from 2050 on the time has another type.
const GENERALIZED_TIME: &str =
    include_str!("../../../tests/fixtures/certificates/generalized-time.pem");

const END: Duration = Duration::from_secs(1_927_857_906);
const LATE_END: Duration = Duration::from_secs(3_032_395_506);

fn value(batch: &Batch, key: &str, file: &str) -> Result<Value, &'static str> {
    let mut samples = batch.samples.iter();
    let sample = samples.find(|one| one.key == key && one.subject.as_str() == file);
    let value = sample.expect("a sample").value.clone();
    value.map_err(|reason| reason.kind())
}

fn body(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes())
        .expect("a certificate")
        .to_vec()
}

#[test]
fn the_first_certificate_to_run_out_counts_whatever_its_form() {
    let both = format!("{GENERALIZED_TIME}{UTC_TIME}");
    let key = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n";
    let cases: [(&str, Vec<u8>, Result<Duration, Unusable>); 9] = [
        ("UTCTime", UTC_TIME.into(), Ok(END)),
        ("GeneralizedTime", GENERALIZED_TIME.into(), Ok(LATE_END)),
        ("a chain", both.into(), Ok(END)),
        ("with its key", format!("{UTC_TIME}{key}").into(), Ok(END)),
        ("DER", body(UTC_TIME), Ok(END)),
        ("a key alone", key.into(), Err(Unusable::NoCertificate)),
        ("empty", Vec::new(), Err(Unusable::NoCertificate)),
        ("text", b"hello\n".to_vec(), Err(Unusable::NoCertificate)),
        (
            "PEM around nothing",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            Err(Unusable::Garbled),
        ),
    ];
    for (what, bytes, want) in cases {
        assert_eq!(earliest_end(&bytes), want, "{what}");
    }
    assert!((days_left(END, END - Duration::from_secs(129_600)) - 1.5).abs() < 1e-9);
    assert!(days_left(END, END + Duration::from_secs(1)) < 0.0);
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let der = body(UTC_TIME);
    for end in 0..der.len() {
        let cut = der.get(..end).expect("a part");
        assert!(earliest_end(cut).is_err(), "cut at {end}");
    }
    for place in 0..der.len() {
        let mut broken = der.clone();
        broken[place] ^= 0xff;
        let _answer = earliest_end(&broken);
    }
    for end in 0..UTC_TIME.len() - 30 {
        let cut = UTC_TIME.get(..end).expect("ASCII");
        assert!(earliest_end(cut.as_bytes()).is_err(), "cut at {end}");
    }
}

/// As `base64 -w0` writes it.
fn base64(text: &str) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > chunk.len() {
                '='
            } else {
                char::from(sign)
            });
        }
    }
    out
}

/// As kubeadm writes it; the key is none.
fn kubeconfig(client: &str, authority: &str) -> String {
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: https://10.0.0.1:6443\n  name: kubernetes\nkind: Config\nusers:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: {client}\n    client-key-data: U0VDUkVU\n"
    )
}

#[test]
fn certificates_inside_a_kubeconfig_are_read() {
    let (early, late) = (base64(UTC_TIME), base64(GENERALIZED_TIME));
    let json = format!("{{\"users\":[{{\"user\":{{\"client-certificate-data\":\"{early}\"}}}}]}}");
    let quoted = format!("  client-certificate-data: \"{late}\"\n");
    for (what, text, want) in [
        (
            "the client's ends first",
            kubeconfig(&early, &late),
            Ok(END),
        ),
        (
            "the authority's ends first",
            kubeconfig(&late, &early),
            Ok(END),
        ),
        ("JSON on one line", json, Ok(END)),
        ("quoted", quoted, Ok(LATE_END)),
        (
            "a path in place of it",
            "client-certificate: /a.pem\n".to_owned(),
            Err(Unusable::NoCertificate),
        ),
        (
            "an empty one",
            kubeconfig("", &early),
            Err(Unusable::Garbled),
        ),
        (
            "cut off",
            kubeconfig(&early[..40], &late),
            Err(Unusable::Garbled),
        ),
        (
            "another text in base64",
            kubeconfig("U0VDUkVU", &late),
            Err(Unusable::Garbled),
        ),
    ] {
        assert_eq!(earliest_end(text.as_bytes()), want, "{what}");
    }
}

#[test]
fn a_kubeconfig_leaves_its_name_and_its_days_behind_and_nothing_else() {
    let root = machine();
    let place = root.path().join("etc/kubernetes");
    let (early, late) = (base64(UTC_TIME), base64(GENERALIZED_TIME));
    write(place.join("admin.conf"), kubeconfig(&early, &late)).expect("written");
    // A kubelet's names its certificate, which has a series of its own.
    write(
        place.join("kubelet.conf"),
        "users:\n- user:\n    client-certificate: /a.pem\n",
    )
    .expect("written");
    write(place.join("scheduler.conf"), kubeconfig("x", &late)).expect("written");
    let paths: Vec<PathBuf> = super::KUBECONFIGS.iter().map(PathBuf::from).collect();
    let now = END - Duration::from_secs(10 * 86_400);
    let batch = read(&Host::at(root.path()), &paths, false, now).expect("read");
    let days = |file: &str| value(&batch, "certificate.days_left", file);
    assert_eq!(days("/etc/kubernetes/admin.conf"), Ok(Value::Number(10.0)));
    assert_eq!(days("/etc/kubernetes/scheduler.conf"), Err("unreadable"));
    assert_eq!(batch.samples.len(), 4);
    let said = format!("{batch:?}");
    assert!(
        !said.contains("SECRET") && !said.contains("U0VDUkVU"),
        "{said}"
    );
    assert!(!said.contains("kubernetes-admin"), "{said}");
}

fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for folder in ["var/lib/kubelet/pki", "etc/kubernetes/pki/etcd"] {
        create_dir_all(root.path().join(folder)).expect("made");
    }
    root
}

#[test]
fn a_broken_file_costs_its_own_series_and_says_so() {
    let root = machine();
    let pki = root.path().join("etc/kubernetes/pki");
    write(pki.join("apiserver.crt"), UTC_TIME).expect("written");
    write(pki.join("apiserver.key"), "no certificate").expect("written");
    write(pki.join("ca.crt"), "garbled").expect("written");
    write(pki.join("etcd/server.crt"), GENERALIZED_TIME).expect("written");
    std::os::unix::fs::symlink("loop.crt", pki.join("loop.crt")).expect("linked");
    // As kubelet does it: a link with an absolute path, which here lies below another root.
    let kubelet = root.path().join("var/lib/kubelet/pki");
    write(kubelet.join("kubelet-client-2026.pem"), UTC_TIME).expect("written");
    let current = kubelet.join("kubelet-client-current.pem");
    std::os::unix::fs::symlink("/var/lib/kubelet/pki/kubelet-client-2026.pem", current)
        .expect("linked");
    let defaults: Vec<PathBuf> = super::DEFAULT_PATHS.iter().map(PathBuf::from).collect();
    let now = END - Duration::from_secs(10 * 86_400);
    let batch = read(&Host::at(root.path()), &defaults, false, now).expect("read");
    let days = |file: &str| value(&batch, "certificate.days_left", file);
    let is_readable = |file: &str| value(&batch, "certificate.readable", file);
    let ten = Ok(Value::Number(10.0));
    assert_eq!(days("/etc/kubernetes/pki/apiserver.crt"), ten);
    assert_eq!(days("/var/lib/kubelet/pki/kubelet-client-current.pem"), ten);
    assert!(days("/etc/kubernetes/pki/etcd/server.crt").is_ok());
    assert_eq!(days("/etc/kubernetes/pki/ca.crt"), Err("unreadable"));
    assert_eq!(days("/etc/kubernetes/pki/loop.crt"), Err("probe-failed"));
    for (file, want) in [
        ("ca.crt", false),
        ("loop.crt", false),
        ("apiserver.crt", true),
    ] {
        let file = format!("/etc/kubernetes/pki/{file}");
        assert_eq!(is_readable(&file), Ok(Value::Bool(want)), "{file}");
    }
    let subjects = batch
        .samples
        .iter()
        .filter(|one| one.key == "certificate.readable");
    assert_eq!(subjects.count(), 5);
}

#[test]
fn named_files_are_missed_and_default_ones_are_not() {
    let root = machine();
    let host = Host::at(root.path());
    let paths = [PathBuf::from("/srv/tls/web.pem")];
    let batch = read(&host, &paths, true, clock::since_1970()).expect("read");
    assert_eq!(
        value(&batch, "certificate.days_left", "/srv/tls/web.pem"),
        Err("not-here")
    );
    let none = read(&host, &paths, false, clock::since_1970());
    assert_eq!(none.expect_err("nothing there").kind(), "unsupported");
}

#[test]
fn a_directory_full_of_files_costs_no_more_than_the_bound() {
    let root = machine();
    let pki = root.path().join("etc/kubernetes/pki");
    for number in 0..super::MAX_FILES + 50 {
        write(pki.join(format!("{number}.crt")), UTC_TIME).expect("written");
    }
    let paths = [PathBuf::from("/etc/kubernetes/pki")];
    let batch = read(&Host::at(root.path()), &paths, true, END).expect("read");
    assert_eq!(batch.samples.len(), 2 * super::MAX_FILES);
}

/// As the API server makes it, its signature apart.
fn token(claims: &str) -> String {
    let url = |text: &str| base64(text).replace('+', "-").replace('/', "_");
    let part = |text: &str| url(text).trim_end_matches('=').to_owned();
    format!("{}.{}.SECRET", part("{\"alg\":\"RS256\"}"), part(claims))
}

#[test]
fn what_is_left_of_a_token_is_told_and_the_token_is_not() {
    let at = Duration::from_secs;
    for (claims, now, left) in [
        ("{\"iat\":1000,\"exp\":2000}", 1_250, Some(0.75)),
        (
            "{\"exp\":2000,\"iat\":1000,\"sub\":\"a?>\"}",
            2_500,
            Some(-0.5),
        ),
        ("{\"iat\":1000}", 1_000, None),
        ("{\"iat\":2000,\"exp\":2000}", 1_000, None),
        ("{\"iat\":\"1\",\"exp\":2000}", 1_000, None),
        ("no json", 1_000, None),
    ] {
        assert_eq!(share_left(&token(claims), at(now)), left, "{claims}");
    }
    for broken in ["", ".", "a.b.c", "a.%%.c", "one part"] {
        assert_eq!(share_left(broken, at(1)), None, "{broken}");
    }
    let root = tempfile::tempdir().expect("a directory");
    let place = root.path().join("token");
    let nothing = || read(&Host::at(root.path()), &[], false, END);
    let none = with_token(nothing(), &place, END);
    assert_eq!(none.expect_err("neither").kind(), "unsupported");
    write(&place, token("{\"iat\":1000,\"exp\":2000}")).expect("written");
    let batch = with_token(nothing(), &place, at(1_900)).expect("read");
    assert_eq!(
        value(&batch, "agent.token.left", ""),
        Ok(Value::Number(0.1))
    );
    assert!(!format!("{batch:?}").contains("SECRET"));
}
