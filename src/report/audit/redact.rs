//! Free text on its way into a record: secrets out, control characters out, length capped (safety.md, T10 and T13).

use regex::Regex;
use std::sync::LazyLock;

/// The longest free text in a record. Evidence is a sentence; what is longer was not written for people.
pub(super) const MAX_TEXT_BYTES: usize = 2048;
/// The longest name in a record: a unit name has 255 bytes at the most, ours are shorter.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// The most texts in a list of a record.
pub(super) const MAX_TEXTS: usize = 32;

const CUT: &str = " (cut)";
const HIDDEN: &str = "[redacted]";

/// Shapes of secrets that turn up in log lines, command lines and error texts. Not a proof: the fields themselves are an
/// allow-list; this catches what a message quotes.
const SHAPES: &[&str] = &[
    // A JSON web token, such as a service account's.
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*",
    // HTTP credentials.
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}",
    // PEM, up to its end or the end of the text.
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    // user:password@ in an address.
    r"://[^\s/:@]{1,128}:[^\s/@]{1,256}@",
    // name=value and name: value.
    r#"(?i)\b[a-z_.-]{0,32}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credential)[a-z_.-]{0,16}["']?\s*[=:]\s*(?:"[^"]*"|'[^']*'|[^\s,;"']+)"#,
    // AWS access key ids and kubeadm bootstrap tokens.
    r"\bAKIA[0-9A-Z]{16}\b",
    r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b",
];

static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&SHAPES.join("|")).ok());

/// `text` fit for a record.
pub(super) fn free_text(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let clean = match SECRET.as_ref() {
        Some(secret) => secret.replace_all(&visible, HIDDEN),
        // Without its patterns no text is proven clean. A test proves that they compile.
        None => HIDDEN.into(),
    };
    cap(&clean, MAX_TEXT_BYTES)
}

/// A name (id, version, slot and so on) fit for a record.
pub(super) fn name(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
    cap(&visible, MAX_NAME_BYTES)
}

/// Texts fit for a record.
pub(super) fn free_texts(texts: &[String]) -> Vec<String> {
    let mut list: Vec<String> = texts
        .iter()
        .take(MAX_TEXTS)
        .map(|text| free_text(text))
        .collect();
    if texts.len() > MAX_TEXTS
        && let Some(last) = list.last_mut()
    {
        *last = format!("and {} more", texts.len() - MAX_TEXTS + 1);
    }
    list
}

fn cap(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let room = most - CUT.len();
    let end = (0..=room)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_secrets_are_not_found_again() {
        for (text, canary) in [
            ("Authorization: Bearer c4n4ry-0123456789", "c4n4ry"),
            ("token=c4n4ry", "c4n4ry"),
            (
                "--client-secret 'x' password: \"c4n4ry with spaces\" done",
                "c4n4ry",
            ),
            ("{\"db_password\":\"c4n4ry\"}", "c4n4ry"),
            ("pull https://user:c4n4ry@registry.local/v2", "c4n4ry"),
            ("eyJhbGciOiJSUzI1NiJ9.eyJjNG40cnkiOjF9.c4n4ry", "c4n4ry"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nc4n4ry\n-----END RSA PRIVATE KEY-----",
                "c4n4ry",
            ),
            ("-----BEGIN PRIVATE KEY-----\nc4n4ry", "c4n4ry"),
            ("AWS_SECRET_ACCESS_KEY=c4n4ry/x", "c4n4ry"),
            ("key AKIAC4N4RYC4N4RYC4N4", "AKIAC4"),
            ("kubeadm join --token abcdef.c4n4ryc4n4ryc4n4", "c4n4ry"),
            ("X-Api-Key: c4n4ry", "c4n4ry"),
        ] {
            let clean = free_text(text);
            assert!(!clean.contains(canary), "{text:?} gave {clean:?}");
            assert!(clean.contains(HIDDEN), "{text:?} gave {clean:?}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for text in [
            "PID 1 on the bus: no answer within 5 s, 3 times",
            "unit token-refresh.service failed",
            "node annotation, resourceVersion 88213",
            "systemd 252.38-1~deb12u1",
        ] {
            assert_eq!(free_text(text), text);
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let cut = free_text(&"ä".repeat(3000));
        assert!(cut.len() <= MAX_TEXT_BYTES && cut.ends_with("ä (cut)"));
        assert_eq!(free_text("a\u{1b}[31m\nb"), "a [31m b");
        let many = free_texts(&vec!["x".to_owned(); 40]);
        assert_eq!((many.len(), many[31].as_str()), (32, "and 9 more"));
        assert!(name(&"n".repeat(999)).len() <= MAX_NAME_BYTES);
    }
}
