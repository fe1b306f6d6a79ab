//! Debian's node_exporter 1.5.0 and ours on the same machine and on the same tree, family by
//! family. Every difference stands in a list below, with its reason, and in docs/metrics.md.

use std::path::Path;

use nodemend::collectors::TABLE;

use super::page::{Key, Parsed, Running, fetch, free_port, render, settings_of};
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;

/// Families that only ours has: from node_exporter 1.6 to 1.12, or our own.
const NEWER: [&str; 14] = [
    "node_disk_",
    "node_kernel_hung_tasks_total",
    "node_netstat_TcpExt_TCPOFOQueue",
    "node_netstat_TcpExt_TCPRcvQDrop",
    "node_softnet_backlog_len",
    "node_softnet_cpu_collision_total",
    "node_softnet_flow_limit_count_total",
    "node_softnet_received_rps_total",
    "node_filesystem_mount_info",
    "node_pressure_irq_stalled_seconds_total",
    "node_os_support_end_timestamp_seconds",
    "node_cpu_online",
    "node_watchdog_",
    "nodemend_",
];
/// Labels that node_exporter got after 1.5.0; without them the series are the same.
const NEWER_LABELS: [&str; 3] = ["adminstate", "rotational", "device_error"];
/// Families of node_exporter's own process and of collectors outside the issue's list.
const NOT_OURS: [&str; 6] = [
    "go_",
    "process_",
    "promhttp_",
    "node_exporter_",
    "node_fibrechannel_",
    "node_xfrm_",
];
/// Values that move between two scrapes by nature; their presence is compared, not their value.
const MOVING: [&str; 16] = [
    "node_scrape_",
    "node_memory_",
    "node_vmstat_",
    "node_procs_",
    "node_load",
    "node_sockstat_",
    "node_netstat_",
    "node_network_receive_",
    "node_network_transmit_",
    "node_context_switches",
    "node_intr_",
    "node_forks_",
    "node_softnet_",
    "node_schedstat_",
    "node_disk_",
    "node_filefd_",
];

fn plain(parsed: Parsed) -> Parsed {
    let drop_newer = |(name, labels): Key| {
        let labels = labels
            .into_iter()
            .filter(|(name, _)| !NEWER_LABELS.contains(&name.as_str()));
        (name, labels.collect())
    };
    let series = parsed
        .series
        .into_iter()
        .map(|(key, value)| (drop_newer(key), value))
        .collect();
    Parsed {
        families: parsed.families,
        series,
    }
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Compares the two pages; `exact` also compares every value.
fn compare(theirs: Parsed, ours: Parsed, exact: bool) -> Vec<String> {
    let (theirs, ours) = (plain(theirs), plain(ours));
    let mut different = Vec::new();
    let known: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
    let is_known = |key: &Key| {
        let name = key.1.iter().find(|(label, _)| label == "collector");
        name.is_none_or(|(_, name)| known.contains(&name.as_str()))
    };
    for (name, (help, kind)) in &theirs.families {
        if starts_with_any(name, &NOT_OURS) {
            continue;
        }
        match ours.families.get(name) {
            None => different.push(format!("missing family {name}")),
            Some((our_help, our_kind)) => {
                if kind != our_kind || help != our_help {
                    different.push(format!("{name}: {kind} {help} | {our_kind} {our_help}"));
                }
            }
        }
    }
    for (key, value) in theirs.series.iter().filter(|(key, _)| is_known(key)) {
        if starts_with_any(&key.0, &NOT_OURS) || !ours.families.contains_key(&key.0) {
            continue;
        }
        let Some(our_value) = ours.series.get(key) else {
            different.push(format!("missing series {key:?}"));
            continue;
        };
        let free = !exact && starts_with_any(&key.0, &MOVING);
        let near = (value - our_value).abs()
            <= if exact {
                0.0
            } else {
                0.02 * value.abs().max(100.0)
            };
        let clock = [
            "node_time_seconds",
            "node_scrape_collector_duration_seconds",
        ];
        let same = value.to_bits() == our_value.to_bits();
        if !(free || near || same || clock.contains(&key.0.as_str())) {
            different.push(format!("value of {key:?}: {value} | {our_value}"));
        }
    }
    for key in ours.series.keys() {
        let newer = starts_with_any(&key.0, &NEWER)
            || key.0 == "node_scrape_collector_success"
            || key.0 == "node_scrape_collector_duration_seconds";
        if !theirs.series.contains_key(key) && !newer {
            different.push(format!("extra series {key:?}"));
        }
    }
    different
}

fn node_exporter(port: u16, more: &[&str]) -> Running {
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    // Debian's package has defaults of its own for these; upstream's are ours.
    let mut args = vec![
        listen,
        "--no-collector.systemd".to_owned(),
        "--collector.netdev.device-exclude=".to_owned(),
        r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".to_owned(),
        "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)".to_owned(),
        "--collector.textfile.directory=".to_owned(),
    ];
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    Running::start("prometheus-node-exporter", &args)
}

#[test]
fn live_machine_shows_the_same_as_node_exporter() {
    let port = free_port();
    let _server = node_exporter(port, &[]);
    fetch(port, "/metrics");
    let settings = Settings::defaults(Roots::host(), TABLE);
    // Mounts and links of other tests may come and go between two scrapes; a difference that is
    // real is there every time.
    let mut last = Vec::new();
    for _ in 0..5 {
        let ours = render(&settings);
        let (status, theirs) = fetch(port, "/metrics");
        assert_eq!(status, 200);
        last = compare(Parsed::of(&theirs), Parsed::of(&ours), false);
        if last.is_empty() {
            return;
        }
    }
    panic!("{}", last.join("\n"));
}

#[test]
fn tree_of_a_bare_server_shows_the_same_as_node_exporter() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics/server");
    let port = free_port();
    let at = |flag: &str, below: &str| format!("--path.{flag}={}", tree.join(below).display());
    let paths = [
        at("procfs", "proc"),
        at("sysfs", "sys"),
        at("udev.data", "run/udev/data"),
    ];
    let mut flags: Vec<&str> = paths.iter().map(String::as_str).collect();
    // What the kernel answers for the live machine is not in the tree.
    flags.extend([
        "--no-collector.netdev.netlink",
        "--no-collector.timex",
        "--no-collector.uname",
        "--no-collector.filesystem",
        "--no-collector.os",
        "--no-collector.time",
        "--no-collector.selinux",
        "--no-collector.arp",
    ]);
    let _server = node_exporter(port, &flags);
    let (status, theirs) = fetch(port, "/metrics");
    assert_eq!(status, 200);
    let mut settings = settings_of(&tree);
    for name in [
        "timex",
        "uname",
        "filesystem",
        "os",
        "time",
        "selinux",
        "arp",
    ] {
        settings.set(&format!("collector.{name}"), "false");
    }
    let different = compare(Parsed::of(&theirs), Parsed::of(&render(&settings)), true);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
