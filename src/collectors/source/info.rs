//! Labels made of the words in a device's files, rendered again only when a word changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::collectors::source::held::{HeldFile, Shape};
use crate::exposition::label::Labels;

/// What is taken of one file. node_exporter reads sysfs attributes in one piece of this size.
const MAX_WORD_BYTES: usize = 128;

/// A word and the label it becomes.
#[derive(Debug)]
struct Word {
    label: &'static str,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Fixed(Box<[u8]>),
    File(Box<HeldFile>, &'static str),
    Hex(Box<HeldFile>),
}

/// An info family's labels for one device.
#[derive(Debug)]
pub struct Info {
    words: Vec<Word>,
    skips_empty: bool,
    last: Vec<u8>,
    next: Vec<u8>,
    labels: Arc<Labels>,
}

impl Info {
    /// Labels of a device whose name is always the same. `skips_empty` says whether a label
    /// without value is left out.
    pub fn new(fixed: &[(&'static str, &[u8])], skips_empty: bool) -> Info {
        let word = |&(label, value): &(&'static str, &[u8])| Word {
            label,
            source: Source::Fixed(Box::from(value)),
        };
        Info {
            words: fixed.iter().map(word).collect(),
            skips_empty,
            last: Vec::new(),
            next: Vec::new(),
            labels: Arc::new(Labels::none()),
        }
    }

    /// Adds labels whose values are the files of these names below `dir`.
    #[must_use]
    pub fn files(
        mut self,
        (dir, keep): (&Path, bool),
        files: &[(&'static str, &'static str)],
    ) -> Info {
        for (label, file) in files {
            self = self.file(label, (dir.join(file), keep), "");
        }
        self
    }

    /// Adds one label whose value is a file, or `absent` where the file cannot be read.
    #[must_use]
    pub fn file(
        mut self,
        label: &'static str,
        (path, keep): (PathBuf, bool),
        absent: &'static str,
    ) -> Info {
        let file = Box::new(HeldFile::at(path, keep, Shape::Whole));
        self.words.push(Word {
            label,
            source: Source::File(file, absent),
        });
        self
    }

    /// Adds one label whose value is a file in hexadecimal, shown without its `0x`.
    #[must_use]
    pub fn hex(mut self, label: &'static str, (path, keep): (PathBuf, bool)) -> Info {
        let file = Box::new(HeldFile::at(path, keep, Shape::Whole));
        self.words.push(Word {
            label,
            source: Source::Hex(file),
        });
        self
    }

    /// Reads the files and lends the labels, sorted by name.
    ///
    /// *Cost*: nothing is rendered or allocated while the words stay the same.
    pub fn read(&mut self, epoch: u64, scratch: &mut Vec<u8>) -> &Arc<Labels> {
        self.next.clear();
        for word in &mut self.words {
            let text: &[u8] = match &mut word.source {
                Source::Fixed(text) => text,
                Source::File(file, absent) => {
                    file.read(epoch, scratch).unwrap_or(absent.as_bytes())
                }
                Source::Hex(file) => {
                    let text = file.read_trimmed(epoch, scratch).unwrap_or_default();
                    text.get(2..)
                        .filter(|rest| !rest.is_empty())
                        .unwrap_or(text)
                }
            };
            let text = text.get(..MAX_WORD_BYTES).unwrap_or(text).trim_ascii();
            // A zero byte parts the words, so it cannot stay inside one.
            let clean = text.iter().filter(|&&byte| byte != 0);
            self.next.extend(clean);
            self.next.push(0);
        }
        if self.next != self.last {
            self.last.clone_from(&self.next);
            let values = self.last.split(|&byte| byte == 0);
            let mut pairs: Vec<(&str, &[u8])> = self
                .words
                .iter()
                .map(|word| word.label)
                .zip(values)
                .filter(|(_, value)| !self.skips_empty || !value.is_empty())
                .collect();
            pairs.sort_unstable();
            self.labels = Arc::new(Labels::new(&pairs));
        }
        &self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::Info;
    use std::sync::Arc;

    #[test]
    fn labels_follow_the_files_and_are_rendered_once_while_they_stay() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state"), "live\n").unwrap();
        let mut info = Info::new(&[("device", b"nvme0")], false)
            .files((dir.path(), false), &[("state", "state"), ("model", "no")]);
        let mut scratch = Vec::new();
        let first = Arc::clone(info.read(1, &mut scratch));
        assert_eq!(
            String::from_utf8_lossy(first.bytes()),
            "{device=\"nvme0\",model=\"\",state=\"live\"} "
        );
        assert!(Arc::ptr_eq(&first, info.read(1, &mut scratch)));
        std::fs::write(dir.path().join("state"), b"\xff\0\n").unwrap();
        let labels = info.read(1, &mut scratch);
        assert!(String::from_utf8_lossy(labels.bytes()).contains("state=\"\u{fffd}\""));
    }

    #[test]
    fn empty_labels_can_be_left_out_and_absent_files_have_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| (dir.path().join(name), false);
        let mut info = Info::new(&[("a", b"1"), ("b", b"")], true)
            .file("c", path("c"), "unknown")
            .file("d", path("d"), "");
        let labels = info.read(1, &mut Vec::new());
        assert_eq!(labels.bytes(), b"{a=\"1\",c=\"unknown\"} ");
    }
}
