//! The journal on real files: torn tails, flipped bits, bad input, poisoned writes.

use super::disk::{Disk, HostDisk};
use super::entry::{BootId, Entry, Opening, Outcome, Receipt, StepIx};
use super::journal::{Journal, JournalError, Shelf};
use super::record::{self, Damage, Record};
use crate::policy::RunId;
use crate::signal::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn opened() -> Entry {
    Entry::Opened {
        opening: Opening {
            case: 41,
            signature: "systemd-bus-unresponsive".into(),
            subject: "größe.service".into(),
            playbook: "systemd-reexec".into(),
            version: "1.0.0".into(),
            digest: "9f2c".into(),
            plan: "p1".into(),
            values: Default::default(),
        },
        boot: BootId::new("boot-a\n"),
    }
}

fn began() -> Entry {
    Entry::Began {
        step: StepIx(0),
        receipt: Receipt(serde_json::json!({ "value": "ä\n\u{0}", "n": 1.5 })),
    }
}

fn entries() -> Vec<Entry> {
    vec![opened(), began(), Entry::Applied { step: StepIx(0) }]
}

fn now() -> Timestamp {
    Timestamp::default().plus(Duration::from_micros(1_234_567))
}

/// A journal of run 1 with these entries; its text.
fn write(folder: &Path, entries: &[Entry]) -> Vec<u8> {
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    disk.runs(folder).expect("a folder");
    let boot = BootId::new("boot-a");
    let mut journal = Journal::create(folder, &disk, RunId(1), &boot).expect("a journal");
    for entry in entries {
        journal.append(now(), "uid-1", entry).expect("written");
    }
    std::fs::read(folder.join("run-1.journal")).expect("read")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder")
}

fn put(folder: &Path, text: &[u8]) {
    std::fs::write(folder.join("run-1.journal"), text).expect("write");
}

fn entries_of(records: &[Record]) -> Vec<Entry> {
    records.iter().map(|record| record.entry.clone()).collect()
}

#[test]
fn what_is_written_is_read() {
    let folder = folder();
    write(folder.path(), &entries());
    let shelf = Shelf::open(folder.path(), &HostDisk).expect("sound");
    assert_eq!(shelf.next_run(), RunId(2));
    let past = shelf.open_runs().next().expect("an open run");
    assert_eq!(past.entries, entries());
    assert_eq!(past.began, now().wall);
    assert_eq!(past.boot, BootId::new("boot-a"));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_kept_aside() {
    let folder = folder();
    let text = write(folder.path(), &entries());
    for end in 0..text.len() {
        for zeros in [0, 1, 512] {
            let mut torn = text[..end].to_vec();
            torn.resize(end + zeros, 0);
            put(folder.path(), &torn);
            let shelf = Shelf::open(folder.path(), &HostDisk).expect("a torn tail is no damage");
            let whole = text[..end].iter().filter(|byte| **byte == b'\n').count();
            // The last byte of a line is its newline: without it the record is whole all the same.
            let lacks_newline = text.get(end) == Some(&b'\n');
            let expected = whole + usize::from(lacks_newline);
            let read: Vec<Entry> = shelf
                .runs
                .iter()
                .flat_map(|run| run.entries.clone())
                .collect();
            assert_eq!(
                read,
                entries()[..expected],
                "cut at {end} with {zeros} zeros"
            );
            // And it can be gone on with: the next record is found behind what is left.
            let disk: Arc<dyn Disk> = Arc::new(HostDisk);
            let boot = BootId::new("boot-b");
            let mut journal =
                Journal::reopen(folder.path(), &disk, RunId(1), &boot).expect("reopens");
            journal.append(now(), "", &opened()).expect("appends");
            let again = std::fs::read(folder.path().join("run-1.journal")).expect("read");
            let parsed = record::parse(&again).expect("sound");
            assert_eq!(parsed.records.len(), expected + 1, "cut at {end}");
        }
    }
    let aside = std::fs::read_dir(folder.path()).expect("list").count();
    assert!(aside > 3, "torn tails are kept beside the journal");
}

#[test]
fn a_flipped_bit_anywhere_stops_the_node_and_never_changes_what_is_read() {
    let folder = folder();
    let text = write(folder.path(), &entries());
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone();
            flipped[at] ^= 1 << bit;
            match record::parse(&flipped) {
                Err(_) => {}
                // White space in place of the last newline says the same.
                Ok(parsed) => assert_eq!(
                    entries_of(&parsed.records),
                    entries(),
                    "byte {at} bit {bit}"
                ),
            }
        }
    }
    let mut flipped = text.clone();
    flipped[text.len() / 2] ^= 1;
    put(folder.path(), &flipped);
    let error = Shelf::open(folder.path(), &HostDisk).expect_err("damaged");
    assert_eq!(error.kind(), "damaged");
    assert!(error.to_string().contains("look at the machine"), "{error}");
    assert_eq!(
        std::fs::read(folder.path().join("run-1.journal")).expect("read"),
        flipped,
        "untouched"
    );
}

