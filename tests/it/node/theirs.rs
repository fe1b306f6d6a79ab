//! Debian's node_exporter over a tree (package `prometheus-node-exporter`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BINARY: &str = "prometheus-node-exporter";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The text of one page of `collectors`, with the place of the tree taken out of it.
pub fn text(root: &Path, collectors: &[&str]) -> String {
    let path = |flag: &str, below: &str| format!("--path.{flag}={}", root.join(below).display());
    let mut command = Command::new(BINARY);
    command
        .args([
            path("procfs", "proc"),
            path("sysfs", "sys"),
            format!("--path.rootfs={}", root.display()),
        ])
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--collector.disable-defaults",
            "--web.disable-exporter-metrics",
        ])
        .args(collectors.iter().map(|name| format!("--collector.{name}")))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{BINARY}: {error}; apt-get install {BINARY}"));
    let log = child.stderr.take().unwrap();
    let running = Running(child);
    let port = listening_port(&running, BufReader::new(log));
    let page = get(port);
    drop(running);
    page.replace(root.to_str().unwrap(), "ROOT")
}

/// The port that the kernel chose. Version 1.5 logs the address asked for and not the one it
/// got, so the port is looked up among the sockets of the process.
fn listening_port(running: &Running, log: impl BufRead + Send + 'static) -> u16 {
    let mut seen = String::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        let line = line.unwrap();
        let ready = line.contains("TLS is disabled");
        seen.push_str(&line);
        seen.push('\n');
        if ready {
            // Whoever logs into a closed pipe dies of it, so the rest is read and dropped.
            std::thread::spawn(move || lines.for_each(drop));
            return port_of(running.0.id());
        }
    }
    panic!("{BINARY} ended before it listened:\n{seen}");
}

fn port_of(pid: u32) -> u16 {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.to_owned();
            Some(link.trim_end_matches(']').to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let port = table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let listens = words[3] == "0A" && sockets.iter().any(|inode| inode == words[9]);
        let (_, port) = words[1].split_once(':')?;
        listens.then(|| u16::from_str_radix(port, 16).unwrap())
    });
    port.expect("a process that listens has a listening socket")
}

fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}\n{body}");
    body.to_owned()
}
