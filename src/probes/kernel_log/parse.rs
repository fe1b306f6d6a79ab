//! One record of `/dev/kmsg`: `prefix,sequence,microseconds,flags[,more];text`, then lines of ` KEY=value`.
//!
//! *Source*: Documentation/ABI/testing/dev-kmsg of the kernel.

use crate::signal::MAX_LOG_TEXT_BYTES;
use std::time::Duration;

/// The kernel's own facility. What a process writes into `/dev/kmsg` comes back with facility 1 or above: the kernel
/// replaces a 0 that a writer claims (printk's devkmsg_write; tried on 6.18).
pub const KERNEL_FACILITY: u32 = 0;

/// A record of the ring buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsgRecord {
    /// Who wrote it, as in syslog(3): 0 is the kernel.
    pub facility: u32,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// Grows by one from record to record, since boot.
    pub sequence: u64,
    /// When it was written, on the kernel's clock that stops in suspend.
    pub since_boot: Duration,
    /// Whether it goes on where the record before it ended (flag `+` of kernels before 4.9).
    pub is_tail: bool,
    /// The text without escapes; control characters became spaces.
    pub text: String,
    /// `SUBSYSTEM=` of the device that it is about, empty if none.
    pub subsystem: String,
    /// `DEVICE=` of the device that it is about, empty if none.
    pub device: String,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KmsgError {
    /// No `;` between prefix and text.
    #[error("the record has no `;` after its prefix")]
    NoText,
    /// A field of the prefix is missing or no number.
    #[error("the record's {0} is missing or no number")]
    Field(&'static str),
}

impl KmsgError {
    /// A short stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            KmsgError::NoText => "no-text",
            KmsgError::Field(_) => "bad-field",
        }
    }
}

/// Reads one record as a single read of `/dev/kmsg` yields it.
///
/// # Errors
/// Bytes that are no record. Unknown further fields and flags are ignored, as the kernel's description asks.
pub fn parse_record(bytes: &[u8]) -> Result<KmsgRecord, KmsgError> {
    let split = bytes
        .iter()
        .position(|byte| *byte == b';')
        .ok_or(KmsgError::NoText)?;
    let (prefix, rest) = bytes.split_at(split);
    let mut fields = prefix.split(|byte| *byte == b',');
    let level = number(fields.next()).ok_or(KmsgError::Field("priority"))?;
    let sequence = number(fields.next()).ok_or(KmsgError::Field("sequence number"))?;
    let micros = number(fields.next()).ok_or(KmsgError::Field("time"))?;
    let is_tail = fields.next() == Some(b"+");

    let mut lines = rest
        .get(1..)
        .unwrap_or_default()
        .split(|byte| *byte == b'\n');
    let text = plain_text(lines.next().unwrap_or_default());
    let mut record = KmsgRecord {
        facility: u32::try_from(level >> 3).map_err(|_| KmsgError::Field("priority"))?,
        // Three bits fit in a byte.
        priority: (level & 7) as u8,
        sequence,
        since_boot: Duration::from_micros(micros),
        is_tail,
        text,
        subsystem: String::new(),
        device: String::new(),
    };
    for line in lines {
        if let Some(value) = line.strip_prefix(b" SUBSYSTEM=") {
            record.subsystem = plain_text(value);
        } else if let Some(value) = line.strip_prefix(b" DEVICE=") {
            record.device = plain_text(value);
        }
    }
    Ok(record)
}

