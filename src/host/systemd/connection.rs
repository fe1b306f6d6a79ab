//! A conversation over D-Bus: calls out, answers in.

use super::error::{BusError, Phase};
use super::handshake::Route;
use super::message::{Body, Call, Message, MessageType, PREFIX_BYTES, decode, encode, frame_bytes};
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::signal::Uptime;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zvariant::serialized::Context;
use zvariant::{DynamicType, Endian};

/// The bus daemon's name.
pub const BUS_DAEMON: &str = "org.freedesktop.DBus";

/// PID 1's name on the bus.
pub const SYSTEMD: &str = "org.freedesktop.systemd1";

/// How many calls may be on their way at once, so that neither side's socket buffer fills up.
const MAX_OUTSTANDING: usize = 64;

/// A kept connection gives back what a long list took.
const KEPT_BUFFER_BYTES: usize = 16 * 1024;

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who answered.
    pub sender: Option<String>,
    /// The number that the sender gave the message: in PID 1's answers its cookie counter.
    pub serial: u32,
    /// When it came in.
    pub received: Uptime,
    /// What was said.
    pub body: Body,
}

/// The ticket for a call that was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Pending {
    serial: u32,
    sent: Uptime,
}

impl Pending {
    /// When the call was sent.
    pub fn sent(&self) -> Uptime {
        self.sent
    }
}

/// An authenticated connection.
///
/// *Cancel safety*: after a dropped or failed [`Connection::send`] the connection is unusable and says so at the next call;
/// waiting for an answer may be dropped at any time.
#[derive(Debug)]
pub struct Connection {
    route: Route,
    stream: UnixStream,
    received: Vec<u8>,
    last_serial: u32,
    outstanding: Vec<u32>,
    stash: Vec<(u32, Message, Uptime)>,
    sending: bool,
}

impl Connection {
    pub(super) fn new(route: Route, stream: UnixStream, received: Vec<u8>) -> Self {
        Self {
            route,
            stream,
            received,
            last_serial: 0,
            outstanding: Vec::new(),
            stash: Vec::new(),
            sending: false,
        }
    }

    /// By which way it goes.
    pub fn route(&self) -> Route {
        self.route
    }

    pub(super) async fn hello(&mut self, deadline: Deadline) -> Result<(), BusError> {
        let result = async {
            let call = self.bus_call("Hello", &())?;
            let pending = self.send(&call, deadline).await?;
            self.receive(&pending, deadline).await
        };
        match result.await {
            Ok(_) => Ok(()),
            Err(BusError::Late { after, .. }) => Err(BusError::Late {
                phase: Phase::Hello,
                after,
            }),
            Err(BusError::Closed { source, .. }) => Err(BusError::Closed {
                phase: Phase::Hello,
                source,
            }),
            Err(other) => Err(other),
        }
    }

    /// A call to the bus daemon itself.
    ///
    /// *Errors*: arguments that cannot be written.
    pub(super) fn bus_call<A>(
        &self,
        member: &'static str,
        args: &A,
    ) -> Result<Call<'static>, BusError>
    where
        A: Serialize + DynamicType,
    {
        let path = "/org/freedesktop/DBus";
        call(Some(BUS_DAEMON), path, BUS_DAEMON, member, args)
    }

