//! The probe `systemd-bus` against fakes: who answers, who does not, and what cannot be told.

use super::fake::{Fake, Manner, bus, machine, private};
use nodemend::host::Host;
use nodemend::probes::{Probe, ProbeError, build};
use nodemend::signal::{Batch, MissingReason, Value};

/// The probe of this name.
pub fn probe(host: &Host, name: &str) -> Box<dyn Probe> {
    build(host)
        .into_iter()
        .find(|probe| probe.spec().name == name)
        .expect("in the table")
}

/// What a batch says about a signal of the node.
pub fn read(batch: &Batch, key: &str) -> Result<Value, MissingReason> {
    batch
        .samples
        .iter()
        .find(|sample| sample.key == key && sample.subject.is_node())
        .unwrap_or_else(|| panic!("{key} is in the batch"))
        .value
        .clone()
}

fn answers(batch: &Batch) -> [Option<bool>; 3] {
    [
        "systemd.bus.daemon.answers",
        "systemd.bus.manager.answers",
        "systemd.private.answers",
    ]
    .map(|key| match read(batch, key) {
        Ok(Value::Bool(value)) => Some(value),
        _ => None,
    })
}

async fn run(probe: &mut Box<dyn Probe>, host: &Host) -> Batch {
    probe.collect(host).await.expect("a batch")
}

fn count(fake: &Fake, word: &str) -> usize {
    let log = fake.log.lock().expect("log");
    log.iter().filter(|it| *it == word).count()
}

#[tokio::test]
async fn a_machine_without_systemd_is_unsupported() {
    let folder = tempfile::tempdir().expect("temp dir");
    let host = Host::at(folder.path());
    for name in ["systemd-bus", "systemd-units"] {
        let result = probe(&host, name).collect(&host).await;
        assert!(
            matches!(result, Err(ProbeError::Unsupported { .. })),
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_signal_is_said_or_said_to_be_missing() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Answers]);
    let _bus = bus(&host, &[Manner::Answers]);
    let mut probe = probe(&host, "systemd-bus");
    let batch = run(&mut probe, &host).await;
    let mut said: Vec<&str> = batch.samples.iter().map(|sample| sample.key).collect();
    let mut declared: Vec<&str> = probe.spec().keys.iter().map(|spec| spec.name).collect();
    said.sort_unstable();
    declared.sort_unstable();
    assert_eq!(said, declared);
}

#[tokio::test]
async fn well_means_three_answers_and_a_rate_from_the_second_run_on() {
    let (_folder, host) = machine();
    let private = private(&host, &[Manner::Answers]);
    let bus = bus(&host, &[Manner::Answers]);
    let mut probe = probe(&host, "systemd-bus");
    let first = run(&mut probe, &host).await;
    assert_eq!(answers(&first), [Some(true); 3]);
    assert_eq!(
        read(&first, "systemd.bus.serial.rate"),
        Err(MissingReason::NotYet)
    );
    assert_eq!(
        read(&first, "systemd.bus.manager.error"),
        Ok(Value::Text("".into()))
    );
    let second = run(&mut probe, &host).await;
    let Ok(Value::Number(rate)) = read(&second, "systemd.bus.serial.rate") else {
        panic!("a rate");
    };
    assert!(rate > 0.0);
    assert!(read(&second, "systemd.bus.days_to_overrun").is_ok());
    assert_eq!(count(&bus, "connect"), 1, "one connection is kept");
    assert_eq!(count(&private, "connect"), 2, "one at a time");
}

#[tokio::test]
async fn form_b_is_told_by_the_name_of_the_error() {
    for (name, kind) in [
        ("org.freedesktop.DBus.Error.NoReply", "no-reply"),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", "no-owner"),
        (
            "org.freedesktop.DBus.Error.TimedOut",
            "activation-timed-out",
        ),
    ] {
        let (_folder, host) = machine();
        let _private = private(&host, &[Manner::Answers]);
        let _bus = bus(&host, &[Manner::ManagerError(name)]);
        let batch = run(&mut probe(&host, "systemd-bus"), &host).await;
        assert_eq!(answers(&batch), [Some(true), Some(false), Some(true)]);
        assert_eq!(
            read(&batch, "systemd.bus.manager.error"),
            Ok(Value::Text(kind.into()))
        );
        assert!(
            read(&batch, "systemd.bus.serial").is_err(),
            "the bus daemon's serial is not the cookie"
        );
    }
}

