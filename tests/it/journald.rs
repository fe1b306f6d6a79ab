//! The probe `journal` beside a real journald that writes, rotates and deletes.
//!
//! journald runs in mount and process namespaces of its own, so the machine's journal is not touched. Needs root, `unshare` and
//! systemd-journald, and fails where one of them is missing.
#![allow(clippy::disallowed_methods, reason = "tests start commands themselves")]

use nodemend::host::Host;
use nodemend::probes::Probe;
use nodemend::probes::journal::{FileStore, JournalLog};
use nodemend::signal::{Batch, LogSource, Value};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Without cgroups of its own a sender is unknown, so its lines are counted and not shown: that is how they are seen here.
const SCRIPT: &str = r"
mount -t tmpfs tmpfs /run
mkdir -p /run/log/journal /run/systemd /run/own/log /run/own/etc /run/own/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/own/etc,workdir=/run/own/work /etc
echo 44444444444444444444444444444444 > /etc/machine-id
rm -rf /etc/systemd/journald.conf.d
mkdir -p /etc/systemd
printf '[Journal]\nReadKMsg=no\nRateLimitIntervalSec=0\n' > /etc/systemd/journald.conf
mount --bind /run/own/log /var/log
/lib/systemd/systemd-journald &
until test -S /run/systemd/journal/stdout; do sleep 0.05; done
echo ready
while read -r verb count; do
  case $verb in
    write) seq $count | systemd-cat -t nodemend-test; journalctl --sync ;;
    rotate) journalctl --rotate ;;
    vacuum) journalctl -q --vacuum-files=1 ;;
  esac
  echo ready
done
";

struct Journald {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Journald {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .args([
                "-m",
                "-p",
                "-f",
                "--mount-proc",
                "--propagation",
                "private",
                "--kill-child=KILL",
            ])
            .args(["sh", "-ec", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut journald = Self {
            child,
            input,
            output,
        };
        journald.expect_ready();
        journald
    }

    fn expect_ready(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("readable");
        assert_eq!(line, "ready\n", "needs root and systemd-journald");
    }

    fn run(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("it reads");
        self.expect_ready();
    }

    fn host(&self) -> Host {
        Host::at(format!("/proc/{}/root", self.child.id()))
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(probe: &mut JournalLog, host: &Host) -> Batch {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(probe.collect(host))
        .expect("readable")
}

/// Runs until the end of the journal is reached; gives the lines of unknown senders so far, and the gaps of these runs.
fn drain(probe: &mut JournalLog, host: &Host) -> (i64, u64) {
    let mut gaps = 0;
    let mut runs = (0..100).map(|_| collect(probe, host));
    let last = runs.find(|batch| {
        gaps += batch.gaps.iter().map(|(_, count)| count).sum::<u64>();
        batch.heard == [LogSource::Journal]
    });
    let last = last.expect("the journal ends");
    let count = last.samples.iter().find_map(|sample| match &sample.value {
        Ok(Value::Integer(count)) if sample.key == "journal.untrusted" => Some(*count),
        _ => None,
    });
    (count.expect("counted"), gaps)
}

fn probe(state: &Path) -> JournalLog {
    JournalLog::new(Box::new(FileStore::at(state.join("journal.position"))))
}

#[test]
fn every_line_is_read_once_through_writing_rotation_and_deletion() {
    let state = tempfile::tempdir().expect("a directory");
    let mut journald = Journald::start();
    let host = journald.host();
    let mut reader = probe(state.path());
    journald.run("write 3");
    assert_eq!(drain(&mut reader, &host), (3, 0));
    assert_eq!(drain(&mut reader, &host), (3, 0), "nothing twice");
    journald.run("write 5000");
    assert_eq!(
        drain(&mut reader, &host),
        (5_003, 0),
        "more than one run reads"
    );
    journald.run("write 10");
    journald.run("rotate");
    journald.run("write 10");
    assert_eq!(
        drain(&mut reader, &host),
        (5_023, 0),
        "on both sides of a rotation"
    );

    // The position was saved at the first run, after three lines: a new agent reads all later ones again, and none is a gap.
    let mut restarted = probe(state.path());
    assert_eq!(drain(&mut restarted, &host), (5_020, 0));
    journald.run("rotate");
    journald.run("write 7");
    journald.run("vacuum");
    assert_eq!(drain(&mut restarted, &host), (5_027, 0));

    // What was deleted before a new agent could read it is a gap. Rotation and start put lines of journald's own between.
    let (read, lost) = drain(&mut probe(state.path()), &host);
    assert_eq!(read, 7);
    assert!((10..5_060).contains(&lost), "{lost}");
}
