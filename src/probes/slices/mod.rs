//! Pressure in the slices of control groups (cgroup v2): which part of the node waits, where the node's own pressure says
//! only that something does. Hosts with cgroup v1 alone have no such files; the probe is unsupported there.

mod parse;
mod signals;

pub use parse::{Pressure, read_pressure};
pub use signals::{CPU_WAITING, IO_STALLED, IO_WAITING, MEMORY_STALLED, MEMORY_WAITING};

use super::ProbeSpec;
use super::error::ProbeError;
use super::off_thread::OneRead;
use super::text_file::{read_error, read_text};
use crate::host::Host;
use crate::signal::{Batch, Key, MissingReason, Subject};
use std::fs::read_dir;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where cgroup v2 is: alone, or beside v1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// kubelet's classes below its own slice. What lies beside them there is one pod each, and pods have no bound.
const CLASSES: [&str; 6] = [
    "kubepods.slice/kubepods-burstable.slice",
    "kubepods.slice/kubepods-besteffort.slice",
    "kubelet.slice/kubelet-kubepods.slice",
    "kubepods",
    "kubepods/burstable",
    "kubepods/besteffort",
];
/// Most slices that are shown; systemd and kubelet make about six.
const MAX_SLICES: usize = 32;

type Half = fn(Pressure) -> Option<f64>;
/// The signals of one file.
type Halves = &'static [(&'static Key<f64>, Half)];
/// Which half of which file is which signal.
const FILES: [(&str, Halves); 3] = [
    ("cpu.pressure", &[(&CPU_WAITING, |it| Some(it.some))]),
    (
        "memory.pressure",
        &[
            (&MEMORY_WAITING, |it| Some(it.some)),
            (&MEMORY_STALLED, |it| it.full),
        ],
    ),
    (
        "io.pressure",
        &[
            (&IO_WAITING, |it| Some(it.some)),
            (&IO_STALLED, |it| it.full),
        ],
    ),
];

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "slices",
    title: "pressure in slices",
    period: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    keys: &[
        &CPU_WAITING.spec,
        &MEMORY_WAITING.spec,
        &MEMORY_STALLED.spec,
        &IO_WAITING.spec,
        &IO_STALLED.spec,
    ],
    cost: "0.2 ms with 6 slices of ordinary files (least wall time of 12 starts, release build, a busy VM of 2 cores)",
};

/// Reads the pressure in slices.
pub fn probe() -> OneRead {
    OneRead::new(&SPEC, read)
}

fn read(host: &Host) -> Result<Batch, ProbeError> {
    let slices = slices(host)?;
    let mut batch = Batch::of(SPEC.name);
    for (name, directory) in &slices {
        for (file, signals) in FILES {
            let path = directory.join(file);
            let pressure = match read_text(&path) {
                Ok(text) => read_pressure(&text).ok_or_else(|| {
                    let text = format!("{} holds no pressure", path.display());
                    MissingReason::Unreadable(text.into())
                }),
                // Removed meanwhile, or a controller that is off: then there is nothing to say.
                Err(ProbeError::Unsupported { .. }) => continue,
                Err(error) => Err(error.missing_reason()),
            };
            for (key, half) in signals {
                let subject = Subject::named(name);
                match &pressure {
                    Ok(pressure) => {
                        if let Some(share) = half(*pressure) {
                            batch.set_for(key, subject, share);
                        }
                    }
                    Err(reason) => batch.missing_for(&key.spec, subject, reason.clone()),
                }
            }
        }
    }
    for (_, signals) in FILES {
        for (key, _) in signals {
            batch.lists_all(key);
        }
    }
    Ok(batch)
}

