//! Proving the log: every record hashed, every link followed, every file accounted for (safety.md, T14 and I17).

use super::error::AuditError;
use super::files::{self, Head};
use super::reader::{Line, LineFault, Reader};
use super::record::{GENESIS, Record};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The most faults that are told apart. A log with more is not read by people; the rest is counted.
const MAX_FAULTS: usize = 100;

/// One thing wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The number of the record at fault, or of the one expected there.
    pub seq: u64,
    /// A short stable word: `edited`, `cut`, `reordered`, `replayed`, `foreign`, `torn`, `anchor`, `unreadable`.
    pub kind: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(
                f,
                "{}:{}: seq {}: {}: {}",
                self.file, self.line, self.seq, self.kind, self.what
            )
        } else {
            write!(
                f,
                "{}: seq {}: {}: {}",
                self.file, self.seq, self.kind, self.what
            )
        }
    }
}

/// What a proof found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Files read.
    pub files: usize,
    /// Records read.
    pub records: u64,
    /// The newest record.
    pub head: Head,
    /// What is wrong; empty means that the log is as it was written.
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub more_faults: u64,
    /// What people should know although nothing is wrong.
    pub notes: Vec<String>,
}

impl Verification {
    /// Whether the log is as it was written.
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Proves the log in `dir`. `anchors` are heads from elsewhere (a slot's annotation, another machine's notes): each must be
/// in the log. The head file beside the log is used too, where it is there.
///
/// *Cost*: reads every file once; memory stays that of one line.
///
/// # Errors
/// A directory that cannot be read. What is wrong with the log itself is in the answer.
pub fn verify(dir: &Path, anchors: &[Head]) -> Result<Verification, AuditError> {
    let listing = files::list(dir)?;
    let mut anchors: Vec<(Head, &'static str)> = anchors
        .iter()
        .map(|anchor| (anchor.clone(), "the anchor that was given"))
        .collect();
    let mut walk = Walk::new(listing.files.len());
    match files::read_head(dir) {
        Some(head) => anchors.push((head, "head.json")),
        None if listing.files.is_empty() => {}
        None => walk.result.notes.push(
            "there is no readable head.json, so a log whose end was cut off at a line cannot be told; give an anchor with --head".into(),
        ),
    }
    for name in &listing.foreign {
        walk.fault(
            name,
            0,
            "foreign",
            "the file is not part of an audit log; move it elsewhere".into(),
        );
    }
    for name in &listing.torn {
        walk.result
            .notes
            .push(format!("{name} keeps a line that a crash cut short"));
    }
    let firsts: Vec<(String, u64)> = listing
        .files
        .iter()
        .map(|file| (file.name(), file.first))
        .collect();
    let last_file = firsts.last().map(|(name, _)| name.clone());
    for line in Reader::over(listing.files) {
        let first = firsts
            .iter()
            .find(|(name, _)| *name == line.file)
            .map(|(_, first)| *first);
        walk.line(line, first, last_file.as_deref(), &anchors);
    }
    for (anchor, whence) in &anchors {
        if anchor.seq > walk.result.head.seq {
            let what = format!(
                "{whence} names record {}, but the log ends at record {}: its end was cut off",
                anchor.seq, walk.result.head.seq
            );
            let file = last_file.clone().unwrap_or_else(|| files::HEAD.to_owned());
            walk.fault(&file, 0, "cut", what);
        }
    }
    Ok(walk.result)
}

struct Walk {
    result: Verification,
    /// The head that the next record must follow.
    expected: Head,
    /// Numbers that were missed so far.
    holes: Vec<Range<u64>>,
}

impl Walk {
    fn new(files: usize) -> Self {
        let genesis = Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        };
        let result = Verification {
            files,
            records: 0,
            head: genesis.clone(),
            faults: Vec::new(),
            more_faults: 0,
            notes: Vec::new(),
        };
        Self {
            result,
            expected: genesis,
            holes: Vec::new(),
        }
    }

    fn next_seq(&self) -> u64 {
        self.expected.seq.saturating_add(1)
    }

    fn fault(&mut self, file: &str, line: u64, kind: &'static str, what: String) {
        let seq = self.next_seq();
        self.fault_at(file, line, seq, kind, what);
    }

    fn fault_at(&mut self, file: &str, line: u64, seq: u64, kind: &'static str, what: String) {
        if self.result.faults.len() < MAX_FAULTS {
            self.result.faults.push(Fault {
                file: file.to_owned(),
                line,
                seq,
                kind,
                what,
            });
        } else {
            self.result.more_faults = self.result.more_faults.saturating_add(1);
        }
    }

    fn line(
        &mut self,
        line: Line,
        first: Option<u64>,
        last_file: Option<&str>,
        anchors: &[(Head, &'static str)],
    ) {
        let Line {
            file,
            line: number,
            record,
        } = line;
        match record {
            Ok(record) => {
                if number == 1 && first != Some(record.seq) {
                    let what = format!(
                        "the file begins with record {}, but its name says {}; it was renamed or its start was cut off",
                        record.seq,
                        first.unwrap_or(0)
                    );
                    self.fault_at(&file, number, record.seq, "cut", what);
                }
                self.record(&file, number, &record, anchors);
            }
            Err(LineFault::Bad(what)) => {
                let kind = if what.contains("was edited") {
                    "edited"
                } else {
                    "foreign"
                };
                self.fault(&file, number, kind, what);
                // The line stands for one record, so that one edit is one fault and not one for each line after it.
                self.expected = Head {
                    seq: self.next_seq(),
                    hash: String::new(),
                };
            }
            Err(LineFault::Torn(bytes)) if last_file == Some(file.as_str()) => {
                self.fault(&file, number, "torn", format!("the log ends in {bytes} bytes without end of line: a crash cut them short, or the agent writes right now. The agent sets them aside when it starts; ask again"));
            }
            Err(LineFault::Torn(bytes)) => {
                self.fault(
                    &file,
                    number,
                    "cut",
                    format!(
                        "the file ends in {bytes} bytes without end of line, and is not the newest"
                    ),
                );
            }
            Err(LineFault::Unreadable(what)) => self.fault(&file, number, "unreadable", what),
        }
    }

    fn record(&mut self, file: &str, line: u64, record: &Record, anchors: &[(Head, &'static str)]) {
        self.result.records = self.result.records.saturating_add(1);
        let next = self.next_seq();
        if record.seq > next {
            let what = match record.seq - next {
                1 => format!("record {next} is missing before this one"),
                _ => format!(
                    "records {next} to {} are missing before this one",
                    record.seq - 1
                ),
            };
            self.fault_at(file, line, record.seq, "cut", what);
            if self.holes.len() < MAX_FAULTS {
                self.holes.push(next..record.seq);
            }
        } else if record.seq < next {
            // A number that was missed above comes late; any other stood in its place before.
            let is_late = self.holes.iter().any(|hole| hole.contains(&record.seq));
            let (kind, what) = match is_late {
                true => ("reordered", format!("record {next} should stand here")),
                false => (
                    "replayed",
                    "the record stands here a second time".to_owned(),
                ),
            };
            self.fault_at(file, line, record.seq, kind, what);
        } else if record.prev != self.expected.hash && !self.expected.hash.is_empty() {
            let what = format!(
                "its `prev` is not the hash of record {}: that one was replaced, or this one comes from another log",
                self.expected.seq
            );
            self.fault_at(file, line, record.seq, "edited", what);
        }
        for (anchor, whence) in anchors {
            if anchor.seq == record.seq && anchor.hash != record.hash {
                let what =
                    format!("{whence} has another hash for this record: the log was rewritten");
                self.fault_at(file, line, record.seq, "anchor", what);
            }
        }
        // The chain goes on from the newest record, so that one deed is one fault and not one for each line after it.
        if record.seq >= next {
            self.expected = Head {
                seq: record.seq,
                hash: record.hash.clone(),
            };
            self.result.head = self.expected.clone();
        }
    }
}
