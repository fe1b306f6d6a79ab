//! `interrupts`: interrupts by processor, from `/proc/interrupts`.

use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::class::shared;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{Fields, cut, fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const INCLUDE: &str = "collector.interrupts.name-include";
const EXCLUDE: &str = "collector.interrupts.name-exclude";
const ZEROS: &str = "collector.interrupts.include-zeros";

const INTERRUPTS: Family =
    Family::counter("node_interrupts_total", "Interrupt details.").from("/proc/interrupts");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "interrupts",
    enabled: false,
    lane: Lane::Apart,
    flags: &[
        Flag::optional(
            INCLUDE,
            "Regexp of interrupts name to include (mutually exclusive to --collector.interrupts.name-exclude).",
        ),
        Flag::optional(
            EXCLUDE,
            "Regexp of interrupts name to exclude (mutually exclusive to --collector.interrupts.name-include).",
        ),
        Flag::on(ZEROS, "Include interrupts that have a zero value"),
    ],
    families: &[INTERRUPTS],
    open,
};

struct Interrupts {
    file: HeldFile,
    filter: Filter,
    zeros: bool,
    known: Known<Option<Vec<Arc<Labels>>>>,
    sheet: Sheet,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Interrupts {
        file: HeldFile::new(&sources.roots.procfs, "interrupts", Shape::Stream),
        filter: settings.filter(INCLUDE, EXCLUDE)?,
        zeros: settings.is_on(ZEROS),
        known: Known::default(),
        sheet: Sheet::of(&[INTERRUPTS]),
    }))
}

impl Collector for Interrupts {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.known.rewind();
        let mut rest = lines(text);
        let broken = || CollectError::Parse("interrupts");
        let cpus = rest
            .next()
            .map(|line| fields(line).count())
            .ok_or_else(broken)?;
        let mut result = Ok(());
        for line in rest {
            let Some((name, counts)) = cut(line, b':') else {
                continue;
            };
            // Lines of one number for the whole machine (`ERR`, `MIS`) have no details.
            let parts = fields(counts);
            if parts.clone().count() <= cpus {
                continue;
            }
            let filter = &self.filter;
            // The whole line is not the key, because its numbers grow; the details are.
            let details = after(parts.clone(), cpus);
            let key = [name.trim_ascii(), b" ", details].concat();
            let labels = self
                .known
                .get(&key, |_| named(name.trim_ascii(), details, cpus, filter));
            let Some(labels) = labels else { continue };
            for (labels, text) in labels.iter().zip(parts) {
                match number(text) {
                    Some(0) if !self.zeros => {}
                    Some(count) => self.sheet.put(0, labels, count as f64),
                    None => result = Err(broken()),
                }
            }
        }
        self.sheet.write(turn.page);
        result
    }
}

/// What follows the first `count` fields.
fn after(mut parts: Fields<'_>, count: usize) -> &[u8] {
    for _ in 0..count {
        parts.next();
    }
    parts.rest().trim_ascii()
}

/// The labels of each processor; `None` if the interrupt is not shown. A numbered interrupt has
/// its controller first and then its devices; a named one has a description.
fn named(name: &[u8], details: &[u8], cpus: usize, filter: &Filter) -> Option<Vec<Arc<Labels>>> {
    let words: Vec<&[u8]> = fields(details).collect();
    let (info, devices) = match words.split_first() {
        Some((first, rest)) if number(name).is_some() => (first.to_vec(), rest.join(&b' ')),
        _ => (words.join(&b' '), Vec::new()),
    };
    if filter.is_ignored(&[name, b";", &info, b";", &devices].concat()) {
        return None;
    }
    let labels = (0..cpus).map(|cpu| {
        shared(&[
            ("cpu", cpu.to_string().as_bytes()),
            ("devices", &devices),
            ("info", &info),
            ("type", name),
        ])
    });
    Some(labels.collect())
}
