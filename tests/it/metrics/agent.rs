//! The agent itself, as people run it: scraped by a real Prometheus with our rules, and held by
//! thousands of clients. Needs Debian's package `prometheus`.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::over_http::status;
use super::page::{Parsed, Running, fetch, free_port};
use super::usual::{OF_BARE_SERVERS, OF_SWITCHES, SWITCHES, USUAL};

/// An agent on a port of its own with an empty state.
struct Agent {
    program: Running,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Agent {
    fn start() -> Agent {
        Agent::with(&[])
    }

    fn with(more: &[String]) -> Agent {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = |flag: &str| format!("{flag}={}", dir.path().join(&flag[2..]).display());
        let own = [
            "agent".to_owned(),
            "--standalone".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
            place("--state-dir"),
            place("--run-dir"),
        ];
        let args = [&own, more].concat();
        let program = Running::start(env!("CARGO_BIN_EXE_nodemend"), &args);
        let began = Instant::now();
        while fetch(port, "/readyz").0 != 200 {
            assert!(began.elapsed() < Duration::from_secs(60), "never ready");
        }
        Agent {
            program,
            port,
            _dir: dir,
        }
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.program.0.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }
}

/// What queries of our dashboard need that the machine of a test may not have; asked of a tree
/// that has it.
const NOT_EVERYWHERE: [&str; 6] = [
    "node_hwmon_",
    "node_thermal_",
    "node_edac_",
    "node_md_",
    // No filesystem but those of memory, which the dashboard leaves out.
    "node_filesystem_avail_bytes",
    // A kernel without connection tracking: no /proc/sys/net/netfilter/nf_conntrack_count.
    "node_nf_conntrack_",
];
/// An agent that has mended nothing yet has no such series.
const NOT_YET: &str = "nodemend_runs_total";
/// The dashboard's queries for which `wanted` holds, without the comparison that leaves nothing
/// on a healthy machine.
fn of_dashboard(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let healthy = [" == 0", " == 1", " > 0"];
    let plain = |query: String| {
        healthy
            .iter()
            .fold(query, |text, part| text.replace(part, ""))
    };
    let all = crate::rules::queries().into_iter();
    all.filter(|query| wanted(query)).map(plain).collect()
}

fn is_everywhere(query: &str) -> bool {
    !query.contains(NOT_YET) && !NOT_EVERYWHERE.iter().any(|name| query.contains(name))
}

/// Has a real Prometheus scrape the agent, with our recording rules, until every query has an
/// answer.
fn answered_by_prometheus(agent: &Agent, queries: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/rules/recording.yaml");
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n- job_name: nodemend\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        rules.display(),
        agent.port
    );
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let _prometheus = Running::start("prometheus", &args);
    let answered = |text: &str| {
        let hex = |byte: u8| format!("%{byte:02X}");
        let encoded: String = text.bytes().map(hex).collect();
        let (_, answer) = fetch(port, &format!("/api/v1/query?query={encoded}"));
        answer.contains("\"status\":\"success\"") && answer.contains("\"value\":[")
    };
    let mut open = queries.to_vec();
    let began = Instant::now();
    while !open.is_empty() {
        open.retain(|text| !answered(text));
        assert!(began.elapsed().as_secs() < 90, "no answer to {open:#?}");
    }
}

#[test]
fn prometheus_scrapes_the_agent_and_feeds_the_usual_and_our_dashboards() {
    let agent = Agent::with(&SWITCHES.map(str::to_owned));
    let ours = of_dashboard(is_everywhere);
    assert!(ours.len() > 15, "{ours:?}");
    let ours = ours.iter().map(String::as_str);
    let usual = USUAL.into_iter().chain(OF_SWITCHES);
    let queries: Vec<&str> = usual.chain(ours).collect();
    answered_by_prometheus(&agent, &queries);
    let (_, page) = fetch(agent.port, "/metrics");
    let page = Parsed::of(&page);
    assert!(
        page.get("nodemend_headroom_pids_ratio", &[])
            .is_some_and(|it| it > 0.0)
    );
    assert!(page.families.contains_key("nodemend_certificate_days_left"));
    assert!(page.families.contains_key("nodemend_systemd_bus_serial"));
}

