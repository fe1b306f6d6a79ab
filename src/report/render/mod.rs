//! Views as text for a terminal.

mod check;
mod explain;
mod paint;
mod status;

pub use check::{CheckReport, CheckRow, render_check};
pub use explain::{render_cases, render_explain};
pub use paint::Paint;
pub use status::render_status;
