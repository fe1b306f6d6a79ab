//! `mountstats`: NFS mounts, from `/proc/self/mountstats`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::mountstats_table::{
    AGE, BYTE_COUNT, BYTES, EVENT_COUNT, EVENT_HIDDEN, EVENTS, FAMILIES, INFO, MANTISSA,
    OPERATION_DIVISORS, OPERATIONS, TRANSPORT, TRANSPORT_SHOWN,
};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "mountstats",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct MountStats {
    stats: HeldFile,
    info: HeldFile,
    mounts: Vec<u8>,
    sheet: Sheet,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let procfs = &sources.roots.procfs;
    Ok(Box::new(MountStats {
        stats: HeldFile::new(procfs, "self/mountstats", Shape::Stream),
        info: HeldFile::new(procfs, "self/mountinfo", Shape::Stream),
        mounts: Vec::new(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for MountStats {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        self.mounts.clear();
        let mounts = self.info.read(turn.epoch, turn.scratch)?;
        self.mounts.extend_from_slice(mounts);
        let text = self.stats.read(turn.epoch, turn.scratch)?;
        let mut addresses = lines(&self.mounts).map(address);
        let mut seen = Seen::default();
        let mut result = Ok(());
        for mount in mounts_of(text) {
            // Both files list the mounts in the same order.
            let address = addresses.next().unwrap_or_default();
            if let Some(mount) = Mount::parse(&mount) {
                let outcome = mount.put(address, &mut seen, &mut self.sheet);
                result = result.and(outcome);
            }
        }
        self.sheet.write(turn.page);
        result
    }
}

/// The server's address among the options of the superblock.
fn address(line: &[u8]) -> &[u8] {
    let options = fields(line).last().unwrap_or_default();
    let mut options = options.split(|&byte| byte == b',');
    options
        .find_map(|option| option.strip_prefix(b"addr="))
        .unwrap_or_default()
}

/// The lines of each mount: the one that begins with `device`, and those until the next.
fn mounts_of(text: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut mounts: Vec<Vec<&[u8]>> = Vec::new();
    for line in lines(text) {
        if line.starts_with(b"device ") {
            mounts.push(vec![line]);
        } else if let Some(mount) = mounts.last_mut() {
            mount.push(line);
        }
    }
    mounts
}

/// What was shown: one filesystem mounted in several places is counted once.
#[derive(Default)]
struct Seen {
    points: BTreeSet<[Vec<u8>; 4]>,
    devices: BTreeSet<[Vec<u8>; 3]>,
}

/// One NFS mount with statistics.
struct Mount<'a> {
    device: &'a [u8],
    point: &'a [u8],
    lines: &'a [&'a [u8]],
}

impl<'a> Mount<'a> {
    /// `None` for a mount without statistics: only NFS writes `statvers=` after the type.
    fn parse(mount: &'a [&'a [u8]]) -> Option<Mount<'a>> {
        let (head, lines) = mount.split_first()?;
        let mut words = fields(head);
        let (device, point) = (words.nth(1)?, words.nth(2)?);
        let (kind, version) = (words.nth(2)?, words.next()?);
        let nfs = matches!(kind, b"nfs" | b"nfs4") && version.starts_with(b"statvers=");
        nfs.then_some(Mount {
            device,
            point,
            lines,
        })
    }

    fn line(&self, key: &[u8]) -> Option<&'a [u8]> {
        let line = self
            .lines
            .iter()
            .find(|line| fields(line).next() == Some(key))?;
        let mut parts = fields(line);
        parts.next();
        Some(parts.rest())
    }

    fn transports(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lines.iter().filter_map(|line| {
            let mut parts = fields(line);
            (parts.next() == Some(b"xprt:")).then(|| parts.rest())
        })
    }

    fn put(&self, address: &[u8], seen: &mut Seen, sheet: &mut Sheet) -> Result<(), CollectError> {
        let mut result = Ok(());
        for transport in self.transports() {
            let protocol = fields(transport).next().unwrap_or_default();
            let key = [self.device, protocol, address].map(<[u8]>::to_vec);
            let [device, own, server] = key.clone();
            if seen
                .points
                .insert([device, own, server, self.point.to_vec()])
            {
                let labels = shared(&[
                    ("export", self.device),
                    ("mountaddr", address),
                    ("mountpoint", self.point),
                    ("protocol", protocol),
                ]);
                sheet.put(INFO, &labels, 1.0);
            }
            if !seen.devices.insert(key) {
                break;
            }
            result = result.and(self.put_values(protocol, address, sheet));
        }
        result
    }

    fn put_values(
        &self,
        protocol: &[u8],
        address: &[u8],
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        let base = [
            ("export", self.device),
            ("mountaddr", address),
            ("protocol", protocol),
        ];
        let [export, server, own] = base;
        let labels = shared(&base);
        let broken = || CollectError::Parse("mountstats");
        let age = self.line(b"age:").and_then(|rest| fields(rest).next());
        sheet.put(
            AGE,
            &labels,
            age.and_then(number).ok_or_else(broken)? as f64,
        );
        put_line(
            self.line(b"bytes:"),
            (BYTES, BYTE_COUNT, None),
            &labels,
            sheet,
        )
        .ok_or_else(broken)?;
        let events = (EVENTS, EVENT_COUNT, Some(EVENT_HIDDEN));
        put_line(self.line(b"events:"), events, &labels, sheet).ok_or_else(broken)?;
        for (at, transport) in self.transports().enumerate() {
            let at = at.to_string();
            let labels = shared(&[export, server, own, ("transport", at.as_bytes())]);
            put_transport(transport, &labels, sheet).ok_or_else(broken)?;
        }
        let mut operations = self.lines.iter().skip_while(|line| !is_operations(line));
        operations.next();
        for line in operations {
            let Some((name, rest)) = cut(line.trim_ascii(), b':') else {
                break;
            };
            let labels = shared(&[export, server, ("operation", name), own]);
            let values = fields(rest).map_while(number).zip(OPERATION_DIVISORS);
            for (at, (value, divisor)) in values.enumerate() {
                let value = if divisor > 1.0 {
                    value % MANTISSA
                } else {
                    value
                };
                sheet.put(OPERATIONS + at, &labels, value as f64 / divisor);
            }
        }
        Ok(())
    }
}

