//! The machine's network links by one RTM_GETLINK dump, shared by `netdev` and `netclass`.
//!
//! One dump answers what would be thirty sysfs files for each link. The rtnetlink lock may be held
//! for long by others, so the dump runs on a worker.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use crate::collectors::error::CollectError;

/// Counters of `struct rtnl_link_stats64` that are read, in its order.
pub const COUNTERS: usize = 24;
/// The kernel's dump fills up to this much of the receiver's buffer at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Most links that are kept. Far above any real count.
const MAX_LINKS: usize = 65_536;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;

/// One link as the kernel described it in one turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `ifi_index`.
    pub index: u32,
    /// `ifi_type`.
    pub kind: u16,
    /// `ifi_flags`, as userspace sees them.
    pub flags: u32,
    /// The name's bytes; empty if the kernel gave none.
    pub name: Vec<u8>,
    /// Hardware address.
    pub address: Vec<u8>,
    /// Hardware broadcast address.
    pub broadcast: Vec<u8>,
    /// The operator's alias; empty if none.
    pub alias: Vec<u8>,
    /// `IFLA_MTU`.
    pub mtu: u32,
    /// `IFLA_LINK`: the link below; its own index where the kernel names none.
    pub below: u32,
    /// `IFLA_TXQLEN`.
    pub queue_length: u32,
    /// `IFLA_OPERSTATE` (RFC 2863).
    pub operstate: u8,
    /// `IFLA_LINKMODE`.
    pub link_mode: u8,
    /// `IFLA_GROUP`.
    pub group: u32,
    /// `IFLA_PROMISCUITY`.
    pub promiscuity: u32,
    /// `IFLA_ALLMULTI` (Linux 6.10), how many asked for all multicast.
    pub all_multicast: Option<u32>,
    /// `IFLA_CARRIER`.
    pub carrier: u8,
    /// `IFLA_CARRIER_CHANGES`.
    pub carrier_changes: u32,
    /// `IFLA_CARRIER_UP_COUNT`.
    pub carrier_ups: u32,
    /// `IFLA_CARRIER_DOWN_COUNT`.
    pub carrier_downs: u32,
    /// `IFLA_STATS64`; `None` if the kernel gave none.
    pub counters: Option<[u64; COUNTERS]>,
}

/// The links of one turn; memory is kept between turns.
#[derive(Debug)]
pub struct Links {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    links: Vec<Link>,
    count: usize,
    turn: u64,
    result: Result<(), Errno>,
}

impl Links {
    /// No links yet; the socket is opened by the first dump.
    pub fn new() -> Arc<Mutex<Links>> {
        Arc::new(Mutex::new(Links {
            socket: None,
            buffer: Vec::new(),
            links: Vec::new(),
            count: 0,
            turn: 0,
            result: Ok(()),
        }))
    }

    /// The links in this turn; asks the kernel if nobody did yet.
    ///
    /// *Errors*: the kernel's reason, for every caller of this turn.
    /// *Cost*: one `sendto`, one `recv` for each 64 KiB (about 45 links).
    pub fn of_turn(&mut self, turn: u64) -> Result<&[Link], CollectError> {
        if self.turn != turn {
            self.turn = turn;
            self.count = 0;
            // A dump that raced with a change says so; it is asked for once more.
            self.result = self.dump(turn).or_else(|_| {
                self.socket = None;
                self.count = 0;
                self.dump(turn)
            });
        }
        match self.result {
            Ok(()) => Ok(self.links.get(..self.count).unwrap_or_default()),
            Err(source) => Err(CollectError::System {
                call: "RTM_GETLINK",
                source,
            }),
        }
    }

    fn dump(&mut self, turn: u64) -> Result<(), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => socket(
                AddressFamily::Netlink,
                SockType::Raw,
                flags,
                SockProtocol::NetlinkRoute,
            )?,
        };
        self.buffer.resize(BUFFER_BYTES, 0);
        let sequence = turn as u32;
        let request = request(sequence);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
        loop {
            let got = recv(socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let buffer = std::mem::take(&mut self.buffer);
            let done = self.take(buffer.get(..got).unwrap_or_default(), sequence);
            self.buffer = buffer;
            if done? {
                self.socket = Some(socket);
                return Ok(());
            }
        }
    }

    /// Takes the links out of one datagram; true when the dump is complete.
    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<bool, Errno> {
        /// `NLM_F_DUMP_INTR`: links changed while the kernel listed them.
        const INTERRUPTED: u16 = 0x10;
        let mut rest = datagram;
        while let Some(length) = u32_at(rest, 0).map(|length| length as usize) {
            let (Some(kind), Some(flags), Some(number)) =
                (u16_at(rest, 4), u16_at(rest, 6), u32_at(rest, 8))
            else {
                break;
            };
            let Some(message) = rest.get(HEADER..length) else {
                return Err(Errno::EBADMSG);
            };
            if number == sequence {
                match kind {
                    NLMSG_DONE => return Ok(true),
                    NLMSG_ERROR => {
                        let code = u32_at(message, 0).unwrap_or_default().cast_signed();
                        return Err(Errno::from_raw(code.saturating_neg()));
                    }
                    RTM_NEWLINK if flags & INTERRUPTED != 0 => return Err(Errno::EINTR),
                    RTM_NEWLINK => self.push(message),
                    _ => {}
                }
            }
            rest = rest.get(aligned(length)..).unwrap_or_default();
        }
        Ok(false)
    }

    fn push(&mut self, message: &[u8]) {
        if self.count == self.links.len() && self.count < MAX_LINKS {
            self.links.push(Link::default());
        }
        if let Some(link) = self.links.get_mut(self.count)
            && link.fill(message).is_some()
        {
            self.count += 1;
        }
    }
}

