//! `processes`: processes and threads by state, from `/proc/<pid>`.

use std::collections::BTreeMap;
use std::path::Path;

use nix::errno::Errno;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, ReadError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{fields, number};
use crate::exposition::family::Family;
use crate::exposition::sheet::Sheet;

const FAMILIES: [Family; 6] = [
    Family::gauge("node_processes_threads", "Allocated threads in system").from("/proc/<pid>/stat"),
    Family::gauge(
        "node_processes_max_threads",
        "Limit of threads in the system",
    )
    .from("/proc/sys/kernel/threads-max"),
    Family::gauge("node_processes_state", "Number of processes in each state.")
        .from("/proc/<pid>/stat"),
    Family::gauge(
        "node_processes_threads_state",
        "Number of threads in each state.",
    )
    .from("/proc/<pid>/task/<tid>/stat"),
    Family::gauge("node_processes_pids", "Number of PIDs").from("/proc"),
    Family::gauge("node_processes_max_processes", "Number of max PIDs limit")
        .from("/proc/sys/kernel/pid_max"),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "processes",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Processes {
    procfs: Root,
    max_threads: HeldFile,
    max_processes: HeldFile,
    sheet: Sheet,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let procfs = &sources.roots.procfs;
    Ok(Box::new(Processes {
        max_threads: HeldFile::new(procfs, "sys/kernel/threads-max", Shape::Whole),
        max_processes: HeldFile::new(procfs, "sys/kernel/pid_max", Shape::Whole),
        procfs: procfs.clone(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

/// What was counted.
#[derive(Default)]
struct Counts {
    processes: u64,
    threads: u64,
    states: BTreeMap<u8, u64>,
    thread_states: BTreeMap<u8, u64>,
}

impl Collector for Processes {
    /// *Cost*: three opens a process and one a thread, on every page.
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let counts = count(self.procfs.path(), turn.scratch)?;
        let none = shared(&[]);
        self.sheet.put(0, &none, counts.threads as f64);
        self.sheet.put(4, &none, counts.processes as f64);
        let kinds = [
            (2, "state", &counts.states),
            (3, "thread_state", &counts.thread_states),
        ];
        for (column, label, states) in kinds {
            for (state, count) in states {
                let labels = shared(&[(label, &[*state])]);
                self.sheet.put(column, &labels, *count as f64);
            }
        }
        let mut result = Ok(());
        for (column, file) in [(1, &mut self.max_threads), (5, &mut self.max_processes)] {
            match file.read_trimmed(turn.epoch, turn.scratch).map(number) {
                Ok(Some(limit)) => self.sheet.put(column, &none, limit as f64),
                Ok(None) => result = Err(CollectError::Parse("sys/kernel")),
                Err(error) => result = Err(error.into()),
            }
        }
        self.sheet.write(turn.page);
        result
    }
}

fn count(procfs: &Path, scratch: &mut Vec<u8>) -> Result<Counts, CollectError> {
    let mut counts = Counts::default();
    for pid in names(procfs)?.iter().filter(|name| number(name).is_some()) {
        let dir = child(procfs, pid);
        let Some((state, threads)) = stat(&dir, scratch)? else {
            continue;
        };
        counts.processes += 1;
        counts.threads += threads;
        *counts.states.entry(state).or_default() += 1;
        let tasks = dir.join("task");
        let tids = match names(&tasks) {
            Ok(tids) => tids,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        for tid in tids {
            // The first thread's state is the process's, which was read already.
            let state = if tid == *pid {
                Some(state)
            } else {
                stat(&child(&tasks, &tid), scratch)?.map(|(state, _)| state)
            };
            if let Some(state) = state {
                *counts.thread_states.entry(state).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

/// State and count of threads; `None` for a process that ended meanwhile.
fn stat(dir: &Path, scratch: &mut Vec<u8>) -> Result<Option<(u8, u64)>, CollectError> {
    let text = match HeldFile::at(dir.join("stat"), false, Shape::Stream).read(0, scratch) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The name stands in parentheses and may hold any byte, so fields are counted from its end.
    let broken = CollectError::Parse("stat of a process");
    let end = text.iter().rposition(|&byte| byte == b')');
    let mut rest = fields(end.and_then(|end| text.get(end + 1..)).unwrap_or_default());
    let state = rest.next().and_then(|state| state.first());
    let threads = rest.nth(16).and_then(number);
    match (state, threads) {
        (Some(state), Some(threads)) => Ok(Some((*state, threads))),
        _ => Err(broken),
    }
}

fn is_gone(error: &ReadError) -> bool {
    error.is_absent() || error.errno() == Some(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn names_of_any_bytes_do_not_shift_the_fields() {
        let dir = tempfile::tempdir().unwrap();
        let tail = "1 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 7 0 1";
        for (pid, stat) in [
            ("1", format!("1 (a) S 1) R {tail}\n")),
            ("2", format!("2 (b (c)) D {tail}\n")),
        ] {
            let task = dir.path().join(pid).join("task").join(pid);
            std::fs::create_dir_all(&task).unwrap();
            std::fs::write(dir.path().join(pid).join("stat"), stat).unwrap();
        }
        std::fs::create_dir(dir.path().join("3")).unwrap();
        let counts = count(dir.path(), &mut Vec::new()).unwrap();
        assert_eq!((counts.processes, counts.threads), (2, 14));
        assert_eq!(
            counts.states.into_iter().collect::<Vec<_>>(),
            [(b'D', 1), (b'R', 1)]
        );
        assert_eq!(counts.thread_states.values().sum::<u64>(), 2);
    }

    #[test]
    fn a_torn_stat_is_an_error() {
        for text in ["", "1 (a", "1 (a) S 1", "\u{0}\u{0}"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("1")).unwrap();
            std::fs::write(dir.path().join("1/stat"), text).unwrap();
            assert!(count(dir.path(), &mut Vec::new()).is_err(), "{text:?}");
        }
    }
}
