//! `nodemend playbook list | show | lint | plan | keygen | sign | verify`.

use super::Streams;
use super::files::{read_limited, signature_path, write_new};
use crate::app::cli::PlaybookCommand;
use crate::app::{Exit, world};
use crate::document::Problems;
use crate::playbook::{
    Catalogue, Checks, Listed, MAX_SIGNATURE_BYTES, OnFailure, PinnedKey, Playbook, PrivateKey,
    sign as sign_text, verify as verify_text,
};
use crate::signal::{Subject, Wall};
use serde::Serialize;
use std::io::{self, Read};
use std::path::Path;

/// What the commands look at.
pub struct Shelf<'a> {
    /// Every playbook that could be read.
    pub catalogue: &'a Catalogue,
    /// What was wrong with the others.
    pub problems: &'a [Problems],
    /// What documents are checked against.
    pub checks: &'a Checks<'a>,
    /// The keys that are trusted.
    pub keys: &'a [PinnedKey],
    /// Now.
    pub now: Wall,
}

/// Runs the command, but for `run`, which belongs to the agent's side.
///
/// # Errors
/// What the streams say.
pub fn run(
    shelf: &Shelf<'_>,
    command: &PlaybookCommand,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    match command {
        PlaybookCommand::List => list(shelf, streams),
        PlaybookCommand::Show { playbook } => show(shelf, playbook, streams),
        PlaybookCommand::Lint { path } => lint(shelf, path.as_deref(), streams),
        PlaybookCommand::Plan { playbook, subject } => {
            plan(shelf, playbook, &Subject::named(subject), streams)
        }
        PlaybookCommand::Keygen { name, private } => match random_seed() {
            Ok(seed) => keygen(name, private, &seed, streams),
            Err(error) => {
                writeln!(
                    streams.diagnostics,
                    "nodemend: /dev/urandom: {error}; a key needs the system's randomness"
                )?;
                Ok(Exit::CannotTell)
            }
        },
        PlaybookCommand::Sign { file, key, expires } => {
            sign(file, key, expires.as_deref(), shelf.checks, streams)
        }
        PlaybookCommand::Verify { file } => verify(file, shelf, streams),
        // It needs the engine and the lease, which this shelf does not hold: `app::agent::run_by_hand`.
        PlaybookCommand::Run { .. } => Ok(Exit::BadInput),
    }
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// A playbook in a list.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    version: String,
    title: &'a str,
    disruption: String,
    digest: &'a str,
    trusted: bool,
    trust: String,
    origin: &'a str,
}

impl<'a> Row<'a> {
    fn of(listed: &'a Listed, now: Wall) -> Self {
        let trust = listed.trust(now);
        Self {
            id: &listed.playbook.id,
            version: listed.playbook.version.to_string(),
            title: &listed.playbook.title,
            disruption: listed.playbook.disruption.to_string(),
            digest: &listed.playbook.digest,
            trusted: trust.is_trusted(),
            trust: trust.to_string(),
            origin: &listed.origin,
        }
    }
}

/// Says what could not be loaded; the exit code tells whether that was anything.
fn complain(problems: &[Problems], streams: &mut Streams<'_>) -> io::Result<Exit> {
    for problem in problems {
        writeln!(streams.diagnostics, "{problem}")?;
    }
    Ok(if problems.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}

/// `playbook list`: every playbook with class and trust.
fn list(shelf: &Shelf<'_>, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let rows: Vec<Row<'_>> = shelf
        .catalogue
        .iter()
        .map(|listed| Row::of(listed, shelf.now))
        .collect();
    if streams.is_json {
        streams.json(&rows)?;
    } else {
        for row in &rows {
            let mark = if row.trusted { "✓" } else { "✗" };
            writeln!(
                streams.out,
                "{mark} {:<20} {:<8} {:<8} {}\n  {:<20} {}",
                row.id, row.version, row.disruption, row.title, "", row.trust
            )?;
        }
    }
    complain(shelf.problems, streams)
}

/// `playbook show ID[@VERSION]`: one playbook as it is written, under what is known of it.
fn show(shelf: &Shelf<'_>, name: &str, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let listed = match shelf.catalogue.find(name) {
        Ok(listed) => listed,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(Exit::BadInput);
        }
    };
    let row = Row::of(listed, shelf.now);
    if streams.is_json {
        streams.json(&serde_json::json!({ "playbook": row, "document": &*listed.text }))?;
        return Ok(Exit::Fine);
    }
    writeln!(
        streams.out,
        "# {} {} from {}",
        row.id, row.version, row.origin
    )?;
    writeln!(streams.out, "# sha256 {}", row.digest)?;
    writeln!(streams.out, "# {}", row.trust)?;
    if let OnFailure::Escalate(target) = &listed.playbook.on_failure
        && shelf.catalogue.find(target).is_err()
    {
        writeln!(
            streams.out,
            "# escalates to {target}, which is not there: the case will need a human"
        )?;
    }
    write!(streams.out, "{}", listed.text)?;
    Ok(Exit::Fine)
}

