//! The kubelets of other people's machines, as file trees.

use super::{Finder, Setup, find, unit_of};
use crate::host::{Deadline, Host};
use std::fs::{create_dir_all, write};
use std::path::Path;
use std::time::Duration;

/// A machine with these files.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        put(root.path(), path, text);
    }
    let host = Host::at(root.path());
    (root, host)
}

fn put(root: &Path, path: &str, text: &str) {
    let place = root.join(path.trim_start_matches('/'));
    create_dir_all(place.parent().expect("a parent")).expect("made");
    write(place, text).expect("written");
}

const STATUS: &str = "Name:\tkubelet\nNSpid:\t812\n";

struct Case {
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
    subject: &'static str,
    runtime: Option<&'static str>,
    healthz: Option<&'static str>,
}

const CASES: [Case; 10] = [
    Case {
        what: "kubeadm",
        files: &[
            ("/proc/812/comm", "kubelet\n"),
            ("/proc/812/status", STATUS),
            ("/proc/812/cgroup", "0::/system.slice/kubelet.service\n"),
            (
                "/proc/812/cmdline",
                "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock\0",
            ),
            (
                "/var/lib/kubelet/config.yaml",
                "healthzBindAddress: 127.0.0.1\nhealthzPort: 10248\n",
            ),
        ],
        subject: "kubelet.service",
        runtime: Some("/run/containerd/containerd.sock"),
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "kubeadm 1.35, where the file names the socket, seen from a pod",
        files: &[
            ("/proc/812/comm", "kubelet\n"),
            ("/proc/812/status", STATUS),
            (
                "/proc/812/cgroup",
                "0::/../../../system.slice/kubelet.service\n",
            ),
            (
                "/proc/812/cmdline",
                "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0",
            ),
            (
                "/var/lib/kubelet/config.yaml",
                "containerRuntimeEndpoint: unix:///run/crio/crio.sock\nhealthzPort: 0\n",
            ),
        ],
        subject: "kubelet.service",
        runtime: Some("/run/crio/crio.sock"),
        healthz: None,
    },
    Case {
        what: "EKS with a snap",
        files: &[
            ("/proc/9/comm", "kubelet\n"),
            ("/proc/9/status", STATUS),
            (
                "/proc/9/cgroup",
                "0::/system.slice/snap.kubelet-eks.daemon.service\n",
            ),
            (
                "/proc/9/cmdline",
                "kubelet\0--config\0/etc/kubernetes/kubelet/config.json\0",
            ),
            (
                "/etc/kubernetes/kubelet/config.json",
                "{\"containerRuntimeEndpoint\":\"unix:///run/containerd/containerd.sock\"}",
            ),
        ],
        subject: "snap.kubelet-eks.daemon.service",
        runtime: Some("/run/containerd/containerd.sock"),
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "k3s, which hides its arguments",
        files: &[
            ("/proc/77/comm", "k3s-server\n"),
            ("/proc/77/status", STATUS),
            ("/proc/77/cgroup", "0::/system.slice/k3s.service\n"),
            ("/proc/77/cmdline", "/usr/local/bin/k3s server\0"),
            (
                "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf",
                "containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock\n",
            ),
            (
                "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/10-mine.conf",
                "healthzPort: 10300\n",
            ),
        ],
        subject: "kubelet in k3s.service",
        runtime: Some("/run/k3s/containerd/containerd.sock"),
        healthz: Some("127.0.0.1:10300"),
    },
    Case {
        what: "rke2, whose kubelet is a process of its unit",
        files: &[
            ("/proc/78/comm", "kubelet\n"),
            ("/proc/78/status", STATUS),
            ("/proc/78/cgroup", "0::/system.slice/rke2-agent.service\n"),
            (
                "/proc/78/cmdline",
                "kubelet\0--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock\0--healthz-bind-address=127.0.0.1\0",
            ),
        ],
        subject: "kubelet in rke2-agent.service",
        runtime: Some("/run/k3s/containerd/containerd.sock"),
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "k3s whose processes are not seen",
        files: &[("/var/lib/rancher/k3s/agent/client-kubelet.crt", "")],
        subject: "kubelet in k3s",
        runtime: None,
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "kubeadm whose kubelet is stopped",
        files: &[
            (
                "/var/lib/kubelet/kubeadm-flags.env",
                "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/cri-dockerd.sock --pod-infra-container-image=a\"\n",
            ),
            ("/var/lib/kubelet/config.yaml", "healthzPort: 10301\n"),
        ],
        subject: "kubelet.service",
        runtime: Some("/run/cri-dockerd.sock"),
        healthz: Some("127.0.0.1:10301"),
    },
    Case {
        what: "a kubelet in a container that systemd does not run (Talos)",
        files: &[
            ("/proc/5/comm", "kubelet\n"),
            ("/proc/5/status", STATUS),
            ("/proc/5/cgroup", "0::/podruntime/kubelet\n"),
            ("/proc/5/cmdline", "/usr/local/bin/kubelet\0"),
        ],
        subject: "kubelet in no unit",
        runtime: None,
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "a kubelet of a kind cluster on a machine without one",
        files: &[
            ("/proc/4711/comm", "kubelet\n"),
            ("/proc/4711/status", "NSpid:\t4711\t812\n"),
            (
                "/proc/4711/cgroup",
                "0::/docker/ab/kubelet.slice/kubelet.service\n",
            ),
            (
                "/proc/4711/cmdline",
                "kubelet\0--container-runtime-endpoint=unix:///run/other.sock\0",
            ),
        ],
        subject: "kubelet.service",
        runtime: None,
        healthz: Some("127.0.0.1:10248"),
    },
    Case {
        what: "nothing",
        files: &[],
        subject: "kubelet.service",
        runtime: None,
        healthz: Some("127.0.0.1:10248"),
    },
];

