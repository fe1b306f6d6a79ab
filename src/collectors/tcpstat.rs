//! `tcpstat`: TCP sockets by state, from the kernel's socket diagnosis (`sock_diag(7)`).

use nix::sys::socket::SockProtocol;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::netlink::{Dump, u32_at};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const STATES: Family = Family::gauge("node_tcp_connection_states", "Number of connection states.")
    .from("NETLINK_SOCK_DIAG of the process's network namespace");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "tcpstat",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &[STATES],
    open,
};

/// By the kernel's number of the state (`include/net/tcp_states.h`), which begins at 1. Number 0
/// stands for those that are new to us.
const NAMES: [&str; 12] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `struct inet_diag_req_v2`: family, protocol, extensions, states, and an empty socket id.
const REQUEST_BYTES: usize = 56;
const ALL_STATES: [u8; 4] = 0xfff_u32.to_ne_bytes();
/// Places in `struct inet_diag_msg`.
const STATE_AT: usize = 1;
const RECEIVE_QUEUE_AT: usize = 56;
const SEND_QUEUE_AT: usize = 60;

struct TcpStat {
    dump: Dump,
    head: Head,
    labels: [Labels; 12],
    queued: [Labels; 2],
}

fn open(_: &Settings, _: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let state = |name: &str| Labels::new(&[("state", name.as_bytes())]);
    Ok(Box::new(TcpStat {
        dump: Dump::new(SockProtocol::NetlinkSockDiag),
        head: Head::of(&STATES),
        labels: NAMES.map(state),
        queued: ["rx_queued_bytes", "tx_queued_bytes"].map(state),
    }))
}

/// What was counted.
#[derive(Default)]
struct Counts {
    states: [u64; 12],
    queued: [u64; 2],
    sockets: u64,
}

impl Counts {
    fn add(&mut self, message: &[u8]) {
        let state = message.get(STATE_AT).map(|state| usize::from(*state));
        let (Some(state), Some(receive), Some(send)) = (
            state,
            u32_at(message, RECEIVE_QUEUE_AT),
            u32_at(message, SEND_QUEUE_AT),
        ) else {
            return;
        };
        self.sockets += 1;
        let known = if state < NAMES.len() { state } else { 0 };
        if let Some(count) = self.states.get_mut(known) {
            *count += 1;
        }
        for (sum, bytes) in self.queued.iter_mut().zip([receive, send]) {
            *sum += u64::from(bytes);
        }
    }
}

impl Collector for TcpStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut counts = Counts::default();
        for family in [AF_INET, AF_INET6] {
            let mut request = [0; REQUEST_BYTES];
            let [own, protocol, _, _, a, b, c, d, ..] = &mut request;
            (*own, *protocol) = (family, IPPROTO_TCP);
            [*a, *b, *c, *d] = ALL_STATES;
            let ran = self
                .dump
                .run(SOCK_DIAG_BY_FAMILY, &request, |message| counts.add(message));
            ran.map_err(|source| CollectError::System {
                call: "sock_diag",
                source,
            })?;
        }
        let mut family = turn.page.family(&self.head);
        for (labels, count) in self.labels.iter().zip(counts.states) {
            if count > 0 {
                family.int(labels, count);
            }
        }
        if counts.sockets > 0 {
            for (labels, bytes) in self.queued.iter().zip(counts.queued) {
                family.int(labels, bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, RECEIVE_QUEUE_AT, SEND_QUEUE_AT};

    #[test]
    fn sockets_are_counted_by_state_and_cut_messages_are_not() {
        let mut counts = Counts::default();
        for (state, receive, send) in [(1_u8, 5_u8, 7_u8), (10, 0, 0), (200, 1, 0)] {
            let mut message = [0; 72];
            message[1] = state;
            message[RECEIVE_QUEUE_AT] = receive;
            message[SEND_QUEUE_AT] = send;
            counts.add(&message);
            counts.add(&message[..60]);
        }
        assert_eq!(counts.sockets, 3);
        assert_eq!(
            (counts.states[1], counts.states[10], counts.states[0]),
            (1, 1, 1)
        );
        assert_eq!(counts.queued, [6, 7]);
    }
}
