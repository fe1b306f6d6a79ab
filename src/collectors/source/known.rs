//! What was rendered for a name, found again by place: the kernel lists the same names in the
//! same order on every read, so the next name is nearly always the next entry. Where it is not, an
//! index tells, and before the next pass the entries are put into the order that was met.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

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
    /// Counts the names that were met.
    meetings: u64,
    /// Whether this pass met names in another order than that of the entries.
    is_mixed: bool,
    /// Where an entry stands, by the hash of its name. Two names with the same hash share the place of the later one.
    places: HashMap<u64, usize>,
    hasher: RandomState,
    /// Entries that were compared with a name, for the test of what a pass costs.
    #[cfg(test)]
    compared: usize,
}

#[derive(Debug)]
struct Entry<T> {
    name: Box<[u8]>,
    thing: T,
    /// The pass in which the name was last met by `once`.
    met: u64,
    /// The number of its last meeting.
    meeting: u64,
}

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known {
            entries: Vec::new(),
            next: 0,
            pass: 0,
            meetings: 0,
            is_mixed: false,
            places: HashMap::new(),
            hasher: RandomState::new(),
            #[cfg(test)]
            compared: 0,
        }
    }
}

impl<T> Known<T> {
    /// Starts again at the first name; call it before each pass over a file.
    ///
    /// *Cost*: nothing, but a sort of the names after a pass in another order.
    pub fn rewind(&mut self) {
        if self.is_mixed {
            self.entries.sort_unstable_by_key(|entry| entry.meeting);
            self.index();
            self.is_mixed = false;
        }
        self.next = 0;
        self.pass += 1;
    }

    /// What is known for `name`, made by `make` when the name is new.
    ///
    /// *Cost*: one comparison when the order is that of the last pass, else a hash of the name.
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
        self.is_mixed |= at < self.next;
        self.next = at + 1;
        self.meetings += 1;
        let meeting = self.meetings;
        let entry = self
            .entries
            .get_mut(at)
            .expect("place() returns the index of an entry that is there");
        entry.meeting = meeting;
        entry
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
        self.index();
        self.next = 0;
    }

    fn place(&mut self, name: &[u8], make: impl FnOnce(&[u8]) -> T) -> usize {
        if self.is_at(self.next, name) {
            return self.next;
        }
        let hash = self.hasher.hash_one(name);
        if let Some(&at) = self.places.get(&hash) {
            if self.is_at(at, name) {
                return at;
            }
            // Another name with the same hash: there is no other way to tell then.
            if let Some(at) = (0..self.entries.len()).find(|&at| self.is_at(at, name)) {
                return at;
            }
        }
        if self.entries.len() >= MAX_KNOWN {
            self.entries.drain(..MAX_KNOWN / 2);
            self.index();
        }
        let at = self.entries.len();
        // It belongs where it was met, and gets there before the next pass.
        self.is_mixed |= self.next < at;
        self.places.insert(hash, at);
        self.entries.push(Entry {
            name: Box::from(name),
            thing: make(name),
            met: self.pass.wrapping_sub(1),
            meeting: 0,
        });
        at
    }

    fn is_at(&mut self, at: usize, name: &[u8]) -> bool {
        #[cfg(test)]
        {
            self.compared += 1;
        }
        self.entries
            .get(at)
            .is_some_and(|entry| *entry.name == *name)
    }

    /// Makes the index anew, after entries have moved.
    fn index(&mut self) {
        self.places.clear();
        let places = self.entries.iter().enumerate();
        let places = places.map(|(at, entry)| (self.hasher.hash_one(&*entry.name), at));
        self.places.extend(places);
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

    /// The names `from..to` as one pass, and how many entries it compared.
    fn pass(known: &mut Known<usize>, names: impl Iterator<Item = usize>) -> usize {
        let before = known.compared;
        known.rewind();
        for number in names {
            assert_eq!(*known.get(&number.to_be_bytes(), |_| number), number);
        }
        known.compared - before
    }

    #[test]
    fn a_pass_over_new_missing_or_turned_names_is_linear() {
        const COUNT: usize = 10_000;
        let mut known = Known::default();
        for (what, names) in [
            ("wholly new", (0..COUNT).collect::<Vec<_>>()),
            ("the same", (0..COUNT).collect()),
            (
                "as many new ones in front",
                (COUNT..2 * COUNT).chain(0..COUNT).collect(),
            ),
            ("the first ones gone", (0..COUNT).collect()),
            ("every second gone", (0..COUNT).step_by(2).collect()),
            ("backwards", (0..COUNT).rev().collect()),
            (
                "shuffled",
                (0..COUNT).map(|number| number * 7_919 % COUNT).collect(),
            ),
        ] {
            let count = names.len();
            let compared = pass(&mut known, names.into_iter());
            assert!(compared <= 2 * count, "{what}: {compared} for {count}");
        }
        // An order that stays costs one comparison for each name from the second time on.
        for order in [(0..COUNT).rev().collect::<Vec<_>>(), (0..COUNT).collect()] {
            pass(&mut known, order.iter().copied());
            let compared = pass(&mut known, order.into_iter());
            assert!(compared <= COUNT + 1, "{compared}");
        }
        known.retain(|number| number % 3 == 0);
        let kept = pass(&mut known, (0..COUNT).step_by(3));
        assert!(kept <= COUNT / 3 + 3, "{kept}");
    }

    #[test]
    fn names_without_end_are_forgotten_and_the_index_stays_right() {
        let mut known = Known::default();
        pass(&mut known, 0..3 * super::MAX_KNOWN);
        assert!(known.iter().count() <= super::MAX_KNOWN);
        pass(&mut known, (0..3 * super::MAX_KNOWN).rev());
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
