//! D-Bus messages: header and framing. Bodies are `zvariant`'s work.
//!
//! Written from the D-Bus specification 0.41, "Message Protocol". Nothing here trusts a length before it is checked.

use serde::de::DeserializeOwned;
use zvariant::serialized::{Context, Data};
use zvariant::{Endian, Type};

/// The longest message that is read. `ListUnits` of 5,000 units takes about 2 MB; the protocol would allow 128 MiB.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The longest header: real ones are below 300 bytes.
const MAX_HEADER_FIELD_BYTES: usize = 64 * 1024;

/// The longest error text that is kept.
const MAX_TEXT_BYTES: usize = 300;

/// How many bytes tell the length of a message.
pub(super) const PREFIX_BYTES: usize = 16;

/// How a message breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte is neither `l` nor `B`.
    #[error("unknown byte order mark {0:#04x}")]
    Endian(u8),
    /// Another protocol version.
    #[error("protocol version {0} instead of 1")]
    Version(u8),
    /// Message type 0.
    #[error("message type 0")]
    Type,
    /// Serial 0.
    #[error("serial 0")]
    Serial,
    /// Longer than we read.
    #[error("{0} bytes, more than the {MAX_MESSAGE_BYTES} that are read")]
    TooLong(u64),
    /// It ends too early.
    #[error("it ends within {0}")]
    Truncated(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes more than announced")]
    Trailing(usize),
    /// Padding that is not zero.
    #[error("padding that is not zero")]
    Padding,
    /// A header field of the wrong type.
    #[error("header field {code} has type {signature:?}")]
    Field {
        /// The field's code.
        code: u8,
        /// The type that was found.
        signature: String,
    },
    /// Text that is not UTF-8 or not closed by a zero byte.
    #[error("text that is not UTF-8 or not closed")]
    Text,
    /// A reply without the header fields that a reply must have.
    #[error("a reply without {0}")]
    Incomplete(&'static str),
    /// The body has another type than asked for.
    #[error("body of type {found:?} instead of {wanted:?}")]
    BodyType {
        /// What was expected.
        wanted: String,
        /// What was found.
        found: String,
    },
    /// The body cannot be read as its own type.
    #[error("unreadable body: {0}")]
    Body(String),
    /// The greeting is not a SASL answer.
    #[error("greeting that is no SASL answer: {0:?}")]
    Greeting(String),
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    Return,
    Error,
    /// Calls to us, signals, and types that the protocol may yet invent.
    Other,
}

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub kind: MessageType,
    pub serial: u32,
    pub reply_serial: Option<u32>,
    pub sender: Option<String>,
    pub error_name: Option<String>,
    pub body: Body,
}

/// The body of a message with what is needed to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
    signature: String,
    big_endian: bool,
}

impl Body {
    /// Its value, if its type is that of `T`.
    ///
    /// *Errors*: another type, or bytes that do not fit the type.
    pub fn read<T: DeserializeOwned + Type>(&self) -> Result<T, Malformed> {
        let wanted = T::SIGNATURE.to_string_no_parens();
        if self.signature != wanted && self.signature != T::SIGNATURE.to_string() {
            return Err(Malformed::BodyType {
                wanted,
                found: self.signature.clone(),
            });
        }
        let endian = if self.big_endian {
            Endian::Big
        } else {
            Endian::Little
        };
        let data = Data::new(self.bytes.as_slice(), Context::new_dbus(endian, 0));
        let (value, used) = data
            .deserialize::<T>()
            .map_err(|error| Malformed::Body(error.to_string()))?;
        match self.bytes.len().saturating_sub(used) {
            0 => Ok(value),
            left => Err(Malformed::Trailing(left)),
        }
    }

