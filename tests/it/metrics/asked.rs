//! Every family that the usual dashboards and rules ask for, with the labels that they select by or join on: "Node
//! Exporter Full" (Grafana 1860), the node mixin and its Grafana successor, the rules of kube-prometheus and
//! kubernetes-mixin, awesome-prometheus-alerts. Read from these on 2026-11-22; names only, the queries are theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::process;

use super::page::{Parsed, render, settings_of};

/// The labels, and the families that are asked with them.
const ASKED: [(&str, &str); 31] = [
    (
        "",
        "node_boot_time_seconds node_time_seconds node_load1 node_load5 node_load15 node_procs_blocked node_procs_running
         node_forks_total node_context_switches_total node_intr_total node_entropy_available_bits node_entropy_pool_size_bits
         node_filefd_allocated node_filefd_maximum node_nf_conntrack_entries node_nf_conntrack_entries_limit
         node_textfile_scrape_error node_processes_pids node_processes_max_processes node_processes_threads
         node_processes_max_threads",
    ),
    (
        "",
        "node_memory_MemTotal_bytes node_memory_MemFree_bytes node_memory_MemAvailable_bytes node_memory_Buffers_bytes
         node_memory_Cached_bytes node_memory_SwapTotal_bytes node_memory_SwapFree_bytes node_memory_SwapCached_bytes
         node_memory_Active_bytes node_memory_Inactive_bytes node_memory_Active_anon_bytes node_memory_Inactive_anon_bytes
         node_memory_Active_file_bytes node_memory_Inactive_file_bytes node_memory_AnonPages_bytes
         node_memory_AnonHugePages_bytes node_memory_Mapped_bytes node_memory_Shmem_bytes node_memory_ShmemHugePages_bytes
         node_memory_ShmemPmdMapped_bytes node_memory_Slab_bytes node_memory_SReclaimable_bytes node_memory_SUnreclaim_bytes
         node_memory_Dirty_bytes node_memory_Writeback_bytes node_memory_WritebackTmp_bytes node_memory_CommitLimit_bytes
         node_memory_Committed_AS_bytes node_memory_VmallocUsed_bytes node_memory_VmallocTotal_bytes
         node_memory_VmallocChunk_bytes node_memory_DirectMap1G_bytes node_memory_DirectMap2M_bytes
         node_memory_DirectMap4k_bytes node_memory_Unevictable_bytes node_memory_Mlocked_bytes node_memory_HugePages_Free
         node_memory_HugePages_Rsvd node_memory_HugePages_Surp node_memory_HugePages_Total node_memory_Hugepagesize_bytes
         node_memory_HardwareCorrupted_bytes node_memory_PageTables_bytes node_memory_KernelStack_bytes
         node_memory_Percpu_bytes node_memory_Bounce_bytes node_memory_NFS_Unstable_bytes",
    ),
    (
        "",
        "node_vmstat_pgfault node_vmstat_pgmajfault node_vmstat_pgpgin node_vmstat_pgpgout node_vmstat_oom_kill
         node_vmstat_pswpin node_vmstat_pswpout",
    ),
    (
        "",
        "node_netstat_Tcp_InErrs node_netstat_Tcp_OutRsts node_netstat_Tcp_RetransSegs node_netstat_Tcp_ActiveOpens
         node_netstat_Tcp_PassiveOpens node_netstat_Tcp_CurrEstab node_netstat_Tcp_InSegs node_netstat_Tcp_OutSegs
         node_netstat_TcpExt_ListenDrops node_netstat_TcpExt_ListenOverflows node_netstat_TcpExt_SyncookiesFailed
         node_netstat_TcpExt_SyncookiesRecv node_netstat_TcpExt_SyncookiesSent node_netstat_TcpExt_TCPOFOQueue
         node_netstat_TcpExt_TCPRcvQDrop node_netstat_TcpExt_TCPSynRetrans node_netstat_Udp_InErrors
         node_netstat_Udp_InDatagrams node_netstat_Udp_OutDatagrams node_netstat_Udp_NoPorts node_netstat_Udp_RcvbufErrors
         node_netstat_Udp_SndbufErrors node_netstat_UdpLite_InErrors node_netstat_Icmp_InMsgs node_netstat_Icmp_OutMsgs
         node_netstat_Icmp_InErrors node_netstat_IpExt_InOctets node_netstat_IpExt_OutOctets node_netstat_Ip_Forwarding
         node_netstat_Udp6_InDatagrams node_netstat_Udp6_OutDatagrams",
    ),
    (
        "",
        "node_sockstat_FRAG_inuse node_sockstat_FRAG_memory node_sockstat_RAW_inuse node_sockstat_TCP_alloc
         node_sockstat_TCP_inuse node_sockstat_TCP_mem node_sockstat_TCP_mem_bytes node_sockstat_TCP_orphan
         node_sockstat_TCP_tw node_sockstat_UDPLITE_inuse node_sockstat_UDP_inuse node_sockstat_UDP_mem
         node_sockstat_UDP_mem_bytes node_sockstat_sockets_used node_sockstat_TCP6_inuse node_sockstat_UDP6_inuse
         node_sockstat_UDPLITE6_inuse node_sockstat_FRAG6_inuse node_sockstat_RAW6_inuse",
    ),
    (
        "",
        "node_timex_sync_status node_timex_frequency_adjustment_ratio node_timex_estimated_error_seconds
         node_timex_loop_time_constant node_timex_maxerror_seconds node_timex_offset_seconds node_timex_tai_offset_seconds
         node_timex_tick_seconds",
    ),
    (
        "",
        "node_pressure_cpu_waiting_seconds_total node_pressure_io_stalled_seconds_total
         node_pressure_io_waiting_seconds_total node_pressure_memory_stalled_seconds_total
         node_pressure_memory_waiting_seconds_total",
    ),
    ("time_zone", "node_time_zone_offset_seconds"),
    ("cpu mode", "node_cpu_seconds_total node_cpu_guest_seconds_total"),
    (
        "cpu",
        "node_cpu_scaling_frequency_hertz node_cpu_scaling_frequency_max_hertz node_cpu_scaling_frequency_min_hertz
         node_schedstat_running_seconds_total node_schedstat_timeslices_total node_schedstat_waiting_seconds_total
         node_softnet_dropped_total node_softnet_processed_total node_softnet_times_squeezed_total",
    ),
    (
        "device",
        "node_disk_read_bytes_total node_disk_written_bytes_total node_disk_reads_completed_total
         node_disk_writes_completed_total node_disk_reads_merged_total node_disk_writes_merged_total
         node_disk_io_time_seconds_total node_disk_discard_time_seconds_total node_disk_discards_completed_total
         node_disk_discards_merged_total node_disk_io_now node_disk_io_time_weighted_seconds_total
         node_disk_read_time_seconds_total node_disk_write_time_seconds_total",
    ),
    (
        "device fstype mountpoint",
        "node_filesystem_size_bytes node_filesystem_avail_bytes node_filesystem_free_bytes node_filesystem_files
         node_filesystem_files_free node_filesystem_device_error node_filesystem_readonly",
    ),
    (
        "device",
        "node_network_receive_bytes_total node_network_transmit_bytes_total node_network_receive_packets_total
         node_network_transmit_packets_total node_network_receive_compressed_total node_network_transmit_compressed_total
         node_network_receive_errs_total node_network_transmit_errs_total node_network_receive_drop_total
         node_network_transmit_drop_total node_network_receive_fifo_total node_network_transmit_fifo_total
         node_network_receive_frame_total node_network_receive_multicast_total node_network_up node_network_carrier
         node_network_mtu_bytes node_network_speed_bytes node_network_transmit_carrier_total
         node_network_transmit_colls_total node_network_transmit_queue_length node_network_device_id node_arp_entries",
    ),
    ("device operstate", "node_network_info"),
    ("nodename release sysname", "node_uname_info"),
    ("id pretty_name version_id", "node_os_info"),
    ("collector", "node_scrape_collector_success node_scrape_collector_duration_seconds"),
    ("state", "node_processes_state node_tcp_connection_states node_systemd_units"),
    ("cpu type", "node_interrupts_total"),
    (
        "chip sensor",
        "node_hwmon_temp_celsius node_hwmon_temp_crit_alarm_celsius node_hwmon_temp_crit_celsius
         node_hwmon_temp_crit_hyst_celsius node_hwmon_temp_max_celsius node_hwmon_temp_alarm",
    ),
    ("chip label sensor", "node_hwmon_sensor_label"),
    ("chip chip_name", "node_hwmon_chip_names"),
    ("power_supply", "node_power_supply_online"),
    ("name type", "node_cooling_device_cur_state node_cooling_device_max_state"),
    ("device", "node_md_disks_required"),
    ("device state", "node_md_disks node_md_state"),
    ("master", "node_bonding_active node_bonding_slaves"),
    ("controller", "node_edac_correctable_errors_total node_edac_uncorrectable_errors_total"),
    ("name state", "node_systemd_unit_state"),
    (
        "name",
        "node_systemd_socket_accepted_connections_total node_systemd_service_restart_total",
    ),
    (
        "",
        "process_max_fds process_open_fds process_cpu_seconds_total process_virtual_memory_bytes
         process_resident_memory_bytes process_virtual_memory_max_bytes node_exporter_build_info",
    ),
];

