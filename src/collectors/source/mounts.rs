//! The mount table, read again only when the kernel says that it changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::collectors::error::ReadError;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{cut, fields, lines};

/// Most mounts that are kept: the kernel's own limit (`fs.mount-max`) is 100,000.
const MAX_MOUNTS: usize = 100_000;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// What is mounted.
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
}

impl MountTable {
    /// The table under `procfs`; nothing is opened yet.
    pub fn new(procfs: &Root) -> MountTable {
        let candidates = [procfs.join("1/mountinfo"), procfs.join("self/mountinfo")];
        MountTable {
            candidates,
            keep: procfs.is_kernel(),
            watch: None,
        }
    }

    /// Whether the table may differ from what was last read.
    ///
    /// *Cost*: one `poll`; the kernel marks an open mountinfo when a mount came or went.
    pub fn changed(&mut self) -> bool {
        let Some(watch) = &self.watch else {
            return true;
        };
        let events = PollFlags::POLLPRI | PollFlags::POLLERR;
        let mut files = [PollFd::new(watch.as_fd(), PollFlags::POLLPRI)];
        let polled = poll(&mut files, PollTimeout::ZERO);
        let [file] = files;
        polled.is_err()
            || file
                .revents()
                .is_none_or(|revents| revents.intersects(events))
    }

    /// Reads the table, each mount once.
    ///
    /// *Errors*: neither file can be read; the first one's reason.
    pub fn read(&mut self) -> Result<Vec<Mount>, ReadError> {
        let [first, second] = &self.candidates;
        let (path, text) = match read(first) {
            Ok(text) => (first, text),
            Err(error) => (second, read(second).map_err(|_| error)?),
        };
        if self.keep && self.watch.is_none() {
            // Opened before the second read, so that no change falls between the two.
            self.watch = File::open(path).ok();
            return Ok(parse(&read(path)?));
        }
        Ok(parse(&text))
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
    let mut seen = BTreeSet::new();
    let mut mounts = Vec::new();
    for mount in lines(text).filter_map(parse_line).take(MAX_MOUNTS) {
        if seen.insert((
            mount.device.clone(),
            mount.point.clone(),
            mount.kind.clone(),
        )) {
            mounts.push(mount);
        }
    }
    mounts
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut parts = fields(line);
    let number = parts.nth(2)?;
    let point = parts.nth(1)?;
    let options = parts.next()?;
    parts.find(|part| *part == b"-")?;
    let kind = parts.next()?;
    let device = parts.next()?;
    let more = parts.next().unwrap_or_default();
    let read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|one| one == b"ro");
    Some(Mount {
        device: unescape(device),
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
    use super::{parse, unescape};
    use proptest::prelude::{any, proptest};

    #[test]
    fn mounts_are_taken_once_and_unescaped() {
        let text = b"36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - ext3 /dev/root rw\n\
            37 35 98:0 / /a\\040b rw - ext3 /dev/root rw\n\
            38 35 0:5 / /ro ro - tmpfs t\\134\\011 rw\n\
            39 35 0:5 / /super rw - tmpfs x ro,size=4k\n\
            broken line\n40 35 0:5 / /half rw -";
        let mounts = parse(text);
        let points: Vec<_> = mounts
            .iter()
            .map(|mount| (&mount.point[..], mount.is_read_only))
            .collect();
        let want: [(&[u8], bool); 3] = [(b"/a b", false), (b"/ro", true), (b"/super", true)];
        assert_eq!(points, want);
        assert_eq!(mounts[1].device, b"t\\\t");
        assert_eq!(unescape(b"\\9x\\"), b"\\9x\\");
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(text in any::<Vec<u8>>()) {
            let _mounts = parse(&text);
        }
    }
}
