//! Probe tasks: each runs at its own rhythm, within its deadline, and says how it fares.

pub use crate::document::in_full as chain;
use crate::host::{Host, clock};
use crate::probes::{Probe, ProbeError, ProbeSpec};
use crate::report::model::ProbeView;
use crate::signal::{Batch, MissingReason, Uptime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// What a probe task sends.
#[derive(Debug)]
pub struct Seen {
    /// The probe.
    pub spec: &'static ProbeSpec,
    /// What it saw, or why not.
    pub result: Result<Batch, MissingReason>,
}

/// How a probe fares.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// `starting`, `healthy`, `unsupported`, `degraded` or `failed`.
    pub state: &'static str,
    /// Why, if it is not healthy.
    pub why: String,
    /// How long its last run took.
    pub took: Duration,
}

/// How all probes fare, by name.
#[derive(Debug, Default)]
pub struct Vision {
    health: Mutex<BTreeMap<&'static str, (&'static ProbeSpec, Health)>>,
}

impl Vision {
    /// No probe has run yet.
    pub fn of(specs: &[&'static ProbeSpec]) -> Self {
        let starting = Health {
            state: "starting",
            why: String::new(),
            took: Duration::ZERO,
        };
        let health = specs
            .iter()
            .map(|spec| (spec.name, (*spec, starting.clone())))
            .collect();
        Self {
            health: Mutex::new(health),
        }
    }

    fn note(&self, spec: &'static ProbeSpec, health: Health) {
        let mut all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.insert(spec.name, (spec, health.clone()));
        // One line per change, silence while all is well.
        match before {
            Some((_, old)) if old.state != health.state && old.state != "starting" => {
                tracing::info!(
                    probe = spec.name,
                    state = health.state,
                    why = health.why,
                    "probe changed"
                );
            }
            _ => {}
        }
    }

    /// All probes for pages, in the order of the table.
    pub fn views(&self) -> Vec<ProbeView> {
        let all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        crate::probes::SPECS
            .iter()
            .filter_map(|spec| all.get(spec.name))
            .map(|(spec, health)| ProbeView {
                probe: spec.name.to_owned(),
                title: spec.title.to_owned(),
                state: health.state.to_owned(),
                why: health.why.clone(),
                last_run_seconds: health.took.as_secs_f64(),
            })
            .collect()
    }

    /// Whether every probe has run once, well or not.
    pub fn has_looked(&self) -> bool {
        let all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().all(|(_, health)| health.state != "starting")
    }
}

/// Wakes all probes at once: after a step of a run, so that its effect is seen soon.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Wakes all probes that wait.
    pub fn now(&self) {
        self.0.notify_waiters();
    }
}

/// How often a probe is stirred in a flood.
const STIR_GAP: Duration = Duration::from_millis(100);
/// After so much calm ten may come at once: a line must not wait because of another one just before it.
const STIR_CREDIT: Duration = Duration::from_millis(900);
/// The longest rest of a probe that fails again and again.
const MAX_REST: Duration = Duration::from_secs(300);

/// Runs a probe for ever. Ends when nobody listens any more.
pub async fn watch(
    mut probe: Box<dyn Probe>,
    host: Host,
    vision: Arc<Vision>,
    nudge: Nudge,
    out: mpsc::Sender<Seen>,
) {
    let spec = probe.spec();
    let mut failures: u32 = 0;
    let mut paid = Uptime::default();
    loop {
        let began = clock::now();
        let result = match tokio::time::timeout(spec.timeout, probe.collect(&host)).await {
            Ok(result) => result,
            Err(_) => Err(ProbeError::Late {
                what: spec.title.to_owned(),
            }),
        };
        let now = clock::now();
        let took = now.uptime.since(began.uptime);
        vision.note(spec, health_of(&result, took));
        failures = if result.is_ok() {
            0
        } else {
            failures.saturating_add(1)
        };
        let result = match result {
            Ok(mut batch) => {
                batch.at = now;
                Ok(batch)
            }
            Err(error) => Err(error.missing_reason()),
        };
        if out.send(Seen { spec, result }).await.is_err() {
            return;
        }
        let rest = rest_after(spec.period, took, failures);
        let woken = nudge.0.notified();
        // A failing probe is not woken early: its backoff protects the machine.
        if failures > 0 {
            tokio::time::sleep(rest).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = woken => {}
                () = stirred(&mut *probe, &mut paid) => {}
            }
        }
    }
}

/// Ends when there is something new: at once, or in a flood every [`STIR_GAP`]. `paid`: up to when this was used.
async fn stirred(probe: &mut dyn Probe, paid: &mut Uptime) {
    let ahead = paid.since(clock::now().uptime);
    tokio::time::sleep(ahead).await;
    probe.stirred().await;
    let now = clock::now().uptime;
    *paid = (*paid).max(now.minus(STIR_CREDIT)).plus(STIR_GAP);
}

/// The rest before the next run: what is left of the period, longer after each failure in a row.
fn rest_after(period: Duration, took: Duration, failures: u32) -> Duration {
    if failures == 0 {
        return period.saturating_sub(took);
    }
    period
        .saturating_mul(1 << failures.min(6))
        .min(MAX_REST)
        .max(period)
}

fn health_of(result: &Result<Batch, ProbeError>, took: Duration) -> Health {
    match result {
        Ok(batch) => {
            let missing = batch
                .samples
                .iter()
                .filter_map(|sample| sample.value.as_ref().err());
            let bad = missing.clone().find(|reason| {
                !matches!(reason, MissingReason::NotHere(_) | MissingReason::NotYet)
            });
            match bad {
                Some(reason) => Health {
                    state: "degraded",
                    why: reason.to_string(),
                    took,
                },
                None => Health {
                    state: "healthy",
                    why: String::new(),
                    took,
                },
            }
        }
        Err(error @ ProbeError::Unsupported { .. }) => Health {
            state: "unsupported",
            why: error.to_string(),
            took,
        },
        Err(error) => Health {
            state: "failed",
            why: chain(error),
            took,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_probe_rests_longer_each_time_up_to_a_bound() {
        let period = Duration::from_secs(10);
        let rests: Vec<u64> = (0..9)
            .map(|failures| rest_after(period, Duration::from_secs(1), failures).as_secs())
            .collect();
        assert_eq!(rests, [9, 20, 40, 80, 160, 300, 300, 300, 300]);
    }

    struct Restless;

    impl Probe for Restless {
        fn spec(&self) -> &'static ProbeSpec {
            &crate::probes::kernel_log::SPEC
        }

        fn collect<'a>(
            &'a mut self,
            _: &'a Host,
        ) -> crate::host::BoxFuture<'a, Result<Batch, ProbeError>> {
            Box::pin(async { Ok(Batch::of("kernel-log")) })
        }

        fn stirred(&mut self) -> crate::host::BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn a_flood_stirs_ten_times_at_once_and_then_ten_times_a_second() {
        let mut paid = Uptime::default();
        let began = clock::now().uptime;
        for _ in 0..10 {
            stirred(&mut Restless, &mut paid).await;
        }
        let at_once = clock::now().uptime.since(began);
        stirred(&mut Restless, &mut paid).await;
        stirred(&mut Restless, &mut paid).await;
        let all = clock::now().uptime.since(began);
        // Real time, so only one side of each is certain: twelve take two gaps, and ten took less than all.
        assert!(all >= 2 * STIR_GAP - Duration::from_millis(5), "{all:?}");
        assert!(at_once < all, "{at_once:?} of {all:?}");
    }
}
