//! Labels, rendered and escaped once and then copied.

/// A rendered label set with the blank before the value: `{device="eth0"} `, or one blank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Box<[u8]>);

impl Labels {
    /// No labels.
    pub fn none() -> Labels {
        Labels(Box::from(&b" "[..]))
    }

    /// Renders names and values. Values may be any bytes: quotes, backslashes and newlines are
    /// escaped, what is not UTF-8 becomes U+FFFD (node_exporter would end in a panic on it).
    pub fn new(pairs: &[(&str, &[u8])]) -> Labels {
        if pairs.is_empty() {
            return Labels::none();
        }
        let mut text = Vec::with_capacity(64);
        let mut before = b'{';
        for (name, value) in pairs {
            text.push(before);
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"=\"");
            push_value(&mut text, value);
            text.push(b'"');
            before = b',';
        }
        text.extend_from_slice(b"} ");
        Labels(text.into_boxed_slice())
    }

    /// The rendered bytes, blank included.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends a label value with `\`, `"` and newline escaped and broken UTF-8 replaced.
pub fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    push_escaped(out, value, true);
}

/// Appends help text with `\` and newline escaped and broken UTF-8 replaced.
pub fn push_help(out: &mut Vec<u8>, help: &[u8]) {
    push_escaped(out, help, false);
}

fn push_escaped(out: &mut Vec<u8>, text: &[u8], quotes: bool) {
    for chunk in text.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'"' if quotes => out.extend_from_slice(b"\\\""),
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn hostile_values_stay_inside_their_quotes() {
        let cases: [(&[u8], &str); 5] = [
            (b"eth0", "{a=\"eth0\"} "),
            (b"a\"b", "{a=\"a\\\"b\"} "),
            (b"a\nb\\", "{a=\"a\\nb\\\\\"} "),
            (b"\xff\xfe", "{a=\"\u{fffd}\u{fffd}\"} "),
            (b"", "{a=\"\"} "),
        ];
        for (value, want) in cases {
            assert_eq!(
                String::from_utf8_lossy(Labels::new(&[("a", value)]).bytes()),
                want
            );
        }
    }

    #[test]
    fn several_labels_are_parted_by_commas_and_none_is_a_blank() {
        let labels = Labels::new(&[("a", b"1"), ("b", b"2")]);
        assert_eq!(labels.bytes(), b"{a=\"1\",b=\"2\"} ");
        assert_eq!(Labels::new(&[]).bytes(), b" ");
    }
}
