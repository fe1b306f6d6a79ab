//! The families of `netclass` and the files that hold them.

use crate::exposition::family::Family;

const SOURCE: &str = "RTM_GETLINK, or /sys/class/net/<device>";
/// Whether the device works.
pub const UP: Family = Family::gauge(
    "node_network_up",
    "Value is 1 if operstate is 'up', 0 otherwise.",
)
.from(SOURCE);
/// The properties that are words.
pub const INFO: Family = Family::gauge(
    "node_network_info",
    "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
)
.from(SOURCE)
.differs("label adminstate as in node_exporter 1.6 and later");

const fn gauge(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family::gauge(name, help).from(source)
}
const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE)
}

/// The numbers, in the order of [`Properties`].
pub const PROPERTIES: [Family; 17] = [
    gauge(
        "node_network_address_assign_type",
        "Network device property: address_assign_type",
        "/sys/class/net/<device>/addr_assign_type",
    ),
    gauge(
        "node_network_carrier",
        "Network device property: carrier",
        SOURCE,
    ),
    counter(
        "node_network_carrier_changes_total",
        "Network device property: carrier_changes_total",
    ),
    counter(
        "node_network_carrier_up_changes_total",
        "Network device property: carrier_up_changes_total",
    ),
    counter(
        "node_network_carrier_down_changes_total",
        "Network device property: carrier_down_changes_total",
    ),
    gauge(
        "node_network_device_id",
        "Network device property: device_id",
        "/sys/class/net/<device>/dev_id",
    ),
    gauge(
        "node_network_dormant",
        "Network device property: dormant",
        SOURCE,
    ),
    gauge(
        "node_network_flags",
        "Network device property: flags",
        SOURCE,
    ),
    gauge(
        "node_network_iface_id",
        "Network device property: iface_id",
        SOURCE,
    ),
    gauge(
        "node_network_iface_link",
        "Network device property: iface_link",
        SOURCE,
    ),
    gauge(
        "node_network_iface_link_mode",
        "Network device property: iface_link_mode",
        SOURCE,
    ),
    gauge(
        "node_network_mtu_bytes",
        "Network device property: mtu_bytes",
        SOURCE,
    )
    .unit("bytes"),
    gauge(
        "node_network_name_assign_type",
        "Network device property: name_assign_type",
        "/sys/class/net/<device>/name_assign_type",
    ),
    gauge(
        "node_network_net_dev_group",
        "Network device property: net_dev_group",
        SOURCE,
    ),
    gauge(
        "node_network_speed_bytes",
        "Network device property: speed_bytes",
        "/sys/class/net/<device>/speed",
    )
    .unit("bytes per second"),
    gauge(
        "node_network_transmit_queue_length",
        "Network device property: transmit_queue_length",
        SOURCE,
    ),
    gauge(
        "node_network_protocol_type",
        "Network device property: protocol_type",
        SOURCE,
    ),
];
/// The numbers of one device; `None` where the kernel does not say.
pub type Properties = [Option<i64>; PROPERTIES.len()];
/// The same properties as files below `/sys/class/net/<device>`.
pub const FILES: [&str; PROPERTIES.len()] = [
    "addr_assign_type",
    "carrier",
    "carrier_changes",
    "carrier_up_count",
    "carrier_down_count",
    "dev_id",
    "dormant",
    "flags",
    "ifindex",
    "iflink",
    "link_mode",
    "mtu",
    "name_assign_type",
    "netdev_group",
    "speed",
    "tx_queue_len",
    "type",
];
