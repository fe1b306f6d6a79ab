//! The journal's lines as text. Pure.
//!
//! `nj1 HASH JSON`, one record a line. `HASH` is the SHA-256 over the previous line's hash and the bytes of `JSON` as they
//! stand, so that checking needs no canonical form. `nj1` is the version of the form.

use super::entry::Entry;
use crate::document::sha256_hex;
use serde::{Deserialize, Serialize};

/// The version of the form, with the space behind it.
const MARK: &[u8] = b"nj1 ";
/// The mark without its number.
const MARK_STEM: &[u8] = b"nj";
/// SHA-256 in hexadecimal.
const HASH_BYTES: usize = 64;
/// The longest line: a receipt, a fault and the rest. More is damage.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// What the first line's hash is chained to.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place in the run's journal, from 0 without gaps.
    pub seq: u64,
    /// The wall clock as read, in microseconds since 1970. For people and for counting attempts over reboots.
    pub wall_us: i64,
    /// Time since boot, in microseconds.
    pub uptime_us: u64,
    /// The boot in which it was written.
    pub boot_id: String,
    /// The run.
    pub run: u64,
    /// The slot's uid at that moment; empty where none was held.
    pub slot: String,
    /// What it says.
    pub entry: Entry,
}

/// What is wrong with a journal, at which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A line that is complete but is not what was written.
    #[error("line {line} is damaged: {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A line of a form that this build does not know.
    #[error(
        "line {line} is of a form that this build does not know ({mark}); use the newer nodemend"
    )]
    Newer {
        /// The line, from 1.
        line: usize,
        /// Its mark.
        mark: String,
    },
}

/// A journal's text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The records, in order.
    pub records: Vec<Record>,
    /// How many bytes at the beginning hold them. What follows is a torn tail.
    pub sound_bytes: usize,
    /// The last record's line lacks its end of line, and nothing else.
    pub lacks_newline: bool,
    /// The last record's hash.
    pub hash: String,
}

/// The line for `record` after a line with the hash `prev`, and its hash.
///
/// # Errors
/// A record without JSON form, or one longer than [`MAX_LINE_BYTES`].
pub fn line_of(record: &Record, prev: &str) -> Result<(Vec<u8>, String), String> {
    let json = serde_json::to_string(record).map_err(|error| error.to_string())?;
    let hash = chained(prev, json.as_bytes());
    let mut line = Vec::with_capacity(MARK.len() + HASH_BYTES + json.len() + 2);
    line.extend_from_slice(MARK);
    line.extend_from_slice(hash.as_bytes());
    line.push(b' ');
    line.extend_from_slice(json.as_bytes());
    line.push(b'\n');
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(
            "a record of {} bytes is too long for the journal",
            line.len()
        ));
    }
    Ok((line, hash))
}

fn chained(prev: &str, json: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(prev.len() + json.len());
    bytes.extend_from_slice(prev.as_bytes());
    bytes.extend_from_slice(json);
    sha256_hex(&bytes)
}

/// Takes a journal's text apart. A torn tail is left out, never guessed at: its record was not durable, so nothing was
/// done because of it.
///
/// # Errors
/// The first line that is complete and wrong. A journal with such a line proves nothing, not even what came before it.
pub fn parse(text: &[u8]) -> Result<Parsed, Damage> {
    let mut parsed = Parsed {
        records: Vec::new(),
        sound_bytes: 0,
        lacks_newline: false,
        hash: GENESIS.to_owned(),
    };
    for (index, piece) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let (line, is_complete) = match piece.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (without_zeros(piece), false),
        };
        if !is_complete && is_torn(line) {
            break;
        }
        let (record, hash) = read_line(line, &parsed, number)?;
        parsed.records.push(record);
        parsed.hash = hash;
        parsed.sound_bytes += line.len() + usize::from(is_complete);
        parsed.lacks_newline = !is_complete;
    }
    Ok(parsed)
}

/// What was written of a last line: a file system may leave zeros in place of what did not get to the disk.
fn without_zeros(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != 0);
    line.get(..end.map_or(0, |at| at + 1)).unwrap_or_default()
}

/// Whether a last line without its end is the beginning of a line and no more.
fn is_torn(written: &[u8]) -> bool {
    if written.len() <= MARK.len() {
        return MARK.starts_with(written);
    }
    let Some(rest) = written.strip_prefix(MARK) else {
        return false;
    };
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if rest.len() <= HASH_BYTES {
        return rest.iter().all(hex);
    }
    let (hash, rest) = rest.split_at(HASH_BYTES);
    if !hash.iter().all(hex) || rest.first() != Some(&b' ') {
        return false;
    }
    let json = rest.get(1..).unwrap_or_default();
    // A record that is whole but for its newline, or that has something else in the newline's place, is not torn.
    json.is_empty() || (json.first() == Some(&b'{') && !is_closed(json))
}

/// Whether the object that `json` begins with comes to its end. Only braces and strings are looked at: what is cut off in
/// the middle of a number or a word is no JSON, and still no damage.
fn is_closed(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => depth += 1,
            b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

fn read_line(line: &[u8], before: &Parsed, number: usize) -> Result<(Record, String), Damage> {
    let damaged = |why: &str| Damage::Line {
        line: number,
        why: why.to_owned(),
    };
    if line.len() >= MAX_LINE_BYTES {
        return Err(damaged("it is too long"));
    }
    let Some(rest) = line.strip_prefix(MARK) else {
        return Err(unknown_mark(line, number).unwrap_or_else(|| damaged("its mark is missing")));
    };
    let (hash, json) = rest
        .split_at_checked(HASH_BYTES)
        .ok_or_else(|| damaged("it is too short"))?;
    let json = json
        .strip_prefix(b" ")
        .ok_or_else(|| damaged("there is no space behind its hash"))?;
    if chained(&before.hash, json).as_bytes() != hash {
        return Err(damaged(
            "its hash does not fit what it says and what came before it",
        ));
    }
    let record: Record = serde_json::from_slice(json)
        .map_err(|error| damaged(&format!("it cannot be understood: {error}")))?;
    if record.seq != before.records.len() as u64 {
        return Err(damaged(&format!(
            "its number is {}, not {}",
            record.seq,
            before.records.len()
        )));
    }
    let first = before.records.first().unwrap_or(&record);
    if first.run != record.run {
        return Err(damaged("it belongs to another run"));
    }
    Ok((record, String::from_utf8_lossy(hash).into_owned()))
}

/// `nj` and another number.
fn unknown_mark(line: &[u8], number: usize) -> Option<Damage> {
    let rest = line.strip_prefix(MARK_STEM)?;
    let digits: Vec<u8> = rest
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    let is_number = !digits.is_empty() && rest.get(digits.len()) == Some(&b' ');
    is_number.then(|| Damage::Newer {
        line: number,
        mark: format!("nj{}", String::from_utf8_lossy(&digits)),
    })
}
