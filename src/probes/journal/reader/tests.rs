use super::super::position::MemoryStore;
use super::*;
use flate2::read::GzDecoder;
use std::fs::{create_dir_all, write};
use std::io::Read;
use std::sync::Mutex;

const FIRST: &[u8] =
    include_bytes!("../../../../tests/fixtures/journal/systemd252-first.journal.gz");
const SECOND: &[u8] =
    include_bytes!("../../../../tests/fixtures/journal/systemd252-second.journal.gz");
const MACHINE: &str = "11111111111111111111111111111111";
/// The boot in which the fixtures were captured.
const BOOT: &str = "40b2a16e-d21b-4c7e-9046-bf6df9e348b1";

/// A millisecond after the last entry of the second capture: microseconds since the boot, and since 1970.
const END: (u64, i64) = (3_151_844_969, 1_795_336_650_312_088);

/// A store that outlives the reader, as a file does.
#[derive(Clone, Default)]
struct SharedStore(Arc<Mutex<MemoryStore>>);

impl PositionStore for SharedStore {
    fn load(&self) -> io::Result<Option<String>> {
        self.0.lock().expect("unpoisoned").load()
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.0.lock().expect("unpoisoned").save(text)
    }
}

struct Machine {
    root: tempfile::TempDir,
    store: SharedStore,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            root: tempfile::tempdir().expect("a directory"),
            store: SharedStore::default(),
        };
        machine.put("etc/machine-id", format!("{MACHINE}\n").as_bytes());
        machine.put("proc/sys/kernel/random/boot_id", BOOT.as_bytes());
        machine
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.root.path().join(path);
        create_dir_all(path.parent().expect("a parent")).expect("made");
        write(path, bytes).expect("written");
    }

    fn journal(&self, gzip: &[u8]) {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut bytes).expect("gzip");
        self.put(&format!("var/log/journal/{MACHINE}/system.journal"), &bytes);
    }

    fn reader(&self) -> Reader {
        Reader::new(Box::new(self.store.clone()), false)
    }

    fn run(&self, reader: &mut Reader, moment: &Moment) -> Result<Fresh, ProbeError> {
        reader.run(&Host::at(self.root.path()), moment)?;
        Ok(std::mem::take(&mut reader.fresh))
    }
}

/// `seconds` after the end of the second capture.
fn later(seconds: u64) -> Moment {
    let (uptime, wall) = END;
    let now = Timestamp {
        uptime: Uptime::new(Duration::from_micros(uptime)),
        wall: Wall(wall),
    };
    Moment {
        now: now.plus(Duration::from_secs(seconds)),
        asleep: Duration::ZERO,
    }
}

fn numbers(fresh: &Fresh) -> Vec<&str> {
    let words = fresh
        .records
        .iter()
        .filter_map(|r| r.text.split(' ').next());
    words.filter(|word| word.parse::<u32>().is_ok()).collect()
}

#[test]
fn only_lines_of_the_machine_itself_come_through_and_with_their_true_sender() {
    let machine = Machine::new();
    machine.journal(FIRST);
    let fresh = machine.run(&mut machine.reader(), &later(0)).expect("read");
    assert_eq!(
        numbers(&fresh),
        ["1", "2", "3", "4", "5", "6", "12", "13", "15"]
    );
    let who = |number: &str| {
        let mut records = fresh.records.iter();
        let record = records
            .find(|r| r.text.starts_with(&format!("{number} ")))
            .expect("there");
        (record.identifier.to_string(), record.unit.to_string())
    };
    for (number, identifier, unit) in [
        ("1", "systemd", "init.scope"),
        ("2", "systemd", "kubelet.service"),
        ("3", "kubelet", "kubelet.service"),
        ("4", "kubelet", "kubelet.service"),
        ("5", "systemd-logind", "systemd-logind.service"),
        ("6", "systemd-networkd", "systemd-networkd.service"),
        ("12", "cron", "cron.service"),
        ("13", "systemd-user", "user@1000.service"),
        ("15", "sshd", "session-3.scope"),
    ] {
        assert_eq!(who(number), (identifier.into(), unit.into()), "{number}");
    }
    // 7 to 11 are of containers, 14 of nobody knows whom.
    assert_eq!(fresh.untrusted, 6);
    assert_eq!(fresh.gaps, 0);
    assert!(fresh.heard);
    let text = &fresh.records.last().expect("some").text;
    assert_eq!(&**text, "15 true two lines  [31mred\u{fffd}");
}

