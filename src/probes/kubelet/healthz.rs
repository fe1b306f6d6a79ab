//! The kubelet's health check: one GET, without the HTTP client that one line does not need.

use crate::host::Deadline;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How much of the answer is read. A failing kubelet lists its checks, one a line.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\nUser-Agent: nodemend\r\n\r\n";

/// What came of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// `200 ok`.
    Ok,
    /// An answer that is not `ok`, or none: a short stable word.
    Bad(String),
    /// Nothing listens there.
    NobodyThere,
    /// The kubelet was told to have none.
    SwitchedOff,
    /// Our own trouble: no descriptor, no buffer.
    CannotTell(String),
}

/// Asks once.
pub(super) async fn ask(address: SocketAddr, deadline: Deadline) -> Health {
    match deadline.bound(talk(address)).await {
        Err(_elapsed) => Health::Bad("late".to_owned()),
        Ok(Ok(answer)) => read_answer(&answer),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Health::NobodyThere,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Health::Bad("closed".to_owned()),
            _ => Health::CannotTell(format!("http://{address}/healthz: {error}")),
        },
    }
}

async fn talk(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

/// What an answer says.
fn read_answer(answer: &[u8]) -> Health {
    let text = String::from_utf8_lossy(answer);
    let mut words = text.split_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().and_then(|word| word.parse::<u16>().ok());
    match status.filter(|_| is_http) {
        Some(200) if text.trim_end().ends_with("ok") => Health::Ok,
        Some(status) if (100..600).contains(&status) => Health::Bad(format!("status-{status}")),
        _ if answer.is_empty() => Health::Bad("closed".to_owned()),
        _ => Health::Bad("garbled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    #[test]
    fn answers_are_read_as_a_kubelet_means_them() {
        for (answer, expected) in [
            // kubelet 1.34: curl -i http://127.0.0.1:10248/healthz
            (
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 2\r\n\r\nok",
                Health::Ok,
            ),
            (
                "HTTP/1.1 500 Internal Server Error\r\n\r\n[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n",
                Health::Bad("status-500".to_owned()),
            ),
            (
                "HTTP/1.0 200 OK\r\n\r\nnot yet",
                Health::Bad("status-200".to_owned()),
            ),
            ("HTTP/1.0 9999 ok", Health::Bad("garbled".to_owned())),
            (
                "SSH-2.0-OpenSSH_9.2 200 ok",
                Health::Bad("garbled".to_owned()),
            ),
            ("", Health::Bad("closed".to_owned())),
        ] {
            assert_eq!(read_answer(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_is_heard_and_a_mute_one_is_left_at_the_deadline() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let answering = async {
            let (mut stream, _) = server.accept().await.expect("a caller");
            let mut request = [0; 256];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.0\r\n"));
            stream
                .write_all(b"HTTP/1.0 200 OK\r\n\r\nok")
                .await
                .expect("sent");
        };
        let (health, ()) = tokio::join!(
            ask(address, Deadline::after(Duration::from_secs(5))),
            answering
        );
        assert_eq!(health, Health::Ok);
        // The kernel takes the connection; nobody reads it.
        let mute = ask(address, Deadline::after(Duration::from_millis(30))).await;
        assert_eq!(mute, Health::Bad("late".to_owned()));
        drop(server);
        let gone = ask(address, Deadline::after(Duration::from_secs(5))).await;
        assert_eq!(gone, Health::NobodyThere);
    }
}
