//! A node that runs pods: real systemd, containerd, runc and kubelet in systemd-nspawn, on the
//! bridge of its control plane's network namespace.
//!
//! Its overlay is mounted in a mount namespace that dies with it, its processes in cgroups of its
//! own; dropping it, or the death of the test, ends everything.

pub mod fault;
pub mod qemu;
pub mod root;

// Shared with the lab of single nodes: a node's cgroups are a node's cgroups.
#[path = "../../lab/inject/bus_connection.rs"]
pub mod bus_connection;
#[path = "../../lab/node/cgroup.rs"]
mod cgroup;
#[path = "../../lab/node/sweep.rs"]
pub mod sweep;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries::multi_call;
use crate::controlplane::{ADDRESS, ControlPlane};
use crate::pki::inline;
use crate::process::{Process, until};

const BOOT: &str = include_str!("../../lab/node/boot.sh");
/// Five seconds on two idle cores for two nodes.
const READY_WITHIN: Duration = Duration::from_secs(120);
const GONE_WITHIN: Duration = Duration::from_secs(20);
const COMMAND_LIMIT: &str = "40";

/// A node of a control plane.
pub struct Node {
    name: String,
    process: Process,
    folder: TempDir,
    // After the process in drop order: the groups are empty then.
    _groups: cgroup::NodeGroups,
}

impl Node {
    /// Boots node `number` (10 to 250, the last part of its address) with the images in `images`,
    /// OCI archives. It registers itself; see [`Node::await_ready`].
    pub fn boot(plane: &ControlPlane, number: u8, images: &Path) -> Self {
        Self::boot_with(plane, number, images, &[])
    }

    /// As [`Node::boot`], with `files` in place before anything on the node starts: pairs of an
    /// absolute path and a text.
    pub fn boot_with(
        plane: &ControlPlane,
        number: u8,
        images: &Path,
        files: &[(&str, &str)],
    ) -> Self {
        let name = format!("node{number}");
        let address = format!("198.51.100.{number}");
        plane.pki().kubelet(&name, &address);
        let folder = sweep::folder(&std::env::temp_dir()).expect("a temporary directory");
        let part = |name: &str| folder.path().join(name);
        for directory in [
            "upper/etc/lab",
            "upper/etc/cni/net.d",
            "work",
            "root",
            "containerd",
        ] {
            fs::create_dir_all(part(directory)).expect("a temporary directory");
        }
        for (inside, text) in files {
            let path = part("upper").join(inside.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("an absolute path"))
                .expect("a writable directory");
            fs::write(path, text).expect("a writable directory");
        }
        configure(&part("upper/etc"), plane, &name, &address, number);

        // Machine-wide names carry the test's process and control plane: labs run side by side.
        // The process comes last: by it the sweep knows whose they are.
        let machine = format!("{name}-{}-{}", plane.seat(), std::process::id());
        let groups = cgroup::NodeGroups::make(&machine).expect("this machine's cgroups");
        fs::write(part("cgroups"), groups.procs_files()).expect("a temporary directory");
        let argv = command(folder.path(), &name, &machine, images);
        let process = Process::start(&name, argv, plane.dir());
        Self {
            name,
            process,
            folder,
            _groups: groups,
        }
    }

    /// The Node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until kubelet reports Ready; the time since the call.
    pub fn await_ready(&mut self, plane: &ControlPlane) -> Duration {
        await_ready(&mut self.process, &self.name, plane, READY_WITHIN)
    }

