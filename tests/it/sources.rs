//! The probes `kernel_log`, `journal`, `packages`, `os`, `storage` and `kernel` on the real machine.
//!
//! Needs root, `/dev/kmsg`, dpkg, mkfs.ext4 and a loop device, and fails where one of them is missing.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start commands and look at clocks themselves"
)]

use nodemend::host::Host;
use nodemend::probes::kernel_log::{KernelLog, Trust};
use nodemend::probes::{Probe, ProbeError, SPECS, build, catalogue, storage};
use nodemend::signal::{Batch, Value};
use nodemend::versions::compare_dpkg;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

fn collect(probe: &mut dyn Probe, host: &Host) -> Result<Batch, ProbeError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(probe.collect(host))
}

fn value(batch: &Batch, key: &str, subject: &str) -> Option<Value> {
    let mut samples = batch.samples.iter();
    let sample = samples.find(|s| s.key == key && s.subject.as_str() == subject)?;
    sample.value.clone().ok()
}

/// What dpkg itself says about two versions; none where it refuses one of them.
fn asked_of_dpkg(a: &str, b: &str) -> Option<Ordering> {
    let holds = |relation: &str| {
        let run = Command::new("dpkg")
            .args(["--compare-versions", a, relation, b])
            .output()
            .expect("dpkg runs");
        (run.status.success(), run.stderr.is_empty())
    };
    match (holds("lt"), holds("eq")) {
        ((_, false), _) => None,
        ((true, _), _) => Some(Ordering::Less),
        (_, (true, _)) => Some(Ordering::Equal),
        _ => Some(Ordering::Greater),
    }
}

