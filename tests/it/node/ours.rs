//! Our page over a tree.

use std::path::Path;

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;

/// The collectors that this comparison is about.
pub const COLLECTORS: [&str; 32] = [
    "bcache",
    "bcachefs",
    "bonding",
    "btrfs",
    "buddyinfo",
    "cgroups",
    "cpufreq",
    "dmi",
    "dmmultipath",
    "edac",
    "fibrechannel",
    "hwmon",
    "infiniband",
    "interrupts",
    "ipvs",
    "ksmd",
    "mdadm",
    "mountstats",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "processes",
    "rapl",
    "slabinfo",
    "tapestats",
    "thermal_zone",
    "watchdog",
    "xfs",
    "zfs",
    "selinux",
];

/// A page of `collectors` over the tree at `root`.
pub fn scrape_page(root: &Path, collectors: &[&str]) -> ScrapePage {
    let roots = Roots::at(
        &root.join("proc"),
        &root.join("sys"),
        root,
        &root.join("udev"),
    );
    let mut settings = Settings::defaults(roots, TABLE);
    for entry in TABLE {
        let on = collectors.contains(&entry.name);
        settings.set(&format!("collector.{}", entry.name), &on.to_string());
    }
    ScrapePage::new(&settings, TABLE).unwrap()
}

/// The text of a page on which every collector answered in time: on a starved machine one may
/// be late, and the page says so.
pub fn settled(page: &mut ScrapePage) -> String {
    for _ in 0..20 {
        let text = String::from_utf8(page.render(&Selection::All).to_vec()).unwrap();
        if text.contains("\nnodemend_scrape_stuck_threads 0\n") {
            return text;
        }
    }
    panic!("a collector is stuck");
}

/// The text of one page, with the place of the tree taken out of it.
pub fn text(root: &Path, collectors: &[&str]) -> String {
    let mut page = scrape_page(root, collectors);
    settled(&mut page).replace(root.to_str().unwrap(), "ROOT")
}
