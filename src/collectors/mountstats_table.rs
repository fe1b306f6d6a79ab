//! The families of an NFS mount, in the order in which its lines stand in `mountstats`.

use crate::exposition::family::Family;

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from("/proc/self/mountstats")
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from("/proc/self/mountstats")
}

/// Column of the mount's age.
pub const AGE: usize = 0;
/// Column of the mount point's info.
pub const INFO: usize = 1;
/// First column of the line `bytes:`, which has this many numbers, all shown.
pub const BYTES: usize = 2;
/// How many numbers the line `bytes:` has.
pub const BYTE_COUNT: usize = 8;
/// First column of the line `events:`.
pub const EVENTS: usize = 10;
/// How many numbers the line `events:` has, and which of them is not shown: waiting for
/// congestion, which kernels no longer count.
pub const EVENT_COUNT: usize = 27;
/// See [`EVENT_COUNT`].
pub const EVENT_HIDDEN: usize = 18;
/// First column of the lines `xprt:`.
pub const TRANSPORT: usize = 36;
/// Places of a transport's numbers that are shown, of those that follow protocol and port.
pub const TRANSPORT_SHOWN: [usize; 10] = [0, 1, 3, 4, 5, 6, 8, 9, 10, 11];
/// First column of the operations.
pub const OPERATIONS: usize = 46;
/// What divides an operation's numbers: the last three are milliseconds.
pub const OPERATION_DIVISORS: [f64; 8] = [1.0, 1.0, 1.0, 1.0, 1.0, 1000.0, 1000.0, 1000.0];

/// Counters that float64 cannot hold are shown modulo this, as node_exporter does: some kernels
/// print a negative duration as a huge number.
pub const MANTISSA: u64 = 1 << 53;

