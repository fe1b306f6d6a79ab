//! `filefd`: open file handles of the whole machine.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{fields, number};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const ALLOCATED: Family = Family::gauge(
    "node_filefd_allocated",
    "File descriptor statistics: allocated.",
)
.from("/proc/sys/fs/file-nr");
const MAXIMUM: Family = Family::gauge(
    "node_filefd_maximum",
    "File descriptor statistics: maximum.",
)
.from("/proc/sys/fs/file-nr");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "filefd",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[ALLOCATED, MAXIMUM],
    open,
};

struct FileHandles {
    file: HeldFile,
    allocated: Head,
    maximum: Head,
    labels: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(FileHandles {
        file: HeldFile::new(&sources.roots.procfs, "sys/fs/file-nr", Shape::Whole),
        allocated: Head::of(&ALLOCATED),
        maximum: Head::of(&MAXIMUM),
        labels: Labels::none(),
    }))
}

impl Collector for FileHandles {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut parts = fields(self.file.read_trimmed(turn.epoch, turn.scratch)?);
        let broken = CollectError::Parse("file-nr");
        let (Some(allocated), Some(maximum)) = (parts.next(), parts.nth(1)) else {
            return Err(broken);
        };
        if number(allocated).is_none() || number(maximum).is_none() {
            return Err(broken);
        }
        turn.page
            .family(&self.allocated)
            .digits(&self.labels, allocated);
        turn.page
            .family(&self.maximum)
            .digits(&self.labels, maximum);
        Ok(())
    }
}
