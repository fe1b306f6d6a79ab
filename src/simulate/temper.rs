//! How rough a life is.

use std::time::Duration;

/// How often things happen, on average.
#[derive(Debug, Clone, Copy)]
pub struct Temper {
    /// A fault strikes.
    pub fault_every: Duration,
    /// How long it stands if nobody mends it.
    pub fault_lasts: Duration,
    /// A probe fails for a while.
    pub probe_fails_every: Duration,
    /// The agent's process ends and begins again.
    pub restart_every: Duration,
    /// The machine restarts.
    pub reboot_every: Duration,
    /// The wall clock jumps.
    pub jump_every: Duration,
    /// The machine is suspended for a while.
    pub suspend_every: Duration,
    /// A person changes something.
    pub person_every: Duration,
    /// One reading in so many is lost; 0: none.
    pub loss: u64,
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Temper {
    /// Everything that can go wrong goes wrong several times a day.
    pub const ROUGH: Temper = Temper {
        fault_every: Duration::from_secs(2_400),
        fault_lasts: HOUR,
        probe_fails_every: Duration::from_secs(7_200),
        restart_every: Duration::from_secs(10_800),
        reboot_every: Duration::from_secs(43_200),
        jump_every: Duration::from_secs(7_200),
        suspend_every: Duration::from_secs(28_800),
        person_every: Duration::from_secs(1_800),
        loss: 150,
    };

    /// A node of a well-kept cluster that has a bad day every other week.
    pub const ORDINARY: Temper = Temper {
        fault_every: Duration::from_secs(14 * 86_400),
        fault_lasts: Duration::from_secs(6 * 3_600),
        probe_fails_every: Duration::from_secs(7 * 86_400),
        restart_every: Duration::from_secs(14 * 86_400),
        reboot_every: Duration::from_secs(45 * 86_400),
        jump_every: Duration::from_secs(60 * 86_400),
        suspend_every: Duration::from_secs(90 * 86_400),
        person_every: Duration::from_secs(10 * 86_400),
        loss: 20_000,
    };
}