impl Clone for Link {
    fn clone(&self) -> Link {
        let mut link = Link::default();
        link.clone_from(self);
        link
    }

    /// Reuses the memory of the texts; the derived one would allocate four times.
    fn clone_from(&mut self, other: &Link) {
        let [name, address, broadcast, alias] = [
            &mut self.name,
            &mut self.address,
            &mut self.broadcast,
            &mut self.alias,
        ]
        .map(std::mem::take);
        let copied = |mut into: Vec<u8>, from: &[u8]| {
            into.clear();
            into.extend_from_slice(from);
            into
        };
        *self = Link {
            name: copied(name, &other.name),
            address: copied(address, &other.address),
            broadcast: copied(broadcast, &other.broadcast),
            alias: copied(alias, &other.alias),
            ..*other
        };
    }
}

impl Link {
    /// Fills a link from `struct ifinfomsg` and its attributes, reusing its memory.
    fn fill(&mut self, message: &[u8]) -> Option<()> {
        let mut attributes = message.get(LINK_HEADER..)?;
        self.kind = u16_at(message, 2)?;
        self.index = u32_at(message, 4)?;
        self.flags = u32_at(message, 8)?;
        self.below = self.index;
        self.counters = None;
        self.all_multicast = None;
        for text in [
            &mut self.name,
            &mut self.address,
            &mut self.broadcast,
            &mut self.alias,
        ] {
            text.clear();
        }
        while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
            let length = usize::from(length);
            let Some(value) = attributes.get(4..length) else {
                break;
            };
            self.set(kind, value);
            attributes = attributes.get(aligned(length)..).unwrap_or_default();
        }
        (!self.name.is_empty()).then_some(())
    }

    fn set(&mut self, kind: u16, value: &[u8]) {
        let number = || u32_at(value, 0).unwrap_or_default();
        let byte = || value.first().copied().unwrap_or_default();
        match kind {
            1 => self.address.extend_from_slice(value),
            2 => self.broadcast.extend_from_slice(value),
            3 => self.name.extend_from_slice(text(value)),
            4 => self.mtu = number(),
            5 => self.below = number(),
            13 => self.queue_length = number(),
            16 => self.operstate = byte(),
            17 => self.link_mode = byte(),
            20 => self.alias.extend_from_slice(text(value)),
            23 => self.counters = counters(value),
            27 => self.group = number(),
            30 => self.promiscuity = number(),
            33 => self.carrier = byte(),
            35 => self.carrier_changes = number(),
            47 => self.carrier_ups = number(),
            48 => self.carrier_downs = number(),
            61 => self.all_multicast = Some(number()),
            _ => {}
        }
    }
}

/// `RTM_GETLINK` for all links: netlink header and an empty `ifinfomsg`.
fn request(sequence: u32) -> [u8; HEADER + LINK_HEADER] {
    let mut bytes = [0; HEADER + LINK_HEADER];
    let length = bytes.len() as u32;
    let parts = length
        .to_ne_bytes()
        .into_iter()
        .chain(RTM_GETLINK.to_ne_bytes())
        .chain(NLM_F_REQUEST_DUMP.to_ne_bytes())
        .chain(sequence.to_ne_bytes());
    for (slot, byte) in bytes.iter_mut().zip(parts) {
        *slot = byte;
    }
    bytes
}

/// Kernels differ in how many counters there are; those before the 24th came one by one.
fn counters(value: &[u8]) -> Option<[u64; COUNTERS]> {
    let mut counters = [0; COUNTERS];
    for (slot, bytes) in counters.iter_mut().zip(value.chunks_exact(8)) {
        *slot = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    (value.len() >= 23 * 8).then_some(counters)
}

fn text(value: &[u8]) -> &[u8] {
    value.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn aligned(length: usize) -> usize {
    // A length below the header would not get us forward.
    length.max(4).next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Link, Links};
    use proptest::prelude::{any, proptest};

    #[test]
    fn dump_names_the_links_that_sysfs_names() {
        let links = Links::new();
        let mut links = links.lock().unwrap();
        for turn in 1..=2 {
            let mut dumped: Vec<_> = links
                .of_turn(turn)
                .unwrap()
                .iter()
                .map(|link| link.name.clone())
                .collect();
            dumped.sort();
            let mut listed =
                crate::collectors::source::dir::names(std::path::Path::new("/sys/class/net"))
                    .unwrap();
            listed.retain(|name| name != b"bonding_masters");
            assert_eq!(dumped, listed);
        }
    }

    proptest! {
        #[test]
        fn any_message_is_taken_without_panic(message in any::<Vec<u8>>(), sequence in 0_u32..2) {
            let links = Links::new();
            let mut links = links.lock().unwrap();
            let _taken = links.take(&message, sequence);
            let _filled = Link::default().fill(&message);
        }
    }
}
