//! A kernel setting changed behind everyone's back. Only `net.*`: those belong to the node's own network namespace,
//! all others are this machine's, and nspawn keeps them read-only.

use anyhow::{Result, ensure};

use crate::node::Node;

/// A changed setting; dropped: as before.
#[derive(Debug)]
pub struct ChangedSysctl<'node> {
    node: &'node Node,
    file: String,
    before: String,
}

impl<'node> ChangedSysctl<'node> {
    /// `key` in sysctl(8)'s form, for instance `net.ipv4.ip_forward`.
    pub fn on(node: &'node Node, key: &str, value: &str) -> Result<Self> {
        ensure!(key.starts_with("net."), "{key} is not the node's own");
        let file = file_of(key);
        let before = node.run(&["cat", &file])?.ok()?;
        write(node, &file, value)?;
        Ok(Self {
            node,
            file,
            before: before.trim().to_owned(),
        })
    }
}

impl Drop for ChangedSysctl<'_> {
    fn drop(&mut self) {
        if let Err(error) = write(self.node, &self.file, &self.before) {
            eprintln!("{} could not be set back: {error:#}", self.file);
        }
    }
}

/// What the node has for `key` now.
pub fn read(node: &Node, key: &str) -> Result<String> {
    Ok(node.run(&["cat", &file_of(key)])?.ok()?.trim().to_owned())
}

/// Read and written by a process inside: `/proc/sys/net` shows the reader's own network namespace.
fn write(node: &Node, file: &str, value: &str) -> Result<()> {
    node.run(&["sh", "-c", "printf %s \"$1\" > \"$0\"", file, value])?
        .ok()
        .map(drop)
}

fn file_of(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}