fn number(field: Option<&[u8]>) -> Option<u64> {
    let digits = std::str::from_utf8(field?).ok()?;
    // `parse` would take a leading plus sign, which the kernel never writes.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Undoes `\xNN`, cuts at the bound, and turns what is no text into spaces or U+FFFD.
fn plain_text(escaped: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(escaped.len().min(MAX_LOG_TEXT_BYTES));
    let mut rest = escaped;
    while let Some((first, tail)) = rest.split_first() {
        if bytes.len() >= MAX_LOG_TEXT_BYTES {
            break;
        }
        match rest {
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPTURE: &str = include_str!("../../../tests/fixtures/kmsg/debian12-6.18.txt");

    #[test]
    fn every_record_of_a_real_capture_is_read() {
        let records: Vec<KmsgRecord> = records_of(CAPTURE)
            .map(|bytes| parse_record(&bytes).expect("a record"))
            .collect();
        assert_eq!(records.len(), 12);
        assert_eq!(records[0].sequence, 0);
        assert!(records[0].text.starts_with("Linux version 6.18.44"));
        let device = records.iter().find(|r| !r.device.is_empty()).expect("one");
        assert_eq!(
            (device.subsystem.as_str(), device.device.as_str()),
            ("acpi", "+acpi:PNP0A08:00")
        );
        let forged = records.last().expect("records");
        assert_eq!((forged.facility, forged.priority), (1, 3));
    }

    /// Records of a fixture: a line that begins with a space belongs to the record above it.
    fn records_of(fixture: &str) -> impl Iterator<Item = Vec<u8>> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        for line in fixture.lines().filter(|line| !line.starts_with('#')) {
            match records.last_mut() {
                Some(last) if line.starts_with(' ') => last.extend_from_slice(line.as_bytes()),
                _ => records.push(line.as_bytes().to_vec()),
            }
            records.last_mut().expect("pushed").push(b'\n');
        }
        records.into_iter()
    }

    #[test]
    fn prefix_escapes_and_fragments_are_read_as_the_kernel_means_them() {
        for (bytes, facility, priority, sequence, micros, is_tail, text) in [
            ("6,1,2,-;a\n", 0, 6, 1, 2, false, "a"),
            ("11,7,9,-;user\n", 1, 3, 7, 9, false, "user"),
            ("4,1,2,c;head\n", 0, 4, 1, 2, false, "head"),
            ("4,1,2,+;tail\n", 0, 4, 1, 2, true, "tail"),
            ("4,1,2,-,caller=T12,future=1;x\n", 0, 4, 1, 2, false, "x"),
            (
                "6,1,2,-;a\\x0ab\\x5cc\\x1b[0m\n",
                0,
                6,
                1,
                2,
                false,
                "a b\\c [0m",
            ),
            (
                "6,1,2,-;\\xc3\\xa9;\\xzz\\x4\n",
                0,
                6,
                1,
                2,
                false,
                "é;\\xzz\\x4",
            ),
            ("6,1,2,-;\n", 0, 6, 1, 2, false, ""),
            ("6,1,2;no flags", 0, 6, 1, 2, false, "no flags"),
        ] {
            let record = parse_record(bytes.as_bytes()).expect(bytes);
            assert_eq!(
                (
                    record.facility,
                    record.priority,
                    record.sequence,
                    record.since_boot,
                    record.is_tail,
                    record.text.as_str()
                ),
                (
                    facility,
                    priority,
                    sequence,
                    Duration::from_micros(micros),
                    is_tail,
                    text
                ),
                "{bytes}"
            );
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [
            &b""[..],
            b"\n",
            b";",
            b";x",
            b"6",
            b"6,1,2,-",
            b"6,1,2,- no semicolon\n",
            b",1,2,-;x",
            b"6,,2,-;x",
            b"6,1,,-;x",
            b"6;x",
            b"6,1;x",
            b"a,1,2,-;x",
            b"6,b,2,-;x",
            b"6,1,c,-;x",
            b"-6,1,2,-;x",
            b"+6,1,2,-;x",
            b"6,-1,2,-;x",
            b"6, 1,2,-;x",
            b"6,1,2.5,-;x",
            b"99999999999999999999,1,2,-;x",
            b"34359738368,1,2,-;x",
            b"6,18446744073709551616,2,-;x",
            b"6,1,18446744073709551616,-;x",
            b"\xff\xfe,1,2,-;x",
            b"<6>old syslog form",
            b"\0\0\0\0;\0",
        ] {
            assert!(
                parse_record(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn a_text_over_the_bound_is_cut() {
        let mut bytes = b"6,1,2,-;".to_vec();
        bytes.extend(std::iter::repeat_n(b'a', MAX_LOG_TEXT_BYTES * 2));
        assert_eq!(
            parse_record(&bytes).expect("read").text.len(),
            MAX_LOG_TEXT_BYTES
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            parse_record(&bytes).ok();
        }

        #[test]
        fn a_record_is_read_back(level in 0u32..200, sequence: u64, micros: u64, text in "[ -~&&[^\\\\]]{0,80}") {
            let bytes = format!("{level},{sequence},{micros},-;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:0\n");
            let record = parse_record(bytes.as_bytes()).expect("a record");
            prop_assert_eq!(record.facility, level >> 3);
            prop_assert_eq!(u32::from(record.priority), level & 7);
            prop_assert_eq!(record.sequence, sequence);
            prop_assert_eq!(record.since_boot, Duration::from_micros(micros));
            prop_assert_eq!(record.text, text);
            prop_assert_eq!(record.subsystem, "pci");
        }
    }
}