/// A line that is right in itself, for any JSON.
fn line(json: &str, prev: &str) -> String {
    let hash = crate::document::sha256_hex(format!("{prev}{json}").as_bytes());
    format!("nj1 {hash} {json}\n")
}

#[test]
fn broken_journals_are_refused_with_their_line() {
    let folder = folder();
    let text = String::from_utf8(write(folder.path(), &entries())).expect("text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let first = lines[0]
        .split_once(' ')
        .expect("mark")
        .1
        .split_once(' ')
        .expect("hash")
        .1
        .trim_end();
    let genesis = record::GENESIS;
    let first_with = |from: &str, to: &str| {
        let changed = first.replace(from, to);
        assert_ne!(changed, first, "{from}");
        line(&changed, genesis)
    };
    let zero_hash = format!("nj1 {genesis} {first}\n");
    let table: Vec<(&str, String, usize)> = vec![
        ("an empty line", "\n".into(), 1),
        ("not a journal", "hello\n".into(), 1),
        ("not a journal, without an end", "hello".into(), 1),
        ("JSON lines", format!("{first}\n"), 1),
        ("another mark", text.replacen("nj1 ", "nk1 ", 1), 1),
        (
            "no space behind the mark",
            text.replacen("nj1 ", "nj1", 1),
            1,
        ),
        ("a newer form", text.replacen("nj1 ", "nj2 ", 1), 1),
        ("a much newer form", text.replacen("nj1 ", "nj4711 ", 1), 1),
        (
            "a newer form in the middle",
            text.replacen("\nnj1 ", "\nnj2 ", 1),
            2,
        ),
        ("a hash of zeros", zero_hash, 1),
        ("a hash in capitals", text.to_uppercase(), 1),
        ("a short hash", "nj1 abc {}\n".into(), 1),
        ("no record", line("", genesis), 1),
        ("null", line("null", genesis), 1),
        ("a list", line("[]", genesis), 1),
        ("an empty record", line("{}", genesis), 1),
        (
            "an unknown key",
            first_with("{\"seq\":0", "{\"more\":1,\"seq\":0"),
            1,
        ),
        (
            "an unknown kind of entry",
            first_with("\"opened\"", "\"exploded\""),
            1,
        ),
        (
            "a kind without its fields",
            first_with("\"opened\"", "\"began\""),
            1,
        ),
        (
            "a negative number",
            first_with("\"seq\":0", "\"seq\":-1"),
            1,
        ),
        (
            "a number as text",
            first_with("\"seq\":0", "\"seq\":\"0\""),
            1,
        ),
        (
            "a number too large",
            first_with("\"run\":1", "\"run\":99999999999999999999"),
            1,
        ),
        ("a wrong sequence", first_with("\"seq\":0", "\"seq\":1"), 1),
        (
            "two records in a line",
            line(&format!("{first}{first}"), genesis),
            1,
        ),
        (
            "not UTF-8 any more",
            text.replacen("größe", "gr\u{fffd}e", 1),
            1,
        ),
        ("the first line twice", format!("{}{text}", lines[0]), 2),
        ("the first line missing", lines[1..].concat(), 1),
        (
            "a line in the middle missing",
            format!("{}{}", lines[0], lines[2]),
            2,
        ),
        (
            "lines in another order",
            format!("{}{}{}", lines[0], lines[2], lines[1]),
            2,
        ),
        (
            "something behind the last line",
            format!("{text}garbage\n"),
            4,
        ),
        (
            "a line that is too long",
            format!("nj1 {}\n", "a".repeat(70_000)),
            1,
        ),
        ("carriage returns", text.replace('\n', "\r\n"), 1),
    ];
    for (what, text, place) in &table {
        match record::parse(text.as_bytes()) {
            Err(Damage::Line { line, .. } | Damage::Newer { line, .. }) => {
                assert_eq!(line, *place, "{what}");
            }
            Ok(parsed) => panic!("{what} was taken: {parsed:?}"),
        }
        put(folder.path(), text.as_bytes());
        let error = Shelf::open(folder.path(), &HostDisk).expect_err(what);
        assert_eq!(error.kind(), "damaged", "{what}");
    }
    assert!(table.len() >= 20);
}

#[test]
fn a_newer_form_says_so() {
    let folder = folder();
    let text = write(folder.path(), &entries());
    let newer = String::from_utf8(text)
        .expect("text")
        .replacen("nj1 ", "nj2 ", 1);
    let damage = record::parse(newer.as_bytes()).expect_err("refused");
    assert!(damage.to_string().contains("newer nodemend"), "{damage}");
}

#[test]
fn a_journal_that_is_not_its_own_is_refused() {
    let folder = folder();
    let text = write(folder.path(), &entries());
    std::fs::write(folder.path().join("run-7.journal"), &text).expect("write");
    assert_eq!(
        Shelf::open(folder.path(), &HostDisk)
            .expect_err("run 7")
            .kind(),
        "damaged"
    );
    std::fs::remove_file(folder.path().join("run-7.journal")).expect("remove");
    put(folder.path(), b"");
    std::fs::remove_file(folder.path().join("run-1.journal")).expect("remove");
    write(folder.path(), &[began()]);
    assert_eq!(
        Shelf::open(folder.path(), &HostDisk)
            .expect_err("no opening")
            .kind(),
        "damaged"
    );
    std::fs::write(folder.path().join("run-1.journal"), vec![b'x'; 5 << 20]).expect("write");
    assert_eq!(
        Shelf::open(folder.path(), &HostDisk)
            .expect_err("large")
            .kind(),
        "too-large"
    );
}

#[test]
fn other_files_in_the_folder_are_nobodys_journal() {
    let folder = folder();
    for name in [
        "run-.journal",
        "run-01.journal",
        "run-x.journal",
        "run-1.journal.bak",
        "run-2.torn-3",
        "x",
    ] {
        std::fs::write(folder.path().join(name), "junk").expect("write");
    }
    assert_eq!(
        Shelf::open(folder.path(), &HostDisk)
            .expect("sound")
            .next_run(),
        RunId(1)
    );
}

#[test]
fn a_run_number_is_used_once() {
    let folder = folder();
    write(folder.path(), &[]);
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    let again = Journal::create(folder.path(), &disk, RunId(1), &BootId::new("b"));
    assert_eq!(again.err().map(|error| error.kind()), Some("disk"));
    // An empty journal, as a crash leaves it, is no run, but its number is taken.
    let shelf = Shelf::open(folder.path(), &HostDisk).expect("sound");
    assert_eq!((shelf.runs.len(), shelf.next_run()), (0, RunId(2)));
}

#[test]
fn a_failed_write_poisons_the_journal_for_good() {
    let rig = super::rig::Rig::of(&[]);
    let folder = folder();
    let disk: Arc<dyn Disk> = Arc::new(rig.disk.clone());
    let boot = BootId::new("boot-a");
    let mut journal = Journal::create(folder.path(), &disk, RunId(1), &boot).expect("a journal");
    journal.append(now(), "", &opened()).expect("written");
    rig.disk.syncs.store(0, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        journal
            .append(now(), "", &began())
            .expect_err("killed")
            .kind(),
        "disk"
    );
    rig.disk.syncs.store(9, std::sync::atomic::Ordering::SeqCst);
    rig.world.lock().expect("world").is_dead = false;
    // The disk is well again, but what the failed sync left behind is unknown.
    let error = journal.append(now(), "", &began()).expect_err("poisoned");
    assert!(matches!(error, JournalError::Poisoned { .. }));
    assert!(journal.is_poisoned());
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let folder = folder();
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    disk.runs(folder.path()).expect("a folder");
    let mut journal =
        Journal::create(folder.path(), &disk, RunId(1), &BootId::new("b")).expect("a journal");
    let entry = Entry::Began {
        step: StepIx(0),
        receipt: Receipt("x".repeat(70_000).into()),
    };
    assert_eq!(
        journal
            .append(now(), "", &entry)
            .expect_err("too long")
            .kind(),
        "record"
    );
}

#[test]
fn a_closed_run_is_not_open_and_tells_its_outcome() {
    let folder = folder();
    let mut all = entries();
    let result = Outcome::Stopped {
        why: "paused".into(),
    };
    all.push(Entry::Closed {
        result: result.clone(),
    });
    write(folder.path(), &all);
    let shelf = Shelf::open(folder.path(), &HostDisk).expect("sound");
    assert_eq!(shelf.open_runs().count(), 0);
    assert_eq!(shelf.runs[0].outcome, Some(result));
}
