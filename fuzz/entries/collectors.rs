//! The collectors over broken trees, the textfile format, and the page on its way out.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::collectors::text_format;
use nodemend::exposition::gzip::Gzip;
use nodemend::exposition::openmetrics;
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;

use super::{Entry, file, root};

#[allow(
    clippy::duplicate_mod,
    reason = "the tests' reader of fixture trees, which the tests have too"
)]
#[path = "../../tests/it/node/tree.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod tree;

/// One file of `/proc` or `/sys` is replaced, and the collectors that read it are asked.
pub const FILES: Entry = Entry {
    name: "collectors",
    rounds: 300,
    seeds: || BENCH.with(|bench| bench.borrow().seeds()),
    run: |bytes| BENCH.with(|bench| bench.borrow_mut().run(bytes)),
};

/// What node_exporter's textfile collector takes.
pub const TEXTFILE: Entry = Entry {
    name: "textfile",
    rounds: 2_000,
    seeds: || vec![file("tests/fixtures/node/expected-1.12.1.prom")[..4096].to_vec()],
    run: |bytes| {
        if let Ok(families) = text_format::parse(bytes) {
            assert!(families.len() <= bytes.len());
        }
    },
};

/// A page, which may hold what a textfile or a device put there, as OpenMetrics and packed.
pub const PAGE: Entry = Entry {
    name: "page",
    rounds: 2_000,
    seeds: || vec![file("tests/fixtures/node/expected-1.12.1.prom")[..4096].to_vec()],
    run: |bytes| {
        let mut out = Vec::new();
        openmetrics::convert(bytes, &mut out);
        assert!(
            out.len() <= 8 * bytes.len() + 64,
            "{} of {}",
            out.len(),
            bytes.len()
        );
        assert!(out.ends_with(b"# EOF\n"));
        let packed = Gzip::default().compress(bytes).map(<[u8]>::len);
        assert!(packed.is_some_and(|len| len <= bytes.len() + bytes.len() / 8 + 128));
    },
};

/// Which collectors read what: the beginning of a path, and their names.
const READERS: &[(&str, &[&str])] = &[
    ("proc/1/mountinfo", &["filesystem"]),
    ("proc/self/mountstats", &["mountstats"]),
    ("proc/cgroups", &["cgroups"]),
    ("proc/buddyinfo", &["buddyinfo"]),
    ("proc/cpuinfo", &["cpu"]),
    ("proc/diskstats", &["diskstats"]),
    ("proc/interrupts", &["interrupts"]),
    ("proc/loadavg", &["loadavg"]),
    ("proc/mdstat", &["mdadm"]),
    ("proc/meminfo", &["meminfo"]),
    ("proc/net/arp", &["arp"]),
    ("proc/net/dev", &["netdev"]),
    ("proc/net/ip_vs", &["ipvs"]),
    ("proc/net/netstat", &["netstat"]),
    ("proc/net/snmp", &["netstat"]),
    ("proc/net/sockstat", &["sockstat"]),
    ("proc/net/softnet", &["softnet"]),
    ("proc/net/stat/nf_conntrack", &["conntrack"]),
    ("proc/net/udp", &["udp_queues"]),
    ("proc/net/rpc/nfs", &["nfs", "nfsd"]),
    ("proc/pressure", &["pressure"]),
    ("proc/schedstat", &["schedstat"]),
    ("proc/slabinfo", &["slabinfo"]),
    ("proc/spl", &["zfs"]),
    ("proc/stat", &["stat", "cpu"]),
    (
        "proc/sys",
        &["filefd", "entropy", "conntrack", "netstat", "processes"],
    ),
    ("proc/vmstat", &["vmstat"]),
    ("proc/fs/xfs", &["xfs"]),
    ("proc/", &["processes"]),
    ("sys/class/bonding", &["bonding"]),
    ("sys/class/dmi", &["dmi"]),
    ("sys/class/fc_host", &["fibrechannel"]),
    ("sys/class/hwmon", &["hwmon"]),
    ("sys/class/infiniband", &["infiniband"]),
    ("sys/class/net", &["netclass", "bonding"]),
    ("sys/class/nvme", &["nvme"]),
    ("sys/class/power_supply", &["powersupplyclass"]),
    ("sys/class/powercap", &["rapl"]),
    ("sys/class/scsi_tape", &["tapestats"]),
    ("sys/class/thermal", &["thermal_zone"]),
    ("sys/class/watchdog", &["watchdog"]),
    ("sys/devices/system/cpu", &["cpu", "cpufreq"]),
    ("sys/devices/system/edac", &["edac"]),
    (
        "sys/devices",
        &["hwmon", "bonding", "netclass", "tapestats", "thermal_zone"],
    ),
    ("sys/fs/btrfs", &["btrfs"]),
    ("sys/fs/xfs", &["xfs"]),
    ("sys/fs/selinux", &["selinux"]),
    ("sys/kernel/mm/ksm", &["ksmd"]),
    ("sys/block", &["mdadm", "diskstats"]),
    ("etc/os-release", &["os"]),
    ("usr/lib/os-release", &["os"]),
];

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

