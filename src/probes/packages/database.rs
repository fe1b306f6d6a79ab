//! Which package database the machine has, and how to tell that it changed.

use super::parse::{Installed, read_dpkg_status};
use crate::host::Host;
use crate::probes::error::ProbeError;
use crate::probes::text_file::read_error;
use crate::versions::VersionScheme;
use std::fs::{File, Metadata, metadata};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const DPKG_STATUS: &str = "/var/lib/dpkg/status";

/// Where rpm keeps its database: sqlite, ndb and Berkeley DB, in the old place and the new one (rpm 4.16 and later).
const RPM_DATABASES: &[&str] = &[
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
];

/// A package database and its present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// How its versions are ordered.
    pub scheme: VersionScheme,
    /// Where it is, as seen from here.
    pub path: PathBuf,
    /// Inode, length and time of change: another value means that it was written.
    stamp: (u64, u64, i64, i64),
}

/// The machine's package database. An empty status file of dpkg is none: rpm distributions that offer dpkg have one.
///
/// # Errors
/// There is none, or it cannot be looked at. May block: call it off the async threads.
pub fn find_database(host: &Host) -> Result<Database, ProbeError> {
    let candidates = std::iter::once((VersionScheme::Dpkg, DPKG_STATUS))
        .chain(RPM_DATABASES.iter().map(|path| (VersionScheme::Rpm, *path)));
    for (scheme, absolute) in candidates {
        let path = host.path(absolute);
        match metadata(&path) {
            Ok(found) if found.len() > 0 => {
                let stamp = stamp(&found);
                return Ok(Database {
                    scheme,
                    path,
                    stamp,
                });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(read_error(&path, error)),
        }
    }
    let what = "a package database (dpkg or rpm)".to_owned();
    Err(ProbeError::Unsupported { what })
}

fn stamp(found: &Metadata) -> (u64, u64, i64, i64) {
    (found.ino(), found.len(), found.mtime(), found.mtime_nsec())
}

/// The watched packages of a status file.
pub(super) fn read_dpkg(path: &Path) -> Result<Installed, ProbeError> {
    File::open(path)
        .and_then(|file| read_dpkg_status(BufReader::with_capacity(64 * 1024, file)))
        .map_err(|source| read_error(path, source))
}
