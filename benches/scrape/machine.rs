//! The machine: which state it is in, and a full node in namespaces of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A turn of the loop below takes about this long on this kind of machine (2 virtual cores) in
/// its fast state; slow is when it takes half as long again. The kind changes its pace by the
/// hour, which is why ratios decide and not times.
const FAST_TURN: Duration = Duration::from_micros(2600);
const SLOW_FACTOR: f64 = 1.5;

/// What the machine was like before a round.
pub struct State {
    turn: Duration,
    load: f64,
}

impl State {
    /// Times a fixed piece of arithmetic, best of five, and asks for the load.
    pub fn measure() -> State {
        let turn = (0..5)
            .map(|_| {
                let began = Instant::now();
                let mut sum = 1_u64;
                for number in 0..2_000_000_u64 {
                    sum =
                        std::hint::black_box(sum.wrapping_mul(6_364_136_223_846_793_005) ^ number);
                }
                std::hint::black_box(sum);
                began.elapsed()
            })
            .min()
            .unwrap();
        let text = std::fs::read_to_string("/proc/loadavg").unwrap();
        State {
            turn,
            load: text.split(' ').next().unwrap().parse().unwrap(),
        }
    }

    /// One line on all rounds.
    pub fn summary(states: &[State]) -> String {
        let slow =
            |state: &&State| state.turn.as_secs_f64() > FAST_TURN.as_secs_f64() * SLOW_FACTOR;
        let count = states.iter().filter(slow).count();
        let word = match count {
            0 => "fast",
            count if count == states.len() => "slow",
            _ => "changing",
        };
        let best = states.iter().map(|state| state.turn).min().unwrap();
        let load = states.iter().map(|state| state.load).fold(0.0, f64::max);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let busy = if load > cores as f64 {
            "; others are using it too"
        } else {
            ""
        };
        format!(
            "{word} state (a fixed loop took {:.2} ms at best), load up to {load:.1} on {cores} cores{busy}",
            best.as_secs_f64() * 1e3
        )
    }
}

/// Runs this bench again in namespaces of its own, for the full node.
pub fn run_inside(own: &str, rounds: usize, scrapes: usize) {
    let program = std::env::current_exe().unwrap();
    let base = std::env::temp_dir().join(format!("nodemend-bench-{}", std::process::id()));
    std::fs::create_dir(&base).unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private"])
        .arg(program)
        .args(["--inside", "--own", own, "--rounds", &rounds.to_string()])
        .args([
            "--scrapes",
            &scrapes.to_string(),
            "--base",
            base.to_str().unwrap(),
        ])
        .status()
        .expect("unshare of util-linux");
    std::fs::remove_dir(&base).unwrap();
    assert!(status.success(), "the full node needs root");
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {args:?}"
    );
}

/// Makes the present namespaces a full node: 55 veth pairs and 220 tmpfs mounts. They vanish with
/// the namespaces.
pub fn make_full_node(base: &Path) {
    run("ip", &["link", "set", "lo", "up"]);
    // The host's sysfs shows the host's links; this one shows ours.
    run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
    add_pairs(0, 55);
    run("mount", &["-t", "tmpfs", "base", base.to_str().unwrap()]);
    for number in 0..219 {
        let point = base.join(format!("m{number}"));
        std::fs::create_dir(&point).unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "size=64k",
                "pod",
                point.to_str().unwrap(),
            ],
        );
    }
}

/// Adds veth pairs, all up.
pub fn add_pairs(from: usize, to: usize) {
    for number in from..to {
        let (here, there) = (format!("veth{number}"), format!("peer{number}"));
        run(
            "ip",
            &["link", "add", &here, "type", "veth", "peer", "name", &there],
        );
        run("ip", &["link", "set", &here, "up"]);
        run("ip", &["link", "set", &there, "up"]);
    }
}
