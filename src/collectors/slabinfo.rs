//! `slabinfo`: the kernel's object caches, from `/proc/slabinfo` (readable by root only).

use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;
use regex::bytes::Regex;

const INCLUDE: &str = "collector.slabinfo.slabs-include";
const EXCLUDE: &str = "collector.slabinfo.slabs-exclude";

const fn slab(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from("/proc/slabinfo")
}

const FAMILIES: [Family; 5] = [
    slab(
        "node_slabinfo_active_objects",
        "The number of objects that are currently active (i.e., in use).",
    ),
    slab(
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
    ),
    slab(
        "node_slabinfo_object_size_bytes",
        "The size of objects in this slab, in bytes.",
    )
    .unit("bytes"),
    slab(
        "node_slabinfo_objects_per_slab",
        "The number of objects stored in each slab.",
    ),
    slab(
        "node_slabinfo_pages_per_slab",
        "The number of pages allocated for each slab.",
    ),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "slabinfo",
    enabled: false,
    lane: Lane::Apart,
    flags: &[
        Flag::value(
            INCLUDE,
            ".*",
            "Regexp of slabs to include in slabinfo collector.",
        ),
        Flag::value(
            EXCLUDE,
            "",
            "Regexp of slabs to exclude in slabinfo collector.",
        ),
    ],
    families: &FAMILIES,
    open,
};

struct SlabInfo {
    file: HeldFile,
    include: Option<Regex>,
    exclude: Option<Regex>,
    known: Known<Option<Arc<Labels>>>,
    sheet: Sheet,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(SlabInfo {
        file: HeldFile::new(&sources.roots.procfs, "slabinfo", Shape::Stream),
        include: settings.pattern(INCLUDE)?,
        exclude: settings.pattern(EXCLUDE)?,
        known: Known::default(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for SlabInfo {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.known.rewind();
        let mut result = Ok(());
        for line in lines(text) {
            if line.starts_with(b"slabinfo - ") || line.starts_with(b"# ") {
                continue;
            }
            let mut parts = fields(line);
            let Some(name) = parts.next() else { continue };
            let values = parts.map_while(number).take(FAMILIES.len());
            if values.clone().count() < FAMILIES.len() {
                result = Err(CollectError::Parse("slabinfo"));
                continue;
            }
            let (include, exclude) = (&self.include, &self.exclude);
            let labels = self.known.get(name, |name| {
                let is = |pattern: &Option<Regex>| pattern.as_ref().map(|p| p.is_match(name));
                let shown = is(include).unwrap_or(true) && !is(exclude).unwrap_or(false);
                shown.then(|| shared(&[("slab", name)]))
            });
            if let Some(labels) = labels {
                for (column, value) in values.enumerate() {
                    self.sheet.put(column, labels, value as f64);
                }
            }
        }
        self.sheet.write(turn.page);
        result
    }
}
