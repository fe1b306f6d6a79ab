//! Small text files of the machine, with the errors that probes speak of.

use super::error::ProbeError;
use crate::host::Host;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read as a whole: a node's mount table of 4,000 lines has 600 KB.
const MAX_TEXT_FILE_BYTES: u64 = 4 << 20;

/// The text of a file; bytes that are no UTF-8 become U+FFFD.
///
/// # Errors
/// Missing, without rights, unreadable or larger than four megabytes. May block: call it off the async threads.
pub(super) fn read_text(path: &Path) -> Result<String, ProbeError> {
    Ok(String::from_utf8(read_bytes(path)?)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The bytes of a file.
///
/// # Errors
/// As [`read_text`].
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, ProbeError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_TEXT_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| read_error(path, source))?;
    if bytes.len() as u64 > MAX_TEXT_FILE_BYTES {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "more than 4 MiB");
        return Err(read_error(path, source));
    }
    Ok(bytes)
}

/// What `parse` makes of a file of the machine.
///
/// # Errors
/// As [`read_text`], and a text that `parse` does not take.
pub(super) fn read_value<T>(
    host: &Host,
    file: impl AsRef<Path>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ProbeError> {
    let path = host.path(file);
    let text = read_text(&path)?;
    parse(&text).ok_or_else(|| read_error(&path, io::ErrorKind::InvalidData.into()))
}

/// What an input error at `path` means for a probe.
pub(super) fn read_error(path: &Path, source: io::Error) -> ProbeError {
    let what = path.display().to_string();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ProbeError::Unsupported { what },
        io::ErrorKind::PermissionDenied => ProbeError::NoRights { what, source },
        _ => ProbeError::Read {
            what,
            source: Box::new(source),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_unsupported_and_a_directory_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = read_text(&dir.path().join("none")).expect_err("missing");
        assert_eq!(missing.kind(), "unsupported");
        assert_eq!(
            read_text(dir.path()).expect_err("a directory").kind(),
            "failed"
        );
    }

    #[test]
    fn a_file_over_the_bound_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("large");
        std::fs::write(&path, vec![b'x'; (MAX_TEXT_FILE_BYTES + 1) as usize]).expect("written");
        assert_eq!(read_text(&path).expect_err("too large").kind(), "failed");
    }
}
