//! `netclass`: properties of each network device.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::netclass_table::{FILES, INFO, PROPERTIES, Properties, UP};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::held::word;
use crate::collectors::source::known::Known;
use crate::collectors::source::links::{Link, Links};
use crate::collectors::source::scan::{hex, number, signed};
use crate::collectors::source::shared::lock;
use crate::exposition::family::Head;
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

const IGNORED: &str = "collector.netclass.ignored-devices";
const INVALID_SPEED: &str = "collector.netclass.ignore-invalid-speed";
/// `IFF_UP`.
const FLAG_UP: u32 = 1;
const FLAG_RUNNING: u32 = 0x40;
const FLAG_PROMISCUOUS: u32 = 0x100;
const FLAG_ALL_MULTICAST: u32 = 0x200;
const FLAG_LOWER_UP: u32 = 0x1_0000;
const FLAG_DORMANT: u32 = 0x2_0000;
/// `IF_OPER_*` of RFC 2863, as sysfs prints them.
const STATES: [&str; 7] = [
    "unknown",
    "notpresent",
    "down",
    "lowerlayerdown",
    "testing",
    "dormant",
    "up",
];

/// The table's line.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
pub const ENTRY: Entry = Entry {
    name: "netclass",
    enabled: true,
    lane: Lane::Apart,
    flags: &[
        Flag::value(
            IGNORED,
            "^$",
            "Regexp of net devices to ignore for netclass collector.",
        ),
        Flag::off(INVALID_SPEED, "Ignore devices where the speed is invalid."),
        Flag::off(
            "collector.netclass.netlink",
            "Taken for compatibility: netlink is used wherever it shows the same as sysfs.",
        ),
    ],
    families: &{
        let mut all = [UP; PROPERTIES.len() + 2];
        all[1] = INFO;
        let mut at = 0;
        while at < PROPERTIES.len() {
            all[at + 2] = PROPERTIES[at];
            at += 1;
        }
        all
    },
    open,
};

struct NetClass {
    dir: PathBuf,
    /// `None` where sysfs is not the kernel's own.
    links: Option<Arc<Mutex<Links>>>,
    ignored: Filter,
    valid_speed_only: bool,
    up: Head,
    info: Head,
    heads: [Head; PROPERTIES.len()],
    devices: Known<Device>,
    /// The links of this turn; kept for its memory.
    now: Vec<Link>,
}

struct Device {
    shown: bool,
    labels: Labels,
    info: Labels,
    up: bool,
    properties: Properties,
    /// The link as it was when the rest was read from sysfs, its counters left out.
    seen: Link,
    duplex: Vec<u8>,
    epoch: u64,
    turn: u64,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let keeps = sources.roots.sysfs.is_kernel() && sources.roots.procfs.is_kernel();
    let dir = sources.roots.sysfs.join("class/net");
    Ok(Box::new(NetClass {
        dir,
        links: keeps.then(|| Arc::clone(&sources.links)),
        ignored: settings.filter("", IGNORED)?,
        valid_speed_only: settings.is_on(INVALID_SPEED),
        up: Head::of(&UP),
        info: Head::of(&INFO),
        heads: PROPERTIES.each_ref().map(Head::of),
        devices: Known::default(),
        now: Vec::new(),
    }))
}

impl Collector for NetClass {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        self.devices.rewind();
        match self.links.clone() {
            Some(links) => {
                // Copied out, so that a sysfs read that hangs does not hold the links of `netdev`.
                let mut now = std::mem::take(&mut self.now);
                let count = copy(lock(&links).of_turn(turn.number)?, &mut now);
                for link in now.iter().take(count) {
                    self.take_link(link, turn.number, turn.epoch);
                }
                self.now = now;
            }
            None => self.read_sysfs(turn.number)?,
        }
        self.devices.retain(|device| device.turn == turn.number);
        self.write(turn.page);
        Ok(())
    }
}

