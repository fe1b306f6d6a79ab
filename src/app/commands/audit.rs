//! `nodemend audit list | show | verify | export`.

use super::Streams;
use crate::app::Exit;
use crate::app::cli::AuditCommand;
use crate::report::audit::{
    AuditError, Filter, Head, Line, LineFault, Reader, Record, RecordKind, describe, line, verify,
};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// The most records that `--last` holds in memory; the rest of the log streams.
const MAX_LAST: usize = 10_000;

/// Runs the command over the log in `dir`.
///
/// # Errors
/// What the streams say.
pub fn run(dir: &Path, command: &AuditCommand, streams: &mut Streams<'_>) -> io::Result<Exit> {
    match command {
        AuditCommand::List {
            kind,
            case,
            since,
            last,
        } => match filter(kind.as_deref(), case.as_deref(), since.as_deref()) {
            Ok(filter) => list(dir, &filter, *last, streams),
            Err(message) => refuse(&message, streams),
        },
        AuditCommand::Export { kind, case, since } => {
            match filter(kind.as_deref(), case.as_deref(), since.as_deref()) {
                Ok(filter) => export(dir, &filter, streams),
                Err(message) => refuse(&message, streams),
            }
        }
        AuditCommand::Show { seq } => show(dir, *seq, streams),
        AuditCommand::Verify { head } => prove(dir, head, streams),
    }
}

fn refuse(message: &str, streams: &mut Streams<'_>) -> io::Result<Exit> {
    writeln!(streams.diagnostics, "nodemend: {message}")?;
    Ok(Exit::BadInput)
}

/// The filter that these flags name, or what is wrong with them and what would be right.
fn filter(kind: Option<&str>, case: Option<&str>, since: Option<&str>) -> Result<Filter, String> {
    if let Some(case) = case {
        case.parse::<crate::policy::CaseId>()
            .map_err(|error| error.to_string())?;
    }
    if let Some(since) = since.filter(|since| !is_time_prefix(since)) {
        let short: String = since.chars().take(40).collect();
        return Err(format!(
            "`{short}` is not a time; write it like 2026-11-22 or 2026-11-22T01:00 (UTC)"
        ));
    }
    Ok(Filter {
        kind: kind.map(kind_of).transpose()?,
        case: case.map(str::to_owned),
        since: since.map(str::to_owned),
    })
}

fn kind_of(word: &str) -> Result<RecordKind, String> {
    RecordKind::WORDS
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            let known: Vec<&str> = RecordKind::WORDS.iter().map(|(known, _)| *known).collect();
            format!(
                "`{word}` is not a kind of record; known: {}",
                known.join(", ")
            )
        })
}

/// Whether `text` is the beginning of `2026-11-22T01:00:04.113Z`, from the day on.
fn is_time_prefix(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    text.len() >= 10
        && text.len() <= FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

fn open(dir: &Path, streams: &mut Streams<'_>) -> io::Result<Result<Reader, Exit>> {
    match Reader::open(dir) {
        Ok(reader) => Ok(Ok(reader)),
        Err(error) => {
            streams.complain(&error)?;
            Ok(Err(exit_of(&error)))
        }
    }
}

fn exit_of(error: &AuditError) -> Exit {
    match error {
        AuditError::Damaged { .. } => Exit::Found,
        _ => Exit::CannotTell,
    }
}

/// Says on the diagnostics what is wrong with a line.
fn complain_line(
    file: &str,
    line: u64,
    fault: &LineFault,
    streams: &mut Streams<'_>,
) -> io::Result<()> {
    let what = match fault {
        LineFault::Bad(what) | LineFault::Unreadable(what) => what.clone(),
        LineFault::Torn(bytes) => format!("{bytes} bytes without end of line"),
    };
    writeln!(
        streams.diagnostics,
        "nodemend: {file}:{line}: {what}; look with `nodemend audit verify`"
    )
}

/// `audit list`: the wanted records (the newest `last` of them), one line each; JSON lines with `--output json`.
fn list(
    dir: &Path,
    filter: &Filter,
    last: Option<usize>,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let write = |record: &Record, streams: &mut Streams<'_>| match streams.is_json {
        true => streams.json(record),
        false => writeln!(streams.out, "{}", line(record)),
    };
    let Some(last) = last.map(|last| last.min(MAX_LAST)) else {
        return each(dir, filter, streams, |record, streams| {
            write(&record, streams)
        });
    };
    let mut newest = VecDeque::new();
    let exit = each(dir, filter, streams, |record, _| {
        newest.push_back(record);
        if newest.len() > last {
            newest.pop_front();
        }
        Ok(())
    })?;
    for record in &newest {
        write(record, streams)?;
    }
    Ok(exit)
}

