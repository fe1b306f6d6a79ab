//! Tells the API server how the node is. What is told and when is decided by `report::desk`; here it is sent and waited for.

use super::cluster::ClusterSide;
use super::core::Core;
use crate::host::clock::Clock;
use crate::report::conditions::telling;
use crate::report::desk::{Facts, Next};
use std::sync::Arc;

/// Reports for ever.
pub async fn report(core: Arc<Core>, side: Arc<ClusterSide>, clock: Arc<dyn Clock>) {
    loop {
        let (now, view) = (clock.now(), side.view());
        let telling = {
            let engine = core.engine();
            telling(&engine, now, side.desk().waiting(engine.run()))
        };
        let facts = Facts {
            now,
            view: view.as_ref(),
            telling: &telling,
            agents: side.slots.agents_known(),
        };
        let next = side.desk().next(&facts);
        match next {
            Next::Send(call) => {
                let answer = side.api.call(call).await;
                let now = clock.now();
                side.desk().heard(&Facts { now, ..facts }, answer);
            }
            Next::Rest(span) => tokio::select! {
                () = side.changed.notified() => {}
                () = clock.sleep(span) => {}
            },
        }
    }
}
