//! Whether PID 1 runs what is on disk. Pure.

use crate::signal::MissingReason;

/// What the kernel appends to the name of a file that was deleted or replaced.
const DELETED: &str = " (deleted)";

/// What `/proc/1/exe` says: whether the program is deleted, if it is systemd at all.
pub(super) fn exe_is_deleted(link: &str) -> Result<bool, MissingReason> {
    let path = link.strip_suffix(DELETED).unwrap_or(link);
    // rpm renames the replaced file to `systemd;5f3a...` before it deletes it.
    let name = path.rsplit('/').next().unwrap_or_default();
    if name == "systemd" || name.starts_with("systemd;") {
        Ok(path.len() < link.len())
    } else {
        Err(MissingReason::Unreadable(
            format!("process 1 as seen from here runs {path}, not systemd").into(),
        ))
    }
}

/// Whether `/proc/1/maps` names a replaced file of systemd's own (the program or `libsystemd-shared`).
pub(super) fn maps_has_deleted(maps: &str) -> bool {
    maps.lines().any(|line| {
        line.strip_suffix(DELETED)
            .and_then(|line| line.split_ascii_whitespace().nth(5))
            .is_some_and(is_systemd_file)
    })
}

/// An anonymous memory file always counts as deleted, and PID 1 names its own ones after systemd.
fn is_systemd_file(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("/memfd:") && path.contains("systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_program_is_told_from_a_foreign_one() {
        for (link, expected) in [
            ("/usr/lib/systemd/systemd", Some(false)),
            ("/usr/lib/systemd/systemd (deleted)", Some(true)),
            ("/usr/lib/systemd/systemd;5f3a1b2c (deleted)", Some(true)),
            ("/lib/systemd/systemd", Some(false)),
            ("/usr/bin/tini", None),
            ("/pause (deleted)", None),
            ("", None),
        ] {
            assert_eq!(exe_is_deleted(link).ok(), expected, "{link}");
        }
    }

    /// From `/proc/1/maps` of systemd 252.39 on Debian 12 (kernel 6.18), before and after its library was replaced.
    #[test]
    fn a_replaced_library_of_systemd_counts_and_others_do_not() {
        let line = |path: &str| {
            format!(
                "7f630a530000-7f630a717000 r-xp 0006b000 00:83 10332266                   {path}\n"
            )
        };
        let library = "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so";
        for (path, expected) in [
            (library.to_owned(), false),
            (format!("{library} (deleted)"), true),
            ("/usr/lib/systemd/systemd (deleted)".to_owned(), true),
            (
                "/usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)".to_owned(),
                false,
            ),
            ("/memfd:systemd-state (deleted)".to_owned(), false),
            ("[heap]".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(maps_has_deleted(&line(&path)), expected, "{path}");
        }
    }
}
