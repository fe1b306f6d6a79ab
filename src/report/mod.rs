//! What people and programs are told. `model.rs` and `render/` are pure; the audit log and the exporters go out.

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
