//! `wait_until`: the run waits until a condition holds.
//!
//! *Effect*: none. *Prior state kept*: none. *Verified*: the condition holds. *Undone*: nothing to undo. *Left if killed midway*:
//! nothing.

use super::site::{Site, Tri};
use super::{Step, StepError, Ticket, Verified};
use crate::document::format_span;
use crate::executor::{Receipt, StepShape, UndoWay};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::playbook::{ArgError, ArgReader, Args, StepSummary};
use crate::policy::Disruption;
use std::time::Duration;

/// The kind's name in playbooks.
pub(super) const KIND: &str = "wait_until";
/// How often the condition is asked. Signals come every few seconds at most.
const PAUSE: Duration = Duration::from_secs(1);
/// What the runner gives beyond `within`, so that the step ends by itself and says what it saw.
const SLACK: Duration = Duration::from_secs(10);

/// Waits for a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WaitUntil {
    condition: String,
    within: Duration,
}

/// Reads the arguments.
pub(super) fn read(args: &Args) -> Result<(WaitUntil, StepSummary), ArgError> {
    let mut reader = ArgReader::of(KIND, args);
    let condition = reader.text("condition");
    let within = reader.span("within");
    let step = reader.finish(condition.zip(within).map(|(condition, within)| WaitUntil {
        condition: condition.to_owned(),
        within,
    }))?;
    let summary = StepSummary {
        effect: format!("waits until {}", step.condition),
        dry_run: format!("would wait at most {}", format_span(step.within)),
        verify: "the condition holds".into(),
        undo: "nothing to undo".into(),
        disruption: Disruption::None,
        changes: false,
        timeout: step.within.saturating_add(SLACK),
        conditions: vec![("condition", step.condition.clone())],
    };
    Ok((step, summary))
}

impl WaitUntil {
    async fn wait(&self, site: &Site, ticket: &Ticket) -> Result<(), StepError> {
        let began = site.clock.now().uptime;
        loop {
            let seen = match site.oracle.condition(&self.condition, &ticket.opening) {
                Tri::Yes => return Ok(()),
                Tri::No => "it does not hold".to_owned(),
                Tri::Unknown(why) => format!("nobody can tell: {why}"),
            };
            if site.clock.now().uptime.since(began) >= self.within {
                return Err(StepError::Late {
                    what: format!(
                        "`{}` did not come true within {}; {seen}",
                        self.condition,
                        format_span(self.within)
                    ),
                });
            }
            site.clock.sleep(PAUSE).await;
        }
    }
}

impl Step for WaitUntil {
    fn shape(&self) -> StepShape {
        StepShape {
            repeatable: true,
            reboots: false,
            undo: UndoWay::NothingToUndo,
        }
    }

    fn capture<'a>(
        &'a self,
        _site: &'a Site,
        _ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async { Ok(Receipt(serde_json::Value::Null)) })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.wait(site, ticket))
    }

    fn verify<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        Box::pin(async move {
            Ok(
                match site.oracle.condition(&self.condition, &ticket.opening) {
                    Tri::Yes => Verified::Yes("the condition holds".into()),
                    Tri::No => Verified::NotYet("the condition does not hold".into()),
                    Tri::Unknown(why) => Verified::NotYet(why),
                },
            )
        })
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
