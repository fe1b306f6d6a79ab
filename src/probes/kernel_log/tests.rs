use super::*;
use crate::signal::{Value, Wall};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

thread_local! {
    static SCRIPT: RefCell<VecDeque<io::Result<Seen>>> = const { RefCell::new(VecDeque::new()) };
}

/// A ring that follows the script of the test's own thread.
struct ScriptedRing;

impl Ring for ScriptedRing {
    fn next_record(&mut self) -> io::Result<Seen> {
        SCRIPT.with_borrow_mut(|script| script.pop_front().unwrap_or(Ok(Seen::Nothing)))
    }
}

fn line(sequence: u64, second: u64) -> io::Result<Seen> {
    written_by(0, sequence, second)
}

fn written_by(facility: u32, sequence: u64, second: u64) -> io::Result<Seen> {
    let text = format!(
        "{},{sequence},{},-;line {sequence}\n",
        facility * 8 + 3,
        second * 1_000_000
    );
    Ok(Seen::Record(
        parse_record(text.as_bytes()).expect("a record"),
    ))
}

fn at(second: u64) -> Timestamp {
    Timestamp {
        uptime: Uptime::new(Duration::from_secs(second)),
        wall: Wall(1_000_000_000 + i64::try_from(second).expect("small") * 1_000_000),
    }
}

struct Bench {
    log: KernelLog<ScriptedRing>,
    host: Host,
}

impl Bench {
    fn new(trust: Trust) -> Self {
        SCRIPT.with_borrow_mut(VecDeque::clear);
        Self {
            log: KernelLog::over(trust, |_| Ok(ScriptedRing)),
            host: Host::at("/nonexistent"),
        }
    }

    fn run(&mut self, second: u64, script: Vec<io::Result<Seen>>) -> Result<Batch, ProbeError> {
        SCRIPT.with_borrow_mut(|queue| queue.extend(script));
        self.log.read(&self.host, at(second), Duration::ZERO)
    }
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.records.iter().map(|r| &*r.text).collect()
}

#[test]
fn lines_from_before_the_start_are_history_and_later_ones_are_new() {
    let mut bench = Bench::new(Trust::KernelOnly);
    let first = bench
        .run(100, vec![line(0, 1), line(1, 99), line(2, 100)])
        .expect("read");
    assert!(first.records.iter().all(|r| r.history));
    assert_eq!(first.records[1].at, at(99));
    assert_eq!(first.heard, [LogSource::Kernel]);
    // The kernel's clock lags a second behind: after the first drain every line is new nevertheless.
    let second = bench
        .run(101, vec![line(3, 99), line(4, 101)])
        .expect("read");
    assert!(second.records.iter().all(|r| !r.history));
}

#[test]
fn a_first_read_that_takes_several_runs_stays_history() {
    let mut bench = Bench::new(Trust::KernelOnly);
    let script = (0..MAX_RECORDS_PER_RUN as u64 + 10)
        .map(|n| line(n, 5))
        .collect();
    let first = bench.run(100, script).expect("read");
    assert_eq!(first.records.len(), MAX_RECORDS_PER_RUN);
    assert!(first.heard.is_empty(), "not read to its end");
    let second = bench.run(101, vec![line(5_000, 101)]).expect("read");
    assert_eq!(second.records.iter().filter(|r| r.history).count(), 10);
    assert_eq!(second.records.iter().filter(|r| !r.history).count(), 1);
}

#[test]
fn an_overrun_is_counted_by_the_sequence_numbers() {
    let mut bench = Bench::new(Trust::KernelOnly);
    let first = bench.run(10, vec![line(7, 1), line(8, 2)]).expect("read");
    assert!(
        first.gaps.is_empty(),
        "what was dropped before the start is no gap"
    );
    let second = bench
        .run(11, vec![Ok(Seen::Overrun), line(109, 10), line(110, 10)])
        .expect("read");
    assert_eq!(second.gaps, [(LogSource::Kernel, 100)]);
    assert_eq!(second.samples[0].value, Ok(Value::Integer(100)));
    let third = bench.run(12, vec![line(112, 11)]).expect("read");
    assert_eq!(third.gaps, [(LogSource::Kernel, 1)]);
    assert_eq!(third.samples[0].value, Ok(Value::Integer(101)));
}

