use super::*;
use crate::policy::{CaseId, PlaybookRef, RunId};
use crate::signal::{Timestamp, Uptime, Wall};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

pub(super) const BOOT: &str = "5b0e9c1d-0000-4000-8000-000000000001";

/// 2026-11-22T01:00:00Z plus `seconds`.
pub(super) fn at(seconds: u64) -> Timestamp {
    let start = Timestamp {
        uptime: Uptime::new(Duration::from_millis(3_549_611_200)),
        wall: Wall(1_795_309_200_000_000),
    };
    start.plus(Duration::from_secs(seconds))
}

pub(super) fn entry(step: u32) -> Entry {
    Entry {
        case: Some(CaseId(41)),
        signature: Some("systemd-bus-unresponsive".into()),
        playbook: Some(PlaybookRef {
            id: "systemd-reexec".into(),
            version: "1.0.0".into(),
            digest: "9f2c".into(),
        }),
        run: Some(RunId(17)),
        step: Some(step),
        slot: Some("slot.cluster.1/6f0e".into()),
        opt_in: Some("88213".into()),
        decision: Some(Decision::Act),
        evidence: vec!["no answer within 5 s, 3 times".into()],
        ..Entry::of(RecordKind::StepBegan)
    }
}

pub(super) fn open(dir: &Path, limits: Limits) -> Result<(AuditLog, Opening), AuditError> {
    AuditLog::open(dir, "node-7", BOOT, limits, at(0))
}

/// A log of `count` records, one minute apart.
pub(super) fn log_of(count: u32) -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("temp dir");
    let dir = temp.path().join("audit");
    write(&dir, count, Limits::default());
    (temp, dir)
}

fn write(dir: &Path, count: u32, limits: Limits) {
    let (mut log, _) = open(dir, limits).expect("opens");
    for step in 0..count {
        log.append(at(u64::from(step) * 60), &entry(step))
            .expect("appends");
    }
}

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("dir")
        .map(|item| item.expect("item").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    files.sort();
    files
}

pub(super) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .expect("file")
        .lines()
        .map(str::to_owned)
        .collect()
}

