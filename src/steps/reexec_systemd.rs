//! `reexec_systemd`: PID 1 executes itself anew and gets a new bus connection.
//!
//! *Effect*: PID 1 serializes its state and executes `/sbin/init` again; services and containers live on. *Prior state kept*:
//! under which name and with which message counter PID 1 answered on the bus, if it did. *Verified*: PID 1 answers by its
//! private socket and on the bus, there as a new connection (other name, or a counter that began anew). *Undone*: nothing to
//! undo. *Left if killed midway*: PID 1 re-executes or it does not; both are whole states, and looking tells them apart.
//! *Source*: signatures.md 1.6 and 1.8 (tried on systemd 236, 241 and 252: 0.07-0.19 s, answering 0.03 s later).

use super::site::{Pong, Site, Way};
use super::{Step, StepError, Ticket, Verified};
use crate::executor::{Receipt, StepShape, UndoWay};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::playbook::{ArgError, ArgReader, Args, StepSummary};
use crate::policy::Disruption;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The kind's name in playbooks.
pub(super) const KIND: &str = "reexec_systemd";
/// One sign of life. Five seconds is what the probes give it, too: slower is not an answer.
const PING_LIMIT: Duration = Duration::from_secs(5);
/// The look before. The usual reason for this step is that PID 1 does not answer, so the step would begin late by the whole
/// wait; a healthy one answers within a millisecond. Slower counts as silent, and any later answer as the cure.
const CAPTURE_LIMIT: Duration = Duration::from_millis(100);
/// The re-execution itself. 0.2 s was the slowest seen; a machine with 10,000 units needs seconds.
const REEXEC_LIMIT: Duration = Duration::from_secs(20);

/// Makes PID 1 execute itself anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReexecSystemd {
    by_signal_too: bool,
}

/// How PID 1 answered on the bus before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    bus_sender: Option<String>,
    bus_serial: Option<u32>,
}

/// Reads the arguments.
pub(super) fn read(args: &Args) -> Result<(ReexecSystemd, StepSummary), ArgError> {
    let mut reader = ArgReader::of(KIND, args);
    let via = reader.word("via", &["private-socket", "private-socket-or-signal"]);
    let step = reader.finish(via.map(|via| ReexecSystemd {
        by_signal_too: via == "private-socket-or-signal",
    }))?;
    let summary = StepSummary {
        effect: "PID 1 executes itself anew and connects to the system bus again; services and containers live on".into(),
        dry_run: "would ask PID 1 to re-execute by its private socket".into(),
        verify: "PID 1 answers by its private socket and, as a new connection, on the system bus".into(),
        undo: "nothing to undo: the same PID 1 goes on".into(),
        disruption: Disruption::Restart,
        changes: true,
        timeout: Duration::from_secs(30),
        conditions: Vec::new(),
    };
    Ok((step, summary))
}

fn prior_of(receipt: &Receipt) -> Result<Prior, StepError> {
    Prior::deserialize(&receipt.0).map_err(|source| StepError::Receipt { kind: KIND, source })
}

/// Whether an answer on the bus comes from another connection than the one before.
fn is_new_connection(prior: &Prior, pong: &Pong) -> bool {
    match (&prior.bus_sender, prior.bus_serial) {
        (Some(sender), _) if pong.sender.is_some() => pong.sender.as_ref() != Some(sender),
        (_, Some(serial)) => pong.serial < serial,
        // It was silent before: any answer is a new one.
        _ => true,
    }
}

impl ReexecSystemd {
    async fn reexecute(self, site: &Site) -> Result<(), StepError> {
        let failed = |source| StepError::Port {
            doing: "re-executing",
            on: "PID 1".into(),
            source,
        };
        let error = match site.services.reexecute(REEXEC_LIMIT).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // The request may be carried out yet: whether it was, is for `verify` to see.
        if error.may_be_done {
            return Ok(());
        }
        if !self.by_signal_too {
            return Err(failed(error));
        }
        tracing::info!(
            kind = error.kind,
            "private socket closed to us, sending SIGTERM to PID 1"
        );
        site.services.terminate_pid1().await.map_err(failed)
    }

    async fn look(self, site: &Site, prior: &Prior) -> Result<Verified, StepError> {
        if let Err(error) = site.services.ping(Way::Private, PING_LIMIT).await
            && !self.by_signal_too
        {
            return Ok(Verified::NotYet(format!(
                "PID 1 does not answer by its private socket: {error}"
            )));
        }
        Ok(match site.services.ping(Way::Bus, PING_LIMIT).await {
            Ok(pong) if is_new_connection(prior, &pong) => Verified::Yes(format!(
                "PID 1 answers on the bus as {} with counter {}",
                pong.sender.as_deref().unwrap_or("an unnamed connection"),
                pong.serial
            )),
            Ok(pong) => Verified::NotYet(format!(
                "PID 1 still answers over its old bus connection (counter {})",
                pong.serial
            )),
            Err(error) => Verified::NotYet(format!("PID 1 does not answer on the bus: {error}")),
        })
    }
}

impl Step for ReexecSystemd {
    fn shape(&self) -> StepShape {
        StepShape {
            repeatable: true,
            reboots: false,
            undo: UndoWay::NothingToUndo,
        }
    }

    fn capture<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async move {
            // Silence on the bus is the usual reason for this step, so it is no error here.
            let pong = site.services.ping(Way::Bus, CAPTURE_LIMIT).await.ok();
            let prior = Prior {
                bus_serial: pong.as_ref().map(|pong| pong.serial),
                bus_sender: pong.and_then(|pong| pong.sender),
            };
            serde_json::to_value(prior)
                .map(Receipt)
                .map_err(|source| StepError::Receipt { kind: KIND, source })
        })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.reexecute(site))
    }

    fn verify<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        Box::pin(async move { self.look(site, &prior_of(prior)?).await })
    }

    fn undo<'a>(
        &'a self,
        _site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
}