#[test]
fn random_versions_are_ordered_as_dpkg_orders_them() {
    let version = "([0-2]:)?[0-9]([0-9a-c~+.]{0,5})(-[0-9a-c~+.]{1,3})?";
    // One version and a neighbour of it: unrelated pairs differ in their first digit and prove little.
    let pairs = (version, 0usize..8, "[0~+a.]").prop_map(|(a, at, extra)| {
        let mut b = a.clone();
        b.insert_str(at.min(a.len()), &extra);
        (a, b)
    });
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let mut judged = 0;
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&pairs, |(a, b)| {
        if let Some(expected) = asked_of_dpkg(&a, &b) {
            prop_assert_eq!(compare_dpkg(&a, &b), expected, "{} and {}", a, b);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    for line in include_str!("../fixtures/versions/dpkg-compare.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if line.starts_with('#') || judged >= 60 {
            continue;
        }
        let [a, _, b] = words[..] else {
            panic!("three words: {line}");
        };
        // dpkg answers about a version that begins with a letter, but with a warning.
        if let Some(expected) = asked_of_dpkg(a, b) {
            assert_eq!(compare_dpkg(a, b), expected, "{line}");
            judged += 1;
        }
    }
}

#[test]
fn every_probe_answers_on_this_machine_with_declared_keys_only() {
    let host = Host::at("/");
    let mut probes = build(&host);
    assert_eq!(probes.len(), SPECS.len());
    for (probe, spec) in probes.iter_mut().zip(SPECS) {
        assert_eq!(probe.spec().name, spec.name);
        match collect(probe.as_mut(), &host) {
            Ok(batch) => {
                assert_eq!(batch.probe, spec.name);
                for sample in &batch.samples {
                    let key = spec.keys.iter().find(|key| key.name == sample.key);
                    let key = key.unwrap_or_else(|| panic!("{} is not declared", sample.key));
                    assert_eq!(key.per.is_none(), sample.subject.is_node(), "{}", key.name);
                    if let Ok(value) = &sample.value {
                        assert_eq!(value.form(), key.form, "{}", key.name);
                    }
                }
            }
            Err(error) => assert_eq!(error.kind(), "unsupported", "{}: {error}", spec.name),
        }
    }
}

#[test]
fn no_two_probes_declare_the_same_key_and_each_says_what_it_costs() {
    let mut names = BTreeSet::new();
    for spec in SPECS {
        assert!(
            !spec.cost.is_empty() && spec.cost != "TODO",
            "{}",
            spec.name
        );
        assert!(
            spec.timeout >= std::time::Duration::from_secs(1),
            "{}",
            spec.name
        );
        for key in spec.keys {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(
                !key.help.is_empty() && !key.source.is_empty(),
                "{}",
                key.name
            );
            assert!(
                key.max_age > spec.period * 2,
                "{} goes stale too soon",
                key.name
            );
        }
    }
    // The catalogue also knows what the Node object says.
    assert!(names.iter().all(|name| catalogue().get(name).is_some()));
}

#[test]
fn a_line_that_a_process_writes_into_the_kernel_log_is_not_believed() {
    let host = Host::at("/");
    let mut trusting = KernelLog::new(Trust::Everyone);
    let mut strict = KernelLog::new(Trust::KernelOnly);
    let drained = |probe: &mut KernelLog| {
        // The ring may hold more than one run reads.
        std::iter::from_fn(|| Some(collect(probe, &host).expect("readable")))
            .take(50)
            .find(|batch| !batch.heard.is_empty())
    };
    drained(&mut trusting).expect("read to its end");
    drained(&mut strict).expect("read to its end");
    let line = format!("nodemend-test-{}: BUG: soft lockup", std::process::id());
    let mut kmsg = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .expect("root, and a kernel log");
    kmsg.write_all(format!("<0>{line}\n").as_bytes())
        .expect("written");
    let seen = drained(&mut trusting).expect("read");
    let record = seen
        .records
        .iter()
        .find(|r| *r.text == *line)
        .expect("there");
    assert!(!record.history);
    assert!(record.at.uptime > nodemend::signal::Uptime::default());
    let believed = drained(&mut strict).expect("read");
    assert!(believed.records.iter().all(|r| *r.text != *line));
}

#[test]
fn the_watched_packages_are_those_that_dpkg_names() {
    let host = Host::at("/");
    let at = SPECS
        .iter()
        .position(|spec| spec.name == "packages")
        .expect("listed");
    let mut probes = build(&host);
    let batch = collect(probes[at].as_mut(), &host).expect("read");
    for name in ["systemd", "dbus"] {
        let asked = Command::new("dpkg-query")
            .args(["-W", "-f", "${Version}", name])
            .output()
            .expect("dpkg-query runs");
        let version = String::from_utf8(asked.stdout).expect("text");
        assert_eq!(
            value(&batch, "package.version", name),
            Some(Value::Text(version.into())),
            "{name}"
        );
    }
}

/// A process with a mount namespace of its own; everything in it goes with it.
struct Mounts(Child);

impl Mounts {
    fn with(script: &str) -> Self {
        let mut child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("readable");
        assert_eq!(line, "ready\n", "needs root, mkfs.ext4 and a loop device");
        Self(child)
    }

    /// Ends the present step of the script and waits for the next one.
    fn go_on(&mut self) {
        let input = self.0.stdin.as_mut().expect("piped");
        input.write_all(b"\n").expect("it reads");
        let mut line = String::new();
        let output = self.0.stdout.as_mut().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("readable");
        assert_eq!(line, "ready\n");
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_real_ext4_that_the_kernel_shut_is_found() {
    for (options, refuses) in [("errors=remount-ro", true), ("errors=continue", false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("image");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(8 << 20))
            .expect("made");
        std::fs::create_dir_all(dir.path().join("m")).expect("made");
        // The kernel counts the error a little later, in a work queue.
        let script = format!(
            "cd {}; mkfs.ext4 -q image; mount -o loop,{options} image m; echo ready; read x; \
             d=$(findmnt -no SOURCE m); d=/sys/fs/ext4/${{d#/dev/}}; echo 1 > $d/trigger_fs_error; \
             for i in $(seq 200); do [ $(cat $d/errors_count) = 0 ] || break; sleep 0.05; done; echo ready; read x",
            dir.path().display()
        );
        let mut mounts = Mounts::with(&script);
        // The machine as seen through the eyes of that process.
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("proc/1")).expect("made");
        std::fs::create_dir_all(root.join("sys/fs")).expect("made");
        symlink(
            format!("/proc/{}/mountinfo", mounts.0.id()),
            root.join("proc/1/mountinfo"),
        )
        .expect("linked");
        symlink("/sys/fs/ext4", root.join("sys/fs/ext4")).expect("linked");
        let host = Host::at(&root);
        let point = dir.path().join("m").display().to_string();
        let mut probe = storage::Storage::new();
        let before = collect(&mut probe, &host).expect("read");
        assert_eq!(
            value(&before, "fs.readonly", &point),
            Some(Value::Bool(false))
        );
        mounts.go_on();
        let after = collect(&mut probe, &host).expect("read");
        assert_eq!(
            value(&after, "fs.readonly", &point),
            Some(Value::Bool(refuses)),
            "{options}"
        );
        // Other tests' file systems come and go meanwhile, so what counts is that one of them got worse.
        let errors = |batch: &Batch, device: &str| match value(batch, "fs.ext4_errors", device) {
            Some(Value::Integer(count)) => count,
            _ => 0,
        };
        let mut devices = after.samples.iter().filter(|s| s.key == "fs.ext4_errors");
        let got_worse = devices.any(|sample| {
            let device = sample.subject.as_str();
            errors(&after, device) > errors(&before, device)
        });
        assert!(got_worse, "{options}");
    }
}
