//! `filesystem`: size and free space of each mount.
//!
//! `statfs` hangs where its server or device hangs. This collector runs on a worker; mounts of
//! kinds that depend on another machine or another process each get a thread of their own
//! besides. Where one of the others hangs, the worker is given up to it and a successor shows the
//! rest within the same page. A dead mount costs its own series only and is asked again once it
//! returns.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::Notify;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::apart::Apart;
use crate::collectors::source::mounts::{Mount, MountTable, major_minor};
use crate::collectors::source::roots::Root;
use crate::collectors::source::shared::lock;
use crate::collectors::source::statfs::{Numbers, Remote, Seat, Why};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

const SOURCE: &str = "statfs(2) of each mount in /proc/1/mountinfo";
const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from(SOURCE)
}

const ERROR: Family = gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
)
.differs("label device_error (why) only where there is an error; empty labels mean the same");
const READ_ONLY: Family = gauge("node_filesystem_readonly", "Filesystem read-only status.")
    .from("/proc/1/mountinfo")
    .differs("a filesystem that turns read-only by itself after an error shows it within a minute: the kernel tells of no change of the mount table then");
const MOUNT_INFO: Family = gauge(
    "node_filesystem_mount_info",
    "Filesystem mount information.",
)
.from("/proc/1/mountinfo");
const SIZES: [Family; 5] = [
    gauge("node_filesystem_size_bytes", "Filesystem size in bytes.").unit("bytes"),
    gauge(
        "node_filesystem_free_bytes",
        "Filesystem free space in bytes.",
    )
    .unit("bytes"),
    gauge(
        "node_filesystem_avail_bytes",
        "Filesystem space available to non-root users in bytes.",
    )
    .unit("bytes"),
    gauge("node_filesystem_files", "Filesystem total file nodes."),
    gauge(
        "node_filesystem_files_free",
        "Filesystem total free file nodes.",
    ),
];

const POINTS_EXCLUDE: &str = "collector.filesystem.mount-points-exclude";
const POINTS_INCLUDE: &str = "collector.filesystem.mount-points-include";
const TYPES_EXCLUDE: &str = "collector.filesystem.fs-types-exclude";
const TYPES_INCLUDE: &str = "collector.filesystem.fs-types-include";
const TIMEOUT: &str = "collector.filesystem.mount-timeout";
const WORKERS: &str = "collector.filesystem.stat-workers";

/// Kinds that the kernel answers from its own memory, so that one thread can ask them all. All
/// others may wait for somebody and are asked beside each other.
const LOCAL: [&str; 22] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "vfat", "msdos", "exfat", "f2fs",
    "jfs", "reiserfs", "nilfs2", "erofs", "squashfs", "iso9660", "udf", "hfsplus", "ntfs3", "zfs",
    "bcachefs",
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "filesystem",
    enabled: true,
    lane: Lane::Apart,
    flags: &[
        Flag::value(
            POINTS_EXCLUDE,
            "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
            "Regexp of mount points to exclude for filesystem collector (mutually exclusive to mount-points-include).",
        ),
        Flag::optional(
            POINTS_INCLUDE,
            "Regexp of mount points to include for filesystem collector (mutually exclusive to mount-points-exclude).",
        ),
        Flag::value(
            TYPES_EXCLUDE,
            "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
            "Regexp of filesystem types to exclude for filesystem collector (mutually exclusive to fs-types-include).",
        ),
        Flag::optional(
            TYPES_INCLUDE,
            "Regexp of filesystem types to include for filesystem collector (mutually exclusive to fs-types-exclude).",
        ),
        Flag::value(
            TIMEOUT,
            "5s",
            "How long to wait for a mount to respond; never longer than the page may take.",
        ),
        Flag::value(
            WORKERS,
            "4",
            "Taken for compatibility; threads are started as mounts hang.",
        ),
    ],
    families: &[
        ERROR, READ_ONLY, MOUNT_INFO, SIZES[0], SIZES[1], SIZES[2], SIZES[3], SIZES[4],
    ],
    open,
};

struct Filesystem {
    /// Never locked while a mount is asked, so that a successor can go on.
    shown: Arc<Mutex<Shown>>,
    remote: Arc<Apart<Remote>>,
}

/// The mounts and how they are shown.
struct Shown {
    root: Root,
    table: MountTable,
    points: Filter,
    types: Filter,
    mounts: Vec<Known>,
    /// Those that the worker asks itself.
    local: Arc<[Arc<Seat>]>,
    heads: [Head; 5],
    error: Head,
    read_only: Head,
    info: Head,
}

