//! How far the journal was read, kept over restarts.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The last entry that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The journal reader's own name of the entry.
    pub cursor: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Its wall clock, in microseconds since 1970.
    pub realtime_micros: u64,
    /// Its boot, in hexadecimal.
    pub boot_id: String,
    /// Its time since that boot, in microseconds, on the clock that stops in suspend.
    pub monotonic_micros: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "1 {} {} {} {} {}",
            self.cursor, self.sequence, self.realtime_micros, self.boot_id, self.monotonic_micros
        )
    }
}

impl Position {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else, also of a later version.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.trim_end_matches('\n').split(' ').collect();
        let ["1", cursor, sequence, realtime, boot_id, monotonic] = words[..] else {
            return None;
        };
        let hex = |text: &str, digits: usize| {
            text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let digits = cursor.strip_prefix("SJ1:")?;
        if !hex(digits, 2) || digits.len() > 512 || !hex(boot_id, 32) || boot_id.len() != 32 {
            return None;
        }
        Some(Self {
            cursor: cursor.to_owned(),
            sequence: sequence.parse().ok()?,
            realtime_micros: realtime.parse().ok()?,
            boot_id: boot_id.to_owned(),
            monotonic_micros: monotonic.parse().ok()?,
        })
    }
}

/// Where the position is kept.
pub trait PositionStore: Send {
    /// What was saved last, if anything.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn load(&self) -> io::Result<Option<String>>;

    /// Keeps `text` in place of what was saved before.
    ///
    /// # Errors
    /// It could not be written; what was saved before is still there.
    fn save(&mut self, text: &str) -> io::Result<()>;
}

/// Keeps it until the process ends.
#[derive(Debug, Default)]
pub struct MemoryStore(Option<String>);

impl PositionStore for MemoryStore {
    fn load(&self) -> io::Result<Option<String>> {
        Ok(self.0.clone())
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.0 = Some(text.to_owned());
        Ok(())
    }
}

/// Keeps it in a file of the state directory.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// Keeps it in the file `path`; its directory must exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl PositionStore for FileStore {
    fn load(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        // Not synced: after a power cut some lines of the boot before are read twice, as history.
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "1 SJ1:04ab 7 1700000000000000 0123456789abcdef0123456789abcdef 99";

    #[test]
    fn a_position_survives_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = FileStore::at(dir.path().join("journal.position"));
        assert_eq!(store.load().expect("none yet"), None);
        store.save(GOOD).expect("saved");
        store.save(&GOOD.replace(" 7 ", " 8 ")).expect("saved");
        let text = store.load().expect("there").expect("saved");
        let position = Position::parse(&text).expect("good");
        assert_eq!(position.sequence, 8);
        assert_eq!(position.to_string(), text);
        let mut nowhere = FileStore::at(dir.path().join("none/journal.position"));
        assert!(nowhere.save(GOOD).is_err());
    }

    #[test]
    fn a_broken_position_is_none() {
        assert!(Position::parse(GOOD).is_some());
        for text in [
            "",
            "\n",
            "1",
            "2 SJ1:04ab 7 1 0123456789abcdef0123456789abcdef 9",
            "1 04ab 7 1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1: 7 1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1:zz 7 1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1:04ab x 1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1:04ab 7 -1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1:04ab 7 1 0123 9",
            "1 SJ1:04ab 7 1 0123456789abcdef0123456789abcdef",
            "1 SJ1:04ab 7 1 0123456789abcdef0123456789abcdef ",
            "1 SJ1:04ab 7 1 0123456789abcdef0123456789abcdef 9 9",
            "1  SJ1:04ab 7 1 0123456789abcdef0123456789abcdef 9",
            "1 SJ1:04ab 99999999999999999999 1 0123456789abcdef0123456789abcdef 9",
            "{\"cursor\":1}",
            "s=ab;i=1",
            "\0",
            "é",
            "1\tSJ1:04ab\t7\t1\t0123456789abcdef0123456789abcdef\t9",
        ] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            Position::parse(&text);
        }
    }
}
