//! What the API server allows an agent and what it refuses: a table of calls per kind of object,
//! made on the real server with the overlay `observe` applied.

pub mod case;
mod configmaps;
mod events;
mod identities;
mod nodes;
mod nothing_else;
mod slots;
