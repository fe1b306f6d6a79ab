//! Devices below one directory of sysfs: what most collectors of rarer hardware have in common.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Sources, Turn};
use crate::collectors::error::CollectError;
use crate::collectors::source::attribute::{Attribute, Readings};
use crate::collectors::source::dir::Watched;
use crate::collectors::source::info::Info;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// The most info lines of one collector, far above any real machine.
const MAX_INFOS: usize = 65_536;

/// What is read on each page, made anew when devices came or went.
#[derive(Debug, Default)]
pub struct Devices {
    infos: Vec<(usize, Info)>,
    constants: Vec<(usize, Arc<Labels>, f64)>,
    readings: Readings,
}

/// The making of [`Devices`] from a directory.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The families.
    pub sheet: &'a mut Sheet,
    /// Files to read on each page.
    pub readings: &'a mut Readings,
    /// Whether the kernel makes the files, so that they can be kept open.
    pub keep: bool,
    infos: &'a mut Vec<(usize, Info)>,
    constants: &'a mut Vec<(usize, Arc<Labels>, f64)>,
}

impl Plan<'_> {
    /// Adds a sample of value 1 whose labels are words in files.
    pub fn info(&mut self, column: usize, info: Info) {
        if self.infos.len() < MAX_INFOS {
            self.infos.push((column, info));
        }
    }

    /// Adds a sample that stays while the device is there.
    pub fn constant(&mut self, column: usize, labels: &Arc<Labels>, value: f64) {
        if self.constants.len() < MAX_INFOS {
            self.constants.push((column, Arc::clone(labels), value));
        }
    }

    /// Adds the attributes of one device; their columns begin at `first`.
    pub fn table(&mut self, table: &[Attribute], first: usize, labels: &Arc<Labels>, dir: &Path) {
        self.readings
            .add_table(table, first, labels, (dir, self.keep));
    }
}

/// Makes the plan from the directory and its sorted names.
pub type Planner = Box<dyn FnMut(&mut Plan<'_>, &Path, Vec<Vec<u8>>) + Send>;

/// A collector of the devices below one directory.
pub struct DeviceClass {
    what: &'static str,
    absent_is_empty: bool,
    devices: Watched<Devices>,
    sheet: Sheet,
    planner: Planner,
}

impl std::fmt::Debug for DeviceClass {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DeviceClass")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl DeviceClass {
    /// A collector of what `planner` finds below `dir` in sysfs; `what` are the devices, in the
    /// words of an error message.
    pub fn new(
        sources: &Sources,
        (dir, what): (&str, &'static str),
        families: &[Family],
        planner: Planner,
    ) -> DeviceClass {
        DeviceClass {
            what,
            absent_is_empty: false,
            devices: Watched::new(&sources.roots.sysfs, dir),
            sheet: Sheet::of(families),
            planner,
        }
    }

    /// Says that a missing directory is no failure, where node_exporter takes it so.
    #[must_use]
    pub fn absent_is_empty(self) -> DeviceClass {
        DeviceClass {
            absent_is_empty: true,
            ..self
        }
    }
}

impl Collector for DeviceClass {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let (sheet, planner) = (&mut self.sheet, &mut self.planner);
        let keep = self.devices.is_kept();
        let found = self.devices.get(turn.epoch, |path, names| {
            let mut devices = Devices::default();
            let mut plan = Plan {
                sheet: &mut *sheet,
                readings: &mut devices.readings,
                keep,
                infos: &mut devices.infos,
                constants: &mut devices.constants,
            };
            planner(&mut plan, path, names);
            devices
        });
        let devices = match found {
            Ok(devices) => devices,
            Err(error) if error.is_absent() && self.absent_is_empty => return Ok(()),
            Err(error) if error.is_absent() => return Err(CollectError::NoData(self.what)),
            Err(error) => return Err(error.into()),
        };
        for (column, info) in &mut devices.infos {
            sheet.put(*column, info.read(turn.epoch, turn.scratch), 1.0);
        }
        for (column, labels, value) in &devices.constants {
            sheet.put(*column, labels, *value);
        }
        let result = devices
            .readings
            .read(turn.epoch, turn.scratch, sheet, self.what);
        sheet.write(turn.page);
        result
    }
}

/// What follows `prefix` in a name, if it begins with a digit: the `3` of `thermal_zone3`.
pub fn numbered<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    name.strip_prefix(prefix)
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// Labels that several samples share.
pub fn shared(pairs: &[(&str, &[u8])]) -> Arc<Labels> {
    Arc::new(Labels::new(pairs))
}
