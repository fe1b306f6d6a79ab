//! Against a real systemd as PID 1 (Debian 12 or later). They are left out here, because PID 1 of a build machine is rarely one
//! that may be re-executed: the lab runs this test binary in a node, `cargo test --test lab tests_of_a_real_systemd`.

use super::probe::probe;
use nodemend::host::command::{self, CommandState, HostCommand, Started};
use nodemend::host::systemd::{Exit, Route, Systemd, UnitVerb};
use nodemend::host::{Deadline, Host};
use nodemend::probes::catalogue;
use nodemend::signal::{Form, Subject, Timeline, Value};
use std::time::Duration;
use zvariant::Value as Variant;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn here() -> Host {
    let host = Host::at("/");
    assert!(Systemd::of(&host).is_booted(), "systemd is not PID 1 here");
    host
}

fn sh(unit: &str, script: &str, limit: Duration) -> HostCommand {
    HostCommand {
        unit: unit.to_owned(),
        description: "a test of nodemend".to_owned(),
        arguments: vec!["/bin/sh".into(), "-c".into(), script.into()],
        environment: vec![("WORD".into(), "100 % $HOME".into())],
        time_limit: limit,
        output: Some("/var/lib/nodemend/commands".into()),
    }
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_answers_hundreds_of_calls_on_fresh_private_connections() {
    let systemd = Systemd::of(&here());
    for _ in 0..300 {
        let mut connection = systemd.open(Route::Private, soon()).await.expect("open");
        connection.ping(soon()).await.expect("answer");
    }
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_probes_read_everything_that_they_declare() {
    let host = here();
    let mut timeline = Timeline::new(catalogue());
    for name in ["systemd-bus", "systemd-units"] {
        let mut probe = probe(&host, name);
        probe.collect(&host).await.expect("first run");
        let mut batch = probe.collect(&host).await.expect("second run");
        batch.at = nodemend::host::clock::now();
        for spec in probe.spec().keys {
            let sample = batch.samples.iter().find(|sample| sample.key == spec.name);
            let sample = sample.unwrap_or_else(|| panic!("{} is read", spec.name));
            let form: Option<Form> = sample.value.as_ref().ok().map(Value::form);
            assert_eq!(form, Some(spec.form), "{}: {:?}", spec.name, sample.value);
        }
        for sample in &batch.samples {
            println!("{} {} {:?}", sample.key, sample.subject, sample.value);
        }
        assert_eq!(timeline.ingest(&batch).0, 0);
    }
    let journald = Subject::named("systemd-journald.service");
    assert!(
        timeline
            .subjects("systemd.unit.active")
            .any(|it| *it == journald)
    );
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_costs_of_the_probes() {
    let host = here();
    for name in ["systemd-bus", "systemd-units", "kubelet", "runtime"] {
        let mut probe = probe(&host, name);
        probe.collect(&host).await.expect("first run");
        let (own, pid1) = (own_cpu(), pid1_ticks());
        let began = nodemend::host::clock::now().uptime;
        for _ in 0..500 {
            probe.collect(&host).await.expect("a run");
        }
        let wall = nodemend::host::clock::now().uptime.since(began);
        println!(
            "{name}: a run takes {:?} wall, {:?} CPU of ours, {:.3} ms CPU of PID 1",
            wall / 500,
            (own_cpu() - own) / 500,
            (pid1_ticks() - pid1) as f64 * 10.0 / 500.0,
        );
    }
}

fn own_cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("getrusage");
    let total = usage.user_time() + usage.system_time();
    Duration::from_micros(
        u64::try_from(nix::sys::time::TimeValLike::num_microseconds(&total)).expect("positive"),
    )
}

fn pid1_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/1/stat").expect("stat");
    let rest = stat.rsplit(')').next().expect("after the name");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_runs_a_command_once_and_keeps_its_result() {
    let host = here();
    let command = sh(
        "nodemend-it-1.service",
        "echo \"$WORD\" && echo bad >&2 && exit 3",
        Duration::from_secs(20),
    );
    assert_eq!(
        command::start(&host, &command, soon())
            .await
            .expect("start"),
        Started::Now
    );
    let end = command::wait(&host, &command.unit, soon())
        .await
        .expect("end");
    assert_eq!(end.exit, Some(Exit::Code(3)));
    assert!(!end.is_success() && end.started.is_some() && end.ended.is_some());
    assert_eq!(
        command::start(&host, &command, soon())
            .await
            .expect("again"),
        Started::Before
    );
    let output = command::output(&host, &command).await.expect("output");
    assert_eq!(output.stdout, b"100 % $HOME\n");
    assert_eq!(output.stderr, b"bad\n");
    command::remove(&host, &command, soon())
        .await
        .expect("remove");
    let gone = command::state(&host, &command.unit, soon()).await;
    assert_eq!(gone.expect_err("gone").kind(), "gone");
    assert!(
        !host
            .path("/var/lib/nodemend/commands/nodemend-it-1.service.out")
            .exists()
    );
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_tells_success_no_program_and_time_is_up_apart() {
    let host = here();
    let mut missing = sh("nodemend-it-3.service", "", Duration::from_secs(20));
    missing.arguments = vec!["/no/such/program".into()];
    for (command, exit, result) in [
        (
            sh("nodemend-it-2.service", "exit 0", Duration::from_secs(20)),
            Some(Exit::Code(0)),
            "success",
        ),
        (missing, Some(Exit::Code(203)), "exit-code"),
        (
            sh(
                "nodemend-it-4.service",
                "exec sleep 60",
                Duration::from_secs(1),
            ),
            Some(Exit::Signal(15)),
            "timeout",
        ),
        (
            sh(
                "nodemend-it-5.service",
                "kill -9 $$",
                Duration::from_secs(9),
            ),
            Some(Exit::Signal(9)),
            "signal",
        ),
    ] {
        command::start(&host, &command, soon())
            .await
            .expect("start");
        let end = command::wait(&host, &command.unit, soon()).await;
        let end = end.unwrap_or_else(|error| panic!("{}: {error}", command.unit));
        assert_eq!((end.exit, end.result.as_str()), (exit, result));
        command::remove(&host, &command, soon())
            .await
            .expect("remove");
    }
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_reexecutes_by_either_way_while_a_command_runs_on() {
    let host = here();
    let systemd = Systemd::of(&host);
    let command = sh(
        "nodemend-it-6.service",
        "sleep 4 && echo done",
        Duration::from_secs(30),
    );
    command::start(&host, &command, soon())
        .await
        .expect("start");
    for route in [Route::Private, Route::Bus] {
        let done = systemd.reexecute(route, soon()).await.expect("re-executed");
        println!("{route:?}: {:?}", done.took);
    }
    let took = systemd.reexecute_by_signal(&host, soon()).await;
    println!("SIGTERM: {:?}", took.expect("re-executed"));
    systemd
        .wait_for_answer(Some(Route::Bus), soon())
        .await
        .expect("on the bus too");
    let state = command::state(&host, &command.unit, soon()).await;
    assert!(
        matches!(state, Ok(CommandState::Running { .. })),
        "{state:?}"
    );
    let end = command::wait(&host, &command.unit, soon())
        .await
        .expect("end");
    assert!(end.is_success(), "{end:?}");
    command::remove(&host, &command, soon())
        .await
        .expect("remove");
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_restarts_a_unit_and_refuses_an_unknown_one() {
    let systemd = Systemd::of(&here());
    let mut connection = systemd.open(Route::Private, soon()).await.expect("open");
    let unit = "systemd-journald.service";
    let before = connection.unit_state(unit, soon()).await.expect("state");
    let after = connection
        .run_job(UnitVerb::Restart, unit, soon())
        .await
        .expect("restart");
    assert!(after.is_active() && after.main_pid.is_some() && !after.has_job);
    assert_ne!(before.main_pid, after.main_pid);
    let error = connection
        .run_job(UnitVerb::Start, "no-such-thing.service", soon())
        .await
        .expect_err("unknown");
    assert_eq!(error.kind(), "no-such-unit", "{error}");
    let nobody = connection
        .unit_state("no-such-thing.service", soon())
        .await
        .expect("state");
    assert_eq!(nobody.load, "not-found");
}

#[tokio::test]
#[ignore = "needs systemd as PID 1 and root: run inside a container"]
async fn real_systemd_crash_loop_is_seen_with_its_restarts() {
    let host = here();
    let systemd = Systemd::of(&host);
    let mut connection = systemd.open(Route::Private, soon()).await.expect("open");
    let unit = "nodemend-it-loop.service";
    let program = vec![("/bin/false", vec!["/bin/false"], false)];
    let settings = vec![
        ("ExecStart", Variant::from(program)),
        ("Restart", Variant::from("always")),
        ("RestartUSec", Variant::from(100_000_u64)),
        ("StartLimitIntervalUSec", Variant::from(0_u64)),
    ];
    connection
        .start_transient(unit, &settings, soon())
        .await
        .expect("start");
    loop {
        let state = connection.unit_state(unit, soon()).await.expect("state");
        if state.restarts.is_some_and(|count| count > 3) {
            break;
        }
    }
    let batch = probe(&host, "systemd-units")
        .collect(&host)
        .await
        .expect("a run");
    let restarts = batch
        .samples
        .iter()
        .find(|sample| sample.key == "systemd.unit.restarts" && sample.subject.as_str() == unit);
    let Some(Ok(Value::Integer(count))) = restarts.map(|sample| &sample.value) else {
        panic!("{restarts:?}");
    };
    assert!(*count > 3);
    connection
        .run_job(UnitVerb::Stop, unit, soon())
        .await
        .expect("stop");
    connection.reset_failed(unit, soon()).await.expect("reset");
    assert!(!connection.is_loaded(unit, soon()).await.expect("asked"));
}
