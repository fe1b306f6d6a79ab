//! The collector `systemd` against a fake PID 1 with units of the test's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::collectors::{Sources, TABLE, Turn, systemd};
use nodemend::exposition::page::Page;
use nodemend::host::systemd::unit_path;
use zvariant::{ObjectPath, Value as Variant};

use super::fake::{Manner, Script, machine, private, private_with};
use super::wire::{Asked, Kind, message};

const UNITS: [(&str, &str, &str); 5] = [
    ("ssh.service", "loaded", "active"),
    ("gone.service", "not-found", "inactive"),
    ("apt.timer", "loaded", "failed"),
    ("dbus.socket", "loaded", "active"),
    ("home.mount", "loaded", "active"),
];

fn value(asked: &Asked) -> Option<Variant<'static>> {
    let is = |name: &str| asked.mentions(name);
    let of = |unit: &str| asked.mentions(&unit_path(unit));
    Some(match () {
        () if of("ssh.service") && is("NRestarts") => Variant::from(3_u32),
        () if of("ssh.service") && is("TasksCurrent") => Variant::from(12_u64),
        () if of("ssh.service") && is("TasksMax") => Variant::from(u64::MAX),
        () if of("ssh.service") && is("Type") => Variant::from("notify"),
        () if of("ssh.service") && is("ActiveEnterTimestamp") => Variant::from(7_500_000_u64),
        () if of("apt.timer") && is("LastTriggerUSec") => Variant::from(9_000_000_u64),
        () if of("dbus.socket") && is("NAccepted") => Variant::from(4_u32),
        () if of("dbus.socket") && is("NConnections") => Variant::from(1_u32),
        () if is("Virtualization") => Variant::from(""),
        () if is("Version") => Variant::from("252.39-1~deb12u1"),
        () if is("SystemState") => Variant::from("degraded"),
        () => return None,
    })
}

fn script() -> Script {
    Arc::new(|asked, out, serial| {
        let path = || ObjectPath::try_from("/a").expect("a path");
        let answer = if asked.member.starts_with("ListUnits") {
            let rows: Vec<_> = UNITS
                .iter()
                .map(|(name, load, active)| {
                    (*name, "", *load, *active, "", "", path(), 0_u32, "", path())
                })
                .collect();
            message(&Kind::Return, serial, asked.serial, ":1.0", &(rows,))
        } else if let Some(value) = value(asked) {
            message(&Kind::Return, serial, asked.serial, ":1.0", &(value,))
        } else {
            let name = "org.freedesktop.DBus.Error.UnknownProperty";
            message(&Kind::Error(name), serial, asked.serial, ":1.0", &("no",))
        };
        out.extend(answer);
    })
}

/// The page and the kind of error, from a thread that may wait.
async fn collect(root: &Path) -> (String, Option<&'static str>) {
    let roots = Roots::at(root, root, root, root);
    let mut settings = Settings::defaults(roots.clone(), TABLE);
    for flag in ["task", "restarts", "start-time"] {
        settings.set(&format!("collector.systemd.enable-{flag}-metrics"), "true");
    }
    let work = move || {
        let mut collector = (systemd::ENTRY.open)(&settings, &Sources::new(roots)).unwrap();
        let (mut page, mut scratch) = (Page::new(), Vec::new());
        let mut turn = Turn {
            page: &mut page,
            scratch: &mut scratch,
            number: 1,
            epoch: 1,
            wall: Duration::ZERO,
            monotonic: Duration::ZERO,
        };
        let result = collector.collect(&mut turn);
        let text = String::from_utf8(page.text().to_vec()).unwrap();
        (text, result.err().map(|error| error.kind()))
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn units_are_shown_as_node_exporter_shows_them() {
    let (folder, host) = machine();
    let _pid1 = private_with(&host, script());
    let (text, error) = collect(folder.path()).await;
    assert_eq!(error, None);
    for line in [
        "node_systemd_unit_state{name=\"ssh.service\",state=\"active\",type=\"notify\"} 1",
        "node_systemd_unit_state{name=\"ssh.service\",state=\"failed\",type=\"notify\"} 0",
        "node_systemd_unit_state{name=\"apt.timer\",state=\"failed\",type=\"\"} 1",
        "node_systemd_units{state=\"active\"} 3",
        "node_systemd_units{state=\"failed\"} 1",
        "node_systemd_units{state=\"activating\"} 0",
        "node_systemd_version{version=\"252.39-1~deb12u1\"} 252.39",
        "node_systemd_virtualization_info{virtualization_type=\"none\"} 1",
        "node_systemd_system_running 0",
        "node_systemd_timer_last_trigger_seconds{name=\"apt.timer\"} 9",
        "node_systemd_socket_accepted_connections_total{name=\"dbus.socket\"} 4",
        "node_systemd_socket_current_connections{name=\"dbus.socket\"} 1",
        "node_systemd_service_restart_total{name=\"ssh.service\"} 3",
        "node_systemd_unit_start_time_seconds{name=\"ssh.service\"} 7.5",
        "node_systemd_unit_start_time_seconds{name=\"apt.timer\"} 0",
        "node_systemd_unit_tasks_current{name=\"ssh.service\"} 12",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Not loaded, excluded by default, a property that this version has not, and no limit.
    for word in ["gone.service", "home.mount", "refused", "tasks_max"] {
        assert!(!text.contains(word), "{word}\n{text}");
    }
}

#[tokio::test]
async fn a_mute_or_garbled_pid1_costs_its_families_and_no_more_than_the_limit() {
    for manner in [
        Manner::SilentCalls,
        Manner::SilentGreeting,
        Manner::ClosesAtCall,
        Manner::GarbledAnswer,
        Manner::HugeAnswer,
    ] {
        let (folder, host) = machine();
        let _pid1 = private(&host, &[manner]);
        let (text, error) = collect(folder.path()).await;
        assert_eq!(error, Some("system"), "{manner:?}\n{text}");
        assert!(!text.contains("unit_state"), "{manner:?}");
    }
}

#[tokio::test]
async fn a_machine_without_systemd_has_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let (text, error) = collect(folder.path()).await;
    assert_eq!((text.as_str(), error), ("", Some("no-data")));
}
