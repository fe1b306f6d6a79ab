//! Host commands against a fake PID 1: what is refused, and what is asked for. The real thing is in `real`.

use super::fake::{machine, private_with};
use super::wire::{Kind, message};
use nodemend::host::command::{self, HostCommand, Started};
use nodemend::host::{Deadline, Host};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn good() -> HostCommand {
    HostCommand {
        unit: "nodemend-run-17-step-0.service".to_owned(),
        description: "dry run of the upgrade".to_owned(),
        arguments: vec!["/usr/bin/apt-get".to_owned(), "--simulate".to_owned()],
        environment: vec![("LC_ALL".to_owned(), "C".to_owned())],
        time_limit: Duration::from_secs(60),
        output: Some(PathBuf::from("/var/lib/nodemend/commands")),
    }
}

fn changed(change: impl FnOnce(&mut HostCommand)) -> HostCommand {
    let mut command = good();
    change(&mut command);
    command
}

#[test]
fn a_command_that_is_not_acceptable_is_refused_with_the_reason() {
    assert!(good().check().is_ok());
    let named = |unit: &str| changed(|it| it.unit = unit.to_owned());
    let argument = |text: &str| changed(|it| it.arguments.push(text.to_owned()));
    let variable = |name: &str| changed(|it| it.environment.push((name.to_owned(), String::new())));
    let table = [
        ("", named("")),
        ("foreign", named("kubelet.service")),
        ("no suffix", named("nodemend-run-1")),
        ("no middle", named("nodemend-.service")),
        ("other kind", named("nodemend-a.socket")),
        ("slash", named("nodemend-../a.service")),
        ("space", named("nodemend-a b.service")),
        ("specifier", named("nodemend-%n.service")),
        ("instance", named("nodemend-a@b.service")),
        ("zero", named("nodemend-a\0.service")),
        ("umlaut", named("nodemend-ä.service")),
        (
            "long",
            named(&format!("nodemend-{}.service", "a".repeat(250))),
        ),
        ("no program", changed(|it| it.arguments.clear())),
        (
            "empty program",
            changed(|it| it.arguments = vec![String::new()]),
        ),
        (
            "relative",
            changed(|it| it.arguments = vec!["apt".to_owned()]),
        ),
        ("zero in argument", argument("a\0b")),
        ("semicolon", argument("a;b")),
        ("huge", argument(&"a".repeat(40_000))),
        ("variable without name", variable("")),
        ("variable with =", variable("A=B")),
        ("variable with digit", variable("1A")),
        ("no limit", changed(|it| it.time_limit = Duration::ZERO)),
        ("output", changed(|it| it.output = Some("relative".into()))),
    ];
    for (name, command) in table {
        let error = command.check().expect_err(name);
        assert_eq!(error.kind(), "invalid", "{name}: {error}");
    }
}

#[tokio::test]
async fn a_unit_that_is_not_ours_is_never_watched_or_removed() {
    let (_folder, host) = machine();
    let foreign = changed(|it| it.unit = "kubelet.service".to_owned());
    let results = [
        command::state(&host, "kubelet.service", soon()).await.err(),
        command::wait(&host, "kubelet.service", soon()).await.err(),
        command::remove(&host, &foreign, soon()).await.err(),
        command::start(&host, &foreign, soon()).await.err(),
    ];
    for error in results {
        assert_eq!(error.map(|it| it.kind()), Some("invalid"));
    }
}