#[test]
fn the_kubelets_of_other_peoples_machines_are_found() {
    for case in CASES {
        let (_root, host) = machine(case.files);
        let (_, setup) = find(&host, None);
        let setup = setup.expect("a setup");
        let healthz = setup.healthz.map(|address| address.to_string());
        assert_eq!(&*setup.subject, case.subject, "{}", case.what);
        assert_eq!(setup.runtime.as_deref(), case.runtime, "{}", case.what);
        assert_eq!(healthz.as_deref(), case.healthz, "{}", case.what);
    }
}

#[test]
fn a_unit_is_found_in_every_form_of_the_file() {
    for (text, unit) in [
        (
            "0::/system.slice/kubelet.service\n",
            Some("kubelet.service"),
        ),
        (
            "12:cpuset:/\n5:cpu,cpuacct:/other.service\n1:name=systemd:/system.slice/kubelet.service\n0::/\n",
            Some("kubelet.service"),
        ),
        (
            "0::/system.slice/k3s.service/kubelet\n",
            Some("k3s.service"),
        ),
        ("0::/init.scope\n", None),
        ("", None),
        ("garbled", None),
    ] {
        assert_eq!(unit_of(text), unit, "{text}");
    }
}

#[tokio::test]
async fn a_kubelet_that_is_gone_keeps_its_places_and_a_new_one_is_looked_up() {
    let (root, host) = machine(CASES[0].files);
    let mut finder = Finder::new();
    let deadline = || Deadline::after(Duration::from_secs(5));
    let first = finder.setup(&host, deadline()).await;
    let containerd = Some("/run/containerd/containerd.sock");
    assert_eq!(first.runtime.as_deref(), containerd);
    std::fs::remove_dir_all(root.path().join("proc/812")).expect("removed");
    finder.looked = None;
    assert_eq!(finder.setup(&host, deadline()).await, first, "it is gone");
    for (file, text) in [
        ("comm", "kubelet\n"),
        ("status", STATUS),
        ("cgroup", "0::/system.slice/kubelet.service\n"),
        (
            "cmdline",
            "kubelet\0--container-runtime-endpoint=/run/crio/crio.sock\0",
        ),
    ] {
        put(root.path(), &format!("/proc/900/{file}"), text);
    }
    assert_eq!(
        finder.setup(&host, deadline()).await,
        first,
        "within the minute"
    );
    finder.looked = None;
    let new = finder.setup(&host, deadline()).await;
    assert_eq!(new.runtime.as_deref(), Some("/run/crio/crio.sock"));
    assert_ne!(*new, Setup::default());
}