#[test]
fn lines_from_before_the_first_start_are_history_and_later_ones_are_new() {
    let machine = Machine::new();
    machine.journal(FIRST);
    let mut reader = machine.reader();
    let first = machine.run(&mut reader, &later(0)).expect("read");
    assert!(first.records.iter().all(|r| r.history));
    machine.journal(SECOND);
    // The agent's start lies after the capture here, so the new lines are of before it, too.
    let second = machine.run(&mut reader, &later(2)).expect("read");
    assert_eq!(numbers(&second), ["16", "17"]);
    assert!(second.records.iter().all(|r| r.history));

    let machine = Machine::new();
    machine.journal(FIRST);
    let mut early = later(0);
    early.now.uptime = early.now.uptime.minus(Duration::from_secs(2));
    early.now.wall.0 -= 2_000_000;
    let mut reader = machine.reader();
    machine.run(&mut reader, &early).expect("read");
    machine.journal(SECOND);
    let new = machine.run(&mut reader, &later(0)).expect("read");
    assert_eq!(numbers(&new), ["16", "17"]);
    assert!(new.records.iter().all(|r| !r.history));
}

#[test]
fn after_a_restart_it_goes_on_at_its_position_and_nothing_counts_as_history() {
    let machine = Machine::new();
    machine.journal(FIRST);
    machine.run(&mut machine.reader(), &later(0)).expect("read");
    machine.journal(SECOND);
    let fresh = machine.run(&mut machine.reader(), &later(5)).expect("read");
    assert_eq!(numbers(&fresh), ["16", "17"]);
    assert!(fresh.records.iter().all(|r| !r.history));
    assert_eq!(fresh.gaps, 0);
}

#[test]
fn after_a_reboot_what_is_left_of_the_boot_before_is_history() {
    let machine = Machine::new();
    machine.journal(FIRST);
    machine.run(&mut machine.reader(), &later(0)).expect("read");
    machine.journal(SECOND);
    machine.put(
        "proc/sys/kernel/random/boot_id",
        b"00000000-0000-4000-8000-000000000000\n",
    );
    let mut moment = later(60);
    moment.now.uptime = Uptime::new(Duration::from_secs(10));
    let fresh = machine.run(&mut machine.reader(), &moment).expect("read");
    assert_eq!(numbers(&fresh), ["16", "17"]);
    assert!(
        fresh
            .records
            .iter()
            .all(|r| r.history && r.at.uptime == Uptime::default())
    );
}

#[test]
fn a_position_whose_entry_is_gone_is_a_gap() {
    let machine = Machine::new();
    machine.journal(FIRST);
    machine.run(&mut machine.reader(), &later(0)).expect("read");
    let saved = machine.store.load().expect("there").expect("saved");
    let mut position = Position::parse(&saved).expect("good");
    // An entry before the oldest one, a minute earlier.
    machine.journal(SECOND);
    // An entry that was deleted with ten others after it: the next one is eleven numbers later.
    position.realtime_micros += 1;
    position.monotonic_micros += 1;
    position.sequence -= 10;
    let mut store = machine.store.clone();
    store.save(&position.to_string()).expect("saved");
    let fresh = machine.run(&mut machine.reader(), &later(1)).expect("read");
    assert_eq!((fresh.gaps, numbers(&fresh)), (10, vec!["16", "17"]));
    // A journal that begins anew counts from one again: nobody knows how much is gone.
    position.sequence += 1_000;
    store.save(&position.to_string()).expect("saved");
    let fresh = machine.run(&mut machine.reader(), &later(1)).expect("read");
    assert_eq!(fresh.gaps, 1);
    store.save("not a position").expect("saved");
    let fresh = machine.run(&mut machine.reader(), &later(1)).expect("read");
    assert_eq!(fresh.gaps, 1);
    assert!(
        fresh.records.iter().all(|r| r.history),
        "as at the first start"
    );
}

