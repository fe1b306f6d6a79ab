//! The three programs, started on loopback and ended with the bench.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which program.
pub enum Kind {
    /// Ours; the command line with `{}` for the address.
    Own(String),
    /// `go install github.com/prometheus/node_exporter@latest`.
    Newest,
    /// Debian's package `prometheus-node-exporter`.
    Debian,
}

/// A running program.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub port: u16,
    /// How it is called in the report.
    pub name: &'static str,
}

impl Running {
    /// Starts it with its defaults.
    pub fn start(kind: &Kind) -> Running {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let listen = format!("--web.listen-address={address}");
        let (name, program, args) = match kind {
            Kind::Own(command) => {
                let mut words = command.split(' ').map(|word| word.replace("{}", &address));
                let program = words.next().unwrap();
                ("ours", program, words.collect())
            }
            Kind::Newest => {
                let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
                (
                    "node_exporter newest",
                    format!("{home}/go/bin/node_exporter"),
                    vec![listen],
                )
            }
            // systemd is on by default in Debian's build alone; off, so that the work is equal.
            Kind::Debian => (
                "node_exporter 1.5.0",
                "prometheus-node-exporter".to_owned(),
                vec![listen, "--no-collector.systemd".to_owned()],
            ),
        };
        let child = Command::new(&program)
            .args(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Running { child, port, name }
    }

    /// Resident memory.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// CPU time used so far, user and system.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / 100.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let killed = self.child.kill();
        let waited = self.child.wait();
        assert!(killed.is_ok() && waited.is_ok());
    }
}

/// Runs `program` for one page on stdout.
pub fn one_page(program: &str) -> Duration {
    let began = Instant::now();
    let output = Command::new(program).output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success() && output.stdout.len() > 10_000);
    took
}
