//! Which file systems are meant to be written to.

use super::parse::Mount;
use std::collections::{BTreeMap, BTreeSet};

/// File systems on a disk that are written to in the ordinary way. Others are read-only by nature (squashfs, erofs,
/// iso9660), live in memory, belong to another machine (nfs), or stand on one of these (overlay).
const WRITABLE_KINDS: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2",
    "vfat", "exfat", "ntfs3",
];

/// Places that a node cannot do without. Each is judged even if it was read-only from the first look on, unless fstab
/// wants it so. The root is not among them: on image-based systems it is read-only on purpose.
const ALWAYS_WRITABLE: &[&str] = &[
    "/var",
    "/var/lib",
    "/var/log",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/etcd",
];

/// How many file systems are judged; each costs three series of the timeline.
const MAX_JUDGED: usize = 256;

/// What was seen of each file system since the agent started.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    seen_writable: BTreeSet<(String, String)>,
}

impl Expectations {
    /// One mount for each file system that is meant to be written to, in the order of their mount points.
    ///
    /// A mount that takes writes is itself such a wish: what the kernel does after an error (`errors=remount-ro`) changes
    /// the file system and leaves the mount's own `rw`, while whoever mounts read-only on purpose changes both.
    pub(super) fn judged<'a>(
        &mut self,
        mounts: &'a [Mount],
        fstab: &BTreeMap<String, bool>,
    ) -> Vec<&'a Mount> {
        // Of several mounts at one place only the upper one, which is listed last, can be reached.
        let reachable: BTreeMap<&str, &Mount> = mounts
            .iter()
            .map(|mount| (mount.point.as_str(), mount))
            .collect();
        let candidates = || {
            reachable
                .values()
                .filter(|mount| WRITABLE_KINDS.contains(&mount.kind.as_str()))
        };
        let identity = |mount: &Mount| (mount.device.clone(), mount.point.clone());
        let present: BTreeSet<_> = candidates().map(|mount| identity(mount)).collect();
        self.seen_writable.retain(|seen| present.contains(seen));
        let mut by_device: BTreeMap<&str, &Mount> = BTreeMap::new();
        for mount in candidates() {
            if !mount.is_super_ro && mount.is_mount_rw {
                self.seen_writable.insert(identity(mount));
            }
            let is_meant = match fstab.get(&mount.point) {
                Some(writable) => *writable,
                None => {
                    mount.is_mount_rw
                        || self.seen_writable.contains(&identity(mount))
                        || ALWAYS_WRITABLE.contains(&mount.point.as_str())
                }
            };
            if is_meant {
                by_device
                    .entry(&mount.device)
                    .and_modify(|kept| {
                        if rank(mount) < rank(kept) {
                            *kept = mount;
                        }
                    })
                    .or_insert(mount);
            }
        }
        let mut judged: Vec<&Mount> = by_device.into_values().collect();
        judged.sort_by(|a, b| a.point.cmp(&b.point));
        judged.truncate(MAX_JUDGED);
        judged
    }
}

/// Of several mounts of one file system the one of its whole tree, at the shortest path, speaks for it.
fn rank(mount: &Mount) -> (bool, usize, &str) {
    (mount.root != "/", mount.point.len(), &mount.point)
}

#[cfg(test)]
mod tests {
    use super::super::parse::{read_fstab, read_mountinfo};
    use super::*;

    fn judged(expectations: &mut Expectations, lines: &[&str], fstab: &str) -> Vec<String> {
        let text: Vec<String> = lines.iter().map(|line| format!("36 35 {line}")).collect();
        let mounts = read_mountinfo(&text.join("\n"));
        assert_eq!(mounts.len(), lines.len(), "{lines:?}");
        let fstab = read_fstab(fstab);
        let found = expectations.judged(&mounts, &fstab);
        found.iter().map(|mount| mount.point.clone()).collect()
    }

