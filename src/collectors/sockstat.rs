//! `sockstat`: sockets in use by protocol, IPv4 and IPv6.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, ReadError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

const FIELD: Family = Family::gauge(
    "node_sockstat_<protocol>_<field>",
    "Number of <protocol> sockets in state <field>.",
)
.from("/proc/net/sockstat, /proc/net/sockstat6");
const BYTES: Family = Family::gauge(
    "node_sockstat_<protocol>_mem_bytes",
    "Number of <protocol> sockets in state mem_bytes.",
)
.from("/proc/net/sockstat (pages times page size)")
.unit("bytes");
const USED: Family = Family::gauge(
    "node_sockstat_sockets_used",
    "Number of IPv4 sockets in use.",
)
.from("/proc/net/sockstat");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "sockstat",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[FIELD, BYTES, USED],
    open,
};

struct SockStat {
    files: [HeldFile; 2],
    heads: Known<Fields>,
    labels: Labels,
    page_bytes: u64,
}

/// The heads of one protocol's fields, by place in its line.
type Fields = Known<(Head, Option<Head>)>;

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name| HeldFile::new(&sources.roots.procfs, name, Shape::Whole);
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    Ok(Box::new(SockStat {
        files: [file("net/sockstat"), file("net/sockstat6")],
        heads: Known::default(),
        labels: Labels::none(),
        page_bytes: page_bytes
            .ok()
            .flatten()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(4096),
    }))
}

impl Collector for SockStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        self.heads.rewind();
        self.heads.iter_mut().for_each(Known::rewind);
        for file in &mut self.files {
            match file.read(turn.epoch, turn.scratch) {
                Ok(text) => {
                    write(
                        text,
                        turn.page,
                        &mut self.heads,
                        &self.labels,
                        self.page_bytes,
                    )?;
                }
                Err(error) if ReadError::is_absent(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn write(
    text: &[u8],
    page: &mut Page,
    heads: &mut Known<Fields>,
    labels: &Labels,
    page_bytes: u64,
) -> Result<(), CollectError> {
    let broken = CollectError::Parse("sockstat");
    for line in lines(text) {
        let Some((protocol, rest)) = cut(line, b':') else {
            return Err(broken);
        };
        let known = heads.get(protocol, |_| Known::default());
        let mut parts = fields(rest);
        while let Some(field) = parts.next() {
            let Some(value) = parts.next().and_then(number) else {
                return Err(broken);
            };
            let Some((head, bytes)) = known.once(field, |field| named(protocol, field)) else {
                continue;
            };
            page.family(head).int(labels, value);
            if let Some(bytes) = bytes {
                page.family(bytes)
                    .int(labels, value.saturating_mul(page_bytes));
            }
        }
    }
    Ok(())
}

fn named(protocol: &[u8], field: &[u8]) -> (Head, Option<Head>) {
    let head = |field: &[u8]| {
        let name = [b"node_sockstat_", protocol, b"_", field].concat();
        let help = match (protocol, field) {
            (b"sockets", b"used") => b"Number of IPv4 sockets in use.".to_vec(),
            _ => [b"Number of ", protocol, b" sockets in state ", field, b"."].concat(),
        };
        Head::named(&name, Kind::Gauge, &help)
    };
    let bytes = field == b"mem" && (protocol == b"TCP" || protocol == b"UDP");
    (head(field), bytes.then(|| head(b"mem_bytes")))
}
