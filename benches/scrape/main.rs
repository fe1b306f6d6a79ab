//! Our page beside node_exporter's, on the same machine, in interleaved rounds; prints ratios.
//!
//! ```text
//! cargo build --release --example page
//! cargo bench --bench scrape -- --rounds 7
//! ```
//! Anchors: Debian's `prometheus-node-exporter` (1.5.0) and the newest release, installed with
//! `go install github.com/prometheus/node_exporter@latest`. Root is needed for the full node (a
//! network and mount namespace of its own with 55 veth pairs and 220 tmpfs mounts). Fewer than
//! five rounds print no ratio: one round says more of the machine than of the programs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measuring tool stops at the first surprise, and starts processes"
)]

mod client;
mod machine;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use client::Client;
use machine::State;
use server::{Kind, Running};

/// Fewer rounds than this print no ratio.
const LEAST_ROUNDS: usize = 5;

/// The command line, hand-made: a bench has no other users.
struct Options {
    rounds: usize,
    scrapes: usize,
    own: String,
    inside: bool,
    base: PathBuf,
}

/// One workload's times of one program, all rounds together and the median of each round.
#[derive(Default)]
struct Times {
    all: Vec<Duration>,
    medians: Vec<Duration>,
}

impl Times {
    fn add(&mut self, mut round: Vec<Duration>) {
        round.sort();
        self.medians.push(round[round.len() / 2]);
        self.all.extend(round);
    }

    fn at(&self, percent: usize) -> Duration {
        let mut all = self.all.clone();
        all.sort();
        all[(all.len() - 1) * percent / 100]
    }
}

fn options() -> Options {
    let mut options = Options {
        rounds: 7,
        scrapes: 200,
        own: "target/release/examples/page --listen {}".to_owned(),
        inside: false,
        base: PathBuf::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => options.rounds = args.next().unwrap().parse().unwrap(),
            "--scrapes" => options.scrapes = args.next().unwrap().parse().unwrap(),
            "--own" => options.own = args.next().unwrap(),
            "--base" => options.base = args.next().unwrap().into(),
            "--inside" => options.inside = true,
            // cargo passes it to every bench.
            "--bench" => {}
            other => panic!("unknown argument {other}; see the head of benches/scrape/main.rs"),
        }
    }
    options
}

fn main() {
    let options = options();
    if options.inside {
        machine::make_full_node(&options.base);
        compare("full node: 111 links, 220 tmpfs mounts", false, &options);
        cpu_of_scrapes(&options);
        links_cost(&options);
        return;
    }
    compare("default page, this machine", false, &options);
    compare("default page, gzip asked", true, &options);
    machine::run_inside(&options.own, options.rounds, options.scrapes);
    first_page(&options);
    memory_and_cpu(&options);
}

/// Scrapes the three programs in turns and prints the ratios.
fn compare(what: &str, gzip: bool, options: &Options) {
    println!("\n{what}");
    if options.rounds < LEAST_ROUNDS {
        println!(
            "  no ratio from {} rounds; give --rounds {LEAST_ROUNDS} or more",
            options.rounds
        );
        return;
    }
    let kinds = [Kind::Own(options.own.clone()), Kind::Newest, Kind::Debian];
    let mut servers: Vec<(Running, Client, Times)> = kinds
        .iter()
        .map(|kind| {
            let running = Running::start(kind);
            let client = Client::connect(running.port, gzip);
            (running, client, Times::default())
        })
        .collect();
    let mut states = Vec::new();
    for _ in 0..options.rounds {
        states.push(State::measure());
        for (_, client, times) in &mut servers {
            // The page after another program's turn finds cold caches; in production too, but
            // one such page in a round is enough to show it.
            times.add((0..options.scrapes).map(|_| client.scrape()).collect());
        }
    }
    println!("  machine: {}", State::summary(&states));
    let own = servers[0].2.medians.clone();
    for (running, client, times) in &servers {
        let mut ratios: Vec<f64> = times
            .medians
            .iter()
            .zip(&own)
            .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "  {:<22} p50 {:>8.3} ms  p99 {:>8.3} ms  {:>6} bytes  ratio to ours {:>6.1} (rounds {:.1} to {:.1})",
            running.name,
            times.at(50).as_secs_f64() * 1e3,
            times.at(99).as_secs_f64() * 1e3,
            client.size,
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
        );
    }
}

/// What one further link costs us: the same page with ten pairs more.
fn links_cost(options: &Options) {
    let running = Running::start(&Kind::Own(options.own.clone()));
    let mut client = Client::connect(running.port, false);
    let median = |client: &mut Client| {
        let mut times: Vec<Duration> = (0..options.scrapes * 3).map(|_| client.scrape()).collect();
        times.sort();
        times[times.len() / 2]
    };
    let before = median(&mut client);
    machine::add_pairs(55, 95);
    median(&mut client);
    let after = median(&mut client);
    let per_link = (after.as_secs_f64() - before.as_secs_f64()) / 80.0;
    println!("  each further link      {:>8.1} us", per_link * 1e6);
}

/// What a scrape every 15 s costs of a core.
fn cpu_of_scrapes(options: &Options) {
    const SCRAPES: u32 = 2000;
    let running = Running::start(&Kind::Own(options.own.clone()));
    let mut client = Client::connect(running.port, false);
    client.scrape();
    let before = running.cpu_seconds();
    for _ in 0..SCRAPES {
        client.scrape();
    }
    let each = (running.cpu_seconds() - before) / f64::from(SCRAPES);
    println!(
        "  ours, CPU              {:>8.3} ms a scrape = {:.4} % of a core at 15 s",
        each * 1e3,
        each / 15.0 * 100.0
    );
}

/// From exec to a whole page on stdout.
fn first_page(options: &Options) {
    let program = options.own.split(' ').next().unwrap().to_owned();
    let mut times: Vec<Duration> = (0..21).map(|_| server::one_page(&program)).collect();
    times.sort();
    println!(
        "\nexec to first page       p50 {:>8.3} ms",
        times[10].as_secs_f64() * 1e3
    );
}

/// Memory after many scrapes, what eight scrapers at once add, and what a scrape costs in CPU.
fn memory_and_cpu(options: &Options) {
    const SCRAPES: usize = 100_000;
    println!("\nmemory and CPU ({SCRAPES} scrapes of ours, 500 of node_exporter)");
    for kind in [Kind::Own(options.own.clone()), Kind::Newest, Kind::Debian] {
        let count = if matches!(kind, Kind::Own(_)) {
            SCRAPES
        } else {
            500
        };
        let running = Running::start(&kind);
        let mut client = Client::connect(running.port, false);
        for _ in 0..100 {
            client.scrape();
        }
        let (early, cpu) = (running.resident_kib(), running.cpu_seconds());
        for _ in 0..count {
            client.scrape();
        }
        let late = running.resident_kib();
        let per_scrape = (running.cpu_seconds() - cpu) / count as f64;
        let port = running.port;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = Client::connect(port, false);
                    for _ in 0..50 {
                        client.scrape();
                    }
                });
            }
        });
        println!(
            "  {:<22} RSS {:>6} KiB  growth {:>5} KiB  eight at once {:>+5} KiB  CPU {:>7.3} ms a scrape = {:.4} % of a core at 15 s",
            running.name,
            late,
            late.saturating_sub(early),
            i64::try_from(running.resident_kib()).unwrap() - i64::try_from(late).unwrap(),
            per_scrape * 1e3,
            per_scrape / 15.0 * 100.0,
        );
    }
}
