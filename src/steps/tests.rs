//! Each kind of step on a machine that says what a test wants it to say.

use super::fake::{FakeCommands, FakeServices, broken};
use super::{Kinds, Oracle, Pong, Site, Step, StepError, Ticket, Tri, UnitNow, Verified, build};
use crate::executor::{Opening, Receipt, StepIx};
use crate::host::Host;
use crate::host::clock::Clock;
use crate::host::fake::HandClock;
use crate::lease::{Keeper, Lease, LocalSlots, Permit, fixture};
use crate::playbook::{ArgValue, Args, SUBJECT, StepKinds};
use crate::policy::{Disruption, RunId};
use std::sync::{Arc, Mutex};

/// Answers in turn; the last one stays.
struct Says(Mutex<Vec<Tri>>);

impl Oracle for Says {
    fn condition(&self, _condition: &str, _opening: &Opening) -> Tri {
        let mut answers = self.0.lock().expect("answers");
        if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        }
    }
}

pub(super) struct Bench {
    pub folder: tempfile::TempDir,
    services: Arc<FakeServices>,
    pub commands: Arc<FakeCommands>,
    pub site: Site,
    ticket: Ticket,
    permit: Permit,
}

pub(super) async fn bench(answers: Vec<Tri>) -> Bench {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(HandClock::at(1000));
    let slots = LocalSlots::open(&folder.path().join("slot"), "boot-a", Arc::clone(&clock));
    let lease = Keeper::new(slots.expect("a lock"), Arc::clone(&clock));
    let permit = lease
        .acquire(fixture::cleared(), RunId(17))
        .await
        .expect("a slot");
    let (services, commands) = (
        Arc::new(FakeServices::default()),
        Arc::new(FakeCommands::default()),
    );
    let site = Site {
        host: Host::at(folder.path()),
        services: services.clone(),
        commands: commands.clone(),
        oracle: Arc::new(Says(Mutex::new(answers))),
        clock,
    };
    let opening = Opening {
        case: 41,
        signature: "s".into(),
        subject: String::new(),
        playbook: "b".into(),
        version: "1.0.0".into(),
        digest: "d".into(),
        plan: "p".into(),
        values: Default::default(),
    };
    let ticket = Ticket {
        run: RunId(17),
        step: StepIx(0),
        opening: Arc::new(opening),
    };
    Bench {
        folder,
        services,
        commands,
        site,
        ticket,
        permit,
    }
}

impl Bench {
    pub(super) async fn capture(&self, step: &dyn Step) -> Result<Receipt, StepError> {
        step.capture(&self.site, &self.ticket).await
    }
    pub(super) async fn apply(&self, step: &dyn Step, prior: &Receipt) -> Result<(), StepError> {
        step.apply(&self.site, &self.ticket, &self.permit, prior)
            .await
    }
    pub(super) async fn sees(&self, step: &dyn Step, prior: &Receipt) -> bool {
        let seen = step
            .verify(&self.site, &self.ticket, prior)
            .await
            .expect("it can be seen");
        matches!(seen, Verified::Yes(_))
    }
    pub(super) async fn undo(&self, step: &dyn Step, prior: &Receipt) -> Result<(), StepError> {
        step.undo(&self.site, &self.ticket, &self.permit, prior)
            .await
    }
    pub(super) fn file(&self, path: &str, text: &str) {
        let path = self.site.host.path(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.site.host.path(path))
            .expect("read")
            .trim()
            .to_owned()
    }
}

pub(super) fn args(list: &[(&str, &str)]) -> Args {
    Args::of(
        list.iter()
            .map(|(name, value)| (*name, ArgValue::Text((*value).into()))),
    )
}

pub(super) fn step(kind: &str, list: &[(&str, &str)]) -> Box<dyn Step> {
    build(kind, &args(list)).expect("good arguments")
}

fn pong(sender: &str, serial: u32) -> Option<Pong> {
    Some(Pong {
        sender: Some(sender.into()),
        serial,
    })
}

