//! Tests of `message`: every way to break a message is refused by its name, and nothing panics.

use super::message::{
    Call, MAX_MESSAGE_BYTES, Malformed, MessageType, PREFIX_BYTES, decode, encode, frame_bytes,
};
use proptest::prelude::*;

/// A good answer to `Ping` as PID 1 of systemd 252 sends it on its private socket, with one text in the body.
fn good() -> Vec<u8> {
    let mut bytes = vec![b'l', 2, 1, 1];
    let body = text_body("running");
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(17_u32.to_le_bytes());
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(3_u32.to_le_bytes());
    fields.extend([7, 1, b's', 0]);
    fields.extend(24_u32.to_le_bytes());
    fields.extend(b"org.freedesktop.systemd1\0");
    fields.resize(fields.len().next_multiple_of(8), 0);
    fields.extend([8, 1, b'g', 0, 1, b's', 0]);
    bytes.extend((fields.len() as u32).to_le_bytes());
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

fn text_body(text: &str) -> Vec<u8> {
    let mut body = (text.len() as u32).to_le_bytes().to_vec();
    body.extend(text.as_bytes());
    body.push(0);
    body
}

fn with(at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = good();
    bytes[at] = byte;
    bytes
}

fn with_word(at: usize, word: u32) -> Vec<u8> {
    let mut bytes = good();
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Result<(), Malformed> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Err(Malformed::Truncated("the prefix"));
    };
    let length = frame_bytes(prefix)?;
    let frame = bytes.get(..length).ok_or(Malformed::Truncated("frame"))?;
    let message = decode(frame)?;
    message.body.read::<String>().map(drop)
}

#[test]
fn a_good_message_is_read_whole() {
    let message = decode(&good()).expect("good");
    assert_eq!(message.kind, MessageType::Return);
    assert_eq!((message.serial, message.reply_serial), (17, Some(3)));
    assert_eq!(message.sender.as_deref(), Some("org.freedesktop.systemd1"));
    assert_eq!(message.body.read::<String>(), Ok("running".to_owned()));
    assert_eq!(read(&good()), Ok(()));
}

#[test]
fn a_big_endian_message_is_read_too() {
    let mut bytes = vec![b'B', 2, 1, 1];
    bytes.extend(4_u32.to_be_bytes());
    bytes.extend(0x0102_0304_u32.to_be_bytes());
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(9_u32.to_be_bytes());
    fields.extend([8, 1, b'g', 0, 1, b'u', 0]);
    bytes.extend((fields.len() as u32).to_be_bytes());
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(77_u32.to_be_bytes());
    let message = decode(&bytes).expect("good");
    assert_eq!(message.serial, 0x0102_0304);
    assert_eq!(message.body.read::<u32>(), Ok(77));
}

#[test]
fn every_broken_message_is_refused_by_its_name() {
    let cut = |length: usize| good()[..length].to_vec();
    let end = good().len();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "ends within"),
        ("half a prefix", cut(7), "ends within"),
        ("prefix only", cut(16), "ends within"),
        ("half the fields", cut(40), "ends within"),
        ("no body", cut(end - 12), "ends within"),
        ("last byte gone", cut(end - 1), "ends within"),
        ("byte order unknown", with(0, b'x'), "byte order"),
        ("byte order turned", with(0, b'B'), "more than"),
        ("SASL line", b"REJECTED EXTERNAL\r\n".to_vec(), "byte order"),
        (
            "HTTP",
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            "byte order",
        ),
        ("type 0", with(1, 0), "type 0"),
        ("version 0", with(3, 0), "version"),
        ("version 2", with(3, 2), "version"),
        ("serial 0", with_word(8, 0), "serial 0"),
        ("body of 4 GiB", with_word(4, u32::MAX), "more than"),
        (
            "body over our limit",
            with_word(4, MAX_MESSAGE_BYTES as u32),
            "more than",
        ),
        ("body longer than sent", with_word(4, 4096), "ends within"),
        ("fields of 4 GiB", with_word(12, u32::MAX), "more than"),
        ("fields over the limit", with_word(12, 70_000), "more than"),
        ("fields cut in a name", with_word(12, 20), "ends within"),
        ("reply serial as text", with(18, b's'), "header field 5"),
        ("field code 0", with(16, 0), "header field 0"),
        ("field of unknown type", with(18, b'v'), "header field 5"),
        (
            "sender longer than all",
            with_word(28, 1_000),
            "ends within",
        ),
        ("sender of 4 GiB", with_word(28, u32::MAX), "ends within"),
        ("sender not closed", with(56, b'x'), "not closed"),
        ("sender not UTF-8", with(33, 0xff), "not UTF-8"),
        ("padding not zero", with(59, 1), "padding"),
        ("error without a name", with(1, 3), "an error name"),
        ("body's type unknown", with(69, b'?'), "type"),
        ("body's type another", with(69, b'u'), "type"),
        ("text length wrong", with(end - 12, 200), "unreadable body"),
        (
            "text shorter than the body",
            with(end - 12, 5),
            "bytes more than",
        ),
        ("text not UTF-8", with(end - 3, 0xff), "unreadable body"),
    ];
    for (name, bytes, word) in table {
        let error = read(&bytes).expect_err(name).to_string();
        assert!(error.contains(word), "{name}: {error}");
    }
}

#[test]
fn a_reply_must_say_to_what() {
    let mut bytes = good();
    bytes[16] = 9; // the field of the reply serial becomes the number of file descriptors
    assert_eq!(
        decode(&bytes),
        Err(Malformed::Incomplete("the serial it replies to"))
    );
}

#[test]
fn bytes_left_over_are_refused() {
    let mut bytes = good();
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(Malformed::Trailing(1)));
}

#[test]
fn a_message_type_of_the_future_is_kept_apart_and_not_refused() {
    assert_eq!(
        decode(&with(1, 9)).map(|it| it.kind),
        Ok(MessageType::Other)
    );
}

#[test]
fn our_calls_are_read_back_by_our_own_reader() {
    let call = Call {
        destination: Some("org.freedesktop.systemd1"),
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "s".to_owned(),
        body: text_body("Version"),
    };
    let bytes = encode(&call, 5).expect("good");
    let prefix = bytes.first_chunk().expect("long enough");
    assert_eq!(frame_bytes(prefix), Ok(bytes.len()));
    let message = decode(&bytes).expect("good");
    assert_eq!((message.kind, message.serial), (MessageType::Other, 5));
    assert_eq!(message.body.read::<String>(), Ok("Version".to_owned()));
}

#[test]
fn a_zero_byte_in_a_call_is_refused() {
    let call = Call {
        destination: None,
        path: "/a\0b",
        interface: "a.b",
        member: "C",
        signature: String::new(),
        body: Vec::new(),
    };
    assert!(encode(&call, 1).is_err());
}

proptest! {
    #[test]
    fn one_changed_byte_never_panics(at in 0usize..90, byte: u8) {
        let bytes = good();
        let at = at % bytes.len();
        drop(read(&with(at, byte)));
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&bytes));
        drop(decode(&bytes));
    }

    #[test]
    fn noise_after_a_good_start_never_panics(length in 0usize..80, noise in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = good()[..length].to_vec();
        bytes.extend(noise);
        drop(read(&bytes));
        drop(decode(&bytes).map(|message| message.body.read::<Vec<(String, String, u32)>>()));
    }
}