/// Families that neither this machine nor a fixture tree has, so that only their names are known.
const NEEDS: [(&str, &str); 5] = [
    (
        "node_systemd_",
        "a system manager; tests/it/systemd has one",
    ),
    ("process_", "a server; the agent's page has it"),
    (
        "node_exporter_build_info",
        "a server; the agent's page has it",
    ),
    (
        "node_hwmon_temp_",
        "a chip with that file; names come from the kernel",
    ),
    (
        "node_memory_HardwareCorrupted_bytes",
        "a kernel with memory failure handling; names come from the kernel",
    ),
];

/// What dashboards ask for and node_exporter 1.12 does not show either, with the default settings.
///
/// `node_network_up{operstate="up"}` ("Network Operational Status" of 1860): the label is that of `node_network_info`.
/// `node_netstat_Tcp_MaxConn`: not among the default fields. `process_resident_memory_max_bytes`: no exporter has it.
/// `node_network_transmit_multicast_total` is of BSD.
const NOBODY_HAS: [&str; 3] = [
    "node_netstat_Tcp_MaxConn",
    "process_resident_memory_max_bytes",
    "node_network_transmit_multicast_total",
];

/// The labels of each family's series on this machine and on the fixture trees, with every collector of theirs on.
fn shown() -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let tree = crate::node::tree::unpacked();
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics/server");
    let machines = [
        Settings::defaults(Roots::host(), TABLE),
        settings_of(&server),
        settings_of(tree.path()),
    ];
    let mut shown: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
    for mut settings in machines {
        for name in ["processes", "interrupts", "tcpstat"] {
            settings.set(&format!("collector.{name}"), "true");
        }
        for (name, labels) in Parsed::of(&render(&settings)).series.into_keys() {
            let labels = labels.into_iter().map(|(label, _)| label).collect();
            shown.entry(name).or_default().push(labels);
        }
    }
    shown
}

