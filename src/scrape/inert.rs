//! node_exporter's flags that have no effect here, so that a command line that was written for it starts, and its old names
//! for flags that do.

use clap::{Arg, ArgAction, Command};

/// Why most of them are not built.
const UNASKED: &str =
    "none of the dashboards and rules in wide use asks for it (tests/it/metrics/asked.rs)";
/// `ioctl`, `perf_event_open` and the like.
const UNSAFE: &str = "needs system calls that this program forbids itself (unsafe code)";
const DEPRECATED: &str = "deprecated there";

/// Its collectors that are off by default there (in 1.12.1) and not built here, and why.
pub const COLLECTORS: [(&str, &str); 24] = [
    ("cpu_vulnerabilities", UNASKED),
    ("drbd", UNASKED),
    ("drm", UNASKED),
    ("ethtool", UNSAFE),
    (
        "lnstat",
        "`conntrack` shows the part of it that is asked for",
    ),
    ("logind", UNASKED),
    ("meminfo_numa", UNASKED),
    (
        "netclass_rtnl",
        "`netclass` asks the kernel by rtnetlink anyway",
    ),
    ("network_route", UNASKED),
    (
        "ntp",
        "deprecated there: asks another machine within a scrape; `timex` has the clock's offset",
    ),
    ("nvmesubsystem", UNASKED),
    ("pcidevice", UNASKED),
    ("perf", UNSAFE),
    ("runit", DEPRECATED),
    (
        "softirqs",
        "`cpu` has the time spent in them, `softnet` those of the network",
    ),
    ("supervisord", DEPRECATED),
    (
        "swap",
        "`meminfo` has the sum of all swap areas, `vmstat` what moves",
    ),
    (
        "sysctl",
        "`nodemend_kernel_sysctl_matches` has the settings that the machine declares",
    ),
    ("wifi", UNSAFE),
    ("xfrm", UNASKED),
    ("zoneinfo", UNASKED),
    // Additions to collectors that are built.
    ("netdev.address-info", UNASKED),
    (
        "netdev.label-ifalias",
        "`node_network_info` has the label `ifalias`",
    ),
    (
        "systemd.private",
        "systemd's private socket is tried first anyway",
    ),
];
/// Switches of those collectors, and of its process.
const SWITCHES: [&str; 7] = [
    "collector.netclass_rtnl.with-stats",
    "collector.ntp.server-is-local",
    "collector.pcidevice.names",
    "collector.perf.disable-cache-profilers",
    "collector.perf.disable-hardware-profilers",
    "collector.perf.disable-software-profilers",
    "web.disable-exporter-metrics",
];
/// Values of those collectors, and of its process: ours has bounds of its own.
const VALUES: [&str; 23] = [
    "collector.ethtool.device-exclude",
    "collector.ethtool.device-include",
    "collector.ethtool.metrics-include",
    "collector.ntp.ip-ttl",
    "collector.ntp.local-offset-tolerance",
    "collector.ntp.max-distance",
    "collector.ntp.protocol-version",
    "collector.ntp.server",
    "collector.ntp.server-port",
    "collector.pcidevice.idsfile",
    "collector.perf.cache-profilers",
    "collector.perf.cpus",
    "collector.perf.hardware-profilers",
    "collector.perf.software-profilers",
    "collector.perf.tracepoint",
    "collector.qdisc.fixtures",
    "collector.runit.servicedir",
    "collector.supervisord.url",
    "collector.sysctl.include",
    "collector.sysctl.include-info",
    "collector.wifi.fixtures",
    "runtime.gomaxprocs",
    "web.max-requests",
];

/// Old names, hidden in node_exporter's help and still understood there, and the names of today.
const RENAMED: [(&str, &str); 9] = [
    (
        "collector.diskstats.ignored-devices",
        "collector.diskstats.device-exclude",
    ),
    (
        "collector.filesystem.ignored-fs-types",
        "collector.filesystem.fs-types-exclude",
    ),
    (
        "collector.filesystem.ignored-mount-points",
        "collector.filesystem.mount-points-exclude",
    ),
    (
        "collector.netdev.device-blacklist",
        "collector.netdev.device-exclude",
    ),
    (
        "collector.netdev.device-whitelist",
        "collector.netdev.device-include",
    ),
    (
        "collector.qdisk.device-exclude",
        "collector.qdisc.device-exclude",
    ),
    (
        "collector.qdisk.device-include",
        "collector.qdisc.device-include",
    ),
    (
        "collector.systemd.unit-blacklist",
        "collector.systemd.unit-exclude",
    ),
    (
        "collector.systemd.unit-whitelist",
        "collector.systemd.unit-include",
    ),
];

/// The old name of a flag, if it has one.
pub fn old_name(flag: &str) -> Option<&'static str> {
    let found = RENAMED.iter().find(|(_, today)| *today == flag);
    found.map(|(old, _)| *old)
}

/// The switch of a collector that is not built, for each of them.
pub fn collectors() -> impl Iterator<Item = String> {
    COLLECTORS
        .iter()
        .map(|(name, _)| format!("collector.{name}"))
}

/// The other switches.
pub fn switches() -> impl Iterator<Item = String> {
    SWITCHES.iter().map(|name| (*name).to_owned())
}

/// `command`, which takes the values and forgets them.
pub fn taken_by(command: Command) -> Command {
    VALUES.iter().fold(command, |command, name| {
        let hidden = Arg::new(*name).long(*name).hide(true);
        command.arg(hidden.action(ArgAction::Append))
    })
}
