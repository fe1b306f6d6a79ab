//! `nodemend slot list` and `slot release`: for people with the rights.

use crate::app::cli::{Common, Output, SlotCommand};
use crate::app::{Exit, clusters, world};
use crate::document::{Place, Problems};
use crate::host::cluster::{Call, Cluster, Fields, Resource, Verb};
use crate::lease::SlotName;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// How many leases one list shows: all slots of the caps, and the claims of many nodes.
const MAX_SHOWN: &str = "5000";

/// A slot or a claim.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    node: String,
    run: String,
    since: String,
    renewed: String,
}

/// Runs the command.
///
/// # Errors
/// No way to the API server, its refusal, or an answer that cannot be understood.
pub async fn run(common: &Common, command: &SlotCommand) -> Result<(String, Exit), Vec<Problems>> {
    let (access, slot) = match command {
        SlotCommand::List { access } => (access, None),
        SlotCommand::Release { access, name } => {
            (access, Some(name.parse::<SlotName>().map_err(refused)?))
        }
    };
    let kubeconfig = access.kubeconfig.clone().or_else(world::kubectls_config);
    let (cluster, namespace) = clusters::connect(
        kubeconfig.as_deref(),
        access.namespace.as_deref(),
        Arc::new(|_, _, _| {}),
    )
    .await?;
    match slot {
        None => list(common, &*cluster, &namespace).await,
        Some(slot) => release(&*cluster, &namespace, &slot).await,
    }
}

fn refused(text: impl std::fmt::Display) -> Vec<Problems> {
    let mut problems = Problems::of("slot");
    problems.add(Place::default(), text.to_string());
    vec![problems]
}

async fn list(
    common: &Common,
    cluster: &dyn Cluster,
    namespace: &str,
) -> Result<(String, Exit), Vec<Problems>> {
    let call = Call::new(Verb::List, Resource::Leases, namespace, "").with("limit", MAX_SHOWN);
    let answer = cluster.call(call).await.map_err(refused)?;
    let items = answer.get("items").and_then(Value::as_array);
    let mut rows: Vec<Row> = items.into_iter().flatten().filter_map(row_of).collect();
    rows.sort_by(|a, b| (b.kind, &a.name).cmp(&(a.kind, &b.name)));
    let text = match common.output {
        Output::Json => serde_json::to_string(&rows).map_err(refused)? + "\n",
        Output::Text => table(&rows),
    };
    Ok((text, Exit::Fine))
}

/// A lease of ours; others in the namespace are not shown.
fn row_of(item: &Value) -> Option<Row> {
    let fields = Fields::of(item, "Lease");
    let text = |pointer: &str| {
        let text = fields.maybe_text(pointer).ok().flatten();
        text.unwrap_or("-").to_owned()
    };
    let is_slot = fields.name().parse::<SlotName>().is_ok();
    let is_claim = text("/metadata/labels/nodemend.io~1kind") == "claim";
    (is_slot || is_claim).then(|| Row {
        name: fields.name().to_owned(),
        kind: if is_slot { "slot" } else { "claim" },
        node: text("/spec/holderIdentity"),
        run: text("/metadata/annotations/nodemend.io~1run"),
        since: text("/metadata/creationTimestamp"),
        renewed: text("/spec/renewTime"),
    })
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no slot is taken and no node waits\n".to_owned();
    }
    let mut text = format!(
        "{:<6} {:<28} {:<24} {:<10} {:<21} RENEWED\n",
        "KIND", "NAME", "NODE", "RUN", "SINCE"
    );
    for row in rows {
        let Row {
            name,
            kind,
            node,
            run,
            since,
            renewed,
        } = row;
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{kind:<6} {name:<28} {node:<24} {run:<10} {since:<21} {renewed}"
        )
        .ok();
    }
    text
}

async fn release(
    cluster: &dyn Cluster,
    namespace: &str,
    slot: &SlotName,
) -> Result<(String, Exit), Vec<Problems>> {
    let name = slot.to_string();
    let call = Call::new(Verb::Get, Resource::Leases, namespace, &name);
    let found = cluster.call(call).await.map_err(refused)?;
    let fields = Fields::of(&found, "Lease");
    let uid = fields.text("/metadata/uid").map_err(refused)?;
    let version = fields.text("/metadata/resourceVersion").map_err(refused)?;
    let holder = fields.maybe_text("/spec/holderIdentity").map_err(refused)?;
    // Both as conditions: what is freed is what was looked at, and not what a node renewed meanwhile.
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": { "uid": uid, "resourceVersion": version },
    });
    let call = Call::new(Verb::Delete, Resource::Leases, namespace, &name).sending(options);
    cluster.call(call).await.map_err(|error| {
        let hint = if error.code() == Some(409) {
            "; its holder renewed it meanwhile, so a run is under way there"
        } else {
            ""
        };
        refused(format!("{error}{hint}"))
    })?;
    let holder = holder.unwrap_or("nobody");
    Ok((
        format!(
            "{name} is free; {holder} held it. A run on {holder} that is still under way ends at its next step.\n"
        ),
        Exit::Fine,
    ))
}
