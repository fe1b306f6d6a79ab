//! Kernel settings against what the machine's own configuration declares, and what the kernel counts of tasks that hang.

mod parse;
mod signals;
mod sources;

pub use parse::{Assignment, declared, is_same, path_of, read_assignments};
pub use signals::{DECLARED_IN, HUNG_TASKS, MATCHES, REPORTS_LEFT, VALUE, WANTED};

use super::ProbeSpec;
use super::error::ProbeError;
use super::off_thread::OneRead;
use super::text_file::{read_text, read_value};
use crate::host::Host;
use crate::signal::{Batch, Subject};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Settings that a node cannot do without. One that the machine's configuration does not declare is not judged.
pub const WATCHED: &[&str] = &[
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
];

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "kernel",
    title: "kernel settings",
    period: Duration::from_secs(60),
    timeout: Duration::from_secs(5),
    keys: &[
        &VALUE.spec,
        &WANTED.spec,
        &MATCHES.spec,
        &DECLARED_IN.spec,
        &HUNG_TASKS.spec,
        &REPORTS_LEFT.spec,
    ],
    cost: "0.9 ms wall, 0.5 ms CPU (2 cores of a VM, unoptimised build)",
};

/// Reads sysctl.d and the settings that it declares.
pub fn probe() -> OneRead {
    OneRead::new(&SPEC, read)
}

fn read(host: &Host) -> Result<Batch, ProbeError> {
    let assignments = sources::read_sources(host)?;
    let mut batch = Batch::of(SPEC.name);
    for (key, name) in [
        (&HUNG_TASKS, "hung_task_detect_count"),
        (&REPORTS_LEFT, "hung_task_warnings"),
    ] {
        let file = Path::new("/proc/sys/kernel").join(name);
        match read_value(host, file, |text| text.trim().parse().ok()) {
            Ok(count) => batch.set(key, count),
            Err(error) => batch.missing(&key.spec, error.missing_reason()),
        }
    }
    for (name, line) in declared(&assignments, WATCHED) {
        let subject = Subject::named(name);
        let wanted = line.value.as_deref().unwrap_or_default();
        batch.set_for(&WANTED, subject.clone(), Arc::from(wanted));
        batch.set_for(&DECLARED_IN, subject.clone(), Arc::from(line.file.as_str()));
        match read_text(&host.path(Path::new("/proc/sys").join(path_of(name)))) {
            Ok(text) => {
                let value = text.split_whitespace().collect::<Vec<_>>().join(" ");
                batch.set_for(&MATCHES, subject.clone(), is_same(&value, wanted));
                batch.set_for(&VALUE, subject, Arc::from(value));
            }
            // br_netfilter that is not loaded has no settings: then nobody can say whether they are right.
            Err(error) => {
                batch.missing_for(&MATCHES.spec, subject.clone(), error.missing_reason());
                batch.missing_for(&VALUE.spec, subject, error.missing_reason());
            }
        }
    }
    batch.lists_all(&VALUE);
    batch.lists_all(&WANTED);
    batch.lists_all(&MATCHES);
    batch.lists_all(&DECLARED_IN);
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Value;
    use std::fs::{create_dir_all, write};

    fn value<'a>(batch: &'a Batch, key: &str, subject: &str) -> Option<&'a Value> {
        let mut samples = batch.samples.iter();
        let sample = samples.find(|s| s.key == key && s.subject.as_str() == subject)?;
        sample.value.as_ref().ok()
    }

    #[test]
    fn only_declared_settings_are_judged() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        for directory in ["etc/sysctl.d", "proc/sys/net/ipv4", "proc/sys/vm"] {
            create_dir_all(root.join(directory)).expect("made");
        }
        let text = "net.ipv4.ip_forward=1\nvm.overcommit_memory=1\nnet.bridge.bridge-nf-call-iptables=1\nvm.swappiness=1\n";
        write(root.join("etc/sysctl.d/k8s.conf"), text).expect("written");
        write(root.join("proc/sys/net/ipv4/ip_forward"), "0\n").expect("written");
        write(root.join("proc/sys/vm/overcommit_memory"), "1\n").expect("written");
        write(root.join("proc/sys/vm/panic_on_oom"), "1\n").expect("written");
        let batch = read(&Host::at(root)).expect("read");
        let matches = |name| value(&batch, "kernel.sysctl.matches", name).cloned();
        assert_eq!(matches("net.ipv4.ip_forward"), Some(Value::Bool(false)));
        assert_eq!(matches("vm.overcommit_memory"), Some(Value::Bool(true)));
        assert_eq!(matches("net.bridge.bridge-nf-call-iptables"), None);
        assert_eq!(matches("vm.panic_on_oom"), None);
        assert_eq!(
            value(&batch, "kernel.sysctl.declared_in", "net.ipv4.ip_forward"),
            Some(&Value::Text("/etc/sysctl.d/k8s.conf".into()))
        );
        assert_eq!(
            batch
                .samples
                .iter()
                .filter(|s| s.subject.as_str() == "vm.swappiness")
                .count(),
            0
        );
    }

    #[test]
    fn a_machine_without_configuration_has_nothing_to_judge() {
        let root = tempfile::tempdir().expect("a directory");
        let batch = read(&Host::at(root.path())).expect("read");
        assert!(batch.samples.iter().all(|sample| sample.value.is_err()));
        assert_eq!(batch.complete.len(), 4);
    }

    #[test]
    fn hung_tasks_are_known_as_far_as_the_kernel_counts_them() {
        let root = tempfile::tempdir().expect("a directory");
        let folder = root.path().join("proc/sys/kernel");
        create_dir_all(&folder).expect("made");
        for (count, left, expected) in [
            (Some("13\n"), Some("0\n"), [Some(13), Some(0)]),
            (None, Some("-1\n"), [None, Some(-1)]),
            (Some("13 tasks"), None, [None, None]),
        ] {
            for (name, text) in [
                ("hung_task_detect_count", count),
                ("hung_task_warnings", left),
            ] {
                std::fs::remove_file(folder.join(name)).ok();
                if let Some(text) = text {
                    write(folder.join(name), text).expect("written");
                }
            }
            let batch = read(&Host::at(root.path())).expect("read");
            let keys = ["kernel.hung_tasks", "kernel.hung_task_reports_left"];
            let seen = keys.map(|key| match value(&batch, key, Subject::NODE.as_str()) {
                Some(Value::Integer(number)) => Some(*number),
                _ => None,
            });
            assert_eq!(seen, expected);
            assert_eq!(
                batch.samples.len(),
                2,
                "what is not known is said to be missing"
            );
        }
    }
}
