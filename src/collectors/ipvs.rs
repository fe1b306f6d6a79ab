//! `ipvs`: the kernel's load balancer, from `/proc/net/ip_vs` and `ip_vs_stats`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, hex, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const BACKEND_LABELS: &str = "collector.ipvs.backend-labels";
const ALL_LABELS: &str = "local_address,local_port,remote_address,remote_port,proto,local_mark";

const fn total(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from("/proc/net/ip_vs_stats")
}

const fn backend(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help)
        .from("/proc/net/ip_vs")
        .differs("backends of SCTP services stand below their own service")
}

const FAMILIES: [Family; 8] = [
    total(
        "node_ipvs_connections_total",
        "The total number of connections made.",
    ),
    total(
        "node_ipvs_incoming_packets_total",
        "The total number of incoming packets.",
    ),
    total(
        "node_ipvs_outgoing_packets_total",
        "The total number of outgoing packets.",
    ),
    total(
        "node_ipvs_incoming_bytes_total",
        "The total amount of incoming data.",
    )
    .unit("bytes"),
    total(
        "node_ipvs_outgoing_bytes_total",
        "The total amount of outgoing data.",
    )
    .unit("bytes"),
    backend(
        "node_ipvs_backend_connections_active",
        "The current active connections by local and remote address.",
    ),
    backend(
        "node_ipvs_backend_connections_inactive",
        "The current inactive connections by local and remote address.",
    ),
    backend(
        "node_ipvs_backend_weight",
        "The current backend weight by local and remote address.",
    ),
];
const FIRST_BACKEND: usize = 5;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "ipvs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[Flag::value(
        BACKEND_LABELS,
        ALL_LABELS,
        "Comma separated list for IPVS backend stats labels.",
    )],
    families: &FAMILIES,
    open,
};

struct Ipvs {
    stats: HeldFile,
    table: HeldFile,
    shown: Shown,
    known: Known<Arc<Labels>>,
    sums: Vec<(Arc<Labels>, [u64; 3])>,
    key: Vec<u8>,
    sheet: Sheet,
}

