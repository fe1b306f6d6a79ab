//! Broken files cost their own series; hostile names stay inside their quotes; nothing panics.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;

use super::page::{Parsed, render, settings_of};

/// Copies a tree over another.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out)
        } else {
            out.push(path)
        }
    }
}

fn tree() -> tempfile::TempDir {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics/server");
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture, dir.path());
    dir
}

fn succeeded(parsed: &Parsed) -> Vec<String> {
    let is_ok = |name: &str, value: f64| name == "node_scrape_collector_success" && value == 1.0;
    let ok = parsed
        .series
        .iter()
        .filter(|((name, _), value)| is_ok(name, **value));
    ok.flat_map(|((_, labels), _)| labels.iter().map(|(_, name)| name.clone()))
        .collect()
}

#[test]
fn each_broken_file_costs_only_its_own_collectors() {
    let dir = tree();
    let settings = settings_of(dir.path());
    let whole = succeeded(&Parsed::of(&render(&settings)));
    assert!(whole.len() > 15, "{whole:?}");
    let mut all = Vec::new();
    files(&dir.path().join("proc"), &mut all);
    files(&dir.path().join("sys"), &mut all);
    type Breaking<'a> = (&'a str, &'a dyn Fn(&Path, &[u8]));
    let breaks: [Breaking<'_>; 8] = [
        ("vanished", &|_, _| {}),
        ("empty", &|path, _| fs::write(path, b"").unwrap()),
        ("truncated", &|path, text| {
            fs::write(path, &text[..text.len() / 2]).unwrap()
        }),
        ("binary", &|path, text| {
            let bytes: Vec<u8> = text
                .iter()
                .map(|byte| byte.wrapping_mul(151) ^ 0x80)
                .collect();
            fs::write(path, bytes).unwrap();
        }),
        ("repeated", &|path, text| {
            fs::write(path, text.repeat(50)).unwrap()
        }),
        ("huge", &|path, _| {
            fs::File::create(path).unwrap().set_len(1 << 36).unwrap()
        }),
        ("directory", &|path, _| fs::create_dir(path).unwrap()),
        ("pipe", &|path, _| {
            nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()
        }),
    ];
    for (number, path) in all.iter().enumerate() {
        let text = fs::read(path).unwrap();
        for (what, break_it) in breaks {
            // Reading 16 MiB of nothing sixty times over would prove no more.
            if what == "huge" && number % 8 != 0 {
                continue;
            }
            fs::remove_file(path).unwrap();
            break_it(path, &text);
            let page = Parsed::of(&render(&settings));
            let left = succeeded(&page);
            let lost: Vec<_> = whole.iter().filter(|name| !left.contains(name)).collect();
            // /proc/stat feeds two collectors, mountinfo and the rest one each.
            assert!(lost.len() <= 2, "{what} {} lost {lost:?}", path.display());
            if path.is_dir() {
                fs::remove_dir(path).unwrap()
            } else if path.exists() {
                fs::remove_file(path).unwrap()
            }
            fs::write(path, &text).unwrap();
        }
    }
}

