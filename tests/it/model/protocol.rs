//! The model: what can happen next, and what must never be.

use super::agent::{Agent, Flight, Stage};
use super::server::{Caller, Server};
use nodemend::lease::{Answer, HOLD, Request};
use nodemend::signal::Uptime;
use stateright::{Model, Property};
use std::time::Duration;

pub const TICK: Duration = Duration::from_secs(30);
/// The hold in ticks.
pub const HOLD_TICKS: u8 = 2;

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Reads that a slot is free, then writes it without a condition.
    CheckThenAct,
    /// Begins a step without a renewing write before it.
    NoRenewal,
    /// After a restart a read of the slot takes the place of the write.
    ReadForWrite,
    /// After a restart the journal alone is believed.
    TrustsJournal,
    /// Takes over a slot that was not written for longer than the hold.
    TakeOver,
    /// Measures the hold on a clock that people and NTP set.
    WallClock,
    /// Counts the hold from the answer, not from before the request.
    FromAnswer,
    /// Frees by name, so that a late request frees another node's slot.
    LateFree,
    /// Frees the slot while its step still runs.
    EarlyFree,
    /// Neither the agent nor the server looks for breakers.
    NoBreaker,
    /// Tries numbers beyond the cap, and the server lets it.
    NameOutsideCap,
}

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub nodes: u8,
    pub cap: u32,
    /// When time ends.
    pub last_tick: u8,
    pub steps: u8,
    pub crashes: u8,
    pub deletions: u8,
    /// Requests and answers that may be lost or come late.
    pub losses: u8,
    pub stale_reads: bool,
    pub breaker: bool,
    pub flaw: Option<Flaw>,
}

impl Protocol {
    /// Two nodes, one slot, one step each, nothing goes wrong but time.
    pub const PLAIN: Protocol = Protocol {
        nodes: 2,
        cap: 1,
        last_tick: 3,
        steps: 1,
        crashes: 0,
        deletions: 0,
        losses: 0,
        stale_reads: false,
        breaker: false,
        flaw: None,
    };
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub now: u8,
    pub server: Server,
    pub agents: Vec<Agent>,
    pub crashes: u8,
    pub deletions: u8,
    pub losses: u8,
    /// A request whose sender gave up on it, still under way.
    pub stray: Option<(u8, u8, u8, Request)>,
    /// What was done that must not be done.
    pub sins: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    Tick,
    /// Wants to mend, and reads its own slots, perhaps stale.
    Start {
        node: u8,
        is_stale: bool,
    },
    /// Sends what its machine asks for.
    Send(u8),
    /// The server obeys.
    Arrive(u8),
    /// The answer comes.
    Hear(u8),
    /// The caller gives up; the request is lost, or still under way.
    GiveUp {
        node: u8,
        is_stray: bool,
    },
    /// The stray request arrives.
    Stray,
    /// Renews before its step.
    Prove(u8),
    Begin(u8),
    End(u8),
    /// The process dies; a step that runs goes on in its own unit.
    Crash(u8),
    Restart {
        node: u8,
        is_stale: bool,
    },
    /// A person deletes the Node object; garbage collection frees its slots.
    Delete(u8),
    Register(u8),
    /// The wall clock of a node is set back by a tick.
    SetBack(u8),
    OpenBreaker,
}

fn uptime(tick: u8) -> Uptime {
    Uptime::new(TICK * u32::from(tick))
}

impl Protocol {
    /// What the agent takes for the time.
    fn clock(&self, world: &World, agent: &Agent) -> Uptime {
        match self.flaw {
            Some(Flaw::WallClock) => uptime(world.now - agent.set_back),
            _ => uptime(world.now),
        }
    }

    fn agent_acts(&self, world: &World, node: u8, acts: &mut Vec<Act>) {
        let agent = &world.agents[usize::from(node)];
        if agent.is_executing {
            acts.push(Act::End(node));
        }
        if !agent.is_alive {
            acts.push(Act::Restart {
                node,
                is_stale: false,
            });
            if self.stale_reads {
                acts.push(Act::Restart {
                    node,
                    is_stale: true,
                });
            }
            return;
        }
        if world.crashes < self.crashes && agent.stage != Stage::Idle {
            acts.push(Act::Crash(node));
        }
        if let Some(flight) = &agent.flight {
            acts.push(if flight.answer.is_some() {
                Act::Hear(node)
            } else {
                Act::Arrive(node)
            });
            if world.losses < self.losses {
                acts.push(Act::GiveUp {
                    node,
                    is_stray: false,
                });
                if flight.answer.is_none() && world.stray.is_none() {
                    acts.push(Act::GiveUp {
                        node,
                        is_stray: true,
                    });
                }
            }
            return;
        }
        match agent.stage {
            Stage::Idle if agent.steps_left > 0 && !agent.is_executing => {
                acts.push(Act::Start {
                    node,
                    is_stale: false,
                });
                if self.stale_reads {
                    acts.push(Act::Start {
                        node,
                        is_stale: true,
                    });
                }
            }
            Stage::Getting | Stage::Proving | Stage::Freeing => acts.push(Act::Send(node)),
            Stage::Held if !agent.is_executing => {
                acts.push(Act::Prove(node));
                if self.flaw == Some(Flaw::NoRenewal) || agent.trusts {
                    acts.push(Act::Begin(node));
                }
            }
            Stage::Proved if !agent.is_executing => acts.push(Act::Begin(node)),
            _ => {}
        }
        if self.flaw == Some(Flaw::WallClock) && agent.set_back == 0 && world.now > 0 {
            acts.push(Act::SetBack(node));
        }
    }

