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
//! | `scenario`, `reading` | what is played, and the files that say so |
//! | `world`, `line`, `server`, `admission` | machines, the way to the API server, the server, its rules |
//! | `agent`, `mind`, `turn`, `imagined` | one agent's process |
//! | `people`, `hostile`, `flaw` | what goes wrong: by chance, by intent, by design of a test |
//! | `jury`, `disruption`, `breach` | what must hold; knows none of the product's code |
//! | `play`, `meter`, `figures` | a play and what came of it |

mod admission;
mod agent;
mod breach;
mod disruption;
mod figures;
mod flaw;
mod hall;
mod hostile;
mod imagined;
mod jury;
mod line;
mod meter;
mod mind;
mod people;
mod play;
mod reading;
mod scenario;
mod server;
#[cfg(test)]
mod tests;
mod turn;
mod world;

pub use breach::Breach;
pub use figures::Phase;
pub use flaw::Flaw;
pub use play::{Outcome, Theatre};
pub use scenario::{Chaos, Fault, Nodes, Outbreak, Runs, Scenario, Share, Trouble, Whom};
