//! Many agents in virtual time (`nodemend simulate`): what a storm, a fault or somebody hostile does to a cluster.
//!
//! Each node runs the product itself: engine and gates, [`crate::lease::ApiSlots`] and its keeper, the runner with its
//! journal, what is told to people. Imagined are the machine, its disk, the steps, and an API server with the rules of
//! `manifests/base/policies`. Time is virtual and everything follows from one seed, so a play that breaks an invariant of
//! safety.md breaks it again at the same moment. Nothing here touches the machine it runs on.
//!
//! | file | what |
//! |---|---|
//! | `hall` | virtual time and the tasks in it |
//! | `scenario`, `reading`, `caps`, `plausible` | what is played, and the files that say so |
//! | `world`, `line`, `server`, `admission` | machines, the way to the API server, the server, its rules |
//! | `agent`, `mind`, `turn`, `imagined`, `trail` | one agent's process |
//! | `ailments`, `people`, `settings`, `approval`, `hostile` | what goes wrong, what people do, what somebody hostile does |
//! | `flaw`, `crooked` | defects put in by design of a test |
//! | `jury`, `disruption`, `chronicle`, `consent`, `vetting`, `patience`, `cost`, `breach` | what must hold; judged without the product's code |
//! | `play`, `meter`, `figures` | a play and what came of it |

mod admission;
mod agent;
mod ailments;
mod approval;
mod breach;
mod caps;
mod chronicle;
mod consent;
mod cost;
mod crooked;
mod disruption;
mod figures;
mod flaw;
#[cfg(test)]
mod flaw_tests;
mod hall;
mod hostile;
mod imagined;
mod jury;
mod line;
mod meter;
mod mind;
mod patience;
mod people;
mod plausible;
mod play;
mod reading;
#[cfg(test)]
mod reading_tests;
mod scenario;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod trail;
mod turn;
mod vetting;
mod world;

pub use breach::Breach;
pub use figures::Phase;
pub use flaw::Flaw;
pub use play::{Outcome, Theatre};
pub use scenario::{Chaos, Fault, Nodes, Outbreak, People, Runs, Scenario, Share, Trouble, Whom};
pub use vetting::Papers;
