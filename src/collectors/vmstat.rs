//! `vmstat`: chosen lines of `/proc/vmstat`.

use regex::bytes::Regex;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::{Known, each_listed};
use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

const FIELDS_FLAG: &str = "collector.vmstat.fields";
const FIELD: Family = Family::untyped(
    "node_vmstat_<field>",
    "/proc/vmstat information field <field>.",
)
.from("/proc/vmstat");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "vmstat",
    enabled: true,
    lane: Lane::Page,
    flags: &[Flag::value(
        FIELDS_FLAG,
        "^(oom_kill|pgpg|pswp|pg.*fault).*",
        "Regexp of fields to return for vmstat collector.",
    )],
    families: &[FIELD],
    open,
};

/// Longest record of `/proc/vmstat`: a counter's name, a number and a newline.
const LONGEST: usize = 128;

struct VmStat {
    file: HeldFile,
    wanted: Option<Regex>,
    heads: Known<Option<Head>>,
    labels: Labels,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(VmStat {
        file: HeldFile::new(&sources.roots.procfs, "vmstat", Shape::Records(LONGEST)),
        wanted: settings.pattern(FIELDS_FLAG)?,
        heads: Known::default(),
        labels: Labels::none(),
    }))
}

impl Collector for VmStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        let (wanted, labels) = (self.wanted.as_ref(), &self.labels);
        let page = &mut *turn.page;
        let make = |field: &[u8]| {
            let shown = wanted.is_none_or(|pattern| pattern.is_match(field));
            shown.then(|| head(field))
        };
        each_listed(&mut self.heads, text, make, |head, value| {
            parse_f64(value).ok_or(CollectError::Parse("vmstat"))?;
            page.family(head).digits(labels, value);
            Ok(())
        })
    }
}

fn head(field: &[u8]) -> Head {
    let help = [b"/proc/vmstat information field ", field, b"."].concat();
    Head::named(&[b"node_vmstat_", field].concat(), Kind::Untyped, &help)
}
