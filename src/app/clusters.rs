//! The way to the API server, as the flags say.

use crate::document::{Place, Problems};
use crate::host::cluster::{Access, Cluster, KubeCluster, Tally};
use std::path::Path;
use std::sync::Arc;

/// The agents' namespace if nothing says otherwise.
const DEFAULT_NAMESPACE: &str = "nodemend";

/// The API server and the agents' namespace. Sends nothing yet: a server that is away is no reason not to start.
///
/// # Errors
/// There is no service account and no kubeconfig, or it cannot be used.
pub async fn connect(
    kubeconfig: Option<&Path>,
    namespace: Option<&str>,
    tally: Tally,
) -> Result<(Arc<dyn Cluster>, String), Vec<Problems>> {
    let access = match kubeconfig {
        Some(path) => Access::Kubeconfig(path.to_owned()),
        None => Access::InCluster,
    };
    let cluster = KubeCluster::connect(&access, tally)
        .await
        .map_err(|error| {
            let mut problems = Problems::of("cluster");
            problems.add(Place::default(), error.to_string());
            vec![problems]
        })?;
    let namespace = match (namespace, &access) {
        (Some(namespace), _) => namespace.to_owned(),
        (None, Access::InCluster) => cluster.namespace().to_owned(),
        (None, Access::Kubeconfig(_)) => DEFAULT_NAMESPACE.to_owned(),
    };
    Ok((Arc::new(cluster), namespace))
}
