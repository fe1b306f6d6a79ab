//! Prometheus' own tools on our page. Needs Debian's package `prometheus`.

use std::io::Write;
use std::process::{Command, Stdio};

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;

use super::page::{Parsed, Running, fetch, free_port, render};

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

#[test]
fn prometheus_scrapes_us_and_answers_the_usual_queries() {
    let target = super::over_http::serve(None);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: node\n  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let _prometheus = Running::start("prometheus", &args);
    let query = |text: &str| {
        let encoded: String = text
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
        fetch(port, &format!("/api/v1/query?query={encoded}")).1
    };
    let answered = |text: &str| {
        let answer = query(text);
        answer.contains("\"status\":\"success\"") && answer.contains("\"value\":[")
    };
    // Of the kind that node dashboards and the node mixin use.
    let queries = [
        "up == 1",
        "1 - avg without (cpu) (sum without (mode) (rate(node_cpu_seconds_total{mode=~\"idle|iowait|steal\"}[1m])))",
        "count without (cpu, mode) (node_cpu_seconds_total{mode=\"idle\"})",
        "1 - (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
        "node_load1",
        "rate(node_vmstat_pgmajfault[1m])",
        "rate(node_disk_io_time_seconds_total{device!=\"\"}[1m])",
        "rate(node_network_receive_bytes_total{device!=\"lo\"}[1m])",
        "1 - node_filesystem_avail_bytes{fstype!=\"\"} / node_filesystem_size_bytes{fstype!=\"\"}",
        "node_filefd_allocated * 100 / node_filefd_maximum",
        "node_time_seconds - node_boot_time_seconds",
        "node_network_info * on(device) group_left node_network_up",
        "rate(node_pressure_cpu_waiting_seconds_total[1m])",
        "node_uname_info",
        "count(node_scrape_collector_success)",
        "node_nf_conntrack_entries / node_nf_conntrack_entries_limit",
    ];
    let began = std::time::Instant::now();
    let mut open: Vec<&str> = queries.to_vec();
    while !open.is_empty() {
        open.retain(|text| !answered(text));
        assert!(began.elapsed().as_secs() < 60, "no answer to {open:?}");
    }
    assert!(query("up").contains("\"1\""));
    let (_, page) = fetch(target, "/metrics");
    assert!(Parsed::of(&page).series.len() > 300);
}
