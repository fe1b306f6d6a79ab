//! What the tests share: a page taken apart, ours rendered, programs started and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;

/// A series: name and labels; empty labels mean the same as none and are left out.
pub type Key = (String, BTreeSet<(String, String)>);

/// A page taken apart.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Help and type by family.
    pub families: BTreeMap<String, (String, String)>,
    /// Value by series.
    pub series: BTreeMap<Key, f64>,
}

impl Parsed {
    /// Takes a page apart; panics on a line that is none, on a series that is there twice and on
    /// a family in two places.
    pub fn of(text: &str) -> Parsed {
        let mut parsed = Parsed::default();
        let mut help = String::new();
        let mut last = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').unwrap_or((rest, "")).1.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                let entry = (std::mem::take(&mut help), kind.to_owned());
                assert!(
                    parsed.families.insert(name.to_owned(), entry).is_none(),
                    "twice: {line}"
                );
                last = name.to_owned();
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                assert!(name.starts_with(&last), "outside its family: {line}");
                let value = value
                    .parse()
                    .unwrap_or_else(|_| panic!("no number: {line}"));
                let key = (name.to_owned(), labels_of(labels));
                assert!(parsed.series.insert(key, value).is_none(), "twice: {line}");
            }
        }
        parsed
    }

    /// The value of a series.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// How many series a family has.
    pub fn count(&self, name: &str) -> usize {
        self.series
            .keys()
            .filter(|(known, _)| known == name)
            .count()
    }
}

fn labels_of(text: &str) -> BTreeSet<(String, String)> {
    let mut labels = BTreeSet::new();
    let mut rest = text.strip_suffix('}').unwrap_or(text);
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut escaped = false;
        let end = after
            .find(|sign| {
                let ends = sign == '"' && !escaped;
                escaped = sign == '\\' && !escaped;
                ends
            })
            .expect("a closing quote");
        if end > 0 {
            labels.insert((
                name.trim_start_matches(',').to_owned(),
                after[..end].to_owned(),
            ));
        }
        rest = &after[end + 1..];
    }
    assert!(rest.is_empty(), "left over: {rest}");
    labels
}

/// Settings for a tree that holds `proc` and `sys`.
pub fn settings_of(tree: &Path) -> Settings {
    let roots = Roots::at(
        &tree.join("proc"),
        &tree.join("sys"),
        tree,
        &tree.join("run/udev/data"),
    );
    Settings::defaults(roots, TABLE)
}

/// One page of these settings.
pub fn render(settings: &Settings) -> String {
    let mut page = ScrapePage::new(settings, TABLE).unwrap();
    String::from_utf8(page.render(&Selection::All).to_vec()).unwrap()
}

/// A program that is ended with its test.
pub struct Running(pub Child);

impl Running {
    /// Starts a program; its output goes nowhere.
    pub fn start(program: &str, args: &[String]) -> Running {
        let child = Command::new(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}; install its package"));
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let killed = self.0.kill();
        let waited = self.0.wait();
        assert!(killed.is_ok() && waited.is_ok());
    }
}

/// A free port of the loopback interface.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Fetches a page; waits until the server listens.
pub fn fetch(port: u16, path: &str) -> (u16, String) {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::yield_now();
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    (
        status,
        if chunked {
            unchunk(body)
        } else {
            body.to_owned()
        },
    )
}

fn unchunk(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        out.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    out
}
