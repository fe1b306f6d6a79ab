//! Why systemd could not be asked, or what it refused.

use super::message::Malformed;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which part of a conversation was going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connecting to the socket.
    Connect,
    /// Proving who we are (SASL EXTERNAL).
    Authenticate,
    /// Being given a name by the bus daemon.
    Hello,
    /// Waiting for the answer to a call.
    Call,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connect",
            Phase::Authenticate => "authentication",
            Phase::Hello => "hello",
            Phase::Call => "call",
        })
    }
}

/// A conversation over D-Bus failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The socket is not there.
    #[error("there is no socket {}", .path.display())]
    NoSocket {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket file is there and nobody listens on it.
    #[error("nobody listens on {}", .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel keeps us from the socket.
    #[error("no rights to open {}", .path.display())]
    NoRights {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The other side does not accept who we are.
    #[error("{} rejects our user", .path.display())]
    Rejected {
        /// The socket.
        path: PathBuf,
    },
    /// PID 1 hangs up on clients of another PID namespace.
    #[error("{} hangs up because we live in another PID namespace", .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
    },
    /// No answer within the deadline.
    #[error("no answer within {} ms ({phase})", .after.as_millis())]
    Late {
        /// What was going on.
        phase: Phase,
        /// How long was waited since the first connect.
        after: Duration,
    },
    /// The other side closed the connection.
    #[error("the connection was closed ({phase})")]
    Closed {
        /// What was going on.
        phase: Phase,
        /// What the kernel said, if anything but the end of the stream.
        #[source]
        source: Option<io::Error>,
    },
    /// The answer is an error.
    #[error("{} {name}: {text}", .sender.as_deref().unwrap_or("the other side"))]
    Reply {
        /// The error's D-Bus name.
        name: String,
        /// Its text, cut to a few hundred bytes.
        text: String,
        /// Who answered: the bus daemon calls itself `org.freedesktop.DBus`.
        sender: Option<String>,
        /// The serial of this answer.
        serial: u32,
    },
    /// The answer breaks the protocol.
    #[error("the answer breaks the D-Bus protocol")]
    BadMessage {
        /// How.
        #[source]
        source: Malformed,
    },
    /// We failed ourselves: out of file descriptors, memory and so on.
    #[error("our own side failed ({phase})")]
    Own {
        /// What was going on.
        phase: Phase,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A request of ours cannot be written as a message; a bug.
    #[error("the request {member} cannot be written: {reason}")]
    BadRequest {
        /// The method.
        member: String,
        /// Why.
        reason: String,
    },
}

/// The error name's short word: the metric label and the text of `systemd.bus.manager.error`.
fn reply_kind(name: &str) -> &'static str {
    match name {
        "org.freedesktop.DBus.Error.NoReply" => "no-reply",
        "org.freedesktop.DBus.Error.NameHasNoOwner" => "no-owner",
        "org.freedesktop.DBus.Error.ServiceUnknown" => "no-owner",
        "org.freedesktop.DBus.Error.TimedOut" => "activation-timed-out",
        "org.freedesktop.DBus.Error.AccessDenied" => "denied",
        "org.freedesktop.DBus.Error.AuthFailed" => "denied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => "denied",
        "org.freedesktop.DBus.Error.LimitsExceeded" => "limits-exceeded",
        "org.freedesktop.DBus.Error.UnknownMethod" => "unknown-method",
        "org.freedesktop.systemd1.NoSuchUnit" => "no-such-unit",
        "org.freedesktop.systemd1.UnitExists" => "unit-exists",
        _ => "error-reply",
    }
}

impl BusError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            BusError::NoSocket { .. } => "no-socket",
            BusError::Refused { .. } => "refused",
            BusError::NoRights { .. } | BusError::Rejected { .. } | BusError::Foreign { .. } => {
                "no-rights"
            }
            BusError::Late { .. } => "late",
            BusError::Closed { .. } => "closed",
            BusError::Reply { name, .. } => reply_kind(name),
            BusError::BadMessage { .. } => "bad-message",
            BusError::Own { .. } => "own-side",
            BusError::BadRequest { .. } => "bad-request",
        }
    }

    /// Whether this is an error reply called `name`.
    pub fn is_reply(&self, name: &str) -> bool {
        matches!(self, BusError::Reply { name: given, .. } if given == name)
    }

    /// Whether the unit asked for is not loaded.
    pub fn is_no_such_unit(&self) -> bool {
        self.is_reply("org.freedesktop.systemd1.NoSuchUnit")
            || self.is_reply("org.freedesktop.DBus.Error.UnknownObject")
    }

    /// Whether the method or property is not known to this (older) systemd.
    pub fn is_unknown_here(&self) -> bool {
        [
            "UnknownMethod",
            "UnknownProperty",
            "UnknownInterface",
            "PropertyReadOnly",
        ]
        .iter()
        .any(|name| self.is_reply(&format!("org.freedesktop.DBus.Error.{name}")))
    }

    /// Whether the connection stays usable: only an answer, even a refusing one, leaves it so.
    pub fn leaves_connection_usable(&self) -> bool {
        matches!(self, BusError::Reply { .. } | BusError::BadRequest { .. })
    }

    pub(super) fn from_connect(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                BusError::NoSocket { path, source }
            }
            io::ErrorKind::PermissionDenied => BusError::NoRights { path, source },
            io::ErrorKind::ConnectionRefused => BusError::Refused { path, source },
            io::ErrorKind::ConnectionReset => BusError::Closed {
                phase: Phase::Connect,
                source: Some(source),
            },
            _ => BusError::Own {
                phase: Phase::Connect,
                source,
            },
        }
    }

    pub(super) fn from_stream(phase: Phase, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => BusError::Closed {
                phase,
                source: Some(source),
            },
            _ => BusError::Own { phase, source },
        }
    }
}

impl From<Malformed> for BusError {
    fn from(source: Malformed) -> Self {
        BusError::BadMessage { source }
    }
}
