//! Distribution, kernel, boot and name of the machine.

mod parse;
mod signals;

pub use parse::OsRelease;
pub use signals::{BOOT_ID, HOSTNAME, ID, ID_LIKE, KERNEL, PRETTY, VERSION_ID};

use super::ProbeSpec;
use super::error::ProbeError;
use super::off_thread::OneRead;
use super::text_file::read_text;
use crate::host::Host;
use crate::signal::{Batch, Key, MissingReason};
use std::sync::Arc;
use std::time::Duration;

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "os",
    title: "operating system",
    period: Duration::from_secs(300),
    timeout: Duration::from_secs(5),
    keys: &[
        &ID.spec,
        &VERSION_ID.spec,
        &PRETTY.spec,
        &ID_LIKE.spec,
        &KERNEL.spec,
        &BOOT_ID.spec,
        &HOSTNAME.spec,
    ],
    cost: "0.3 ms wall, 0.15 ms CPU (2 cores of a VM, unoptimised build)",
};

/// Reads os-release and three files of `/proc`.
pub fn probe() -> OneRead {
    OneRead::new(&SPEC, read)
}

/// The machine's os-release: `/etc` before `/usr/lib`, as the format asks.
///
/// # Errors
/// Neither is there, or they cannot be read. May block: call it off the async threads.
pub fn read_os_release(host: &Host) -> Result<OsRelease, ProbeError> {
    // A link in /etc usually points to ../usr/lib, which stays below the machine's root.
    let text = match read_text(&host.path("/etc/os-release")) {
        Err(ProbeError::Unsupported { .. }) => read_text(&host.path("/usr/lib/os-release"))?,
        other => other?,
    };
    Ok(OsRelease::parse(&text))
}

fn read(host: &Host) -> Result<Batch, ProbeError> {
    let mut batch = Batch::of(SPEC.name);
    match read_os_release(host) {
        Ok(release) => {
            batch.set(&ID, Arc::from(release.id()));
            for (key, name) in [
                (&VERSION_ID, "VERSION_ID"),
                (&PRETTY, "PRETTY_NAME"),
                (&ID_LIKE, "ID_LIKE"),
            ] {
                let missing = || MissingReason::NotHere(format!("os-release has no {name}").into());
                put(&mut batch, key, release.get(name).ok_or_else(missing));
            }
        }
        Err(error) => {
            for key in [&ID, &VERSION_ID, &PRETTY, &ID_LIKE] {
                batch.missing(&key.spec, error.missing_reason());
            }
        }
    }
    for (key, path) in [
        (&KERNEL, "/proc/sys/kernel/osrelease"),
        (&BOOT_ID, "/proc/sys/kernel/random/boot_id"),
        (&HOSTNAME, "/proc/sys/kernel/hostname"),
    ] {
        let text = read_text(&host.path(path));
        let word = text.as_deref().map(str::trim);
        put(&mut batch, key, word.map_err(ProbeError::missing_reason));
    }
    Ok(batch)
}

fn put(batch: &mut Batch, key: &Key<Arc<str>>, text: Result<&str, MissingReason>) {
    match text {
        Ok(text) => batch.set(key, Arc::from(text)),
        Err(reason) => batch.missing(&key.spec, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Value;

    #[test]
    fn this_machine_is_described_and_a_part_that_is_missing_does_not_hide_the_rest() {
        let whole = read(&Host::at("/")).expect("read");
        assert_eq!(whole.samples.len(), SPEC.keys.len());
        let boot = whole
            .samples
            .iter()
            .find(|s| s.key == "boot.id")
            .expect("one");
        assert!(matches!(&boot.value, Ok(Value::Text(id)) if id.len() == 36));

        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("usr/lib")).expect("made");
        std::fs::write(root.path().join("usr/lib/os-release"), "ID=arch\n").expect("written");
        let partial = read(&Host::at(root.path())).expect("read");
        assert_eq!(partial.samples[0].value, Ok(Value::Text("arch".into())));
        let missing = partial.samples.iter().filter(|s| s.value.is_err()).count();
        assert_eq!(missing, SPEC.keys.len() - 1);
    }
}
