//! The mount table, read again only when the kernel says that it changed.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::collectors::error::ReadError;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{cut, lines};

/// Most mounts that are kept: the kernel's own limit (`fs.mount-max`) is 100,000.
const MAX_MOUNTS: usize = 100_000;
/// How long a table is trusted of which the kernel tells no change: a filesystem that turns read-only by itself after an
/// error (`errors=remount-ro`), and one that is remounted in another mount namespace, change the table and tell nobody.
const TRUSTED: Duration = Duration::from_secs(60);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// What is mounted, escaped as the kernel does it: so node_exporter shows it.
    pub device: Vec<u8>,
    /// Where, as the host sees it.
    pub point: Vec<u8>,
    /// The filesystem's type.
    pub kind: Vec<u8>,
    /// `major:minor`; empty if the table does not say.
    pub number: Vec<u8>,
    /// Whether the mount or its filesystem is read-only.
    pub is_read_only: bool,
}

/// `/proc/1/mountinfo`, or that of this process where PID 1's is not to be had.
#[derive(Debug)]
pub struct MountTable {
    candidates: [PathBuf; 2],
    keep: bool,
    watch: Option<File>,
    /// When it was last read.
    read: Duration,
}

impl MountTable {
    /// The table under `procfs`; nothing is opened yet.
    pub fn new(procfs: &Root) -> MountTable {
        let candidates = [procfs.join("1/mountinfo"), procfs.join("self/mountinfo")];
        MountTable {
            candidates,
            keep: procfs.is_kernel(),
            watch: None,
            read: Duration::ZERO,
        }
    }

    /// Whether the table may differ at `now`, by the monotonic clock, from what was last read.
    ///
    /// *Cost*: one `poll`; the kernel marks an open mountinfo when a mount came or went.
    pub fn changed(&mut self, now: Duration) -> bool {
        let Some(watch) = &self.watch else {
            return true;
        };
        if now.saturating_sub(self.read) >= TRUSTED {
            return true;
        }
        let events = PollFlags::POLLPRI | PollFlags::POLLERR;
        let mut files = [PollFd::new(watch.as_fd(), PollFlags::POLLPRI)];
        let polled = poll(&mut files, PollTimeout::ZERO);
        let [file] = files;
        polled.is_err()
            || file
                .revents()
                .is_none_or(|revents| revents.intersects(events))
    }

    /// Reads the table at `now`.
    ///
    /// *Errors*: neither file can be read; the first one's reason.
    pub fn read(&mut self, now: Duration) -> Result<Vec<Mount>, ReadError> {
        self.read = now;
        // Put back once the table was read, so that what fails now is tried again on the next page.
        let watch = self.watch.take();
        let [first, second] = &self.candidates;
        let (path, text) = match read(first) {
            Ok(text) => (first, text),
            Err(error) => (second, read(second).map_err(|_| error)?),
        };
        if !self.keep || watch.is_some() {
            self.watch = watch;
            return Ok(parse(&text));
        }
        // Opened before the second read, so that no change falls between the two.
        let watch = File::open(path).ok();
        let mounts = parse(&read(path)?);
        self.watch = watch;
        Ok(mounts)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut scratch = Vec::new();
    let mut file = HeldFile::at(path.to_path_buf(), false, Shape::Stream);
    let len = file.read(0, &mut scratch)?.len();
    scratch.truncate(len);
    Ok(scratch)
}

fn parse(text: &[u8]) -> Vec<Mount> {
    let mounts = lines(text).filter_map(parse_line);
    mounts.take(MAX_MOUNTS).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    // One blank between two fields, so that what is mounted may be empty.
    let mut parts = line.split(|&byte| byte == b' ');
    let number = parts.nth(2)?;
    let point = parts.nth(1)?;
    let options = parts.next()?;
    parts.find(|part| *part == b"-")?;
    let kind = parts.next()?;
    let device = parts.next()?;
    let more = parts.next().unwrap_or_default();
    let read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|one| one == b"ro");
    Some(Mount {
        device: device.to_vec(),
        point: unescape(point),
        kind: unescape(kind),
        number: number.to_vec(),
        is_read_only: read_only(options) || read_only(more),
    })
}

/// The kernel writes blank, tab, newline, backslash and `#` as `\ooo`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = cut(rest, b'\\') {
        out.extend_from_slice(before);
        let octal = after.split_at_checked(3).and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, tail))
        });
        match octal {
            Some((byte, tail)) => {
                out.push(byte);
                rest = tail;
            }
            None => {
                out.push(b'\\');
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The two numbers of `major:minor`.
pub fn major_minor(number: &[u8]) -> Option<(&[u8], &[u8])> {
    cut(number, b':')
}

#[cfg(test)]
mod tests {
    use super::{MountTable, TRUSTED, parse, unescape};
    use crate::collectors::source::roots::Root;
    use proptest::prelude::{any, proptest};
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn points_are_unescaped_and_broken_lines_left_out() {
        let text = b"36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - ext3 /dev/root rw\n\
            38 35 0:5 / /ro ro - cifs //h/a\\040b rw\n\
            39 35 0:5 / /super rw - tmpfs  ro,size=4k\n\
            broken line\n40 35 0:5 / /half rw -";
        let mounts = parse(text);
        let points: Vec<_> = mounts
            .iter()
            .map(|mount| (&mount.point[..], mount.is_read_only))
            .collect();
        let want: [(&[u8], bool); 3] = [(b"/a b", false), (b"/ro", true), (b"/super", true)];
        assert_eq!(points, want);
        assert_eq!(mounts[1].device, b"//h/a\\040b");
        assert_eq!(mounts[2].device, b"");
        assert_eq!(unescape(b"\\9x\\"), b"\\9x\\");
    }

    #[test]
    fn a_table_is_not_trusted_for_longer_than_a_minute_though_the_kernel_tells_no_change() {
        let mut table = MountTable::new(&Root::at(Path::new("/proc")));
        let begun = Duration::from_secs(1000);
        assert!(table.changed(begun), "a table that was never read");
        assert!(!table.read(begun).unwrap().is_empty());
        assert!(table.changed(begun + TRUSTED));
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(text in any::<Vec<u8>>()) {
            let _mounts = parse(&text);
        }
    }
}
