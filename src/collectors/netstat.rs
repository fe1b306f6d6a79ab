//! `netstat`: chosen counters of IP, ICMP, TCP and UDP.

use regex::bytes::Regex;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::{Known, each_listed};
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
    // The longest reading of a default page, so it is read beside the others: 14 % off the p50 of a page (two cores).
    lane: Lane::Apart,
    flags: &[Flag::value(
        FIELDS_FLAG,
        DEFAULT_FIELDS,
        "Regexp of fields to return for netstat collector.",
    )],
    families: &[FIELD],
    open,
};

struct NetStat {
    tables: [HeldFile; 2],
    list: HeldFile,
    wanted: Option<Regex>,
    /// The lines of both tables, as they were the last time.
    rows: Vec<Row>,
    entries: Known<Option<Head>>,
    none: Labels,
}

/// One protocol's line of names, and which of its columns are shown.
struct Row {
    names: Box<[u8]>,
    columns: Vec<Column>,
}

struct Column {
    place: usize,
    key: Box<[u8]>,
    head: Head,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name| HeldFile::new(&sources.roots.procfs, name, Shape::Whole);
    Ok(Box::new(NetStat {
        tables: [file("net/netstat"), file("net/snmp")],
        list: file("net/snmp6"),
        wanted: settings.pattern(FIELDS_FLAG)?,
        rows: Vec::new(),
        entries: Known::default(),
        none: Labels::none(),
    }))
}

impl Collector for NetStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let (wanted, none) = (self.wanted.as_ref(), &self.none);
        let (mut place, mut result) = (0, Ok(()));
        for file in &mut self.tables {
            let written = match file.read(turn.epoch, turn.scratch) {
                Ok(text) => write_table(text, turn.page, &mut self.rows, &mut place, wanted, none),
                Err(error) => Err(error.into()),
            };
            result = result.and(written);
        }
        self.rows.truncate(place);
        let page = &mut *turn.page;
        let listed = match self.list.read(turn.epoch, turn.scratch) {
            // One counter a line: `Ip6InReceives 42`.
            Ok(text) => each_listed(
                &mut self.entries,
                text,
                |entry| {
                    let six = entry.iter().position(|&byte| byte == b'6')?;
                    let (protocol, name) = entry.split_at_checked(six + 1)?;
                    head(wanted, protocol, name)
                },
                |head, value| {
                    parse_f64(value).ok_or(CollectError::Parse("snmp6"))?;
                    page.family(head).digits(none, value);
                    Ok(())
                },
            ),
            // Without IPv6 there is no such file.
            Err(error) if error.is_absent() => Ok(()),
            Err(error) => Err(error.into()),
        };
        result.and(listed)
    }
}

/// Pairs of lines: `Tcp: name name ...` and `Tcp: value value ...`. `place` counts the pairs of both tables.
fn write_table(
    text: &[u8],
    page: &mut Page,
    rows: &mut Vec<Row>,
    place: &mut usize,
    wanted: Option<&Regex>,
    none: &Labels,
) -> Result<(), CollectError> {
    const BROKEN: CollectError = CollectError::Parse("netstat");
    let mut rest = lines(text);
    while let Some(names) = rest.next() {
        let values = rest.next().ok_or(BROKEN)?;
        let (protocol, fields_of) = cut(names, b':').ok_or(BROKEN)?;
        let values = values
            .strip_prefix(protocol)
            .and_then(|values| values.strip_prefix(b":"))
            .ok_or(BROKEN)?;
        if rows.get(*place).is_none_or(|row| *row.names != *names) {
            rows.truncate(*place);
            let row = Row::of(names, protocol, fields_of, rows, wanted);
            rows.push(row);
        }
        let row = rows.get(*place).ok_or(BROKEN)?;
        *place += 1;
        let mut values = fields(values);
        let mut passed = 0;
        for column in &row.columns {
            let Some(value) = values.nth(column.place - passed) else {
                break;
            };
            passed = column.place + 1;
            parse_f64(value).ok_or(BROKEN)?;
            page.family(&column.head).digits(none, value);
        }
    }
    Ok(())
}

impl Row {
    /// The columns of one line of names that are shown; what a row of `before` shows already is not shown twice.
    fn of(
        names: &[u8],
        protocol: &[u8],
        fields_of: &[u8],
        before: &[Row],
        wanted: Option<&Regex>,
    ) -> Row {
        let mut columns: Vec<Column> = Vec::new();
        for (place, name) in fields(fields_of).enumerate() {
            let key = key(protocol, name);
            let mut shown = before.iter().flat_map(|row| &row.columns).chain(&columns);
            if shown.any(|column| *column.key == *key) {
                continue;
            }
            if let Some(head) = head(wanted, protocol, name) {
                let key = Box::from(key);
                columns.push(Column { place, key, head });
            }
        }
        let names = Box::from(names);
        Row { names, columns }
    }
}

fn key(protocol: &[u8], name: &[u8]) -> Vec<u8> {
    [protocol, b"_", name].concat()
}

fn head(wanted: Option<&Regex>, protocol: &[u8], name: &[u8]) -> Option<Head> {
    let key = key(protocol, name);
    let shown = wanted.is_none_or(|pattern| pattern.is_match(&key));
    let help = [b"Statistic ", protocol, name, b"."].concat();
    let name = [b"node_netstat_", key.as_slice()].concat();
    shown.then(|| Head::named(&name, Kind::Untyped, &help))
}
