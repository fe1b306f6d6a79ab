//! What was rendered for a name, found again by place: the kernel lists the same names in the
//! same order on every read, so the next name is nearly always the next entry.

use crate::collectors::error::CollectError;
use crate::collectors::source::scan::{cut, fields};

/// The most names that are remembered; past it the oldest half is forgotten. Far above any real
/// count, so that a machine on which names come and go does not grow.
const MAX_KNOWN: usize = 32_768;

/// Rendered things by name.
#[derive(Debug)]
pub struct Known<T> {
    entries: Vec<Entry<T>>,
    next: usize,
    pass: u64,
}

#[derive(Debug)]
struct Entry<T> {
    name: Box<[u8]>,
    thing: T,
    /// The pass in which the name was last met.
    met: u64,
}

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known {
            entries: Vec::new(),
            next: 0,
            pass: 0,
        }
    }
}

impl<T> Known<T> {
    /// Starts again at the first name; call it before each pass over a file.
    pub fn rewind(&mut self) {
        self.next = 0;
        self.pass += 1;
    }

    /// What is known for `name`, made by `make` when the name is new.
    ///
    /// *Cost*: one comparison when the order is that of the last pass.
    pub fn get(&mut self, name: &[u8], make: impl FnOnce(&[u8]) -> T) -> &mut T {
        &mut self.meet(name, make).thing
    }

    /// The same, but `None` for a name that was met before in this pass: a file that names
    /// something twice must not put the same series on the page twice.
    pub fn once(&mut self, name: &[u8], make: impl FnOnce(&[u8]) -> T) -> Option<&mut T> {
        let pass = self.pass;
        let entry = self.meet(name, make);
        let is_first = std::mem::replace(&mut entry.met, pass) != pass;
        is_first.then_some(&mut entry.thing)
    }

    fn meet(&mut self, name: &[u8], make: impl FnOnce(&[u8]) -> T) -> &mut Entry<T> {
        let at = self.place(name, make);
        self.next = at + 1;
        self.entries
            .get_mut(at)
            .expect("place() returns the index of an entry that is there")
    }

    /// The name that comes next if the order is that of the last pass.
    fn expected(&self) -> Option<&[u8]> {
        self.entries.get(self.next).map(|entry| &*entry.name)
    }

    /// Everything known, in the order of the last pass.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.thing)
    }

    /// Everything known, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|entry| &mut entry.thing)
    }

    /// Forgets what `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|entry| keep(&entry.thing));
        self.next = 0;
    }

    fn place(&mut self, name: &[u8], make: impl FnOnce(&[u8]) -> T) -> usize {
        if self
            .entries
            .get(self.next)
            .is_some_and(|entry| *entry.name == *name)
        {
            return self.next;
        }
        if let Some(at) = self.entries.iter().position(|entry| *entry.name == *name) {
            return at;
        }
        if self.entries.len() >= MAX_KNOWN {
            self.entries.drain(..MAX_KNOWN / 2);
        }
        // Inserted where it was met, so that the order stays that of the file.
        let at = self.next.min(self.entries.len());
        let met = self.pass.wrapping_sub(1);
        self.entries.insert(
            at,
            Entry {
                name: Box::from(name),
                thing: make(name),
                met,
            },
        );
        at
    }
}

/// Goes through lines of `name value`: calls `take` for every name that `make` gives a thing for, with the value's text.
/// A name that was met before in this text is left out.
///
/// *Errors*: what `take` says.
/// *Cost*: for a line that nobody wants, a comparison of its name and a search for its end.
pub fn each_listed<T>(
    known: &mut Known<Option<T>>,
    text: &[u8],
    make: impl Fn(&[u8]) -> Option<T>,
    mut take: impl FnMut(&mut T, &[u8]) -> Result<(), CollectError>,
) -> Result<(), CollectError> {
    known.rewind();
    let mut rest = text;
    while !rest.is_empty() {
        let expected = known.expected().map_or(0, |name| {
            let follows = rest.strip_prefix(name).and_then(<[u8]>::first);
            follows.map_or(0, |after| {
                if after.is_ascii_whitespace() {
                    name.len()
                } else {
                    0
                }
            })
        });
        let (line, after) = cut(rest, b'\n').unwrap_or((rest, b""));
        rest = after;
        let mut parts = fields(line);
        let name = match line.split_at_checked(expected) {
            Some((name, tail)) if expected > 0 => {
                parts = fields(tail);
                name
            }
            _ => match parts.next() {
                Some(name) => name,
                None => continue,
            },
        };
        if let Some(Some(thing)) = known.once(name, &make)
            && let Some(value) = parts.next()
        {
            take(thing, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Known, each_listed};

    #[test]
    fn names_are_made_once_and_found_in_any_order() {
        let mut known = Known::default();
        let mut made = 0;
        for pass in [["a", "b", "c"], ["a", "b", "c"], ["c", "x", "a"]] {
            known.rewind();
            for name in pass {
                let text = known.get(name.as_bytes(), |name| {
                    made += 1;
                    String::from_utf8_lossy(name).into_owned()
                });
                assert_eq!(text, name);
            }
        }
        assert_eq!(made, 4);
    }

    #[test]
    fn lists_give_each_wanted_name_once_in_any_order_and_shape() {
        let mut known = Known::default();
        let texts: [(&[u8], &str); 6] = [
            (b"a 1\nab 2\nb 3\n", "a=1 ab=2 "),
            (b"a 1\nab 2\nb 3\n", "a=1 ab=2 "),
            // Another order, a name that is a prefix of the expected one, twice the same, no value, blanks, no last end.
            (b"ab\t 5\r\na 4\nab 6\n", "ab=5 a=4 "),
            (b"a\n\n  \nab 7", "ab=7 "),
            (b"", ""),
            (b"abc 1\na 2\n", "abc=1 a=2 "),
        ];
        for (text, want) in texts {
            let mut got = String::new();
            let make = |name: &[u8]| name.starts_with(b"a").then(|| name.to_vec());
            each_listed(&mut known, text, make, |name, value| {
                got += &format!(
                    "{}={} ",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value)
                );
                Ok(())
            })
            .unwrap();
            assert_eq!(got, want);
        }
    }
}