    /// A call to PID 1, addressed as this route wants it.
    ///
    /// *Errors*: arguments that cannot be written.
    pub(super) fn systemd_call<'a, A>(
        &self,
        path: &'a str,
        interface: &'a str,
        member: &'a str,
        args: &A,
    ) -> Result<Call<'a>, BusError>
    where
        A: Serialize + DynamicType,
    {
        let destination = match self.route {
            Route::Bus => Some(SYSTEMD),
            Route::Private => None,
        };
        call(destination, path, interface, member, args)
    }

    /// Sends a call and waits for its answer.
    ///
    /// *Errors*: everything of [`BusError`] but those of connecting.
    pub async fn call(&mut self, call: &Call<'_>, deadline: Deadline) -> Result<Reply, BusError> {
        let pending = self.send(call, deadline).await?;
        self.receive(&pending, deadline).await
    }

    /// Sends a call; several may be on their way.
    ///
    /// *Errors*: as [`Connection::call`].
    pub async fn send(&mut self, call: &Call<'_>, deadline: Deadline) -> Result<Pending, BusError> {
        if self.sending {
            return Err(BusError::Closed {
                phase: Phase::Call,
                source: None,
            });
        }
        if self.outstanding.len() >= MAX_OUTSTANDING {
            return Err(bad_request(call.member, "too many calls on their way"));
        }
        let serial = self.last_serial.checked_add(1).unwrap_or(1);
        let bytes = encode(call, serial).map_err(|reason| bad_request(call.member, &reason))?;
        self.last_serial = serial;
        let sent = clock::now().uptime;
        self.sending = true;
        match deadline.bound(self.stream.write_all(&bytes)).await {
            Ok(Ok(())) => {
                self.sending = false;
                self.outstanding.push(serial);
                Ok(Pending { serial, sent })
            }
            Ok(Err(source)) => Err(BusError::from_stream(Phase::Call, source)),
            Err(elapsed) => Err(BusError::Late {
                phase: Phase::Call,
                after: elapsed.after,
            }),
        }
    }

    /// Waits for the answer to a call that was sent. Answers to others are kept for them.
    ///
    /// *Errors*: as [`Connection::call`]. *Cancel safety*: nothing is lost.
    pub async fn receive(
        &mut self,
        pending: &Pending,
        deadline: Deadline,
    ) -> Result<Reply, BusError> {
        loop {
            if let Some(at) = self
                .stash
                .iter()
                .position(|(serial, _, _)| *serial == pending.serial)
            {
                let (_, message, received) = self.stash.swap_remove(at);
                return answer(message, received);
            }
            self.take_message(deadline).await?;
        }
    }

    /// Waits until the other side closes the connection, as PID 1 does when it executes itself anew.
    ///
    /// *Errors*: [`BusError::Late`] if it does not until the deadline.
    pub(super) async fn wait_for_close(mut self, deadline: Deadline) -> Result<(), BusError> {
        loop {
            match self.take_message(deadline).await {
                Ok(()) => {}
                Err(BusError::Closed { .. }) => return Ok(()),
                Err(other) => return Err(other),
            }
        }
    }

    /// Reads one message and keeps it if it answers a call of ours. Signals and calls to us are dropped.
    async fn take_message(&mut self, deadline: Deadline) -> Result<(), BusError> {
        loop {
            if let Some(message) = self.next_message()? {
                let waited_for = message
                    .reply_serial
                    .and_then(|serial| self.outstanding.iter().position(|it| *it == serial));
                if let (Some(at), true) = (waited_for, message.kind != MessageType::Other) {
                    let serial = self.outstanding.swap_remove(at);
                    self.stash.push((serial, message, clock::now().uptime));
                }
                return Ok(());
            }
            match deadline
                .bound(self.stream.read_buf(&mut self.received))
                .await
            {
                Ok(Ok(0)) => {
                    return Err(BusError::Closed {
                        phase: Phase::Call,
                        source: None,
                    });
                }
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(BusError::from_stream(Phase::Call, source)),
                Err(elapsed) => {
                    return Err(BusError::Late {
                        phase: Phase::Call,
                        after: elapsed.after,
                    });
                }
            }
        }
    }

    /// The next message, if it is here as a whole.
    fn next_message(&mut self) -> Result<Option<Message>, BusError> {
        let Some(prefix) = self.received.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = frame_bytes(prefix)?;
        let Some(frame) = self.received.get(..length) else {
            return Ok(None);
        };
        let message = decode(frame)?;
        drop(self.received.drain(..length));
        if self.received.is_empty() && self.received.capacity() > KEPT_BUFFER_BYTES {
            self.received.shrink_to(KEPT_BUFFER_BYTES);
        }
        Ok(Some(message))
    }
}

fn answer(message: Message, received: Uptime) -> Result<Reply, BusError> {
    match message.error_name {
        Some(name) if message.kind == MessageType::Error => Err(BusError::Reply {
            name,
            text: message.body.text(),
            sender: message.sender,
            serial: message.serial,
        }),
        _ => Ok(Reply {
            sender: message.sender,
            serial: message.serial,
            received,
            body: message.body,
        }),
    }
}

fn call<'a, A>(
    destination: Option<&'a str>,
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    args: &A,
) -> Result<Call<'a>, BusError>
where
    A: Serialize + DynamicType,
{
    let signature = args.signature().to_string_no_parens();
    let body = if signature.is_empty() {
        Vec::new()
    } else {
        zvariant::to_bytes(Context::new_dbus(Endian::Little, 0), args)
            .map_err(|error| bad_request(member, &error.to_string()))?
            .bytes()
            .to_vec()
    };
    Ok(Call {
        destination,
        path,
        interface,
        member,
        signature,
        body,
    })
}

fn bad_request(member: &str, reason: &str) -> BusError {
    BusError::BadRequest {
        member: member.to_owned(),
        reason: reason.to_owned(),
    }
}