/// `playbook lint [PATH]`: all problems of this file or of those in this folder, or of everything loaded.
fn lint(shelf: &Shelf<'_>, path: Option<&Path>, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let Some(path) = path else {
        let exit = complain(shelf.problems, streams)?;
        let fine = shelf.catalogue.iter().count();
        writeln!(
            streams.out,
            "{fine} playbooks fine, {} with problems",
            shelf.problems.len()
        )?;
        return Ok(if exit == Exit::Fine {
            Exit::Fine
        } else {
            Exit::BadInput
        });
    };
    let sources = match world::yaml_sources(path) {
        Ok(sources) => sources,
        Err(problems) => {
            writeln!(streams.diagnostics, "{problems}")?;
            return Ok(Exit::BadInput);
        }
    };
    let mut exit = Exit::Fine;
    for source in &sources {
        match Playbook::parse(&source.origin, &source.text, shelf.checks) {
            Ok(playbook) => writeln!(
                streams.out,
                "{}: {} {} is fine, sha256 {}",
                source.origin, playbook.id, playbook.version, playbook.digest
            )?,
            Err(problems) => {
                writeln!(streams.diagnostics, "{problems}")?;
                exit = Exit::BadInput;
            }
        }
    }
    Ok(exit)
}

fn read_playbook(file: &Path, checks: &Checks<'_>) -> Result<(Playbook, String), Problems> {
    let origin = file.display().to_string();
    let text = read_limited(file, crate::document::MAX_DOCUMENT_BYTES).map_err(|error| {
        let mut problems = Problems::of(&origin);
        problems.add(
            Default::default(),
            format!("cannot be read: {error}; check the path and its rights"),
        );
        problems
    })?;
    let playbook = Playbook::parse(&origin, &text, checks)?;
    Ok((playbook, text))
}

/// `playbook plan ID[@VERSION] --subject S`: each step with effect, verification, undo and time. A value that comes from a
/// signal stands there by the signal's name: it is read when the plan is made for a case.
fn plan(
    shelf: &Shelf<'_>,
    name: &str,
    subject: &Subject,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let listed = match shelf.catalogue.find(name) {
        Ok(listed) => listed,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(Exit::BadInput);
        }
    };
    let plan = match listed
        .playbook
        .plan(subject, shelf.checks.kinds, &|key| Some(format!("<{key}>")))
    {
        Ok(plan) => plan,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(Exit::BadInput);
        }
    };
    let trust = listed.trust(shelf.now);
    if streams.is_json {
        streams.json(&plan.to_json(&trust))?;
    } else {
        write!(streams.out, "{}", plan.to_text())?;
        writeln!(streams.out, "  trust        {trust}")?;
    }
    Ok(Exit::Fine)
}