    /// The text of an error reply, empty where it has none.
    pub(super) fn text(&self) -> String {
        let mut text: String = if self.signature.starts_with('s') {
            let mut cursor = Cursor::new(&self.bytes, self.big_endian);
            cursor.string("an error text").unwrap_or_default()
        } else {
            String::new()
        };
        let mut end = text.len().min(MAX_TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

/// How long the message is that begins with these bytes.
pub(super) fn frame_bytes(prefix: &[u8; PREFIX_BYTES]) -> Result<usize, Malformed> {
    let mut cursor = Cursor::of_message(prefix)?;
    if cursor.byte()? == 0 {
        return Err(Malformed::Type);
    }
    cursor.byte()?;
    let version = cursor.byte()?;
    if version != 1 {
        return Err(Malformed::Version(version));
    }
    let body = u64::from(cursor.u32()?);
    cursor.u32()?;
    let fields = u64::from(cursor.u32()?);
    let padded = (PREFIX_BYTES as u64 + fields).next_multiple_of(8);
    let total = padded + body;
    match usize::try_from(total) {
        Ok(length) if length <= MAX_MESSAGE_BYTES && fields <= MAX_HEADER_FIELD_BYTES as u64 => {
            Ok(length)
        }
        _ => Err(Malformed::TooLong(total)),
    }
}

#[derive(Default)]
struct Fields {
    reply_serial: Option<u32>,
    error_name: Option<String>,
    sender: Option<String>,
    signature: String,
}

/// Reads one whole message, exactly as long as [`frame_bytes`] said.
pub(super) fn decode(frame: &[u8]) -> Result<Message, Malformed> {
    let mut cursor = Cursor::of_message(frame)?;
    let kind = match cursor.byte()? {
        0 => return Err(Malformed::Type),
        2 => MessageType::Return,
        3 => MessageType::Error,
        _ => MessageType::Other,
    };
    cursor.byte()?;
    let version = cursor.byte()?;
    if version != 1 {
        return Err(Malformed::Version(version));
    }
    let body_length = cursor.u32()? as usize;
    let serial = cursor.u32()?;
    if serial == 0 {
        return Err(Malformed::Serial);
    }
    let fields = read_fields(&mut cursor)?;
    cursor.align(8)?;
    let body = cursor.take(body_length, "the body")?.to_vec();
    if cursor.left() > 0 {
        return Err(Malformed::Trailing(cursor.left()));
    }
    if fields.signature.is_empty() && !body.is_empty() {
        return Err(Malformed::Body("no signature".to_owned()));
    }
    if kind != MessageType::Other && fields.reply_serial.is_none() {
        return Err(Malformed::Incomplete("the serial it replies to"));
    }
    if kind == MessageType::Error && fields.error_name.is_none() {
        return Err(Malformed::Incomplete("an error name"));
    }
    Ok(Message {
        kind,
        serial,
        reply_serial: fields.reply_serial,
        sender: fields.sender,
        error_name: fields.error_name,
        body: Body {
            bytes: body,
            signature: fields.signature,
            big_endian: cursor.big_endian,
        },
    })
}

fn read_fields(cursor: &mut Cursor<'_>) -> Result<Fields, Malformed> {
    let length = cursor.u32()? as usize;
    if length > MAX_HEADER_FIELD_BYTES {
        return Err(Malformed::TooLong(length as u64));
    }
    let end = cursor.at + length;
    let mut fields = Fields::default();
    while cursor.at < end {
        cursor.align(8)?;
        let code = cursor.byte()?;
        let signature = cursor.signature()?;
        let wrong = || Malformed::Field {
            code,
            signature: signature.clone(),
        };
        match (code, signature.as_str()) {
            (0, _) => return Err(wrong()),
            (5, "u") => fields.reply_serial = Some(cursor.u32()?),
            (4, "s") => fields.error_name = Some(cursor.string("a header field")?),
            (7, "s") => fields.sender = Some(cursor.string("a header field")?),
            (8, "g") => fields.signature = cursor.signature()?,
            (4 | 5 | 7 | 8, _) => return Err(wrong()),
            (_, "s" | "o") => drop(cursor.string("a header field")?),
            (_, "g") => drop(cursor.signature()?),
            (_, "u") => drop(cursor.u32()?),
            _ => return Err(wrong()),
        }
    }
    if cursor.at != end {
        return Err(Malformed::Truncated("the header fields"));
    }
    Ok(fields)
}

/// A method call of ours.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Whose method, as a bus name; PID 1 wants none on its private socket.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The type of the arguments, without outer parentheses.
    pub signature: String,
    /// The arguments, little endian.
    pub body: Vec<u8>,
}

/// Writes a call as a little-endian message.
pub(super) fn encode(call: &Call<'_>, serial: u32) -> Result<Vec<u8>, String> {
    let body_length = u32::try_from(call.body.len()).map_err(|error| error.to_string())?;
    let mut fields = Vec::with_capacity(160);
    put_field(&mut fields, 1, b'o', call.path)?;
    put_field(&mut fields, 2, b's', call.interface)?;
    put_field(&mut fields, 3, b's', call.member)?;
    if let Some(destination) = call.destination {
        put_field(&mut fields, 6, b's', destination)?;
    }
    if !call.signature.is_empty() {
        let length = u8::try_from(call.signature.len()).map_err(|error| error.to_string())?;
        pad(&mut fields);
        fields.extend_from_slice(&[8, 1, b'g', 0, length]);
        fields.extend_from_slice(call.signature.as_bytes());
        fields.push(0);
    }
    let fields_length = u32::try_from(fields.len()).map_err(|error| error.to_string())?;
    // Type 1 is a call; flag 2 is NO_AUTO_START, because asking must never start what is not running.
    let mut bytes = vec![b'l', 1, 2, 1];
    bytes.extend_from_slice(&body_length.to_le_bytes());
    bytes.extend_from_slice(&serial.to_le_bytes());
    bytes.extend_from_slice(&fields_length.to_le_bytes());
    bytes.append(&mut fields);
    pad(&mut bytes);
    bytes.extend_from_slice(&call.body);
    Ok(bytes)
}

fn put_field(bytes: &mut Vec<u8>, code: u8, signature: u8, text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("zero byte in {text:?}"));
    }
    let length = u32::try_from(text.len()).map_err(|error| error.to_string())?;
    pad(bytes);
    bytes.extend_from_slice(&[code, 1, signature, 0]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    Ok(())
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self {
            bytes,
            at: 0,
            big_endian,
        }
    }

