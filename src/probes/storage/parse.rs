//! `mountinfo` and `fstab`: text -> mounts.
//!
//! *Source*: proc_pid_mountinfo(5), fstab(5).

use std::collections::BTreeMap;

/// How many mounts are looked at. A node with 250 pods has about 3,000.
const MAX_MOUNTS: usize = 20_000;

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system.
    pub device: String,
    /// Which part of the file system is seen here.
    pub root: String,
    /// Where it is seen.
    pub point: String,
    /// Whether this mount takes writes, whatever the file system does.
    pub is_mount_rw: bool,
    /// The kind of file system.
    pub kind: String,
    /// Where it comes from: a device.
    pub source: String,
    /// `ro` among the options of the file system as a whole.
    pub is_super_ro: bool,
    /// `emergency_ro` there.
    pub is_emergency_ro: bool,
}

/// Reads one line; `None` if it is none.
pub fn read_mount(line: &str) -> Option<Mount> {
    let mut words = line.split(' ');
    words.next()?.parse::<u64>().ok()?;
    words.next()?.parse::<u64>().ok()?;
    let device = words.next().filter(|d| is_device(d))?.to_owned();
    let root = unescape(words.next()?);
    let point = unescape(words.next()?);
    let options = words.next()?;
    // Optional fields, up to a lone hyphen.
    words.by_ref().find(|word| *word == "-")?;
    let kind = unescape(words.next()?);
    let source = unescape(words.next()?);
    let of_super = words.next()?;
    let has = |options: &str, wanted: &str| options.split(',').any(|word| word == wanted);
    Some(Mount {
        device,
        root,
        point,
        is_mount_rw: has(options, "rw"),
        kind,
        source,
        is_super_ro: has(of_super, "ro"),
        is_emergency_ro: has(of_super, "emergency_ro"),
    })
}

/// Reads a whole mountinfo file. A line that cannot be understood is left out.
pub fn read_mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .take(MAX_MOUNTS)
        .filter_map(read_mount)
        .collect()
}

fn is_device(word: &str) -> bool {
    word.split_once(':')
        .is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())
}

/// Undoes the kernel's `\040` for space and the like. Control characters become spaces: mount points are printed.
fn unescape(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Which mount points fstab wants read-only (`false`) or writable (`true`). `mount` takes the last of `ro` and `rw`,
/// and without either it is `rw`.
pub fn read_fstab(text: &str) -> BTreeMap<String, bool> {
    let mut wanted = BTreeMap::new();
    for line in text.lines().take(MAX_MOUNTS) {
        let line = line.trim_start();
        if line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, point, _, rest @ ..] = words.as_slice() else {
            continue;
        };
        let options = rest.first().copied().unwrap_or("defaults");
        let last = options
            .split(',')
            .rfind(|word| matches!(*word, "ro" | "rw"));
        let point = unescape(point);
        let point = match point.trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        };
        if point.starts_with('/') {
            wanted.insert(point, last != Some("ro"));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn real_lines_are_read() {
        let text = include_str!("../../../tests/fixtures/mountinfo/debian12-6.18.txt");
        let mounts = read_mountinfo(text);
        assert_eq!(
            mounts.len(),
            text.lines().filter(|l| !l.starts_with('#')).count()
        );
        let root = mounts.iter().find(|m| m.point == "/").expect("a root");
        assert_eq!(
            (root.kind.as_str(), root.source.as_str()),
            ("ext4", "/dev/vda")
        );
        assert!(root.is_mount_rw && !root.is_super_ro);
    }

    #[test]
    fn mount_options_and_file_system_options_are_kept_apart() {
        for (mount, own, is_mount_rw, is_super_ro, is_emergency_ro) in [
            ("rw,relatime", "rw", true, false, false),
            ("ro,relatime", "rw", false, false, false),
            ("rw,relatime", "ro", true, true, false),
            ("rw,relatime", "rw,emergency_ro", true, false, true),
            ("rw", "rw,errors=remount-ro", true, false, false),
            ("rw,noro", "rw,rootcontext=ro", true, false, false),
        ] {
            let line = format!("36 35 98:0 / /mnt {mount} shared:1 master:2 - ext4 /dev/x {own}");
            let found = read_mount(&line).expect("a mount");
            assert_eq!(
                (found.is_mount_rw, found.is_super_ro, found.is_emergency_ro),
                (is_mount_rw, is_super_ro, is_emergency_ro),
                "{line}"
            );
        }
    }

    #[test]
    fn escapes_are_undone() {
        let line = "36 35 98:0 /a\\040b /mnt\\011x\\134y rw - ext4 /dev/my\\040disk rw";
        let found = read_mount(line).expect("a mount");
        assert_eq!(
            (
                found.root.as_str(),
                found.point.as_str(),
                found.source.as_str()
            ),
            ("/a b", "/mnt x\\y", "/dev/my disk")
        );
    }

    #[test]
    fn what_is_no_mount_is_left_out() {
        for line in [
            "",
            " ",
            "-",
            "36",
            "36 35",
            "36 35 98:0",
            "36 35 98:0 /",
            "36 35 98:0 / /m",
            "36 35 98:0 / /m rw",
            "36 35 98:0 / /m rw -",
            "36 35 98:0 / /m rw - ext4",
            "36 35 98:0 / /m rw - ext4 /dev/x",
            "36 35 98:0 / /m rw ext4 /dev/x rw",
            "x 35 98:0 / /m rw - ext4 /dev/x rw",
            "36 x 98:0 / /m rw - ext4 d rw",
            "36 35 98 / /m rw - ext4 d rw",
            "36 35 98: / /m rw - ext4 d rw",
            "36 35 :0 / /m rw - ext4 d rw",
            "36 35 a:b / /m rw - ext4 d rw",
            "-1 35 98:0 / /m rw - ext4 d rw",
            "/dev/sda1 / ext4 rw 0 0",
            "36\t35\t98:0\t/\t/m\trw\t-\text4\td\trw",
        ] {
            assert_eq!(read_mount(line), None, "{line:?}");
        }
    }

    #[test]
    fn fstab_says_what_is_meant_to_be_writable() {
        let text = "# c\n\n/dev/a / ext4 errors=remount-ro 0 1\nUUID=b /boot ext4 ro,nosuid 0 2\n/dev/c /data/ xfs\nd /a\\040b ext4 ro,rw 0 0\n\
                    none swap swap sw 0 0\nbad\n/dev/e /e ext4 rw,ro\n";
        let found: Vec<(String, bool)> = read_fstab(text).into_iter().collect();
        let expected = [
            ("/", true),
            ("/a b", true),
            ("/boot", false),
            ("/data", true),
            ("/e", false),
        ];
        let expected: Vec<(String, bool)> =
            expected.iter().map(|(p, w)| ((*p).into(), *w)).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), line in "[0-9:/a-z\\\\ ,-]{0,80}") {
            read_mountinfo(&text);
            read_mount(&line);
            read_fstab(&text);
        }
    }
}
