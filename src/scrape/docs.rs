//! `docs/metrics.md`, made from the collectors' table, so that it cannot say anything else than
//! the code does.

use std::fmt::Write;

use crate::collectors::entry::Entry;
use crate::exposition::family::Family;
use crate::scrape::{inert, page, process};

const HEAD: &str = "\
# Metrics

Made from the code (`src/scrape/docs.rs`); do not edit. A test compares.

The page at `/metrics` has node_exporter's families with the same names, types, help, labels and
values, so that dashboards, alerts and recording rules work unchanged. The model is the newest
release (1.12); what it has more than the 1.5 of Debian 12 is here too. Flags have its names
(`--collector.NAME`, `--no-collector.NAME`, `--path.procfs`, ...), and a scrape may ask for
`?collect[]=NAME` or `?exclude[]=NAME`. OpenMetrics and gzip come by negotiation.

A command line that was written for node_exporter starts `nodemend agent` as it is: `--web.listen-address` (`:9100`, `localhost:9100` and
several too; other names are refused), `--web.telemetry-path`, `--web.config.file`, `--log.level`, old names of flags
(`--collector.netdev.device-blacklist`) and switches of collectors that are not built here are understood. One that is not built and switched on is named in the log, and `collect[]` with it is answered without it.
`--web.systemd-socket` is refused.

The file of `--web.config.file` is exporter-toolkit's, whole: certificates as files or in place, suites, curves, client
certificates and their names, headers, users, `rate_limit`. It and the files that it names are read again when they change; what
cannot be used then leaves the old ones in force and is logged. Not here: HTTP/2, P-521, suites with CBC or without forward secrecy
(rustls has none; named in the log where the file asks for them), and a server that lets nobody in.

## How the page differs as a whole
- A source that does not answer before its deadline (1 s at first, up to 4 s for one that is slow
  but does answer) costs its own series only: its `node_scrape_collector_success` is 0, and
  `nodemend_scrape_stuck_threads` counts the thread until it returns.
- Devices are looked for again when the kernel tells of one, and at least once a minute; a
  collector without any device repeats its last success until then, with a duration of 0.
- Names that are not UTF-8 show U+FFFD for the broken bytes; node_exporter ends in a panic.
- A family or series that a broken file names twice is shown once.
- A file that is missing or broken costs its own series; node_exporter often leaves out all of its collector's.
- A mount point with a backslash, a newline or a `#` in its name is asked by that name; node_exporter undoes the kernel's
  escapes of blanks and tabs only, and shows an error for it.
- `node_filesystem_purgeable_bytes` is left out: it is macOS' and always 0 on Linux.
- node_exporter's `go_*` and `promhttp_*` are left out: there is no Go here. `process_*` are there,
  but for `process_network_*`, which count the network namespace's bytes (as
  `node_netstat_IpExt_InOctets` does) and not the process's.
- `node_memory_*` has every line of /proc/meminfo; node_exporter since 1.6 only those that it knows.
- An empty label is the same as no label to Prometheus; `device_error` is only written on an error.

";

const PROCESS_HEAD: &str = "\
## The process itself

On the agent's page; `nodemend metrics`, which is no server, does not show it, and
`--web.disable-exporter-metrics` does not take it away.

";

const LEFT_OUT_HEAD: &str = "\
## What is left out

Switching one on is named in the log, and changes nothing.

| node_exporter's flag | why |
|---|---|
";

const SIGNALS_HEAD: &str = "
## What the agent's probes read

All are gauges, read by the agent's probes in their own rhythm and not when the page is asked for,
so `nodemend metrics` does not show them. The unit stands last in the name. A reading that is
missing, unreadable or old has no series; `nodemend status` and `nodemend check` say why. At most
500 subjects of one family are shown. Pressure in slices needs cgroup v2; a host with cgroup v1
alone has none.

| family | label | help | source |
|---|---|---|---|
";

/// A family made of a signal, as its row in the documentation.
#[derive(Debug, Clone)]
pub struct SignalRow<'a> {
    /// The family's name.
    pub name: String,
    /// The label that tells its subjects apart; `None` for one of the node itself.
    pub label: Option<&'a str>,
    /// What it says.
    pub help: &'a str,
    /// Where it is read.
    pub source: &'a str,
}

/// The page's documentation: every collector of `table`, its flags and families, and then the
/// families that the product adds (name, type, help), and those made of signals.
pub fn render(table: &[&Entry], own: &[(&str, &str, &str)], signals: &[SignalRow<'_>]) -> String {
    let mut out = String::from(HEAD);
    for entry in table {
        let state = if entry.enabled { "on" } else { "off" };
        line(
            &mut out,
            format_args!("## {} ({state} by default)\n", entry.name),
        );
        for flag in entry.flags {
            let default = match flag.default {
                Some("") | None => String::new(),
                Some(default) => format!(" Default `{}`.", cell(default)),
            };
            line(
                &mut out,
                format_args!("- `--{}`: {}{default}", flag.name, flag.help),
            );
        }
        if !entry.flags.is_empty() {
            out.push('\n');
        }
        table_of(&mut out, entry.families);
    }
    line(&mut out, format_args!("## The page itself\n"));
    table_of(&mut out, &page::FAMILIES);
    out.push_str(PROCESS_HEAD);
    table_of(&mut out, &process::FAMILIES);
    out.push_str(LEFT_OUT_HEAD);
    for (name, why) in inert::COLLECTORS {
        line(
            &mut out,
            format_args!("| `--collector.{name}` | {} |", cell(why)),
        );
    }
    out.push('\n');
    line(&mut out, format_args!("## What node_exporter lacks\n"));
    line(
        &mut out,
        format_args!("| family | type | help |\n|---|---|---|"),
    );
    for (name, kind, help) in own {
        line(
            &mut out,
            format_args!("| `{name}` | {kind} | {} |", cell(help)),
        );
    }
    signals_of(&mut out, signals);
    out
}

fn signals_of(out: &mut String, signals: &[SignalRow<'_>]) {
    out.push_str(SIGNALS_HEAD);
    for row in signals {
        let label = row.label.map(|label| format!("`{label}`"));
        let (help, source) = (cell(row.help), cell(row.source));
        let label = label.unwrap_or_default();
        line(
            out,
            format_args!("| `{}` | {label} | {help} | {source} |", row.name),
        );
    }
}

fn table_of(out: &mut String, families: &[Family]) {
    line(
        out,
        format_args!("| family | type | unit | help | source | differs |"),
    );
    line(out, format_args!("|---|---|---|---|---|---|"));
    for family in families {
        line(
            out,
            format_args!(
                "| `{}` | {} | {} | {} | {} | {} |",
                family.name,
                family.kind.word(),
                family.unit,
                cell(family.help),
                cell(family.source),
                cell(family.differs),
            ),
        );
    }
    out.push('\n');
}

/// Text that cannot end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let written = writeln!(out, "{text}");
    debug_assert!(written.is_ok());
}
