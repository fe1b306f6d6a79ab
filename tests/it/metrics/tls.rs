//! TLS by the web configuration. Needs openssl and curl.

use std::path::Path;
use std::process::Command;

use super::over_http::serve;

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(dir)
        .args(args)
        .output()
        .expect("installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A CA and server certificate, and one for a client.
fn certificates(dir: &Path) {
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let server = [
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "k.pem",
        "-out",
        "c.pem",
    ];
    let name = ["-addext", "subjectAltName=DNS:localhost"];
    run(
        dir,
        "openssl",
        &[&["req"][..], &key, &server, &name].concat(),
    );
    let client = ["-subj", "/CN=client", "-keyout", "ck.pem", "-out", "c.csr"];
    run(dir, "openssl", &[&["req"][..], &key, &client].concat());
    let extensions = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:client\n";
    std::fs::write(dir.join("ext"), extensions).unwrap();
    let sign = [
        "-CA",
        "c.pem",
        "-CAkey",
        "k.pem",
        "-CAcreateserial",
        "-extfile",
        "ext",
    ];
    let signed = [
        "x509", "-req", "-in", "c.csr", "-days", "2", "-out", "cc.pem",
    ];
    run(dir, "openssl", &[&signed[..], &sign].concat());
}

fn status(dir: &Path, port: u16, scheme: &str, more: &[&str]) -> String {
    let url = format!("{scheme}://localhost:{port}/metrics");
    let plain = [
        "-s",
        "-m",
        "20",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--cacert",
        "c.pem",
    ];
    run(dir, "curl", &[&plain[..], more, &[url.as_str()]].concat())
}

#[test]
fn server_speaks_tls_only_and_asks_for_client_certificates_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certificates(dir);
    let tls = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n";
    let file = dir.join("web.yml");
    std::fs::write(&file, tls).unwrap();
    let port = serve(Some(&file));
    assert_eq!(status(dir, port, "https", &[]), "200");
    assert_eq!(status(dir, port, "https", &["--tlsv1.3"]), "200");
    assert_eq!(status(dir, port, "http", &[]), "000");
    let strict = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: c.pem\n";
    std::fs::write(&file, format!("{tls}{strict}")).unwrap();
    let port = serve(Some(&file));
    assert_eq!(status(dir, port, "https", &[]), "000");
    let client = ["--cert", "cc.pem", "--key", "ck.pem"];
    assert_eq!(status(dir, port, "https", &client), "200");
}

#[test]
fn suites_curves_and_clients_are_bounded_as_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certificates(dir);
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let inline = |name: &str| text(name).replace('\n', "\n    ").trim_end().to_owned();
    let files = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n";
    let stands = format!(
        "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n",
        inline("c.pem"),
        inline("k.pem")
    );
    let client = ["--cert", "cc.pem", "--key", "ck.pem"];
    let of_12 = |suite: &'static str| ["--tlsv1.2", "--tls-max", "1.2", "--ciphers", suite];
    let (with_128, with_256) = (
        of_12("ECDHE-ECDSA-AES128-GCM-SHA256"),
        of_12("ECDHE-ECDSA-AES256-GCM-SHA384"),
    );
    let suites = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_RSA_WITH_AES_128_CBC_SHA]\n";
    let curves = "  curve_preferences: [CurveP384]\n";
    let any = "  client_auth_type: RequireAnyClientCert\n";
    let named = |name: &str| {
        format!(
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: c.pem\n  client_allowed_sans: [other, {name}]\n"
        )
    };
    let cases: [(String, &[&str], &str); 12] = [
        (stands, &[], "200"),
        (format!("{files}{suites}"), &with_256, "200"),
        (format!("{files}{suites}"), &with_128, "000"),
        // The list is about TLS 1.2 only.
        (format!("{files}{suites}"), &["--tlsv1.3"], "200"),
        (format!("{files}{curves}"), &["--curves", "P-384"], "200"),
        (format!("{files}{curves}"), &["--curves", "X25519"], "000"),
        (format!("{files}{any}"), &[], "000"),
        (format!("{files}{any}"), &client, "200"),
        (format!("{files}{}", named("client")), &client, "200"),
        (format!("{files}{}", named("somebody")), &client, "000"),
        (format!("{files}{}", named("client")), &[], "000"),
        (
            format!("{files}  max_version: TLS12\n"),
            &["--tlsv1.3"],
            "000",
        ),
    ];
    let file = dir.join("web.yml");
    for (text, more, want) in cases {
        std::fs::write(&file, &text).unwrap();
        let port = serve(Some(&file));
        assert_eq!(status(dir, port, "https", more), want, "{text}{more:?}");
    }
}

#[test]
fn a_new_certificate_is_served_without_a_change_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certificates(dir);
    let file = dir.join("web.yml");
    let tls = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n";
    std::fs::write(&file, tls).unwrap();
    let port = serve(Some(&file));
    assert_eq!(status(dir, port, "https", &[]), "200");
    // As cert-manager does; the client trusts the new one only.
    certificates(dir);
    let began = std::time::Instant::now();
    while status(dir, port, "https", &[]) != "200" {
        assert!(
            began.elapsed().as_secs() < 20,
            "the old one is served still"
        );
    }
}

#[test]
fn requests_beyond_the_rate_are_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = dir.join("web.yml");
    std::fs::write(&file, "rate_limit: {interval: 1h, burst: 2}\n").unwrap();
    let port = serve(Some(&file));
    let got: Vec<_> = (0..3).map(|_| status(dir, port, "http", &[])).collect();
    assert_eq!(got, ["200", "200", "429"]);
}

/// Everything that a Prometheus may ask for at once, by a client that is not ours.
#[test]
fn curl_gets_openmetrics_packed_over_tls_with_its_password_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certificates(dir);
    let hash = bcrypt::hash("secret", 4).unwrap();
    let text = format!(
        "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\nbasic_auth_users:\n  ann: {hash}\n"
    );
    let file = dir.join("web.yml");
    std::fs::write(&file, text).unwrap();
    let port = serve(Some(&file));
    for (user, want) in [
        ("ann:secret", "200"),
        ("ann:wrong", "401"),
        ("bob:secret", "401"),
    ] {
        assert_eq!(status(dir, port, "https", &["-u", user]), want, "{user}");
    }
    assert_eq!(status(dir, port, "https", &[]), "401");
    let url = format!("https://localhost:{port}/metrics");
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let ask = |more: &[&str]| {
        let plain = [
            "-s",
            "-m",
            "20",
            "--cacert",
            "c.pem",
            "-u",
            "ann:secret",
            "-H",
            accept,
        ];
        run(dir, "curl", &[&plain[..], more, &[url.as_str()]].concat())
    };
    // --compressed asks for gzip and unpacks it.
    let page = ask(&["--compressed"]);
    assert!(page.ends_with("# EOF\n") && page.contains("# TYPE node_cpu_seconds counter\n"));
    let head = ask(&["--compressed", "-D", "-", "-o", "/dev/null"]).to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let plain = ask(&["-D", "-", "-o", "/dev/null"]).to_ascii_lowercase();
    assert!(!plain.contains("content-encoding"), "{plain}");
}
