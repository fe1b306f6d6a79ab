//! The probe `systemd-units` against a fake PID 1 with units of the test's own.

use super::fake::{Fake, Manner, bus_with, machine, private, private_with};
use super::probe::{probe, read};
use super::wire::{Asked, Kind, message};
use nodemend::host::Host;
use nodemend::probes::{Probe, ProbeError};
use nodemend::signal::{Batch, Value};
use std::sync::{Arc, Mutex};
use zvariant::{ObjectPath, Value as Variant};

/// A unit of the fake: name, active, sub, restarts (none: a systemd before 235).
type Unit = (&'static str, &'static str, &'static str, Option<u32>);

/// What the fake PID 1 has at present.
#[derive(Clone, Default)]
struct World {
    units: Vec<Unit>,
    jobs: Vec<u32>,
    /// A systemd before 230: no `ListUnitsByPatterns`.
    is_old: bool,
}

type Shared = Arc<Mutex<World>>;

fn script(world: &Shared) -> super::fake::Script {
    let world = world.clone();
    Arc::new(move |asked, out, serial| {
        let world = world.lock().expect("world").clone();
        out.extend(say(&world, asked, serial));
    })
}

fn serve(host: &Host, world: &Shared) -> Fake {
    private_with(host, script(world))
}

fn say(world: &World, asked: &Asked, serial: u32) -> Vec<u8> {
    let unknown = |name: &str| {
        let name = format!("org.freedesktop.DBus.Error.{name}");
        message(&Kind::Error(&name), serial, asked.serial, ":1.0", &("no",))
    };
    let path = || ObjectPath::try_from("/a").expect("a path");
    match asked.member.as_str() {
        "ListUnitsByPatterns" if world.is_old => unknown("UnknownMethod"),
        "ListUnitsByPatterns" | "ListUnitsFiltered" => {
            let only_failed = asked.mentions("failed");
            let rows: Vec<_> = world
                .units
                .iter()
                .filter(|unit| !only_failed || unit.1 == "failed")
                .map(|unit| {
                    let (name, active, sub, _) = *unit;
                    (
                        name,
                        "",
                        "loaded",
                        active,
                        sub,
                        "",
                        path(),
                        0_u32,
                        "",
                        path(),
                    )
                })
                .collect();
            message(&Kind::Return, serial, asked.serial, ":1.0", &(rows,))
        }
        "ListJobs" => {
            let rows: Vec<_> = world
                .jobs
                .iter()
                .map(|id| (*id, "a.service", "start", "running", path(), path()))
                .collect();
            message(&Kind::Return, serial, asked.serial, ":1.0", &(rows,))
        }
        _ => match value(world, asked) {
            Some(value) => message(&Kind::Return, serial, asked.serial, ":1.0", &(value,)),
            None => unknown("UnknownProperty"),
        },
    }
}

fn value(world: &World, asked: &Asked) -> Option<Variant<'static>> {
    let unit = world.units.iter().find(|unit| {
        let path = nodemend::host::systemd::unit_path(unit.0);
        asked.mentions(&path)
    });
    let is = |name: &str| asked.mentions(name);
    Some(match unit {
        Some(unit) if is("NRestarts") => Variant::from(unit.3?),
        Some(_) if is("Result") => Variant::from("success"),
        Some(_) => Variant::from(7_000_000_u64),
        None if is("Version") => Variant::from("252.39"),
        None if is("SystemState") => Variant::from("degraded"),
        None if is("NFailedUnits") => Variant::from(2_u32),
        None => return None,
    })
}

fn subjects(batch: &Batch, key: &str) -> Vec<String> {
    let mut found: Vec<String> = batch
        .samples
        .iter()
        .filter(|sample| sample.key == key)
        .map(|sample| sample.subject.as_str().to_owned())
        .collect();
    found.sort_unstable();
    found
}

async fn run(probe: &mut Box<dyn Probe>, host: &Host) -> Batch {
    probe.collect(host).await.expect("a batch")
}

fn world(units: &[Unit]) -> Shared {
    Arc::new(Mutex::new(World {
        units: units.to_vec(),
        ..World::default()
    }))
}

const UNITS: &[Unit] = &[
    ("kubelet.service", "active", "running", Some(0)),
    ("calm.service", "active", "running", Some(0)),
    ("loops.service", "activating", "auto-restart", Some(9)),
    ("flaps.service", "active", "running", Some(4)),
    ("broken.service", "failed", "failed", Some(0)),
    ("data.mount", "failed", "failed", None),
];

#[tokio::test]
async fn units_in_trouble_and_essential_ones_are_reported_and_calm_ones_are_not() {
    let (_folder, host) = machine();
    let _fake = serve(&host, &world(UNITS));
    let mut probe = probe(&host, "systemd-units");
    let batch = run(&mut probe, &host).await;
    assert_eq!(
        subjects(&batch, "systemd.unit.active"),
        [
            "broken.service",
            "data.mount",
            "flaps.service",
            "kubelet.service",
            "loops.service"
        ]
    );
    assert_eq!(
        subjects(&batch, "systemd.unit.restarts"),
        [
            "broken.service",
            "flaps.service",
            "kubelet.service",
            "loops.service"
        ]
    );
    assert_eq!(batch.complete.len(), 4);
    assert_eq!(
        read(&batch, "systemd.version"),
        Ok(Value::Text("252.39".into()))
    );
    assert_eq!(
        read(&batch, "systemd.state"),
        Ok(Value::Text("degraded".into()))
    );
    assert_eq!(read(&batch, "systemd.failed_units"), Ok(Value::Integer(2)));
}