/// A mount that is shown.
struct Known {
    mount: Mount,
    labels: Labels,
    info: Option<Labels>,
    seat: Arc<Seat>,
    /// The work that asks it, for a mount with a thread of its own.
    remote: Option<u64>,
    numbers: Result<Numbers, Why>,
    /// The labels with the reason of an error, made when it first happens.
    failed: Option<(Why, Labels)>,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let filter = |include: &'static str, exclude: &'static str| match settings.text(include) {
        // An include takes the place of the default exclude.
        Some(_) => settings.filter(include, ""),
        None => settings.filter("", exclude),
    };
    let limit = settings
        .duration(TIMEOUT)?
        .unwrap_or(Duration::from_secs(5));
    let shown = Shown {
        root: sources.roots.rootfs.clone(),
        table: MountTable::new(&sources.roots.procfs),
        points: filter(POINTS_INCLUDE, POINTS_EXCLUDE)?,
        types: filter(TYPES_INCLUDE, TYPES_EXCLUDE)?,
        mounts: Vec::new(),
        local: Arc::new([]),
        heads: SIZES.each_ref().map(Head::of),
        error: Head::of(&ERROR),
        read_only: Head::of(&READ_ONLY),
        info: Head::of(&MOUNT_INFO),
    };
    let remote = Apart::new("scrape-statfs", Arc::new(Notify::new())).within(limit);
    Ok(Box::new(Filesystem {
        shown: Arc::new(Mutex::new(shown)),
        remote: Arc::new(remote),
    }))
}

impl Collector for Filesystem {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut shown = lock(&self.shown);
        if shown.table.changed(turn.monotonic) {
            let mounts = shown.table.read(turn.monotonic)?;
            shown.take(mounts, &self.remote);
        }
        let local = Arc::clone(&shown.local);
        drop(shown);
        self.remote.begin(turn.number, turn.number, |_| true);
        for seat in local.iter() {
            seat.ask(turn.number);
        }
        self.remote.settle();
        let mut shown = lock(&self.shown);
        for known in &mut shown.mounts {
            known.numbers = known.seat.answer(turn.number);
            known.note_error();
        }
        shown.write(turn.page);
        Ok(())
    }

    fn stuck(&self) -> usize {
        self.remote.stuck()
    }

    fn successor(&self) -> Option<Box<dyn Collector>> {
        // Whoever holds the lock hangs in reading the mount table: another would hang too.
        let is_free = self.shown.try_lock().is_ok();
        is_free.then(|| {
            Box::new(Filesystem {
                shown: Arc::clone(&self.shown),
                remote: Arc::clone(&self.remote),
            }) as Box<dyn Collector>
        })
    }
}

impl Shown {
    /// Takes a new mount table and keeps what is known of the mounts that stayed.
    fn take(&mut self, mounts: Vec<Mount>, remote: &Apart<Remote>) {
        let old = std::mem::take(&mut self.mounts).into_iter();
        let mut old: BTreeMap<Mount, Known> =
            old.map(|known| (lasting(&known.mount), known)).collect();
        let mut seen = BTreeSet::new();
        for mut mount in mounts {
            mount.point = self.host_point(&mount.point);
            if self.points.is_ignored(&mount.point) || self.types.is_ignored(&mount.kind) {
                continue;
            }
            // Mounts on top of each other, and those that are only apart below the prefix, would be the same series.
            let labels = [&mount.device, &mount.point, &mount.kind].map(Clone::clone);
            if !seen.insert(labels) {
                continue;
            }
            let kept = old.remove(&lasting(&mount));
            let mut known = kept.unwrap_or_else(|| self.meet(mount.clone(), remote));
            known.mount = mount;
            self.mounts.push(known);
        }
        for id in old.into_values().filter_map(|known| known.remote) {
            remote.remove(id);
        }
        let local = self.mounts.iter().filter(|known| known.remote.is_none());
        self.local = local.map(|known| Arc::clone(&known.seat)).collect();
    }

    /// A mount point without the prefix under which the host's root is seen.
    fn host_point(&self, point: &[u8]) -> Vec<u8> {
        let prefix = self.root.path().as_os_str().as_bytes();
        if prefix == b"/" {
            return point.to_vec();
        }
        let stripped = point.strip_prefix(prefix).unwrap_or(point);
        if stripped.is_empty() {
            b"/".to_vec()
        } else {
            stripped.to_vec()
        }
    }

    fn meet(&self, mount: Mount, remote: &Apart<Remote>) -> Known {
        let below = mount.point.strip_prefix(b"/").unwrap_or(&mount.point);
        let path = self.root.path().join(Path::new(OsStr::from_bytes(below)));
        let is_local = LOCAL.iter().any(|kind| kind.as_bytes() == mount.kind);
        let seat = Seat::new(path);
        let remote = (!is_local).then(|| remote.add(Remote(Arc::clone(&seat))));
        let info = major_minor(&mount.number).map(|(major, minor)| {
            Labels::new(&[
                ("device", &mount.device),
                ("major", major),
                ("minor", minor),
                ("mountpoint", &mount.point),
            ])
        });
        let labels = mount_labels(&mount, None);
        Known {
            labels,
            info,
            mount,
            seat,
            remote,
            numbers: Err(Why::Stuck),
            failed: None,
        }
    }

