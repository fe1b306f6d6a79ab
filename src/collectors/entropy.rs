//! `entropy`: the random number generator's pool.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::number;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const AVAILABLE: Family =
    Family::gauge("node_entropy_available_bits", "Bits of available entropy.")
        .from("/proc/sys/kernel/random/entropy_avail")
        .unit("bits");
const SIZE: Family = Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.")
    .from("/proc/sys/kernel/random/poolsize")
    .unit("bits");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "entropy",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[AVAILABLE, SIZE],
    open,
};

struct Entropy {
    available_file: HeldFile,
    size_file: HeldFile,
    available: Head,
    size: Head,
    labels: Labels,
    /// The pool's size is a constant of the kernel, so it is read once an epoch.
    known_size: Option<(u64, u64)>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name| HeldFile::new(&sources.roots.procfs, name, Shape::Whole);
    Ok(Box::new(Entropy {
        available_file: file("sys/kernel/random/entropy_avail"),
        size_file: file("sys/kernel/random/poolsize"),
        available: Head::of(&AVAILABLE),
        size: Head::of(&SIZE),
        labels: Labels::none(),
        known_size: None,
    }))
}

impl Collector for Entropy {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let available = self.available_file.read_trimmed(turn.epoch, turn.scratch);
        let available = available
            .map_err(CollectError::from)
            .and_then(|text| number(text).ok_or(CollectError::Parse("entropy_avail")));
        let available = available.map(|bits| {
            let mut family = turn.page.family(&self.available);
            family.int(&self.labels, bits);
        });
        available.and(self.write_size(turn))
    }
}

impl Entropy {
    fn write_size(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let size = match self.known_size {
            Some((epoch, size)) if epoch == turn.epoch => size,
            _ => number(self.size_file.read_trimmed(turn.epoch, turn.scratch)?)
                .ok_or(CollectError::Parse("poolsize"))?,
        };
        self.known_size = Some((turn.epoch, size));
        turn.page.family(&self.size).int(&self.labels, size);
        Ok(())
    }
}