#[test]
fn lines_written_after_the_clock_was_set_back_are_found() {
    let machine = Machine::new();
    machine.journal(SECOND);
    machine.run(&mut machine.reader(), &later(0)).expect("read");
    let saved = machine.store.load().expect("there").expect("saved");
    let mut position = Position::parse(&saved).expect("good");
    let mut first = machine.reader();
    let all = Machine::new();
    all.journal(FIRST);
    let last_of_first = {
        all.run(&mut all.reader(), &later(0)).expect("read");
        let saved = all.store.load().expect("there").expect("saved");
        Position::parse(&saved).expect("good")
    };
    // As if the last line of the first half had been written with a clock an hour ahead.
    position.monotonic_micros = last_of_first.monotonic_micros;
    position.sequence = last_of_first.sequence;
    position.realtime_micros = last_of_first.realtime_micros + 3_600_000_000;
    machine
        .store
        .clone()
        .save(&position.to_string())
        .expect("saved");
    let fresh = machine.run(&mut first, &later(1)).expect("read");
    assert_eq!(numbers(&fresh), ["16", "17"]);
}

#[test]
fn unchanged_files_are_heard_without_being_read() {
    let machine = Machine::new();
    machine.journal(FIRST);
    let mut reader = machine.reader();
    let mut moment = later(0);
    // The files' own times are of now, so the clock must be, too.
    moment.now.wall = crate::host::clock::now().wall;
    moment.now.wall.0 += 10_000_000;
    machine.run(&mut reader, &moment).expect("read");
    std::fs::remove_file(machine.root.path().join("proc/sys/kernel/random/boot_id"))
        .expect("removed");
    let fresh = machine.run(&mut reader, &moment).expect("nothing to read");
    assert!(fresh.heard && fresh.records.is_empty());
}

#[test]
fn a_damaged_journal_is_no_panic() {
    let mut bytes = Vec::new();
    GzDecoder::new(FIRST).read_to_end(&mut bytes).expect("gzip");
    let path = format!("var/log/journal/{MACHINE}/system.journal");
    for at in (0..bytes.len().min(80_000)).step_by(997) {
        let machine = Machine::new();
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        machine.put(&path, &damaged);
        machine.run(&mut machine.reader(), &later(0)).ok();
    }
    for length in [0, 1, 100, 271, 272, 4_096, 20_000] {
        let machine = Machine::new();
        machine.put(&path, &bytes[..length]);
        machine.run(&mut machine.reader(), &later(0)).ok();
    }
}

#[test]
fn a_machine_without_a_journal_is_unsupported_and_a_foreign_journal_is_not_read() {
    let machine = Machine::new();
    let error = machine
        .run(&mut machine.reader(), &later(0))
        .expect_err("none");
    assert_eq!(error.kind(), "unsupported");
    machine.put(
        "var/log/journal/22222222222222222222222222222222/system.journal",
        b"x",
    );
    let error = machine
        .run(&mut machine.reader(), &later(0))
        .expect_err("foreign");
    assert_eq!(error.kind(), "unsupported");
    machine.put("etc/machine-id", b"uninitialized\n");
    let error = machine
        .run(&mut machine.reader(), &later(0))
        .expect_err("no id");
    assert_eq!(error.kind(), "unsupported");
}

#[test]
fn a_damaged_file_beside_a_good_one_is_counted_once() {
    let machine = Machine::new();
    machine.journal(FIRST);
    let mut bytes = Vec::new();
    GzDecoder::new(FIRST).read_to_end(&mut bytes).expect("gzip");
    // Another file id, and an entry array that is none.
    bytes[24] ^= 0xff;
    let array = usize::try_from(u64::from_le_bytes(
        bytes[176..184].try_into().expect("eight"),
    ))
    .expect("small");
    bytes[array] = 0xee;
    machine.put(
        &format!("var/log/journal/{MACHINE}/system@1.journal"),
        &bytes,
    );
    let mut reader = machine.reader();
    let first = machine.run(&mut reader, &later(0)).expect("read");
    assert_eq!(numbers(&first).len(), 9);
    assert_eq!(first.gaps, 1);
    machine.journal(SECOND);
    let second = machine.run(&mut reader, &later(1)).expect("read");
    assert_eq!((numbers(&second), second.gaps), (vec!["16", "17"], 0));
}

#[test]
fn the_output_of_one_unit_is_found_and_nobody_elses() {
    let machine = Machine::new();
    machine.journal(SECOND);
    let host = Host::at(machine.root.path());
    let lines = |unit: &str, from: i64| lines_of_unit(&host, unit, Wall(from)).expect("read");
    assert_eq!(
        lines("kubelet.service", 0),
        ["4 true second line on stdout"]
    );
    assert!(lines("kubelet.service", END.1).is_empty());
    assert!(lines("cron.service", 0).is_empty());
}
