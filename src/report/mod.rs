//! What people and programs are told. `model.rs` and `render/` are pure; the exporters go out.

pub mod model;
pub mod render;
