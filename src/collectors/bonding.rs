//! `bonding`: bonded network interfaces, from `/sys/class/net/bonding_masters`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::dir::child;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::roots::Root;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const SLAVES: Family = Family::gauge(
    "node_bonding_slaves",
    "Number of configured slaves per bonding interface.",
)
.from("/sys/class/net/<master>/bonding/slaves");
const ACTIVE: Family = Family::gauge(
    "node_bonding_active",
    "Number of active slaves per bonding interface.",
)
.from("/sys/class/net/<master>/lower_<slave>/bonding_slave/mii_status");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "bonding",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &[SLAVES, ACTIVE],
    open,
};

struct Bonding {
    root: Root,
    masters: HeldFile,
    /// The content of `bonding_masters` and of each master's `slaves` that `bonds` was made of.
    listed: Vec<u8>,
    bonds: Vec<Bond>,
    slaves: Head,
    active: Head,
}

struct Bond {
    name: Vec<u8>,
    labels: Labels,
    slaves: HeldFile,
    listed: Vec<u8>,
    states: Vec<[HeldFile; 2]>,
    configured: u64,
    up: u64,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let root = sources.roots.sysfs.clone();
    Ok(Box::new(Bonding {
        masters: HeldFile::new(&root, "class/net/bonding_masters", Shape::Whole),
        root,
        listed: Vec::new(),
        bonds: Vec::new(),
        slaves: Head::of(&SLAVES),
        active: Head::of(&ACTIVE),
    }))
}

impl Collector for Bonding {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let masters = self
            .masters
            .read(turn.epoch, turn.scratch)
            .map_err(CollectError::without("bonded interfaces"))?;
        if masters != self.listed {
            self.listed = masters.to_vec();
            let net = self.root.join("class/net");
            let bond = |name: &[u8]| Bond::new(&net, name, self.root.is_kernel());
            self.bonds = words(&self.listed).map(bond).collect();
            // Names that are no text may look the same as labels.
            self.bonds
                .sort_by(|one, other| one.labels.cmp(&other.labels));
            self.bonds.dedup_by(|one, other| one.labels == other.labels);
        }
        let mut result = Ok(());
        let net = self.root.join("class/net");
        for bond in &mut self.bonds {
            let outcome = bond.read(&net, self.root.is_kernel(), turn);
            result = result.and(outcome);
        }
        let mut family = turn.page.family(&self.slaves);
        for bond in &self.bonds {
            family.int(&bond.labels, bond.configured);
        }
        drop(family);
        let mut family = turn.page.family(&self.active);
        for bond in &self.bonds {
            family.int(&bond.labels, bond.up);
        }
        drop(family);
        result
    }
}

impl Bond {
    fn new(net: &Path, name: &[u8], keep: bool) -> Bond {
        let slaves = child(net, name).join("bonding/slaves");
        Bond {
            name: name.to_vec(),
            labels: Labels::new(&[("master", name)]),
            slaves: HeldFile::at(slaves, keep, Shape::Whole),
            listed: Vec::new(),
            states: Vec::new(),
            configured: 0,
            up: 0,
        }
    }

    /// A slave whose state cannot be read counts as configured and not as active.
    fn read(&mut self, net: &Path, keep: bool, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        (self.configured, self.up) = (0, 0);
        let slaves = self.slaves.read(turn.epoch, turn.scratch)?;
        if slaves != self.listed {
            self.listed = slaves.to_vec();
            let dir = child(net, &self.name);
            // Kernels before 3.9 have the `slave_` link only.
            let state = |slave: &[u8]| {
                [&b"lower_"[..], b"slave_"].map(|prefix| {
                    let link = child(&dir, &[prefix, slave].concat());
                    let file = link.join("bonding_slave/mii_status");
                    HeldFile::at(file, keep, Shape::Whole)
                })
            };
            self.states = words(&self.listed).map(state).collect();
        }
        let mut result = Ok(());
        for [lower, slave] in &mut self.states {
            self.configured += 1;
            let state = match lower.read_trimmed(turn.epoch, turn.scratch) {
                Ok(state) => Ok(state == b"up"),
                Err(_) => slave
                    .read_trimmed(turn.epoch, turn.scratch)
                    .map(|state| state == b"up"),
            };
            match state {
                Ok(up) => self.up += u64::from(up),
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}
