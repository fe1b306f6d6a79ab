//! `netstat`: chosen counters of IP, ICMP, TCP and UDP.

use regex::bytes::Regex;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{cut, fields, lines};
use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;
use crate::exposition::page::Page;

const FIELDS_FLAG: &str = "collector.netstat.fields";
const DEFAULT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)\
|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue\
|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)\
|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";
const FIELD: Family = Family::untyped(
    "node_netstat_<protocol>_<field>",
    "Statistic <protocol><field>.",
)
.from("/proc/net/netstat, /proc/net/snmp, /proc/net/snmp6");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "netstat",
    enabled: true,
    lane: Lane::Page,
    flags: &[Flag::value(
        FIELDS_FLAG,
        DEFAULT_FIELDS,
        "Regexp of fields to return for netstat collector.",
    )],
    families: &[FIELD],
    open,
};

type Columns = Known<Option<Head>>;

struct NetStat {
    tables: [HeldFile; 2],
    list: HeldFile,
    wanted: Option<Regex>,
    protocols: Known<Columns>,
    entries: Columns,
    none: Labels,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name| HeldFile::new(&sources.roots.procfs, name, Shape::Whole);
    Ok(Box::new(NetStat {
        tables: [file("net/netstat"), file("net/snmp")],
        list: file("net/snmp6"),
        wanted: settings.pattern(FIELDS_FLAG)?,
        protocols: Known::default(),
        entries: Known::default(),
        none: Labels::none(),
    }))
}

impl Collector for NetStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let NetStat {
            tables,
            list,
            wanted,
            protocols,
            entries,
            none,
        } = self;
        protocols.rewind();
        protocols.iter_mut().for_each(Known::rewind);
        for file in tables {
            let text = file.read(turn.epoch, turn.scratch)?;
            write_table(text, turn.page, protocols, wanted.as_ref(), none)?;
        }
        match list.read(turn.epoch, turn.scratch) {
            Ok(text) => write_list(text, turn.page, entries, wanted.as_ref(), none),
            // Without IPv6 there is no such file.
            Err(error) if error.is_absent() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Pairs of lines: `Tcp: name name ...` and `Tcp: value value ...`.
fn write_table(
    text: &[u8],
    page: &mut Page,
    protocols: &mut Known<Columns>,
    wanted: Option<&Regex>,
    none: &Labels,
) -> Result<(), CollectError> {
    let mut rows = lines(text);
    while let Some(names) = rows.next() {
        let broken = CollectError::Parse("netstat");
        let Some(values) = rows.next() else {
            return Err(broken);
        };
        let (Some((protocol, names)), Some((same, values))) = (cut(names, b':'), cut(values, b':'))
        else {
            return Err(broken);
        };
        if protocol != same {
            return Err(broken);
        }
        let columns = protocols.get(protocol, |_| Known::default());
        for (name, value) in fields(names).zip(fields(values)) {
            let make = |name: &[u8]| head(wanted, protocol, name);
            if let Some(Some(head)) = columns.once(name, make) {
                parse_f64(value).ok_or(CollectError::Parse("netstat"))?;
                page.family(head).digits(none, value);
            }
        }
    }
    Ok(())
}

/// One counter a line: `Ip6InReceives 42`.
fn write_list(
    text: &[u8],
    page: &mut Page,
    entries: &mut Columns,
    wanted: Option<&Regex>,
    none: &Labels,
) -> Result<(), CollectError> {
    entries.rewind();
    for line in lines(text) {
        let mut parts = fields(line);
        let (Some(entry), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let make = |entry: &[u8]| {
            let six = entry.iter().position(|&byte| byte == b'6')?;
            let (protocol, name) = entry.split_at_checked(six + 1)?;
            head(wanted, protocol, name)
        };
        if let Some(Some(head)) = entries.once(entry, make) {
            parse_f64(value).ok_or(CollectError::Parse("snmp6"))?;
            page.family(head).digits(none, value);
        }
    }
    Ok(())
}

fn head(wanted: Option<&Regex>, protocol: &[u8], name: &[u8]) -> Option<Head> {
    let key = [protocol, b"_", name].concat();
    let shown = wanted.is_none_or(|pattern| pattern.is_match(&key));
    let help = [b"Statistic ", protocol, name, b"."].concat();
    shown.then(|| {
        Head::named(
            &[b"node_netstat_", key.as_slice()].concat(),
            Kind::Untyped,
            &help,
        )
    })
}
