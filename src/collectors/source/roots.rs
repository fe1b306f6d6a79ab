//! Where procfs, sysfs, the host's root and udev's data lie, as seen from this process.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};

/// One root directory.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    kernel: bool,
}

impl Root {
    /// A root at `path`. Asks the kernel once whether that is procfs or sysfs: there, a file kept
    /// open stays true; in a tree of ordinary files it may be replaced behind our back.
    pub fn at(path: &Path) -> Root {
        let kind = statfs(path).map(|stat| stat.filesystem_type());
        let kernel = matches!(kind, Ok(PROC_SUPER_MAGIC | SYSFS_MAGIC));
        Root {
            path: path.to_path_buf(),
            kernel,
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the root.
    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    /// Whether the kernel makes the files below (procfs or sysfs), so that they can be kept open.
    pub fn is_kernel(&self) -> bool {
        self.kernel
    }
}

/// The four roots of node_exporter's `--path.*` flags.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `--path.procfs`.
    pub procfs: Root,
    /// `--path.sysfs`.
    pub sysfs: Root,
    /// `--path.rootfs`: the prefix under which the host's mounts are seen.
    pub rootfs: Root,
    /// `--path.udev.data`.
    pub udev: Root,
}

impl Roots {
    /// The roots of a process that runs on the host itself.
    pub fn host() -> Roots {
        Roots::at(
            Path::new("/proc"),
            Path::new("/sys"),
            Path::new("/"),
            Path::new("/run/udev/data"),
        )
    }

    /// Roots at the places given.
    pub fn at(procfs: &Path, sysfs: &Path, rootfs: &Path, udev: &Path) -> Roots {
        Roots {
            procfs: Root::at(procfs),
            sysfs: Root::at(sysfs),
            rootfs: Root::at(rootfs),
            udev: Root::at(udev),
        }
    }
}