/// `playbook keygen NAME FILE`: a new key pair from 32 bytes of the system's randomness. The secret goes into `file` (mode
/// 0600, never over an existing file), the public key to the output.
fn keygen(name: &str, file: &Path, seed: &[u8; 32], streams: &mut Streams<'_>) -> io::Result<Exit> {
    let key = match PrivateKey::from_seed(name, seed) {
        Ok(key) => key,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(Exit::BadInput);
        }
    };
    if let Err(error) = write_new(file, &key.to_text(), 0o600) {
        writeln!(
            streams.diagnostics,
            "nodemend: {}: cannot be made: {error}; name a file that is not there yet",
            file.display()
        )?;
        return Ok(Exit::BadInput);
    }
    writeln!(streams.out, "{}", key.public())?;
    writeln!(
        streams.diagnostics,
        "The secret key is in {}. Keep it off the nodes; pin the line above under trust.keys.",
        file.display()
    )?;
    Ok(Exit::Fine)
}

/// `playbook sign FILE --key KEYFILE [--expires DAY]`: checks the document and writes `FILE.sig` beside it.
fn sign(
    file: &Path,
    key_file: &Path,
    expires: Option<&str>,
    checks: &Checks<'_>,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let (playbook, text) = match read_playbook(file, checks) {
        Ok(read) => read,
        Err(problems) => {
            writeln!(streams.diagnostics, "{problems}")?;
            return Ok(Exit::BadInput);
        }
    };
    let key_text = match read_limited(key_file, MAX_SIGNATURE_BYTES) {
        Ok(text) => text,
        Err(error) => {
            writeln!(
                streams.diagnostics,
                "nodemend: {}: cannot be read: {error}; make a key with `nodemend playbook keygen`",
                key_file.display()
            )?;
            return Ok(Exit::BadInput);
        }
    };
    let key = match PrivateKey::parse(&key_text) {
        Ok(key) => key,
        Err(error) => {
            writeln!(
                streams.diagnostics,
                "nodemend: {}: {error}",
                key_file.display()
            )?;
            return Ok(Exit::BadInput);
        }
    };
    let signature = match sign_text(&playbook, &text, expires, &key) {
        Ok(signature) => signature,
        Err(error) => {
            streams.complain(&error)?;
            return Ok(Exit::BadInput);
        }
    };
    let target = signature_path(file);
    if let Err(error) = write_new(&target, &signature, 0o644) {
        writeln!(
            streams.diagnostics,
            "nodemend: {}: cannot be made: {error}; a released version keeps its signature, so give the playbook a new version, or remove that file",
            target.display()
        )?;
        return Ok(Exit::BadInput);
    }
    writeln!(
        streams.out,
        "{} {} signed by {} in {}",
        playbook.id,
        playbook.version,
        key.name(),
        target.display()
    )?;
    Ok(Exit::Fine)
}

/// `playbook verify FILE`: whether a trusted key vouches for the document with `FILE.sig`.
fn verify(file: &Path, shelf: &Shelf<'_>, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let (playbook, text) = match read_playbook(file, shelf.checks) {
        Ok(read) => read,
        Err(problems) => {
            writeln!(streams.diagnostics, "{problems}")?;
            return Ok(Exit::BadInput);
        }
    };
    let path = signature_path(file);
    let signature = match read_limited(&path, MAX_SIGNATURE_BYTES) {
        Ok(signature) => signature,
        Err(error) => {
            writeln!(
                streams.diagnostics,
                "nodemend: {}: cannot be read: {error}; sign with `nodemend playbook sign`",
                path.display()
            )?;
            return Ok(Exit::BadInput);
        }
    };
    match verify_text(&playbook, &text, &signature, shelf.keys) {
        Ok(vouched) if vouched.expires.is_some_and(|end| shelf.now >= end) => {
            writeln!(
                streams.out,
                "{} {}: the signature of {} has expired",
                playbook.id, playbook.version, vouched.key
            )?;
            Ok(Exit::Found)
        }
        Ok(vouched) => {
            writeln!(
                streams.out,
                "{} {}: signed by {}, sha256 {}",
                playbook.id, playbook.version, vouched.key, playbook.digest
            )?;
            Ok(Exit::Fine)
        }
        Err(error) => {
            writeln!(streams.diagnostics, "{}: {error}", path.display())?;
            Ok(Exit::Found)
        }
    }
}
