//! The signatures that come with the binary. To add one: its file, and its line here.

use super::rulebook::Source;

macro_rules! shipped {
    ($($path:literal),* $(,)?) => {
        &[$((concat!("remediations/signatures/", $path), include_str!(concat!("../../remediations/signatures/", $path)))),*]
    };
}

/// File name and text of every shipped signature.
const FILES: &[(&str, &str)] = shipped![
    "kernel/kernel-sysctl-drift.yaml",
    "kernel/kernel-task-hung.yaml",
    "kubelet/kubelet-pod-workers-wedged.yaml",
    "node/node-ready-flapping.yaml",
    "runtime/runtime-unresponsive.yaml",
    "storage/fs-readonly.yaml",
    "systemd/dbus-daemon-dead.yaml",
    "systemd/systemd-bus-unresponsive.yaml",
    "systemd/systemd-cookie-near-overrun.yaml",
    "systemd/systemd-outdated-flapping.yaml",
    "systemd/systemd-pid1-frozen.yaml",
    "systemd/systemd-unit-crashloop.yaml",
    "systemd/systemd-version-at-risk.yaml",
];

/// The shipped signatures.
pub fn sources() -> Vec<Source> {
    FILES
        .iter()
        .map(|(origin, text)| Source {
            origin: (*origin).to_owned(),
            text: (*text).to_owned(),
        })
        .collect()
}