#[tokio::test]
async fn an_old_systemd_gives_the_same_units_and_says_what_it_cannot_count() {
    let (_folder, host) = machine();
    let world = world(&[
        ("kubelet.service", "active", "running", None),
        ("broken.service", "failed", "failed", None),
        ("calm.service", "active", "running", None),
    ]);
    world.lock().expect("world").is_old = true;
    let _fake = serve(&host, &world);
    let mut probe = probe(&host, "systemd-units");
    let batch = run(&mut probe, &host).await;
    assert_eq!(
        subjects(&batch, "systemd.unit.active"),
        ["broken.service", "kubelet.service"]
    );
    for sample in &batch.samples {
        if sample.key == "systemd.unit.restarts" {
            let reason = sample.value.as_ref().expect_err("cannot be counted");
            assert_eq!(reason.kind(), "not-here");
        }
    }
}

#[tokio::test]
async fn a_job_ages_from_when_it_was_first_seen_and_its_successor_begins_anew() {
    let (_folder, host) = machine();
    let world = world(UNITS);
    world.lock().expect("world").jobs = vec![5, 6];
    let _fake = serve(&host, &world);
    let mut probe = probe(&host, "systemd-units");
    let age = |batch: &Batch| match read(batch, "systemd.jobs.oldest") {
        Ok(Value::Number(seconds)) => seconds,
        other => panic!("{other:?}"),
    };
    let first = run(&mut probe, &host).await;
    assert_eq!(read(&first, "systemd.jobs"), Ok(Value::Integer(2)));
    assert_eq!(age(&first), 0.0);
    let second = run(&mut probe, &host).await;
    assert!(age(&second) > 0.0);
    world.lock().expect("world").jobs = vec![7];
    let third = run(&mut probe, &host).await;
    assert_eq!(age(&third), 0.0);
}

#[tokio::test]
async fn where_the_private_socket_is_closed_to_us_the_bus_is_asked_and_kept() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Rejects]);
    let shared = world(UNITS);
    let first_bus = bus_with(&host, script(&shared));
    let mut probe = probe(&host, "systemd-units");
    for _ in 0..3 {
        let batch = run(&mut probe, &host).await;
        assert_eq!(subjects(&batch, "systemd.unit.active").len(), 5);
    }
    let connects = |fake: &Fake| {
        let log = fake.log.lock().expect("log");
        log.iter().filter(|word| *word == "connect").count()
    };
    assert_eq!(connects(&first_bus), 1);
    drop(first_bus);
    tokio::task::yield_now().await;
    let _second_bus = bus_with(&host, script(&shared));
    let batch = run(&mut probe, &host).await;
    assert_eq!(subjects(&batch, "systemd.unit.active").len(), 5);
}

#[tokio::test]
async fn a_systemd_that_cannot_be_asked_makes_the_probe_fail_by_the_right_name() {
    for (manner, kind) in [
        (Some(Manner::Rejects), "no-rights"),
        (Some(Manner::GarbledAnswer), "failed"),
        (None, "unsupported"),
    ] {
        let (_folder, host) = machine();
        let _fake = manner.map(|manner| private(&host, &[manner]));
        let result = probe(&host, "systemd-units").collect(&host).await;
        let error: ProbeError = result.expect_err("it fails");
        assert_eq!(error.kind(), kind, "{manner:?}");
    }
}

#[tokio::test]
async fn too_many_units_in_trouble_are_cut_and_not_called_complete() {
    let (_folder, host) = machine();
    let names: Vec<String> = (0..400).map(|n| format!("broken-{n}.service")).collect();
    let units: Vec<Unit> = names
        .iter()
        .map(|name| (&*name.clone().leak(), "failed", "failed", Some(1)))
        .chain([("kubelet.service", "active", "running", Some(0))])
        .collect();
    let _fake = serve(&host, &world(&units));
    let batch = run(&mut probe(&host, "systemd-units"), &host).await;
    let reported = subjects(&batch, "systemd.unit.active");
    assert_eq!(reported.len(), 256);
    assert!(reported.contains(&"kubelet.service".to_owned()));
    assert!(batch.complete.is_empty());
}

#[tokio::test]
async fn a_replaced_program_of_pid_1_is_seen_without_asking_it() {
    for (exe, expected) in [
        ("/usr/lib/systemd/systemd", Some(false)),
        ("/usr/lib/systemd/systemd (deleted)", Some(true)),
        ("/usr/bin/tini", None),
    ] {
        let (_folder, host) = machine();
        std::os::unix::fs::symlink(exe, host.path("/proc/1/exe")).expect("link");
        std::fs::write(host.path("/proc/1/maps"), "").expect("maps");
        let _fake = serve(&host, &world(UNITS));
        let batch = run(&mut probe(&host, "systemd-units"), &host).await;
        let answer = match read(&batch, "systemd.pid1.exe_deleted") {
            Ok(Value::Bool(value)) => Some(value),
            _ => None,
        };
        assert_eq!(answer, expected, "{exe}");
    }
}
