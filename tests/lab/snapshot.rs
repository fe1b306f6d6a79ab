//! A node's state before and after: what an agent in observe mode must not change, and what a mend must not leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::node::Node;

/// Files that change on their own, or are the agent's own.
const NOT_COMPARED: &[&str] = &[
    "var/log/journal",
    "var/lib/nodemend",
    "run/nodemend",
    "etc/nodemend",
    "var/log/wtmp",
];

/// Changes when PID 1 re-executes itself.
pub const BUS_NAME: &str = "PID 1's name on the bus";

/// What was there, by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    facts: BTreeMap<String, String>,
}

impl Snapshot {
    /// Units with their processes, settings, packages, PID 1's connection, mounts, and every file that the node wrote.
    pub fn of(node: &Node) -> Result<Self> {
        let mut facts = BTreeMap::new();
        let units = "--property=Id,ActiveState,SubState,MainPID,NRestarts,NeedDaemonReload";
        let list = node
            .run(&[
                "systemctl",
                "show",
                "*.service",
                "*.socket",
                "*.timer",
                "*.slice",
                units,
            ])?
            .ok()?;
        for unit in list.split("\n\n") {
            let id = unit
                .lines()
                .find_map(|line| line.strip_prefix("Id="))
                .unwrap_or_default();
            // The agent itself, and the scopes and services of the lab's own commands.
            if id != "nodemend.service" && !id.starts_with("lab-") {
                facts.insert(format!("unit {id}"), unit.trim().to_owned());
            }
        }
        // A re-executed PID 1 has a new connection (its own timestamps survive the re-execution).
        let daemon = [
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
        ];
        let owner = ["GetNameOwner", "s", "org.freedesktop.systemd1"];
        let asked = [
            &["busctl", "--timeout=5", "call"],
            daemon.as_slice(),
            &owner,
        ]
        .concat();
        facts.insert(BUS_NAME.to_owned(), node.run(&asked)?.ok()?);
        lines(
            "mount",
            &node.run(&["cat", "/proc/mounts"])?.ok()?,
            &mut facts,
        );
        lines(
            "package",
            &node.run(&["dpkg-query", "--show"])?.ok()?,
            &mut facts,
        );
        // Some settings can be written only, and make sysctl's exit code an error.
        let settings = node
            .run(&["sysctl", "--all", "--pattern", "^net\\."])?
            .stdout;
        for line in settings
            .lines()
            .filter(|line| !line.contains("conntrack_count"))
        {
            let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
            facts.insert(format!("setting {key}"), value.to_owned());
        }
        let transient = node.run(&["ls", "/run/systemd/transient"])?.stdout;
        lines("transient unit", &transient, &mut facts);
        files(&node.upper(), Path::new(""), &mut facts)?;
        Ok(Self { facts })
    }

    /// Fails with every difference, by name.
    pub fn equals(&self, later: &Self) -> Result<()> {
        self.equals_but(&[], later)
    }

    /// As [`Snapshot::equals`], with some facts that may differ.
    pub fn equals_but(&self, left_out: &[&str], later: &Self) -> Result<()> {
        let names: BTreeSet<_> = self.facts.keys().chain(later.facts.keys()).collect();
        let mut differences = Vec::new();
        for name in names {
            let (before, after) = (self.facts.get(name), later.facts.get(name));
            if before != after && !left_out.contains(&name.as_str()) {
                differences.push(format!("{name}\n  before: {before:?}\n  after:  {after:?}"));
            }
        }
        ensure!(
            differences.is_empty(),
            "the node changed:\n{}",
            differences.join("\n")
        );
        Ok(())
    }
}

/// Each line is a fact of its own, so that a difference is short to read.
fn lines(what: &str, text: &str, facts: &mut BTreeMap<String, String>) {
    facts.extend(
        text.lines()
            .map(|line| (format!("{what} {line}"), String::new())),
    );
}

/// Every file of the overlay's upper side with size and time of change.
fn files(upper: &Path, below: &Path, facts: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(upper.join(below))? {
        let entry = entry?;
        let relative = below.join(entry.file_name());
        if NOT_COMPARED
            .iter()
            .any(|left_out| relative.starts_with(left_out))
        {
            continue;
        }
        let about = entry.metadata()?;
        if about.is_dir() {
            files(upper, &relative, facts)?;
        } else {
            let state = format!("{} bytes, changed {:?}", about.len(), about.modified()?);
            facts.insert(format!("file /{}", relative.display()), state);
        }
    }
    Ok(())
}
