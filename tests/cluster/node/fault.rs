//! What can be done to a node, each a guard whose end is the repair.

use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Node;

/// The node's cable is pulled: no carrier, its addresses and routes stay.
pub struct CutLink {
    port: String,
}

impl CutLink {
    /// Pulls the cable of `node`, at the bridge's end.
    pub fn on(node: &Node) -> Self {
        let index = node.output(&["cat", "/sys/class/net/host0/iflink"]);
        let wanted = format!("{}:", index.trim());
        let links = ip(&["-oneline", "link", "show", "master", "br0"]);
        let line = links.lines().find(|line| line.starts_with(&wanted));
        // "7: vb-node11@if2: <BROADCAST,...": the name is the second word, up to its peer.
        let name = line.and_then(|line| line.split_whitespace().nth(1));
        let name = name.and_then(|name| name.split(['@', ':']).next());
        let port = name
            .unwrap_or_else(|| panic!("no port {wanted} in\n{links}"))
            .to_owned();
        ip(&["link", "set", &port, "down"]);
        Self { port }
    }
}

impl Drop for CutLink {
    fn drop(&mut self) {
        // The node may be off by now, and its port with it.
        Command::new("ip")
            .args(["link", "set", &self.port, "up"])
            .status()
            .ok();
    }
}

/// A process of the node stands still and answers nobody.
pub struct Paused {
    pid: Pid,
}

impl Paused {
    /// Stops every step of PID 1.
    pub fn init(node: &Node) -> Self {
        Self::pause(node.leader().expect("the node is on"))
    }

    /// Stops the main process of `unit`.
    pub fn unit(node: &Node, unit: &str) -> Self {
        let property = ["systemctl", "show", "--property=MainPID", "--value", unit];
        let inside: i32 = node
            .output(&property)
            .trim()
            .parse()
            .expect("a unit that runs");
        let outside = node.outside(inside);
        Self::pause(outside)
    }

    fn pause(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).expect("the process runs");
        Self { pid }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        kill(self.pid, Signal::SIGCONT).ok();
    }
}

/// A unit is stopped; it is started again at the end.
pub struct Stopped<'node> {
    node: &'node Node,
    unit: &'static str,
}

impl<'node> Stopped<'node> {
    /// Stops `unit` in an orderly way.
    pub fn on(node: &'node Node, unit: &'static str) -> Self {
        node.output(&["systemctl", "stop", unit]);
        Self { node, unit }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let output = self.node.run(&["systemctl", "start", self.unit]);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            eprintln!("{} did not start again: {errors}", self.unit);
        }
    }
}

/// The node's bus drops what PID 1 answers: calls reach it, and whoever asked waits for ever.
///
/// Once this ends, later calls are answered; what was lost stays lost.
pub struct LostReplies<'node> {
    node: &'node Node,
}

const POLICY_FILE: &str = "/etc/dbus-1/system.d/lab-lost-replies.conf";
const POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy context="mandatory">
 <deny receive_sender="org.freedesktop.systemd1" receive_requested_reply="true" receive_type="method_return"/>
 <deny receive_sender="org.freedesktop.systemd1" receive_requested_reply="true" receive_type="error"/>
</policy></busconfig>
"#;

impl<'node> LostReplies<'node> {
    /// Drops the answers from now on.
    pub fn on(node: &'node Node) -> Self {
        let write = "printf '%s' \"$1\" > \"$2\"";
        node.output(&["sh", "-c", write, "write", POLICY, POLICY_FILE]);
        let lost = Self { node };
        let reloaded = lost.reload();
        assert!(reloaded.status.success(), "{reloaded:?}");
        lost
    }

    fn reload(&self) -> Output {
        let daemon = [
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
        ];
        let call = [
            &["busctl", "--timeout=5", "call"],
            &daemon[..],
            &["ReloadConfig"],
        ];
        self.node.run(&call.concat())
    }
}

impl Drop for LostReplies<'_> {
    fn drop(&mut self) {
        self.node.run(&["rm", "-f", POLICY_FILE]);
        let reloaded = self.reload();
        if !reloaded.status.success() {
            eprintln!("the bus policy could not be taken back: {reloaded:?}");
        }
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}
