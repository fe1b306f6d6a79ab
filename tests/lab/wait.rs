//! Waiting for a real machine: the one place of the lab that sleeps. And reading what it is still writing.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Short against everything that is waited for (a boot takes 600 ms), long against the cost of one look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value; after `limit` fails, naming `what` and the last reason it was not there.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(reason) if began.elapsed() >= limit => {
                return Err(reason).with_context(|| format!("{what}: not within {limit:?}"));
            }
            Err(_) => thread::sleep(BETWEEN_LOOKS),
        }
    }
}

/// Looks for the whole of `span` and fails as soon as `look` does: for what must *not* happen.
pub fn throughout(what: &str, span: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < span {
        look()
            .with_context(|| format!("{what}: broken after {:?} of {span:?}", began.elapsed()))?;
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// `Ok` if `claim` holds, else an error with this text: a look for [`eventually`].
pub fn so(claim: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if claim {
        return Ok(());
    }
    bail!(otherwise())
}

/// The lines of a file so far that have their end: while somebody writes, a read may end in the middle of a character.
pub fn lines_so_far(file: &Path) -> Result<String> {
    let mut bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |end| end + 1));
    String::from_utf8(bytes).with_context(|| format!("{} is text", file.display()))
}

/// The records of an agent's audit log so far. Beside them lies a draft now and then, which is renamed away.
pub fn audit_so_far(folder: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|is| is == "jsonl"));
    files.sort();
    files.iter().map(|file| lines_so_far(file)).collect()
}