/// What the fake says to GetUnit and StartTransientUnit; everything else is an unknown property.
async fn start(
    host: &Host,
    is_loaded: bool,
    answers: &[Option<&str>],
) -> (Option<Started>, Vec<Vec<u8>>) {
    let left = Mutex::new(
        answers
            .iter()
            .map(|it| it.map(str::to_owned))
            .rev()
            .collect::<Vec<_>>(),
    );
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let starts = seen.clone();
    let _fake = private_with(
        host,
        Arc::new(move |asked, out, serial| {
            let error = match asked.member.as_str() {
                "GetUnit" if is_loaded => None,
                "GetUnit" => Some("org.freedesktop.systemd1.NoSuchUnit".to_owned()),
                "StartTransientUnit" => {
                    starts.lock().expect("starts").push(asked.bytes.clone());
                    left.lock().expect("left").pop().expect("one more start")
                }
                _ => Some("org.freedesktop.DBus.Error.UnknownProperty".to_owned()),
            };
            let kind = error.as_deref().map_or(Kind::Return, Kind::Error);
            out.extend(message(&kind, serial, asked.serial, ":1.0", &("text",)));
        }),
    );
    let started = command::start(host, &good(), soon()).await.ok();
    let seen = seen.lock().expect("seen").clone();
    (started, seen)
}

fn mentions(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_command_whose_unit_exists_is_never_started_again() {
    let (_folder, host) = machine();
    let (started, starts) = start(&host, true, &[]).await;
    assert_eq!((started, starts.len()), (Some(Started::Before), 0));
    let exists = Some("org.freedesktop.systemd1.UnitExists");
    let (started, starts) = start(&host, false, &[exists]).await;
    assert_eq!((started, starts.len()), (Some(Started::Before), 1));
}

#[tokio::test]
async fn a_systemd_without_output_files_is_asked_again_without_them() {
    let (_folder, host) = machine();
    let unknown = Some("org.freedesktop.DBus.Error.PropertyReadOnly");
    let (started, starts) = start(&host, false, &[unknown, None]).await;
    assert_eq!(started, Some(Started::Now));
    let with_files: Vec<bool> = starts
        .iter()
        .map(|bytes| mentions(bytes, "StandardOutputFile"))
        .collect();
    assert_eq!(with_files, [true, false]);
    assert!(starts.iter().all(|bytes| mentions(bytes, "RuntimeMaxUSec")));
}

#[tokio::test]
async fn a_refused_start_is_an_error_and_nothing_is_tried_behind_its_back() {
    let (_folder, host) = machine();
    let denied = Some("org.freedesktop.DBus.Error.AccessDenied");
    let (started, starts) = start(&host, false, &[denied]).await;
    assert_eq!((started, starts.len()), (None, 1));
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_may_have_happened_and_one_never_sent_has_not() {
    use super::fake::{Manner, private};
    let (_folder, host) = machine();
    let _fake = private(&host, &[Manner::Rejects]);
    let error = command::start(&host, &good(), soon())
        .await
        .expect_err("not sent");
    assert!(!error.may_be_done(), "{error}");
    let script: super::fake::Script = Arc::new(|asked, out, serial| {
        let name = "org.freedesktop.systemd1.NoSuchUnit";
        if asked.member == "GetUnit" {
            let answer = message(&Kind::Error(name), serial, asked.serial, ":1.0", &("no",));
            out.extend(answer);
        }
    });
    let _fake = private_with(&host, script);
    let short = Deadline::after(Duration::from_millis(100));
    let error = command::start(&host, &good(), short)
        .await
        .expect_err("lost");
    assert!(error.may_be_done(), "{error}");
    assert_eq!(error.kind(), "late");
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_read_and_a_missing_one_is_empty() {
    let (_folder, host) = machine();
    let command = good();
    let empty = command::output(&host, &command).await.expect("output");
    assert!(empty.stdout.is_empty() && empty.stderr.is_empty());
    std::fs::create_dir_all(host.path("/var/lib/nodemend/commands")).expect("folder");
    let file = format!("/var/lib/nodemend/commands/{}.out", command.unit);
    let text = format!("{}E: the end", "x".repeat(100_000));
    std::fs::write(host.path(file), text).expect("write");
    let output = command::output(&host, &command).await.expect("output");
    assert_eq!(output.stdout.len() as u64, command::MAX_OUTPUT_BYTES);
    assert!(output.stdout.ends_with(b"E: the end"));
}
