//! The tests of `it` that need a real systemd as PID 1, inside a node: the machine's own is left alone.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::node::Plan;

/// A minute on two idle cores.
const LIMIT: Duration = Duration::from_secs(300);

/// The test binary `it`, which Cargo lays beside this one; the newest, because old builds stay.
fn it() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hash = name.strip_prefix("it-").unwrap_or_default();
        if !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = found.into_iter().max();
    let (_, path) =
        newest.context("no test binary `it`: run `cargo test --test it --no-run` first")?;
    Ok(path)
}

#[test]
fn tests_of_a_real_systemd_pass_in_a_node() -> Result<()> {
    let node = Plan::new("real_systemd")?
        .with_file(&it()?, "/opt/it")
        .boot()?;
    node.wait_until_running()?;
    // One at a time: some of them re-execute PID 1.
    let argv = ["/opt/it", "--ignored", "--test-threads=1", "real_systemd"];
    let told = node.run_within(LIMIT, &argv)?.ok()?;
    println!("{told}");
    let passed = told.lines().filter(|line| line.ends_with("... ok")).count();
    ensure!(passed >= 8, "only {passed} tests ran:\n{told}");
    Ok(())
}
