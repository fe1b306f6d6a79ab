//! What collectors read from, and how.
//!
//! | file | what |
//! |---|---|
//! | `adjtimex.rs` | the kernel's clock discipline, the one system call without a safe wrapper |
//! | `apart.rs` | work off the rendering thread, with deadlines and a cap on stuck threads |
//! | `roots.rs` | where procfs, sysfs, the host's root and udev's data lie |
//! | `held.rs` | a file that is kept open and read with `pread` to its end |
//! | `shared.rs` | a file that two collectors read once a page |
//! | `dir.rs` | a directory's names, looked at again once an epoch |
//! | `links.rs` | the network links by one netlink dump |
//! | `statfs.rs` | `statfs` of many mounts, with a deadline for each |
//! | `mounts.rs` | the mount table, read again when it changed |
//! | `scan.rs` | lines, fields and numbers of the kernel's text |
//! | `attribute.rs` | files that hold one number each |
//! | `class.rs` | the devices below one directory of sysfs |
//! | `human.rs` | sizes that the kernel rounds for people |
//! | `info.rs` | labels made of the words in a device's files |
//! | `netlink.rs` | a dump over netlink |
//! | `rpc.rs` | the counters of NFS client and server |
//! | `known.rs` | what was rendered for a name, found again by place |

pub mod adjtimex;
pub mod apart;
pub mod attribute;
pub mod class;
pub mod dir;
pub mod held;
pub mod human;
pub mod info;
pub mod known;
pub mod links;
pub mod mounts;
pub mod netlink;
pub mod roots;
pub mod rpc;
pub mod scan;
pub mod shared;
pub mod statfs;
