//! Defects put in on purpose: a checker that never fails proves nothing.

/// One defect, of the agents or of the server's rules, or of both where each alone is caught by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Agents take a slot number beyond the cap where all others are taken, and the server lets them (I1).
    BeyondTheCap,
    /// Agents delete the slot of another node and take it, and the server lets them (I3).
    TakesOver,
    /// Agents do not see breakers, and the server does not look (I4).
    IgnoresTheBreaker,
    /// As before, but the server does look: nothing may break.
    BlindToTheBreaker,
    /// A renewal is said to have been made, and was not (I5).
    RenewsInWordsOnly,
    /// After a restart the old proof still counts: the clock of the lease does not notice suspend (I5).
    ClockStopsInSuspend,
    /// The slot is freed as soon as it was renewed once (I11).
    FreesEarly,
    /// The own Node is read from a cache (I12).
    ReadsTheNodeFromACache,
    /// The disk forgets everything when the process dies (I7, I10).
    DiskForgets,
    /// After a restart new runs may start before the engine knows of the one that is open (I7).
    RecallsTooLate,
    /// Agents write other Nodes, and the server lets them (I16).
    WritesAnyNode,
    /// Agents wait twenty minutes between two tries (I19).
    WaitsTooLong,
}
