//! A scraper that keeps its connection, as Prometheus does, and does nothing with the page.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One connection.
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of the last answer's body as sent.
    pub size: usize,
}

impl Client {
    /// Connects; waits until the server listens.
    pub fn connect(port: u16, gzip: bool) -> Client {
        let began = Instant::now();
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        stream.set_nodelay(true).unwrap();
        let encoding = if gzip {
            "Accept-Encoding: gzip\r\n"
        } else {
            "Accept-Encoding: identity\r\n"
        };
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: bench\r\n{encoding}\r\n").into_bytes();
        Client {
            stream,
            request,
            buffer: vec![0; 1 << 20],
            size: 0,
        }
    }

    /// Fetches one page and says how long it took from the request's first to the answer's last
    /// byte.
    pub fn scrape(&mut self) -> Duration {
        let began = Instant::now();
        self.stream.write_all(&self.request).unwrap();
        let mut got = 0;
        loop {
            if got == self.buffer.len() {
                self.buffer.resize(got * 2, 0);
            }
            let more = self.stream.read(&mut self.buffer[got..]).unwrap();
            assert!(more > 0, "the server hung up");
            got += more;
            if let Some(size) = whole(&self.buffer[..got]) {
                self.size = size;
                return began.elapsed();
            }
        }
    }
}

/// The body's size if the answer is complete.
fn whole(answer: &[u8]) -> Option<usize> {
    let head = answer
        .windows(4)
        .take(4096)
        .position(|bytes| bytes == b"\r\n\r\n")?
        + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    let body = answer.len() - head;
    match text.split_once("content-length:") {
        Some((_, rest)) => {
            let length: usize = rest.split("\r\n").next()?.trim().parse().ok()?;
            (body >= length).then_some(body)
        }
        // Chunked: the last chunk is empty.
        None => answer.ends_with(b"0\r\n\r\n").then_some(body),
    }
}
