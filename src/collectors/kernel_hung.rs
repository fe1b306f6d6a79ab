//! `kernel_hung`: tasks that the kernel's watchdog found hanging.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::number;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const TASKS: Family = Family::counter(
    "node_kernel_hung_tasks_total",
    "Total number of tasks that have been detected as hung since the system booted.",
)
.from("/proc/sys/kernel/hung_task_detect_count (Linux 6.12)");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "kernel_hung",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[TASKS],
    open,
};

struct KernelHung {
    file: HeldFile,
    head: Head,
    none: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(KernelHung {
        file: HeldFile::new(
            &sources.roots.procfs,
            "sys/kernel/hung_task_detect_count",
            Shape::Whole,
        ),
        head: Head::of(&TASKS),
        none: Labels::none(),
    }))
}

impl Collector for KernelHung {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self
            .file
            .read_trimmed(turn.epoch, turn.scratch)
            .map_err(|error| {
                if error.is_absent() {
                    CollectError::NoData("count of hung tasks")
                } else {
                    error.into()
                }
            })?;
        let count = number(text).ok_or(CollectError::Parse("hung_task_detect_count"))?;
        turn.page.family(&self.head).int(&self.none, count);
        Ok(())
    }
}
