//! What a node's own apt is told, for nodes that are made from older packages than the archive has.

use anyhow::Result;

use super::apt::{Archive, is_debian, sources, uri_of};

/// A sources.list with all that `archive` has for `suite`, and this machine's security archive if it has one.
pub fn sources_list(archive: &Archive, suite: &str) -> Result<String> {
    let main = &archive.main;
    let mut list = format!("deb {main} {suite} main\ndeb {main} {suite}-updates main\n");
    let security = uri_of(&sources()?, |suite| {
        let base = suite
            .strip_suffix("-security")
            .or_else(|| suite.strip_suffix("/updates"));
        base.is_some_and(is_debian)
    })?;
    if let Some(security) = security {
        list.push_str(&format!("deb {security} {suite}-security main\n"));
    }
    Ok(list)
}
