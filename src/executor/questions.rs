//! What a run asks around its steps: the slot, the condition, the prior state.

use super::course::Leg;
use super::entry::{Fault, MAX_RECEIPT_BYTES, Receipt, StepIx};
use super::ride::{PATIENCE, PAUSE, Ride};
use super::runner::Rein;
use crate::document::format_span;
use crate::host::clock::within;
use crate::lease::RENEW_EVERY;
use crate::playbook::Guard;
use crate::steps::{StepError, Tri};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

/// What a guard says after patience.
pub(super) enum Leave {
    Go,
    Skip(String),
    End(String),
    Fail(Fault),
    Interrupted,
}

impl Ride<'_> {
    /// The renewing write, the permit's own clock, and the condition once more: right before something is done.
    pub(super) async fn prove(&self, step: Option<StepIx>) -> Result<(), String> {
        let Some(permit) = &self.permit else {
            return Err("there is no permit".into());
        };
        let renewed = self.runner.lease.renew(permit).await;
        renewed.map_err(|error| error.to_string())?;
        permit
            .ensure_live(self.now())
            .map_err(|expired| expired.to_string())?;
        let guard = step
            .and_then(|step| self.course.leg(step))
            .map(|leg| &leg.guard);
        match guard {
            Some(Guard::Requires(condition) | Guard::If(condition)) => {
                match self
                    .runner
                    .site
                    .oracle
                    .condition(condition, &self.course.opening)
                {
                    Tri::Yes => Ok(()),
                    Tri::No => Err(format!("`{condition}` does not hold any more")),
                    Tri::Unknown(why) => Err(format!("nobody can tell `{condition}`: {why}")),
                }
            }
            Some(Guard::None) | None => Ok(()),
        }
    }

    /// Looks for an open breaker, freshly; why the run has to end here. One that cannot be read is asked for until patience
    /// ends, and then counts as open.
    pub(super) async fn ask_breakers(&self) -> Option<String> {
        let Some(permit) = &self.permit else {
            return Some("there is no permit".into());
        };
        let began = self.now();
        loop {
            let asked = self.with_slot(self.runner.lease.breakers(permit)).await;
            let error = match asked {
                Ok(open) => return open,
                Err(error) => error,
            };
            if *self.reins.borrow() != Rein::Go || self.now().since(began) >= PATIENCE {
                return Some(format!(
                    "nobody can tell whether a breaker is open: {error}"
                ));
            }
            tracing::warn!(run = %self.id, kind = error.kind(), error = %error, "the breakers cannot be read");
            self.runner.site.clock.sleep(PATIENCE / 6).await;
        }
    }

    /// Asks a step's guard until it is clear or patience ends.
    pub(super) async fn ask_guard(&mut self, step: StepIx) -> Leave {
        let Some(leg) = self.course.leg(step) else {
            return Leave::Fail(Fault::new(
                "no-step",
                format!("there is no {step} in the plan"),
            ));
        };
        let (condition, is_own) = match &leg.guard {
            Guard::None => return Leave::Go,
            Guard::Requires(condition) => (Arc::clone(condition), false),
            Guard::If(condition) => (Arc::clone(condition), true),
        };
        let began = self.now();
        loop {
            let why = match self
                .runner
                .site
                .oracle
                .condition(&condition, &self.course.opening)
            {
                Tri::Yes => return Leave::Go,
                Tri::No if is_own => return Leave::Skip(format!("`{condition}` does not hold")),
                // What was to be mended is gone already: after some steps that is success, and the soak decides.
                Tri::No if self.run.is_touched() => {
                    return Leave::Skip(format!("`{condition}` does not hold any more"));
                }
                Tri::No => return Leave::End(format!("`{condition}` does not hold any more")),
                Tri::Unknown(why) => why,
            };
            if *self.reins.borrow() != Rein::Go {
                return Leave::Interrupted;
            }
            if self.now().since(began) >= PATIENCE {
                let why = format!("nobody can tell `{condition}`: {why}");
                return if is_own {
                    Leave::Skip(why)
                } else if self.run.is_touched() {
                    Leave::Fail(Fault::new("unknown", why))
                } else {
                    Leave::End(why)
                };
            }
            self.runner.site.clock.sleep(PAUSE).await;
        }
    }

    pub(super) async fn capture(&self, step: StepIx) -> Result<Receipt, Fault> {
        let leg = self
            .course
            .leg(step)
            .ok_or_else(|| Fault::new("no-step", ""))?;
        let (site, ticket) = (&self.runner.site, &self.ticket(step));
        let receipt = self
            .with_slot(self.bounded(leg, leg.step.capture(site, ticket)))
            .await?;
        let bytes = receipt.0.to_string().len();
        if bytes > MAX_RECEIPT_BYTES {
            let why = format!("the prior state has {bytes} bytes, too many to be kept");
            return Err(Fault::new("receipt", why));
        }
        Ok(receipt)
    }

    /// Waits for a part of a step, at most its time.
    pub(super) async fn bounded<T>(
        &self,
        leg: &Leg,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, Fault> {
        match within(&*self.runner.site.clock, leg.timeout, work).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(Fault::new(error.kind(), error.in_full())),
            None => Err(Fault::new(
                "timeout",
                format!(
                    "{} did not end within {}",
                    leg.kind,
                    format_span(leg.timeout)
                ),
            )),
        }
    }

    /// Waits for `work` and keeps the slot fresh meanwhile.
    pub(super) async fn with_slot<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.keep_fresh() => match never {},
        }
    }

    /// Renews the slot as long as it is polled. A failure is no reason to break off what is under way: it is asked again
    /// before the next step.
    async fn keep_fresh(&self) -> Infallible {
        let mut turn = 0_u32;
        loop {
            self.runner.site.clock.sleep(RENEW_EVERY).await;
            turn = turn.wrapping_add(1);
            if let Some(permit) = &self.permit
                && let Err(error) = self.runner.lease.keep_up(permit, turn).await
            {
                tracing::warn!(run = %self.id, kind = error.kind(), error = %error, "slot not renewed");
            }
        }
    }
}
