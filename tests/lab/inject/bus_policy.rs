//! The bus daemon denies PID 1's replies: calls reach PID 1, answers never come back (form A's picture,
//! signatures.md 1.8). Unlike the muted bus, re-executing PID 1 does not cure it.

use anyhow::Result;

use crate::node::Node;

const FILE: &str = "/etc/dbus-1/system.d/lab-deny-replies.conf";
/// Signals still pass; only answers to calls are denied, and errors, which are answers too.
const POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy context="mandatory">
    <deny receive_sender="org.freedesktop.systemd1" receive_requested_reply="true" receive_type="method_return"/>
    <deny receive_sender="org.freedesktop.systemd1" receive_requested_reply="true" receive_type="error"/>
  </policy>
</busconfig>
"#;

/// The policy in force; dropped: removed again.
#[derive(Debug)]
pub struct DeniedReplies<'node> {
    node: &'node Node,
}

impl<'node> DeniedReplies<'node> {
    pub fn on(node: &'node Node) -> Result<Self> {
        node.write(FILE, POLICY)?;
        let guard = Self { node };
        reload(node)?;
        Ok(guard)
    }
}

impl Drop for DeniedReplies<'_> {
    fn drop(&mut self) {
        let removed = self
            .node
            .path(FILE)
            .and_then(|path| Ok(std::fs::remove_file(path)?));
        if let Err(error) = removed.and_then(|()| reload(self.node)) {
            eprintln!("the bus policy could not be taken back: {error:#}");
        }
    }
}

fn reload(node: &Node) -> Result<()> {
    let daemon = [
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "ReloadConfig",
    ];
    node.run(&[&["busctl", "--timeout=5", "call"], daemon.as_slice()].concat())?
        .ok()
        .map(drop)
}
