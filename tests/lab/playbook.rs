//! The shipped playbooks as the lab runs them: the same steps with a soak of seconds, as a version of its own, signed by
//! a key of the lab that the node's configuration trusts. So every mend in the lab also proves signing and trust.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::agent::BINARY;
use crate::node::Node;

/// Above every released version for a long time.
const VERSION: &str = "1.0.1000";
const FOLDER: &str = "/etc/nodemend/playbooks";
/// What a released playbook asks of the lab's patience, and what it gets.
const SOAKS: &[&str] = &["soak: 5m", "soak: 2m"];
const SOAK: &str = "soak: 6s";

/// A shipped playbook with some of its text exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Edited<'a> {
    pub id: &'a str,
    /// Each must occur in the shipped text.
    pub edits: &'a [(&'a str, &'a str)],
}

/// Signs the lab's versions, puts them on the node, and gives the lines of the configuration that make it trust them.
pub fn put(node: &Node, playbooks: &[Edited<'_>]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("lab.key");
    let public = nodemend(&[
        "playbook",
        "keygen",
        "lab",
        "--private",
        &key.display().to_string(),
    ])?;
    for playbook in playbooks {
        let file = folder.path().join(format!("{}.yaml", playbook.id));
        fs::write(&file, text(playbook)?)?;
        let path = file.display().to_string();
        nodemend(&[
            "playbook",
            "sign",
            &path,
            "--key",
            &key.display().to_string(),
        ])?;
        let inside = format!("{FOLDER}/{}/{VERSION}.yaml", playbook.id);
        node.write(&inside, &fs::read_to_string(&file)?)?;
        node.write(
            &format!("{inside}.sig"),
            &fs::read_to_string(format!("{path}.sig"))?,
        )?;
    }
    let key = public
        .split_whitespace()
        .find(|word| word.starts_with("ed25519:"));
    let key = key.with_context(|| format!("no public key in: {public}"))?;
    Ok(format!(
        "playbooks: {{ dir: {FOLDER} }}\ntrust: {{ keys: [ {{ name: lab, key: '{key}' }} ] }}\n"
    ))
}

fn text(playbook: &Edited<'_>) -> Result<String> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("remediations/playbooks")
        .join(playbook.id)
        .join("1.0.0.yaml");
    let mut text =
        fs::read_to_string(&shipped).with_context(|| format!("read {}", shipped.display()))?;
    for soak in SOAKS {
        text = text.replace(soak, SOAK);
    }
    let version = ("version: 1.0.0", format!("version: {VERSION}"));
    let edits = playbook
        .edits
        .iter()
        .map(|(from, to)| (*from, (*to).to_owned()));
    for (from, to) in edits.chain([version]) {
        ensure!(
            text.contains(from),
            "{} does not hold {from:?} any more",
            shipped.display()
        );
        text = text.replace(from, &to);
    }
    Ok(text)
}

fn nodemend(arguments: &[&str]) -> Result<String> {
    let output = Command::new(BINARY).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "nodemend {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
