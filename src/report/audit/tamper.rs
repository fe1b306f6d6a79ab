//! What is done to a log behind its back, and what is said about it.

use super::tests::{BOOT, at, entry, faults, files, lines, log_of, open, put};
use super::*;
use std::fs;
use std::path::Path;

#[test]
fn every_flipped_byte_is_found() {
    let (_temp, dir) = log_of(1);
    let path = files(&dir).remove(0);
    let whole = fs::read(&path).expect("file");
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 0x01;
        fs::write(&path, &flipped).expect("write");
        let found = verify(&dir, &[]).expect("readable");
        assert!(
            !found.holds(),
            "byte {index} ({:?})",
            char::from(whole[index])
        );
        assert!(
            found.faults[0].line > 0 && found.faults[0].seq > 0,
            "{:?}",
            found.faults
        );
    }
}

/// What is done to a log, and the words that each report of it must hold.
type Tamper = (&'static str, fn(&mut Vec<String>), &'static [&'static str]);

const TAMPERINGS: &[Tamper] = &[
    (
        "cut in the middle",
        |l| {
            l.remove(2);
        },
        &[":3: seq 4: cut: record 3 is missing"],
    ),
    (
        "cut of several",
        |l| {
            l.drain(1..4);
        },
        &[":2: seq 5: cut: records 2 to 4 are missing"],
    ),
    (
        "cut at the start",
        |l| {
            l.remove(0);
        },
        &[":1: seq 2: cut: the file begins with record 2"],
    ),
    (
        "cut at the end",
        |l| {
            l.pop();
        },
        &[": seq 6: cut: head.json names record 6, but the log ends at record 5"],
    ),
    (
        "everything cut",
        |l| l.clear(),
        &["head.json names record 6, but the log ends at record 0"],
    ),
    (
        "two swapped",
        |l| l.swap(2, 3),
        &[":3: seq 4: cut", ":4: seq 3: reordered"],
    ),
    (
        "last two swapped",
        |l| l.swap(4, 5),
        &[":5: seq 6: cut", ":6: seq 5: reordered"],
    ),
    (
        "one replayed at the end",
        |l| l.push(l[1].clone()),
        &[":7: seq 2: replayed"],
    ),
    (
        "one doubled in place",
        |l| l.insert(3, l[2].clone()),
        &[":4: seq 3: replayed"],
    ),
    (
        "all replayed",
        |l| l.extend(l.clone()),
        &[":7: seq 1: replayed"],
    ),
    (
        "text edited",
        |l| l[1] = l[1].replace("3 times", "2 times"),
        &[":2: seq 2: edited: record 2 was edited"],
    ),
    (
        "step edited",
        |l| l[1] = l[1].replace("\"step\":1", "\"step\":9"),
        &[":2: seq 2: edited"],
    ),
    (
        "number edited",
        |l| l[1] = l[1].replace("\"seq\":2", "\"seq\":9"),
        &[":2: seq 2: edited"],
    ),
    (
        "hash edited",
        |l| l[1] = l[1].replace("\"hash\":\"", "\"hash\":\"0"),
        &[":2: seq 2: edited"],
    ),
    (
        "blank added to the line",
        |l| l[1] = l[1].replace("\"seq\":2", "\"seq\": 2"),
        &[":2: seq 2: edited: record 2 was edited: it is not written"],
    ),
    (
        "fields in another order",
        |l| {
            l[1] = l[1].replace(
                "\"run\":\"run-17\",\"step\":1",
                "\"step\":1,\"run\":\"run-17\"",
            )
        },
        &[":2: seq 2: edited"],
    ),
    (
        "field added",
        |l| l[1] = l[1].replace("{\"seq\"", "{\"note\":1,\"seq\""),
        &[":2: seq 2: foreign", "unknown field"],
    ),
    (
        "field said twice",
        |l| l[1] = l[1].replace("{\"seq\":2", "{\"seq\":2,\"seq\":2"),
        &[":2: seq 2: foreign", "duplicate field"],
    ),
    (
        "field removed",
        |l| l[1] = l[1].replace("\"outcome\":null,", ""),
        &[":2: seq 2: edited"],
    ),
    (
        "unknown kind",
        |l| l[1] = l[1].replace("step-began", "step-begun"),
        &[":2: seq 2: foreign", "unknown variant"],
    ),
    (
        "foreign line",
        |l| l[2] = "hello".into(),
        &[":3: seq 3: foreign"],
    ),
    (
        "foreign line between",
        |l| l.insert(2, "{}".into()),
        &[":3: seq 3: foreign"],
    ),
    (
        "empty line",
        |l| l.insert(2, String::new()),
        &[":3: seq 3: foreign"],
    ),
    (
        "JSON of another form",
        |l| l[2] = "[1,2]".into(),
        &[":3: seq 3: foreign"],
    ),
    (
        "huge line",
        |l| l[2] = "x".repeat(MAX_LINE_BYTES * 3),
        &[":3: seq 3: foreign: foreign line: longer"],
    ),
    (
        "huge number",
        |l| l[1] = l[1].replace("\"seq\":2", "\"seq\":99999999999999999999"),
        &[":2: seq 2: foreign"],
    ),
];

#[test]
fn edits_cuts_reorders_and_replays_are_found_with_their_place() {
    for (name, tamper, wanted) in TAMPERINGS {
        let (_temp, dir) = log_of(6);
        let path = files(&dir).remove(0);
        let mut content = lines(&path);
        tamper(&mut content);
        put(&path, &content);
        let found = faults(&dir);
        for words in *wanted {
            assert!(
                found.iter().any(|fault| fault.contains(words)),
                "{name}: no {words:?} in {found:#?}"
            );
        }
        assert!(
            found.len() <= 6,
            "{name}: one deed, {} faults: {found:#?}",
            found.len()
        );
    }
}

/// What is done to a file, and the kind of the error when the log is opened over it.
type Damage = (&'static str, fn(&Path), &'static str);

#[test]
fn damage_to_files_is_found_and_never_written_over() {
    let table: &[Damage] = &[
        (
            "not text",
            |path| fs::write(path, b"\xff\xfe\n").expect("write"),
            "damaged",
        ),
        (
            "zeroes",
            |path| fs::write(path, b"\0\0\0\n").expect("write"),
            "damaged",
        ),
        (
            "gone",
            |path| fs::remove_file(path).expect("remove"),
            "damaged",
        ),
        (
            "empty",
            |path| fs::write(path, "").expect("write"),
            "damaged",
        ),
        (
            "renamed",
            |path| {
                fs::rename(path, path.with_file_name("000000000009-2026-11-22.jsonl"))
                    .expect("rename")
            },
            "damaged",
        ),
        (
            "last record edited",
            |path| {
                let text = fs::read_to_string(path)
                    .expect("read")
                    .replace("\"step\":2", "\"step\":7");
                fs::write(path, text).expect("write");
            },
            "damaged",
        ),
        (
            "last record cut",
            |path| {
                let mut content = lines(path);
                content.pop();
                put(path, &content);
            },
            "damaged",
        ),
        (
            "a directory",
            |path| {
                fs::remove_file(path).expect("remove");
                fs::create_dir(path).expect("dir");
            },
            "damaged",
        ),
    ];
    for (name, damage, kind) in table {
        let (_temp, dir) = log_of(3);
        damage(&files(&dir).remove(0));
        assert!(!faults(&dir).is_empty(), "{name}: verify finds it");
        let error = open(&dir, Limits::default()).expect_err(name);
        assert_eq!(error.kind(), *kind, "{name}: {error}");
        assert!(
            error.to_string().contains(&dir.display().to_string()),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_rewritten_log_is_found_by_an_anchor_from_elsewhere() {
    let (_temp, dir) = log_of(4);
    let anchor = verify(&dir, &[]).expect("readable").head;
    let (_other_temp, other) = log_of(3);
    let (mut log, _) = open(&other, Limits::default()).expect("opens");
    log.append(at(999), &entry(9)).expect("appends");
    log.append(at(999), &entry(10)).expect("appends");
    assert!(
        verify(&dir, std::slice::from_ref(&anchor))
            .expect("readable")
            .holds()
    );
    let found = verify(&other, &[anchor]).expect("readable");
    assert!(
        found
            .faults
            .iter()
            .any(|fault| fault.kind == "anchor" && fault.seq == 4),
        "{found:?}"
    );
    let cut = verify(
        &dir,
        &[Head {
            seq: 9,
            hash: GENESIS.into(),
        }],
    )
    .expect("readable");
    assert!(
        cut.faults.iter().any(|fault| fault.kind == "cut"),
        "{cut:?}"
    );
}

#[test]
fn a_file_of_another_node_does_not_fit_in() {
    let (_temp, dir) = log_of(2);
    let (_other_temp, other) = log_of(1);
    {
        let (mut log, _) =
            AuditLog::open(&other, "node-8", BOOT, Limits::default(), at(0)).expect("opens");
        log.append(at(60), &entry(1)).expect("appends");
        log.append(at(86_400), &entry(2)).expect("appends");
    }
    let stranger = files(&other).remove(1);
    fs::copy(&stranger, dir.join(stranger.file_name().expect("name"))).expect("copy");
    let found = faults(&dir);
    assert!(
        found
            .iter()
            .any(|fault| fault.contains("seq 3: edited: its `prev`")),
        "{found:?}"
    );
}