#[tokio::test]
async fn an_error_of_pid_1_itself_is_an_answer() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::OwnError]);
    let _bus = bus(&host, &[Manner::OwnError]);
    let batch = run(&mut probe(&host, "systemd-bus"), &host).await;
    assert_eq!(answers(&batch), [Some(true); 3]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_missing_and_not_silent() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Rejects]);
    let batch = run(&mut probe(&host, "systemd-bus"), &host).await;
    assert_eq!(answers(&batch), [None; 3]);
    for (key, kind) in [
        ("systemd.private.answers", "no-rights"),
        ("systemd.bus.daemon.answers", "not-here"),
        ("systemd.bus.manager.answers", "not-here"),
        ("systemd.bus.manager.error", "not-here"),
    ] {
        let reason = read(&batch, key).expect_err(key);
        assert_eq!(reason.kind(), kind, "{key}");
    }
}

#[tokio::test]
async fn a_policy_that_keeps_us_from_pid_1_is_no_proof_of_silence() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Answers]);
    let denied = Manner::ManagerError("org.freedesktop.DBus.Error.AccessDenied");
    let _bus = bus(&host, &[denied]);
    let batch = run(&mut probe(&host, "systemd-bus"), &host).await;
    assert_eq!(answers(&batch), [Some(true), None, Some(true)]);
}

#[tokio::test]
async fn a_bus_that_was_there_and_is_gone_does_not_answer() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Answers]);
    let fake = bus(&host, &[Manner::Answers]);
    let mut probe = probe(&host, "systemd-bus");
    run(&mut probe, &host).await;
    drop(fake);
    std::fs::remove_file(host.path("/run/dbus/system_bus_socket")).expect("remove");
    // The fake's sessions end with it, as a dead daemon's do.
    tokio::task::yield_now().await;
    let batch = run(&mut probe, &host).await;
    assert_eq!(answers(&batch), [Some(false), Some(false), Some(true)]);
}

#[tokio::test]
async fn a_bus_restarted_between_two_runs_is_not_taken_for_silence() {
    let (_folder, host) = machine();
    let _private = private(&host, &[Manner::Answers]);
    let old = bus(&host, &[Manner::Answers]);
    let mut probe = probe(&host, "systemd-bus");
    run(&mut probe, &host).await;
    drop(old);
    tokio::task::yield_now().await;
    let _new = bus(&host, &[Manner::Answers]);
    let batch = run(&mut probe, &host).await;
    assert_eq!(answers(&batch), [Some(true); 3]);
}

#[tokio::test]
async fn a_call_that_the_private_socket_drops_is_asked_again_on_a_fresh_connection() {
    for manner in [Manner::ClosesAtCall, Manner::ClosesAtOnce] {
        let (_folder, host) = machine();
        let private = private(&host, &[manner, Manner::Answers]);
        let _bus = bus(&host, &[Manner::Answers]);
        let batch = run(&mut probe(&host, "systemd-bus"), &host).await;
        assert_eq!(answers(&batch), [Some(true); 3]);
        assert_eq!(count(&private, "connect"), 2);
    }
}

/// Takes 12 s of real deadlines, the only way to see them span connect, authentication and call.
#[tokio::test]
async fn silence_is_told_apart_by_who_is_silent_and_never_piles_up_clients() {
    let (_folder, host) = machine();
    let frozen = private(&host, &[Manner::SilentGreeting]);
    let mute = bus(&host, &[Manner::MuteManager]);
    let mut probe = probe(&host, "systemd-bus");
    let batch = run(&mut probe, &host).await;
    assert_eq!(answers(&batch), [Some(true), Some(false), Some(false)]);
    assert_eq!(
        read(&batch, "systemd.bus.manager.error"),
        Ok(Value::Text("late".into()))
    );
    assert_eq!(
        read(&batch, "systemd.bus.manager.deadline"),
        Ok(Value::Number(5.0))
    );
    assert_eq!(count(&frozen, "connect"), 2, "two tries");
    let batch = run(&mut probe, &host).await;
    assert_eq!(answers(&batch), [Some(true), Some(false), Some(false)]);
    assert_eq!(
        count(&frozen, "connect"),
        2,
        "the first is still waited for"
    );
    assert_eq!(
        count(&mute, "connect"),
        2,
        "a connection with an unanswered call is not kept"
    );
}
