//! The lab is torn down whatever happens: also when the test process itself is killed and nothing is dropped.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::controlplane::ControlPlane;
use crate::node::Node;
use crate::pods::pause_image;
use crate::process::until;

const UP: &str = "the lab is up";
const GONE_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_lab_whose_test_is_killed_leaves_no_process_behind() {
    let own = std::env::current_exe().expect("this test binary");
    let part = "teardown::a_lab_that_waits_for_its_end";
    // What it cannot remove itself goes with this.
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(own)
        .args(["--exact", part, "--ignored", "--nocapture"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary can be started");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut lines = output.lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains(UP)),
        "the lab ended before it was up"
    );
    let mut of_lab = BTreeSet::new();
    collect(child.id(), &mut of_lab);
    let names: Vec<&str> = of_lab.iter().map(|(_, name)| name.as_str()).collect();
    for expected in ["controlplane", "systemd-nspawn", "containerd", "systemd"] {
        assert!(
            names.iter().any(|name| expected.starts_with(name)),
            "{expected} in {names:?}"
        );
    }
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    let left = || -> Vec<&(u32, String)> {
        let is_there = |one: &&(u32, String)| name_of(one.0).as_ref() == Some(&one.1);
        of_lab.iter().filter(is_there).collect()
    };
    let count = of_lab.len();
    let took = until("all processes of the lab are gone", GONE_WITHIN, || {
        left().is_empty()
    });
    eprintln!("{count} processes were gone {took:?} after the test");
}

#[test]
#[ignore = "a part of another test, which kills it"]
fn a_lab_that_waits_for_its_end() {
    let plane = ControlPlane::start_for_nodes("torn-down");
    let images = plane.images();
    pause_image(&images, "localhost/pause:1", "pause");
    let mut node = Node::boot(&plane, 81, &images);
    node.await_ready(&plane);
    println!("{UP}");
    loop {
        std::thread::park();
    }
}

/// Every process below `parent`, in all its threads.
fn collect(parent: u32, found: &mut BTreeSet<(u32, String)>) {
    let threads = fs::read_dir(format!("/proc/{parent}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            if let Some(name) = name_of(child) {
                found.insert((child, name));
            }
            collect(child, found);
        }
    }
}

/// What a process that is not yet a zombie calls itself.
fn name_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    (!rest.trim_start().starts_with('Z')).then(|| name.to_owned())
}
