//! What a collector is, and how the table describes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::links::Links;
use crate::collectors::source::roots::Roots;
use crate::collectors::source::shared::SharedFile;
use crate::exposition::family::Family;
use crate::exposition::page::Page;

/// One collector with what it keeps between pages.
pub trait Collector: Send {
    /// Writes this collector's families to `turn.page`.
    ///
    /// *Errors*: why there is nothing or not everything; what was written before stays.
    /// *Cost*: no open and no allocation in the steady state.
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError>;

    /// How many threads of its own hang in the kernel.
    fn stuck(&self) -> usize {
        0
    }

    /// Another one that shares what this one knows, to take its place within the page when its
    /// thread hangs; `None` where there is nothing to save, or when it would hang as well.
    fn successor(&self) -> Option<Box<dyn Collector>> {
        None
    }
}

/// One asking of one collector.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Where the families go.
    pub page: &'a mut Page,
    /// A buffer to read files into; its content is worthless after each read.
    pub scratch: &'a mut Vec<u8>,
    /// Counts the pages; what is shared is read once for each.
    pub number: u64,
    /// Changes when a device came or went and at least once a minute: time to look again for
    /// files that were missing and to list directories.
    pub epoch: u64,
    /// The wall clock at the start of the page, since 1970.
    pub wall: Duration,
    /// The monotonic clock at the start of the page.
    pub monotonic: Duration,
}

/// On which thread a collector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// On the rendering thread: it reads only what the kernel answers from memory.
    Page,
    /// On a worker: its source may hang (a device, a filesystem, a lock in the kernel).
    Apart,
}

/// A flag of a collector, with node_exporter's name.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The name without dashes: `collector.netdev.device-exclude`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its default; `None` for a flag that is absent unless given, `Some("true")` or
    /// `Some("false")` with `switch` for one that is on or off.
    pub default: Option<&'static str>,
    /// Whether it is given bare (`--x`, `--no-x`) and takes no value.
    pub switch: bool,
    /// Whether it may be given more than once; its value then has one line for each.
    pub repeated: bool,
}

impl Flag {
    /// A flag with a value and a default.
    pub const fn value(name: &'static str, default: &'static str, help: &'static str) -> Flag {
        Flag {
            name,
            help,
            default: Some(default),
            switch: false,
            repeated: false,
        }
    }

    /// A flag with a value and no default.
    pub const fn optional(name: &'static str, help: &'static str) -> Flag {
        Flag {
            name,
            help,
            default: None,
            switch: false,
            repeated: false,
        }
    }

    /// A flag with a value and no default that may be given more than once.
    pub const fn repeated(name: &'static str, help: &'static str) -> Flag {
        Flag {
            name,
            help,
            default: None,
            switch: false,
            repeated: true,
        }
    }

    /// A switch, on by default.
    pub const fn on(name: &'static str, help: &'static str) -> Flag {
        Flag {
            name,
            help,
            default: Some("true"),
            switch: true,
            repeated: false,
        }
    }

    /// A switch, off by default.
    pub const fn off(name: &'static str, help: &'static str) -> Flag {
        Flag {
            name,
            help,
            default: Some("false"),
            switch: true,
            repeated: false,
        }
    }
}

/// Makes a collector from the operator's settings.
pub type Open = fn(&Settings, &Sources) -> Result<Box<dyn Collector>, SetupError>;

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// node_exporter's name: the `collector` label, `--collector.NAME`, `collect[]=NAME`.
    pub name: &'static str,
    /// Whether it runs unless switched off.
    pub enabled: bool,
    /// Where it runs.
    pub lane: Lane,
    /// Its own flags, beside `--collector.NAME`.
    pub flags: &'static [Flag],
    /// Its families.
    pub families: &'static [Family],
    /// Makes it from the operator's settings.
    pub open: Open,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What collectors share: the roots and the sources that more than one of them reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Where procfs, sysfs, the host's root and udev's data lie.
    pub roots: Roots,
    /// `/proc/stat`, for `cpu` and `stat`.
    pub stat: Arc<Mutex<SharedFile>>,
    /// The network links, for `netdev` and `netclass`.
    pub links: Arc<Mutex<Links>>,
}

impl Sources {
    /// The sources under these roots; nothing is opened yet.
    pub fn new(roots: Roots) -> Sources {
        let stat = SharedFile::new(HeldFile::new(&roots.procfs, "stat", Shape::Whole));
        Sources {
            roots,
            stat,
            links: Links::new(),
        }
    }
}