    fn of_message(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Self::new(bytes, false);
        cursor.big_endian = match cursor.byte()? {
            b'l' => false,
            b'B' => true,
            other => return Err(Malformed::Endian(other)),
        };
        Ok(cursor)
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self
            .at
            .checked_add(length)
            .ok_or(Malformed::Truncated(what))?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(Malformed::Truncated(what))?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, boundary: usize) -> Result<(), Malformed> {
        let padding = self.at.next_multiple_of(boundary) - self.at;
        if self.take(padding, "padding")?.iter().any(|byte| *byte != 0) {
            return Err(Malformed::Padding);
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let taken = self.take(1, "the header")?;
        taken
            .first()
            .copied()
            .ok_or(Malformed::Truncated("the header"))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes: [u8; 4] = self
            .take(4, "a number")?
            .try_into()
            .map_err(|_| Malformed::Truncated("a number"))?;
        Ok(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn string(&mut self, what: &'static str) -> Result<String, Malformed> {
        let length = self.u32()? as usize;
        self.closed_text(length, what)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.byte()?);
        self.closed_text(length, "a type")
    }

    fn closed_text(&mut self, length: usize, what: &'static str) -> Result<String, Malformed> {
        let text = self.take(length, what)?;
        if self.byte()? != 0 {
            return Err(Malformed::Text);
        }
        String::from_utf8(text.to_vec()).map_err(|_| Malformed::Text)
    }
}