    /// A step begins, if the agent believes that it may; what it did not know is a sin.
    fn begin(&self, world: &mut World, node: u8) -> Option<()> {
        let now = self.clock(world, &world.agents[usize::from(node)]);
        let agent = &mut world.agents[usize::from(node)];
        let proved = match self.flaw {
            Some(Flaw::FromAnswer) => agent.heard.map(uptime),
            _ => agent.machine.as_ref()?.proved_at(),
        };
        let is_live = proved.is_some_and(|proved| proved <= now && now.since(proved) < HOLD);
        let ignores = self.flaw == Some(Flaw::NoRenewal) || agent.trusts;
        if !is_live && !ignores {
            // The product asks the permit right before the step, and renews again.
            agent.stage = Stage::Held;
            return Some(());
        }
        if agent
            .wrote
            .is_none_or(|wrote| world.now - wrote >= HOLD_TICKS)
        {
            let sin = if agent.wrote.is_none() {
                NO_WRITE
            } else {
                STALE
            };
            world.sins.push(sin);
        }
        agent.is_executing = true;
        agent.trusts = false;
        agent.stage = match self.flaw {
            Some(Flaw::EarlyFree) => agent.free(),
            _ => Stage::Held,
        };
        Some(())
    }

    fn arrive(&self, world: &mut World, node: u8) -> Option<()> {
        let now = world.now;
        let agent = &mut world.agents[usize::from(node)];
        let flight = agent.flight.as_mut()?;
        let caller = Caller {
            node,
            life: agent.life_at_start,
            is_registered: agent.exists && agent.life == agent.life_at_start,
            sent: flight.sent,
            now,
        };
        let is_read = self.flaw == Some(Flaw::ReadForWrite)
            && agent.is_recovering
            && matches!(flight.request, Request::RenewSlot(_));
        // Outside of a restart this agent writes as it should.
        let flaw = self
            .flaw
            .filter(|flaw| *flaw != Flaw::ReadForWrite || is_read);
        let free_when_read = agent.saw_free;
        let flaw = flaw.filter(|flaw| *flaw != Flaw::CheckThenAct || free_when_read);
        let answer = world.server.obey(&flight.request, caller, self.cap, flaw);
        if matches!(answer, Answer::Written { .. })
            && !is_read
            && matches!(
                flight.request,
                Request::RenewSlot(_) | Request::CreateSlot(_)
            )
        {
            agent.wrote = Some(flight.sent);
        }
        flight.answer = Some(answer);
        Some(())
    }

    fn send(&self, world: &mut World, node: u8) -> Option<()> {
        let clock = self.clock(world, &world.agents[usize::from(node)]);
        let agent = &mut world.agents[usize::from(node)];
        let was_recovering = agent.is_recovering;
        let request = agent.next(clock);
        if was_recovering && agent.stage == Stage::Held && self.flaw == Some(Flaw::ReadForWrite) {
            // The look at the slot counts as the renewal before the step.
            agent.stage = Stage::Proved;
        }
        if let Some(request) = request {
            agent.saw_free = match &request {
                Request::CreateSlot(name) => !world.server.slots.iter().any(|s| s.name == *name),
                _ => false,
            };
            agent.flight = Some(Flight {
                request,
                sent: world.now,
                answer: None,
            });
        }
        Some(())
    }

    fn stray(&self, world: &mut World) -> Option<()> {
        let (node, life, sent, request) = world.stray.take()?;
        let agent = &world.agents[usize::from(node)];
        let caller = Caller {
            node,
            life,
            is_registered: agent.exists && agent.life == life,
            sent,
            now: world.now,
        };
        world.server.obey(&request, caller, self.cap, self.flaw);
        Some(())
    }

