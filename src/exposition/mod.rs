//! The page a scraper reads: families, samples and numbers as node_exporter writes them.
//!
//! Contract: pure text out. Nothing here reads a file, a clock or a socket. A page is written in
//! one pass into a buffer that is kept between scrapes; names and labels are rendered once, when
//! they are first seen; digits that the kernel printed are copied where the value allows it.
//!
//! | file | what |
//! |---|---|
//! | `family.rs` | what a family is (name, type, help, source, unit, differences) |
//! | `label.rs` | labels, rendered and escaped once |
//! | `number.rs` | numbers in the shape that Go's `strconv` gives them |
//! | `page.rs` | the buffer and the only way to write a sample |
//! | `sheet.rs` | samples gathered by file and written by family |
//! | `openmetrics.rs` | the finished page as OpenMetrics |
//! | `negotiate.rs` | which of the two, and whether compressed |
//! | `gzip.rs` | compression at level 1 with a kept state |

pub mod family;
pub mod gzip;
pub mod label;
pub mod negotiate;
pub mod number;
pub mod openmetrics;
pub mod page;
pub mod sheet;