impl NetClass {
    fn take_link(&mut self, link: &Link, turn: u64, epoch: u64) {
        let (ignored, dir) = (&self.ignored, &self.dir);
        let device = self
            .devices
            .get(&link.name, |name| Device::new(name, ignored));
        device.turn = turn;
        if !device.shown {
            return;
        }
        // Speed, duplex and how name and address were chosen are only in sysfs. They hardly
        // change while the link's state, carrier and address stay (the speed of a bond does when
        // it loses a slave), so they are read again when one of these moved, or a minute passed.
        let moved = device.epoch != epoch || !device.is_as_seen(link);
        if moved {
            let path = child(dir, &link.name);
            let index = word(path.join("ifindex")).and_then(|text| number(&text));
            // In a pod, sysfs may be that of another network namespace: then it knows nothing of
            // this link.
            let same = index == Some(u64::from(link.index));
            for (place, file) in FILES.iter().enumerate() {
                if let Some(slot) = device.properties.get_mut(place) {
                    *slot = same.then(|| read_number(&path, file)).flatten();
                }
            }
            device.duplex = same
                .then(|| word(path.join("duplex")))
                .flatten()
                .unwrap_or_default();
            device.epoch = epoch;
            device.seen.clone_from(link);
            device.seen.counters = None;
            device.render_info(link);
        }
        device.set_from_link(link);
    }

    fn read_sysfs(&mut self, turn: u64) -> Result<(), CollectError> {
        for name in names(&self.dir)? {
            let path = child(&self.dir, &name);
            // `bonding_masters` is a file among the devices.
            if !path.is_dir() {
                continue;
            }
            let ignored = &self.ignored;
            let device = self.devices.get(&name, |name| Device::new(name, ignored));
            device.turn = turn;
            for (slot, file) in device.properties.iter_mut().zip(FILES) {
                *slot = read_number(&path, file);
            }
            let text = |file: &str| word(path.join(file)).unwrap_or_default();
            let state = text("operstate");
            device.up = state == b"up";
            let admin = device
                .properties
                .get(7)
                .copied()
                .flatten()
                .map(|flags| flags & 1 == 1);
            device.info = info_labels(
                &name,
                &text("address"),
                &text("broadcast"),
                &text("duplex"),
                &state,
                admin,
                &text("ifalias"),
            );
        }
        Ok(())
    }

    fn write(&self, page: &mut Page) {
        let shown = || self.devices.iter().filter(|device| device.shown);
        let mut family = page.family(&self.up);
        shown().for_each(|device| family.flag(&device.labels, device.up));
        drop(family);
        let mut family = page.family(&self.info);
        shown().for_each(|device| family.flag(&device.info, true));
        drop(family);
        for ((place, head), file) in self.heads.iter().enumerate().zip(FILES) {
            let mut family = page.family(head);
            for device in shown() {
                let Some(Some(value)) = device.properties.get(place) else {
                    continue;
                };
                if file != "speed" {
                    family.signed(&device.labels, *value);
                } else if *value >= 0 || !self.valid_speed_only {
                    // Megabits to bytes; -1 is what drivers say of an unknown speed.
                    family.signed(&device.labels, value.saturating_mul(1_000_000) / 8);
                }
            }
        }
    }
}

impl Device {
    fn new(name: &[u8], ignored: &Filter) -> Device {
        Device {
            shown: !ignored.is_ignored(name),
            labels: Labels::new(&[("device", name)]),
            info: Labels::none(),
            up: false,
            properties: [None; PROPERTIES.len()],
            seen: Link::default(),
            duplex: Vec::new(),
            epoch: 0,
            turn: 0,
        }
    }

    fn is_as_seen(&self, link: &Link) -> bool {
        let seen = &self.seen;
        (
            seen.index,
            seen.flags,
            seen.operstate,
            seen.carrier_changes,
            seen.mtu,
        ) == (
            link.index,
            link.flags,
            link.operstate,
            link.carrier_changes,
            link.mtu,
        ) && seen.address == link.address
            && seen.broadcast == link.broadcast
            && seen.alias == link.alias
    }

    fn render_info(&mut self, link: &Link) {
        let state = STATES
            .get(usize::from(link.operstate))
            .copied()
            .unwrap_or("unknown");
        self.up = state == "up";
        self.info = info_labels(
            &link.name,
            &hardware_address(&link.address),
            &hardware_address(&link.broadcast),
            &self.duplex,
            state.as_bytes(),
            Some(link.flags & FLAG_UP != 0),
            &link.alias,
        );
    }