    fn apply(&self, world: &mut World, act: Act) -> Option<()> {
        let cap = match self.flaw {
            Some(Flaw::NameOutsideCap) => self.cap + 1,
            _ => self.cap,
        };
        match act {
            Act::Tick => world.now += 1,
            Act::Start { node, is_stale } => {
                let own = world.server.own(node, is_stale);
                world.agents[usize::from(node)].start(own, cap, self.breaker);
            }
            Act::Restart { node, is_stale } => {
                let own = world.server.own(node, is_stale);
                let trusts = self.flaw == Some(Flaw::TrustsJournal);
                world.agents[usize::from(node)].restart(own, cap, trusts);
            }
            Act::Send(node) => self.send(world, node)?,
            Act::Arrive(node) => self.arrive(world, node)?,
            Act::Hear(node) => {
                let clock = self.clock(world, &world.agents[usize::from(node)]);
                let now = world.now;
                world.agents[usize::from(node)].hear(now)?;
                // Coming to rest needs nobody: no state of its own.
                if world.agents[usize::from(node)].rests(clock) {
                    self.send(world, node)?;
                }
            }
            Act::GiveUp { node, is_stray } => {
                world.losses += 1;
                let agent = &mut world.agents[usize::from(node)];
                let flight = agent.give_up()?;
                if is_stray {
                    world.stray = Some((node, agent.life_at_start, flight.sent, flight.request));
                }
            }
            Act::Stray => self.stray(world)?,
            Act::Prove(node) => world.agents[usize::from(node)].prove(),
            Act::Begin(node) => self.begin(world, node)?,
            Act::End(node) => world.agents[usize::from(node)].end(),
            Act::Crash(node) => {
                world.crashes += 1;
                world.agents[usize::from(node)].crash();
            }
            Act::Delete(node) => {
                world.deletions += 1;
                let agent = &mut world.agents[usize::from(node)];
                agent.exists = false;
                world.server.collect(node, agent.life);
            }
            Act::Register(node) => {
                let agent = &mut world.agents[usize::from(node)];
                agent.exists = true;
                agent.life += 1;
            }
            Act::SetBack(node) => world.agents[usize::from(node)].set_back = 1,
            Act::OpenBreaker => world.server.has_breaker = true,
        }
        Some(())
    }
}

/// The names of the properties.
pub const CAP: &str = "never more nodes execute a step than the cap";
pub const FRESH: &str = "a step begins only after a write less than the hold ago";
pub const AFTER_RESTART: &str = "no step begins before this process wrote its slot";
pub const BREAKER: &str = "no slot is created while a breaker stands";
pub const NAMES: &str = "no slot is created beyond the cap";
pub const HOLDER: &str = "a slot is freed only by its holder";
pub const FINISHES: &str = "every node can finish and free its slot";
pub const RECOVERS: &str = "a node that crashed can finish";
const STALE: &str = "stale";
const NO_WRITE: &str = "no write";

impl Model for Protocol {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            now: 0,
            server: Server::empty(),
            agents: (0..self.nodes).map(|_| Agent::new(self.steps)).collect(),
            crashes: 0,
            deletions: 0,
            losses: 0,
            stray: None,
            sins: Vec::new(),
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        // What was done wrong stays done: nothing after it is of interest.
        if !world.sins.is_empty() {
            return;
        }
        if world.now < self.last_tick {
            acts.push(Act::Tick);
        }
        for node in 0..self.nodes {
            self.agent_acts(world, node, acts);
            let agent = &world.agents[usize::from(node)];
            if agent.exists && world.deletions < self.deletions && agent.is_holding() {
                acts.push(Act::Delete(node));
            }
            if !agent.exists {
                acts.push(Act::Register(node));
            }
        }
        if world.stray.is_some() {
            acts.push(Act::Stray);
        }
        if self.breaker && !world.server.has_breaker {
            acts.push(Act::OpenBreaker);
        }
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        self.apply(&mut next, act)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CAP, |model: &Protocol, world: &World| {
                // A Node that was deleted is no part of the cluster any more, whatever its machine still does.
                let executing = world.agents.iter().filter(|agent| {
                    agent.is_executing && agent.exists && agent.life == agent.life_at_start
                });
                u32::try_from(executing.count()).unwrap_or(u32::MAX) <= model.cap
            }),
            Property::always(FRESH, |_, world: &World| !world.sins.contains(&STALE)),
            Property::always(AFTER_RESTART, |_, world: &World| {
                !world.sins.contains(&NO_WRITE)
            }),
            Property::always(BREAKER, |_, world: &World| !world.server.broke_breaker),
            Property::always(HOLDER, |_, world: &World| !world.server.broke_holder),
            Property::always(NAMES, |_, world: &World| !world.server.broke_cap),
            Property::sometimes(FINISHES, |_, world: &World| {
                world.agents.iter().all(|agent| agent.stage == Stage::Done)
                    && world.server.slots.is_empty()
            }),
            Property::sometimes(RECOVERS, |model: &Protocol, world: &World| {
                model.crashes == 0
                    || world.crashes > 0
                        && world
                            .agents
                            .iter()
                            .any(|a| a.has_crashed && a.stage == Stage::Done)
            }),
        ]
    }
}
