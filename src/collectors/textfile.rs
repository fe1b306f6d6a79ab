//! `textfile`: families that scripts leave in files named `*.prom`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::bytes::Regex;

use crate::collectors::TABLE;
use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::held::read_once;
use crate::collectors::text_format::{TextFamily, parse};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::{Labels, push_help};
use crate::exposition::number::push_f64;

const DIRECTORY: &str = "collector.textfile.directory";
const MTIME: Family = Family::gauge(
    "node_textfile_mtime_seconds",
    "Unixtime mtime of textfiles successfully read.",
)
.from("stat(2) of each file")
.unit("seconds");
const ERROR: Family = Family::gauge(
    "node_textfile_scrape_error",
    "1 if there was an error opening or reading a file, 0 otherwise",
)
.from("the result of reading the files")
.differs("also 1 if a file holds a family of the agent's own, or one whose type or help contradicts another file's; that family is left out");
const FROM_FILES: Family = Family::untyped("<family>", "Metric read from <file>.")
    .from("*.prom below --collector.textfile.directory")
    .differs("a carriage return before the end of a line and blanks after a value are let pass, and what a histogram or summary lacks is not filled in");

/// A file this young may still be written to within the same tick of its timestamp, so what was
/// read of it is not trusted on the next page.
const SETTLED: Duration = Duration::from_secs(2);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "textfile",
    enabled: true,
    // The directory may lie on anything.
    lane: Lane::Apart,
    flags: &[Flag::repeated(
        DIRECTORY,
        "Directory to read text files with metrics from, supports glob matching. (repeatable)",
    )],
    families: &[FROM_FILES, MTIME, ERROR],
    open,
};

struct TextFile {
    /// Families of the collectors that are switched on, which a file must not split in two.
    own: BTreeSet<&'static [u8]>,
    patterns: Vec<PathBuf>,
    directories: Vec<Directory>,
    epoch: u64,
    mtime: Head,
    error: Head,
    none: Labels,
    /// What the files say, merged; made anew when one of them changed.
    rendered: Vec<u8>,
    samples: usize,
    mtimes: Vec<(Labels, i64)>,
    failed: bool,
}

struct Directory {
    path: PathBuf,
    stamp: Option<Stamp>,
    is_readable: bool,
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// `None` if the file cannot be read or is not in the format.
    families: Option<BTreeMap<Vec<u8>, TextFamily>>,
}

/// What tells a changed file from the one that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mtime: (i64, i64),
    changed: (i64, i64),
}

fn open(settings: &Settings, _: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let given = settings.text(DIRECTORY).unwrap_or_default();
    let is_on = TABLE.iter().filter(|entry| settings.is_enabled(entry));
    let own = is_on.flat_map(|entry| entry.families);
    Ok(Box::new(TextFile {
        own: own.map(|family| family.name.as_bytes()).collect(),
        patterns: given
            .lines()
            .filter(|line| !line.is_empty())
            .map(PathBuf::from)
            .collect(),
        directories: Vec::new(),
        epoch: 0,
        mtime: Head::of(&MTIME),
        error: Head::of(&ERROR),
        none: Labels::none(),
        rendered: Vec::new(),
        samples: 0,
        mtimes: Vec::new(),
        failed: false,
    }))
}

impl Collector for TextFile {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut changed = false;
        if self.epoch != turn.epoch {
            self.epoch = turn.epoch;
            changed = self.find_directories();
        }
        for directory in &mut self.directories {
            changed |= directory.refresh(turn.wall);
        }
        if changed {
            self.merge();
        }
        turn.page.append_rendered(&self.rendered, self.samples);
        let mut family = turn.page.family(&self.mtime);
        for (labels, seconds) in &self.mtimes {
            family.signed(labels, *seconds);
        }
        drop(family);
        turn.page.family(&self.error).flag(&self.none, self.failed);
        Ok(())
    }
}

impl TextFile {
    /// Expands the patterns; true if that gave other directories than before.
    fn find_directories(&mut self) -> bool {
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in &self.patterns {
            let found = expand(pattern);
            // What matches nothing is taken as it is, and is an error then.
            paths.extend(if found.is_empty() {
                vec![pattern.clone()]
            } else {
                found
            });
        }
        if self.directories.iter().map(|one| &one.path).eq(&paths) {
            return false;
        }
        self.directories = paths.into_iter().map(Directory::new).collect();
        true
    }

    fn merge(&mut self) {
        self.rendered.clear();
        self.samples = 0;
        self.mtimes.clear();
        self.failed = self
            .directories
            .iter()
            .any(|directory| !directory.is_readable);
        let mut merged: BTreeMap<&[u8], (Vec<&TextFamily>, Vec<&Path>)> = BTreeMap::new();
        for file in self
            .directories
            .iter()
            .flat_map(|directory| &directory.files)
        {
            let (Some(families), Some(stamp)) = (&file.families, file.stamp) else {
                self.failed = true;
                continue;
            };
            let labels = Labels::new(&[("file", file.path.as_os_str().as_bytes())]);
            self.mtimes.push((labels, stamp.mtime.0));
            for (name, family) in families {
                let (parts, paths) = merged.entry(name).or_default();
                // The first help and type count; a file that disagrees is left out.
                let agrees = parts.first().is_none_or(|first| {
                    first.kind == family.kind
                        && (family.told_help().is_none()
                            || first.told_help().is_none()
                            || first.help == family.help)
                });
                if agrees && !self.is_own(name) {
                    parts.push(family);
                    paths.push(&file.path);
                } else {
                    self.failed = true;
                }
            }
        }
        for (name, (parts, paths)) in &merged {
            self.samples += render(name, parts, paths, &mut self.rendered);
        }
    }

