//! What node_exporter has and this page has not: said in the documentation and to those who ask for it, and taken as
//! said by those who switch it off (`--no-collector.wifi` stands in many a DaemonSet).

/// A collector, or a switch of one.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut {
    /// The flag without dashes: `collector.wifi`.
    pub flag: &'static str,
    /// Why it is left out, and where the same is found.
    pub why: &'static str,
}

const fn left_out(flag: &'static str, why: &'static str) -> LeftOut {
    LeftOut { flag, why }
}

/// No dashboard or rule in wide use asks for it.
const UNASKED: &str =
    "off by default there, and none of the usual dashboards and rules asks for it";
/// `ioctl`, `perf_event_open` and the like.
const UNSAFE: &str = "needs system calls that this program forbids itself (unsafe code)";

/// Every collector and switch of node_exporter 1.12 on Linux that is not here, all off by default there.
pub const LEFT_OUT: [LeftOut; 23] = [
    left_out("collector.cpu_vulnerabilities", UNASKED),
    left_out("collector.drbd", UNASKED),
    left_out("collector.drm", UNASKED),
    left_out("collector.ethtool", UNSAFE),
    left_out(
        "collector.lnstat",
        "`conntrack` and `arp` show the parts of it that are asked for",
    ),
    left_out("collector.logind", UNASKED),
    left_out("collector.meminfo_numa", UNASKED),
    left_out(
        "collector.netclass_rtnl.with-stats",
        "`netdev` has the statistics; the two would show each series twice",
    ),
    left_out("collector.netdev.address-info", UNASKED),
    left_out(
        "collector.netdev.label-ifalias",
        "`node_network_info` has the label `ifalias`",
    ),
    left_out("collector.network_route", UNASKED),
    left_out(
        "collector.ntp",
        "deprecated there: asks another machine within a scrape; `timex` has the clock's offset",
    ),
    left_out("collector.nvmesubsystem", UNASKED),
    left_out("collector.pcidevice", UNASKED),
    left_out("collector.perf", UNSAFE),
    left_out("collector.runit", "deprecated there"),
    left_out(
        "collector.softirqs",
        "`cpu` has the time spent in them, `softnet` those of the network",
    ),
    left_out("collector.supervisord", "deprecated there"),
    left_out(
        "collector.swap",
        "`meminfo` has the sum of all swap areas, `vmstat` what moves",
    ),
    left_out(
        "collector.sysctl",
        "`nodemend_kernel_sysctl_matches` has the settings that the machine declares",
    ),
    left_out("collector.wifi", UNSAFE),
    left_out("collector.xfrm", UNASKED),
    left_out("collector.zoneinfo", UNASKED),
];
