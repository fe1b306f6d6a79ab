//! Connecting to a D-Bus socket and proving who we are.

use super::connection::Connection;
use super::error::{BusError, Phase};
use super::message::Malformed;
use crate::host::deadline::Deadline;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A greeting has three short lines; more than this is no greeting.
const MAX_GREETING_BYTES: usize = 4 * 1024;

/// How long to wait before knocking again on a socket whose queue is full. A stopped daemon never empties it.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// Where to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// PID 1's own socket, `/run/systemd/private`: works while the bus is dead, for root only.
    Private,
    /// The system bus, `/run/dbus/system_bus_socket`.
    Bus,
}

impl Route {
    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Private => "private socket",
            Route::Bus => "system bus",
        }
    }
}

/// A connection whose other side has not accepted us yet.
///
/// It can be kept and asked again later: a stopped daemon then has one waiting client of ours, not one more at every try.
#[derive(Debug)]
pub struct Handshake {
    route: Route,
    path: PathBuf,
    stream: UnixStream,
    received: Vec<u8>,
}

impl Handshake {
    /// Connects and sends the whole greeting.
    ///
    /// The greeting goes out in one write that ends in `BEGIN`, and nothing may follow before the answer: PID 1 never
    /// processes a call that it reads together with `BEGIN` (146 of 200 lost on systemd 241, 31 of 40 on 252).
    ///
    /// *Errors*: everything of connecting; [`BusError::Late`] while the socket's queue stays full.
    pub async fn begin(route: Route, path: &Path, deadline: Deadline) -> Result<Self, BusError> {
        let mut stream = connect(path, deadline).await?;
        let user = nix::unistd::geteuid().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        let greeting = format!("\0AUTH EXTERNAL {hex}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        let sent = deadline.bound(stream.write_all(greeting.as_bytes())).await;
        let handshake = Self {
            route,
            path: path.to_path_buf(),
            stream,
            received: Vec::new(),
        };
        match sent {
            Ok(Ok(())) => Ok(handshake),
            Ok(Err(source)) => Err(handshake.broken(Some(source))),
            Err(elapsed) => Err(BusError::Late {
                phase: Phase::Authenticate,
                after: elapsed.after,
            }),
        }
    }

    /// Waits until the other side has accepted us.
    ///
    /// *Errors*: [`BusError::Late`] leaves the handshake usable for another wait; everything else ends it.
    /// *Cancel safety*: nothing is lost.
    pub async fn wait(&mut self, deadline: Deadline) -> Result<(), BusError> {
        loop {
            if self.accepted_until()?.is_some() {
                return Ok(());
            }
            match deadline
                .bound(self.stream.read_buf(&mut self.received))
                .await
            {
                Ok(Ok(0)) => return Err(self.broken(None)),
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(self.broken(Some(source))),
                Err(elapsed) => {
                    return Err(BusError::Late {
                        phase: Phase::Authenticate,
                        after: elapsed.after,
                    });
                }
            }
        }
    }

    /// Turns an accepted handshake into a connection; on the bus this includes being given a name.
    ///
    /// *Errors*: as [`Handshake::wait`], and those of the call `Hello`.
    pub async fn finish(mut self, deadline: Deadline) -> Result<Connection, BusError> {
        self.wait(deadline).await?;
        let end = self.accepted_until()?.unwrap_or_default();
        let rest = self.received.split_off(end);
        let mut connection = Connection::new(self.route, self.stream, rest);
        if self.route == Route::Bus {
            connection.hello(deadline).await?;
        }
        Ok(connection)
    }

    /// Where the greeting ends, if it was accepted already.
    fn accepted_until(&self) -> Result<Option<usize>, BusError> {
        let mut at = 0;
        let mut accepted = false;
        while let Some((line, next)) = line_at(&self.received, at) {
            at = next;
            let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            match word {
                b"OK" => accepted = true,
                // ERROR after OK: this side passes no file descriptors, and neither do we.
                b"AGREE_UNIX_FD" | b"ERROR" if accepted => return Ok(Some(at)),
                b"REJECTED" => {
                    return Err(BusError::Rejected {
                        path: self.path.clone(),
                    });
                }
                _ => return Err(bad_greeting(line)),
            }
        }
        if self.received.len() > MAX_GREETING_BYTES {
            return Err(bad_greeting(&self.received));
        }
        Ok(None)
    }

    /// The connection broke during the greeting, as PID 1 breaks it with clients that it cannot see: those of a PID namespace
    /// beside or above its own (tried on 252; a client in a namespace below, as in a pod, is served).
    fn broken(&self, source: Option<io::Error>) -> BusError {
        if self.route == Route::Private && self.is_peer_elsewhere() {
            return BusError::Foreign {
                path: self.path.clone(),
            };
        }
        match source {
            Some(source) => BusError::from_stream(Phase::Authenticate, source),
            None => BusError::Closed {
                phase: Phase::Authenticate,
                source: None,
            },
        }
    }
}

impl Handshake {
    /// Whether the other side lives in another PID namespace than we do, as far as the kernel and `/proc` tell.
    fn is_peer_elsewhere(&self) -> bool {
        let Some(peer) = self.stream.peer_cred().ok().and_then(|cred| cred.pid()) else {
            return false;
        };
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid"));
        match (namespace(&peer.to_string()), namespace("self")) {
            _ if peer == 0 => true,
            (Ok(theirs), Ok(ours)) => theirs != ours,
            _ => false,
        }
    }
}

async fn connect(path: &Path, deadline: Deadline) -> Result<UnixStream, BusError> {
    let late = || BusError::Late {
        phase: Phase::Connect,
        after: deadline.span(),
    };
    loop {
        match deadline.bound(UnixStream::connect(path)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(full)) if full.kind() == io::ErrorKind::WouldBlock => {
                let pause = FULL_QUEUE_PAUSE.min(deadline.remaining());
                if pause.is_zero() {
                    return Err(late());
                }
                tokio::time::sleep(pause).await;
            }
            Ok(Err(source)) => return Err(BusError::from_connect(path, source)),
            Err(_elapsed) => return Err(late()),
        }
    }
}

fn line_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((rest.get(..length)?, at + length + 2))
}

fn bad_greeting(line: &[u8]) -> BusError {
    let start = line.get(..line.len().min(60)).unwrap_or_default();
    Malformed::Greeting(String::from_utf8_lossy(start).into_owned()).into()
}
