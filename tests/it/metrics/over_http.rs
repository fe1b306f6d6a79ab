//! The server against clients that are slow, large, many or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::http::MetricsRoute;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::server::{MAX_CONNECTIONS, Server};

use super::page::{Parsed, fetch};
use crate::fuzz::entries::web::Only;

/// Serves the live machine on a thread of its own until the test process ends.
pub fn serve(web_config: Option<&std::path::Path>) -> u16 {
    let settings = Settings::defaults(Roots::host(), TABLE);
    let page = ScrapePage::new(&settings, TABLE).unwrap();
    let server = Server::new(Only(MetricsRoute::new(page, settings)), web_config).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            server.serve(listener).await.unwrap();
        });
    });
    told.recv().unwrap()
}

fn ask(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status that a request as it stands gets; 0 for what is no answer.
pub fn status(port: u16, request: &[u8]) -> u16 {
    let answer = ask(port, request);
    answer
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

#[test]
fn wrong_requests_get_a_clear_status() {
    let port = serve(None);
    let get = |tail: &str| format!("GET {tail} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let large = format!("{}X: {}\r\n\r\n", get("/metrics"), "a".repeat(10_000));
    let huge = format!("{}X: {}\r\n\r\n", get("/metrics"), "a".repeat(100_000));
    let many = format!("{}{}\r\n", get("/metrics"), "X: a\r\n".repeat(2_000));
    let cases: [(&str, String, u16); 9] = [
        ("plain", format!("{}\r\n", get("/metrics")), 200),
        (
            "selected",
            format!("{}\r\n", get("/metrics?collect[]=loadavg")),
            200,
        ),
        (
            "unknown collector",
            format!("{}\r\n", get("/metrics?collect[]=nonsense")),
            400,
        ),
        (
            "both",
            format!("{}\r\n", get("/metrics?collect[]=loadavg&exclude[]=cpu")),
            400,
        ),
        (
            "head, as load balancers ask",
            "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            200,
        ),
        (
            "post",
            "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            405,
        ),
        ("10,000 header bytes", large, 200),
        ("100,000 header bytes", huge, 431),
        ("2,000 headers", many, 431),
    ];
    for (what, request, want) in cases {
        assert_eq!(status(port, request.as_bytes()), want, "{what}");
    }
    assert_eq!(status(port, b"nonsense\r\n\r\n"), 400);
}

#[test]
fn selection_leaves_out_the_others() {
    let port = serve(None);
    let (_, only) = fetch(port, "/metrics?collect[]=loadavg");
    let only = Parsed::of(&only);
    assert!(only.get("node_load1", &[]).is_some());
    assert_eq!(only.count("node_scrape_collector_success"), 1);
    let (_, except) = fetch(port, "/metrics?exclude[]=loadavg");
    let except = Parsed::of(&except);
    assert!(except.get("node_load1", &[]).is_none());
    assert!(except.count("node_scrape_collector_success") > 10);
}

#[test]
fn hanging_clients_do_not_keep_others_out_until_there_is_no_room() {
    let port = serve(None);
    // Clients that send half a head, and clients that ask and never read.
    let mut held = Vec::new();
    for number in 0..MAX_CONNECTIONS - 1 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let half = if number % 2 == 0 {
            "GET /metrics HT"
        } else {
            "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        };
        stream.write_all(half.as_bytes()).unwrap();
        held.push(stream);
    }
    // Half of them asked at once, so some turns are taken for a moment.
    assert!((0..1000).any(|_| fetch(port, "/metrics").0 == 200));
    let full = (0..1000).any(|_| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        held.push(stream);
        let mut probe = TcpStream::connect(("127.0.0.1", port)).unwrap();
        probe
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut answer = [0; 12];
        probe.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 503"
    });
    assert!(full);
    held.clear();
    // Room comes back as soon as the held ones are gone.
    let back = (0..1000).any(|_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let asked = write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let mut text = Vec::new();
        asked.is_ok() && stream.read_to_end(&mut text).is_ok() && text.starts_with(b"HTTP/1.1 200")
    });
    assert!(back);
}

#[test]
fn users_of_the_web_configuration_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let hash = bcrypt::hash("secret", 4).unwrap();
    std::fs::write(&path, format!("basic_auth_users:\n  ann: {hash}\n")).unwrap();
    let port = serve(Some(&path));
    let with = |line: &str| {
        let head = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        status(port, format!("{head}{line}\r\n").as_bytes())
    };
    assert_eq!(with(""), 401);
    assert_eq!(with("Authorization: Basic YW5uOndyb25n\r\n"), 401);
    assert_eq!(with("Authorization: Basic YW5uOnNlY3JldA==\r\n"), 200);
}