/// Sensors, memory errors, RAID, filesystems on disks, tracked connections, scheduler statistics:
/// from the fixture trees of the comparisons with node_exporter.
#[test]
fn prometheus_feeds_the_dashboards_panels_of_a_bare_server() {
    let tree = crate::node::tree::unpacked();
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics/server");
    super::hostile::copy(&server, tree.path());
    let flag = |name: &str, below: &str| {
        let path = tree.path().join(below);
        format!("--path.{name}={}", path.display())
    };
    let paths = [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "")];
    let agent = Agent::with(&paths.map(|(name, below)| flag(name, below)));
    let ours = of_dashboard(|query| !is_everywhere(query) && !query.contains(NOT_YET));
    assert_eq!(ours.len(), 7, "{ours:?}");
    let ours = ours.iter().map(String::as_str);
    let queries: Vec<&str> = OF_BARE_SERVERS.into_iter().chain(ours).collect();
    answered_by_prometheus(&agent, &queries);
}

#[test]
fn the_agents_door_answers_what_people_probes_and_load_balancers_ask() {
    let agent = Agent::start();
    let cases = [
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/api/v1/audit", 200),
        ("GET", "/nothing", 404),
        ("POST", "/metrics", 405),
        ("POST", "/api/v1/control", 405),
    ];
    for (method, path, want) in cases {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = status(agent.port, request.as_bytes());
        assert_eq!(got, want, "{method} {path}");
    }
}

#[test]
fn a_command_line_of_node_exporter_starts_the_agent() {
    // Of kube-prometheus, with an address that it takes from its pod, and a path of somebody's own.
    let agent = Agent::with(&[
        "--web.telemetry-path=/node-metrics".to_owned(),
        "--path.sysfs=/sys".to_owned(),
        "--path.rootfs=/".to_owned(),
        "--path.udev.data=/run/udev/data".to_owned(),
        "--no-collector.wifi".to_owned(),
        "--log.level=warn".to_owned(),
        "--log.format=logfmt".to_owned(),
        "--no-collector.btrfs".to_owned(),
        "--collector.netclass.ignored-devices=^(veth.*|[a-f0-9]{15})$".to_owned(),
        "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$".to_owned(),
    ]);
    let (status, page) = fetch(agent.port, "/node-metrics");
    assert_eq!(status, 200);
    assert!(Parsed::of(&page).get("node_load1", &[]).is_some());
    assert_eq!(fetch(agent.port, "/metrics").0, 404);
    assert!(fetch(agent.port, "/").1.contains("/node-metrics"));
}

#[test]
fn thousands_of_connections_cost_bounded_memory() {
    /// A head of 16 KiB for each of 256 connections, their buffers, and what the allocator keeps.
    const MOST_GROWTH_KIB: u64 = 24 * 1024;
    let agent = Agent::start();
    assert_eq!(fetch(agent.port, "/metrics").0, 200);
    let before = agent.resident();
    let head = format!(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}",
        "a".repeat(15_000)
    );
    let mut held = Vec::new();
    let mut most = 0;
    for number in 0..3_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
        // Those that found no room are closed while they write.
        let _sent = stream.write_all(head.as_bytes());
        held.push(stream);
        if number % 250 == 0 {
            most = most.max(agent.resident());
        }
    }
    most = most.max(agent.resident());
    assert!(
        most < before + MOST_GROWTH_KIB,
        "from {before} to {most} KiB"
    );
    drop(held);
    let began = Instant::now();
    while fetch(agent.port, "/metrics").0 != 200 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no room came back"
        );
    }
    println!("{before} KiB before, {most} KiB with 3,000 connections");
}

#[test]
fn every_address_that_was_asked_for_has_the_page() {
    let second = free_port();
    let agent = Agent::with(&[format!("--web.listen-address=localhost:{second}")]);
    for port in [agent.port, second] {
        assert_eq!(fetch(port, "/metrics?collect[]=loadavg").0, 200, "{port}");
    }
}
