//! What the probes saw, kept for a while: keys, values, readings, batches and the bounded timeline.
//!
//! Pure. A signature may look at nothing else, so whatever is true of the timeline (bounds, age, "missing is not
//! health") is true of every decision.

mod batch;
mod catalogue;
mod key;
mod log;
mod reading;
mod series;
mod time;
mod timeline;

pub use batch::{Batch, Sample};
pub use catalogue::{Catalogue, KeyEntry, ProbeKeys};
pub use key::{Form, Key, KeySpec, Subject, Unit, Value, ValueType};
pub use log::{LogRecord, LogSource, MAX_LOG_TEXT_BYTES};
pub use reading::{MissingReason, Reading};
pub use series::Series;
pub use time::{Timestamp, Uptime, Wall};
pub use timeline::{DroppedCount, MAX_SERIES, Timeline};
