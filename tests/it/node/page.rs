//! A page taken apart, and what differs between two.

use std::collections::{BTreeMap, BTreeSet};

/// Families by name.
pub type Families = BTreeMap<String, Family>;

/// One family.
#[derive(Debug, Default, PartialEq)]
pub struct Family {
    pub help: String,
    pub kind: String,
    /// Values by sorted labels.
    pub samples: BTreeMap<String, String>,
}

/// Takes a page apart. A sample that stands twice, or without a head, is a broken page.
pub fn parse(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let family = families
                .get_mut(name)
                .unwrap_or_else(|| panic!("{line}: no head"));
            let before = family.samples.insert(sorted(labels), value.to_owned());
            assert_eq!(before, None, "{line}: stands twice");
        }
    }
    families
}

/// `b="1",a="2"}` as `a="2",b="1"`; quotes inside values are escaped, so `",` ends a value.
fn sorted(labels: &str) -> String {
    let inner = labels.strip_suffix('}').unwrap_or(labels);
    let mut pairs = Vec::new();
    let mut rest = inner;
    while !rest.is_empty() {
        let start = rest.find("=\"").unwrap() + 2;
        let mut end = start;
        let bytes = rest.as_bytes();
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        pairs.push(&rest[..=end]);
        rest = rest[end + 1..].trim_start_matches(',');
    }
    // A label without value is the same as none.
    pairs.retain(|pair| !pair.ends_with("=\"\""));
    pairs.sort_unstable();
    pairs.join(",")
}

/// What differs between theirs and ours, one line each, beginning with the family's name.
pub fn differences(theirs: &Families, ours: &Families) -> Vec<String> {
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut out = Vec::new();
    for name in names {
        match (theirs.get(name), ours.get(name)) {
            (Some(_), None) => out.push(format!("{name}: only theirs")),
            (None, Some(_)) => out.push(format!("{name}: only ours")),
            (Some(theirs), Some(ours)) => differ(name, theirs, ours, &mut out),
            (None, None) => {}
        }
    }
    out
}

fn differ(name: &str, theirs: &Family, ours: &Family, out: &mut Vec<String>) {
    if theirs.help != ours.help {
        out.push(format!("{name}: help {:?} {:?}", theirs.help, ours.help));
    }
    if theirs.kind != ours.kind {
        out.push(format!("{name}: type {} {}", theirs.kind, ours.kind));
    }
    let labels: BTreeSet<&String> = theirs.samples.keys().chain(ours.samples.keys()).collect();
    for labels in labels {
        let (their, our) = (theirs.samples.get(labels), ours.samples.get(labels));
        if their != our {
            out.push(format!("{name}: {{{labels}}} {their:?} {our:?}"));
        }
    }
}

#[test]
fn pages_are_compared_by_label_set_and_not_by_order() {
    let head = "# HELP a A.\n# TYPE a gauge\n";
    let one = parse(&format!("{head}a{{b=\"1\",c=\"x,\\\"y\",d=\"\"}} 1\n"));
    let other = parse(&format!("{head}a{{c=\"x,\\\"y\",b=\"1\"}} 1\n"));
    assert!(differences(&one, &other).is_empty());
    let third = parse(&format!("{head}a{{b=\"1\"}} 1\n"));
    assert_eq!(differences(&one, &third).len(), 2);
}
