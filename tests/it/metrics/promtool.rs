//! Prometheus' own tools on our page. Needs Debian's package `prometheus`.

use std::io::Write;
use std::process::{Command, Stdio};

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;

use super::page::render;

/// What `promtool check metrics` says of a page.
fn complaints(page: &str) -> Vec<String> {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promtool of the package prometheus");
    tool.stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// node_exporter's own names offend promtool's taste (camelCase, bits); its end-to-end test
/// leaves those out, and so do we. Everything else would be our fault.
#[test]
fn promtool_finds_nothing_but_the_names_we_inherit() {
    let page = render(&Settings::defaults(Roots::host(), TABLE));
    let inherited = [
        "'snake_case' not 'camelCase'",
        "use base unit \"bytes\" instead of \"bits\"",
    ];
    let found: Vec<_> = complaints(&page)
        .into_iter()
        .filter(|line| !inherited.iter().any(|known| line.contains(known)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
