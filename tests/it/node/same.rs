//! The comparison with node_exporter and the table of known differences.

use std::fs;
use std::path::Path;

use super::page::{differences, parse};
use super::{ours, theirs, tree};

/// What is not compared: durations differ from run to run, and node_exporter has no such family.
const OWN: [&str; 2] = [
    "node_scrape_collector_duration_seconds",
    "nodemend_scrape_stuck_threads",
];

/// A difference by the beginning of its line, and its reason.
type Known = (&'static str, &'static str);

/// Differences from node_exporter 1.12.1.
const KNOWN_1_12: [Known; 0] = [];

/// Differences from node_exporter 1.5.0, Debian 12's: it lacks what later versions show.
const KNOWN_1_5: [Known; 28] = [
    ("node_exporter_build_info", "its own version"),
    ("node_btrfs_commit", "commit statistics came with 1.8"),
    ("node_btrfs_last_commit", "commit statistics came with 1.8"),
    ("node_btrfs_max_commit", "commit statistics came with 1.8"),
    ("node_cpu_scaling_governor", "came with 1.6"),
    ("node_edac_channel", "came after 1.8"),
    (
        "node_hwmon_chip_names",
        "chips of one device share its label there; told apart since 1.12",
    ),
    ("node_hwmon_freq_freq_mhz", "kind of sensor came with 1.6"),
    ("node_hwmon_pwm_enable", "chips of one device, as above"),
    ("node_hwmon_temp_celsius", "chips of one device, as above"),
    (
        "node_hwmon_sensor_label: {chip=\"hwmon4\"",
        "kind of sensor came with 1.6",
    ),
    ("node_md_degraded", "came after 1.8"),
    ("node_md_raid_disks", "came after 1.8"),
    ("node_mountstats_nfs_mountpoint_info", "came after 1.5"),
    (
        "node_mountstats_nfs_transport",
        "label transport came after 1.5",
    ),
    (
        "node_nfsd_requests_total: {method=\"WdelegGetattr\"",
        "came after 1.5",
    ),
    ("promhttp_metric_handler_errors_total", "its own errors"),
    (
        "node_nfsd_requests_total: {method=\"SetClientID",
        "came after 1.5, which counts them as Verify and Write",
    ),
    (
        "node_nfsd_requests_total: {method=\"Verify\"",
        "mistaken for SetClientID",
    ),
    (
        "node_nfsd_requests_total: {method=\"Write\",proto=\"4\"",
        "mistaken for SetClientIDConfirm",
    ),
    (
        "node_zfs_zpool_dataset",
        "a dataset's name ended at its first blank",
    ),
    (
        "node_zfs_zpool_state: {state=\"suspended\"",
        "state came after 1.5",
    ),
    (
        "node_nfs_requests_total: {method=\"GetDeviceInfo\"",
        "two neighbours were mistaken for each other",
    ),
    (
        "node_nfs_requests_total: {method=\"LayoutGet\"",
        "two neighbours were mistaken for each other",
    ),
    ("node_nvme_info", "label cntlid came after 1.5"),
    ("node_nvme_namespace", "came after 1.8"),
    (
        "node_zfs_arc_memory_available_bytes",
        "signed values came with 1.8",
    ),
    ("node_zfs_dbuf", "came after 1.5"),
];

/// Every difference is in the table, and every line of the table is a difference.
fn check(theirs: &str, ours: &str, known: &[Known]) {
    let (theirs, ours) = (parse(theirs), parse(ours));
    let mut used = vec![false; known.len()];
    let mut unknown = Vec::new();
    for line in differences(&theirs, &ours) {
        if OWN.iter().any(|own| line.starts_with(own)) {
            continue;
        }
        match known.iter().position(|(start, _)| line.starts_with(start)) {
            Some(at) => used[at] = true,
            None => unknown.push(line),
        }
    }
    assert!(
        unknown.is_empty(),
        "{} unknown differences (theirs, ours):\n{}",
        unknown.len(),
        unknown.join("\n")
    );
    for ((start, reason), used) in known.iter().zip(used) {
        assert!(used, "no longer differs: {start} ({reason})");
    }
}

#[test]
fn families_equal_those_of_node_exporter_1_12_1() {
    let root = tree::unpacked();
    let theirs = fs::read_to_string(tree::fixtures().join("expected-1.12.1.prom")).unwrap();
    check(
        &theirs,
        &ours::text(root.path(), &ours::COLLECTORS),
        &KNOWN_1_12,
    );
}

#[test]
fn families_equal_those_of_debians_node_exporter() {
    let root = tree::unpacked();
    // It gives up on what it does not know: a line of newer kernels, an adapter without port state.
    let nfsd = root.path().join("proc/net/rpc/nfsd");
    let text = fs::read_to_string(&nfsd).unwrap();
    fs::write(&nfsd, text.replace("wdeleg_getattr 15\n", "")).unwrap();
    fs::remove_dir_all(root.path().join("sys/class/fc_host/host1")).unwrap();
    // It lacks three collectors; that of watchdogs came with 1.6, the others later.
    let collectors: Vec<&str> = ours::COLLECTORS
        .into_iter()
        .filter(|name| !["watchdog", "bcachefs", "dmmultipath"].contains(name))
        .collect();
    check(
        &theirs::text(root.path(), &collectors),
        &ours::text(root.path(), &collectors),
        &KNOWN_1_5,
    );
}

/// What has no tree to be read from: the kernel's answers over netlink, and files of this machine.
#[test]
fn series_of_this_machine_equal_those_of_debians_node_exporter() {
    let collectors = [
        "qdisc",
        "tcpstat",
        "interrupts",
        "buddyinfo",
        "cgroups",
        "ksmd",
        "slabinfo",
    ];
    let root = Path::new("/");
    let (before, ours, after) = (
        parse(&theirs::text(root, &collectors)),
        parse(&ours::text(root, &collectors)),
        parse(&theirs::text(root, &collectors)),
    );
    let mut compared = 0;
    for (name, theirs) in &before {
        if OWN.contains(&name.as_str()) || name.starts_with("promhttp_") {
            continue;
        }
        let Some(found) = ours.get(name) else {
            assert!(name == "node_exporter_build_info", "{name}: only theirs");
            continue;
        };
        assert_eq!((&theirs.help, &theirs.kind), (&found.help, &found.kind));
        // Sockets and slabs come and go: what was there before and after must be there between.
        // Their page is fetched over a connection, which they then count; ours is not.
        let is_own =
            |labels: &str| name == "node_tcp_connection_states" && labels.contains("established");
        let stays = |labels: &&String| after[name].samples.contains_key(*labels) && !is_own(labels);
        for labels in theirs.samples.keys().filter(stays) {
            assert!(found.samples.contains_key(labels), "{name}{{{labels}}}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}