    /// Runs a command inside as root; it is killed after 40 s.
    pub fn run(&self, argv: &[&str]) -> Output {
        let leader = self.leader().expect("the node is on").to_string();
        let output = Command::new("timeout")
            .args([
                "--kill-after=1",
                COMMAND_LIMIT,
                "nsenter",
                "--target",
                &leader,
            ])
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
            ])
            .args(["env", "--ignore-environment", "LC_ALL=C"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(argv)
            .output();
        output.expect("timeout and nsenter are installed")
    }

    /// As [`Node::run`]: the output of a command that must succeed.
    pub fn output(&self, argv: &[&str]) -> String {
        let output = self.run(argv);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{argv:?} on {}: {}",
            self.name,
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Process `inside` of the node, as this machine numbers it.
    pub fn outside(&self, inside: i32) -> Pid {
        let leader = self.leader().expect("the node is on");
        let ours = fs::read_link(format!("/proc/{leader}/ns/pid")).expect("PID 1 is there");
        let entries = fs::read_dir("/proc").expect("/proc");
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut of_node = ids.filter(|id: &i32| {
            fs::read_link(format!("/proc/{id}/ns/pid")).is_ok_and(|namespace| namespace == ours)
        });
        let found = of_node.find(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            line.and_then(|ids| ids.split_whitespace().last()?.parse().ok()) == Some(inside)
        });
        Pid::from_raw(found.unwrap_or_else(|| panic!("no process {inside} on {}", self.name)))
    }

    /// Its PID 1, as this machine numbers it.
    ///
    /// # Errors
    /// The node is off.
    pub fn leader(&self) -> Result<Pid> {
        let nspawn = children(self.process.pid()).first().copied();
        let leader = nspawn.and_then(|nspawn| children(nspawn).first().copied());
        leader.with_context(|| format!("{} has no PID 1", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_records();
        }
        // nspawn is the first process of a PID namespace: with it everything in there ends.
        for child in children(self.process.pid()) {
            // It may have ended by itself.
            kill(child, Signal::SIGKILL).ok();
        }
        // `unshare` ends after it, thus after every process that still sits in the cgroups.
        self.process.end_within(GONE_WITHIN);
    }
}

impl Node {
    /// Puts what the node wrote down beside the logs of the control plane.
    fn keep_records(&self) {
        let kept = self.process.log().with_extension("kept");
        let upper = self.folder.path().join("upper/var");
        let copy = "mkdir -p \"$2\"; cp -r \"$1/log/pods\" \"$1/lib/nodemend\" \"$2\" 2>/dev/null; \
                    journalctl --directory \"$1/log/journal\" > \"$2/journal\"";
        let status = Command::new("sh")
            .args(["-c", copy, "keep"])
            .arg(upper)
            .arg(&kept)
            .status();
        match status {
            Ok(_) => eprintln!(
                "the records of {} are kept in {}",
                self.name,
                kept.display()
            ),
            Err(error) => eprintln!("cannot keep the records of {}: {error}", self.name),
        }
    }
}

/// Joins the cgroups, mounts the overlay and becomes nspawn, all in `folder`.
fn command(folder: &Path, name: &str, machine: &str, images: &Path) -> Vec<String> {
    let part = |name: &str| folder.join(name).display().to_string();
    let tree = root::tree()
        .expect("the nodes' file tree")
        .display()
        .to_string();
    // A PID namespace around nspawn: killed alone (with its test, say) it would leave its PID 1 behind.
    let mut argv: Vec<String> = "unshare --mount --propagation slave --pid --fork --kill-child \
                                 --mount-proc env SYSTEMD_SECCOMP=0 sh -c"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    argv.extend([BOOT.to_owned(), "boot.sh".to_owned(), tree]);
    argv.extend(["upper", "work", "root", "cgroups"].map(part));
    let options = "--quiet --register=no --keep-unit --network-bridge=br0 --capability=all \
                   --kill-signal=SIGRTMIN+3 --resolv-conf=off --timezone=off --link-journal=no \
                   --console=pipe --bind=/dev/kmsg";
    argv.extend(options.split_whitespace().map(str::to_owned));
    argv.extend([
        format!("--machine={machine}"),
        format!("--hostname={name}"),
        format!("--bind-ro={}:/opt/lab/controlplane", multi_call().display()),
        format!("--bind-ro={}:/opt/lab/images", images.display()),
        // An overlay can not stand on an overlay: the runtime's lies on a real file system.
        format!("--bind={}:/var/lib/containerd", part("containerd")),
        "/lab-init".to_owned(),
    ]);
    argv
}

fn await_ready(
    process: &mut Process,
    name: &str,
    plane: &ControlPlane,
    limit: Duration,
) -> Duration {
    let (admin, path) = (plane.admin(), format!("/api/v1/nodes/{name}"));
    until(&format!("{name} is Ready"), limit, || {
        process.ensure_alive();
        let node = admin.get(&path).body;
        let conditions = node["status"]["conditions"].as_array().cloned();
        let conditions = conditions.unwrap_or_default();
        let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
        conditions.iter().any(is_ready)
    })
}

fn children(parent: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    // A process that is gone has none.
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

fn configure(etc: &Path, plane: &ControlPlane, name: &str, address: &str, number: u8) {
    let write =
        |file: &str, text: &str| fs::write(etc.join(file), text).expect("a writable directory");
    let copy = |from: &str, to: &str| {
        fs::copy(plane.pki().path(from), etc.join(to)).expect("a file of the PKI");
    };
    copy("ca.crt", "lab/ca.crt");
    copy(&format!("{name}.crt"), "lab/kubelet.crt");
    copy(&format!("{name}.key"), "lab/kubelet.key");
    write("lab/kubeconfig", &inline(&plane.pki().kubeconfig(name)));
    write(
        "lab/node.env",
        &format!("NODE={name}\nADDRESS={address}\nGATEWAY={ADDRESS}\n"),
    );
    write("hostname", &format!("{name}\n"));
    let range = serde_json::json!([[{ "subnet": format!("10.244.{number}.0/24") }]]);
    let ipam = serde_json::json!({ "type": "host-local", "ranges": range,
        "routes": [{ "dst": "0.0.0.0/0" }] });
    let network = serde_json::json!({ "cniVersion": "0.4.0", "name": "lab",
        "plugins": [{ "type": "ptp", "ipam": ipam }] });
    write("cni/net.d/10-lab.conflist", &network.to_string());
}
