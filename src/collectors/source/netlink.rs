//! A netlink dump, for what the kernel tells by no file.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The kernel's dump fills up to this much of the receiver's buffer at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// The longest wait for one datagram; the kernel fills them without waiting for anybody but its
/// own locks.
const MAX_WAIT_SECONDS: i64 = 5;
/// The most datagrams of one dump: about 6 million sockets.
const MAX_DATAGRAMS: usize = 20_000;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;

/// A socket to one of the kernel's netlink families, opened by its first dump.
#[derive(Debug)]
pub struct Dump {
    protocol: SockProtocol,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Dump {
    /// Dumps of this family.
    pub fn new(protocol: SockProtocol) -> Dump {
        Dump {
            protocol,
            socket: None,
            buffer: Vec::new(),
            sequence: 0,
        }
    }

    /// Asks for a dump with a message of this kind and body; gives `each` the body of every
    /// message of the answer.
    ///
    /// *Errors*: the kernel's reason; what `each` got before is incomplete.
    pub fn run(
        &mut self,
        kind: u16,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(self.protocol)?,
        };
        self.buffer.resize(BUFFER_BYTES, 0);
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(HEADER + body.len());
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::EMSGSIZE)?;
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(body);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
        for _ in 0..MAX_DATAGRAMS {
            let got = recv(socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let datagram = self.buffer.get(..got).unwrap_or_default();
            if take(datagram, self.sequence, &mut each)? {
                self.socket = Some(socket);
                return Ok(());
            }
        }
        Err(Errno::EOVERFLOW)
    }
}

fn open(protocol: SockProtocol) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let wait = TimeVal::seconds(MAX_WAIT_SECONDS);
    setsockopt(&socket, sockopt::ReceiveTimeout, &wait)?;
    Ok(socket)
}

/// Takes the messages out of one datagram; true when the dump is complete.
fn take(datagram: &[u8], sequence: u32, each: &mut impl FnMut(&[u8])) -> Result<bool, Errno> {
    let mut rest = datagram;
    while let (Some(length), Some(kind), Some(number)) =
        (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8))
    {
        let length = length as usize;
        let body = rest.get(HEADER..length).ok_or(Errno::EBADMSG)?;
        match kind {
            _ if number != sequence => {}
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(body, 0).unwrap_or_default().cast_signed();
                return Err(Errno::from_raw(code.saturating_neg()));
            }
            _ => each(body),
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// The attributes of a message, kind and value; ends at the first one that is cut.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    const FLAGS: u16 = 0xc000;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind & !FLAGS, value))
    })
}

/// The number of 2 bytes at a place.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The number of 4 bytes at a place.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The number of 8 bytes at a place.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Messages and attributes begin at multiples of 4.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::{attributes, take};
    use nix::errno::Errno;
    use proptest::prelude::{any, proptest};

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = (16 + body.len() as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 2]);
        out.extend(sequence.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn messages_are_taken_until_the_dump_ends_or_fails() {
        let mut bodies = Vec::new();
        let mut each = |body: &[u8]| bodies.push(body.to_vec());
        let first = [message(36, 7, b"abcde"), message(36, 6, b"old")].concat();
        assert_eq!(take(&first, 7, &mut each), Ok(false));
        let last = [message(36, 7, b"f"), message(3, 7, &[0; 4])].concat();
        assert_eq!(take(&last, 7, &mut each), Ok(true));
        let failed = message(2, 7, &(-1_i32).to_ne_bytes());
        assert_eq!(take(&failed, 7, &mut each), Err(Errno::EPERM));
        let mut torn = message(36, 7, b"abcdefgh");
        torn.truncate(18);
        assert_eq!(take(&torn, 7, &mut each), Err(Errno::EBADMSG));
        assert_eq!(bodies, [b"abcde".to_vec(), b"f".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(bytes in any::<Vec<u8>>()) {
            let taken = take(&bytes, 0, &mut |_| {});
            assert!(taken.is_ok() || taken.is_err());
            assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