/// Which labels are shown, in the order of `ALL_LABELS`.
type Shown = [bool; 6];

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let procfs = &sources.roots.procfs;
    Ok(Box::new(Ipvs {
        stats: HeldFile::new(procfs, "net/ip_vs_stats", Shape::Whole),
        table: HeldFile::new(procfs, "net/ip_vs", Shape::Stream),
        shown: shown(settings.text(BACKEND_LABELS).unwrap_or_default())?,
        known: Known::default(),
        sums: Vec::new(),
        key: Vec::new(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

fn shown(asked: &str) -> Result<Shown, SetupError> {
    let mut shown = Shown::default();
    for label in asked.split(',').filter(|label| !label.is_empty()) {
        let place = ALL_LABELS.split(',').position(|known| known == label);
        match place.and_then(|at| shown.get_mut(at)) {
            Some(slot) => *slot = true,
            None => {
                return Err(SetupError::Value {
                    flag: BACKEND_LABELS.to_owned(),
                    value: asked.to_owned(),
                    expected: "some of local_address, local_port, remote_address, remote_port, \
                               proto, local_mark",
                });
            }
        }
    }
    Ok(shown)
}

impl Collector for Ipvs {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let totals = self.read_totals(turn);
        let backends = self.read_table(turn);
        self.sheet.write(turn.page);
        totals.and(backends)
    }
}

/// The service that the backends below it belong to.
#[derive(Default)]
struct Service<'a> {
    protocol: &'a [u8],
    mark: &'a [u8],
    address: Option<String>,
    port: u64,
}

impl Ipvs {
    fn read_totals(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self
            .stats
            .read(turn.epoch, turn.scratch)
            .map_err(CollectError::without("IP virtual server"))?;
        let none = shared(&[]);
        let totals: Vec<Option<u64>> = lines(text)
            .nth(2)
            .map(|line| fields(line).map(hex).collect())
            .unwrap_or_default();
        let [Some(a), Some(b), Some(c), Some(d), Some(e)] = totals.as_slice() else {
            return Err(CollectError::Parse("ip_vs_stats"));
        };
        for (column, value) in [a, b, c, d, e].into_iter().enumerate() {
            self.sheet.put(column, &none, *value as f64);
        }
        Ok(())
    }

    fn read_table(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.table.read(turn.epoch, turn.scratch)?;
        let broken = || CollectError::Parse("ip_vs");
        let mut result = Ok(());
        let mut service = Service::default();
        self.known.rewind();
        for line in lines(text) {
            let mut parts = fields(line);
            match (parts.next(), parts.next()) {
                (Some(protocol @ (b"TCP" | b"UDP" | b"SCTP")), Some(place)) => {
                    let (address, port) = address_port(place).ok_or_else(broken)?;
                    service = Service {
                        protocol,
                        address: Some(address),
                        port,
                        mark: b"",
                    };
                }
                (Some(protocol @ b"FWM"), Some(mark)) => {
                    service = Service {
                        protocol,
                        mark,
                        ..Service::default()
                    };
                }
                (Some(b"->"), Some(place)) if place != b"RemoteAddress:Port" => {
                    let mut counts = parts.skip(1).map(number);
                    let three = [counts.next(), counts.next(), counts.next()];
                    match (address_port(place), three.map(Option::flatten)) {
                        (Some(remote), [Some(weight), Some(active), Some(inactive)]) => {
                            let labels = backend_labels(
                                &mut self.known,
                                &mut self.key,
                                self.shown,
                                &service,
                                &remote,
                            );
                            self.sums
                                .push((Arc::clone(labels), [active, inactive, weight]));
                        }
                        _ => result = Err(broken()),
                    }
                }
                _ => {}
            }
        }
        self.put_sums();
        result
    }

    /// The labels that are shown may be the same for several backends; their numbers are added.
    fn put_sums(&mut self) {
        self.sums.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for same in self.sums.chunk_by(|one, other| one.0 == other.0) {
            let Some((labels, _)) = same.first() else {
                continue;
            };
            for at in 0..3 {
                let counts = same.iter().filter_map(|(_, counts)| counts.get(at));
                let sum = counts.fold(0_u64, |sum, count| sum.saturating_add(*count));
                self.sheet.put(FIRST_BACKEND + at, labels, sum as f64);
            }
        }
        self.sums.clear();
    }
}

fn backend_labels<'k>(
    known: &'k mut Known<Arc<Labels>>,
    key: &mut Vec<u8>,
    shown: Shown,
    service: &Service<'_>,
    remote: &(String, u64),
) -> &'k Arc<Labels> {
    let (local_port, remote_port) = (service.port.to_string(), remote.1.to_string());
    let values: [&[u8]; 6] = [
        service.address.as_deref().unwrap_or_default().as_bytes(),
        local_port.as_bytes(),
        remote.0.as_bytes(),
        remote_port.as_bytes(),
        service.protocol,
        service.mark,
    ];
    key.clear();
    for value in values {
        key.extend_from_slice(value);
        key.push(b' ');
    }
    known.get(key, |_| {
        let mut pairs: Vec<(&str, &[u8])> = ALL_LABELS
            .split(',')
            .zip(values)
            .zip(shown)
            .filter_map(|(pair, shown)| shown.then_some(pair))
            .collect();
        pairs.sort_unstable();
        shared(&pairs)
    })
}

/// `C0A80016:0CEA` or `[2620:0000:0000:0000:0000:0000:0000:0001]:0050`.
fn address_port(text: &[u8]) -> Option<(String, u64)> {
    let at = text.iter().rposition(|&byte| byte == b':')?;
    let (address, port) = text.split_at_checked(at)?;
    let port = hex(port.get(1..)?).filter(|port| *port <= 0xffff)?;
    let bare = address
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    let address = match bare {
        Some(bare) => {
            let address: Ipv6Addr = std::str::from_utf8(bare).ok()?.parse().ok()?;
            // Go prints an IPv4 address inside IPv6 as IPv4.
            address
                .to_ipv4_mapped()
                .map_or_else(|| address.to_string(), |inner| inner.to_string())
        }
        None => Ipv4Addr::from(u32::try_from(hex(address)?).ok()?).to_string(),
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::{address_port, shown};

    #[test]
    fn addresses_are_read_or_refused() {
        let cases: [(&str, Option<(&str, u64)>); 7] = [
            ("C0A80016:0CEA", Some(("192.168.0.22", 3306))),
            (
                "[2620:0000:0000:0000:0000:0000:0000:0001]:0050",
                Some(("2620::1", 80)),
            ),
            (
                "[0000:0000:0000:0000:0000:ffff:c0a8:0016]:0050",
                Some(("192.168.0.22", 80)),
            ),
            ("C0A80016", None),
            ("C0A8001600:0001", None),
            ("[::x]:0001", None),
            ("C0A80016:10000", None),
        ];
        for (text, want) in cases {
            let got = address_port(text.as_bytes());
            let got = got
                .as_ref()
                .map(|(address, port)| (address.as_str(), *port));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn only_known_labels_are_taken() {
        let [.., mark] = shown("local_mark,").unwrap();
        assert!(mark);
        assert!(shown("local_address,nothing").is_err());
    }
}