/// A tree of real captures with every collector over it.
struct Bench {
    dir: tempfile::TempDir,
    /// Each file with the collectors that read it.
    files: Vec<(PathBuf, &'static [&'static str])>,
    page: ScrapePage,
}

impl Bench {
    fn new() -> Bench {
        // In memory: an input costs a few hundred opens.
        let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
        for name in tree::TREES {
            let text = file(&format!("tests/fixtures/node/{name}.tree"));
            tree::unpack(&String::from_utf8(text).expect("text"), dir.path());
        }
        copy(&root().join("tests/fixtures/metrics/server"), dir.path());
        let mut files = Vec::new();
        list(dir.path(), dir.path(), &mut files);
        // Sixty devices of one kind have the same files; a few of each are enough.
        let mut counts = std::collections::BTreeMap::new();
        files.retain(|(path, readers)| {
            let name = path.file_name().map(|name| name.to_owned());
            let count = counts.entry((name, *readers)).or_insert(0);
            *count += 1;
            *count <= 1
        });
        let place = |name: &str| dir.path().join(name);
        let udev = place("run/udev/data");
        let roots = Roots::at(&place("proc"), &place("sys"), dir.path(), &udev);
        let mut settings = Settings::defaults(roots, TABLE);
        for entry in TABLE {
            // These ask this machine and not the tree.
            let asks_tree = !matches!(entry.name, "systemd" | "tcpstat" | "qdisc" | "textfile");
            settings.set(&format!("collector.{}", entry.name), &asks_tree.to_string());
        }
        let page = ScrapePage::new(&settings, TABLE).expect("collectors");
        Bench { dir, files, page }
    }

    /// The content of each file behind two bytes that choose it.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let seed = |(number, (path, _)): (usize, &(PathBuf, &'static [&'static str]))| {
            let mut seed = (number as u16).to_le_bytes().to_vec();
            seed.extend(std::fs::read(self.dir.path().join(path)).expect("a file"));
            seed
        };
        self.files.iter().enumerate().map(seed).collect()
    }

    fn run(&mut self, bytes: &[u8]) {
        let Some((number, content)) = bytes.split_first_chunk::<2>() else {
            return;
        };
        let number = usize::from(u16::from_le_bytes(*number)) % self.files.len();
        let (path, readers) = &self.files[number];
        let path = self.dir.path().join(path);
        let before = std::fs::read(&path).expect("a file");
        std::fs::write(&path, content).expect("written");
        let page = self.page.render(&Selection::Only(readers.to_vec()));
        // Sixty series of 250 bytes for every byte would be a parser that makes things up.
        let most = 2 * 1024 * 1024 + 1024 * content.len();
        assert!(
            page.len() < most,
            "{} bytes from {}",
            page.len(),
            content.len()
        );
        assert!(std::str::from_utf8(page).is_ok(), "a page that is no text");
        for line in page.split(|byte| *byte == b'\n') {
            let is_comment = line.first().is_none_or(|byte| *byte == b'#');
            assert!(is_comment || line.contains(&b' '), "a line without value");
        }
        std::fs::write(&path, before).expect("written");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if !target.exists() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The files below `dir` that a collector reads; links are left out.
fn list(top: &Path, dir: &Path, found: &mut Vec<(PathBuf, &'static [&'static str])>) {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        let below = path.strip_prefix(top).expect("below").to_path_buf();
        let text = below.to_string_lossy();
        let readers = READERS.iter().find(|(start, _)| text.starts_with(start));
        if kind.is_dir() {
            list(top, &path, found);
        } else if let Some((_, readers)) = readers.filter(|_| kind.is_file()) {
            found.push((below, readers));
        }
    }
}
