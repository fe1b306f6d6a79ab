//! The slot protocol, model-checked: the product's own slot machine in two or three agents, against an API server that
//! loses requests and answers, delivers them late, and reads stale; with crashes, restarts, pauses (nobody has to act while
//! time goes on, so an agent may sleep longer than the hold at any point) and deleted Nodes.
//!
//! One tick is 30 s, so the hold of 60 s is two ticks. Every broken variant must give a counterexample: a model that cannot
//! find them would prove nothing.

mod agent;
mod check;
mod protocol;
mod server;
