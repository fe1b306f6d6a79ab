//! The lab: nodes with a real systemd, real injections, and the agent as it is shipped.
//!
//! Needs root, `systemd-nspawn`, `debootstrap` and this machine's apt archive (the first time); `tests/run` installs
//! them. It drives the built binary and links nothing of the crate. A test that cannot run fails.
//!
//! | part | what it is |
//! |---|---|
//! | `root` | the file tree of a node, made once and cached |
//! | `node` | a node: boot, commands, files, power |
//! | `bus` | questions to a node's bus with a deadline, and the serial of the answer |
//! | `inject` | one file per kind of fault, each a guard with its release |
//! | `agent` | the agent on a node: installed, started, killed, asked |
//! | `playbook` | the shipped playbooks with a soak of seconds, signed by the lab |
//! | `story` | its audit log read as a story |
//! | `real_systemd` | the tests of `it` that need a systemd of their own |
//! | `snapshot` | a node compared before and after |
//! | `injections` | each injection shown to give the picture it claims, with the node's own tools |
//! | `scenarios` | the agent against the injections: the whole story of each case |

#![allow(
    clippy::disallowed_methods,
    reason = "the lab is the outside world: it starts processes, reads clocks and the environment"
)]

mod agent;
mod bus;
mod inject;
mod injections;
mod node;
mod playbook;
mod real_systemd;
mod root;
mod scenarios;
mod snapshot;
mod story;
mod wait;