/// The families by column.
pub const FAMILIES: [Family; 54] = [
    counter(
        "node_mountstats_nfs_age_seconds_total",
        "The age of the NFS mount in seconds.",
    ),
    gauge(
        "node_mountstats_nfs_mountpoint_info",
        "Info metric for an NFS mountpoint.",
    ),
    counter(
        "node_mountstats_nfs_read_bytes_total",
        "Number of bytes read using the read() syscall.",
    ),
    counter(
        "node_mountstats_nfs_write_bytes_total",
        "Number of bytes written using the write() syscall.",
    ),
    counter(
        "node_mountstats_nfs_direct_read_bytes_total",
        "Number of bytes read using the read() syscall in O_DIRECT mode.",
    ),
    counter(
        "node_mountstats_nfs_direct_write_bytes_total",
        "Number of bytes written using the write() syscall in O_DIRECT mode.",
    ),
    counter(
        "node_mountstats_nfs_total_read_bytes_total",
        "Number of bytes read from the NFS server, in total.",
    ),
    counter(
        "node_mountstats_nfs_total_write_bytes_total",
        "Number of bytes written to the NFS server, in total.",
    ),
    counter(
        "node_mountstats_nfs_read_pages_total",
        "Number of pages read directly via mmap()'d files.",
    ),
    counter(
        "node_mountstats_nfs_write_pages_total",
        "Number of pages written directly via mmap()'d files.",
    ),
    counter(
        "node_mountstats_nfs_event_inode_revalidate_total",
        "Number of times cached inode attributes are re-validated from the server.",
    ),
    counter(
        "node_mountstats_nfs_event_dnode_revalidate_total",
        "Number of times cached dentry nodes are re-validated from the server.",
    ),
    counter(
        "node_mountstats_nfs_event_data_invalidate_total",
        "Number of times an inode cache is cleared.",
    ),
    counter(
        "node_mountstats_nfs_event_attribute_invalidate_total",
        "Number of times cached inode attributes are invalidated.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_open_total",
        "Number of times cached inode attributes are invalidated.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_lookup_total",
        "Number of times a directory lookup has occurred.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_access_total",
        "Number of times permissions have been checked.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_update_page_total",
        "Number of updates (and potential writes) to pages.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_read_page_total",
        "Number of pages read directly via mmap()'d files.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_read_pages_total",
        "Number of times a group of pages have been read.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_write_page_total",
        "Number of pages written directly via mmap()'d files.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_write_pages_total",
        "Number of times a group of pages have been written.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_getdents_total",
        "Number of times directory entries have been read with getdents().",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_setattr_total",
        "Number of times directory entries have been read with getdents().",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_flush_total",
        "Number of pending writes that have been forcefully flushed to the server.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_fsync_total",
        "Number of times fsync() has been called on directories and files.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_lock_total",
        "Number of times locking has been attempted on a file.",
    ),
    counter(
        "node_mountstats_nfs_event_vfs_file_release_total",
        "Number of times files have been closed and released.",
    ),
    counter(
        "node_mountstats_nfs_event_truncation_total",
        "Number of times files have been truncated.",
    ),
    counter(
        "node_mountstats_nfs_event_write_extension_total",
        "Number of times a file has been grown due to writes beyond its existing end.",
    ),
    counter(
        "node_mountstats_nfs_event_silly_rename_total",
        "Number of times a file was removed while still open by another process.",
    ),
    counter(
        "node_mountstats_nfs_event_short_read_total",
        "Number of times the NFS server gave less data than expected while reading.",
    ),
    counter(
        "node_mountstats_nfs_event_short_write_total",
        "Number of times the NFS server wrote less data than expected while writing.",
    ),
    counter(
        "node_mountstats_nfs_event_jukebox_delay_total",
        "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage.",
    ),
    counter(
        "node_mountstats_nfs_event_pnfs_read_total",
        "Number of NFS v4.1+ pNFS reads.",
    ),
    counter(
        "node_mountstats_nfs_event_pnfs_write_total",
        "Number of NFS v4.1+ pNFS writes.",
    ),
    counter(
        "node_mountstats_nfs_transport_bind_total",
        "Number of times the client has had to establish a connection from scratch to the NFS server.",
    ),
    counter(
        "node_mountstats_nfs_transport_connect_total",
        "Number of times the client has made a TCP connection to the NFS server.",
    ),
    gauge(
        "node_mountstats_nfs_transport_idle_time_seconds",
        "Duration since the NFS mount last saw any RPC traffic, in seconds.",
    ),
    counter(
        "node_mountstats_nfs_transport_sends_total",
        "Number of RPC requests for this mount sent to the NFS server.",
    ),
    counter(
        "node_mountstats_nfs_transport_receives_total",
        "Number of RPC responses for this mount received from the NFS server.",
    ),
    counter(
        "node_mountstats_nfs_transport_bad_transaction_ids_total",
        "Number of times the NFS server sent a response with a transaction ID unknown to this client.",
    ),
    counter(
        "node_mountstats_nfs_transport_backlog_queue_total",
        "Total number of items added to the RPC backlog queue.",
    ),
    gauge(
        "node_mountstats_nfs_transport_maximum_rpc_slots",
        "Maximum number of simultaneously active RPC requests ever used.",
    ),
    counter(
        "node_mountstats_nfs_transport_sending_queue_total",
        "Total number of items added to the RPC transmission sending queue.",
    ),
    counter(
        "node_mountstats_nfs_transport_pending_queue_total",
        "Total number of items added to the RPC transmission pending queue.",
    ),
    counter(
        "node_mountstats_nfs_operations_requests_total",
        "Number of requests performed for a given operation.",
    ),
    counter(
        "node_mountstats_nfs_operations_transmissions_total",
        "Number of times an actual RPC request has been transmitted for a given operation.",
    ),
    counter(
        "node_mountstats_nfs_operations_major_timeouts_total",
        "Number of times a request has had a major timeout for a given operation.",
    ),
    counter(
        "node_mountstats_nfs_operations_sent_bytes_total",
        "Number of bytes sent for a given operation, including RPC headers and payload.",
    ),
    counter(
        "node_mountstats_nfs_operations_received_bytes_total",
        "Number of bytes received for a given operation, including RPC headers and payload.",
    ),
    counter(
        "node_mountstats_nfs_operations_queue_time_seconds_total",
        "Duration all requests spent queued for transmission for a given operation before they were sent, in seconds.",
    ),
    counter(
        "node_mountstats_nfs_operations_response_time_seconds_total",
        "Duration all requests took to get a reply back after a request for a given operation was transmitted, in seconds.",
    ),
    counter(
        "node_mountstats_nfs_operations_request_time_seconds_total",
        "Duration all requests took from when a request was enqueued to when it was completely handled for a given operation, in seconds.",
    ),
];