/// The slices by name, with their directories.
fn slices(host: &Host) -> Result<Vec<(String, PathBuf)>, ProbeError> {
    let is_v2 = |root: &&&str| host.path(root).join("cgroup.controllers").exists();
    let Some(root) = ROOTS.iter().find(is_v2) else {
        let what = "cgroup v2".to_owned();
        return Err(ProbeError::Unsupported { what });
    };
    let place = host.path(root);
    let mut names = Vec::new();
    for entry in read_dir(&place).map_err(|error| read_error(&place, error))? {
        let entry = entry.map_err(|error| read_error(&place, error))?;
        if let Ok(name) = entry.file_name().into_string()
            && name.ends_with(".slice")
        {
            names.push(name);
        }
    }
    let classes = CLASSES.iter().filter(|class| place.join(class).is_dir());
    names.extend(classes.map(|class| (*class).to_owned()));
    names.sort_unstable();
    names.truncate(MAX_SLICES);
    let named = |name: String| {
        let directory = place.join(&name);
        let last = Path::new(&name)
            .file_name()
            .map(|last| last.to_string_lossy());
        let is_slice = name.ends_with(".slice");
        let short = last.filter(|_| is_slice).map(|last| last.into_owned());
        (short.unwrap_or(name), directory)
    };
    Ok(names.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Value;
    use std::fs::{create_dir_all, write};

    fn value(batch: &Batch, key: &str, slice: &str) -> Option<Result<Value, &'static str>> {
        let mut samples = batch.samples.iter();
        let sample = samples.find(|one| one.key == key && one.subject.as_str() == slice)?;
        Some(sample.value.clone().map_err(|reason| reason.kind()))
    }

    fn machine(root: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join(root);
        for slice in [
            "system.slice",
            "init.scope",
            "kubepods.slice/kubepods-burstable.slice",
            "kubepods.slice/kubepods-podab12.slice",
        ] {
            let slice = root.join(slice);
            create_dir_all(&slice).expect("made");
            for (file, _) in FILES {
                let text = "some avg10=9.00 avg60=25.00 avg300=0.86 total=3\n\
                    full avg10=9.00 avg60=5.00 avg300=0.81 total=3\n";
                write(slice.join(file), text).expect("written");
            }
        }
        write(root.join("cgroup.controllers"), "cpu io memory\n").expect("written");
        dir
    }

    #[test]
    fn slices_and_kubelets_classes_are_shown_and_pods_are_not() {
        for root in ["sys/fs/cgroup", "sys/fs/cgroup/unified"] {
            let dir = machine(root);
            let batch = read(&Host::at(dir.path())).expect("read");
            let share = |key: &str, slice: &str| value(&batch, key, slice);
            let some = Some(Ok(Value::Number(0.25)));
            assert_eq!(share("slice.pressure.cpu.waiting", "system.slice"), some);
            assert_eq!(
                share("slice.pressure.io.waiting", "kubepods-burstable.slice"),
                some
            );
            let full = Some(Ok(Value::Number(0.05)));
            assert_eq!(share("slice.pressure.memory.stalled", "system.slice"), full);
            for slice in ["kubepods-podab12.slice", "init.scope"] {
                assert_eq!(share("slice.pressure.cpu.waiting", slice), None, "{slice}");
            }
        }
    }

    #[test]
    fn a_broken_file_costs_its_own_signals() {
        let dir = machine("sys/fs/cgroup");
        let slice = dir.path().join("sys/fs/cgroup/system.slice");
        write(slice.join("cpu.pressure"), "\u{0}garbled").expect("written");
        std::fs::remove_file(slice.join("io.pressure")).expect("removed");
        let batch = read(&Host::at(dir.path())).expect("read");
        let share = |key: &str| value(&batch, key, "system.slice");
        assert_eq!(share("slice.pressure.cpu.waiting"), Some(Err("unreadable")));
        assert_eq!(share("slice.pressure.io.waiting"), None);
        assert!(share("slice.pressure.memory.waiting").is_some_and(|it| it.is_ok()));
    }

    #[test]
    fn slices_without_end_are_cut_and_v1_is_unsupported() {
        let dir = machine("sys/fs/cgroup");
        for number in 0..100 {
            let slice = dir.path().join(format!("sys/fs/cgroup/x{number}.slice"));
            create_dir_all(slice).expect("made");
        }
        assert_eq!(
            slices(&Host::at(dir.path())).expect("listed").len(),
            MAX_SLICES
        );
        let none = tempfile::tempdir().expect("a directory");
        create_dir_all(none.path().join("sys/fs/cgroup/memory")).expect("made");
        let error = read(&Host::at(none.path())).expect_err("no cgroup v2");
        assert_eq!(error.kind(), "unsupported");
    }

    /// A slice of our own under the machine's cgroup v2. Needs root.
    #[test]
    fn the_kernels_own_slices_are_read() {
        let host = Host::at("/");
        let root = ROOTS
            .iter()
            .find(|root| host.path(root).join("cgroup.controllers").exists());
        let root = root.expect("this machine has no cgroup v2");
        let slice = Path::new(root).join(format!("nodemend-test-{}.slice", std::process::id()));
        std::fs::create_dir(&slice).expect("root");
        let batch = read(&host);
        std::fs::remove_dir(&slice).expect("removed");
        let name = slice
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let batch = batch.expect("read");
        let share = value(&batch, "slice.pressure.cpu.waiting", &name);
        assert_eq!(share, Some(Ok(Value::Number(0.0))));
    }
}
