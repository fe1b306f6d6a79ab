//! The lowest version of each playbook that is taken, as the app keeps it over restarts (safety.md, T8).

use super::document::is_id;
use semver::Version;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The first line of the file.
const FORM: &str = "nodemend playbook floors 1";
/// The most playbooks in the file; a fleet has tens.
const MAX_FLOORS: usize = 10_000;

/// Why a file of floors cannot be read. The app then takes no playbook but those of the binary and those named by digest: a
/// floor that cannot be read is not a floor of zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {what}; restore the file from a backup, or remove it if you accept that an older version may be taken again"
)]
pub struct FloorsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The text of the file: one `ID VERSION` a line, under a line that names the form.
pub fn floors_to_text(floors: &BTreeMap<Arc<str>, Version>) -> String {
    let mut text = format!("{FORM}\n");
    for (id, version) in floors {
        // Writing to a String cannot fail.
        writeln!(text, "{id} {version}").ok();
    }
    text
}

/// Reads what [`floors_to_text`] writes.
///
/// # Errors
/// The first line that is wrong.
pub fn parse_floors(text: &str) -> Result<BTreeMap<Arc<str>, Version>, FloorsError> {
    let wrong = |line, what| FloorsError { line, what };
    let mut lines = text.split('\n').zip(1..);
    if lines.next().map(|(line, _)| line) != Some(FORM) {
        return Err(wrong(1, "the first line is not that of playbook floors"));
    }
    let mut floors = BTreeMap::new();
    let mut is_ended = false;
    for (line, number) in lines {
        if is_ended {
            return Err(wrong(number - 1, "an empty line"));
        }
        if line.is_empty() {
            is_ended = true;
            continue;
        }
        if floors.len() >= MAX_FLOORS {
            return Err(wrong(number, "more lines than any fleet has playbooks"));
        }
        let (id, version) = line
            .split_once(' ')
            .filter(|(id, _)| is_id(id))
            .ok_or_else(|| wrong(number, "expected `ID VERSION`"))?;
        let version =
            Version::parse(version).map_err(|_| wrong(number, "the version is not SemVer"))?;
        if floors.insert(Arc::from(id), version).is_some() {
            return Err(wrong(number, "the playbook stands here a second time"));
        }
    }
    match is_ended {
        true => Ok(floors),
        false => Err(wrong(
            text.split('\n').count(),
            "the last line has no end; the file was cut short",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_read_as_they_are_written() {
        for list in [vec![], vec![("a", "1.2.3"), ("b-c", "2.0.0-rc.1")]] {
            let floors: BTreeMap<Arc<str>, Version> = list
                .into_iter()
                .map(|(id, version)| (Arc::from(id), Version::parse(version).expect("semver")))
                .collect();
            assert_eq!(parse_floors(&floors_to_text(&floors)), Ok(floors));
        }
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        let many: String = (0..=MAX_FLOORS).map(|n| format!("a{n} 1.0.0\n")).collect();
        for (body, line) in [
            ("", 1),
            ("a 1.0", 2),
            ("a 1.0.0", 2),
            ("a 1.0.0\nb 2.0.0", 3),
            ("a 1.0.0\n\nb 2.0.0\n", 3),
            ("a 1.0.0\na 2.0.0\n", 3),
            ("A 1.0.0\n", 2),
            ("a  1.0.0\n", 2),
            ("a=1.0.0\n", 2),
            ("a 1.0.0 x\n", 2),
            ("../x 1.0.0\n", 2),
            (many.as_str(), MAX_FLOORS + 2),
        ] {
            let text = if body.is_empty() {
                String::new()
            } else {
                format!("{FORM}\n{body}")
            };
            let error = parse_floors(&text).expect_err(body);
            assert_eq!(error.line, line, "{body:.20?}: {error}");
        }
        assert!(parse_floors(&FORM.replace('1', "2")).is_err());
    }
}
