//! `nodemend status` and the summary that a starting agent prints.

use super::paint::Paint;
use crate::report::model::StatusView;

/// The agent in a few lines.
pub fn render_status(status: &StatusView, paint: Paint) -> String {
    let place = if status.standalone {
        "standalone"
    } else {
        "cluster"
    };
    let mode = match status.mode.as_str() {
        "observe" => "observe mode: it reports, and touches nothing".to_owned(),
        mode => format!("{mode} mode, up to disruption {}", status.allow),
    };
    let mut out = format!(
        "{} {} · {place} · {mode}\n",
        paint.bold("nodemend"),
        status.version
    );
    let mut line = |word: &str, text: &str| out.push_str(&format!("  {word:<9} {text}\n"));
    let sees: Vec<String> = status
        .probes
        .iter()
        .map(|probe| match probe.state.as_str() {
            "healthy" => format!("{} {}", probe.title, paint.good("✓")),
            "unsupported" => format!("{} –", probe.title),
            "starting" => format!("{} …", probe.title),
            state => format!("{} {}", probe.title, paint.bad(&format!("✗ {state}"))),
        })
        .collect();
    line("sees", &sees.join("  "));
    for probe in status.probes.iter().filter(|probe| !probe.why.is_empty()) {
        line("", &paint.dim(&format!("{}: {}", probe.title, probe.why)));
    }
    line(
        "metrics",
        &format!("{}        audit  {}", status.metrics, status.audit),
    );
    for trouble in &status.trouble {
        line("trouble", &paint.bad(trouble));
    }
    if let Some(reason) = &status.paused {
        line("paused", reason);
    }
    let [present, absent, unknown] = status.verdicts;
    let found = match present {
        0 => "nothing wrong".to_owned(),
        1 => paint.bad("1 signature present"),
        more => paint.bad(&format!("{more} signatures present")),
    };
    line(
        "found",
        &format!("{found}, {absent} signatures fine, {unknown} cannot tell here (nodemend check)"),
    );
    if status.cases > 0 {
        line(
            "cases",
            &format!("{} open (nodemend cases; nodemend explain)", status.cases),
        );
    }
    if let Some(run) = &status.run {
        line("run", run);
    }
    out
}
