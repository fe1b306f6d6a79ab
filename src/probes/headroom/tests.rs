//! Limits of this machine and of broken trees.

use super::{inotify, read};
use crate::host::Host;
use crate::signal::{Batch, Value};
use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;
use std::path::Path;

fn number(batch: &Batch, key: &str, subject: &str) -> Result<f64, &'static str> {
    let mut samples = batch.samples.iter();
    let sample = samples.find(|one| one.key == key && one.subject.as_str() == subject);
    match sample.expect("a sample").value.clone() {
        Ok(Value::Number(number)) => Ok(number),
        Ok(_) => Err("no number"),
        Err(reason) => Err(reason.kind()),
    }
}

fn put(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    create_dir_all(path.parent().expect("a folder")).expect("made");
    write(path, text).expect("written");
}

/// A busy control plane's values, Linux 6.1, Debian 12.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (file, text) in [
        ("proc/sys/net/netfilter/nf_conntrack_count", "196608\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ("proc/sys/fs/file-nr", "3000\t0\t12000\n"),
        ("proc/loadavg", "0.20 0.18 0.12 1/8192 11206\n"),
        ("proc/sys/kernel/pid_max", "32768\n"),
        ("proc/sys/kernel/threads-max", "125000\n"),
        ("proc/sys/fs/inotify/max_user_instances", "128\n"),
        ("proc/sys/fs/inotify/max_user_watches", "8\n"),
        ("proc/self/status", "not a process number\n"),
    ] {
        put(root.path(), file, text);
    }
    root
}

#[test]
fn shares_are_of_the_smaller_limit() {
    let root = machine();
    let batch = read(&Host::at(root.path())).expect("read");
    assert_eq!(number(&batch, "headroom.conntrack", ""), Ok(0.25));
    assert_eq!(number(&batch, "headroom.file_handles", ""), Ok(0.75));
    assert_eq!(number(&batch, "headroom.pids", ""), Ok(0.75));
}

#[test]
fn a_limit_that_cannot_be_read_leaves_the_others() {
    let root = machine();
    std::fs::remove_file(root.path().join("proc/sys/net/netfilter/nf_conntrack_max"))
        .expect("removed");
    put(root.path(), "proc/loadavg", "\u{0}\u{1}garbled");
    let batch = read(&Host::at(root.path())).expect("read");
    assert_eq!(number(&batch, "headroom.conntrack", ""), Err("not-here"));
    assert_eq!(number(&batch, "headroom.pids", ""), Err("probe-failed"));
    assert_eq!(number(&batch, "headroom.file_handles", ""), Ok(0.75));
}

#[test]
fn inotify_is_counted_by_effective_user() {
    let root = machine();
    let watches = "pos:\t0\ninotify wd:2 ino:6c2\ninotify wd:1 ino:6c1\n";
    for (pid, user, instances) in [(1, 0, 2), (77, 0, 1), (78, 1000, 64), (79, 1001, 0)] {
        let status = format!("Name:\tx\nUid:\t5\t{user}\t5\t5\n");
        put(root.path(), &format!("proc/{pid}/status"), &status);
        let files = root.path().join(format!("proc/{pid}/fd"));
        create_dir_all(&files).expect("made");
        symlink("socket:[4711]", files.join("0")).expect("linked");
        for file in 1..=instances {
            symlink("anon_inode:inotify", files.join(file.to_string())).expect("linked");
            let text = if user == 0 { watches } else { "pos:\t0\n" };
            put(root.path(), &format!("proc/{pid}/fdinfo/{file}"), text);
        }
    }
    // One that ends while it is looked at.
    create_dir_all(root.path().join("proc/80")).expect("made");
    let batch = inotify::read(&Host::at(root.path())).expect("read");
    let instances = |user: &str| number(&batch, "headroom.inotify_instances", user);
    assert_eq!(instances("0"), Ok(1.0 - 3.0 / 128.0));
    assert_eq!(instances("1000"), Ok(0.5));
    assert_eq!(number(&batch, "headroom.inotify_watches", "0"), Ok(0.25));
    assert_eq!(number(&batch, "headroom.inotify_watches", "1000"), Ok(1.0));
    assert_eq!(batch.samples.len(), 4);
}

#[test]
fn an_instance_of_this_process_is_found() {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    let dir = tempfile::tempdir().expect("a directory");
    let instance = Inotify::init(InitFlags::IN_CLOEXEC).expect("an instance");
    instance
        .add_watch(dir.path(), AddWatchFlags::IN_CREATE)
        .expect("a watch");
    let batch = inotify::read(&Host::at("/")).expect("this test runs as root");
    let user = nix::unistd::geteuid().to_string();
    for key in ["headroom.inotify_instances", "headroom.inotify_watches"] {
        let share = number(&batch, key, &user).expect("a share");
        assert!(share < 1.0 && share > 0.0, "{key} {share}");
    }
    let live = read(&Host::at("/")).expect("read");
    assert!(number(&live, "headroom.pids", "").is_ok_and(|share| share > 0.0 && share < 1.0));
}
