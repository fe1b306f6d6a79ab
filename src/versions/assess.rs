//! One installed version against one table.

use super::table::{Standing, Step, VersionLine, VersionScheme, VersionTable};
use std::cmp::Ordering;

/// The distribution, as its os-release file names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Os {
    /// `ID`: `debian`, `rhel`.
    pub id: String,
    /// `VERSION_ID`: `12`, `7.6`; empty for rolling distributions.
    pub version_id: String,
}

/// What a table says about an installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assessment {
    /// The fault is in it.
    Affected {
        /// The first version of this distribution without it, if one is known.
        fixed_in: Option<String>,
        /// What the table says about this version.
        because: String,
    },
    /// The fault is not in it.
    Fixed {
        /// What the table says about this version.
        because: String,
    },
    /// Nobody knows; the live probes decide.
    Unknown {
        /// Why, and where the table ends.
        why: String,
    },
}

impl Assessment {
    /// A short stable word: the text of the signal `package.fault.standing`.
    pub fn kind(&self) -> &'static str {
        match self {
            Assessment::Affected { .. } => "affected",
            Assessment::Fixed { .. } => "fixed",
            Assessment::Unknown { .. } => "unknown",
        }
    }
}

/// What `table` says about version `evr` of its package on `os`, whose packages are of `scheme`.
pub fn assess(table: &VersionTable, os: &Os, scheme: VersionScheme, evr: &str) -> Assessment {
    let Some(line) = table.lines.iter().find(|line| line.is_about(os, scheme)) else {
        return Assessment::Unknown {
            why: format!("{} does not list {} {}", table.id, os.id, os.version_id),
        };
    };
    match line.step_of(evr) {
        Some(step) => answer(step),
        None => Assessment::Unknown {
            why: format!("{} says nothing about version {evr}", table.id),
        },
    }
}

fn answer(step: &Step) -> Assessment {
    let because = step.because.clone();
    match &step.standing {
        Standing::Affected { fixed_in } => Assessment::Affected {
            fixed_in: fixed_in.clone(),
            because,
        },
        Standing::Fixed => Assessment::Fixed { because },
        Standing::Unknown => Assessment::Unknown { why: because },
    }
}

impl VersionLine {
    /// Whether this line speaks of that distribution. A line without names speaks of all of them.
    pub(super) fn is_about(&self, os: &Os, scheme: VersionScheme) -> bool {
        let named = self.os.is_empty() || self.os.iter().any(|id| id == &os.id);
        let version = match &self.version {
            None => true,
            Some(wanted) => os
                .version_id
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        };
        named && version && self.scheme.is_none_or(|own| own == scheme)
    }

    /// The last step whose version is not above `evr`.
    pub(super) fn step_of(&self, evr: &str) -> Option<&Step> {
        self.steps.iter().rev().find(|step| match &step.from {
            None => true,
            Some(from) => self.compares(evr, from).is_ge(),
        })
    }

    /// Lines about all distributions know upstream versions only, so they look at nothing else.
    fn compares(&self, evr: &str, from: &str) -> Ordering {
        match self.scheme {
            Some(scheme) => scheme.compare(evr, from),
            None => VersionScheme::Rpm.compare(upstream(evr), from),
        }
    }
}