    #[test]
    fn what_is_read_only_by_nature_or_on_purpose_is_not_judged() {
        for (line, fstab, is_judged) in [
            ("8:1 / / rw - ext4 /dev/a rw", "", true),
            ("8:1 / / rw - ext4 /dev/a ro", "", true),
            ("8:1 / / ro - ext4 /dev/a ro", "", false),
            (
                "8:1 / / ro - ext4 /dev/a ro",
                "/dev/a / ext4 defaults",
                true,
            ),
            (
                "8:1 / /usr rw - ext4 /dev/a ro",
                "/dev/a /usr ext4 ro",
                false,
            ),
            ("8:1 / /var ro - xfs /dev/a ro", "", true),
            ("8:1 / /var ro - xfs /dev/a ro", "/dev/a /var xfs ro", false),
            ("8:1 / /mnt ro - xfs /dev/a rw", "", false),
            ("7:1 / /snap/core ro - squashfs /dev/loop1 ro", "", false),
            ("11:0 / /media rw - iso9660 /dev/sr0 ro", "", false),
            ("0:9 / /x rw - erofs /dev/b ro", "", false),
            (
                "0:30 / /merged rw - overlay overlay ro,lowerdir=/a",
                "",
                false,
            ),
            ("0:31 / /run rw - tmpfs tmpfs ro", "", false),
            ("0:32 / /net rw - nfs4 host:/a ro", "", false),
            ("0:5 / /proc rw - proc proc rw", "", false),
        ] {
            let found = judged(&mut Expectations::default(), &[line], fstab);
            assert_eq!(!found.is_empty(), is_judged, "{line} with {fstab:?}");
        }
    }

    #[test]
    fn a_file_system_that_was_writable_stays_expected_to_be() {
        let mut expectations = Expectations::default();
        let line = "8:2 / /data rw - ext4 /dev/b rw";
        assert_eq!(judged(&mut expectations, &[line], ""), ["/data"]);
        let later = "8:2 / /data ro - ext4 /dev/b ro";
        assert_eq!(judged(&mut expectations, &[later], ""), ["/data"]);
        assert!(judged(&mut Expectations::default(), &[later], "").is_empty());
        // Gone and mounted anew, read-only: a new decision of somebody.
        assert!(judged(&mut expectations, &["8:1 / / rw - ext4 /dev/a rw"], "").len() == 1);
        assert!(judged(&mut expectations, &[later], "").is_empty());
    }

    #[test]
    fn each_file_system_is_judged_once_at_its_own_place() {
        let lines = [
            "8:2 /sub /var/lib/kubelet/pods/1/volume-subpaths/x rw - ext4 /dev/b rw",
            "8:2 / /var/lib/kubelet/plugins/globalmount rw - ext4 /dev/b rw",
            "8:2 / /vol rw - ext4 /dev/b rw",
            "8:1 / / rw - ext4 /dev/a rw",
            "8:1 /etc/hosts /etc/hosts ro - ext4 /dev/a rw",
        ];
        assert_eq!(
            judged(&mut Expectations::default(), &lines, ""),
            ["/", "/vol"]
        );
    }

    #[test]
    fn a_hidden_mount_is_not_judged() {
        let lines = [
            "8:1 / / rw - ext4 /dev/a rw",
            "8:9 / /data rw - ext4 /dev/b rw",
            "8:2 / /data rw - ext4 /dev/c ro",
        ];
        let mut expectations = Expectations::default();
        let mounts = read_mountinfo(&lines.map(|line| format!("36 35 {line}")).join("\n"));
        let found = expectations.judged(&mounts, &BTreeMap::new());
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].device, "8:2");
        let over = [lines[0], lines[1], "0:40 / /data rw - tmpfs tmpfs rw"];
        assert_eq!(judged(&mut expectations, &over, ""), ["/"]);
    }

    #[test]
    fn the_number_of_judged_file_systems_is_bounded() {
        let lines: Vec<String> = (0..1_000)
            .map(|n| format!("8:{n} / /v{n} rw - ext4 /dev/x rw"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(
            judged(&mut Expectations::default(), &lines, "").len(),
            MAX_JUDGED
        );
    }
}
