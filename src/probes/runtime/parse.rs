//! The two messages of the CRI that are asked for, in protocol buffers' wire format. Pure.
//!
//! *Source*: `VersionResponse` and `StatusResponse` in api.proto of k8s.io/cri-api, the same numbers in `runtime.v1` and
//! `runtime.v1alpha2`.

/// The longest text that is taken over.
const MAX_TEXT_BYTES: usize = 200;

/// What a runtime says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// `containerd`, `cri-o`.
    pub name: String,
    /// Its own version.
    pub version: String,
}

/// What a runtime says that it can do. `None`: it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Condition `RuntimeReady`.
    pub runtime: Option<bool>,
    /// Condition `NetworkReady`.
    pub network: Option<bool>,
}

/// Bytes that are no message of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is cut off or garbled")]
pub(super) struct Garbled;

/// A field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Version {
    /// Reads a `VersionResponse`.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Garbled> {
        let mut found = Self::default();
        for_each(message, |number, field| {
            match (number, field) {
                (2, Field::Bytes(text)) => found.name = plain_text(text),
                (3, Field::Bytes(text)) => found.version = plain_text(text),
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl Status {
    /// Reads a `StatusResponse`.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Garbled> {
        let mut found = Self::default();
        for_each(message, |number, field| match (number, field) {
            (1, Field::Bytes(status)) => for_each(status, |number, field| match (number, field) {
                (1, Field::Bytes(condition)) => found.take(condition),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })?;
        Ok(found)
    }

    fn take(&mut self, condition: &[u8]) -> Result<(), Garbled> {
        let mut kind = String::new();
        // Protocol buffers leave out what is false.
        let mut is_true = false;
        for_each(condition, |number, field| {
            match (number, field) {
                (1, Field::Bytes(text)) => kind = plain_text(text),
                (2, Field::Number(value)) => is_true = value != 0,
                _ => {}
            }
            Ok(())
        })?;
        match kind.as_str() {
            "RuntimeReady" => self.runtime = Some(is_true),
            "NetworkReady" => self.network = Some(is_true),
            _ => {}
        }
        Ok(())
    }
}

fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.chars().filter(|c| !c.is_control());
    let mut short = String::new();
    for c in plain {
        if short.len() + c.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        short.push(c);
    }
    short
}

/// Hands on each field of a message with its number. Forms that these messages do not use are skipped.
fn for_each<'a>(
    mut message: &'a [u8],
    mut take: impl FnMut(u64, Field<'a>) -> Result<(), Garbled>,
) -> Result<(), Garbled> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => take(tag >> 3, Field::Number(varint(&mut message)?))?,
            1 => drop(cut(&mut message, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| Garbled)?;
                take(tag >> 3, Field::Bytes(cut(&mut message, length)?))?;
            }
            5 => drop(cut(&mut message, 4)?),
            _ => return Err(Garbled),
        }
    }
    Ok(())
}

fn cut<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], Garbled> {
    let (head, rest) = message.split_at_checked(length).ok_or(Garbled)?;
    *message = rest;
    Ok(head)
}

fn varint(message: &mut &[u8]) -> Result<u64, Garbled> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = cut(message, 1)?.first().copied().ok_or(Garbled)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// VersionResponse of containerd 1.6.20 on Debian 12, by `protoc --decode_raw` 1: "0.1.0" 2: "containerd" 3: "1.6.20~ds1" 4: "v1".
    const VERSION: &[u8] = b"\x0a\x050.1.0\x12\x0acontainerd\x1a\x0a1.6.20~ds1\x22\x02v1";

    #[test]
    fn a_version_is_read() {
        let version = Version::parse(VERSION).expect("a message");
        assert_eq!(
            (version.name.as_str(), version.version.as_str()),
            ("containerd", "1.6.20~ds1")
        );
        assert_eq!(Version::parse(b""), Ok(Version::default()));
    }

    #[test]
    fn conditions_are_read_and_a_false_one_is_the_one_without_a_value() {
        let ready = b"\x0a\x10\x0a\x0cRuntimeReady\x10\x01";
        let not_ready = b"\x0a\x0e\x0a\x0cRuntimeReady";
        let network = b"\x0a\x0e\x0a\x0cNetworkReady";
        let message = |conditions: &[&[u8]]| {
            let inner = conditions.concat();
            let mut message = vec![0x0a, u8::try_from(inner.len()).expect("short")];
            message.extend(inner);
            // `info`, a map that only verbose calls fill.
            message.extend(b"\x12\x04\x0a\x02ab");
            message
        };
        for (conditions, runtime, network) in [
            (vec![&ready[..], &network[..]], Some(true), Some(false)),
            (vec![&not_ready[..]], Some(false), None),
            (vec![], None, None),
        ] {
            let status = Status::parse(&message(&conditions));
            assert_eq!(status, Ok(Status { runtime, network }));
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for end in 1..VERSION.len() {
            let whole_fields = [7, 19, 31].contains(&end);
            assert_eq!(
                Version::parse(&VERSION[..end]).is_ok(),
                whole_fields,
                "{end}"
            );
        }
        for garbled in [
            &b"\x0b"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(Status::parse(garbled), Err(Garbled));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Version::parse(&bytes).ok();
            Status::parse(&bytes).ok();
        }
    }
}
