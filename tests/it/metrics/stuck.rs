//! A filesystem that never answers: a FUSE mount whose server does not read. Needs root.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodemend::collectors::TABLE;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;

use super::page::{Parsed, settings_of};

/// A mount that hangs until its device is closed.
struct Hung {
    device: Option<File>,
    dir: tempfile::TempDir,
}

impl Hung {
    fn new() -> Hung {
        let dir = tempfile::tempdir().unwrap();
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .expect("fuse");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let point = dir.path();
        mount(
            Some("hung"),
            point,
            Some("fuse"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .expect("mounting needs root");
        Hung {
            device: Some(device),
            dir,
        }
    }

    /// Lets everybody go who waits for it: they get an error.
    fn answer(&mut self) {
        self.device = None;
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.device = None;
        umount2(self.dir.path(), MntFlags::MNT_DETACH).expect("the mount is still there");
    }
}

fn tree(mounts: &[(&Path, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("proc/1")).unwrap();
    std::fs::create_dir_all(dir.path().join("sys")).unwrap();
    let line = |(number, (path, kind)): (usize, &(&Path, &str))| {
        format!(
            "{number} 1 0:{number} / {} rw - {kind} d{number} rw\n",
            path.display()
        )
    };
    let text: String = mounts.iter().enumerate().map(line).collect();
    std::fs::write(dir.path().join("proc/1/mountinfo"), text).unwrap();
    std::fs::write(dir.path().join("proc/loadavg"), "0.5 1 2 1/100 7\n").unwrap();
    dir
}

fn page_of(page: &mut ScrapePage) -> (Parsed, Duration) {
    let began = Instant::now();
    let text = String::from_utf8(page.render(&Selection::All).to_vec()).unwrap();
    (Parsed::of(&text), began.elapsed())
}

#[test]
fn hung_mount_costs_its_own_series_once_a_moment_and_comes_back() {
    let mut hung = Hung::new();
    let well = tempfile::tempdir().unwrap();
    let tree = tree(&[(hung.dir.path(), "fuse"), (well.path(), "tmpfs")]);
    let mut settings = settings_of(tree.path());
    settings.roots.rootfs = nodemend::collectors::source::roots::Roots::host().rootfs;
    let mut page = ScrapePage::new(&settings, TABLE).unwrap();
    let point = hung.dir.path().display().to_string();
    let well_point = well.path().display().to_string();
    let stuck = [
        ("device", "d0"),
        ("device_error", "mountpoint timeout"),
        ("fstype", "fuse"),
        ("mountpoint", point.as_str()),
    ];
    let fine = [
        ("device", "d1"),
        ("fstype", "tmpfs"),
        ("mountpoint", well_point.as_str()),
    ];
    for turn in 0..4 {
        let (parsed, took) = page_of(&mut page);
        assert_eq!(parsed.get("node_load1", &[]), Some(0.5));
        assert_eq!(
            parsed.get("node_filesystem_device_error", &stuck),
            Some(1.0)
        );
        assert!(parsed.get("node_filesystem_size_bytes", &fine).is_some());
        let most = Duration::from_millis(if turn == 0 { 2500 } else { 900 });
        assert!(took < most, "turn {turn} took {took:?}");
    }
    hung.answer();
    // The thread returns with an error, and the mount is asked again: no longer a timeout.
    let back = (0..1000).any(|_| {
        let (parsed, _) = page_of(&mut page);
        parsed.get("node_filesystem_device_error", &stuck).is_none()
    });
    assert!(back);
}

/// The kernel's own filesystems can hang too (a dead disk, a frozen device): here a mount that
/// never answers calls itself ext4, between two that are well.
#[test]
fn hung_local_filesystem_costs_its_own_series_and_joins_the_others_again() {
    let mut hung = Hung::new();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = tree(&[
        (one.path(), "ext4"),
        (hung.dir.path(), "ext4"),
        (two.path(), "xfs"),
    ]);
    let mut settings = settings_of(tree.path());
    settings.roots.rootfs = nodemend::collectors::source::roots::Roots::host().rootfs;
    let mut page = ScrapePage::new(&settings, TABLE).unwrap();
    let point = |dir: &tempfile::TempDir| dir.path().display().to_string();
    let (first, last, hung_point) = (point(&one), point(&two), point(&hung.dir));
    let stuck = [
        ("device", "d1"),
        ("device_error", "mountpoint timeout"),
        ("fstype", "ext4"),
        ("mountpoint", hung_point.as_str()),
    ];
    for turn in 0..4 {
        let (parsed, took) = page_of(&mut page);
        let is_error = parsed.get("node_filesystem_device_error", &stuck);
        assert_eq!(is_error, Some(1.0), "turn {turn}");
        for (device, kind, point) in [("d0", "ext4", &first), ("d2", "xfs", &last)] {
            let labels = [("device", device), ("fstype", kind), ("mountpoint", point)];
            let size = parsed.get("node_filesystem_size_bytes", &labels);
            assert!(size.is_some_and(|size| size > 0.0), "turn {turn} {device}");
        }
        let success = [("collector", "filesystem")];
        assert_eq!(
            parsed.get("node_scrape_collector_success", &success),
            Some(1.0)
        );
        assert_eq!(parsed.get("nodemend_scrape_stuck_threads", &[]), Some(1.0));
        let most = Duration::from_millis(if turn == 0 { 2500 } else { 900 });
        assert!(took < most, "turn {turn} took {took:?}");
    }
    hung.answer();
    let back = (0..1000).any(|_| {
        let (parsed, _) = page_of(&mut page);
        let threads = parsed.get("nodemend_scrape_stuck_threads", &[]);
        parsed.get("node_filesystem_device_error", &stuck).is_none() && threads == Some(0.0)
    });
    assert!(back);
}

#[test]
fn hung_mount_holds_one_thread_however_often_others_come_and_go() {
    let mut hung = Hung::new();
    let well = tempfile::tempdir().unwrap();
    let tree = tree(&[]);
    let mut settings = settings_of(tree.path());
    settings.roots.rootfs = nodemend::collectors::source::roots::Roots::host().rootfs;
    let mut page = ScrapePage::new(&settings, TABLE).unwrap();
    for turn in 0..4 {
        // The hung one, whose name is the first, stands behind containers of which one more comes each time.
        let mut text = String::new();
        for other in (1..8 + turn).rev() {
            let point = well.path().join(other.to_string());
            std::fs::create_dir_all(&point).unwrap();
            let point = point.display();
            text += &format!("{other} 1 0:{other} / {point} rw - tmpfs d{other} rw\n");
        }
        let point = hung.dir.path().display();
        text += &format!("9 1 0:99 / {point} rw - nfs4 d0 rw\n");
        std::fs::write(tree.path().join("proc/1/mountinfo"), text).unwrap();
        let (parsed, _) = page_of(&mut page);
        let threads = parsed.get("nodemend_scrape_stuck_threads", &[]);
        assert_eq!(threads, Some(1.0), "turn {turn}");
        assert_eq!(parsed.count("node_filesystem_size_bytes"), 7 + turn);
    }
    hung.answer();
}
