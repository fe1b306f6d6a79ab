//! Package versions compared exactly as dpkg and rpm do it, and tables of faulty versions as data.
//!
//! Pure. A table (`remediations/versions/<id>.yaml`) says for each distribution from which version on a package is
//! affected or fixed; what it does not list is *unknown*, and unknown never triggers anything.

mod assess;
mod dpkg;
mod rpm;
mod table;

pub use assess::{Assessment, Os, assess};
pub use dpkg::compare_dpkg;
pub use rpm::{compare_rpm, compare_rpm_segment};
pub use table::{
    MAX_STEPS, Standing, Step, VersionLine, VersionScheme, VersionTable, embedded_tables,
    parse_table,
};