    /// Whether the page has a family of this name anyway.
    fn is_own(&self, name: &[u8]) -> bool {
        const PAGE: [&[u8]; 2] = [b"node_scrape_collector_", b"nodemend_"];
        self.own.contains(name) || PAGE.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Writes one family of one or more files; returns how many samples it has. Of a series that is there twice the first
/// counts: Prometheus takes a page with both for a clock that stands.
fn render(name: &[u8], parts: &[&TextFamily], paths: &[&Path], out: &mut Vec<u8>) -> usize {
    let Some(first) = parts.first() else { return 0 };
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(name);
    out.push(b' ');
    match parts.iter().find_map(|part| part.told_help()) {
        Some(help) => push_help(out, help),
        None => {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            push_help(
                out,
                format!("Metric read from {}", paths.join(", ")).as_bytes(),
            );
        }
    }
    out.extend_from_slice(b"\n# TYPE ");
    out.extend_from_slice(name);
    out.push(b' ');
    out.extend_from_slice(&first.kind);
    out.push(b'\n');
    let mut seen = BTreeSet::new();
    for (name, labels, bits) in parts.iter().flat_map(|part| &part.samples) {
        if !seen.insert((name, labels)) {
            continue;
        }
        out.extend_from_slice(name);
        out.extend_from_slice(labels.bytes());
        push_f64(out, f64::from_bits(*bits));
        out.push(b'\n');
    }
    seen.len()
}

impl Directory {
    fn new(path: PathBuf) -> Directory {
        Directory {
            path,
            stamp: None,
            is_readable: true,
            files: Vec::new(),
        }
    }

    /// Looks at what changed; true if anything did.
    ///
    /// *Cost*: one `stat` for the directory and one for each file.
    fn refresh(&mut self, wall: Duration) -> bool {
        let stamp = std::fs::metadata(&self.path)
            .ok()
            .map(|meta| Stamp::of(&meta));
        let mut changed = false;
        if stamp.is_none() || stamp != self.stamp {
            changed = self.list();
            self.stamp = stamp.filter(|stamp| stamp.is_settled(wall));
        }
        for file in &mut self.files {
            changed |= file.refresh(wall);
        }
        changed
    }

    fn list(&mut self) -> bool {
        let found = names(&self.path);
        let was_readable = std::mem::replace(&mut self.is_readable, found.is_ok());
        let mut old = std::mem::take(&mut self.files);
        let count = old.len();
        let mut kept = 0;
        for name in found
            .unwrap_or_default()
            .iter()
            .filter(|name| name.ends_with(b".prom"))
        {
            let path = child(&self.path, name);
            let known = old.iter().position(|file| file.path == path);
            kept += usize::from(known.is_some());
            let file = known.map(|place| old.swap_remove(place));
            self.files.push(file.unwrap_or(File {
                path,
                stamp: None,
                families: None,
            }));
        }
        kept != count || self.files.len() != count || was_readable != self.is_readable
    }
}

impl File {
    fn refresh(&mut self, wall: Duration) -> bool {
        let stamp = std::fs::metadata(&self.path)
            .ok()
            .map(|meta| Stamp::of(&meta));
        if stamp.is_some() && stamp == self.stamp {
            return !stamp.is_some_and(|stamp| stamp.is_settled(wall)) && self.read();
        }
        self.stamp = stamp;
        self.read();
        true
    }

    /// Reads the file; true if it says something else than before.
    fn read(&mut self) -> bool {
        let families = read_once(self.path.clone())
            .ok()
            .and_then(|text| parse(&text).ok());
        let changed = families != self.families;
        self.families = families;
        changed
    }
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            inode: meta.ino(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn is_settled(&self, wall: Duration) -> bool {
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or_default());
        wall.saturating_sub(changed) >= SETTLED
    }
}

/// The paths that a pattern with `*`, `?` and `[...]` names, sorted; bounded by what exists.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let Some(wanted) = matcher(part) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let below = |path: &PathBuf| {
            let base = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let listed = names(base).unwrap_or_default();
            let fits = listed.into_iter().filter(|name| wanted.is_match(name));
            fits.map(|name| child(path, &name)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(below).collect();
    }
    found.retain(|path| path.exists());
    found
}

/// The regular expression of a path's part; `None` if it is a plain name.
fn matcher(part: &OsStr) -> Option<Regex> {
    let text = part.to_str()?;
    if !text.contains(['*', '?', '[']) {
        return None;
    }
    let mut pattern = String::from("^");
    for sign in text.chars() {
        match sign {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' | ']' | '-' | '^' => pattern.push(sign),
            other => pattern.push_str(&regex::escape(&other.to_string())),
        }
    }
    pattern.push('$');
    Regex::new(&pattern).ok()
}
