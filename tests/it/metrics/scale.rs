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

/// A server's sysfs: processors with their caches' and clocks' files, memory nodes, interfaces.
fn server(processors: usize, nodes: usize, links: usize) -> tempfile::TempDir {
    let dir = machine(1);
    let tree = dir.path();
    let mut stat = String::from("cpu  1 2 3 4 5 6 7 8 9 10\n");
    let mut interrupts = String::from("     ");
    for cpu in 0..processors {
        writeln!(stat, "cpu{cpu} {cpu} 2 3 4 5 6 7 8 9 10").unwrap();
        write!(interrupts, " CPU{cpu}").unwrap();
        let below = format!("sys/devices/system/cpu/cpu{cpu}");
        let file = |name: &str, text: String| write(tree, &format!("{below}/{name}"), &text);
        file("topology/core_id", format!("{cpu}\n"));
        file("topology/physical_package_id", format!("{}\n", cpu / 64));
        file("thermal_throttle/core_throttle_count", format!("{cpu}\n"));
        file(
            "thermal_throttle/package_throttle_count",
            format!("{}\n", cpu / 64),
        );
        file("cpufreq/scaling_cur_freq", format!("{}\n", 1_000_000 + cpu));
        file("cpufreq/scaling_min_freq", "800000\n".to_owned());
        file("cpufreq/scaling_max_freq", "3600000\n".to_owned());
        file("cpufreq/scaling_governor", "performance\n".to_owned());
        file(
            "cpufreq/scaling_available_governors",
            "performance powersave\n".to_owned(),
        );
    }
    interrupts.push('\n');
    for line in 0..8 {
        write!(interrupts, "{line:4}:").unwrap();
        (0..processors).for_each(|cpu| write!(interrupts, " {cpu}").unwrap());
        interrupts.push_str("  IR-PCI-MSI 524288-edge      eth0\n");
    }
    let mut buddyinfo = String::new();
    for node in 0..nodes {
        for zone in ["DMA", "Normal"] {
            writeln!(
                buddyinfo,
                "Node {node}, zone {zone:>8} {node} 2 3 4 5 6 7 8 9 10 11"
            )
            .unwrap();
        }
    }
    for link in 0..links {
        let below = format!("sys/class/net/veth{link}");
        for (name, text) in [
            ("operstate", "up"),
            ("mtu", "1500"),
            ("ifindex", "7"),
            ("speed", "10000"),
        ] {
            write(tree, &format!("{below}/{name}"), &format!("{text}\n"));
        }
    }
    stat.push_str("intr 5\nctxt 6\nbtime 7\nprocesses 8\nprocs_running 1\nprocs_blocked 0\n");
    write(tree, "proc/stat", &stat);
    write(tree, "proc/interrupts", &interrupts);
    write(tree, "proc/buddyinfo", &buddyinfo);
    dir
}

const SERVER: [&str; 5] = ["cpu", "cpufreq", "interrupts", "buddyinfo", "netclass"];

fn every_collector_answered(page: &Parsed) -> bool {
    let success = page.series.iter();
    let success = success.filter(|((name, _), _)| name.ends_with("_success"));
    let values: Vec<f64> = success.map(|(_, value)| *value).collect();
    values.len() == SERVER.len() && values.iter().all(|value| *value > 0.0)
}

fn server_page(dir: &tempfile::TempDir) -> ScrapePage {
    let mut settings = settings_of(dir.path());
    for name in SERVER {
        settings.set(&format!("collector.{name}"), "true");
    }
    ScrapePage::new(&settings, TABLE).unwrap()
}

#[test]
fn large_server_of_512_processors_and_64_memory_nodes_is_whole_and_right() {
    let dir = server(512, 64, 1000);
    let mut page = server_page(&dir);
    let selection = Selection::Only(SERVER.to_vec());
    for _ in 0..2 {
        // Thirty thousand files of a tree take longer than a first deadline on a busy machine; a
        // source that is slow but answers is waited for on the next page.
        let parsed = (0..20)
            .map(|_| Parsed::of(&String::from_utf8_lossy(page.render(&selection))))
            .find(every_collector_answered)
            .expect("a page on which every collector answered");
        for (family, count) in [
            ("node_cpu_seconds_total", 512 * 8),
            ("node_cpu_core_throttles_total", 512),
            ("node_cpu_package_throttles_total", 8),
            ("node_cpu_scaling_frequency_hertz", 512),
            ("node_interrupts_total", 8 * 512),
            ("node_buddyinfo_blocks", 64 * 2 * 11),
            ("node_network_mtu_bytes", 1000),
        ] {
            assert_eq!(parsed.count(family), count, "{family}");
        }
        let frequency = parsed.get("node_cpu_scaling_frequency_hertz", &[("cpu", "511")]);
        assert_eq!(frequency, Some(1_000_511_000.0));
        let labels = [("node", "63"), ("size", "0"), ("zone", "Normal")];
        assert_eq!(parsed.get("node_buddyinfo_blocks", &labels), Some(63.0));
    }
}

#[test]
fn time_grows_no_faster_than_the_server() {
    let (small, large) = (server(128, 16, 250), server(512, 64, 1000));
    let (mut small, mut large) = (server_page(&small), server_page(&large));
    let selection = Selection::Only(SERVER.to_vec());
    let best = |page: &mut ScrapePage| {
        // A page on which a collector was late is quick and says nothing of its time.
        let time = |_| {
            let began = Instant::now();
            let text = page.render(&selection);
            let elapsed = began.elapsed();
            let parsed = Parsed::of(&String::from_utf8_lossy(text));
            every_collector_answered(&parsed).then_some(elapsed)
        };
        let answered = (0..5).filter_map(time).min();
        answered.expect("a page on which every collector answered")
    };
    // Four times the server, as above.
    assert!((0..5).any(|_| best(&mut large) < best(&mut small) * 8));
}