/// The version without epoch and without what the distribution added: `1:252.39-1~deb12u1` gives `252.39`.
pub(super) fn upstream(evr: &str) -> &str {
    let rest = evr.split_once(':').map_or(evr, |(_, rest)| rest);
    rest.rsplit_once('-').map_or(rest, |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::super::table::embedded_tables;
    use super::*;
    use proptest::prelude::*;

    fn table(id: &str) -> VersionTable {
        let tables = embedded_tables().expect("the shipped tables are right");
        tables.into_iter().find(|t| t.id == id).expect("shipped")
    }

    fn judge(id: &str, cases: &[(&str, &str, VersionScheme, &str, &str)]) {
        let table = table(id);
        for (os, version, scheme, evr, expected) in cases {
            let os = Os {
                id: (*os).into(),
                version_id: (*version).into(),
            };
            let text = match assess(&table, &os, *scheme, evr) {
                Assessment::Affected { fixed_in, .. } => {
                    format!("affected, fixed in {}", fixed_in.unwrap_or_default())
                }
                other => other.kind().to_owned(),
            };
            assert_eq!(&text, expected, "{os:?} {evr}");
        }
    }

    use VersionScheme::{Dpkg, Rpm};

    #[test]
    fn the_cookie_overrun_is_judged_by_branch_and_not_by_one_number() {
        judge(
            "systemd-cookie-overrun",
            &[
                (
                    "centos",
                    "7",
                    Rpm,
                    "219-42.el7_4.13",
                    "affected, fixed in 219-67.el7",
                ),
                (
                    "centos",
                    "7",
                    Rpm,
                    "219-57.el7_5.5",
                    "affected, fixed in 219-67.el7",
                ),
                (
                    "rhel",
                    "7.5",
                    Rpm,
                    "219-57.el7",
                    "affected, fixed in 219-67.el7",
                ),
                (
                    "centos",
                    "7",
                    Rpm,
                    "219-62.el7",
                    "affected, fixed in 219-62.el7_6.9",
                ),
                (
                    "rhel",
                    "7.6",
                    Rpm,
                    "219-62.el7_6.2",
                    "affected, fixed in 219-62.el7_6.9",
                ),
                ("rhel", "7.6", Rpm, "219-62.el7_6.9", "fixed"),
                ("rhel", "7.6", Rpm, "0:219-62.el7_6.10", "fixed"),
                ("rhel", "7.7", Rpm, "219-67.el7", "fixed"),
                ("centos", "7", Rpm, "219-67.el7_7.4", "fixed"),
                ("centos", "7", Rpm, "219-78.el7_9.9", "fixed"),
                (
                    "rhel",
                    "8.0",
                    Rpm,
                    "239-13.el8",
                    "affected, fixed in 239-16.el8",
                ),
                ("rhel", "8.0", Rpm, "239-13.el8_0.5", "unknown"),
                ("rhel", "8.1", Rpm, "239-18.el8", "fixed"),
                ("centos", "8", Rpm, "239-82.el8_10.2", "fixed"),
                ("ubuntu", "18.04", Dpkg, "237-3ubuntu10.41", "fixed"),
                ("ubuntu", "18.04", Dpkg, "237-3ubuntu10.57", "fixed"),
                ("ubuntu", "18.04", Dpkg, "237-3ubuntu10.3", "unknown"),
                ("ubuntu", "22.04", Dpkg, "249.11-0ubuntu3.12", "fixed"),
                ("debian", "9", Dpkg, "232-25+deb9u14", "unknown"),
                ("debian", "10", Dpkg, "241-7~deb10u10", "unknown"),
                ("debian", "11", Dpkg, "247.3-7+deb11u6", "fixed"),
                ("debian", "12", Dpkg, "252.39-1~deb12u2", "fixed"),
                ("amzn", "2", Rpm, "219-57.amzn2.0.20", "unknown"),
                ("amzn", "2023", Rpm, "252.23-2.amzn2023", "fixed"),
                ("sles", "15.5", Rpm, "249.17-150400.8.40.1", "fixed"),
                ("sles", "12.5", Rpm, "228-157.60.1", "unknown"),
                ("ol", "7.6", Rpm, "219-62.0.4.el7_6.9", "unknown"),
                ("rocky", "9.4", Rpm, "252-32.el9_4.7", "fixed"),
                ("fedora", "30", Rpm, "241-8.git9ef65cb.fc30", "unknown"),
                ("arch", "", Dpkg, "242-1", "fixed"),
                ("", "", Rpm, "", "unknown"),
            ],
        );
    }

    #[test]
    fn the_write_queue_overflow_outlives_the_cookie_fix() {
        judge(
            "systemd-write-queue-overflow",
            &[
                (
                    "centos",
                    "7",
                    Rpm,
                    "219-67.el7",
                    "affected, fixed in 219-78.el7",
                ),
                (
                    "centos",
                    "7",
                    Rpm,
                    "219-62.el7_6.9",
                    "affected, fixed in 219-78.el7",
                ),
                ("rhel", "7.7", Rpm, "219-67.el7_7.1", "unknown"),
                ("rhel", "7.8", Rpm, "219-73.el7_8.9", "unknown"),
                ("rhel", "7.9", Rpm, "219-74.el7", "fixed"),
                ("rhel", "7.9", Rpm, "219-78.el7_9.9", "fixed"),
                ("debian", "12", Dpkg, "252.39-1~deb12u2", "unknown"),
            ],
        );
    }

    #[test]
    fn the_upstream_version_is_what_the_distribution_packed() {
        for (evr, expected) in [
            ("252.39-1~deb12u1", "252.39"),
            ("1:2.88dsf-59", "2.88dsf"),
            ("219", "219"),
            ("1.0-2-3", "1.0-2"),
            ("", ""),
        ] {
            assert_eq!(upstream(evr), expected);
        }
    }

    proptest! {
        #[test]
        fn no_version_panics_and_no_unlisted_distribution_is_affected(id in "[a-z]{3,8}x", version in ".{0,6}", evr in ".{0,20}") {
            let os = Os { id, version_id: version };
            for table in embedded_tables().expect("shipped") {
                for scheme in [Dpkg, Rpm] {
                    let answer = assess(&table, &os, scheme, &evr);
                    let is_affected = matches!(answer, Assessment::Affected { .. });
                    prop_assert!(!is_affected);
                }
            }
        }
    }
}
