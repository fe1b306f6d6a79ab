//! The agent on a node: the built binary as a service of the node's own systemd, told by files and asked
//! through its command line, its HTTP page and its audit log, as an operator would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::node::{Node, Plan, Ran};
use crate::playbook::{self, Edited};
use crate::story::{Record, Story};
use crate::wait::{audit_so_far, eventually, so};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_nodemend");
const INSIDE: &str = "/usr/local/bin/nodemend";
const UNIT: &str = "nodemend.service";
pub const STATE: &str = "/var/lib/nodemend";
const CONFIG: &str = "/etc/nodemend/config.yaml";
/// `--listen`'s default.
const PORT: u16 = 9797;
/// The first full pass waits for the deadlines of what does not answer (5 s each), on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(40);

/// Not started by itself again: the scenarios decide when it lives.
const SERVICE: &str = "[Unit]\nDescription=nodemend\nStartLimitIntervalSec=0\n\
    [Service]\nExecStart=/usr/local/bin/nodemend agent --standalone --log-level debug\nRestart=no\n\
    [Install]\nWantedBy=multi-user.target\n";

/// The shipped playbooks, their soak apart as they are.
const SHIPPED: [Edited<'static>; 3] = [
    Edited {
        id: "systemd-reexec",
        edits: &[],
    },
    Edited {
        id: "unit-restart",
        edits: &[],
    },
    Edited {
        id: "sysctl-restore",
        edits: &[],
    },
];

/// A plan for a node that can run the agent.
pub fn plan(name: &str) -> Result<Plan> {
    Ok(Plan::new(name)?.with_file(Path::new(BINARY), INSIDE))
}

/// What the operator of a lab node allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Observe,
    Auto,
}

/// The agent of one node.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'node> {
    node: &'node Node,
}

impl<'node> Agent<'node> {
    /// The agent of `node`, whatever state it is in.
    pub fn of(node: &'node Node) -> Self {
        Self { node }
    }

    /// Puts unit and configuration on the node; `more` is appended to the configuration as it stands.
    pub fn install(node: &'node Node, mode: Mode, more: &str) -> Result<Self> {
        node.write(&format!("/etc/systemd/system/{UNIT}"), SERVICE)?;
        let settings = match mode {
            Mode::Observe => "node: { mode: observe, allow: none }\n",
            Mode::Auto => "node: { mode: auto, allow: restart }\n",
        };
        node.write(CONFIG, &format!("{settings}{more}"))?;
        node.run(&["systemctl", "daemon-reload"])?.ok()?;
        Ok(Self::of(node))
    }

    /// Installed with the lab's versions of all shipped playbooks, and started.
    pub fn launch(node: &'node Node, mode: Mode) -> Result<Self> {
        Self::launch_with(node, mode, &SHIPPED)
    }

    /// Installed with these playbooks, and started.
    pub fn launch_with(node: &'node Node, mode: Mode, playbooks: &[Edited<'_>]) -> Result<Self> {
        Self::launch_told(node, mode, playbooks, "")
    }

    /// As [`Agent::launch_with`], with more lines of configuration.
    pub fn launch_told(
        node: &'node Node,
        mode: Mode,
        playbooks: &[Edited<'_>],
        more: &str,
    ) -> Result<Self> {
        let trust = playbook::put(node, playbooks)?;
        let agent = Self::install(node, mode, &format!("{trust}{more}"))?;
        agent.start()?;
        Ok(agent)
    }

    /// Starts it and waits for its first full pass.
    pub fn start(&self) -> Result<()> {
        self.node.run(&["systemctl", "start", UNIT])?.ok()?;
        eventually("the agent's first full pass", READY_LIMIT, || {
            if !self.is_alive()? {
                // No use in waiting any longer.
                return Ok(Err(anyhow!("the service ended: {}", self.last_words()?)));
            }
            self.node.http_get(PORT, "/readyz").map(|_| Ok(()))
        })?
    }

    /// Ends it in an orderly way.
    pub fn stop(&self) -> Result<()> {
        self.node.run(&["systemctl", "stop", UNIT])?.ok().map(drop)
    }

    /// SIGKILL to its process, and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        // PID 1 may be re-executing itself right now, and breaks such a call off.
        eventually("the agent's end", Duration::from_secs(20), || {
            if self.is_alive()? {
                self.node
                    .run(&["systemctl", "kill", "--signal=KILL", UNIT])?
                    .ok()?;
            }
            so(!self.is_alive()?, || "still there".to_owned())?;
            // A killed service counts as failed until told otherwise, and the scenarios look for failed units.
            self.node
                .run(&["systemctl", "reset-failed", UNIT])?
                .ok()
                .map(drop)
        })
    }

    /// Whether its process is there. Asked over the private socket, so a dead bus does not matter.
    pub fn is_alive(&self) -> Result<bool> {
        let state = self.node.run(&["systemctl", "is-active", UNIT])?;
        Ok(matches!(
            state.stdout.trim(),
            "active" | "activating" | "deactivating" | "reloading"
        ))
    }

    /// The last lines that it logged.
    pub fn last_words(&self) -> Result<String> {
        let journal = [
            "journalctl",
            "--unit",
            UNIT,
            "--lines=30",
            "--output=cat",
            "--no-pager",
        ];
        Ok(self.node.run(&journal)?.stdout)
    }

    /// Runs the command line on the node.
    pub fn cli(&self, arguments: &[&str]) -> Result<Ran> {
        self.node.run(&[&[INSIDE], arguments].concat())
    }

    /// The command's answer as one JSON document, whatever it exits with.
    pub fn cli_json(&self, arguments: &[&str]) -> Result<Value> {
        let ran = self.cli(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&ran.stdout).with_context(|| format!("not JSON: {ran:?}"))
    }

    /// The value of a sample on `/metrics`: `name` with its labels, as it stands there.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.node.http_get(PORT, "/metrics")?;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no sample {name} on /metrics"))?;
        value
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("{name}: {value}"))
    }

    /// What the audit log tells so far.
    pub fn story(&self) -> Result<Story> {
        let folder = self.node.path(&format!("{STATE}/audit"))?;
        Story::parse(&audit_so_far(&folder)?)
    }

    /// Waits until the audit log holds a record for which `wanted` is true, and gives it.
    pub fn told(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Record> {
        eventually(what, limit, || {
            let story = self.story()?;
            let found = story.records.iter().find(|record| wanted(record)).cloned();
            found.with_context(|| format!("the audit log tells:\n{story}"))
        })
    }

    /// `audit verify` has nothing to say against the log.
    pub fn audit_is_whole(&self) -> Result<()> {
        self.cli(&["audit", "verify"])?.ok().map(drop)
    }
}
