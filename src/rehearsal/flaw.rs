//! Defects put in on purpose: a checker that never fails proves nothing.

/// One defect, of the agents or of the server's rules, or of both where each alone is caught by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Agents take a slot number beyond the cap where all others are taken, and the server lets them (I1).
    BeyondTheCap,
    /// Agents do not see that a node carries the control plane, so they take no slot of its domain (I2, I18).
    BlindToTheControlPlane,
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
    /// After a restart the slot is not renewed before the first step (I6).
    RecoversInWordsOnly,
    /// After a restart new runs may start before the engine knows of the one that is open (I7).
    RecallsTooLate,
    /// The disk forgets everything when the process dies (I7, I10).
    DiskForgets,
    /// Intents do not come to the journal (I8).
    JournalSkipsIntents,
    /// What came of a step does not come to the audit log (I8).
    TellsNoOutcome,
    /// A step is done twice (I9).
    DoesItTwice,
    /// After a restart the attempts of before do not count (I10).
    ForgetsAttempts,
    /// The slot is freed as soon as it was renewed once (I11).
    FreesEarly,
    /// The own Node is read from a cache (I12).
    ReadsTheNodeFromACache,
    /// An approval is never used up (I12).
    SpendsNoApproval,
    /// Where the server does not answer, what it said before is taken for its answer (I13).
    DreamsOfAServer,
    /// Where the limits cannot be understood, agents and server take those of before (I14).
    WidensGarbledLimits,
    /// Where the own settings cannot be understood, they are taken for leave (I14).
    TakesGarbageForLeave,
    /// The executor gets a playbook that was changed (I15).
    TakesForgedPlaybooks,
    /// The executor gets a playbook whose signature has expired (I15).
    TakesExpiredPlaybooks,
    /// Agents write other Nodes, and the server lets them (I16).
    WritesAnyNode,
    /// Now and then a record does not come to the disk, and the log goes on as if it had (I17).
    AuditSkips,
    /// The slot carries the head with which the process began (I17).
    AnchorsThePast,
    /// Steps begin without a record that announces them (I17).
    ActsUnrecorded,
    /// Agents wait twenty minutes between two tries (I19).
    WaitsTooLong,
    /// Everything is asked twenty times (I20).
    AsksAgainAndAgain,
}