fn is_operations(line: &[u8]) -> bool {
    fields(line).next() == Some(b"per-op")
}

/// A line of `count` numbers, of which one may be hidden.
fn put_line(
    line: Option<&[u8]>,
    (first, count, hidden): (usize, usize, Option<usize>),
    labels: &Arc<Labels>,
    sheet: &mut Sheet,
) -> Option<()> {
    let values: Vec<u64> = fields(line?).map_while(number).collect();
    if values.len() < count {
        return None;
    }
    let shown = values.iter().take(count).enumerate();
    let shown = shown.filter(|(at, _)| Some(*at) != hidden);
    for (column, (_, value)) in (first..).zip(shown) {
        sheet.put(column, labels, *value as f64);
    }
    Some(())
}

/// Protocol, port and numbers. A datagram transport has no connections and no idle time, and
/// version 1.0 of the statistics ends before the slots; what is missing counts as 0.
fn put_transport(line: &[u8], labels: &Arc<Labels>, sheet: &mut Sheet) -> Option<()> {
    let mut parts = fields(line);
    let protocol = parts.next()?;
    let mut values: Vec<u64> = parts.skip(1).map(number).collect::<Option<_>>()?;
    if values.len() < 6 {
        return None;
    }
    match protocol {
        b"udp" => drop(values.splice(1..1, [0, 0, 0])),
        // RDMA has numbers of its own where the others have the queues.
        b"rdma" => values.truncate(9),
        _ => {}
    }
    values.resize(values.len().max(12), 0);
    for (column, at) in (TRANSPORT..).zip(TRANSPORT_SHOWN) {
        sheet.put(column, labels, values.get(at).copied()? as f64);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Mount, mounts_of, put_transport};
    use crate::collectors::mountstats_table::FAMILIES;
    use crate::collectors::source::class::shared;
    use crate::exposition::page::Page;
    use crate::exposition::sheet::Sheet;

    #[test]
    fn only_nfs_with_statistics_is_a_mount() {
        let text = b"device rootfs mounted on / with fstype rootfs\n\
            device s:/e mounted on /m with fstype nfs4 statvers=1.1\n\tage:\t1\n\
            device s:/f mounted on /n with fstype nfs4\n\
            device x mounted on /y\n";
        let mounts = mounts_of(text);
        let nfs: Vec<_> = mounts
            .iter()
            .filter_map(|mount| Mount::parse(mount))
            .collect();
        assert_eq!((mounts.len(), nfs.len()), (4, 1));
        assert_eq!(nfs[0].point, b"/m");
        assert_eq!(nfs[0].line(b"age:"), Some(&b"\t1"[..]));
    }

    #[test]
    fn transports_have_one_shape_whatever_the_protocol() {
        for (line, want) in [
            ("tcp 832 0 1 2 3 4 5 6 7 8 9 10 11", Some(10)),
            ("udp 832 0 4 5 6 7 8 9 10 11", Some(10)),
            ("tcp 832 0 1", None),
            ("tcp 832 0 1 x 3 4 5 6 7 8", None),
            ("", None),
        ] {
            let mut sheet = Sheet::of(&FAMILIES);
            let got = put_transport(line.as_bytes(), &shared(&[]), &mut sheet);
            let mut page = Page::new();
            sheet.write(&mut page);
            assert_eq!(got.map(|()| page.samples()), want, "{line}");
        }
    }
}
