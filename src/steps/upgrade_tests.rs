//! `upgrade_package` on a Debian that says what a test wants it to say.

use super::tests::{Bench, args, bench, step};
use super::{Kinds, Step, Tri};
use crate::executor::UndoWay;
use crate::playbook::StepKinds;
use std::os::unix::fs::symlink;

const DRY_RUN: &str = "Inst systemd [252.38-1~deb12u1] (252.39-1~deb12u2 Debian:12/oldstable [amd64])\n\
                       Conf systemd (252.39-1~deb12u2 Debian:12/oldstable [amd64])\n";

/// A Debian with an outdated systemd whose apt says this in a dry run.
async fn debian(dry_run: &str) -> (Bench, Box<dyn Step>) {
    let bench = bench(vec![Tri::Yes]).await;
    bench.file("/usr/bin/apt-get", "");
    bench.file("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    bench.file("/proc/1/x", "");
    symlink(
        "/usr/lib/systemd/systemd",
        bench.folder.path().join("proc/1/exe"),
    )
    .expect("a link");
    bench.commands.say(&["apt-get", "check"], 0, "");
    bench.commands.say(&["dpkg --audit"], 0, "");
    bench
        .commands
        .say(&["dpkg-query"], 1, "systemd\t252.38-1~deb12u1\tinstalled\n");
    bench.commands.say(&["apt-get", "-s"], 0, dry_run);
    (
        bench,
        step(
            "upgrade_package",
            &[("packages", "systemd"), ("query_timeout", "10s")],
        ),
    )
}

#[tokio::test]
async fn an_upgrade_goes_to_exactly_the_versions_of_the_dry_run() {
    let (bench, upgrade) = debian(DRY_RUN).await;
    let prior = bench
        .capture(&*upgrade)
        .await
        .expect("nothing speaks against it");
    bench.commands.say(
        &["systemd=252.39-1~deb12u2", "--no-remove", "--force-confold"],
        0,
        "",
    );
    assert!(
        !bench.sees(&*upgrade, &prior).await,
        "still the old version"
    );
    bench.apply(&*upgrade, &prior).await.expect("upgraded");
    bench
        .commands
        .say(&["dpkg-query"], 0, "systemd\t252.39-1~deb12u2\tinstalled\n");
    assert!(bench.sees(&*upgrade, &prior).await);
    let exe = bench.folder.path().join("proc/1/exe");
    std::fs::remove_file(&exe).expect("removed");
    symlink("/usr/lib/systemd/systemd (deleted)", &exe).expect("a link");
    assert!(
        !bench.sees(&*upgrade, &prior).await,
        "PID 1 was not re-executed"
    );
    assert!(bench.undo(&*upgrade, &prior).await.is_err());
    assert_eq!(upgrade.shape().undo, UndoWay::Impossible);
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_told_is_refused_before_anything_is_done() {
    let more = |line: &str| format!("{DRY_RUN}{line}\n");
    let table = [
        ("removes", more("Remv dbus [1]")),
        ("installs", more("Inst newpkg (2 Debian:12 [amd64])")),
        (
            "touches another",
            more("Inst libc6 [2.36] (2.37 Debian:12 [amd64])"),
        ),
        ("says what is not known", more("Inst systemd what")),
        ("has nothing newer", String::new()),
        (
            "offers an unknown version",
            DRY_RUN.replace("252.39-1~deb12u2", "241-1"),
        ),
    ];
    for (what, dry_run) in table {
        let (bench, upgrade) = debian(&dry_run).await;
        let error = bench.capture(&*upgrade).await.expect_err(what);
        assert_eq!(error.kind(), "refused", "{what}: {error}");
        let ran = bench.commands.ran.lock().expect("ran");
        assert!(
            ran.iter().all(|line| !line.contains("--force-confold")),
            "{what}: {ran:?}"
        );
    }
}

#[tokio::test]
async fn an_apt_that_is_late_busy_or_broken_is_left_alone() {
    let (bench, upgrade) = debian(DRY_RUN).await;
    bench.commands.say(
        &["dpkg --audit"],
        0,
        "The following packages are in a mess\n",
    );
    assert_eq!(
        bench.capture(&*upgrade).await.expect_err("a mess").kind(),
        "refused"
    );
    let (bench, upgrade) = debian(DRY_RUN).await;
    bench.commands.say(&["apt-get", "check"], 100, "");
    assert_eq!(
        bench.capture(&*upgrade).await.expect_err("busy").kind(),
        "command"
    );
    let (bench, upgrade) = debian(DRY_RUN).await;
    bench.commands.say(&["apt-get", "check"], 0, "");
    bench.commands.ends.lock().expect("ends")[0].1.result = "timeout".into();
    let error = bench.capture(&*upgrade).await.expect_err("late");
    assert!(error.to_string().contains("10s"), "{error}");
    let (bench, upgrade) = debian(DRY_RUN).await;
    std::fs::remove_file(bench.site.host.path("/usr/bin/apt-get")).expect("removed");
    let error = bench.capture(&*upgrade).await.expect_err("no apt");
    assert!(error.to_string().contains("by hand"), "{error}");
}

#[test]
fn bad_packages_are_refused() {
    for name in [
        "",
        "-y",
        "--allow-downgrades",
        "a b",
        "A",
        "a/b",
        "./x.deb",
        "a=1",
        "x-",
        "x+",
        "a:i386",
        "*",
        "a;b",
    ] {
        let list = args(&[("packages", name)]);
        assert!(Kinds.check("upgrade_package", &list).is_err(), "{name}");
    }
}
