//! What people and programs are told. `model.rs` and `render/` are pure; the audit log goes out. What the API server is told
//! next is decided by `desk.rs`, by the rests of `pace.rs`; whoever asks it sends.

pub mod audit;
pub mod conditions;
pub mod desk;
#[cfg(test)]
mod desk_tests;
pub mod events;
pub mod metrics;
pub mod model;
pub mod pace;
pub mod render;