#[test]
fn every_family_and_label_that_dashboards_ask_for_is_there() {
    let shown = shown();
    let hole = regex::Regex::new("<[^>]*>").unwrap();
    let families = TABLE.iter().flat_map(|entry| entry.families);
    let families = families.chain(&process::FAMILIES);
    let known: Vec<regex::Regex> = families
        .map(|family| {
            let pattern = hole.replace_all(family.name, ".+");
            regex::Regex::new(&format!("^{pattern}$")).unwrap()
        })
        .collect();
    let mut missing = Vec::new();
    let mut count = 0;
    for (labels, families) in ASKED {
        let labels: BTreeSet<String> = labels.split_whitespace().map(str::to_owned).collect();
        for family in families.split_whitespace() {
            count += 1;
            let has = |series: &BTreeSet<String>| labels.is_subset(series);
            let is_needy = NEEDS.iter().any(|(prefix, _)| family.starts_with(prefix));
            match shown.get(family) {
                Some(series) if series.iter().any(has) => {}
                None if is_needy && known.iter().any(|known| known.is_match(family)) => {}
                other => missing.push(format!("{family} {labels:?}: {other:?}")),
            }
        }
    }
    assert!(count > 200 && missing.is_empty(), "{}", missing.join("\n"));
    let surprise: Vec<_> = NOBODY_HAS
        .iter()
        .filter(|name| shown.contains_key(**name))
        .collect();
    assert!(surprise.is_empty(), "{surprise:?} are here after all");
}