    /// Takes from the dump what the dump knows; the other four places keep what sysfs said.
    fn set_from_link(&mut self, link: &Link) {
        let running = link.flags & FLAG_UP != 0;
        let values = [
            (1, running.then_some(i64::from(link.carrier))),
            (2, Some(i64::from(link.carrier_changes))),
            (3, Some(i64::from(link.carrier_ups))),
            (4, Some(i64::from(link.carrier_downs))),
            (
                6,
                running.then_some(i64::from(link.flags & FLAG_DORMANT != 0)),
            ),
            (7, Some(i64::from(device_flags(link)))),
            (8, Some(i64::from(link.index))),
            (9, Some(i64::from(link.below))),
            (10, Some(i64::from(link.link_mode))),
            (11, Some(i64::from(link.mtu))),
            (13, Some(i64::from(link.group))),
            (15, Some(i64::from(link.queue_length))),
            (16, Some(i64::from(link.kind))),
        ];
        for (place, value) in values {
            if let Some(slot) = self.properties.get_mut(place) {
                *slot = value;
            }
        }
    }
}

/// Copies links over older ones, reusing their memory; returns how many there are.
fn copy(links: &[Link], now: &mut Vec<Link>) -> usize {
    if now.len() < links.len() {
        now.resize_with(links.len(), Link::default);
    }
    for (slot, link) in now.iter_mut().zip(links) {
        slot.clone_from(link);
    }
    links.len()
}

/// sysfs shows the device's own flags, netlink those that `dev_get_flags()` makes of them.
fn device_flags(link: &Link) -> u32 {
    let made = FLAG_RUNNING | FLAG_LOWER_UP | FLAG_DORMANT | FLAG_PROMISCUOUS;
    let mut flags = link.flags & !made;
    if link.promiscuity > 0 {
        flags |= FLAG_PROMISCUOUS;
    }
    match link.all_multicast {
        Some(0) => flags &= !FLAG_ALL_MULTICAST,
        Some(_) => flags |= FLAG_ALL_MULTICAST,
        None => {}
    }
    flags
}

fn read_number(path: &Path, file: &str) -> Option<i64> {
    let text = word(path.join(file))?;
    if text.starts_with(b"0x") {
        hex(&text)?.try_into().ok()
    } else {
        signed(&text)
    }
}

fn hardware_address(bytes: &[u8]) -> Vec<u8> {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":").into_bytes()
}

fn info_labels(
    name: &[u8],
    address: &[u8],
    broadcast: &[u8],
    duplex: &[u8],
    state: &[u8],
    is_up: Option<bool>,
    alias: &[u8],
) -> Labels {
    let admin = match is_up {
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    Labels::new(&[
        ("address", address),
        ("adminstate", admin.as_bytes()),
        ("broadcast", broadcast),
        ("device", name),
        ("duplex", duplex),
        ("ifalias", alias),
        ("operstate", state),
    ])
}

#[cfg(test)]
mod tests {
    use super::{device_flags, hardware_address};
    use crate::collectors::source::links::Link;

    #[test]
    fn flags_are_those_of_sysfs() {
        let cases = [
            // eth0, up and running: sysfs says 0x1003.
            (
                Link {
                    flags: 0x1_1043,
                    ..Link::default()
                },
                0x1003,
            ),
            // The same while tcpdump listens: sysfs says 0x1103.
            (
                Link {
                    flags: 0x1_1043,
                    promiscuity: 1,
                    ..Link::default()
                },
                0x1103,
            ),
            (
                Link {
                    flags: 0x1203,
                    all_multicast: Some(0),
                    ..Link::default()
                },
                0x1003,
            ),
            (
                Link {
                    flags: 0x1203,
                    all_multicast: None,
                    ..Link::default()
                },
                0x1203,
            ),
        ];
        for (link, want) in cases {
            assert_eq!(device_flags(&link), want);
        }
    }

    #[test]
    fn addresses_are_pairs_of_digits() {
        assert_eq!(hardware_address(&[0, 0xfc, 1]), b"00:fc:01");
        assert_eq!(hardware_address(&[]), b"");
    }
}
