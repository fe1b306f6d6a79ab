//! smoke
use crate::controlplane::ControlPlane;
use crate::fleet::{Agent, LEASES};

#[test]
fn smoke() {
    let plane = ControlPlane::start("smoke");
    eprintln!("ready after {:?}; {:?}", plane.ready_after(), plane.memory());
    plane.apply("overlays/observe");
    let a = Agent::join(&plane, "node-a");
    std::thread::sleep(std::time::Duration::from_secs(3));
    eprintln!("{:?}", a.caller.create(LEASES, &a.lease("slot.cluster.0")));
    eprintln!("{:?}", a.caller.create(LEASES, &a.lease("slot.cluster.1")));
}