pub(super) fn put(path: &Path, lines: &[String]) {
    fs::write(
        path,
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
    .expect("put");
}

pub(super) fn faults(dir: &Path) -> Vec<String> {
    verify(dir, &[])
        .expect("readable")
        .faults
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_record_has_the_fields_of_the_contract_in_its_order() {
    let (_temp, dir) = log_of(1);
    let line = lines(&files(&dir)[0]).remove(0);
    let known = "seq time boot_id uptime_seconds node kind case signature playbook version digest run step slot opt_in \
                 decision reasons evidence outcome prev hash";
    let mut from = 0;
    for name in known.split_whitespace() {
        let place = line[from..]
            .find(&format!("\"{name}\":"))
            .unwrap_or_else(|| panic!("{name}: {line}"));
        from += place;
    }
    let value: serde_json::Value = serde_json::from_str(&line).expect("json");
    assert_eq!(
        value.as_object().expect("object").len(),
        known.split_whitespace().count()
    );
    assert_eq!(value["time"], "2026-11-22T01:00:00.000Z");
    assert_eq!(value["uptime_seconds"], 3_549_611.2);
    assert_eq!(value["kind"], "step-began");
    assert_eq!(value["case"], "case-41");
    assert!(value["outcome"].is_null());
}

#[test]
fn the_hash_is_that_of_the_record_without_it_in_canonical_json() {
    let (_temp, dir) = log_of(1);
    let line = lines(&files(&dir)[0]).remove(0);
    let mut value: serde_json::Value = serde_json::from_str(&line).expect("json");
    let hash = value
        .as_object_mut()
        .expect("object")
        .remove("hash")
        .expect("hash");
    let canonical = crate::document::canonical_json(&value).expect("canonical");
    assert_eq!(hash, crate::document::sha256_hex(canonical.as_bytes()));
    assert_eq!(value["prev"], GENESIS);
}

#[test]
fn the_chain_goes_on_over_files_and_restarts() {
    let temp = tempfile::tempdir().expect("temp dir");
    let dir = temp.path().join("audit");
    let small = Limits {
        max_file_bytes: 1500,
    };
    for _ in 0..3 {
        write(&dir, 4, small);
    }
    assert!(files(&dir).len() >= 4, "{:?}", files(&dir));
    let proof = verify(&dir, &[]).expect("readable");
    assert!(proof.holds(), "{:?}", proof.faults);
    assert_eq!((proof.records, proof.head.seq), (12, 12));
    let seqs: Vec<u64> = Reader::open(&dir)
        .expect("opens")
        .map(|line| line.record.expect("record").seq)
        .collect();
    assert_eq!(seqs, (1..=12).collect::<Vec<u64>>());
}

#[test]
fn a_new_day_begins_a_new_file_and_a_clock_that_went_back_does_not() {
    let temp = tempfile::tempdir().expect("temp dir");
    let (mut log, _) = open(temp.path(), Limits::default()).expect("opens");
    for seconds in [0, 86_400, 0, 86_400, 2 * 86_400] {
        log.append(at(seconds), &entry(0)).expect("appends");
    }
    let names: Vec<String> = files(temp.path())
        .iter()
        .map(|path| {
            path.file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            "000000000001-2026-11-22.jsonl",
            "000000000002-2026-11-23.jsonl",
            "000000000005-2026-11-24.jsonl"
        ]
    );
    let mut mad = at(0);
    mad.wall = Wall(i64::MAX);
    log.append(mad, &entry(0))
        .expect("a clock out of range is recorded as it is");
    assert!(verify(temp.path(), &[]).expect("readable").holds());
}

#[test]
fn nobody_else_may_read_it() {
    let (_temp, dir) = log_of(1);
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for item in fs::read_dir(&dir).expect("dir") {
        let path = item.expect("item").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_writer_is_kept_out() {
    let temp = tempfile::tempdir().expect("temp dir");
    let (log, _) = open(temp.path(), Limits::default()).expect("opens");
    let error = open(temp.path(), Limits::default()).expect_err("locked");
    assert_eq!(error.kind(), "busy");
    drop(log);
    open(temp.path(), Limits::default()).expect("opens again");
}

#[test]
fn a_line_cut_short_by_a_crash_is_kept_aside_and_said_at_every_length() {
    let (_temp, dir) = log_of(3);
    let path = files(&dir).remove(0);
    let whole = fs::read(&path).expect("file");
    let last = lines(&path).remove(2).len() + 1;
    let start = whole.len() - last;
    // The head file is as the crash left it: the third record was never acknowledged.
    let second: Record = serde_json::from_str(&lines(&path)[1]).expect("record");
    let head = serde_json::json!({"seq": 2, "hash": second.hash}).to_string();
    for cut in (1..last).step_by(37).chain([last - 1]) {
        for old in files(&dir) {
            fs::remove_file(old).expect("remove");
        }
        fs::write(&path, &whole[..start + cut]).expect("cut");
        fs::write(dir.join("head.json"), &head).expect("head");
        let torn = faults(&dir);
        assert!(
            torn.len() == 1 && torn[0].contains(":3: seq 3: torn"),
            "{torn:?}"
        );

        let (log, opening) = open(&dir, Limits::default()).expect("continues");
        assert_eq!((opening.head.seq, log.head().seq), (2, 3));
        let kept = opening.torn.expect("kept");
        assert_eq!(fs::read(&kept).expect("kept"), &whole[start..start + cut]);
        drop(log);
        let proof = verify(&dir, &[]).expect("readable");
        assert!(proof.holds() && proof.notes.len() == 1, "{proof:?}");
        let last = Reader::open(&dir)
            .expect("opens")
            .last()
            .expect("line")
            .record
            .expect("record");
        assert_eq!(last.kind, RecordKind::LogContinued);
        fs::remove_file(kept).expect("remove");
    }
}

#[test]
fn a_crash_between_making_a_file_and_its_first_record_loses_nothing() {
    for torn in ["", "{\"seq\":4,"] {
        let (_temp, dir) = log_of(3);
        fs::write(dir.join("000000000004-2026-11-23.jsonl"), torn).expect("file");
        let (mut log, opening) = open(&dir, Limits::default()).expect("opens");
        assert_eq!(
            (opening.head.seq, opening.torn.is_some()),
            (3, !torn.is_empty())
        );
        log.append(at(0), &entry(0)).expect("appends");
        drop(log);
        assert_eq!(faults(&dir), Vec::<String>::new(), "{torn:?}");
    }
}

#[test]
fn after_a_failed_write_no_record_is_taken_again() {
    let temp = tempfile::tempdir().expect("temp dir");
    let (mut log, _) = open(temp.path(), Limits { max_file_bytes: 1 }).expect("opens");
    log.append(at(0), &entry(0)).expect("appends");
    // The next record needs a new file; a directory in its place fails also for root.
    let blocked = temp.path().join("000000000002-2026-11-22.jsonl");
    fs::create_dir(&blocked).expect("dir");
    let first = log.append(at(1), &entry(1)).expect_err("fails");
    assert_eq!(first.kind(), "file");
    fs::remove_dir(&blocked).expect("remove");
    let second = log.append(at(2), &entry(2)).expect_err("stays stopped");
    assert_eq!(second.kind(), "stopped");
    assert!(second.to_string().contains("000000000002"), "{second}");
    assert_eq!(
        (log.write_failures(), log.records(), log.head().seq),
        (2, 1, 1)
    );
    assert!(
        log.failure()
            .is_some_and(|failure| failure.contains("exists")),
        "{:?}",
        log.failure()
    );
    drop(log);
    assert_eq!(
        faults(temp.path()),
        Vec::<String>::new(),
        "what was written before stays true"
    );
}

#[test]
fn a_device_in_the_place_of_a_file_is_refused_and_not_read() {
    // /dev/zero never ends: reading it would never come back.
    let temp = tempfile::tempdir().expect("temp dir");
    let path = temp.path().join("000000000001-2026-11-22.jsonl");
    std::os::unix::fs::symlink("/dev/zero", path).expect("link");
    assert!(faults(temp.path())[0].contains("foreign"));
    let (mut log, _) = open(temp.path(), Limits::default()).expect("opens");
    assert_eq!(
        log.append(at(0), &entry(0)).expect_err("no file").kind(),
        "file"
    );
}

#[test]
fn hostile_texts_stay_one_line_below_the_cap() {
    let temp = tempfile::tempdir().expect("temp dir");
    let (mut log, _) = open(temp.path(), Limits::default()).expect("opens");
    let text = "\"\\\n".repeat(5000);
    let mut hostile = entry(0);
    hostile.reasons = vec![text.clone(); 100];
    hostile.evidence = vec![text.clone(); 100];
    hostile.outcome = Some(text.clone());
    hostile.slot = Some(text.clone());
    hostile.signature = Some(text.as_str().into());
    hostile.evidence.push("password=c4n4ry".into());
    log.append(at(0), &hostile).expect("appends");
    drop(log);
    let path = files(temp.path()).remove(0);
    assert_eq!(lines(&path).len(), 1);
    assert!(fs::metadata(&path).expect("metadata").len() < MAX_LINE_BYTES as u64);
    assert_eq!(faults(temp.path()), Vec::<String>::new());
}

#[test]
fn a_filter_wants_what_it_names() {
    let (_temp, dir) = log_of(3);
    let count = |filter: Filter| {
        Reader::open(&dir)
            .expect("opens")
            .filter(|line| {
                line.record
                    .as_ref()
                    .is_ok_and(|record| filter.wants(record))
            })
            .count()
    };
    assert_eq!(count(Filter::default()), 3);
    assert_eq!(
        count(Filter {
            kind: Some(RecordKind::StepBegan),
            ..Filter::default()
        }),
        3
    );
    assert_eq!(
        count(Filter {
            kind: Some(RecordKind::Undone),
            ..Filter::default()
        }),
        0
    );
    assert_eq!(
        count(Filter {
            case: Some("case-4".into()),
            ..Filter::default()
        }),
        0
    );
    assert_eq!(
        count(Filter {
            since: Some("2026-11-22T01:01".into()),
            ..Filter::default()
        }),
        2
    );
    assert_eq!(
        count(Filter {
            since: Some("2027".into()),
            ..Filter::default()
        }),
        0
    );
}

#[test]
fn heads_are_read_as_they_are_written() {
    let head = Head {
        seq: 812,
        hash: GENESIS.into(),
    };
    assert_eq!(Head::parse(&head.to_string()), Some(head));
    for text in [
        "",
        "812",
        "812:",
        "812:07aa",
        ":0",
        "x:0",
        "812 07",
        &format!("812:{}", "G".repeat(64)),
    ] {
        assert_eq!(Head::parse(text), None, "{text}");
    }
}
