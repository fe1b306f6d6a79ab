//! Reading the log, one record at a time.

use super::error::AuditError;
use super::files::{self, LogFile, RawLine};
use super::record::{MAX_LINE_BYTES, Record, RecordKind};
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Which records are wanted. Everything that is named must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind.
    pub kind: Option<RecordKind>,
    /// Only this case (`case-41`).
    pub case: Option<String>,
    /// Only from this moment on: RFC 3339 in UTC, or the beginning of it such as `2026-11-22`.
    pub since: Option<String>,
}

impl Filter {
    /// Whether `record` is wanted.
    pub fn wants(&self, record: &Record) -> bool {
        self.kind.is_none_or(|kind| record.kind == kind)
            && self.case.as_ref().is_none_or(|case| record.case.as_ref() == Some(case))
            // Times of one form (RFC 3339, UTC, milliseconds) sort as texts do.
            && self.since.as_ref().is_none_or(|since| record.time.as_str() >= since.as_str())
    }
}

/// A line of the log and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The record, or what is wrong with the line.
    pub record: Result<Record, LineFault>,
}

/// What is wrong with a line by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFault {
    /// It is not a record as this program writes them.
    Bad(String),
    /// It has no end: a crash cut it short, or it is being written right now.
    Torn(usize),
    /// The system could not read on in this file.
    Unreadable(String),
}

/// All lines of a log in order, read as they are asked for; memory stays that of one line.
pub struct Reader {
    files: VecDeque<LogFile>,
    current: Option<(String, u64, BufReader<File>)>,
}

impl Reader {
    /// The log in `dir`.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn open(dir: &Path) -> Result<Reader, AuditError> {
        Ok(Self::over(files::list(dir)?.files))
    }

    pub(super) fn over(files: Vec<LogFile>) -> Reader {
        Reader {
            files: files.into(),
            current: None,
        }
    }

    fn fail(&mut self, file: String, line: u64, error: &std::io::Error) -> Line {
        self.current = None;
        Line {
            file,
            line,
            record: Err(LineFault::Unreadable(error.to_string())),
        }
    }
}

impl Iterator for Reader {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        loop {
            if self.current.is_none() {
                let file = self.files.pop_front()?;
                match File::open(&file.path) {
                    Ok(open) => self.current = Some((file.name(), 0, BufReader::new(open))),
                    Err(error) => return Some(self.fail(file.name(), 0, &error)),
                }
            }
            let (name, number, reader) = self.current.as_mut()?;
            let (name, number_now) = (name.clone(), number.saturating_add(1));
            match files::next_line(reader, MAX_LINE_BYTES) {
                Ok(None) => self.current = None,
                Ok(Some(raw)) => {
                    *number = number_now;
                    if matches!(raw, RawLine::TooLong) {
                        self.current = None;
                    }
                    return Some(Line {
                        file: name,
                        line: number_now,
                        record: judge(raw),
                    });
                }
                Err(error) => return Some(self.fail(name, number_now, &error)),
            }
        }
    }
}

fn judge(raw: RawLine) -> Result<Record, LineFault> {
    match raw {
        RawLine::Whole(line) => Record::from_line(&line).map_err(LineFault::Bad),
        RawLine::Torn(rest) => Err(LineFault::Torn(rest.len())),
        RawLine::TooLong => Err(LineFault::Bad(format!(
            "foreign line: longer than the {MAX_LINE_BYTES} bytes of a record; the rest of the file is not read"
        ))),
    }
}
