//! What a default page costs in the steady state, counted, not timed: no allocation, no open, at
//! most 40 system calls. A binary of its own, because it counts every allocation of the process.
//! Needs strace.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests may stop at the first surprise, and start processes"
)]

use std::alloc::System;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most system calls of a default page on a small machine (issue 5, section 3), which has two file systems and no sensors.
const MAX_SYSCALLS: f64 = 40.0;
const SMALL_MOUNTS: f64 = 2.0;
/// Where a larger machine has files whose values change: a call each.
const SENSORS: [&str; 7] = [
    "/sys/devices/system/cpu",
    "/sys/class/hwmon",
    "/sys/class/infiniband",
    "/sys/class/nvme",
    "/sys/class/power_supply",
    "/sys/class/powercap",
    "/sys/class/thermal",
];

fn page() -> ScrapePage {
    let settings = Settings::defaults(Roots::host(), TABLE);
    ScrapePage::new(&settings, TABLE).unwrap()
}

fn render(page: &mut ScrapePage, count: usize) {
    for _ in 0..count {
        assert!(page.render(&Selection::All).len() > 10_000);
    }
}

/// Called by the test below under strace.
#[test]
#[ignore = "a part of another test, run by it under strace"]
fn renders_100_pages() {
    render(&mut page(), 100);
}

/// Called by the test below under strace.
#[test]
#[ignore = "a part of another test, run by it under strace"]
fn renders_300_pages() {
    render(&mut page(), 300);
}

/// The files of this machine's sensors, and of the clocks of its processors.
fn sensor_files() -> usize {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut count = 0;
    for device in SENSORS.iter().flat_map(|class| entries(Path::new(class))) {
        let device = device.path();
        if !device.starts_with("/sys/devices/system/cpu") {
            count += entries(&device).count();
            continue;
        }
        for part in ["cpufreq", "thermal_throttle"] {
            count += entries(&device.join(part)).count();
        }
    }
    count
}

/// System calls by name of one of the two tests above.
fn traced(test: &str) -> BTreeMap<String, f64> {
    let program = std::env::current_exe().unwrap();
    let output = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(output.path())
        .arg(program)
        .args(["--ignored", "--exact", test, "--test-threads=1"])
        .output()
        .expect("strace of the package strace");
    assert!(status.status.success());
    let text = fs::read_to_string(output.path()).unwrap();
    let row = |line: &str| {
        let mut parts = line.split_whitespace();
        let name = parts.next()?.to_owned();
        Some((name, parts.next()?.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// Both claims in one test: a second thread of the harness would allocate between the counts.
#[test]
fn steady_page_allocates_nothing_opens_nothing_and_makes_few_calls() {
    let mut page = page();
    render(&mut page, 20);
    // A device or mount that comes or goes on this machine, and the end of a minute, make the
    // page look anew; so the claim is about the pages in between: most of a run of pages.
    let mut quiet = 0;
    for _ in 0..200 {
        let region = Region::new(ALLOCATOR);
        render(&mut page, 1);
        let change = region.change();
        quiet += usize::from(change.allocations + change.reallocations == 0);
    }
    assert!(quiet >= 190, "only {quiet} of 200 pages allocated nothing");

    let (mut best, mut opens) = (f64::MAX, f64::MAX);
    let mut seen = String::new();
    for _ in 0..4 {
        let (few, many) = (traced("renders_100_pages"), traced("renders_300_pages"));
        let per_page = |name: &str| {
            let calls = |all: &BTreeMap<String, f64>| all.get(name).copied().unwrap_or_default();
            (calls(&many) - calls(&few)) / 200.0
        };
        let names = many.keys().filter(|name| *name != "total");
        let counts: Vec<_> = names.map(|name| (name, per_page(name))).collect();
        let total: f64 = counts.iter().map(|(_, count)| count).sum();
        best = best.min(total - (per_page("statfs") - SMALL_MOUNTS).max(0.0));
        opens = opens.min(["open", "openat", "openat2"].map(per_page).iter().sum());
        seen = format!("{counts:?}");
    }
    let most = MAX_SYSCALLS + sensor_files() as f64;
    assert!(best <= most, "{best} of {most} system calls a page: {seen}");
    assert!(opens <= 0.0, "{opens} opens a page: {seen}");
    println!("{best} of {most} system calls, {opens} opens a page: {seen}");
}
