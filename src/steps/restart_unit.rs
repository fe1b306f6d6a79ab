//! `restart_unit`: a service is restarted.
//!
//! *Effect*: its processes end and start again; for a container runtime with shims, containers live on. *Prior state kept*: state,
//! main process, and when it last became active. *Verified*: active, no job pending, and active since a later moment than
//! before. *Undone*: not possible and not needed: a restarted service stays restarted. *Left if killed midway*: PID 1 finishes
//! the job by itself; looking tells whether it did.

use super::site::{Site, UnitNow};
use super::{Step, StepError, Ticket, Verified};
use crate::executor::{Receipt, StepShape, UndoWay};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::playbook::{ArgError, ArgReader, Args, StepSummary};
use crate::policy::Disruption;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The kind's name in playbooks.
pub(super) const KIND: &str = "restart_unit";
/// One question to PID 1.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// The longest unit name of systemd, with its suffix.
const MAX_UNIT_BYTES: usize = 255;
/// Services whose restart ends more than themselves, and why they are refused.
const REFUSED: [(&str, &str); 6] = [
    (
        "dbus.service",
        "everything on the bus loses its connection, PID 1 too; reboot instead",
    ),
    (
        "dbus-broker.service",
        "everything on the bus loses its connection, PID 1 too; reboot instead",
    ),
    (
        "systemd-logind.service",
        "sessions of people may end with it; reboot instead",
    ),
    ("nodemend.service", "that is this agent"),
    ("emergency.service", "that takes the machine down"),
    ("rescue.service", "that takes the machine down"),
];
/// Services that take containers with them unless told otherwise.
const ENDS_WORKLOADS: [&str; 2] = ["docker.service", "podman.service"];

/// Restarts a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestartUnit {
    unit: String,
}

/// The service before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    active: String,
    main_pid: Option<u32>,
    active_since_us: Option<u64>,
}

/// Reads the arguments.
pub(super) fn read(args: &Args) -> Result<(RestartUnit, StepSummary), ArgError> {
    let mut reader = ArgReader::of(KIND, args);
    let unit = reader.subject_text("unit", check_unit);
    let step = reader.finish(unit.map(|unit| RestartUnit {
        unit: unit.to_owned(),
    }))?;
    let unit = &step.unit;
    let disruption = if ENDS_WORKLOADS.contains(&unit.as_str()) {
        Disruption::Drain
    } else {
        Disruption::Restart
    };
    let summary = StepSummary {
        effect: format!("{unit} is stopped and started"),
        dry_run: format!("would restart {unit}"),
        verify: format!("{unit} is active, and since a later moment than before"),
        undo: "cannot be undone and needs no undo: a restarted service stays restarted".into(),
        disruption,
        changes: true,
        timeout: Duration::from_secs(90),
        conditions: Vec::new(),
    };
    Ok((step, summary))
}

/// Whether this step may restart a unit of this name.
fn check_unit(unit: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
    let stem = unit.strip_suffix(".service").unwrap_or_default();
    if stem.is_empty() || stem.starts_with('@') || unit.len() > MAX_UNIT_BYTES {
        return Err("restart_unit restarts services only; name one like kubelet.service".into());
    }
    if !unit.bytes().all(allowed) {
        return Err("a unit's name has letters, digits and :-_.\\@ only".into());
    }
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == unit) {
        return Err(format!("{unit} is never restarted: {why}"));
    }
    Ok(())
}

impl RestartUnit {
    async fn state(&self, site: &Site) -> Result<UnitNow, StepError> {
        let state = site.services.unit(&self.unit, ASK_LIMIT).await;
        state.map_err(|source| StepError::Port {
            doing: "asking about",
            on: self.unit.clone(),
            source,
        })
    }

    async fn look(&self, site: &Site, prior: &Receipt) -> Result<Verified, StepError> {
        let prior = Prior::deserialize(&prior.0)
            .map_err(|source| StepError::Receipt { kind: KIND, source })?;
        let now = self.state(site).await?;
        let is_later = now.active_since_us > prior.active_since_us;
        Ok(if now.active == "active" && is_later && !now.has_job {
            Verified::Yes(format!("{} is active again", self.unit))
        } else if now.active == "active" && !is_later {
            Verified::NotYet(format!("{} was not restarted", self.unit))
        } else {
            Verified::NotYet(format!("{} is {}", self.unit, now.active))
        })
    }
}

impl Step for RestartUnit {
    fn shape(&self) -> StepShape {
        // Twice is as good as once: it is only begun again when looking showed that it had not been restarted.
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
            let now = self.state(site).await?;
            if now.load != "loaded" {
                return Err(StepError::Refused {
                    why: format!(
                        "{} is {} on this machine; nothing to restart",
                        self.unit, now.load
                    ),
                });
            }
            let prior = Prior {
                active: now.active,
                main_pid: now.main_pid,
                active_since_us: now.active_since_us,
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
        Box::pin(async move {
            // The runner ends the wait at the step's own time; a service that needs longer is a failure of the step.
            match site
                .services
                .restart(&self.unit, Duration::from_secs(3600))
                .await
            {
                Ok(_) => Ok(()),
                Err(error) if error.may_be_done => Ok(()),
                Err(source) => Err(StepError::Port {
                    doing: "restarting",
                    on: self.unit.clone(),
                    source,
                }),
            }
        })
    }

    fn verify<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        Box::pin(self.look(site, prior))
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
