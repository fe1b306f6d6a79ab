//! D-Bus messages as a server writes them, for the fakes.

use serde::Serialize;
use zvariant::serialized::Context;
use zvariant::{DynamicType, Endian, to_bytes};

/// Which message to write.
pub enum Kind<'a> {
    Return,
    Error(&'a str),
    Signal,
}

fn field(bytes: &mut Vec<u8>, code: u8, kind: u8, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend([code, 1, kind, 0]);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message of a server.
pub fn message<B>(kind: &Kind<'_>, serial: u32, reply_to: u32, sender: &str, body: &B) -> Vec<u8>
where
    B: Serialize + DynamicType,
{
    let signature = body.signature().to_string_no_parens();
    let body = if signature.is_empty() {
        Vec::new()
    } else {
        let context = Context::new_dbus(Endian::Little, 0);
        to_bytes(context, body).expect("body").bytes().to_vec()
    };
    let number = match kind {
        Kind::Return => 2,
        Kind::Error(_) => 3,
        Kind::Signal => 4,
    };
    let mut fields = Vec::new();
    match kind {
        Kind::Signal => {
            field(&mut fields, 1, b'o', "/org/freedesktop/systemd1");
            field(&mut fields, 2, b's', "org.freedesktop.systemd1.Manager");
            field(&mut fields, 3, b's', "UnitNew");
        }
        _ => {
            fields.extend([5, 1, b'u', 0]);
            fields.extend(reply_to.to_le_bytes());
        }
    }
    if let Kind::Error(name) = kind {
        field(&mut fields, 4, b's', name);
    }
    field(&mut fields, 7, b's', sender);
    if !signature.is_empty() {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([8, 1, b'g', 0, signature.len() as u8]);
        fields.extend(signature.as_bytes());
        fields.push(0);
    }
    let mut bytes = vec![b'l', number, 1, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(serial.to_le_bytes());
    bytes.extend((fields.len() as u32).to_le_bytes());
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

/// A call of a client: its serial, its method, and its raw bytes.
pub struct Asked {
    pub serial: u32,
    pub member: String,
    pub bytes: Vec<u8>,
}

impl Asked {
    /// Whether this text is somewhere in it.
    pub fn mentions(&self, text: &str) -> bool {
        self.bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

/// Cuts one whole call off the front of `buffer`.
pub fn take_call(buffer: &mut Vec<u8>) -> Option<Asked> {
    let word = |at: usize| {
        let bytes: [u8; 4] = buffer.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let (body, serial, fields) = (word(4)?, word(8)?, word(12)?);
    let length = (16 + fields).next_multiple_of(8) + body;
    if buffer.len() < length {
        return None;
    }
    let bytes: Vec<u8> = buffer.drain(..length).collect();
    let at = bytes
        .windows(4)
        .position(|window| window == [3, 1, b's', 0])
        .expect("a call has a member");
    let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("4 bytes")) as usize;
    let member = String::from_utf8_lossy(&bytes[at + 8..at + 8 + size]).into_owned();
    Some(Asked {
        serial: serial as u32,
        member,
        bytes,
    })
}
