//! PID 1's own connection to the system bus, reached through `pidfd_getfd`, and silenced.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{UnixAddr, getpeername};
use nix::unistd::{Pid, close};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::node::Node;

const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// PID 1 no longer hears the bus: its epoll entry for the connection asks for no events.
///
/// The picture (tried on systemd 252): the bus daemon answers, calls to PID 1 on the bus do not, the private socket
/// does. `daemon-reexec` gives PID 1 a new connection and so ends it without a release.
#[derive(Debug)]
pub struct MutedBus {
    place: Place,
}

impl MutedBus {
    pub fn on(node: &Node) -> Result<Self> {
        let place = Place::find(node.leader()?)?;
        place.set_events(0)?;
        Ok(Self { place })
    }

    /// Gives PID 1 its ears back. Does nothing if the connection is another one by now.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for MutedBus {
    fn drop(&mut self) {
        // The node may be off, or have re-executed PID 1: then there is nothing left to release.
        if self.place.is_current()
            && let Err(error) = self.place.set_events(self.place.events)
        {
            eprintln!("the bus could not be unmuted: {error:#}");
        }
    }
}

/// Where in a process its bus connection is: descriptor numbers in *its* table.
#[derive(Clone, Debug)]
pub struct Place {
    pub pid: Pid,
    pub socket: RawFd,
    /// Inode of the socket: a new connection under the same number is another one.
    inode: String,
    epoll: RawFd,
    /// What the process itself asked epoll for.
    events: u32,
    data: u64,
}

impl Place {
    pub fn find(pid: Pid) -> Result<Self> {
        let process = PidFd::open(pid)?;
        let mut epolls = Vec::new();
        let mut sockets = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let entry = entry?;
            let number: RawFd = entry.file_name().to_string_lossy().parse()?;
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            if target == "anon_inode:[eventpoll]" {
                epolls.push(number);
            } else if target.starts_with("socket:") && is_bus_connection(&process.fetch(number)?) {
                sockets.push((number, target));
            }
        }
        for epoll in epolls {
            let entries = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}"))?;
            for line in entries.lines() {
                let Some((number, events, data)) = epoll_entry(line) else {
                    continue;
                };
                if let Some((socket, inode)) = sockets.iter().find(|(socket, _)| *socket == number)
                {
                    let (socket, inode) = (*socket, inode.clone());
                    return Ok(Self {
                        pid,
                        socket,
                        inode,
                        epoll,
                        events,
                        data,
                    });
                }
            }
        }
        bail!("process {pid} watches no connection to {BUS_SOCKET} (sockets {sockets:?})")
    }

    fn is_current(&self) -> bool {
        let link = fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.socket));
        link.is_ok_and(|target| target.to_string_lossy() == self.inode)
    }

    /// Changes what the process's epoll reports about the connection.
    fn set_events(&self, events: u32) -> Result<()> {
        let place = self.clone();
        // The key of an epoll entry is (file, descriptor number), so our copy of the socket needs the very
        // number that it has there. Taking that number would close whatever this test binary has under it:
        // so it is done by a thread with a descriptor table of its own, which ends right after.
        let changed = thread::spawn(move || -> Result<()> {
            unshare(CloneFlags::CLONE_FILES).context("unshare the descriptor table")?;
            place.set_events_in_own_table(events)
        });
        match changed.join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that changes the epoll entry panicked"),
        }
    }

    fn set_events_in_own_table(&self, events: u32) -> Result<()> {
        let process = PidFd::open(self.pid)?;
        // Out of the way of the number that the socket needs.
        let above = self.socket + 1;
        let epoll = fcntl_dupfd_cloexec(process.fetch(self.epoll)?, above)?;
        let socket = fcntl_dupfd_cloexec(process.fetch(self.socket)?, above)?;
        drop(process);
        // Free already, more often than not.
        close(self.socket).ok();
        let same_number = fcntl_dupfd_cloexec(&socket, self.socket)?;
        ensure!(
            same_number.as_raw_fd() == self.socket,
            "descriptor {} is taken",
            self.socket
        );
        let flags = EventFlags::from_bits_retain(events);
        epoll::modify(&epoll, &same_number, EventData::new_u64(self.data), flags)
            .context("epoll_ctl on PID 1's epoll")
    }
}

/// `tfd: 37 events: 19 data: 55d0c0ffee  pos:0 ...` of an epoll's fdinfo (proc(5)).
fn epoll_entry(line: &str) -> Option<(RawFd, u32, u64)> {
    let mut words = line.strip_prefix("tfd:")?.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let events = words.nth(1)?;
    let data = words.nth(1)?;
    Some((
        number,
        u32::from_str_radix(events, 16).ok()?,
        u64::from_str_radix(data, 16).ok()?,
    ))
}

fn is_bus_connection(socket: &OwnedFd) -> bool {
    let peer = getpeername::<UnixAddr>(socket.as_raw_fd());
    peer.is_ok_and(|address| {
        address
            .path()
            .is_some_and(|path| path.ends_with("dbus/system_bus_socket"))
    })
}

/// A handle on a process that cannot come to mean another one.
pub struct PidFd(OwnedFd);

impl PidFd {
    pub fn open(pid: Pid) -> Result<Self> {
        let id = rustix::process::Pid::from_raw(pid.as_raw()).context("process id 0")?;
        let handle = pidfd_open(id, PidfdFlags::empty());
        Ok(Self(
            handle.with_context(|| format!("pidfd_open of {pid}"))?,
        ))
    }

    /// A copy of the process's descriptor `number`.
    pub fn fetch(&self, number: RawFd) -> Result<OwnedFd> {
        let copy = pidfd_getfd(&self.0, number, PidfdGetfdFlags::empty());
        copy.with_context(|| format!("pidfd_getfd of descriptor {number}"))
    }
}
