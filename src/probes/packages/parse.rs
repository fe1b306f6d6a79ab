//! The databases of dpkg and rpm: text -> installed packages.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Packages that rules and tables ask for. A name that ends in `*` stands for all that begin with it.
pub const WATCHED: &[&str] = &[
    "systemd",
    "dbus",
    "dbus-daemon",
    "dbus-broker",
    "kubelet",
    "containerd",
    "containerd.io",
    "runc",
    "cri-o",
    "linux-image*",
    "kernel",
    "kernel-core",
];

/// The longest line of a status file that is looked at. Real ones have a few kilobytes.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// How many packages are kept: a machine that never removes old kernels has a few dozen.
const MAX_PACKAGES: usize = 256;

/// Installed packages, name to version. Of several versions of one package (kernels) the one read last is kept.
pub type Installed = BTreeMap<String, String>;

/// Whether `name` is watched.
pub fn is_watched(name: &str) -> bool {
    WATCHED
        .iter()
        .any(|watched| match watched.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *watched == name,
        })
}

/// Reads dpkg's status file line by line and keeps the watched packages that are installed.
///
/// A package that is unpacked or half configured counts: its files are on the disk. A stanza that cannot be understood
/// is left out.
///
/// # Errors
/// Reading failed. *Cost*: 1 ms for 700 KB on an optimised build.
pub fn read_dpkg_status(mut file: impl BufRead) -> io::Result<Installed> {
    let mut installed = Installed::new();
    let mut stanza = Stanza::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = file
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') && length as u64 == MAX_LINE_BYTES {
            skip_line(&mut file)?;
        }
        let text = line.trim_ascii_end();
        if text.is_empty() {
            std::mem::take(&mut stanza).keep_in(&mut installed);
            if length == 0 {
                return Ok(installed);
            }
            continue;
        }
        stanza.read(text);
    }
}

fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = file.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        file.consume(length);
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct Stanza {
    package: Option<String>,
    status: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
}

