//! What the machine says: logs, mount table, small files, packages, certificates.

use std::cell::RefCell;
use std::io::Read;
use std::os::unix::fs::FileExt;

use nodemend::host::Host;
use nodemend::probes::certificates::earliest_end;
use nodemend::probes::headroom;
use nodemend::probes::journal::lines_of_unit;
use nodemend::probes::kernel::read_assignments;
use nodemend::probes::kernel_log::parse_record;
use nodemend::probes::packages::{read_dpkg_status, read_rpm_answer};
use nodemend::probes::slices::read_pressure;
use nodemend::probes::storage::{read_fstab, read_mountinfo};
use nodemend::signal::Wall;

use super::{Entry, file, files_below};

/// One record of `/dev/kmsg`.
pub const KERNEL_LOG: Entry = Entry {
    name: "kernel-log",
    rounds: 5_000,
    seeds: || {
        let text = file("tests/fixtures/kmsg/debian12-6.18.txt");
        let lines = text.split(|byte| *byte == b'\n');
        lines
            .filter(|line| line.contains(&b';'))
            .map(<[u8]>::to_vec)
            .collect()
    },
    run: |bytes| {
        let _record = parse_record(bytes);
    },
};

/// A journal of journald: an input is a list of changes to a real one, four bytes of place and one
/// of content each, because a whole one has eight megabytes.
pub const JOURNAL: Entry = Entry {
    name: "journal",
    rounds: 60,
    seeds: || {
        // The header, the first objects, and places in between.
        let change = |place: u32| [&place.to_le_bytes()[..], &[0xff]].concat();
        (0..64).map(|number| change(number * 97)).collect()
    },
    run: |bytes| JOURNALS.with(|journal| journal.borrow_mut().run(bytes)),
};

/// The mount table and fstab, as the storage probe reads them.
pub const MOUNTS: Entry = Entry {
    name: "mountinfo",
    rounds: 3_000,
    seeds: || vec![file("tests/fixtures/mountinfo/debian12-6.18.txt")],
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().count();
        assert!(read_mountinfo(&text).len() <= lines);
        assert!(read_fstab(&text).len() <= lines);
    },
};

/// Small files of `/proc`, `/sys` and sysctl.d.
pub const TEXTS: Entry = Entry {
    name: "texts",
    rounds: 5_000,
    seeds: || {
        let texts = [
            "some avg10=0.00 avg60=1.25 avg300=0.86 total=3661447\nfull avg10=0.00 avg60=0.50 avg300=0.81 total=3440158\n",
            "1504\t0\t9223372036854775807\n",
            "0.20 0.18 0.12 1/184 11206\n",
            "Name:\tcontainerd\nUmask:\t0022\nUid:\t0\t0\t0\t0\n",
            "pos:\t0\nflags:\t02004000\ninotify wd:2 ino:6c2 sdev:1b mask:3c6 ignored_mask:0\n",
            "# sysctl.d\n-net.ipv4.conf.*.rp_filter = 2\nkernel/panic = 10\n",
        ];
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let shares = read_pressure(&text).map(|pressure| [Some(pressure.some), pressure.full]);
        for share in shares.into_iter().flatten().flatten() {
            assert!((0.0..=1.0).contains(&share), "{share}");
        }
        if let Some((used, limit)) = headroom::read_file_nr(&text) {
            assert!((0.0..=1.0).contains(&headroom::free_share(used, limit)));
        }
        let _tasks = headroom::read_task_count(&text);
        let _user = headroom::read_effective_user(&text);
        assert!(headroom::count_watches(&text) <= text.lines().count() as u64);
        let mut found = Vec::new();
        read_assignments("x.conf", &text, &mut found);
        assert!(found.len() <= text.lines().count());
    },
};

/// dpkg's status file, and what `rpm` answers.
pub const PACKAGES: Entry = Entry {
    name: "packages",
    rounds: 1_000,
    seeds: || {
        vec![
            file("tests/fixtures/packages/debian12-status.txt"),
            file("tests/fixtures/packages/centos7-rpm.txt"),
        ]
    },
    run: |bytes| {
        let _dpkg = read_dpkg_status(bytes);
        let _rpm = read_rpm_answer(&String::from_utf8_lossy(bytes));
    },
};

/// Certificates, PEM and DER.
pub const CERTIFICATES: Entry = Entry {
    name: "certificates",
    rounds: 4_000,
    seeds: || {
        let mut seeds = files_below("tests/fixtures/certificates", ".pem");
        seeds.extend(files_below("tests/fixtures/certificates", ".der"));
        seeds
    },
    run: |bytes| {
        let _end = earliest_end(bytes);
    },
};

thread_local! {
    static JOURNALS: RefCell<JournalBench> = RefCell::new(JournalBench::new());
}

/// A machine whose journal is changed and mended again.
struct JournalBench {
    dir: tempfile::TempDir,
    file: std::fs::File,
    /// The bytes that are not zero; behind them the file is empty space.
    used: Vec<u8>,
}

impl JournalBench {
    fn new() -> JournalBench {
        let dir = tempfile::tempdir().expect("a directory");
        let id = "0123456789abcdef0123456789abcdef";
        let folder = dir.path().join("var/log/journal").join(id);
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::create_dir_all(dir.path().join("etc")).expect("made");
        std::fs::write(dir.path().join("etc/machine-id"), id).expect("written");
        let packed = file("tests/fixtures/journal/systemd252-first.journal.gz");
        let mut used = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(packed.as_slice());
        reader.read_to_end(&mut used).expect("a journal");
        let path = folder.join("system.journal");
        std::fs::write(&path, &used).expect("written");
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).open(&path).expect("opened");
        let end = used
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(1, |last| last + 1);
        used.truncate(end);
        JournalBench { dir, file, used }
    }

    fn run(&mut self, bytes: &[u8]) {
        let changes: Vec<(u64, u8)> = bytes
            .chunks_exact(5)
            .take(64)
            .map(|change| {
                let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]);
                (u64::from(place) % self.used.len() as u64, change[4])
            })
            .collect();
        for (place, byte) in &changes {
            self.file.write_all_at(&[*byte], *place).expect("written");
        }
        let host = Host::at(self.dir.path());
        if let Ok(lines) = lines_of_unit(&host, "containerd.service", Wall(0)) {
            assert!(lines.len() <= 1_000, "{} lines", lines.len());
        }
        for (place, _) in &changes {
            let before = self.used[*place as usize];
            self.file.write_all_at(&[before], *place).expect("written");
        }
    }
}
