//! Finding the end of a log that is to be continued.

use super::error::AuditError;
use super::files::{self, HEAD, Head, LogFile, RawLine};
use super::record::{GENESIS, MAX_LINE_BYTES, Record};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Where the log ends.
pub(super) struct Tail {
    pub file: Option<LogFile>,
    pub head: Head,
    /// Bytes of whole lines in `file`.
    pub bytes: u64,
    /// Bytes after them.
    pub torn: Vec<u8>,
}

impl Tail {
    /// Reads the newest file, and the one before it where the newest holds no record yet.
    pub fn find(dir: &Path) -> Result<Tail, AuditError> {
        let mut listing = files::list(dir)?;
        let genesis = Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        };
        let anchor = files::read_head(dir);
        let Some(last) = listing.files.pop() else {
            let tail = Tail {
                file: None,
                head: genesis,
                bytes: 0,
                torn: Vec::new(),
            };
            return tail.anchored(dir, anchor.as_ref(), &[]);
        };
        // The newest file may hold no whole record yet: then the chain ends in the file before it.
        let mut seen = Vec::new();
        let mut tail = Tail::of(last, None, &mut seen)?;
        if tail.head.seq == 0 {
            let before = match listing.files.pop() {
                Some(file) => Tail::of(file, None, &mut seen)?,
                None => Tail {
                    file: None,
                    head: genesis,
                    bytes: 0,
                    torn: Vec::new(),
                },
            };
            let path = tail
                .file
                .as_ref()
                .map_or_else(|| dir.to_owned(), |file| file.path.clone());
            let first = tail.file.as_ref().map_or(0, |file| file.first);
            if !before.torn.is_empty() || before.head.seq.saturating_add(1) != first {
                let what = format!(
                    "the file begins with record {first}, but the chain before it ends at record {}{}",
                    before.head.seq,
                    if before.torn.is_empty() {
                        ""
                    } else {
                        " and a torn line"
                    }
                );
                return Err(AuditError::Damaged {
                    path,
                    line: 0,
                    what,
                });
            }
            tail.head = before.head;
        }
        tail.anchored(dir, anchor.as_ref(), &seen)
    }

    /// Reads one file and checks its chain.
    fn of(file: LogFile, prev: Option<Head>, seen: &mut Vec<Head>) -> Result<Tail, AuditError> {
        let wrong = |source| AuditError::File {
            path: file.path.clone(),
            action: "read",
            source,
        };
        let mut reader = BufReader::new(File::open(&file.path).map_err(wrong)?);
        let mut head = prev;
        let (mut bytes, mut torn, mut number) = (0_u64, Vec::new(), 0_u64);
        while let Some(line) = files::next_line(&mut reader, MAX_LINE_BYTES).map_err(wrong)? {
            number += 1;
            let damaged = |what: String| AuditError::Damaged {
                path: file.path.clone(),
                line: number,
                what,
            };
            let line = match line {
                RawLine::Whole(line) => line,
                RawLine::Torn(rest) => {
                    torn = rest;
                    break;
                }
                RawLine::TooLong => return Err(damaged("longer than any record".into())),
            };
            let record = Record::from_line(&line).map_err(damaged)?;
            let fits = match &head {
                Some(head) => record.seq == head.seq.saturating_add(1) && record.prev == head.hash,
                None => record.seq == file.first,
            };
            if !fits {
                return Err(damaged(format!(
                    "record {} does not follow the one before it",
                    record.seq
                )));
            }
            bytes = bytes.saturating_add(
                u64::try_from(line.len())
                    .unwrap_or(u64::MAX)
                    .saturating_add(1),
            );
            let next = Head {
                seq: record.seq,
                hash: record.hash,
            };
            seen.push(next.clone());
            head = Some(next);
        }
        let head = head.unwrap_or_else(|| Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        });
        Ok(Tail {
            file: Some(file),
            head,
            bytes,
            torn,
        })
    }

    /// Checks the end against the head file, which a log can never be behind.
    fn anchored(
        self,
        dir: &Path,
        anchor: Option<&Head>,
        seen: &[Head],
    ) -> Result<Tail, AuditError> {
        let Some(anchor) = anchor else {
            return Ok(self);
        };
        let damaged = |what: String| AuditError::Damaged {
            path: dir.join(HEAD),
            line: 0,
            what,
        };
        if anchor.seq > self.head.seq {
            return Err(damaged(format!(
                "record {} was written, but the log ends at record {}: its end is gone",
                anchor.seq, self.head.seq
            )));
        }
        match seen.iter().find(|head| head.seq == anchor.seq) {
            Some(head) if head.hash != anchor.hash => Err(damaged(format!(
                "record {} in the log is not the one that was written",
                anchor.seq
            ))),
            _ => Ok(self),
        }
    }
}
