//! What node_exporter says of its own process, and of itself: dashboards show the one ("File Descriptors", "Processes
//! Memory") and find their nodes by the other.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::exposition::family::Family;
use crate::scrape::page::Contributor;

/// Its help is node_exporter's, which other families of this page follow, too.
const BUILD: Family = Family::gauge(
    "node_exporter_build_info",
    "A metric with a constant '1' value labeled by version, revision, branch, goversion from which node_exporter was built, and the goos and goarch for the build.",
)
.from("a constant")
.differs("version is that of the node_exporter that this page is like, branch is nodemend; dashboards find their nodes by this family");
const CPU: Family = Family::counter(
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
)
.from("/proc/self/stat")
.unit("seconds");
const MAX_FDS: Family = Family::gauge(
    "process_max_fds",
    "Maximum number of open file descriptors.",
)
.from("getrlimit(RLIMIT_NOFILE)");
const OPEN_FDS: Family =
    Family::gauge("process_open_fds", "Number of open file descriptors.").from("/proc/self/fd");
const RESIDENT: Family = Family::gauge(
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
)
.from("/proc/self/stat")
.unit("bytes");
const START: Family = Family::gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
)
.from("/proc/self/stat and btime of /proc/stat")
.unit("seconds");
const VIRTUAL: Family = Family::gauge(
    "process_virtual_memory_bytes",
    "Virtual memory size in bytes.",
)
.from("/proc/self/stat")
.unit("bytes");
const VIRTUAL_MAX: Family = Family::gauge(
    "process_virtual_memory_max_bytes",
    "Maximum amount of virtual memory available in bytes.",
)
.from("getrlimit(RLIMIT_AS)")
.unit("bytes");

/// The families of this file, in the page's order.
pub const FAMILIES: [Family; 8] = [
    BUILD,
    CPU,
    MAX_FDS,
    OPEN_FDS,
    RESIDENT,
    START,
    VIRTUAL,
    VIRTUAL_MAX,
];

/// The node_exporter that the page is like.
const MODEL: &str = "1.12.1";
/// Ticks in a second, of user space (USER_HZ): 100 on every architecture that Linux still has.
const TICKS: f64 = 100.0;
/// A line of `/proc/self/stat` has about 300 bytes.
const MAX_STAT_BYTES: usize = 1024;

/// This process, as it is now.
#[derive(Debug)]
pub struct OwnProcess {
    stat: File,
    page_bytes: f64,
    boot_seconds: f64,
    /// Rendered once.
    build: String,
}

impl OwnProcess {
    /// Opens what is read on every page.
    ///
    /// *Errors*: there is no procfs at `/proc`.
    pub fn open() -> io::Result<OwnProcess> {
        let boot = std::fs::read_to_string("/proc/stat")?;
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        Ok(OwnProcess {
            stat: File::open("/proc/self/stat")?,
            page_bytes: page_bytes.map_or(4096.0, |bytes| bytes as f64),
            build: build_labels(),
            boot_seconds: boot.and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
    }

    /// What is shown of each family; `None` for what cannot be read now.
    fn values(&self) -> [Option<f64>; FAMILIES.len()] {
        let mut bytes = [0; MAX_STAT_BYTES];
        let length = self.stat.read_at(&mut bytes, 0).unwrap_or_default();
        let stat = bytes.get(..length).and_then(Stat::parse);
        let limit = |resource| {
            let (soft, _) = getrlimit(resource).ok()?;
            // As Go prints what has no limit: 2^64 - 1.
            Some(if soft == RLIM_INFINITY {
                u64::MAX as f64
            } else {
                soft as f64
            })
        };
        [
            Some(1.0),
            stat.as_ref().map(|stat| stat.cpu_ticks / TICKS),
            limit(Resource::RLIMIT_NOFILE),
            open_files(),
            stat.as_ref()
                .map(|stat| stat.resident_pages * self.page_bytes),
            stat.as_ref()
                .map(|stat| self.boot_seconds + stat.start_ticks / TICKS),
            stat.as_ref().map(|stat| stat.virtual_bytes),
            limit(Resource::RLIMIT_AS),
        ]
    }
}

impl Contributor for OwnProcess {
    /// *Cost*: one read, one stat and two calls for limits; before Linux 6.2 one directory is listed.
    fn contribute(&mut self, out: &mut String) {
        for (family, value) in FAMILIES.iter().zip(self.values()) {
            let Some(value) = value else { continue };
            let (name, help, kind) = (family.name, family.help, family.kind.word());
            let labels = if *name == *BUILD.name {
                self.build.as_str()
            } else {
                ""
            };
            let written = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}"
            );
            debug_assert!(written.is_ok(), "a String takes everything");
        }
    }
}

fn build_labels() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{{branch=\"nodemend\",goarch=\"{arch}\",goos=\"linux\",version=\"{MODEL}\"}}")
}

/// How many files are open: since Linux 6.2 the directory's size, before that its entries.
fn open_files() -> Option<f64> {
    let place = Path::new("/proc/self/fd");
    let size = std::fs::metadata(place).ok()?.size();
    if size > 0 {
        return Some(size as f64);
    }
    // The directory itself is open while it is listed.
    let listed = std::fs::read_dir(place).ok()?.count();
    Some(listed.saturating_sub(1) as f64)
}

/// The fields of `/proc/self/stat` that are shown (proc(5)).
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &[u8]) -> Option<Stat> {
        let text = std::str::from_utf8(text).ok()?;
        // The name in parentheses may hold blanks; state is the first field behind it, and the third of all.
        let (_, behind) = text.rsplit_once(") ")?;
        let fields = behind.split_ascii_whitespace();
        let number = |field: usize| fields.clone().nth(field - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_ticks: number(14)? + number(15)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, OwnProcess, Stat};
    use crate::scrape::page::Contributor;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_move_the_fields() {
        let line = b"7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1234 8192 3 18446744073709551615 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (300.0, 1234.0));
        assert_eq!((stat.virtual_bytes, stat.resident_pages), (8192.0, 3.0));
        for broken in [&b""[..], b"7 (a S", b"7 (a) S 1 2 3", b"7 (a) S x"] {
            assert!(Stat::parse(broken).is_none());
        }
    }

    #[test]
    fn this_process_is_shown_as_it_is() {
        let mut own = OwnProcess::open().unwrap();
        let mut page = String::new();
        own.contribute(&mut page);
        let value = |name: &str| -> f64 {
            let line = page
                .lines()
                .find(|line| line.split([' ', '{']).next() == Some(name));
            line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
        };
        for family in FAMILIES {
            assert!(value(family.name) > 0.0, "{page}");
        }
        let now = crate::host::clock::since_1970().as_secs_f64();
        assert!((now - value("process_start_time_seconds")).abs() < 24.0 * 3600.0);
        assert!(value("process_resident_memory_bytes") < value("process_virtual_memory_bytes"));
        let before = value("process_open_fds");
        assert!(before >= 3.0 && before <= value("process_max_fds"));
    }
}