#[tokio::test]
async fn a_reexecution_is_seen_by_a_new_bus_connection_only() {
    let reexec = step("reexec_systemd", &[("via", "private-socket")]);
    for (before, after, seen) in [
        (None, pong(":1.99", 3), true),
        (None, None, false),
        (pong(":1.1", 4_000_000_000), pong(":1.99", 3), true),
        (pong(":1.1", 50), pong(":1.1", 52), false),
        (pong(":1.1", 50), None, false),
    ] {
        let bench = bench(vec![Tri::Yes]).await;
        {
            let mut pid1 = bench.services.0.lock().expect("pid 1");
            pid1.private = pong("org.freedesktop.systemd1", 1);
            pid1.bus = before.clone();
            pid1.bus_after = after.clone();
        }
        let prior = bench
            .capture(&*reexec)
            .await
            .expect("silence on the bus is no error");
        bench.apply(&*reexec, &prior).await.expect("asked");
        assert_eq!(
            bench.sees(&*reexec, &prior).await,
            seen,
            "{before:?} {after:?}"
        );
        assert_eq!(
            bench.services.0.lock().expect("pid 1").reexecuted,
            ["private"]
        );
    }
}

#[tokio::test]
async fn a_signal_is_sent_only_where_allowed_and_never_after_a_request_that_may_be_done() {
    for (via, may_be_done, expected) in [
        ("private-socket", false, &[][..]),
        ("private-socket", true, &["private, answer lost"][..]),
        ("private-socket-or-signal", false, &["signal"][..]),
        (
            "private-socket-or-signal",
            true,
            &["private, answer lost"][..],
        ),
    ] {
        let reexec = step("reexec_systemd", &[("via", via)]);
        let bench = bench(vec![Tri::Yes]).await;
        bench.services.0.lock().expect("pid 1").reexecute_fails = Some(broken("late", may_be_done));
        let prior = bench.capture(&*reexec).await.expect("captured");
        let done = bench.apply(&*reexec, &prior).await;
        assert_eq!(done.is_err(), expected.is_empty(), "{via} {may_be_done}");
        assert_eq!(bench.services.0.lock().expect("pid 1").reexecuted, expected);
    }
}

fn kubelet(active: &str, since: Option<u64>, has_job: bool) -> UnitNow {
    UnitNow {
        load: "loaded".into(),
        active: active.into(),
        main_pid: Some(1),
        active_since_us: since,
        has_job,
    }
}

