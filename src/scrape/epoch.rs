//! When to look for new devices and for files that were missing.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// An epoch ends after this time even if the kernel told of no device: some files appear without
/// an event (a module's `/proc` entry), and a minute late is soon enough for those.
pub const MAX_EPOCH: Duration = Duration::from_secs(60);
/// The kernel's own events, before udev saw them.
const KERNEL_GROUP: u32 = 1;
/// Most events taken in one look; the rest is taken in the next.
const MAX_EVENTS: usize = 256;

/// Counts epochs.
#[derive(Debug)]
pub struct Epoch {
    events: Option<OwnedFd>,
    number: u64,
    since: Duration,
    seen: [u8; 1],
}

impl Epoch {
    /// Starts with epoch 1. Where the kernel's events cannot be had, only time ends an epoch.
    pub fn start(now: Duration) -> Epoch {
        Epoch {
            events: listen(),
            number: 1,
            since: now,
            seen: [0],
        }
    }

    /// The epoch at `now`: a new one if a device came or went, or the last one is old.
    ///
    /// *Cost*: one system call while nothing happens.
    pub fn at(&mut self, now: Duration) -> u64 {
        if self.devices_changed() || now.saturating_sub(self.since) >= MAX_EPOCH {
            self.number += 1;
            self.since = now;
        }
        self.number
    }

    fn devices_changed(&mut self) -> bool {
        let Some(events) = &self.events else {
            return false;
        };
        let mut changed = false;
        for _ in 0..MAX_EVENTS {
            // The content does not matter, so one byte of each event is enough. An error other
            // than "nothing there" is an overrun: events were lost, so something happened.
            match recv(events.as_raw_fd(), &mut self.seen, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => changed = true,
                Err(nix::errno::Errno::EAGAIN) => break,
                Err(_) => return true,
            }
        }
        changed
    }
}

fn listen() -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkKObjectUEvent;
    let events = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).ok()?;
    bind(events.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP)).ok()?;
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::{Epoch, MAX_EPOCH};
    use std::time::Duration;

    #[test]
    fn epoch_ends_after_a_minute_without_events() {
        let mut epoch = Epoch {
            events: None,
            number: 1,
            since: Duration::ZERO,
            seen: [0],
        };
        assert_eq!(epoch.at(Duration::from_secs(59)), 1);
        assert_eq!(epoch.at(MAX_EPOCH), 2);
        assert_eq!(epoch.at(MAX_EPOCH + Duration::from_secs(59)), 2);
        assert_eq!(epoch.at(MAX_EPOCH * 2), 3);
    }
}
