//! The client against a server on loopback that answers with garbage, in part, slowly, or not at all.

use super::client::MAX_SILENCE;
use super::{Access, ApiError, Call, Cluster, KubeCluster, Resource, Verb};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What is sent, and whether the line is closed after it.
struct Reply {
    bytes: Vec<u8>,
    closes: bool,
}

fn reply(head: &str, body: &[u8]) -> Reply {
    let mut bytes = head.replace('\n', "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Reply {
        bytes,
        closes: true,
    }
}

/// A whole answer.
fn answer(status: &str, body: &str) -> Reply {
    let head = format!(
        "HTTP/1.1 {status}\ncontent-length: {}\nconnection: close\n\n",
        body.len()
    );
    reply(&head, body.as_bytes())
}

fn silent(bytes: &str) -> Reply {
    Reply {
        bytes: bytes.replace('\n', "\r\n").into_bytes(),
        closes: false,
    }
}

/// A client whose server gives this reply to the first request on each connection.
async fn client(reply: Reply) -> KubeCluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut line, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            // One read holds the small requests of these tests.
            let got = line.read(&mut request).await.unwrap_or(0);
            request.truncate(got);
            line.write_all(&reply.bytes).await.ok();
            if reply.closes {
                line.shutdown().await.ok();
            } else {
                kept.push(line);
            }
        }
    });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "k", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
    });
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(config.to_string().as_bytes())
        .expect("written");
    KubeCluster::connect(
        &Access::Kubeconfig(file.path().to_owned()),
        Arc::new(|_, _, _| {}),
    )
    .await
    .expect("a kubeconfig that can be used")
}

fn call(verb: Verb) -> Call {
    Call::new(verb, Resource::Leases, "nodemend", "slot.cluster.0")
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_no_json_is_garbled_and_names_the_object() {
    let ok = "HTTP/1.1 200 OK\n";
    let deep = "[".repeat(100_000);
    let html = "<html><body>Welcome to the hotel</body></html>";
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(9 << 20));
    for (name, reply) in [
        (
            "cut off in the middle",
            reply(
                &format!("{ok}content-length: 900\n\n"),
                b"{\"kind\":\"Lease\",\"meta",
            ),
        ),
        (
            "cut off in a chunk",
            reply(
                &format!("{ok}transfer-encoding: chunked\n\n"),
                b"40\r\n{\"kind\":\"Le",
            ),
        ),
        ("half a document", answer("200 OK", "{\"kind\":\"Lease\"")),
        ("nothing", answer("200 OK", "")),
        ("a portal's page", answer("200 OK", html)),
        ("two documents", answer("200 OK", "{}{}")),
        (
            "no text",
            reply(&format!("{ok}content-length: 4\n\n"), &[0xff, 0xfe, 0, 1]),
        ),
        ("deeper than any object", answer("200 OK", &deep)),
        ("larger than any answer", answer("200 OK", &large)),
    ] {
        for verb in [Verb::Get, Verb::Create, Verb::Update, Verb::Delete] {
            let client = client(Reply {
                bytes: reply.bytes.clone(),
                closes: true,
            })
            .await;
            let error = client.call(call(verb)).await.expect_err(name);
            assert!(
                matches!(error, ApiError::Garbled { .. }),
                "{name}: {error:?}"
            );
            let text = error.to_string();
            assert!(
                text.starts_with("Lease nodemend/slot.cluster.0: "),
                "{text}"
            );
            assert!(text.len() < 500, "{name}: {} characters", text.len());
            // A write that met it may have been made.
            assert!(!error.is_final(), "{name}");
        }
    }
}

#[tokio::test]
async fn no_http_at_all_is_unreachable() {
    for bytes in ["", "\0\0\0", "SSH-2.0-OpenSSH_9.9\n", "HTTP/9.9 200 OK\n\n"] {
        let client = client(reply(bytes, b"")).await;
        let error = client.call(call(Verb::Get)).await.expect_err("refused");
        assert!(
            matches!(error, ApiError::Unreachable { .. }),
            "{bytes:?}: {error:?}"
        );
        assert!(!error.is_final());
    }
}

