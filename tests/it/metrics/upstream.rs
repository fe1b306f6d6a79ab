//! The fixtures that node_exporter and exporter-toolkit test themselves with, and what they expect of them: fetched as the Go
//! modules of the releases, so that nothing of them lies here. Needs go, as the
//! control plane of the cluster tests does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::web_config::WebConfig;

use super::page::{Parsed, render};

/// The newest release that the figures and the other comparisons are about.
const MODULE: &str = "github.com/prometheus/node_exporter@v1.12.1";
/// The library whose web configuration is ours too.
const TOOLKIT: &str = "github.com/prometheus/exporter-toolkit@v0.17.1";
/// Web configurations of its tests that ours takes otherwise than its name says, and why.
const TAKEN_OTHERWISE: [(&str, &str); 4] = [
    (
        "web_config_noAuth.good.blocking.yml",
        "nobody would get in: refused at once",
    ),
    (
        "web_config_noAuth_someCurves.good.yml",
        "only P-521, which rustls has not with ring",
    ),
    (
        "web_config_noAuth_noHTTP2Cipher.bad.yml",
        "bad for HTTP/2, which ours does not speak",
    ),
    (
        "web_config_auth_client_san.bad.yaml",
        "bad for the client that comes, not for the server",
    ),
];
/// The archives of its trees.
const ARCHIVES: [&str; 2] = ["sys.ttar", "udev.ttar"];

/// The settings under which its expected page was written (`end-to-end-test.sh` of the module), of those that ours knows.
const SETTINGS: [(&str, &str); 14] = [
    ("collector.arp.device-exclude", "nope"),
    ("collector.arp.netlink", "false"),
    ("collector.bcache.priorityStats", "true"),
    ("collector.cpu.info", "true"),
    (
        "collector.cpu.info.bugs-include",
        "^(cpu_meltdown|spectre_.*|mds)$",
    ),
    (
        "collector.cpu.info.flags-include",
        "^(aes|avx.?|constant_tsc)$",
    ),
    (
        "collector.hwmon.chip-include",
        "(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)",
    ),
    ("collector.netclass.ignore-invalid-speed", "true"),
    ("collector.netclass.ignored-devices", "(dmz|int)"),
    ("collector.netdev.device-include", "lo"),
    ("collector.stat.softirq", "true"),
    ("collector.selinux", "false"),
    ("collector.filesystem", "false"),
    ("collector.timex", "false"),
];
/// Collectors of ours that are off by default and on in the expected page.
const SWITCHED_ON: [&str; 8] = [
    "buddyinfo",
    "cgroups",
    "interrupts",
    "ksmd",
    "mountstats",
    "processes",
    "slabinfo",
    "tcpstat",
];

/// Families of the expected page that ours has not, and why.
const NOT_OURS: [(&str, &str); 19] = [
    ("go_", "node_exporter's own process"),
    ("process_", "node_exporter's own process"),
    ("promhttp_", "node_exporter's own process"),
    ("node_exporter_build_info", "node_exporter's own process"),
    ("node_cpu_vulnerabilities_", "off by default, not built"),
    ("node_drbd_", "off by default, not built"),
    ("node_lnstat_", "off by default, not built"),
    ("node_memory_numa_", "off by default, not built"),
    ("node_pcidevice_", "off by default, not built"),
    ("node_softirqs_", "off by default, not built"),
    ("node_sysctl_", "off by default, not built"),
    ("node_wifi_", "off by default, not built"),
    ("node_xfrm_", "off by default, not built"),
    ("node_zoneinfo_", "off by default, not built"),
    ("node_qdisc_", "asked of the kernel, not of fixtures"),
    // Ours reads the tree's net/dev, which is not there: the machine's own links would not be the tree's.
    ("node_network_receive_", "asked of the machine's own kernel"),
    (
        "node_network_transmit_",
        "asked of the machine's own kernel",
    ),
    ("node_time_", "the present time"),
    ("node_scrape_collector_", "of this scrape"),
];
/// Families of ours that the expected page has not.
const ONLY_OURS: [&str; 3] = ["nodemend_", "node_tcp_connection_states", "node_uname_info"];

