//! What other machines than those of the fixtures show: hardware, neighbours and scripts that this one has not.

use std::fs;
use std::path::Path;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;

use super::page::{Parsed, render, settings_of};

fn write(tree: &Path, files: &[(&str, &str)]) {
    for (below, text) in files {
        let path = tree.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// The settings of a tree with one collector switched on.
fn only(tree: &Path, name: &str) -> Settings {
    let mut settings = settings_of(tree);
    for entry in TABLE {
        let is_on = entry.name == name;
        settings.set(&format!("collector.{}", entry.name), &is_on.to_string());
    }
    settings
}

fn succeeded(parsed: &Parsed, name: &str) -> Option<f64> {
    parsed.get("node_scrape_collector_success", &[("collector", name)])
}

/// Files as drivers/hwmon/acpi_power_meter.c (Linux 6.12) writes them, and a label of applesmc.c.
#[test]
fn words_among_the_sensors_of_a_server_are_passed_over() {
    let tree = tempfile::tempdir().unwrap();
    write(
        tree.path(),
        &[
            ("sys/class/hwmon/hwmon0/name", "power_meter\n"),
            ("sys/class/hwmon/hwmon0/power1_average", "168000000\n"),
            ("sys/class/hwmon/hwmon0/power1_average_interval", "1000\n"),
            ("sys/class/hwmon/hwmon0/power1_accuracy", "90.0%\n"),
            ("sys/class/hwmon/hwmon0/power1_is_battery", "0\n"),
            ("sys/class/hwmon/hwmon0/power1_model_number", "PMBus\n"),
            ("sys/class/hwmon/hwmon0/power1_oem_info", "Intel(R)\n"),
            ("sys/class/hwmon/hwmon0/power1_serial_number", "\n"),
            ("sys/class/hwmon/hwmon1/name", "applesmc\n"),
            ("sys/class/hwmon/hwmon1/fan1_input", "1998\n"),
            ("sys/class/hwmon/hwmon1/fan1_label", "Left side  \n"),
        ],
    );
    let page = Parsed::of(&render(&only(tree.path(), "hwmon")));
    assert_eq!(succeeded(&page, "hwmon"), Some(1.0));
    let sensor = [("chip", "power_meter"), ("sensor", "power1")];
    let of = |name: &str| page.get(name, &sensor);
    assert_eq!(of("node_hwmon_power_average_watt"), Some(168.0));
    assert_eq!(of("node_hwmon_power_average_interval_seconds"), Some(1.0));
    assert_eq!(of("node_hwmon_power_is_battery_watt"), Some(0.0));
    assert_eq!(of("node_hwmon_power_accuracy"), None);
    assert_eq!(of("node_hwmon_power_model_number_watt"), None);
    let label = [
        ("chip", "applesmc"),
        ("label", "Left side  "),
        ("sensor", "fan1"),
    ];
    assert_eq!(page.get("node_hwmon_sensor_label", &label), Some(1.0));
}

/// `ip neigh add proxy 192.0.2.9 dev eth0`, as Linux 6.18 shows it.
#[test]
fn addresses_that_a_router_answers_for_are_no_neighbours_unless_the_file_is_asked() {
    let tree = tempfile::tempdir().unwrap();
    let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
        192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n\
        192.0.2.2        0x1         0x0         00:00:00:00:00:00     *        eth0\n\
        192.0.2.9        0x1         0xc         00:00:00:00:00:00     *        eth0\n";
    write(tree.path(), &[("proc/net/arp", table)]);
    for (netlink, entries) in [("true", 2.0), ("false", 3.0)] {
        let mut settings = only(tree.path(), "arp");
        settings.set("collector.arp.netlink", netlink);
        let page = Parsed::of(&render(&settings));
        let found = page.get("node_arp_entries", &[("device", "eth0")]);
        assert_eq!(found, Some(entries), "netlink {netlink}");
    }
}

#[test]
fn a_series_that_two_scripts_write_is_shown_once_and_own_families_stay_whole() {
    let tree = tempfile::tempdir().unwrap();
    write(
        tree.path(),
        &[
            ("a.prom", "a 1\na{x=\"\"} 2\na{x=\"1\"} 3\n"),
            ("b.prom", "a 4\na{x=\"1\"} 5\na{x=\"2\"} 6\n"),
            (
                "c.prom",
                "nodemend_mode 1\nnode_scrape_collector_success 1\nnode_textfile_mtime_seconds 1\n",
            ),
            ("d.prom", "node_load1 7\n"),
        ],
    );
    let mut settings = only(tree.path(), "textfile");
    let dir = tree.path().to_str().unwrap();
    settings.set("collector.textfile.directory", dir);
    let text = render(&settings);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('a')).collect();
    assert_eq!(lines, ["a 1", "a{x=\"1\"} 3", "a{x=\"2\"} 6"]);
    let page = Parsed::of(&text);
    assert_eq!(page.get("nodemend_mode", &[]), None);
    assert_eq!(page.get("node_scrape_collector_success", &[]), None);
    assert_eq!(page.get("node_textfile_mtime_seconds", &[]), None);
    assert_eq!(page.get("node_textfile_scrape_error", &[]), Some(1.0));
    // The collector that has this family is switched off, so a script may.
    assert_eq!(page.get("node_load1", &[]), Some(7.0));
}

#[test]
fn a_missing_file_costs_no_series_of_the_others_of_its_collector() {
    let tree = tempfile::tempdir().unwrap();
    let conntrack = "entries clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
        icmp_error expect_new expect_create expect_delete search_restart\n";
    let conntrack = format!("{conntrack}{}\n", "00000001 ".repeat(17));
    write(
        tree.path(),
        &[
            ("proc/net/snmp", "Udp: InErrors NoPorts\nUdp: 3 4\n"),
            ("proc/net/snmp6", "Udp6InErrors 5\n"),
            ("proc/net/stat/nf_conntrack", conntrack.as_str()),
            ("proc/sys/net/netfilter/nf_conntrack_count", "7\n"),
            ("proc/sys/kernel/random/poolsize", "256\n"),
            ("sys/devices/system/cpu/isolated", "1\n"),
            ("sys/devices/system/cpu/cpu0/online", "1\n"),
        ],
    );
    for (collector, family, value) in [
        ("netstat", "node_netstat_Udp_InErrors", 3.0),
        ("netstat", "node_netstat_Udp6_InErrors", 5.0),
        ("conntrack", "node_nf_conntrack_entries", 7.0),
        ("conntrack", "node_nf_conntrack_stat_found", 1.0),
        ("entropy", "node_entropy_pool_size_bits", 256.0),
    ] {
        let page = Parsed::of(&render(&only(tree.path(), collector)));
        assert_eq!(page.get(family, &[]), Some(value), "{family}");
        assert_eq!(succeeded(&page, collector), Some(0.0), "{collector}");
    }
    let page = Parsed::of(&render(&only(tree.path(), "cpu")));
    assert_eq!(page.get("node_cpu_isolated", &[("cpu", "1")]), Some(1.0));
    assert_eq!(succeeded(&page, "cpu"), Some(0.0));
}