#[tokio::test]
async fn refusals_keep_their_code_whatever_the_body_is() {
    let html = "<html>503</html>";
    for (status, body, code, message) in [
        ("500 Oops", html, 500, "no reason given"),
        ("403 Forbidden", "", 403, "no reason given"),
        ("403 Forbidden", "[1,2]", 403, "no reason given"),
        (
            "409 Conflict",
            "{\"reason\":7,\"message\":{}}",
            409,
            "no reason given",
        ),
        (
            "409 Conflict",
            "{\"reason\":\"Conflict\",\"message\":\"changed\"}",
            409,
            "changed",
        ),
        ("302 Found", html, 302, "no reason given"),
    ] {
        let client = client(answer(status, body)).await;
        let error = client.call(call(Verb::Update)).await.expect_err("refused");
        assert_eq!(error.code(), Some(code), "{status}: {error:?}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let long = json!({ "message": "x".repeat(100_000) }).to_string();
    let client = client(answer("403 Forbidden", &long)).await;
    let error = client.call(call(Verb::Get)).await.expect_err("refused");
    assert!(error.to_string().len() < 600);
}

#[tokio::test]
async fn a_retry_after_is_read_and_bounded() {
    for (header, seconds) in [
        ("3", Some(3)),
        ("0", Some(0)),
        ("86400", Some(600)),
        ("18446744073709551615", Some(600)),
        ("99999999999999999999999", None),
        ("-1", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ] {
        let head = format!(
            "HTTP/1.1 429 Slow\nretry-after: {header}\ncontent-length: 0\nconnection: close\n\n"
        );
        let client = client(reply(&head, b"")).await;
        let error = client.call(call(Verb::Get)).await.expect_err("refused");
        let waits = error.retry_after().map(|wait| wait.as_secs());
        assert_eq!(waits, seconds, "{header}");
    }
}

/// Real time, because sockets do not know of another: the whole test takes one call limit.
#[tokio::test]
async fn a_server_that_is_too_slow_is_late() {
    let replies = [
        silent(""),
        silent("HTTP/1.1 200 OK\n"),
        silent("HTTP/1.1 200 OK\ncontent-length: 900\n\n{\"kind\":"),
        silent("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n4\n{\"a\"\n"),
    ];
    let mut asked = tokio::task::JoinSet::new();
    for reply in replies {
        asked.spawn(async move {
            let client = client(reply).await;
            (
                client.call(call(Verb::Get)).await,
                client.watch(call(Verb::Watch)).await.err(),
            )
        });
    }
    while let Some(joined) = asked.join_next().await {
        let (called, _) = joined.expect("ends");
        let error = called.expect_err("late");
        assert!(matches!(error, ApiError::Late { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("Lease nodemend/slot.cluster.0: no answer")
        );
    }
}

#[tokio::test]
async fn garbled_lines_of_a_watch_are_errors_and_a_cut_off_line_is_no_event() {
    let event = "{\"type\":\"MODIFIED\",\"object\":{\"new\":{}}}\n";
    let huge = format!("{{\"a\":\"{}\"}}\n", "x".repeat(9 << 20));
    for (name, body, events, ends_well) in [
        ("closed at once", String::new(), 0, true),
        ("whole lines", format!("{event}{event}"), 2, true),
        (
            "cut off in a line",
            format!("{event}{}", &event[..20]),
            1,
            true,
        ),
        ("no json", format!("{event}<html>\n{event}"), 1, false),
        ("an empty line", format!("{event}\n"), 1, false),
        ("no text", format!("{event}\u{0}\u{1}\n"), 1, false),
        ("a line without end", huge, 0, false),
    ] {
        let client = client(answer("200 OK", &body)).await;
        let mut watch = client.watch(call(Verb::Watch)).await.expect("opens");
        for _ in 0..events {
            let event = watch.next().await.expect("an event").expect("whole");
            assert_eq!(event["type"], "MODIFIED", "{name}");
        }
        match watch.next().await {
            None => assert!(ends_well, "{name}"),
            Some(Err(error)) => {
                assert!(!ends_well, "{name}: {error}");
                assert!(
                    matches!(error, ApiError::Garbled { .. }),
                    "{name}: {error:?}"
                );
            }
            Some(Ok(event)) => panic!("{name}: {event}"),
        }
    }
    let refused = client(answer("410 Gone", "<html>")).await;
    let error = refused
        .watch(call(Verb::Watch))
        .await
        .err()
        .expect("refused");
    assert_eq!(error.code(), Some(410));
}

/// The connection stands and nothing comes any more, as behind a switch that died: nobody closes it.
#[tokio::test]
async fn a_watch_that_falls_silent_is_late() {
    // As it goes over the line, each end of a line is two bytes.
    let event = "{\"type\":\"MODIFIED\",\"object\":{}}\n";
    let length = event.len() + 1;
    let head = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n";
    let client = client(silent(&format!("{head}{length:x}\n{event}\n"))).await;
    let client = client.with_silence(Duration::from_millis(200));
    let mut watch = client.watch(call(Verb::Watch)).await.expect("opens");
    watch.next().await.expect("an event").expect("whole");
    let error = watch.next().await.expect("no end").expect_err("late");
    assert!(matches!(error, ApiError::Late { .. }), "{error:?}");
    // The server sends a bookmark a minute: two may be lost on their way, and five minutes are too long to be deaf to people.
    assert!((120..240).contains(&MAX_SILENCE.as_secs()));
}
