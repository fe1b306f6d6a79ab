use super::*;
use crate::signal::Value;
use crate::versions::embedded_tables;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

const DEBIAN: &str = "ID=debian\nVERSION_ID=\"12\"\n";
const CENTOS: &str = "ID=\"centos\"\nVERSION_ID=\"7\"\n";

struct RpmOf7 {
    asked: Arc<AtomicUsize>,
    systemd: &'static str,
}

impl RpmDatabase for RpmOf7 {
    fn answer<'a>(
        &'a self,
        _: &'a Host,
        names: Option<Vec<String>>,
    ) -> BoxFuture<'a, Result<String, ProbeError>> {
        assert_eq!(names, None, "the database changed: anything may be there");
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            match self.systemd {
                "" => Err(ProbeError::Late {
                    what: "rpm".to_owned(),
                }),
                version => Ok(format!(
                    "systemd 0:{version} 5
"
                )),
            }
        })
    }
}

/// An rpm machine whose rpm never answers; machines with dpkg do not ask it.
fn silent() -> Box<RpmOf7> {
    Box::new(RpmOf7 {
        asked: Arc::default(),
        systemd: "",
    })
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn run(probe: &mut Packages, root: &Path) -> Result<Batch, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let host = Host::at(root);
    runtime.block_on(probe.collect(&host))
}

fn value(batch: &Batch, key: &str, subject: &str) -> Option<Result<Value, &'static str>> {
    let sample = batch
        .samples
        .iter()
        .find(|s| s.key == key && s.subject.as_str() == subject)?;
    Some(sample.value.clone().map_err(|reason| reason.kind()))
}

fn tables() -> Vec<VersionTable> {
    embedded_tables().expect("shipped")
}

#[test]
fn a_debian_machine_is_judged_from_its_status_file() {
    let root = tempfile::tempdir().expect("a directory");
    write(root.path(), "etc/os-release", DEBIAN);
    let status = include_str!("../../../tests/fixtures/packages/debian12-status.txt");
    write(root.path(), "var/lib/dpkg/status", status);
    let batch = run(&mut Packages::new(tables(), silent()), root.path()).expect("read");
    assert_eq!(
        value(&batch, "package.version", "systemd"),
        Some(Ok(Value::Text("252.39-1~deb12u2".into())))
    );
    assert_eq!(
        value(&batch, "package.fault.affected", "systemd-cookie-overrun"),
        Some(Ok(Value::Bool(false)))
    );
    assert_eq!(
        value(
            &batch,
            "package.fault.affected",
            "systemd-write-queue-overflow"
        ),
        Some(Err("not-here"))
    );
}

#[test]
fn an_rpm_machine_is_asked_once_and_again_when_its_database_changed() {
    let root = tempfile::tempdir().expect("a directory");
    write(root.path(), "etc/os-release", CENTOS);
    write(root.path(), "var/lib/dpkg/status", "");
    write(root.path(), "var/lib/rpm/Packages", "db");
    let asked = Arc::new(AtomicUsize::new(0));
    let command = RpmOf7 {
        asked: asked.clone(),
        systemd: "219-62.el7_6.2",
    };
    let mut probe = Packages::new(tables(), Box::new(command));
    let batch = run(&mut probe, root.path()).expect("read");
    assert_eq!(
        value(&batch, "package.fault.affected", "systemd-cookie-overrun"),
        Some(Ok(Value::Bool(true)))
    );
    assert_eq!(
        value(&batch, "package.fault.fixed_in", "systemd-cookie-overrun"),
        Some(Ok(Value::Text("219-62.el7_6.9".into())))
    );
    let again = run(&mut probe, root.path()).expect("read");
    assert_eq!(again.samples, batch.samples);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    write(root.path(), "var/lib/rpm/Packages", "changed");
    run(&mut probe, root.path()).expect("read");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_machine_without_a_database_is_unsupported_and_a_silent_rpm_is_late() {
    let root = tempfile::tempdir().expect("a directory");
    write(root.path(), "etc/os-release", CENTOS);
    let mut probe = Packages::new(tables(), silent());
    let error = run(&mut probe, root.path()).expect_err("no database");
    assert_eq!(error.kind(), "unsupported");
    write(root.path(), "var/lib/rpm/rpmdb.sqlite", "db");
    let error = run(&mut probe, root.path()).expect_err("no answer");
    assert_eq!(error.kind(), "late");
}

#[test]
fn a_package_that_is_not_installed_gives_no_verdict() {
    let root = tempfile::tempdir().expect("a directory");
    write(root.path(), "etc/os-release", DEBIAN);
    write(
        root.path(),
        "var/lib/dpkg/status",
        "Package: runc\nStatus: install ok installed\nVersion: 1\n",
    );
    let batch = run(&mut Packages::new(tables(), silent()), root.path()).expect("read");
    assert_eq!(
        value(&batch, "package.fault.affected", "systemd-cookie-overrun"),
        Some(Err("not-here"))
    );
    assert_eq!(value(&batch, "package.version", "systemd"), None);
}
