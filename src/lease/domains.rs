//! The domains in which a node needs slots, from its labels, and how many are free there. Pure.

use super::exchange::Want;
use super::name::SlotName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Labels that name a node's pool, the first one counts.
const POOL_LABELS: [&str; 6] = [
    "nodemend.io/pool",
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "node.cluster.x-k8s.io/machinedeployment",
];
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const CONTROL_PLANE_LABELS: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// The domains of a node in the fixed order in which slots are taken, from its labels.
pub fn domains_of(labels: &BTreeMap<String, String>) -> Vec<Arc<str>> {
    let mut domains = vec![Arc::from("cluster")];
    if let Some(zone) = labels.get(ZONE_LABEL) {
        domains.push(Arc::from(format!("zone-{}", spelled(zone))));
    }
    if let Some(pool) = POOL_LABELS.iter().find_map(|key| labels.get(*key)) {
        domains.push(Arc::from(format!("pool-{}", spelled(pool))));
    }
    if CONTROL_PLANE_LABELS
        .iter()
        .any(|key| labels.contains_key(*key))
    {
        domains.push(Arc::from("control-plane"));
    }
    domains
}

fn spelled(text: &str) -> String {
    text.chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// How many slots are free where they are scarcest, and where that is. `taken` are the names of all slots that there are.
pub fn free_slots<'a>(wants: &'a [Want], taken: &BTreeSet<SlotName>) -> Option<(u64, &'a Want)> {
    let free = |want: &Want| {
        let used = taken
            .iter()
            .filter(|name| name.domain() == &*want.domain && name.index() < want.cap)
            .count() as u64;
        u64::from(want.cap).saturating_sub(used)
    };
    wants
        .iter()
        .map(|want| (free(want), want))
        .min_by_key(|(free, _)| *free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_come_in_a_fixed_order_and_in_the_policy_s_spelling() {
        let labels = |pairs: &[(&str, &str)]| {
            let map = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            domains_of(&map)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(&[]), ["cluster"]);
        assert_eq!(
            labels(&[
                ("karpenter.sh/nodepool", "GPU_big"),
                (ZONE_LABEL, "eu-1a"),
                ("node-role.kubernetes.io/control-plane", "")
            ]),
            ["cluster", "zone-eu-1a", "pool-gpu-big", "control-plane"]
        );
    }
}