impl Stanza {
    fn read(&mut self, line: &[u8]) {
        let field = |name: &str| {
            let (head, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            if !head.eq_ignore_ascii_case(name.as_bytes()) {
                return None;
            }
            let value = std::str::from_utf8(value).ok()?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        match line.first() {
            Some(b'P' | b'p') if self.package.is_none() => self.package = field("Package"),
            Some(b'S' | b's') if self.status.is_none() => self.status = field("Status"),
            Some(b'V' | b'v') if self.version.is_none() => self.version = field("Version"),
            Some(b'A' | b'a') if self.architecture.is_none() => {
                self.architecture = field("Architecture");
            }
            _ => {}
        }
    }

    fn keep_in(self, installed: &mut Installed) {
        let (Some(package), Some(status), Some(version)) =
            (self.package, self.status, self.version)
        else {
            return;
        };
        // The third word is what is on the disk: `install ok installed`.
        let present = matches!(
            status.split_ascii_whitespace().nth(2),
            Some(
                "installed"
                    | "unpacked"
                    | "half-configured"
                    | "triggers-awaited"
                    | "triggers-pending"
            )
        );
        if present && is_watched(&package) && is_plain(&version) && installed.len() < MAX_PACKAGES {
            installed.insert(package, version);
        }
    }
}

/// Versions are printable and without spaces; anything else is a broken database.
fn is_plain(version: &str) -> bool {
    version.len() <= 256 && version.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads rpm's answer, a line `NAME EPOCH:VERSION-RELEASE INSTALLTIME` for each package, and keeps the watched packages. Of several versions of one package (kernels)
/// the one that was installed last is kept.
pub fn read_rpm_answer(text: &str) -> Installed {
    let mut installed: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, evr, time] = words[..] else {
            continue;
        };
        let Ok(time) = time.parse::<u64>() else {
            continue;
        };
        let is_new = installed.contains_key(name) || installed.len() < MAX_PACKAGES;
        if is_watched(name) && is_plain(evr) && evr.contains('-') && is_new {
            let kept = installed.entry(name).or_insert((time, evr));
            if time >= kept.0 {
                *kept = (time, evr);
            }
        }
    }
    let plain = |evr: &str| evr.strip_prefix("0:").unwrap_or(evr).to_owned();
    installed
        .into_iter()
        .map(|(name, (_, evr))| (name.to_owned(), plain(evr)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = include_str!("../../../tests/fixtures/packages/debian12-status.txt");
    const RPM: &str = include_str!("../../../tests/fixtures/packages/centos7-rpm.txt");

    fn dpkg(text: &[u8]) -> Installed {
        read_dpkg_status(text).expect("memory does not fail")
    }

    #[test]
    fn the_watched_packages_of_a_real_status_file_are_found() {
        let installed = dpkg(STATUS.as_bytes());
        let expected = [
            ("dbus", "1.14.10-1~deb12u1"),
            ("dbus-daemon", "1.14.10-1~deb12u1"),
            ("systemd", "252.39-1~deb12u2"),
        ];
        let found: Vec<(&str, &str)> = installed.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_newest_kernel_of_an_rpm_machine_is_kept() {
        let installed = read_rpm_answer(RPM);
        let found: Vec<(&str, &str)> = installed.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            found,
            [
                ("dbus", "1:1.10.24-13.el7_6"),
                ("kernel", "3.10.0-957.21.3.el7"),
                ("kubelet", "1.14.3-0"),
                ("systemd", "219-62.el7_6.9"),
            ]
        );
    }

    #[test]
    fn only_what_is_on_the_disk_counts() {
        for (status, counts) in [
            ("install ok installed", true),
            ("hold ok installed", true),
            ("install ok half-configured", true),
            ("install ok unpacked", true),
            ("install ok triggers-pending", true),
            ("deinstall ok config-files", false),
            ("install ok not-installed", false),
            ("install reinstreq half-installed", false),
            ("installed", false),
            ("", false),
        ] {
            let text = format!("Package: runc\nStatus: {status}\nVersion: 1.1-1\n");
            assert_eq!(
                dpkg(text.as_bytes()).contains_key("runc"),
                counts,
                "{status}"
            );
        }
    }

    #[test]
    fn a_broken_status_file_yields_what_can_be_understood() {
        let whole = "Package: runc\nStatus: install ok installed\nVersion: 1.1-1\n";
        let long = format!("Description: {}\n", "x".repeat(200_000));
        for (text, found) in [
            (String::new(), false),
            ("\n\n\n".into(), false),
            ("\0".into(), false),
            ("Package".into(), false),
            ("Package:".into(), false),
            ("Package: \n".into(), false),
            (": x\n".into(), false),
            ("Package: runc\n".into(), false),
            ("Package: runc\nVersion: 1\n".into(), false),
            (
                "Package: runc\nStatus: install ok installed\n".into(),
                false,
            ),
            (whole.replace("1.1-1", ""), false),
            (whole.replace("1.1-1", "1 1"), false),
            (whole.replace("1.1-1", "é"), false),
            (whole.replace("1.1-1", "\u{1b}[0m"), false),
            (whole.replace("1.1-1", &"1".repeat(300)), false),
            (whole.replace("Package: runc", "Package: run"), false),
            (whole.replace("Package: runc", "Package : runc"), false),
            (whole.replace("Package: runc", " Package: runc"), false),
            (whole.replace("Status", "\nStatus"), false),
            (whole.replace('\n', "\r\n"), true),
            (whole.trim_end().into(), true),
            (whole.replace("Package", "package"), true),
            (format!("{long}{whole}"), true),
            (format!("{whole}{long}"), true),
            (format!("{whole}Package: other\n"), true),
            (format!("garbage\n\n{whole}\ngarbage"), true),
        ] {
            let head: String = text.chars().take(80).collect();
            assert_eq!(
                dpkg(text.as_bytes()).contains_key("runc"),
                found,
                "{head:?}"
            );
        }
    }

    #[test]
    fn a_broken_rpm_answer_yields_what_can_be_understood() {
        for text in [
            "",
            "\n",
            "runc",
            "runc 1.1-1",
            "runc 1.1-1 x",
            "runc 1.1-1 -1",
            "runc 1.1 5",
            "runc  5",
            "runc 1.1-1 5 6",
            "error: rpmdb: BDB0113 Thread/process 1 failed",
            "run 1-1 5",
            "runc 1-\u{e9} 5",
            "runc 1-1 99999999999999999999999",
        ] {
            assert!(read_rpm_answer(text).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
            dpkg(&bytes);
            read_rpm_answer(&text);
        }

        #[test]
        fn a_stanza_is_found_among_others(name in "[a-z]{2,9}", version in "[0-9][0-9a-z.+~-]{0,12}", before in "[A-Z][a-z]{1,8}: [ -~]{0,40}") {
            let text = format!("Package: x{name}\n{before}\n\nPackage: kubelet\nStatus: install ok installed\nVersion: {version}\n\n");
            prop_assert_eq!(dpkg(text.as_bytes()).remove("kubelet"), Some(version));
        }
    }
}
