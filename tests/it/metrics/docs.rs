//! docs/metrics.md is what the code says.

use std::path::Path;

use nodemend::collectors::TABLE;
use nodemend::report::metrics::{FAMILIES, signal_family};
use nodemend::scrape::docs::{SignalRow, render};
use nodemend::signal::Form;

#[test]
fn page_of_metrics_is_made_from_the_code() {
    let own: Vec<_> = FAMILIES
        .iter()
        .map(|one| (one.name, one.kind, one.help))
        .collect();
    let catalogue = nodemend::probes::catalogue();
    let signals: Vec<_> = catalogue
        .iter()
        .filter(|entry| entry.spec.form != Form::Text)
        .map(|entry| SignalRow {
            name: signal_family(entry.spec),
            label: entry.spec.per,
            help: entry.spec.help,
            source: entry.spec.source,
        })
        .collect();
    let made = render(TABLE, &own, &signals);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("docs/metrics.md");
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if made != known {
        let fresh = root.join("target/metrics.md");
        std::fs::write(&fresh, &made).unwrap();
        panic!(
            "docs/metrics.md is old; cp {} {}",
            fresh.display(),
            file.display()
        );
    }
}

#[test]
fn every_family_has_a_help_and_a_source() {
    for entry in TABLE {
        assert!(!entry.families.is_empty(), "{}", entry.name);
        for family in entry.families {
            assert!(
                !family.help.is_empty() && !family.source.is_empty(),
                "{}",
                family.name
            );
        }
    }
}

/// The families that interface.md promises, section 4, each by its name.
#[test]
fn every_promised_family_is_exported() {
    let promised = [
        "nodemend_build_info",
        "nodemend_signature_present",
        "nodemend_signature_unknown",
        "nodemend_cases",
        "nodemend_runs_total",
        "nodemend_step_duration_seconds",
        "nodemend_gate_blocking",
        "nodemend_gate_refusals_total",
        "nodemend_probe_up",
        "nodemend_probe_duration_seconds",
        "nodemend_log_lines_total",
        "nodemend_log_gaps_total",
        "nodemend_slot_held",
        "nodemend_slot_renewals_total",
        "nodemend_audit_records_total",
        "nodemend_audit_write_failures_total",
        "nodemend_api_requests_total",
        "nodemend_systemd_bus_serial",
        "nodemend_mode",
        "nodemend_config_last_reload_successful",
        // Issue 5: what a healer needs.
        "nodemend_systemd_bus_manager_answers",
        "nodemend_systemd_unit_restarts",
        "nodemend_certificate_days_left",
        "nodemend_headroom_conntrack_ratio",
        "nodemend_headroom_inotify_instances_ratio",
        "nodemend_headroom_inotify_watches_ratio",
        "nodemend_headroom_pids_ratio",
        "nodemend_headroom_file_handles_ratio",
        "nodemend_slice_pressure_cpu_waiting_ratio",
        "nodemend_slice_pressure_memory_stalled_ratio",
        "nodemend_slice_pressure_io_stalled_ratio",
    ];
    let catalogue = nodemend::probes::catalogue();
    let numbers = catalogue
        .iter()
        .filter(|entry| entry.spec.form != Form::Text);
    let mut known: Vec<String> = numbers.map(|entry| signal_family(entry.spec)).collect();
    known.extend(FAMILIES.iter().map(|family| family.name.to_owned()));
    for name in promised {
        assert!(known.iter().any(|one| one == name), "{name}");
    }
}
