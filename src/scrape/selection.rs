//! `collect[]` and `exclude[]` of a scrape's address.

use crate::collectors::entry::Entry;
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::scrape::inert;

/// Most names in one request; there are fewer collectors.
const MAX_NAMES: usize = 200;

/// Which collectors one page asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// All that are switched on.
    #[default]
    All,
    /// Only these.
    Only(Vec<&'static str>),
    /// All but these.
    Except(Vec<&'static str>),
}

/// Why a scrape's address is refused.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// Both were given.
    #[error("collect[] and exclude[] cannot be combined; leave one of them out")]
    Combined,
    /// More names than collectors.
    #[error("more than {MAX_NAMES} names; ask for each collector once")]
    TooMany,
    /// A name that is none, or that is switched off.
    #[error(transparent)]
    Name(#[from] SetupError),
}

impl Selection {
    /// Reads the query part of an address; other parameters are ignored, as node_exporter does, and so is the exclusion of
    /// what is not there anyway.
    ///
    /// *Errors*: an unknown or disabled collector is asked for, or both kinds of parameter.
    pub fn of_query(
        query: &str,
        table: &[&'static Entry],
        settings: &Settings,
    ) -> Result<Selection, SelectionError> {
        let mut only = Vec::new();
        let mut except = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let names = match decode(key).as_str() {
                "collect[]" => &mut only,
                "exclude[]" => &mut except,
                _ => continue,
            };
            if names.len() >= MAX_NAMES {
                return Err(SelectionError::TooMany);
            }
            names.push(decode(value));
        }
        match (only.is_empty(), except.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, true) => {
                let names = only.iter().map(|name| asked(name, table, settings));
                let names: Result<Vec<_>, _> = names.collect();
                Ok(Selection::Only(names?.into_iter().flatten().collect()))
            }
            (true, false) => {
                let named = table.iter().map(|entry| entry.name);
                let named = named.filter(|name| except.iter().any(|other| other == name));
                Ok(Selection::Except(named.collect()))
            }
            (false, false) => Err(SelectionError::Combined),
        }
    }

    /// Whether the collector `name` is asked.
    pub fn asks(&self, name: &str) -> bool {
        match self {
            Selection::All => true,
            Selection::Only(names) => names.contains(&name),
            Selection::Except(names) => !names.contains(&name),
        }
    }
}

/// The collector `name`; `None` for one of node_exporter's that is switched on and not built here, so that a scrape that
/// asks for others too is answered.
fn asked(
    name: &str,
    table: &[&'static Entry],
    settings: &Settings,
) -> Result<Option<&'static str>, SetupError> {
    let short = || name.chars().take(64).collect::<String>();
    if let Some(entry) = table.iter().find(|entry| entry.name == name) {
        return if settings.is_enabled(entry) {
            Ok(Some(entry.name))
        } else {
            Err(SetupError::Disabled { name: short() })
        };
    }
    let flag = format!("collector.{name}");
    if !inert::collectors().any(|unbuilt| unbuilt == flag) {
        return Err(SetupError::Unknown { name: short() });
    }
    if settings.is_on(&flag) {
        Ok(None)
    } else {
        Err(SetupError::Disabled { name: short() })
    }
}

/// Percent-decoding; what is no valid escape stays as it is, and matches no collector then.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = (byte == b'%').then(|| after.split_at_checked(2)).flatten();
        let value = escaped.and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, tail))
        });
        match value {
            Some((value, tail)) => {
                out.push(value);
                rest = tail;
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Selection;
    use crate::collectors::TABLE;
    use crate::collectors::settings::Settings;
    use crate::collectors::source::roots::Roots;

    #[test]
    fn query_selects_collectors_or_is_refused() {
        let mut settings = Settings::defaults(Roots::host(), TABLE);
        settings.set("collector.vmstat", "false");
        settings.set("collector.zoneinfo", "true");
        let cases: [(&str, Option<Selection>); 14] = [
            ("", Some(Selection::All)),
            ("a=b&&=", Some(Selection::All)),
            ("collect[]=meminfo", Some(Selection::Only(vec!["meminfo"]))),
            (
                "collect%5B%5D=meminfo&collect[]=loadavg",
                Some(Selection::Only(vec!["meminfo", "loadavg"])),
            ),
            (
                "exclude[]=meminfo",
                Some(Selection::Except(vec!["meminfo"])),
            ),
            ("exclude[]=meminfo&collect[]=loadavg", None),
            ("collect[]=nonsense", None),
            ("collect[]=%zz%", None),
            ("collect[]=vmstat", None),
            // What is not built: asked for beside another, alone, and not switched on.
            (
                "collect[]=zoneinfo&collect[]=loadavg",
                Some(Selection::Only(vec!["loadavg"])),
            ),
            ("collect[]=zoneinfo", Some(Selection::Only(vec![]))),
            ("collect[]=softirqs", None),
            // node_exporter leaves out what it does not show anyway.
            (
                "exclude[]=nonsense&exclude[]=vmstat",
                Some(Selection::Except(vec!["vmstat"])),
            ),
            ("exclude[]=nonsense", Some(Selection::Except(vec![]))),
        ];
        for (query, want) in cases {
            assert_eq!(
                Selection::of_query(query, TABLE, &settings).ok(),
                want,
                "{query}"
            );
        }
    }
}
