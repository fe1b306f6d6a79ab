//! The architecture, as tests: each failure says which rule is broken, where, and what to do.

use nodemend::document::Problems;
use nodemend::signatures::{Rulebook, run_cases, shipped};
use nodemend::{probes, report::metrics};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A source file: its path below `src`, and its lines without those of its test modules.
struct Source {
    path: String,
    lines: Vec<String>,
    code: Vec<(usize, String)>,
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn sources(below: &str) -> Vec<Source> {
    let root = Path::new(ROOT).join(below);
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).expect("text");
            let path = file
                .strip_prefix(&root)
                .expect("below")
                .display()
                .to_string();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let end = lines
                .iter()
                .position(|line| line.trim() == "#[cfg(test)]")
                .filter(|at| {
                    lines
                        .get(at + 1)
                        .is_some_and(|next| next.contains("mod tests {"))
                })
                .unwrap_or(lines.len());
            let is_test_file =
                path.contains("test") || path.contains("fake") || path.contains("week");
            let code = lines
                .iter()
                .take(if is_test_file { 0 } else { end })
                .enumerate()
                .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("").to_owned()))
                .collect();
            Source { path, lines, code }
        })
        .collect()
}

/// What a pure file may not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "zbus",
    "kube::",
    "nix::",
    "rustix::",
    "hyper",
    "sdjournal",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "Instant",
    "SystemTime",
    "crate::host",
    "crate::app",
    "println!",
    "eprintln!",
    "Timestamp::now",
    "Zoned::now",
];

/// Files and folders without input and output.
const PURE: &[&str] = &[
    "document/",
    "signal/",
    "signatures/",
    "diagnosis/",
    "policy/",
    "playbook/",
    "engine/",
    "simulate/",
    "versions/",
    "lease/slot.rs",
    "lease/exchange.rs",
    "lease/permit.rs",
    "lease/name.rs",
    "lease/waiting.rs",
    "lease/domains.rs",
    "executor/machine.rs",
    "executor/outline.rs",
    "report/conditions.rs",
    "report/events.rs",
    "report/pace.rs",
    "report/model.rs",
    "report/metrics.rs",
    "report/render/",
];

