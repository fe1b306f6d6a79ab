//! Units of a node: the bus stopped or restarted, a service that crashes all the time.

use anyhow::Result;

use crate::node::Node;

/// The bus daemon and its socket are stopped; dropped: started again.
#[derive(Debug)]
pub struct StoppedBus<'node> {
    node: &'node Node,
}

impl<'node> StoppedBus<'node> {
    pub fn on(node: &'node Node) -> Result<Self> {
        let guard = Self { node };
        // The socket too, or the next client would start the daemon again.
        node.run(&["systemctl", "stop", "dbus.socket", "dbus.service"])?
            .ok()?;
        Ok(guard)
    }
}

impl Drop for StoppedBus<'_> {
    fn drop(&mut self) {
        report(
            self.node
                .run(&["systemctl", "start", "dbus.socket", "dbus.service"])
                .and_then(|ran| ran.ok()),
        );
    }
}

/// Restarts the bus daemon: every name is without an owner for a moment.
pub fn restart_bus(node: &Node) -> Result<()> {
    node.run(&["systemctl", "restart", "dbus.service"])?
        .ok()
        .map(drop)
}

/// A service that ends with an error as soon as it starts, and is started again at once, for ever.
#[derive(Debug)]
pub struct CrashLoop<'node> {
    node: &'node Node,
    unit: &'static str,
}

impl<'node> CrashLoop<'node> {
    pub const UNIT: &'static str = "lab-crashloop.service";

    pub fn on(node: &'node Node) -> Result<Self> {
        let unit = "[Unit]\nDescription=Crashes all the time\nStartLimitIntervalSec=0\n\
                    [Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=300ms\n";
        node.write(&format!("/etc/systemd/system/{}", Self::UNIT), unit)?;
        let guard = Self {
            node,
            unit: Self::UNIT,
        };
        node.run(&["systemctl", "daemon-reload"])?.ok()?;
        node.run(&["systemctl", "start", "--no-block", Self::UNIT])?
            .ok()?;
        Ok(guard)
    }

    /// The service is repaired: its next start lasts.
    pub fn repair(&self) -> Result<()> {
        let unit = self
            .node
            .read(&format!("/etc/systemd/system/{}", self.unit))?;
        let repaired = unit.replace("/bin/false", "/bin/sleep infinity");
        self.node
            .write(&format!("/etc/systemd/system/{}", self.unit), &repaired)?;
        self.node
            .run(&["systemctl", "daemon-reload"])?
            .ok()
            .map(drop)
    }
}

impl Drop for CrashLoop<'_> {
    fn drop(&mut self) {
        let node = self.node;
        report(
            node.run(&["systemctl", "stop", self.unit])
                .and_then(|ran| ran.ok()),
        );
        report(
            node.path(&format!("/etc/systemd/system/{}", self.unit))
                .and_then(|path| Ok(std::fs::remove_file(path)?)),
        );
        report(
            node.run(&["systemctl", "daemon-reload"])
                .and_then(|ran| ran.ok()),
        );
    }
}

fn report<T>(released: Result<T>) {
    if let Err(error) = released {
        eprintln!("an injection could not be taken back: {error:#}");
    }
}
