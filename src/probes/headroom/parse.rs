//! Pure: the kernel's text to what is left of a limit.

/// What is left of `limit` when `used` is taken, from 0 to 1. A limit of 0 leaves nothing.
pub fn free_share(used: u64, limit: u64) -> f64 {
    if limit == 0 {
        return 0.0;
    }
    1.0 - (used as f64 / limit as f64).min(1.0)
}

/// A file that holds one number.
pub fn read_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Allocated file handles and the most that there may be: `1504\t0\t9223372036854775807`.
pub fn read_file_nr(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split_whitespace();
    let allocated = parts.next()?.parse().ok()?;
    Some((allocated, parts.nth(1)?.parse().ok()?))
}

/// Processes and threads that exist: `0.20 0.18 0.12 1/184 11206`.
pub fn read_task_count(loadavg: &str) -> Option<u64> {
    let (_, all) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// The effective user of a process: the second number of `Uid:\t0\t0\t0\t0`.
pub fn read_effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How many files an inotify instance watches: lines `inotify wd:1 ino:...` of its fdinfo.
pub fn count_watches(fdinfo: &str) -> u64 {
    let lines = fdinfo.lines();
    lines.filter(|line| line.starts_with("inotify ")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_between_nothing_and_all() {
        for (used, limit, want) in [
            (0, 10, 1.0),
            (5, 10, 0.5),
            (11, 10, 0.0),
            (0, 0, 0.0),
            (1504, i64::MAX as u64, 1.0),
        ] {
            assert!(
                (free_share(used, limit) - want).abs() < 1e-9,
                "{used} of {limit}"
            );
        }
    }

    #[test]
    fn the_kernels_text_is_a_number_or_nothing() {
        assert_eq!(read_number("262144\n"), Some(262_144));
        assert_eq!(
            read_file_nr("1504\t0\t9223372036854775807\n"),
            Some((1504, i64::MAX as u64))
        );
        assert_eq!(read_task_count("0.20 0.18 0.12 1/184 11206\n"), Some(184));
        let status = "Name:\tcontainerd\nUmask:\t0022\nUid:\t1\t1000\t1\t1\n";
        assert_eq!(read_effective_user(status), Some(1000));
        let fdinfo = "pos:\t0\nflags:\t02004000\nmnt_id:\t15\nino:\t2058\n\
            inotify wd:2 ino:6c2 sdev:1b mask:3c6 ignored_mask:0 fhandle-bytes:c\n\
            inotify wd:1 ino:6c1 sdev:1b mask:3c6 ignored_mask:0 fhandle-bytes:c\n";
        assert_eq!(count_watches(fdinfo), 2);
        for text in [
            "",
            "x",
            "1",
            "1 2",
            "-1 0 -1",
            "x x x 1",
            "x x x 1/x 2",
            "Uid:",
            "Uid:\t0",
        ] {
            assert_eq!(read_file_nr(text), None, "{text}");
            assert_eq!(read_task_count(text), None, "{text}");
            assert_eq!(read_effective_user(text), None, "{text}");
        }
    }
}
