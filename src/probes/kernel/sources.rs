//! The sysctl.d files of the machine, in the order in which they count.

use super::parse::{Assignment, read_assignments};
use crate::host::Host;
use crate::probes::error::ProbeError;
use crate::probes::text_file::{read_error, read_text};
use std::collections::BTreeMap;
use std::fs::{read_dir, read_link};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Of two files with one name the one in the earlier directory counts.
///
/// `/etc/sysctl.conf` counts only through a link in `/etc/sysctl.d`, which is how distributions that honour it do it.
const DIRECTORIES: &[&str] = &[
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];

/// How many links are followed from one file.
const MAX_LINKS: usize = 8;

/// How many files are read.
const MAX_FILES: usize = 256;

/// Every line of every file that counts, in the order in which systemd-sysctl applies them.
///
/// # Errors
/// A directory or file that is there and cannot be read: half of the configuration would be a wrong wish.
pub(super) fn read_sources(host: &Host) -> Result<Vec<Assignment>, ProbeError> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        let path = host.path(directory);
        let entries = match read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(read_error(&path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| read_error(&path, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") && files.len() < MAX_FILES {
                files
                    .entry(name.clone())
                    .or_insert_with(|| Path::new(directory).join(&name));
            }
        }
    }
    let mut found = Vec::new();
    for file in files.values() {
        // A link to /dev/null masks the file of that name.
        let Some(target) = follow(host, file) else {
            continue;
        };
        match read_text(&host.path(&target)) {
            Ok(text) => read_assignments(&file.display().to_string(), &text, &mut found),
            Err(ProbeError::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Where a path of the machine leads in the end; `None` for `/dev/null` and for links without end. An absolute link
/// begins at the machine's root, not at that of the agent's container.
fn follow(host: &Host, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if path == Path::new("/dev/null") {
            return None;
        }
        match read_link(host.path(&path)) {
            Ok(target) => path = normal(&path.parent()?.join(target)),
            Err(_) => return Some(path),
        }
    }
    None
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::parse::declared;
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    fn wanted(root: &Path) -> Option<(String, String)> {
        let found = read_sources(&Host::at(root)).expect("readable");
        let wanted = declared(&found, &["net.ipv4.ip_forward"]);
        let line = wanted.get("net.ipv4.ip_forward")?;
        Some((line.value.clone().unwrap_or_default(), line.file.clone()))
    }

    #[test]
    fn files_count_by_name_and_directories_by_rank() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        for directory in ["etc/sysctl.d", "run/sysctl.d", "usr/lib/sysctl.d", "dev"] {
            create_dir_all(root.join(directory)).expect("made");
        }
        assert_eq!(wanted(root), None);
        write(root.join("etc/sysctl.conf"), "net.ipv4.ip_forward=4").expect("written");
        assert_eq!(wanted(root), None, "without a link the file does not count");
        write(
            root.join("usr/lib/sysctl.d/50-a.conf"),
            "net.ipv4.ip_forward=1",
        )
        .expect("written");
        write(
            root.join("usr/lib/sysctl.d/99-x.txt"),
            "net.ipv4.ip_forward=9",
        )
        .expect("written");
        assert_eq!(wanted(root).expect("one").0, "1");
        write(root.join("run/sysctl.d/50-a.conf"), "net.ipv4.ip_forward=2").expect("written");
        assert_eq!(wanted(root).expect("one").0, "2");
        write(
            root.join("usr/lib/sysctl.d/60-b.conf"),
            "net.ipv4.ip_forward=3",
        )
        .expect("written");
        assert_eq!(wanted(root).expect("one").0, "3");
        symlink("/dev/null", root.join("etc/sysctl.d/60-b.conf")).expect("linked");
        assert_eq!(
            wanted(root).expect("one").0,
            "2",
            "a link to /dev/null masks"
        );
        symlink("../sysctl.conf", root.join("etc/sysctl.d/99-sysctl.conf")).expect("linked");
        let expected = ("4".to_owned(), "/etc/sysctl.d/99-sysctl.conf".to_owned());
        assert_eq!(wanted(root), Some(expected));
    }

    #[test]
    fn an_absolute_link_stays_below_the_machines_root() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        create_dir_all(root.join("etc/sysctl.d")).expect("made");
        write(root.join("etc/own.conf"), "net.ipv4.ip_forward=1").expect("written");
        symlink("/etc/own.conf", root.join("etc/sysctl.d/10.conf")).expect("linked");
        symlink("/etc/sysctl.d/20.conf", root.join("etc/sysctl.d/20.conf"))
            .expect("linked to itself");
        symlink("/etc/none.conf", root.join("etc/sysctl.d/30.conf")).expect("linked to nothing");
        symlink(
            "../../../../etc/own.conf",
            root.join("etc/sysctl.d/40.conf"),
        )
        .expect("linked out");
        assert_eq!(wanted(root).expect("one").0, "1");
        assert_eq!(wanted(root).expect("one").1, "/etc/sysctl.d/40.conf");
    }
}
