//! Which log lines matched which rules, and when.

use super::document::LogRule;
use crate::signal::{Batch, LogRecord, LogSource, MissingReason, Timestamp};
use regex::{Regex, RegexSet, RegexSetBuilder};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How many matches of one pattern are remembered. A storm needs no more to be recognised.
const MAX_MATCHES: usize = 256;

/// How long a log may go unread before its silence says nothing: three runs of the slowest log probe.
const MAX_DEAF: Duration = Duration::from_secs(30);

/// The compiled set's size limit; the shipped patterns take about 1 MB.
const MAX_SET_BYTES: usize = 32 << 20;

/// A line that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMatch {
    /// When it was written.
    pub at: Timestamp,
    /// What the pattern captured, by name.
    pub captures: BTreeMap<String, String>,
    /// The line, cut to what a person reads.
    pub line: Arc<str>,
}

/// One pattern and what it found.
#[derive(Debug, Clone)]
struct Watch {
    rule: LogRule,
    pattern: Regex,
    matches: VecDeque<LogMatch>,
}

/// All log patterns of a rule book, compiled once into one set, and the lines that they found.
#[derive(Debug, Clone)]
pub struct LogBook {
    set: RegexSet,
    watches: Vec<Watch>,
    heard: BTreeMap<LogSource, Timestamp>,
    gaps: BTreeMap<LogSource, Timestamp>,
    counts_history: bool,
    unmatched: u64,
}

/// The longest line that stands in evidence.
const MAX_EVIDENCE_BYTES: usize = 400;

impl LogBook {
    /// The book for these rules, whose patterns were compiled when they were loaded. With `counts_history`, lines from
    /// before the agent's start count too: for `check` and `replay`, which never act.
    ///
    /// # Errors
    /// The patterns together are too large.
    pub fn new(rules: Vec<LogRule>, counts_history: bool) -> Result<Self, regex::Error> {
        let set = RegexSetBuilder::new(rules.iter().map(|rule| rule.pattern.as_str()))
            .size_limit(MAX_SET_BYTES)
            .build()?;
        let watches = rules
            .into_iter()
            .map(|rule| {
                Ok(Watch {
                    pattern: Regex::new(&rule.pattern)?,
                    rule,
                    matches: VecDeque::new(),
                })
            })
            .collect::<Result<_, regex::Error>>()?;
        Ok(Self {
            set,
            watches,
            heard: BTreeMap::new(),
            gaps: BTreeMap::new(),
            counts_history,
            unmatched: 0,
        })
    }

    /// Watches for other patterns. Matches of a pattern that is the same as before are kept.
    ///
    /// # Errors
    /// The patterns together are too large; the old ones stay in force.
    pub fn replace_rules(&mut self, rules: Vec<LogRule>) -> Result<(), regex::Error> {
        let mut fresh = Self::new(rules, self.counts_history)?;
        for watch in &mut fresh.watches {
            if let Some(old) = self.watches.iter_mut().find(|old| old.rule == watch.rule) {
                watch.matches = std::mem::take(&mut old.matches);
            }
        }
        self.set = fresh.set;
        self.watches = fresh.watches;
        Ok(())
    }

    /// Takes in the lines of a batch. Returns the owners of patterns that matched.
    pub fn ingest(&mut self, batch: &Batch) -> Vec<Arc<str>> {
        for source in &batch.heard {
            self.heard.insert(*source, batch.at);
        }
        for (source, lost) in &batch.gaps {
            if *lost > 0 {
                self.gaps.insert(*source, batch.at);
            }
        }
        let mut touched = Vec::new();
        for record in &batch.records {
            if record.history && !self.counts_history {
                continue;
            }
            let before = touched.len();
            self.note(record, &mut touched);
            if touched.len() == before {
                self.unmatched += 1;
            }
        }
        touched.sort();
        touched.dedup();
        touched
    }

    fn note(&mut self, record: &LogRecord, touched: &mut Vec<Arc<str>>) {
        for index in self.set.matches(&record.text) {
            let Some(watch) = self.watches.get_mut(index) else {
                continue;
            };
            if !watch.rule.accepts(record) {
                continue;
            }
            let Some(found) = watch.pattern.captures(&record.text) else {
                continue;
            };
            let captures = watch
                .pattern
                .capture_names()
                .flatten()
                .filter_map(|name| {
                    found
                        .name(name)
                        .map(|m| (name.to_owned(), cut(m.as_str(), 200).to_owned()))
                })
                .collect();
            if watch.matches.len() == MAX_MATCHES {
                watch.matches.pop_front();
            }
            watch.matches.push_back(LogMatch {
                at: record.at,
                captures,
                line: Arc::from(cut(&record.text, MAX_EVIDENCE_BYTES)),
            });
            touched.push(watch.rule.owner.clone());
        }
    }

    /// How many lines matched nothing.
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    fn watch(&self, owner: &str, log: &str) -> Option<&Watch> {
        self.watches
            .iter()
            .find(|watch| &*watch.rule.owner == owner && watch.rule.name == log)
    }

    /// The matches of a signature's pattern within the span before `now`, oldest first. With `capture`, only those
    /// whose capture has that value.
    pub fn matches<'a>(
        &'a self,
        owner: &str,
        log: &str,
        now: Timestamp,
        span: Duration,
        capture: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = &'a LogMatch> {
        let from = now.uptime.minus(span);
        self.watch(owner, log)
            .into_iter()
            .flat_map(|watch| &watch.matches)
            .filter(move |found| {
                let fits = capture.is_none_or(|(name, value)| {
                    found.captures.get(name).is_some_and(|text| text == value)
                });
                found.at.uptime >= from && fits
            })
    }

    /// Whether silence of the signature's log is an observation: it was read to its end lately.
    ///
    /// # Errors
    /// Why it is not.
    pub fn hears(&self, owner: &str, log: &str, now: Timestamp) -> Result<(), MissingReason> {
        let Some(watch) = self.watch(owner, log) else {
            return Err(MissingReason::Rule(
                format!("no log pattern `{log}`").into(),
            ));
        };
        let source = watch.rule.source;
        match self.heard.get(&source) {
            Some(at) if now.uptime.since(at.uptime) <= MAX_DEAF => Ok(()),
            Some(_) => Err(MissingReason::Stale),
            None => Err(MissingReason::NotHere(
                format!("the {} log is not read", source.as_str()).into(),
            )),
        }
    }

    /// Whether lines of the signature's log are known to be lost in the span before `now`.
    pub fn has_gap(&self, owner: &str, log: &str, now: Timestamp, span: Duration) -> bool {
        self.watch(owner, log)
            .and_then(|watch| self.gaps.get(&watch.rule.source))
            .is_some_and(|at| now.uptime.since(at.uptime) <= span)
    }

    /// The values of a capture among the remembered matches within the span before `now`.
    pub fn captured(
        &self,
        owner: &str,
        log: &str,
        capture: &str,
        now: Timestamp,
        span: Duration,
    ) -> Vec<String> {
        let mut values: Vec<String> = self
            .matches(owner, log, now, span, None)
            .filter_map(|found| found.captures.get(capture).cloned())
            .collect();
        values.sort();
        values.dedup();
        values
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}