#[test]
fn pure_files_touch_nothing() {
    let mut broken = Vec::new();
    for source in sources("src") {
        if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
            continue;
        }
        for (line, text) in &source.code {
            for word in IMPURE {
                if text.contains(word) {
                    broken.push(format!(
                        "src/{}:{line}: `{word}` in a pure file; give the value as an argument",
                        source.path
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Which folders a folder may name (architecture.md, direction of dependencies). `app` may name all.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("document", &[]),
    ("signal", &[]),
    ("versions", &["document"]),
    ("signatures", &["document", "signal"]),
    ("policy", &["document", "signal"]),
    ("diagnosis", &["document", "signal", "signatures", "policy"]),
    ("playbook", &["document", "signal", "policy"]),
    (
        "engine",
        &[
            "document",
            "signal",
            "signatures",
            "diagnosis",
            "policy",
            "playbook",
        ],
    ),
    (
        "simulate",
        &[
            "document",
            "signal",
            "signatures",
            "diagnosis",
            "policy",
            "playbook",
            "engine",
            "lease",
        ],
    ),
    (
        "rehearsal",
        &[
            "document",
            "signal",
            "signatures",
            "diagnosis",
            "policy",
            "playbook",
            "engine",
            "simulate",
            "lease",
            "steps",
            "executor",
            "report",
            "host",
        ],
    ),
    ("host", &["document", "signal"]),
    ("probes", &["document", "signal", "versions", "host"]),
    ("lease", &["document", "signal", "policy", "host"]),
    (
        "steps",
        &[
            "document", "signal", "policy", "playbook", "host", "lease", "executor", "versions",
        ],
    ),
    (
        "executor",
        &[
            "document", "signal", "policy", "playbook", "host", "lease", "steps",
        ],
    ),
    (
        "report",
        &[
            "document",
            "signal",
            "signatures",
            "diagnosis",
            "policy",
            "playbook",
            "engine",
            "host",
        ],
    ),
];

#[test]
fn folders_name_only_what_comes_before_them() {
    let mut broken = Vec::new();
    for source in sources("src") {
        let Some((folder, _)) = source.path.split_once('/') else {
            continue;
        };
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == folder) else {
            continue;
        };
        for (line, text) in &source.code {
            for (_, rest) in text
                .match_indices("crate::")
                .map(|(at, found)| text.split_at(at + found.len()))
            {
                let named: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let is_folder = MAY_NAME.iter().any(|(name, _)| *name == named) || named == "app";
                if is_folder && named != folder && !allowed.contains(&named.as_str()) {
                    broken.push(format!(
                        "src/{}:{line}: `{folder}` may not name `{named}`",
                        source.path
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nobody_names_app() {
    for source in sources("src") {
        let is_outside = !source.path.starts_with("app/")
            && !matches!(source.path.as_str(), "main.rs" | "lib.rs");
        let names = source
            .code
            .iter()
            .find(|(_, text)| text.contains("crate::app"));
        assert!(
            !is_outside || names.is_none(),
            "src/{} names app; hand it what it needs",
            source.path
        );
    }
}

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_and_functions_stay_readable() {
    let mut broken = Vec::new();
    for below in ["src", "tests"] {
        for source in sources(below) {
            if source.lines.len() > MAX_FILE_LINES {
                broken.push(format!(
                    "{below}/{}: {} lines; split it by what it is about",
                    source.path,
                    source.lines.len()
                ));
            }
            broken.extend(long_functions(below, &source));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Functions by their indentation, which rustfmt guarantees.
fn long_functions(below: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (start, line) in source.lines.iter().enumerate() {
        let text = line.trim_start();
        let starts = [
            "fn ",
            "pub fn ",
            "pub(super) fn ",
            "pub(crate) fn ",
            "async fn ",
            "pub async fn ",
            "const fn ",
            "pub const fn ",
        ];
        if !starts.iter().any(|word| text.starts_with(word)) || line.trim_end().ends_with(';') {
            continue;
        }
        // A test that is one table is as long as its table: it is read row by row.
        if start > 0 && source.lines[start - 1].trim() == "#[test]" {
            continue;
        }
        let indent = line.len() - text.len();
        let close = format!("{}}}", " ".repeat(indent));
        let length = source.lines[start..]
            .iter()
            .position(|line| *line == close)
            .map_or(0, |at| at + 1);
        if length > MAX_FUNCTION_LINES {
            let name = text.split('(').next().unwrap_or(text);
            found.push(format!(
                "{below}/{}:{}: `{name}` has {length} lines; split it",
                source.path,
                start + 1
            ));
        }
    }
    found
}

#[test]
fn every_signal_is_declared_once_with_help_and_source() {
    let mut names = BTreeSet::new();
    for spec in probes::SPECS {
        assert!(
            !spec.title.is_empty() && !spec.cost.is_empty(),
            "{} needs a title and its measured cost",
            spec.name
        );
        assert!(
            spec.timeout >= spec.period / 2 || spec.timeout.as_secs() >= 1,
            "{}: its deadline is too short",
            spec.name
        );
        for key in spec.keys {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(
                key.help.ends_with('.') || key.help.ends_with(';') || key.help.contains(' '),
                "{} needs help in a sentence",
                key.name
            );
            assert!(!key.source.is_empty(), "{} needs its source", key.name);
            assert!(
                key.max_age >= spec.period,
                "{} would be stale before {} runs again",
                key.name,
                spec.name
            );
        }
    }
    assert!(!names.is_empty());
}

#[test]
fn every_metric_has_help_and_a_proper_name() {
    let mut names = BTreeSet::new();
    for family in metrics::FAMILIES {
        assert!(names.insert(family.name), "{} stands twice", family.name);
        assert!(family.name.starts_with("nodemend_"), "{}", family.name);
        assert_eq!(
            family.kind == "counter",
            family.name.ends_with("_total"),
            "{}: counters end in _total",
            family.name
        );
        assert!(
            family.help.ends_with('.') && family.help.len() > 10,
            "{} needs help in a sentence",
            family.name
        );
    }
}

fn rulebook() -> (Rulebook, Vec<Problems>) {
    Rulebook::load(&shipped::sources(), &probes::catalogue())
}

#[test]
fn every_signature_file_is_in_the_table_and_loads() {
    let (book, problems) = rulebook();
    assert!(problems.is_empty(), "{problems:?}");
    let mut files = Vec::new();
    let root = Path::new(ROOT).join("remediations/signatures");
    for folder in std::fs::read_dir(&root).expect("signatures") {
        for file in std::fs::read_dir(folder.expect("entry").path()).expect("subsystem") {
            files.push(
                file.expect("entry")
                    .path()
                    .strip_prefix(ROOT)
                    .expect("below")
                    .display()
                    .to_string(),
            );
        }
    }
    let listed: BTreeSet<String> = shipped::sources()
        .into_iter()
        .map(|source| source.origin)
        .collect();
    for file in &files {
        assert!(
            listed.contains(file),
            "add \"{file}\" to src/signatures/shipped.rs"
        );
    }
    assert_eq!(book.len(), files.len());
}

#[test]
fn every_signature_is_complete_and_its_cases_pass() {
    let (book, _) = rulebook();
    for rule in book.iter() {
        let s = &rule.signature;
        assert!(
            s.cases.len() >= 3,
            "{}: present, absent and unknown want a case each",
            s.id
        );
        for expected in ["present", "absent"] {
            assert!(
                s.cases.iter().any(|case| case.expect == expected),
                "{}: no case expects {expected}",
                s.id
            );
        }
        assert!(
            !s.evidence.is_empty() && !s.references.is_empty() && !s.example.is_empty(),
            "{}",
            s.id
        );
        assert!(
            !s.false_positives.is_empty(),
            "{}: say what looks like it and is not",
            s.id
        );
        for result in run_cases(rule, &probes::catalogue()) {
            assert!(
                result.passed(),
                "{}: {}: got {} ({})",
                s.id,
                result.name,
                result.got,
                result.why
            );
        }
    }
}

#[test]
fn every_mend_is_a_shipped_playbook() {
    for rule in rulebook().0.iter() {
        if let Some(mend) = &rule.signature.mend {
            let folder = Path::new(ROOT).join("remediations/playbooks").join(mend);
            assert!(
                folder.is_dir(),
                "{} mends with `{mend}`, which is not in remediations/playbooks",
                rule.signature.id
            );
        }
    }
}
