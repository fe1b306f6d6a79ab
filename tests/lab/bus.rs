//! A D-Bus client just large enough to ask a node's bus a question, with a deadline over all of it, and to
//! see the serial number of the answer: for PID 1 that is its cookie (signatures.md 1.5).
//!
//! It speaks the wire format by itself (D-Bus specification, "Message Format") because no client library shows
//! both; and it connects from outside, so a node's `busctl` need not work for the lab to see what is wrong.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::node::Node;

const BUS_DAEMON: &str = "org.freedesktop.DBus";
/// The name of systemd's manager on the bus.
pub const MANAGER: &str = "org.freedesktop.systemd1";

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const ERROR_NAME: u8 = 4;
/// Larger than any answer to the questions asked here.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A reply; `serial` is the number that the answering side gave its message.
    Reply { serial: u32 },
    /// An error message, by name.
    Error { name: String },
    /// Nothing until the deadline.
    Silence,
}

/// `Peer.Ping` to PID 1 over the system bus.
pub fn ping_manager(node: &Node, deadline: Duration) -> Result<Answer> {
    ask(
        node,
        deadline,
        Question {
            to: MANAGER,
            interface: "org.freedesktop.DBus.Peer",
            member: "Ping",
        },
    )
}

/// `GetId` of the bus daemon itself.
pub fn bus_id(node: &Node, deadline: Duration) -> Result<Answer> {
    ask(
        node,
        deadline,
        Question {
            to: BUS_DAEMON,
            interface: BUS_DAEMON,
            member: "GetId",
        },
    )
}

#[derive(Clone, Copy)]
struct Question<'a> {
    to: &'a str,
    interface: &'a str,
    member: &'a str,
}

fn ask(node: &Node, deadline: Duration, question: Question<'_>) -> Result<Answer> {
    let until = Instant::now() + deadline;
    let socket = node.path("/run/dbus/system_bus_socket")?;
    let mut connection = Connection {
        stream: UnixStream::connect(socket).context("connect to the bus")?,
        until,
    };
    let answer = connection.authenticate().and_then(|()| {
        connection.call(
            1,
            Question {
                to: BUS_DAEMON,
                interface: BUS_DAEMON,
                member: "Hello",
            },
        )?;
        connection.call(2, question)
    });
    match answer {
        Err(error) if is_timeout(&error) => Ok(Answer::Silence),
        other => other,
    }
}

struct Connection {
    stream: UnixStream,
    until: Instant,
}

impl Connection {
    fn authenticate(&mut self) -> Result<()> {
        // EXTERNAL with the hexadecimal of "0": the lab runs as root.
        self.stream.write_all(b"\0AUTH EXTERNAL 30\r\n")?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
        }
        ensure!(
            line.starts_with(b"OK "),
            "the bus refused: {}",
            String::from_utf8_lossy(&line)
        );
        Ok(self.stream.write_all(b"BEGIN\r\n")?)
    }

    fn call(&mut self, serial: u32, question: Question<'_>) -> Result<Answer> {
        self.stream.write_all(&method_call(serial, question)?)?;
        loop {
            let message = self.receive()?;
            if message.reply_to != Some(serial) {
                continue;
            }
            return match (message.kind, message.error) {
                (METHOD_RETURN, _) => Ok(Answer::Reply {
                    serial: message.serial,
                }),
                (ERROR, Some(name)) => Ok(Answer::Error { name }),
                (kind, _) => bail!("a message of type {kind} answers a call"),
            };
        }
    }

    fn receive(&mut self) -> Result<Message> {
        let mut fixed = [0; 16];
        self.read(&mut fixed)?;
        let body_bytes = u32_at(&fixed, 4)?;
        let serial = u32_at(&fixed, 8)?;
        let field_bytes = u32_at(&fixed, 12)?;
        ensure!(
            fixed.first() == Some(&b'l'),
            "only little-endian messages are understood"
        );
        ensure!(
            body_bytes < MAX_MESSAGE_BYTES && field_bytes < MAX_MESSAGE_BYTES,
            "a message too large"
        );
        let mut fields = vec![0; usize::try_from(field_bytes.next_multiple_of(8))?];
        self.read(&mut fields)?;
        let mut body = vec![0; usize::try_from(body_bytes)?];
        self.read(&mut body)?;
        fields.truncate(usize::try_from(field_bytes)?);
        let kind = *fixed.get(1).context("no message type")?;
        let mut message = Message {
            kind,
            serial,
            reply_to: None,
            error: None,
        };
        message.take_fields(&fields)?;
        Ok(message)
    }

    /// Fills `buffer` before the deadline of the whole question.
    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        // A timeout of zero would mean forever.
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        Ok(self.stream.read_exact(buffer)?)
    }
}

struct Message {
    kind: u8,
    serial: u32,
    reply_to: Option<u32>,
    error: Option<String>,
}

impl Message {
    fn take_fields(&mut self, fields: &[u8]) -> Result<()> {
        let mut at = 0_usize;
        while at < fields.len() {
            at = at.next_multiple_of(8);
            let (Some(code), Some(signature)) = (fields.get(at), fields.get(at + 2)) else {
                bail!("a header field is cut off");
            };
            // code, signature "1 letter 0", then the value, aligned to 4 except for signatures.
            let value = at + 4;
            match signature {
                b'u' => {
                    if *code == REPLY_SERIAL {
                        self.reply_to = Some(u32_at(fields, value)?);
                    }
                    at = value + 4;
                }
                b's' | b'o' => {
                    let length = usize::try_from(u32_at(fields, value)?)?;
                    let text = fields
                        .get(value + 4..value + 4 + length)
                        .context("a header string is cut off")?;
                    if *code == ERROR_NAME {
                        self.error = Some(String::from_utf8_lossy(text).into_owned());
                    }
                    at = value + 4 + length + 1;
                }
                b'g' => {
                    at = value
                        + 1
                        + usize::from(*fields.get(value).context("a signature is cut off")?)
                        + 1
                }
                other => bail!("a header field of type {other}"),
            }
        }
        Ok(())
    }
}

fn method_call(serial: u32, question: Question<'_>) -> Result<Vec<u8>> {
    let fields: [(u8, u8, &str); 4] = [
        (1, b'o', "/org/freedesktop/DBus"),
        (2, b's', question.interface),
        (3, b's', question.member),
        (6, b's', question.to),
    ];
    let mut array = Vec::new();
    for (code, kind, value) in fields {
        array.resize(array.len().next_multiple_of(8), 0);
        array.extend([code, 1, kind, 0]);
        array.extend(u32::try_from(value.len())?.to_le_bytes());
        array.extend(value.as_bytes());
        array.push(0);
    }
    // Little-endian, call, no flags, protocol 1, empty body, serial, then the fields padded to 8.
    let mut message = vec![b'l', METHOD_CALL, 0, 1, 0, 0, 0, 0];
    message.extend(serial.to_le_bytes());
    message.extend(u32::try_from(array.len())?.to_le_bytes());
    message.extend(array);
    message.resize(message.len().next_multiple_of(8), 0);
    Ok(message)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("a number is cut off")?;
    Ok(u32::from_le_bytes(four.try_into()?))
}

fn is_timeout(error: &anyhow::Error) -> bool {
    let kind = error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
