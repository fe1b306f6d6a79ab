//! The bounded history of all signals.

use super::batch::Batch;
use super::catalogue::Catalogue;
use super::key::{Subject, Value};
use super::reading::{MissingReason, Reading};
use super::series::Series;
use super::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many (signal, subject) pairs are remembered. A node with 500 watched units needs about 1,500.
pub const MAX_SERIES: usize = 4_096;

/// How many readings a batch brought that could not be kept: from the past, unknown to the catalogue, or over the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedCount(pub u32);

/// The history of all signals: the only thing a signature may look at.
#[derive(Debug, Clone)]
pub struct Timeline {
    catalogue: Catalogue,
    series: BTreeMap<&'static str, BTreeMap<Subject, Series>>,
    count: usize,
    now: Timestamp,
}

impl Timeline {
    /// An empty timeline for the signals of `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue,
            series: BTreeMap::new(),
            count: 0,
            now: Timestamp::default(),
        }
    }

    /// The signals it knows.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The reference time of all questions: the end of the last batch or the last tick, never a clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How many (signal, subject) pairs are held.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Lets time pass without a reading, so that silence makes signals stale.
    pub fn tick(&mut self, now: Timestamp) {
        if now.uptime >= self.now.uptime {
            self.now = now;
        }
    }

    /// Takes in what a probe saw.
    pub fn ingest(&mut self, batch: &Batch) -> DroppedCount {
        let mut dropped = DroppedCount::default();
        self.tick(batch.at);
        self.forget_gone(batch);
        for sample in &batch.samples {
            let known = self.catalogue.get(sample.key).map(|entry| entry.spec.form);
            let fits = match (&sample.value, known) {
                (_, None) => false,
                (Ok(value), Some(form)) => value.form() == form,
                (Err(_), Some(_)) => true,
            };
            if !fits || !self.push(batch, sample.key, &sample.subject, sample.value.clone()) {
                dropped.0 = dropped.0.saturating_add(1);
            }
        }
        dropped
    }

    fn push(
        &mut self,
        batch: &Batch,
        key: &'static str,
        subject: &Subject,
        value: Result<Value, MissingReason>,
    ) -> bool {
        let subjects = self.series.entry(key).or_default();
        if let Some(series) = subjects.get_mut(subject) {
            return series.push(batch.at, value);
        }
        if self.count >= MAX_SERIES {
            return false;
        }
        self.count += 1;
        subjects
            .entry(subject.clone())
            .or_default()
            .push(batch.at, value)
    }

    fn forget_gone(&mut self, batch: &Batch) {
        for key in &batch.complete {
            let Some(subjects) = self.series.get_mut(key) else {
                continue;
            };
            let before = subjects.len();
            subjects.retain(|subject, _| {
                batch
                    .samples
                    .iter()
                    .any(|sample| sample.key == *key && sample.subject == *subject)
            });
            self.count -= before - subjects.len();
        }
    }

    /// Marks every signal of a probe as missing: the probe failed, hangs or lost its rights.
    pub fn fail_probe(&mut self, probe: &str, at: Timestamp, reason: &MissingReason) {
        self.tick(at);
        let keys: Vec<_> = self
            .catalogue
            .iter()
            .filter(|e| e.probe == probe)
            .map(|e| e.spec)
            .collect();
        for spec in keys {
            let subjects = self.series.entry(spec.name).or_default();
            if subjects.is_empty() && spec.per.is_none() && self.count < MAX_SERIES {
                self.count += 1;
                subjects.entry(Subject::NODE).or_default();
            }
            for series in subjects.values_mut() {
                series.push(at, Err(reason.clone()));
            }
        }
    }

    /// The history of a signal, if anything was ever read.
    pub fn series(&self, key: &str, subject: &Subject) -> Option<&Series> {
        self.series.get(key)?.get(subject)
    }

    /// The subjects of a signal that are known at present, in the order of their names.
    pub fn subjects(&self, key: &str) -> impl Iterator<Item = &Subject> {
        self.series.get(key).into_iter().flat_map(BTreeMap::keys)
    }

    /// The latest word on a signal.
    pub fn latest(&self, key: &str, subject: &Subject) -> Reading<'_> {
        let Some(run) = self.series(key, subject).and_then(Series::latest) else {
            return Reading::Missing(MissingReason::NotYet);
        };
        let value = match &run.value {
            Ok(value) => value,
            Err(reason) => return Reading::Missing(reason.clone()),
        };
        let max_age = self
            .catalogue
            .get(key)
            .map_or(Duration::ZERO, |entry| entry.spec.max_age);
        if self.now.uptime.since(run.last.uptime) > max_age {
            Reading::Stale {
                value,
                at: run.last,
            }
        } else {
            Reading::Fresh {
                value,
                at: run.last,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::ProbeKeys;
    use super::super::key::{Key, Unit};
    use super::*;
    use proptest::prelude::*;

    const LOAD: Key<f64> = Key::new(
        "cpu.load",
        Unit::None,
        Duration::from_secs(30),
        "Load.",
        "/proc/loadavg",
    );
    const RESTARTS: Key<i64> = Key::<i64>::new(
        "unit.restarts",
        Unit::None,
        Duration::from_secs(30),
        "Restarts.",
        "D-Bus",
    )
    .per("unit");

    fn timeline() -> Timeline {
        Timeline::new(Catalogue::of(&[ProbeKeys {
            probe: "p",
            period: Duration::from_secs(10),
            keys: &[&LOAD.spec, &RESTARTS.spec],
        }]))
    }

    fn batch(second: u64) -> Batch {
        let mut batch = Batch::of("p");
        batch.at = Timestamp::default().plus(Duration::from_secs(second));
        batch
    }

    #[test]
    fn an_old_reading_is_stale_and_a_failed_probe_is_missing() {
        let mut timeline = timeline();
        let mut first = batch(10);
        first.set(&LOAD, 1.0);
        timeline.ingest(&first);
        assert!(matches!(
            timeline.latest("cpu.load", &Subject::NODE),
            Reading::Fresh { .. }
        ));
        timeline.tick(batch(41).at);
        assert!(matches!(
            timeline.latest("cpu.load", &Subject::NODE),
            Reading::Stale { .. }
        ));
        timeline.fail_probe("p", batch(42).at, &MissingReason::Late("5 s".into()));
        assert_eq!(
            timeline.latest("cpu.load", &Subject::NODE),
            Reading::Missing(MissingReason::Late("5 s".into()))
        );
    }

    #[test]
    fn subjects_that_a_complete_list_leaves_out_are_gone() {
        let mut timeline = timeline();
        let mut first = batch(1);
        first.set_for(&RESTARTS, Subject::named("a.service"), 1);
        first.set_for(&RESTARTS, Subject::named("b.service"), 1);
        timeline.ingest(&first);
        let mut second = batch(2);
        second.set_for(&RESTARTS, Subject::named("b.service"), 1);
        second.lists_all(&RESTARTS);
        timeline.ingest(&second);
        assert_eq!(
            timeline
                .subjects("unit.restarts")
                .map(Subject::as_str)
                .collect::<Vec<_>>(),
            ["b.service"]
        );
        assert_eq!(timeline.len(), 1);
    }

    #[test]
    fn a_value_of_the_wrong_form_is_dropped_and_counted() {
        let mut timeline = timeline();
        let mut wrong = batch(1);
        wrong.samples.push(super::super::batch::Sample {
            key: "cpu.load",
            subject: Subject::NODE,
            value: Ok(Value::Bool(true)),
        });
        assert_eq!(timeline.ingest(&wrong), DroppedCount(1));
        assert_eq!(
            timeline.latest("cpu.load", &Subject::NODE),
            Reading::Missing(MissingReason::NotYet)
        );
    }

    proptest! {
        #[test]
        fn the_timeline_stays_within_its_bound(names in prop::collection::vec(0u32..20_000, 1..40), seconds in 1u64..100) {
            let mut timeline = timeline();
            for (round, name) in names.into_iter().enumerate() {
                let mut next = batch(seconds * round as u64);
                for offset in 0..400 {
                    next.set_for(&RESTARTS, Subject::named(&format!("u{}.service", name + offset)), 1);
                }
                timeline.ingest(&next);
                prop_assert!(timeline.len() <= MAX_SERIES);
            }
        }
    }
}