#[test]
fn a_forged_line_is_dropped_but_is_no_gap() {
    let script = || {
        vec![
            line(0, 1),
            written_by(1, 1, 1),
            written_by(3, 2, 1),
            line(3, 1),
        ]
    };
    let mut bench = Bench::new(Trust::KernelOnly);
    let batch = bench.run(10, script()).expect("read");
    assert_eq!(texts(&batch), ["line 0", "line 3"]);
    assert!(batch.gaps.is_empty());
    let mut everyone = Bench::new(Trust::Everyone);
    assert_eq!(everyone.run(10, script()).expect("read").records.len(), 4);
}

#[test]
fn a_ring_that_fails_is_opened_again_without_reading_lines_twice() {
    let mut bench = Bench::new(Trust::KernelOnly);
    bench.run(10, vec![line(0, 1), line(1, 2)]).expect("read");
    let error = bench
        .run(11, vec![Err(io::Error::other("gone"))])
        .expect_err("fails");
    assert_eq!(error.kind(), "failed");
    let batch = bench
        .run(12, vec![line(0, 1), line(1, 2), line(2, 3)])
        .expect("read");
    assert_eq!(texts(&batch), ["line 2"]);
    assert!(!batch.records[0].history);
}

#[test]
fn a_fragment_joins_the_line_it_continues() {
    let mut bench = Bench::new(Trust::KernelOnly);
    let tail = parse_record(b"3,1,2000000,+; and more\n").expect("a record");
    let batch = bench
        .run(10, vec![line(0, 1), Ok(Seen::Record(tail))])
        .expect("read");
    assert_eq!(texts(&batch), ["line 0 and more"]);
}

#[test]
fn garbage_is_skipped() {
    let mut bench = Bench::new(Trust::KernelOnly);
    let batch = bench
        .run(10, vec![Ok(Seen::Garbled), line(4, 1)])
        .expect("read");
    assert_eq!(texts(&batch), ["line 4"]);
}

#[test]
fn time_spent_asleep_is_added_to_the_lines_own_time() {
    let mut bench = Bench::new(Trust::KernelOnly);
    SCRIPT.with_borrow_mut(|queue| queue.push_back(line(0, 40)));
    let batch = bench
        .log
        .read(&bench.host, at(100), Duration::from_secs(50))
        .expect("read");
    assert_eq!(batch.records[0].at, at(90));
}

#[test]
fn a_machine_without_the_device_is_unsupported() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = KmsgFile::open(&Host::at(dir.path())).expect_err("missing");
    assert_eq!(missing.kind(), "unsupported");
    std::fs::create_dir(dir.path().join("dev")).expect("made");
    std::fs::write(dir.path().join("dev/kmsg"), "6,0,0,-;x\n").expect("written");
    let file = KmsgFile::open(&Host::at(dir.path())).expect_err("a plain file");
    assert_eq!(file.kind(), "unsupported");
}

#[tokio::test]
async fn where_the_ring_may_not_be_read_the_probe_is_no_fault_and_claims_to_have_heard_nothing() {
    let mut probe = StoodIn::default();
    for _ in 0..2 {
        let batch = probe
            .collect(&Host::at("/nonexistent"))
            .await
            .expect("no fault");
        assert!(batch.heard.is_empty() && batch.records.is_empty());
        let gaps = batch.samples.first().map(|sample| sample.value.clone());
        let reason = gaps.expect("a sample").expect_err("nothing was read");
        assert_eq!(reason.kind(), "not-here");
        assert!(
            reason.to_string().contains("the journal stands in"),
            "{reason}"
        );
    }
}
