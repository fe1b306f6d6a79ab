//! An agent as far as its slot is concerned: the product's machine, and what is kept on disk.

use nodemend::lease::{Action, Answer, Found, Request, SlotMachine, Want};
use nodemend::signal::Uptime;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// No run.
    Idle,
    /// Gets its slot, or gets it again after a restart.
    Getting,
    /// Has it.
    Held,
    /// Renews before a step.
    Proving,
    /// Renewed; the step may begin.
    Proved,
    /// All steps are done and verified.
    Freeing,
    /// The run is over.
    Done,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flight {
    pub request: Request,
    pub sent: u8,
    /// The server obeyed; its answer is on the way.
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    pub is_alive: bool,
    pub stage: Stage,
    pub machine: Option<SlotMachine>,
    pub flight: Option<Flight>,
    pub is_executing: bool,
    pub steps_left: u8,
    /// The journal on disk says that a run is open.
    is_journaled: bool,
    pub is_recovering: bool,
    pub has_crashed: bool,
    /// Begins its next step without asking: a flaw.
    pub trusts: bool,
    /// When the last write of this process that arrived was sent.
    pub wrote: Option<u8>,
    /// When the last answer to a write was heard.
    pub heard: Option<u8>,
    pub saw_free: bool,
    /// How far its wall clock was set back.
    pub set_back: u8,
    /// The Node object is there.
    pub exists: bool,
    /// Which life of the Node object this is.
    pub life: u8,
    /// The one with which the run started.
    pub life_at_start: u8,
}

impl Agent {
    pub fn new(steps: u8) -> Self {
        Self {
            is_alive: true,
            stage: Stage::Idle,
            machine: None,
            flight: None,
            is_executing: false,
            steps_left: steps,
            is_journaled: false,
            is_recovering: false,
            has_crashed: false,
            trusts: false,
            wrote: None,
            heard: None,
            saw_free: false,
            set_back: 0,
            exists: true,
            life: 0,
            life_at_start: 0,
        }
    }

    fn machine(own: Vec<Found>, cap: u32, claims: bool) -> SlotMachine {
        let want = Want {
            domain: Arc::from("cluster"),
            cap,
            first: 0,
        };
        SlotMachine::new(vec![want], own, claims)
    }

    pub fn is_holding(&self) -> bool {
        self.machine
            .as_ref()
            .is_some_and(|machine| !machine.slots().is_empty())
    }

    pub fn start(&mut self, own: Vec<Found>, cap: u32, claims: bool) {
        self.life_at_start = self.life;
        self.machine = Some(Self::machine(own, cap, claims));
        self.stage = Stage::Getting;
    }

    /// What its machine asks for now; without a request it comes to rest in the next stage.
    pub fn next(&mut self, clock: Uptime) -> Option<Request> {
        let action = self.machine.as_mut()?.next(clock);
        self.stage = match action {
            Action::Send(request) => return Some(request),
            Action::Await => self.stage,
            Action::Held if self.stage == Stage::Proving => Stage::Proved,
            Action::Held => {
                self.is_recovering = false;
                self.is_journaled = true;
                match self.steps_left {
                    0 if !self.is_executing => self.free(),
                    _ => Stage::Held,
                }
            }
            Action::Freed => self.over(),
            // Nobody answered: it is asked again.
            Action::Unproved(_) if self.stage == Stage::Freeing => self.free(),
            // A write failed: nothing more starts in this run; the slot is kept and serves the next run.
            Action::Unproved(_) | Action::Lost(_) | Action::Refused(_) => {
                self.machine = None;
                self.is_journaled = false;
                self.is_recovering = false;
                Stage::Idle
            }
        };
        None
    }

    fn over(&mut self) -> Stage {
        self.machine = None;
        self.is_journaled = false;
        Stage::Done
    }

    pub fn hear(&mut self, now: u8) -> Option<()> {
        let flight = self.flight.take()?;
        let answer = flight.answer?;
        if matches!(answer, Answer::Written { .. }) {
            self.heard = Some(now);
        }
        self.machine.as_mut()?.answer(answer);
        Some(())
    }

    /// Whether its machine has nothing to ask for.
    pub fn rests(&self, clock: Uptime) -> bool {
        let machine = self.machine.clone();
        machine.is_some_and(|mut machine| !matches!(machine.next(clock), Action::Send(_)))
    }

    pub fn give_up(&mut self) -> Option<Flight> {
        let flight = self.flight.take()?;
        self.machine
            .as_mut()?
            .answer(Answer::Silent("no answer".into()));
        Some(flight)
    }

    pub fn prove(&mut self) {
        if let Some(machine) = &mut self.machine {
            machine.ask_renewal();
        }
        self.trusts = false;
        self.stage = Stage::Proving;
    }

    pub fn free(&mut self) -> Stage {
        if let Some(machine) = &mut self.machine {
            machine.ask_release();
        }
        Stage::Freeing
    }

    pub fn end(&mut self) {
        self.is_executing = false;
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left == 0 && self.stage == Stage::Held && self.is_alive {
            self.stage = self.free();
        }
    }

    pub fn crash(&mut self) {
        self.is_alive = false;
        self.has_crashed = true;
        self.machine = None;
        self.flight = None;
        self.wrote = None;
        self.heard = None;
        self.trusts = false;
    }

    /// The process begins again; what it knows is in the journal and on the server.
    pub fn restart(&mut self, own: Vec<Found>, cap: u32, trusts: bool) {
        self.is_alive = true;
        if self.stage == Stage::Done {
            return;
        }
        if !self.is_journaled {
            self.stage = Stage::Idle;
            return;
        }
        if self.steps_left == 0 && !self.is_executing {
            self.machine = Some(Self::machine(own, cap, false));
            self.stage = self.free();
            return;
        }
        self.is_recovering = true;
        self.trusts = trusts;
        self.machine = Some(Self::machine(own, cap, false));
        self.stage = if trusts { Stage::Held } else { Stage::Getting };
    }
}