#[test]
fn hostile_names_of_interfaces_disks_and_mounts_stay_labels() {
    let dir = tree();
    let names: [&[u8]; 5] = [b"a\"b", b"c\\d", b"\xff\xfe\x00x", b"e{f}", b"g,h=\"i\" 7"];
    let mut disks = Vec::new();
    let mut links =
        b"Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n".to_vec();
    let mut mounts = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let plain: Vec<u8> = name.iter().copied().filter(|byte| *byte != b' ').collect();
        disks.extend_from_slice(format!(" 8 {number} ").as_bytes());
        disks.extend_from_slice(&plain);
        disks.extend_from_slice(b" 1 2 3 4 5 6 7 8 9 10 11\n");
        links.extend_from_slice(&plain);
        links.extend_from_slice(b": 1 2 3 4\n");
        mounts.extend_from_slice(format!("{number} 1 8:{number} / /").as_bytes());
        mounts.extend_from_slice(&plain);
        mounts.extend_from_slice(&b"x".repeat(255));
        mounts.extend_from_slice(b"\\012y rw - ext4 /dev/");
        mounts.extend_from_slice(&plain);
        mounts.extend_from_slice(b" rw\n");
        let class = dir.path().join("sys/class/net").join(OsStr::from_bytes(
            &plain
                .iter()
                .copied()
                .filter(|byte| *byte != 0)
                .collect::<Vec<_>>(),
        ));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("operstate"), b"up\n").unwrap();
        fs::write(
            class.join("ifalias"),
            [plain.as_slice(), b"\nsecond \"line\""].concat(),
        )
        .unwrap();
    }
    // No kernel lets a link be named so; a tree of files may.
    let broken = dir.path().join("sys/class/net").join("n\nl 1");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("mtu"), b"1500\n").unwrap();
    fs::write(dir.path().join("proc/diskstats"), disks).unwrap();
    fs::write(dir.path().join("proc/net/dev"), links).unwrap();
    fs::write(dir.path().join("proc/1/mountinfo"), mounts).unwrap();
    let page = render(&settings_of(dir.path()));
    let parsed = Parsed::of(&page);
    assert_eq!(parsed.count("node_disk_info"), names.len());
    assert_eq!(
        parsed.count("node_network_receive_bytes_total"),
        names.len()
    );
    assert_eq!(parsed.count("node_filesystem_device_error"), names.len());
    assert_eq!(
        parsed.get("node_disk_reads_completed_total", &[("device", "a\\\"b")]),
        Some(1.0)
    );
    assert!(parsed.count("node_network_info") >= names.len(), "{page}");
    assert_eq!(
        parsed.get("node_network_mtu_bytes", &[("device", "n\\nl 1")]),
        Some(1500.0),
        "{page}"
    );
    assert!(
        page.lines()
            .all(|line| line.starts_with('#') || line.contains(' '))
    );
}

/// Root reads everything, so a page is made by a user who may not: each file below `proc` and each
/// of one link is closed to him in turn. Needs root, to become somebody else.
#[test]
fn files_without_permission_cost_their_own_collectors() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let dir = tree();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let program = dir.path().join("nodemend");
    fs::copy(env!("CARGO_BIN_EXE_nodemend"), &program).unwrap();
    let page = || {
        let flag =
            |name: &str, below: &str| format!("--path.{name}={}/{below}", dir.path().display());
        let output = std::process::Command::new(&program)
            .args(["metrics", "--no-collector.systemd"])
            .args([
                flag("procfs", "proc"),
                flag("sysfs", "sys"),
                flag("rootfs", ""),
            ])
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        Parsed::of(&String::from_utf8(output.stdout).unwrap())
    };
    let whole = page();
    let ok = succeeded(&whole);
    let lost_without = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        let left = page();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        let left = succeeded(&left);
        let lost = ok.iter().filter(|name| !left.contains(name));
        lost.cloned().collect::<Vec<_>>()
    };
    for (file, collector) in [
        ("proc/loadavg", "loadavg"),
        ("proc/vmstat", "vmstat"),
        ("proc/diskstats", "diskstats"),
        ("proc/net/arp", "arp"),
        ("proc/net/dev", "netdev"),
        ("proc/net/softnet_stat", "softnet"),
        ("proc/meminfo", "meminfo"),
        ("proc/sys/fs/file-nr", "filefd"),
        ("proc/sys/kernel/random/entropy_avail", "entropy"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "conntrack"),
    ] {
        assert_eq!(lost_without(&dir.path().join(file)), [collector], "{file}");
    }
    let mut rest = Vec::new();
    files(&dir.path().join("proc"), &mut rest);
    files(&dir.path().join("sys/class/net/eth0"), &mut rest);
    assert!(rest.len() > 40, "{}", rest.len());
    for path in rest {
        let lost = lost_without(&path);
        // /proc/stat feeds two collectors, the rest one or none.
        assert!(lost.len() <= 2, "{} lost {lost:?}", path.display());
    }
}
