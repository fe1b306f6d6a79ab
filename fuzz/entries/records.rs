//! What the cluster and the disk hand back: annotations, limits, the audit log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use nodemend::lease::Limits;
use nodemend::policy::annotations::{Notes, read_annotations};
use nodemend::policy::{Disruption, Mode};
use nodemend::report::audit::{self, AuditLog, Entry as Note, Reader, RecordKind, verify};
use nodemend::signal::{Timestamp, Uptime, Wall};
use serde_json::Value;

use super::Entry;

/// The annotations of a Node, one `key=value` a line.
pub const ANNOTATIONS: Entry = Entry {
    name: "annotations",
    rounds: 5_000,
    seeds: || {
        let good = "nodemend.io/mode=auto\nnodemend.io/allow=reboot\nnodemend.io/approve=7,8\n";
        let paused = "nodemend.io/mode=approve\nnodemend.io/pause=by hand\nnodemend.io/v2-mode=x\n";
        vec![good.into(), paused.into()]
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let annotations: BTreeMap<String, String> = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let notes = Notes {
            node: "n1",
            version: "1",
            annotations: &annotations,
            taints: &[],
            is_going: false,
        };
        let opt_in = read_annotations(notes, (Mode::Auto, Disruption::Reboot));
        // What is not exactly a known word never widens anything.
        let says = |key: &str| annotations.get(key).map(|value| value.trim());
        if opt_in.mode == Mode::Auto {
            assert_eq!(says("nodemend.io/mode"), Some("auto"));
        }
        if opt_in.allow == Disruption::Reboot {
            assert_eq!(says("nodemend.io/allow"), Some("reboot"));
        }
        assert!(!annotations.contains_key("nodemend.io/pause") || opt_in.pause.is_some());
    },
};

/// The ConfigMaps of limits and breakers, as the API server lists them.
pub const LIMITS: Entry = Entry {
    name: "limits",
    rounds: 4_000,
    seeds: || {
        let text = r#"[{"metadata":{"name":"limits","labels":{"nodemend.io/limits":""}},"data":{"cluster":"3","zone-a":"1","drain":"0"}},{"metadata":{"name":"breaker-1","labels":{"nodemend.io/breaker":""}},"data":{"reason":"storm"}}]"#;
        vec![text.into()]
    },
    run: |bytes| {
        let Ok(items) = serde_json::from_slice::<Vec<Value>>(bytes) else {
            return;
        };
        let has_breaker = items.iter().any(|item| {
            let name = item.pointer("/metadata/name").and_then(Value::as_str);
            name.is_some_and(|name| name.starts_with("breaker-"))
        });
        if let Ok(limits) = Limits::read(&items) {
            assert!(
                !has_breaker || limits.breaker.is_some(),
                "a breaker was overlooked"
            );
        }
    },
};

/// A file of the audit log.
pub const AUDIT: Entry = Entry {
    name: "audit",
    rounds: 150,
    seeds: || AUDITS.with(|bench| vec![bench.borrow().text.clone()]),
    run: |bytes| AUDITS.with(|bench| bench.borrow().run(bytes)),
};

thread_local! {
    static AUDITS: RefCell<AuditBench> = RefCell::new(AuditBench::new());
}

/// A log of three records, one of whose copies is replaced.
struct AuditBench {
    dir: tempfile::TempDir,
    path: PathBuf,
    text: Vec<u8>,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp {
        uptime: Uptime::new(std::time::Duration::from_secs(seconds)),
        wall: Wall(1_790_000_000_000_000),
    }
}

impl AuditBench {
    fn new() -> AuditBench {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = audit::Limits::default;
        let opened = AuditLog::open(dir.path(), "n1", "boot", limits(), at(1));
        let (mut log, _) = opened.expect("a log");
        for number in 0..3 {
            let mut note = Note::of(RecordKind::LogContinued);
            note.reasons.push(format!("reason {number}"));
            log.append(at(2), &note).expect("written");
        }
        drop(log);
        let files = std::fs::read_dir(dir.path()).expect("a folder");
        let mut paths = files.map(|file| file.expect("an entry").path());
        let path = paths
            .find(|path| path.extension().is_some_and(|it| it == "jsonl"))
            .expect("a file of the log");
        let text = std::fs::read(&path).expect("its text");
        AuditBench { dir, path, text }
    }

    fn run(&self, bytes: &[u8]) {
        std::fs::write(&self.path, bytes).expect("written");
        let lines = bytes.split(|byte| *byte == b'\n').count();
        if let Ok(reader) = Reader::open(self.dir.path()) {
            assert!(reader.count() <= lines + 1);
        }
        // Whoever changed a byte of a record and is not found out has broken SHA-256.
        if let Ok(found) = verify(self.dir.path(), &[]) {
            let is_prefix = self.text.starts_with(bytes);
            assert!(!found.holds() || is_prefix, "a changed log holds");
        }
        let limits = audit::Limits::default();
        if let Ok((mut log, _)) = AuditLog::open(self.dir.path(), "n1", "boot", limits, at(3)) {
            let _written = log.append(at(4), &Note::of(RecordKind::LogContinued));
        }
        for file in std::fs::read_dir(self.dir.path()).expect("a folder") {
            let path = file.expect("an entry").path();
            std::fs::remove_file(&path).expect("removed");
        }
    }
}
