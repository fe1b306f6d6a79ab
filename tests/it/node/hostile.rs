//! Broken trees: truncated, binary, huge, empty, vanishing and permission-less files, and names
//! that nobody expects. A page always comes, is well formed, and loses no more than it must.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::stat::Mode;
use nodemend::scrape::selection::Selection;

use super::ours::{COLLECTORS, scrape_page, settled, text};
use super::page::{Families, differences, parse};
use super::tree::{name, unpack, unpacked};

/// Every file of a tree, sorted.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root.join("proc"), root.join("sys"), root.join("usr")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Renders two pages, the second from what the first left behind.
fn well_formed(root: &Path) -> Families {
    let mut page = scrape_page(root, &COLLECTORS);
    let first = parse(&settled(&mut page));
    let mut changed = differences(&first, &parse(&settled(&mut page)));
    changed.retain(|line| !line.starts_with("node_scrape_collector_duration_seconds"));
    assert!(changed.is_empty(), "{}", changed.join("\n"));
    first
}

/// Every `step`-th file broken; `how` is told the number of the file.
fn break_every(step: usize, how: impl Fn(usize, &Path)) {
    let root = unpacked();
    for (at, path) in files(root.path()).iter().step_by(step).enumerate() {
        how(at, path);
    }
    well_formed(root.path());
}

#[test]
fn files_empty_or_truncated_still_give_a_page() {
    break_every(1, |_, path| fs::write(path, "").unwrap());
    break_every(1, |at, path| {
        let text = fs::read(path).unwrap();
        fs::write(path, &text[..text.len() / (2 + at % 3)]).unwrap();
    });
}

#[test]
fn binary_files_still_give_a_page() {
    let noise: Vec<u8> = (0..=255).cycle().take(5000).collect();
    break_every(1, |at, path| match at % 2 {
        0 => fs::write(path, &noise).unwrap(),
        _ => fs::write(path, [0; 64]).unwrap(),
    });
    break_every(1, |_, path| {
        let mut text = fs::read(path).unwrap();
        for byte in text.iter_mut().step_by(3) {
            *byte ^= 0x95;
        }
        fs::write(path, text).unwrap();
    });
}

#[test]
fn numbers_past_every_limit_still_give_a_page() {
    const NUMBERS: [&str; 7] = [
        "99999999999999999999999999",
        "-1",
        "1e400",
        "0x",
        "NaN",
        "18446744073709551615",
        "18446744073709551615: X",
    ];
    for shift in [0, 3] {
        break_every(1, |at, path| {
            fs::write(path, NUMBERS[(at + shift) % NUMBERS.len()]).unwrap();
        });
    }
}

#[test]
fn files_that_are_something_else_still_give_a_page() {
    break_every(1, |_, path| fs::remove_file(path).unwrap());
    break_every(2, |at, path| {
        fs::remove_file(path).unwrap();
        match at % 3 {
            0 => fs::create_dir(path).unwrap(),
            1 => nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
            _ => symlink(path, path).unwrap(),
        }
    });
    // Root reads them nevertheless; an ordinary user does not.
    break_every(2, |_, path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    });
}

#[test]
fn huge_files_are_given_up() {
    let root = unpacked();
    for path in files(root.path()).iter().step_by(60) {
        let file = fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    // Each is read to its limit, which may take longer than a page waits; the page comes anyway.
    let mut page = scrape_page(root.path(), &COLLECTORS);
    for _ in 0..2 {
        let families = parse(&String::from_utf8_lossy(page.render(&Selection::All)));
        assert!(families["node_scrape_collector_success"].samples.len() == COLLECTORS.len());
    }
}

#[test]
fn one_broken_number_costs_its_own_samples_only() {
    let root = unpacked();
    let whole = parse(&text(root.path(), &COLLECTORS));
    let mut tried = 0;
    for path in files(root.path()).iter().step_by(9) {
        let before = fs::read(path).unwrap();
        let number = before.trim_ascii().iter().all(u8::is_ascii_digit);
        if !number || before.is_empty() {
            continue;
        }
        fs::write(path, "?\n").unwrap();
        let mut lost = differences(&whole, &parse(&text(root.path(), &COLLECTORS)));
        lost.retain(|line| !line.starts_with("node_scrape_collector"));
        // The block size of a namespace is in four families; no other file is in more.
        assert!(lost.len() <= 4, "{}:\n{}", path.display(), lost.join("\n"));
        fs::write(path, before).unwrap();
        tried += 1;
    }
    assert!(tried > 30, "only {tried} files hold a number");
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let long = vec![b'x'; 255];
    let names: [&[u8]; 7] = [
        b"a\"b",
        b"a\nb 1",
        b"a\\",
        b"\xff\xfe",
        b"} 1\n# TYPE x counter",
        "\u{202e}\u{fffd}".as_bytes(),
        &long,
    ];
    let root = unpacked();
    let sys = root.path().join("sys");
    for bytes in names {
        for (class, file) in [
            ("class/nvme", "model"),
            ("class/power_supply", "capacity"),
            ("class/watchdog", "timeout"),
            ("class/infiniband", "fw_ver"),
            ("class/fc_host", "speed"),
            ("class/hwmon", "temp1_input"),
            ("class/powercap", "name"),
            ("fs/xfs", "stats/stats"),
        ] {
            let file = sys.join(class).join(name(bytes)).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, bytes).unwrap();
        }
        let pool = root.path().join("proc/spl/kstat/zfs").join(name(bytes));
        fs::create_dir_all(&pool).unwrap();
        fs::write(pool.join("state"), "ONLINE\n").unwrap();
        let port = sys.join("class/infiniband/mlx4_0/ports").join(name(bytes));
        fs::create_dir_all(&port).unwrap();
        fs::write(port.join("state"), "4: ACTIVE").unwrap();
    }
    let families = well_formed(root.path());
    let states = &families["node_zfs_zpool_state"].samples;
    assert_eq!(states.len(), (4 + names.len()) * 7);
}

#[test]
fn a_tree_that_vanishes_and_returns_never_breaks_a_page() {
    let root = unpacked();
    let (here, gone) = (root.path().join("sys"), root.path().join("gone"));
    let mut page = scrape_page(root.path(), &COLLECTORS);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::rename(&here, &gone).unwrap();
                fs::rename(&gone, &here).unwrap();
            }
        });
        for _ in 0..30 {
            parse(&String::from_utf8_lossy(page.render(&Selection::All)));
        }
        done.store(true, Ordering::Relaxed);
    });
    let families = parse(&String::from_utf8_lossy(page.render(&Selection::All)));
    assert_eq!(families["node_watchdog_info"].samples.len(), 2);
}

#[test]
fn an_empty_tree_gives_a_page_that_says_so() {
    let root = tempfile::tempdir().unwrap();
    unpack("@dir proc\n@dir sys\n", root.path());
    let families = well_formed(root.path());
    let success = &families["node_scrape_collector_success"].samples;
    assert_eq!(success["collector=\"hwmon\""], "0");
    assert_eq!(success["collector=\"edac\""], "1");
    assert_eq!(success.len(), COLLECTORS.len());
}
