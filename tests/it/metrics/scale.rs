//! 1,000 interfaces, 1,000 mounts, 512 processors: right, and linear in their number.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nodemend::collectors::TABLE;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;

use super::page::{Parsed, settings_of};

fn write(tree: &Path, file: &str, text: &str) {
    let path = tree.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine of this many processors, interfaces and mounts.
fn machine(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut stat = String::from("cpu  1 2 3 4 5 6 7 8 9 10\n");
    let mut softnet = String::new();
    let mut sched = String::from("version 17\n");
    let mut links = String::from(
        "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
    );
    let mut mounts = String::new();
    for number in 0..count {
        writeln!(stat, "cpu{number} {number} 2 3 4 5 6 7 8 9 10").unwrap();
        writeln!(softnet, "{number:08x} 0 0 0 0 0 0 0 0 0 0 0 {number:08x}").unwrap();
        writeln!(
            sched,
            "cpu{number} 0 0 0 0 0 0 {number} 2 3\ndomain0 {} 1 2 3",
            "f".repeat(128)
        )
        .unwrap();
        writeln!(
            links,
            "veth{number}: {number} 1 0 0 0 0 0 0 2 3 0 0 0 0 0 0"
        )
        .unwrap();
        writeln!(
            mounts,
            "{number} 1 0:{number} / /m{number} rw - tmpfs t{number} rw"
        )
        .unwrap();
        fs::create_dir(dir.path().join(format!("m{number}"))).unwrap();
    }
    stat.push_str("intr 5\nctxt 6\nbtime 7\nprocesses 8\nprocs_running 1\nprocs_blocked 0\n");
    write(dir.path(), "proc/stat", &stat);
    write(dir.path(), "proc/net/softnet_stat", &softnet);
    write(dir.path(), "proc/schedstat", &sched);
    write(dir.path(), "proc/net/dev", &links);
    write(dir.path(), "proc/1/mountinfo", &mounts);
    fs::create_dir_all(dir.path().join("sys")).unwrap();
    dir
}

fn best_time(page: &mut ScrapePage) -> Duration {
    let selection = Selection::Only(vec!["cpu", "softnet", "schedstat", "netdev", "filesystem"]);
    let time = |page: &mut ScrapePage| {
        let began = Instant::now();
        page.render(&selection);
        began.elapsed()
    };
    (0..15).map(|_| time(page)).min().unwrap()
}

#[test]
fn wide_machine_is_whole_and_right() {
    let dir = machine(1000);
    let settings = settings_of(dir.path());
    let mut page = ScrapePage::new(&settings, TABLE).unwrap();
    for _ in 0..2 {
        let text = String::from_utf8(page.render(&Selection::All).to_vec()).unwrap();
        let parsed = Parsed::of(&text);
        assert_eq!(parsed.count("node_cpu_seconds_total"), 8000);
        assert_eq!(parsed.count("node_schedstat_timeslices_total"), 1000);
        assert_eq!(parsed.count("node_softnet_processed_total"), 1000);
        assert_eq!(parsed.count("node_network_receive_bytes_total"), 1000);
        assert_eq!(parsed.count("node_filesystem_size_bytes"), 1000);
        let get = |name: &str, labels: &[(&str, &str)]| parsed.get(name, labels);
        assert_eq!(
            get(
                "node_cpu_seconds_total",
                &[("cpu", "999"), ("mode", "user")]
            ),
            Some(9.99)
        );
        assert_eq!(
            get("node_network_receive_bytes_total", &[("device", "veth999")]),
            Some(999.0)
        );
        assert_eq!(
            get("node_softnet_processed_total", &[("cpu", "999")]),
            Some(999.0)
        );
    }
}

#[test]
fn time_grows_no_faster_than_the_machine() {
    let (small, large) = (machine(250), machine(1000));
    let mut small = ScrapePage::new(&settings_of(small.path()), TABLE).unwrap();
    let mut large = ScrapePage::new(&settings_of(large.path()), TABLE).unwrap();
    // Four times the machine may take eight times as long on a machine that others use too;
    // anything quadratic takes sixteen times.
    let growth = (0..5).any(|_| best_time(&mut large) < best_time(&mut small) * 8);
    assert!(growth);
}
