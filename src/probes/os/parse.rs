//! `os-release`: assignments in the form of a shell's, without its expansions.
//!
//! *Source*: os-release(5).

use std::collections::BTreeMap;

/// The longest value that is kept.
const MAX_VALUE_BYTES: usize = 1_024;

/// What a machine says about its distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    fields: BTreeMap<String, String>,
}

impl OsRelease {
    /// Reads the text of an os-release file. What is no assignment is left out, as the format asks; a later assignment
    /// replaces an earlier one.
    pub fn parse(text: &str) -> Self {
        let mut fields = BTreeMap::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (line, tail) = rest.split_once('\n').unwrap_or((rest, ""));
            let name = line.split_once('=').map(|(name, _)| name.trim_start());
            let Some(name) = name.filter(|name| is_name(name)) else {
                rest = tail;
                continue;
            };
            // A quoted value may go on in the next line, so the value is read from the whole rest.
            let start = rest.find('=').map_or(rest.len(), |at| at + 1);
            let (value, after) = read_value(rest.get(start..).unwrap_or_default());
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
                rest = after;
            } else {
                rest = tail;
            }
        }
        Self { fields }
    }

    /// A field, `None` where it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `ID`; `linux` where it is missing, as the format asks.
    pub fn id(&self) -> &str {
        self.get("ID").unwrap_or("linux")
    }

    /// `VERSION_ID`, empty where it is missing.
    pub fn version_id(&self) -> &str {
        self.get("VERSION_ID").unwrap_or_default()
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain)
}

/// A value and what follows its line. `None` for a quote that never ends and for a value that is too long.
fn read_value(text: &str) -> (Option<String>, &str) {
    #[derive(PartialEq)]
    enum State {
        Plain,
        Single,
        Double,
    }
    let mut state = State::Plain;
    let mut value = String::new();
    // Spaces at the end of a line are no part of the value, unless quoted or escaped.
    let mut kept = 0;
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = characters.next() {
        match (&state, c) {
            (State::Plain, '\n') => {
                end = at + 1;
                break;
            }
            (State::Plain, '\'') => state = State::Single,
            (State::Plain, '"') => state = State::Double,
            (State::Single, '\'') | (State::Double, '"') => state = State::Plain,
            (State::Plain | State::Double, '\\') => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((_, next)) => {
                    // In double quotes a backslash is special only before these.
                    if state == State::Double && !matches!(next, '"' | '\\' | '`' | '$') {
                        value.push('\\');
                    }
                    value.push(next);
                    kept = value.len();
                }
            },
            (State::Plain, c) if c.is_whitespace() => {
                if !value.is_empty() {
                    value.push(c);
                }
                continue;
            }
            (_, c) => value.push(c),
        }
        kept = kept.max(value.len());
    }
    value.truncate(kept);
    let rest = text.get(end..).unwrap_or_default();
    let usable = state == State::Plain && value.len() <= MAX_VALUE_BYTES;
    let clean = || {
        value
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    };
    (usable.then(clean), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn real_files_are_read() {
        for (text, id, version, pretty, like) in [
            (
                include_str!("../../../tests/fixtures/os-release/debian12.txt"),
                "debian",
                "12",
                "Debian GNU/Linux 12 (bookworm)",
                None,
            ),
            (
                include_str!("../../../tests/fixtures/os-release/centos7.txt"),
                "centos",
                "7",
                "CentOS Linux 7 (Core)",
                Some("rhel fedora"),
            ),
        ] {
            let release = OsRelease::parse(text);
            assert_eq!((release.id(), release.version_id()), (id, version));
            assert_eq!(release.get("PRETTY_NAME"), Some(pretty));
            assert_eq!(release.get("ID_LIKE"), like);
        }
    }

    #[test]
    fn quotes_and_escapes_are_read_as_a_shell_reads_them() {
        for (text, value) in [
            ("A=x", Some("x")),
            ("A=\"x y\"", Some("x y")),
            ("A='x y'", Some("x y")),
            ("A=x y", Some("x y")),
            ("A=x  \n", Some("x")),
            ("A=  x\n", Some("x")),
            ("A=\"x \"\n", Some("x ")),
            ("A=\"a\\\"b\"", Some("a\"b")),
            ("A=\"a\\\\b\"", Some("a\\b")),
            ("A=\"a\\$b\\`c\"", Some("a$b`c")),
            ("A=\"a\\nb\"", Some("a\\nb")),
            ("A='a\\b'", Some("a\\b")),
            ("A='it'\"'\"'s'", Some("it's")),
            ("A=a\\ b", Some("a b")),
            ("A=a\\\nb", Some("ab")),
            ("A=\"a\nb\"", Some("a b")),
            ("A=x\r\n", Some("x")),
            ("A=\"x\"y", Some("xy")),
            ("A=$HOME", Some("$HOME")),
            ("A=1\nA=2", Some("2")),
            ("# c\n\n  A=x", Some("x")),
            ("A=x=y", Some("x=y")),
            ("A=é", Some("é")),
        ] {
            assert_eq!(OsRelease::parse(text).get("A"), value, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_left_out() {
        let long = format!("A={}", "x".repeat(2_000));
        for text in [
            "",
            "\n",
            "A",
            "=x",
            "A =x",
            " =x",
            "1A=x",
            "A-B=x",
            "#A=x",
            "A=",
            "A=\"\"",
            "A=\"x",
            "A='x",
            "A='x\nB=y",
            "A=\"x\\\"",
            "é=x",
            "export A=x",
            "\0=x",
            "A.B=x",
            "A\t=x",
            &long,
        ] {
            assert_eq!(OsRelease::parse(text).get("A"), None, "{text:?}");
        }
        let after = OsRelease::parse("A=\"never ends\nID=debian\nVERSION_ID=12\n");
        assert_eq!((after.id(), after.version_id()), ("debian", "12"));
        assert_eq!(OsRelease::default().id(), "linux");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            OsRelease::parse(&text).id();
        }

        #[test]
        fn a_value_in_single_quotes_is_read_back(value in "[ -~&&[^']]{1,40}") {
            let release = OsRelease::parse(&format!("X=1\nA='{value}'\nB=2\n"));
            prop_assert_eq!(release.get("A"), Some(value.as_str()));
            prop_assert_eq!(release.get("B"), Some("2"));
        }
    }
}
