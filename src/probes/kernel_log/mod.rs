//! The kernel's ring buffer: lines that the kernel itself wrote, and how many were lost.

mod parse;
mod ring;
mod signals;

pub use parse::{KERNEL_FACILITY, KmsgError, KmsgRecord, parse_record};
pub use ring::{KmsgFile, Ring};
pub use signals::GAPS;

use super::error::ProbeError;
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Host, clock};
use crate::signal::{Batch, LogRecord, LogSource, MissingReason, Timestamp, Uptime};
use ring::Seen;
use std::sync::Arc;
use std::time::Duration;

/// How many records one run reads: with only one run a second twice what a console flood of 1,000 lines a second needs, and
/// under 20 ms of work. What is over waits in the ring for the next run.
const MAX_RECORDS_PER_RUN: usize = 2_048;

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "kernel-log",
    title: "kernel log",
    period: Duration::from_secs(1),
    timeout: Duration::from_secs(5),
    keys: &[&GAPS.spec],
    cost: "3 us wall and CPU when nothing is new; 600 lines at the first look 8 ms wall, 5 ms CPU (2 cores of a VM, unoptimised build)",
};

/// Whose records count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only what the kernel itself wrote: any pod with the device could forge the rest (signatures.md 2.3).
    KernelOnly,
    /// Everybody's records. For tests that inject lines, never for production.
    Everyone,
}

/// Reads the ring buffer without ever waiting for it.
pub struct KernelLog<R = KmsgFile> {
    trust: Trust,
    open: fn(&Host) -> Result<R, ProbeError>,
    ring: Option<R>,
    started: Option<Timestamp>,
    past_history: bool,
    last_sequence: Option<u64>,
    gaps: u64,
}

/// Whether this process may read the machine's ring buffer. A pod without privileges may not (its device cgroup leaves the
/// device out), and rights do not come back to a process that lives.
pub fn is_readable(host: &Host) -> bool {
    !matches!(KmsgFile::open(host), Err(ProbeError::NoRights { .. }))
}

/// Stands where [`KernelLog`] would, on a machine whose ring this process may not read: the journal's probe brings the
/// kernel's lines.
#[derive(Debug, Default)]
pub struct StoodIn {
    is_said: bool,
}

impl Probe for StoodIn {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, _host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        Box::pin(async move {
            if !self.is_said {
                self.is_said = true;
                tracing::info!("the kernel log is not readable here; the journal stands in");
            }
            let mut batch = Batch::of(SPEC.name);
            let why = "not readable here, the journal stands in: see journal.gaps";
            batch.missing(&GAPS.spec, MissingReason::NotHere(why.into()));
            Ok(batch)
        })
    }
}

impl KernelLog<KmsgFile> {
    /// The machine's ring buffer.
    pub fn new(trust: Trust) -> Self {
        Self::over(trust, KmsgFile::open)
    }
}

impl<R: Ring> KernelLog<R> {
    /// A ring that `open` opens: at the first run, and again after it failed.
    pub fn over(trust: Trust, open: fn(&Host) -> Result<R, ProbeError>) -> Self {
        Self {
            trust,
            open,
            ring: None,
            started: None,
            past_history: false,
            last_sequence: None,
            gaps: 0,
        }
    }

    fn read(&mut self, host: &Host, now: Timestamp, asleep: Duration) -> Result<Batch, ProbeError> {
        let ring = match self.ring.as_mut() {
            Some(ring) => ring,
            None => self.ring.insert((self.open)(host)?),
        };
        let started = *self.started.get_or_insert(now);
        let mut batch = Batch::of(SPEC.name);
        let mut lost = 0;
        let mut drained = false;
        for _ in 0..MAX_RECORDS_PER_RUN {
            let record = match ring.next_record() {
                Ok(Seen::Record(record)) => record,
                Ok(Seen::Nothing) => {
                    drained = true;
                    break;
                }
                // The next record's sequence number tells how many are gone.
                Ok(Seen::Overrun | Seen::Garbled) => continue,
                Err(source) => {
                    self.ring = None;
                    let what = "/dev/kmsg".to_owned();
                    let source = Box::new(source);
                    return Err(ProbeError::Read { what, source });
                }
            };
            match self.last_sequence {
                // Read before the ring was opened again.
                Some(last) if record.sequence <= last => continue,
                Some(last) => lost += record.sequence - last - 1,
                // The first record ever seen: what the ring dropped before is nobody's loss.
                None => {}
            }
            self.last_sequence = Some(record.sequence);
            let trusted = self.trust == Trust::Everyone || record.facility == KERNEL_FACILITY;
            if trusted {
                let written = moment(now, record.since_boot.saturating_add(asleep));
                let history = !self.past_history && written.uptime <= started.uptime;
                append(&mut batch.records, record, written, history);
            }
        }
        if lost > 0 {
            self.gaps = self.gaps.saturating_add(lost);
            batch.gaps.push((LogSource::Kernel, lost));
        }
        if drained {
            self.past_history = true;
            batch.heard.push(LogSource::Kernel);
        }
        batch.set(&GAPS, i64::try_from(self.gaps).unwrap_or(i64::MAX));
        Ok(batch)
    }
}

impl<R: Ring> Probe for KernelLog<R> {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        // Reading the device never waits, so it needs no thread of its own; nothing is awaited, so nothing is lost.
        Box::pin(async move { self.read(host, clock::now(), clock::asleep()) })
    }

    fn stirred(&mut self) -> BoxFuture<'_, ()> {
        match &self.ring {
            Some(ring) => ring.written(),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// When a line of `since_boot` was written, by the clocks as they are now.
fn moment(now: Timestamp, since_boot: Duration) -> Timestamp {
    let uptime = Uptime::new(since_boot).min(now.uptime);
    let age = i64::try_from(now.uptime.since(uptime).as_micros()).unwrap_or(i64::MAX);
    let mut written = now;
    written.uptime = uptime;
    written.wall.0 = now.wall.0.saturating_sub(age);
    written
}

/// Adds a line, or joins it to the line that it continues.
fn append(records: &mut Vec<LogRecord>, record: KmsgRecord, at: Timestamp, history: bool) {
    if record.is_tail
        && let Some(head) = records.last_mut()
        && head.text.len() + record.text.len() <= crate::signal::MAX_LOG_TEXT_BYTES
    {
        head.text = Arc::from(format!("{}{}", head.text, record.text));
        return;
    }
    records.push(LogRecord {
        source: LogSource::Kernel,
        at,
        written: None,
        identifier: Arc::from(""),
        unit: Arc::from(""),
        text: Arc::from(record.text),
        history,
    });
}

#[cfg(test)]
mod tests;
