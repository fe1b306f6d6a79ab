//! The agent against real faults: what it opens, what it does and does not do, and what is left behind.

mod bait;
mod cause;
mod check;
mod crash;
mod disk;
mod flagship;
mod machine;
mod upgrade;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::Agent;
use crate::node::Node;
use crate::story::Record;
use crate::wait::eventually;

const SILENT_BUS: &str = "systemd-bus-unresponsive";
const REEXEC: &str = "systemd-reexec";

/// Three checks of at most 10 s each, every one waiting for its 5 s deadline, on a busy machine.
const HOLD_LIMIT: Duration = Duration::from_secs(90);
/// From the case to the end of its run: gates, steps, soak.
const MEND_LIMIT: Duration = Duration::from_secs(120);

/// Waits until a case of `signature` is open, and gives the record that opened it.
fn opened(agent: &Agent<'_>, signature: &str) -> Result<Record> {
    agent.told(&format!("a case of {signature}"), HOLD_LIMIT, |record| {
        record.is("case-opened", signature)
    })
}

/// Waits until the case of `signature` is closed.
fn closed(agent: &Agent<'_>, signature: &str) -> Result<Record> {
    agent.told(
        &format!("the end of the case of {signature}"),
        MEND_LIMIT,
        |record| record.is("case-closed", signature),
    )
}

/// Waits until a run of `playbook` has ended.
fn run_closed(agent: &Agent<'_>, playbook: &str) -> Result<Record> {
    agent.told(
        &format!("the end of a run of {playbook}"),
        MEND_LIMIT,
        |record| record.kind == "run-closed" && record.playbook.as_deref() == Some(playbook),
    )
}

/// What every scenario ends with: the audit log is whole, the agent lives, and nothing of a run is left on the node.
fn ends_well(node: &Node, agent: &Agent<'_>) -> Result<()> {
    agent.audit_is_whole()?;
    ensure!(
        agent.is_alive()?,
        "the agent ended: {}",
        agent.last_words()?
    );
    eventually(
        "no transient unit of a run",
        Duration::from_secs(10),
        || {
            let units = node.run(&[
                "systemctl",
                "list-units",
                "--all",
                "--plain",
                "--no-legend",
                "nodemend-*",
            ])?;
            ensure!(units.stdout.trim().is_empty(), "{}", units.stdout);
            Ok(())
        },
    )?;
    let failed = node
        .run(&["systemctl", "--failed", "--plain", "--no-legend"])?
        .stdout;
    ensure!(failed.trim().is_empty(), "failed units: {failed}");
    Ok(())
}