#[test]
fn node_exporters_own_fixtures_give_the_page_that_it_expects() {
    let module = fetched(MODULE);
    let tree = unpacked(&module.join("collector/fixtures"));
    let expected = fs::read_to_string(tree.path().join("e2e-output.txt")).unwrap();
    let expected = Parsed::of(&expected);
    // There the trees lie below the directory that it was written in.
    let ours = render(&settings(tree.path()));
    let ours = Parsed::of(&ours.replace(tree.path().to_str().unwrap(), "collector/fixtures"));

    let is_left_out = |name: &str| NOT_OURS.iter().any(|(part, _)| name.starts_with(part));
    let is_extra = |name: &str| ONLY_OURS.iter().any(|part| name.starts_with(part));
    let mut differences = Vec::new();
    let mut same = 0;
    for ((name, labels), value) in &expected.series {
        let of_us = ours.series.get(&(name.clone(), labels.clone()));
        let is_same = of_us.is_some_and(|of_us| is_near(*of_us, *value));
        same += usize::from(is_same);
        if !is_same && !is_left_out(name) && !name.ends_with("mtime_seconds") {
            differences.push(format!("{name}{labels:?}: {value} there, {of_us:?} here"));
        }
    }
    for (name, labels) in ours.series.keys() {
        let is_known = expected
            .series
            .contains_key(&(name.clone(), labels.clone()));
        if !is_known && !is_left_out(name) && !is_extra(name) && !name.ends_with("mtime_seconds") {
            differences.push(format!("{name}{labels:?}: only here"));
        }
    }
    for (name, entry) in &expected.families {
        let of_us = ours.families.get(name);
        if of_us.is_some_and(|of_us| of_us != entry) {
            differences.push(format!("{name}: {entry:?} there, {of_us:?} here"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(same > 2_400, "only {same} series were compared");
}

/// Sums of floating-point numbers end in other last digits.
fn is_near(ours: f64, theirs: f64) -> bool {
    ours == theirs
        || (ours - theirs).abs() <= theirs.abs() * 1e-12
        || (ours.is_nan() && theirs.is_nan())
}

fn settings(tree: &Path) -> Settings {
    let roots = Roots::at(
        &tree.join("proc"),
        &tree.join("sys"),
        tree,
        &tree.join("udev/data"),
    );
    let mut settings = Settings::defaults(roots, TABLE);
    for name in SWITCHED_ON {
        settings.set(&format!("collector.{name}"), "true");
    }
    for (flag, value) in SETTINGS {
        settings.set(flag, value);
    }
    let texts = tree.join("textfile/two_metric_files/");
    settings.set("collector.textfile.directory", texts.to_str().unwrap());
    settings
}

#[test]
fn node_exporters_own_textfiles_give_what_it_expects() {
    let tree = unpacked(&fetched(MODULE).join("collector/fixtures"));
    let texts = tree.path().join("textfile");
    let mut compared = 0;
    for entry in fs::read_dir(&texts).unwrap() {
        let expected = entry.unwrap().path();
        if expected.extension().is_none_or(|end| end != "out") {
            continue;
        }
        let dir = match expected.file_stem().unwrap().to_str().unwrap() {
            "glob_extra_dimension" => texts.join("*_extra_dimension"),
            name => texts.join(name),
        };
        let mut settings = Settings::defaults(Roots::host(), TABLE);
        for entry in TABLE {
            let is_on = entry.name == "textfile";
            settings.set(&format!("collector.{}", entry.name), &is_on.to_string());
        }
        settings.set("collector.textfile.directory", dir.to_str().unwrap());
        let ours = render(&settings).replace(tree.path().to_str().unwrap(), "fixtures");
        let mut ours = Parsed::of(&ours);
        let mut expected = Parsed::of(&fs::read_to_string(&expected).unwrap());
        for page in [&mut ours, &mut expected] {
            page.families
                .retain(|name, _| !name.contains("_scrape_collector_") && !name.contains("stuck"));
            page.series.retain(|(name, _), value| {
                if name.ends_with("mtime_seconds") {
                    *value = 1.0;
                }
                // Go's client fills in sums and counts that a summary does not have.
                let is_filled_in =
                    *value == 0.0 && (name.ends_with("_sum") || name.ends_with("_count"));
                !is_filled_in && !name.contains("_scrape_collector_") && !name.contains("stuck")
            });
        }
        assert_eq!(ours.families, expected.families, "{}", dir.display());
        assert_eq!(ours.series, expected.series, "{}", dir.display());
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} were compared");
}

#[test]
fn exporter_toolkits_own_web_configurations_are_taken_and_refused_as_there() {
    let fixtures = fetched(TOOLKIT).join("web/testdata");
    let (mut taken, mut refused) = (0, 0);
    for entry in fs::read_dir(&fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_good = name.contains(".good.");
        if !is_good && !name.contains(".bad.") {
            continue;
        }
        let loaded = WebConfig::load(&path);
        let is_otherwise = TAKEN_OTHERWISE.iter().any(|(known, _)| *known == name);
        assert_eq!(
            loaded.is_ok() != is_otherwise,
            is_good,
            "{name}: {loaded:?}"
        );
        *if loaded.is_ok() {
            &mut taken
        } else {
            &mut refused
        } += 1;
    }
    assert!(
        taken >= 12 && refused >= 15,
        "{taken} taken, {refused} refused"
    );
}

/// Where the module lies; fetched if it is not there.
fn fetched(module: &str) -> PathBuf {
    let elsewhere = tempfile::tempdir().unwrap();
    let out = Command::new("go")
        .args(["mod", "download", "-json", module])
        .current_dir(elsewhere.path())
        .output()
        .unwrap_or_else(|error| panic!("go: {error}; https://go.dev/dl, 1.24 or newer"));
    let told: serde_json::Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    let dir = told["Dir"].as_str().unwrap_or_else(|| panic!("{told}"));
    PathBuf::from(dir)
}

/// The trees of the module in a directory of our own.
fn unpacked(fixtures: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-r", "--no-preserve=mode", "--"])
        .arg(fixtures.join("."))
        .arg(dir.path())
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "cp failed");
    for archive in ARCHIVES {
        let text = fs::read_to_string(fixtures.join(archive)).unwrap();
        unpack(&text, dir.path());
    }
    // A Go module carries no symbolic links; this one is in the repository.
    symlink("10", dir.path().join("proc/self")).unwrap();
    dir
}

/// Unpacks a `ttar` archive: a key and its value a line, and after `Lines: n` so many lines of the file.
fn unpack(text: &str, root: &Path) {
    let mut lines = text.lines();
    let mut path = root.to_owned();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(": ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        match key {
            "Directory" => fs::create_dir_all(root.join(value)).unwrap(),
            "Path" => {
                path = root.join(value);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
            }
            "SymlinkTo" => symlink(value, &path).unwrap(),
            "Lines" => {
                let mut content = String::new();
                for line in lines.by_ref().take(value.parse().unwrap()) {
                    content += &line.replace("NULLBYTE", "\0");
                    // The mark of a last line without an end.
                    match content.strip_suffix("EOF") {
                        Some(bare) => content.truncate(bare.len()),
                        None => content.push('\n'),
                    }
                }
                fs::write(&path, content).unwrap();
            }
            _ => {}
        }
    }
}