#[tokio::test]
async fn a_restart_is_seen_by_a_later_start_only() {
    let restart = step("restart_unit", &[("unit", "kubelet.service")]);
    for (now, seen) in [
        (kubelet("active", Some(11), false), true),
        (kubelet("active", Some(10), false), false),
        (kubelet("active", Some(11), true), false),
        (kubelet("activating", Some(11), false), false),
        (kubelet("failed", Some(10), false), false),
        (kubelet("active", None, false), false),
    ] {
        let bench = bench(vec![Tri::Yes]).await;
        let put = |state: UnitNow| {
            let mut pid1 = bench.services.0.lock().expect("pid 1");
            pid1.units.insert("kubelet.service".into(), state);
        };
        put(kubelet("active", Some(10), false));
        let prior = bench.capture(&*restart).await.expect("captured");
        put(now.clone());
        assert_eq!(bench.sees(&*restart, &prior).await, seen, "{now:?}");
    }
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_refused_before_anything_is_done() {
    let restart = step("restart_unit", &[("unit", "kubelet.service")]);
    let bench = bench(vec![Tri::Yes]).await;
    let error = bench.capture(&*restart).await.expect_err("refused");
    assert_eq!(error.kind(), "refused");
    assert!(bench.services.0.lock().expect("pid 1").restarted.is_empty());
}

#[test]
fn only_harmless_services_can_be_restarted() {
    for unit in [
        "",
        "kubelet",
        "a.socket",
        "multi-user.target",
        "-.mount",
        ".service",
        "@.service",
        "a b.service",
        "a/b.service",
        "ä.service",
        "dbus.service",
        "dbus-broker.service",
        "nodemend.service",
        "emergency.service",
        "system.slice",
        "kubelet.service\n",
        "a;reboot.service",
    ] {
        assert!(
            Kinds
                .check("restart_unit", &args(&[("unit", unit)]))
                .is_err(),
            "{unit}"
        );
    }
    for (unit, class) in [
        ("kubelet.service", Disruption::Restart),
        ("docker.service", Disruption::Drain),
        ("getty@tty1.service", Disruption::Restart),
        (SUBJECT, Disruption::Restart),
    ] {
        let summary = Kinds
            .check("restart_unit", &args(&[("unit", unit)]))
            .expect("allowed");
        assert_eq!(summary.disruption, class, "{unit}");
    }
}

#[tokio::test]
async fn a_sysctl_is_written_read_back_and_taken_back_if_it_is_still_ours() {
    for (key, path) in [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        (
            "net/ipv4/conf/eth0.100/forwarding",
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding",
        ),
    ] {
        let write = step("write_sysctl", &[("key", key), ("value", "1")]);
        let bench = bench(vec![Tri::Yes]).await;
        bench.file(path, "0\n");
        let prior = bench.capture(&*write).await.expect("read");
        assert!(!bench.sees(&*write, &prior).await);
        bench.apply(&*write, &prior).await.expect("written");
        assert_eq!(bench.text(path), "1");
        assert!(bench.sees(&*write, &prior).await);
        bench.undo(&*write, &prior).await.expect("taken back");
        assert_eq!(bench.text(path), "0");
        bench.file(path, "7\n");
        bench
            .undo(&*write, &prior)
            .await
            .expect("somebody else's value stays");
        assert_eq!(bench.text(path), "7");
    }
}

#[tokio::test]
async fn a_sysctl_that_is_not_there_is_never_created() {
    let write = step(
        "write_sysctl",
        &[("key", "net.ipv4.nothing"), ("value", "1")],
    );
    let bench = bench(vec![Tri::Yes]).await;
    bench.file("/proc/sys/net/ipv4/ip_forward", "0");
    assert_eq!(
        bench
            .capture(&*write)
            .await
            .expect_err("no such file")
            .kind(),
        "file"
    );
    let prior = Receipt(serde_json::json!({ "value": "0" }));
    assert_eq!(
        bench
            .apply(&*write, &prior)
            .await
            .expect_err("not created")
            .kind(),
        "file"
    );
    let bad = Receipt(serde_json::json!({ "value": 0 }));
    assert_eq!(
        bench
            .undo(&*write, &bad)
            .await
            .expect_err("not ours")
            .kind(),
        "receipt"
    );
}

#[test]
fn only_harmless_sysctls_can_be_written() {
    for key in [
        "",
        ".",
        "..",
        "a..b",
        "../x",
        "net/../kernel/core_pattern",
        "net//ipv4",
        "/net/ipv4",
        "net/ipv4/",
        "a b",
        "A.b",
        "ä",
        "net.ipv4.ip_forward\n",
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.modprobe",
        "kernel.sysrq",
        "kernel.usermodehelper.bset",
        "fs.binfmt_misc.register",
        "kernel.poweroff_cmd",
        "x;y",
    ] {
        let list = args(&[("key", key), ("value", "1")]);
        assert!(Kinds.check("write_sysctl", &list).is_err(), "{key}");
    }
    for value in ["", " ", "1\n2", "a\0"] {
        let list = args(&[("key", "vm.swappiness"), ("value", value)]);
        assert!(Kinds.check("write_sysctl", &list).is_err(), "{value:?}");
    }
    assert!(
        Kinds
            .check(
                "write_sysctl",
                &args(&[("key", SUBJECT), ("value", "4096 87380 6291456")])
            )
            .is_ok()
    );
}

#[tokio::test]
async fn waiting_ends_with_yes_or_with_its_time() {
    let wait = step("wait_until", &[("condition", "true"), ("within", "30s")]);
    let none = Receipt(serde_json::Value::Null);
    let unknown = || Tri::Unknown("blind".into());
    let patient = bench(vec![Tri::No, unknown(), Tri::Yes]).await;
    patient.apply(&*wait, &none).await.expect("it came true");
    assert!(patient.sees(&*wait, &none).await);
    for never in [Tri::No, unknown()] {
        let bench = bench(vec![never]).await;
        let error = bench.apply(&*wait, &none).await.expect_err("late");
        assert_eq!(error.kind(), "late");
        let waited = bench.site.clock.now().uptime.since_boot().as_secs() - 1000;
        assert_eq!(waited, 30);
    }
}

#[test]
fn every_kind_says_what_it_does_and_an_unknown_one_is_refused() {
    let all = [
        "reexec_systemd",
        "restart_unit",
        "upgrade_package",
        "write_sysctl",
        "wait_until",
    ];
    assert_eq!(Kinds.known(), all);
    let error = Kinds
        .check("run_shell", &Args::default())
        .expect_err("unknown");
    assert!(error.to_string().contains("reexec_systemd"), "{error}");
    for kind in all {
        let more = args(&[("what", "x")]);
        assert!(
            Kinds.check(kind, &more).is_err(),
            "{kind} takes an unknown argument"
        );
    }
}
