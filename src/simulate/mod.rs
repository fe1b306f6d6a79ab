//! Lives that were never lived: the product's own pure core on machines that are not there, in virtual time, from a seed.
//!
//! Pure. [`Life`] is one node: its engine, its ledger on an imagined disk, its probes' readings, faults that come and go,
//! clocks that jump, restarts, reboots, and people who change their minds. After every turn everything that must hold is
//! looked at; what does not hold ends the life with [`Broken`], which names the seed. The same seed lives the same life.

mod chance;
mod demand;
mod fate;
mod life;
mod machine;
mod people;
mod temper;

pub use chance::Chance;
pub use life::{Broken, Life, Tally, World};
pub use machine::{Fault, Machine, PROBES};
pub use temper::Temper;