    fn write(&self, page: &mut Page) {
        let mut family = page.family(&self.error);
        for known in &self.mounts {
            family.flag(known.state_labels(), known.failed.is_some());
        }
        drop(family);
        let mut family = page.family(&self.read_only);
        for known in &self.mounts {
            family.flag(known.state_labels(), known.mount.is_read_only);
        }
        drop(family);
        for (place, head) in self.heads.iter().enumerate() {
            let mut family = page.family(head);
            for known in &self.mounts {
                if let Some(number) = known.numbers.as_ref().ok().and_then(|all| all.get(place)) {
                    family.float(&known.labels, *number);
                }
            }
        }
        let mut family = page.family(&self.info);
        let answered = self.mounts.iter().filter(|known| known.failed.is_none());
        for labels in answered.filter_map(|known| known.info.as_ref()) {
            family.flag(labels, true);
        }
    }
}

impl Known {
    /// The labels of the two families that are there even if the mount does not answer.
    fn state_labels(&self) -> &Labels {
        self.failed
            .as_ref()
            .map_or(&self.labels, |(_, labels)| labels)
    }

    fn note_error(&mut self) {
        match self.numbers {
            Ok(_) => self.failed = None,
            Err(why) => {
                if self.failed.as_ref().is_none_or(|(known, _)| *known != why) {
                    let text = match why {
                        // node_exporter's words.
                        Why::Stuck => "mountpoint timeout".to_owned(),
                        Why::Failed(errno) => go_text(errno),
                    };
                    self.failed = Some((why, mount_labels(&self.mount, Some(&text))));
                }
            }
        }
    }
}

/// What stays the same of a mount that is mounted anew with other options.
fn lasting(mount: &Mount) -> Mount {
    Mount {
        is_read_only: false,
        ..mount.clone()
    }
}

/// An error's text as Go has it: libc's with a small first letter.
fn go_text(errno: Errno) -> String {
    let mut text = errno.desc().to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

fn mount_labels(mount: &Mount, error: Option<&str>) -> Labels {
    let mut pairs: Vec<(&str, &[u8])> = vec![("device", &mount.device)];
    if let Some(text) = error {
        pairs.push(("device_error", text.as_bytes()));
    }
    pairs.extend([
        ("fstype", mount.kind.as_slice()),
        ("mountpoint", &mount.point),
    ]);
    Labels::new(&pairs)
}

#[cfg(test)]
mod tests {
    use super::{Apart, ENTRY, Filter, Head, MountTable, Notify, Remote, Root, SIZES, Shown};
    use crate::collectors::source::mounts::Mount;
    use std::path::Path;
    use std::sync::Arc;

    fn mount(point: &str, is_read_only: bool) -> Mount {
        Mount {
            device: b"server:/".to_vec(),
            point: point.into(),
            kind: b"nfs4".to_vec(),
            number: b"0:50".to_vec(),
            is_read_only,
        }
    }

    #[test]
    fn a_mount_that_stays_keeps_its_thread_whatever_order_and_options_the_table_has() {
        let [error, read_only, info] = [0, 1, 2].map(|at| Head::of(&ENTRY.families[at]));
        let mut shown = Shown {
            root: Root::at(Path::new("/")),
            table: MountTable::new(&Root::at(Path::new("/proc"))),
            points: Filter::default(),
            types: Filter::default(),
            mounts: Vec::new(),
            local: Arc::new([]),
            heads: SIZES.each_ref().map(Head::of),
            error,
            read_only,
            info,
        };
        let remote: Apart<Remote> = Apart::new("test-statfs", Arc::new(Notify::new()));
        let points = ["/a", "/b", "/c", "/d", "/e", "/f", "/g"];
        let seats = |shown: &Shown| {
            let mut seats: Vec<_> = shown.mounts.iter().collect();
            seats.sort_by_key(|known| known.mount.point.clone());
            let each = seats
                .iter()
                .map(|known| (Arc::as_ptr(&known.seat), known.remote));
            each.collect::<Vec<_>>()
        };
        let in_order = |order: [usize; 7]| order.map(|at| mount(points[at], at % 2 == 0)).to_vec();
        shown.take(in_order([0, 1, 2, 3, 4, 5, 6]), &remote);
        let first = seats(&shown);
        for order in [
            [3, 1, 5, 0, 2, 4, 6],
            [6, 5, 4, 3, 2, 1, 0],
            [1, 0, 3, 2, 5, 4, 6],
        ] {
            shown.take(in_order(order), &remote);
            assert_eq!(seats(&shown), first, "{order:?}");
        }
        shown.take(points.map(|point| mount(point, true)).to_vec(), &remote);
        assert_eq!(seats(&shown), first, "remounted");
        assert!(shown.mounts.iter().all(|known| known.mount.is_read_only));
        let twice = [mount("/a", false), mount("/a", true), mount("/h", false)];
        shown.take(twice.to_vec(), &remote);
        assert_eq!(shown.mounts.len(), 2);
        assert_eq!(seats(&shown)[0], first[0]);
    }
}
