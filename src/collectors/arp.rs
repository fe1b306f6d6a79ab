//! `arp`: how many neighbours each device knows.

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, hex, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const ARP_ENTRIES: Family = Family::gauge("node_arp_entries", "ARP entries by device")
    .from("/proc/net/arp")
    .differs("always from /proc/net/arp: the kernel leaves out the same entries (NOARP) there as node_exporter does in its netlink answer, and published ones (proxy ARP), which that has not, are left out here");

const INCLUDE: &str = "collector.arp.device-include";
const EXCLUDE: &str = "collector.arp.device-exclude";
const NETLINK: &str = "collector.arp.netlink";
/// A row: two addresses, a device's name and blanks.
const LONGEST: usize = 256;
/// `IP address, HW type, Flags, HW address, Mask, Device`: what stands between flags and device.
const FLAGS: usize = 2;
const DEVICE_AFTER_FLAGS: usize = 2;
/// `ATF_PUBL` of `linux/if_arp.h`: an address that the machine answers for in another's place.
const PUBLISHED: u64 = 0x08;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "arp",
    enabled: true,
    lane: Lane::Page,
    flags: &[
        Flag::optional(
            INCLUDE,
            "Regexp of arp devices to include (mutually exclusive to device-exclude).",
        ),
        Flag::optional(
            EXCLUDE,
            "Regexp of arp devices to exclude (mutually exclusive to device-include).",
        ),
        Flag::on(
            NETLINK,
            "Count what netlink would tell; otherwise published entries (proxy ARP) too.",
        ),
    ],
    families: &[ARP_ENTRIES],
    open,
};

struct Device {
    labels: Labels,
    shown: bool,
    count: u64,
    turn: u64,
}

struct Arp {
    file: HeldFile,
    filter: Filter,
    /// Whether published entries count.
    published: bool,
    head: Head,
    devices: Known<Device>,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Arp {
        file: HeldFile::new(&sources.roots.procfs, "net/arp", Shape::Records(LONGEST)),
        filter: settings.filter(INCLUDE, EXCLUDE)?,
        published: !settings.is_on(NETLINK),
        head: Head::of(&ARP_ENTRIES),
        devices: Known::default(),
    }))
}

impl Collector for Arp {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.devices.rewind();
        for line in lines(text).skip(1) {
            let mut parts = fields(line);
            let flags = parts.nth(FLAGS).and_then(hex);
            let name = parts.nth(DEVICE_AFTER_FLAGS);
            let (Some(flags), Some(name)) = (flags, name) else {
                return Err(CollectError::Parse("arp"));
            };
            if flags & PUBLISHED != 0 && !self.published {
                continue;
            }
            let filter = &self.filter;
            let device = self.devices.get(name, |name| Device {
                labels: Labels::new(&[("device", name)]),
                shown: !filter.is_ignored(name),
                count: 0,
                turn: 0,
            });
            if device.turn != turn.number {
                (device.turn, device.count) = (turn.number, 0);
            }
            device.count += 1;
        }
        let mut family = turn.page.family(&self.head);
        for device in self
            .devices
            .iter()
            .filter(|one| one.shown && one.turn == turn.number)
        {
            family.int(&device.labels, device.count);
        }
        Ok(())
    }
}
