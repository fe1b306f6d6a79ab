//! `nodemend metrics`: one scrape on stdout.

use crate::app::cli::{Common, MetricsArgs};
use crate::app::{Exit, world};
use crate::collectors::TABLE;
use crate::document::Problems;
use crate::scrape::page::ScrapePage;
use crate::scrape::selection::Selection;

/// Runs the command.
///
/// # Errors
/// Flags that a collector cannot use.
pub fn run(common: &Common, args: &MetricsArgs) -> Result<(String, Exit), Vec<Problems>> {
    let refused = |error: &dyn std::error::Error| world::refused("--collector", error);
    let settings = args
        .scrape
        .clone()
        .under_root(&common.root)
        .settings()
        .map_err(|error| refused(&error))?;
    let mut page = ScrapePage::new(&settings, TABLE).map_err(|error| refused(&error))?;
    let text = String::from_utf8_lossy(page.render(&Selection::All)).into_owned();
    Ok((text, Exit::Fine))
}