/// `audit export`: the wanted records as JSON lines, exactly as they lie in the log.
fn export(dir: &Path, filter: &Filter, streams: &mut Streams<'_>) -> io::Result<Exit> {
    each(dir, filter, streams, |record, streams| {
        streams.json(&record)
    })
}

fn each(
    dir: &Path,
    filter: &Filter,
    streams: &mut Streams<'_>,
    mut write: impl FnMut(Record, &mut Streams<'_>) -> io::Result<()>,
) -> io::Result<Exit> {
    let reader = match open(dir, streams)? {
        Ok(reader) => reader,
        Err(exit) => return Ok(exit),
    };
    let mut exit = Exit::Fine;
    for Line { file, line, record } in reader {
        match record {
            Ok(record) if filter.wants(&record) => write(record, streams)?,
            Ok(_) => {}
            Err(fault) => {
                complain_line(&file, line, &fault, streams)?;
                exit = Exit::Found;
            }
        }
    }
    Ok(exit)
}

/// `audit show SEQ`: one record, whole.
fn show(dir: &Path, seq: u64, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let reader = match open(dir, streams)? {
        Ok(reader) => reader,
        Err(exit) => return Ok(exit),
    };
    let mut newest = 0;
    for record in reader.filter_map(|line| line.record.ok()) {
        newest = newest.max(record.seq);
        if record.seq == seq {
            if streams.is_json {
                streams.json(&record)?;
            } else {
                write!(streams.out, "{}", describe(&record))?;
            }
            return Ok(Exit::Fine);
        }
    }
    writeln!(
        streams.diagnostics,
        "nodemend: no readable record {seq} in {}; the newest is {newest}",
        dir.display()
    )?;
    Ok(Exit::BadInput)
}

/// `audit verify [--head SEQ:HASH]...`: proves the log. `anchors` are the heads as they were given.
fn prove(dir: &Path, anchors: &[String], streams: &mut Streams<'_>) -> io::Result<Exit> {
    let mut heads = Vec::with_capacity(anchors.len());
    for text in anchors {
        match Head::parse(text) {
            Some(head) => heads.push(head),
            None => {
                let short: String = text.chars().take(80).collect();
                writeln!(
                    streams.diagnostics,
                    "nodemend: `{short}` is not a head; write it as SEQ:HASH with 64 hexadecimal digits, as `audit verify` prints it"
                )?;
                return Ok(Exit::BadInput);
            }
        }
    }
    let proof = match verify(dir, &heads) {
        Ok(proof) => proof,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(exit_of(&error));
        }
    };
    if streams.is_json {
        streams.json(&proof)?;
    } else {
        let (records, files) = (proof.records, proof.files);
        match proof.holds() {
            true => writeln!(
                streams.out,
                "the log is as it was written: {records} records in {files} files"
            )?,
            false => writeln!(
                streams.out,
                "the log is NOT as it was written: {} faults in {records} records",
                proof.faults.len() as u64 + proof.more_faults
            )?,
        }
        writeln!(streams.out, "head {}", proof.head)?;
        for fault in &proof.faults {
            writeln!(streams.out, "  ✗ {fault}")?;
        }
        if proof.more_faults > 0 {
            writeln!(streams.out, "  and {} more", proof.more_faults)?;
        }
        for note in &proof.notes {
            writeln!(streams.out, "  note: {note}")?;
        }
    }
    Ok(if proof.holds() {
        Exit::Fine
    } else {
        Exit::Found
    })
}
