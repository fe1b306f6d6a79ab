//! What happens to a node, and when.

use super::demand::demand;
use super::life::{Dying, Life};
use super::machine::{Fault, PROBES};
use super::people::{self, Deed};
use crate::diagnosis::CaseState;
use crate::engine::{Ending, Input, RunNews};
use crate::policy::{CaseId, RunId};
use crate::signal::MissingReason;
use std::sync::Arc;
use std::time::Duration;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Probe(usize),
    Strike,
    Heal(Fault),
    ProbeFails,
    Jump,
    Suspend,
    Restart,
    Reboot,
    Person,
    RunEnds(RunId),
}

impl Life {
    pub(super) fn schedule_all(&mut self) {
        for index in 0..PROBES.len() {
            let offset = Duration::from_millis(self.chance.below(5_000));
            self.schedule(offset, Event::Probe(index));
        }
        for event in [
            Event::Strike,
            Event::ProbeFails,
            Event::Jump,
            Event::Suspend,
            Event::Restart,
            Event::Reboot,
            Event::Person,
        ] {
            self.again(event);
        }
    }

    /// The next event of its kind comes at an irregular time.
    fn again(&mut self, event: Event) {
        let mean = match event {
            Event::Strike => self.temper.fault_every,
            Event::ProbeFails => self.temper.probe_fails_every,
            Event::Jump => self.temper.jump_every,
            Event::Suspend => self.temper.suspend_every,
            Event::Restart => self.temper.restart_every,
            Event::Reboot => self.temper.reboot_every,
            Event::Person => self.temper.person_every,
            Event::Probe(_) | Event::Heal(_) | Event::RunEnds(_) => return,
        };
        let after = self.chance.around(mean);
        self.schedule(after, event);
    }

    pub(super) fn happen(&mut self, event: Event) -> Result<(), String> {
        self.again(event);
        match event {
            Event::Probe(index) => self.probe(index),
            Event::RunEnds(run) => self.run_ends(run),
            Event::Heal(fault) => {
                self.heal(fault);
                Ok(())
            }
            _ if self.is_quiet => Ok(()),
            Event::Strike => {
                self.strike();
                Ok(())
            }
            Event::ProbeFails => {
                self.probe_fails();
                Ok(())
            }
            Event::Jump => {
                self.jump();
                Ok(())
            }
            Event::Suspend => {
                let span = self.chance.around(Duration::from_secs(1_200));
                self.asleep_until = self.at.saturating_add(span);
                self.bus_clear_since = self.asleep_until;
                Ok(())
            }
            Event::Restart => match self.chance.below(3) {
                0 => self.restart(false),
                1 => {
                    self.dying = Some(Dying::BeforeItKeeps);
                    Ok(())
                }
                _ => {
                    self.dying = Some(Dying::AfterItKept);
                    Ok(())
                }
            },
            Event::Reboot => {
                for fault in Fault::ALL
                    .into_iter()
                    .filter(|fault| self.machine.has(*fault))
                {
                    self.healed.insert(fault, self.at);
                }
                self.restart(true)
            }
            Event::Person => self.person(),
        }
    }

    fn probe(&mut self, index: usize) -> Result<(), String> {
        let Some((name, period)) = PROBES.get(index).copied() else {
            return Ok(());
        };
        let is_down = self
            .down_until
            .get(index)
            .is_some_and(|until| self.at < *until);
        let mut was_down = false;
        let failures = self.failures.get_mut(index).map_or(0, |failures| {
            was_down = *failures > 0;
            *failures = if is_down {
                failures.saturating_add(1)
            } else {
                0
            };
            *failures
        });
        if was_down {
            self.disturb(name);
        }
        // The agent lets a failing probe rest longer each time, up to five minutes.
        let rest = match failures {
            0 => period,
            _ => period
                .saturating_mul(1 << failures.min(6))
                .clamp(period, Duration::from_secs(300)),
        };
        self.schedule(rest, Event::Probe(index));
        if is_down {
            self.disturb(name);
            let reason = MissingReason::ProbeFailed("the probe hangs".into());
            return self.turn(Input::ProbeFailed {
                probe: name,
                reason,
            });
        }
        let now = self.now();
        let batch = self.machine.read(name, now, &mut self.chance);
        let lost = |reason: &MissingReason| matches!(reason, MissingReason::Late(what) if &**what == "lost");
        if batch
            .samples
            .iter()
            .any(|s| s.value.as_ref().is_err_and(lost))
        {
            self.disturb(name);
        }
        self.turn(Input::Batch(batch))?;
        match name {
            "systemd-bus" => self.mute_bus_is_found(),
            _ => Ok(()),
        }
    }

    fn disturb(&mut self, probe: &str) {
        if probe == "systemd-bus" {
            self.bus_clear_since = self.at;
        }
    }

    /// The promise of the flagship: a mute bus is an open case after its hold of three checks and one period.
    fn mute_bus_is_found(&self) -> Result<(), String> {
        let id = "systemd-bus-unresponsive";
        let is_plain = self.machine.has(Fault::BusMute)
            && !self.machine.has(Fault::DaemonDead)
            && !self.machine.has(Fault::Frozen)
            && self.engine.judge().rulebook().find(id).is_some();
        let since = self
            .machine
            .faults()
            .find(|(fault, _)| *fault == Fault::BusMute)
            .map_or(self.at, |(_, at)| at)
            .max(self.bus_clear_since);
        let is_due = is_plain && self.at.saturating_sub(since) > Duration::from_secs(40);
        let is_open = self
            .engine
            .book()
            .open()
            .iter()
            .any(|case| &*case.signature == id);
        demand(
            !is_due || is_open,
            "the bus is mute for 40 s and no case is open",
        )
    }

    fn strike(&mut self) {
        // The faults that are mended strike more often than the others.
        let picked = match self.chance.one_in(3) {
            true => Some(Fault::BusMute),
            false => self.chance.pick(&Fault::ALL).copied(),
        };
        let Some(fault) = picked else { return };
        if self.machine.has(fault) {
            return;
        }
        self.tally.faults += 1;
        self.machine.strike(fault, self.at);
        if fault != Fault::BusMute {
            self.disturb("systemd-bus");
        }
        let span = self.chance.around(self.temper.fault_lasts);
        self.schedule(span, Event::Heal(fault));
        // An outdated systemd is the one whose bus falls silent.
        if fault == Fault::Outdated && self.chance.one_in(2) && !self.machine.has(Fault::BusMute) {
            self.machine.strike(Fault::BusMute, self.at);
            self.schedule(span, Event::Heal(Fault::BusMute));
        }
    }

    fn heal(&mut self, fault: Fault) {
        if self.machine.has(fault) {
            self.machine.heal(fault);
            self.healed.insert(fault, self.at);
            self.disturb("systemd-bus");
        }
    }

    fn probe_fails(&mut self) {
        let span = self.chance.around(Duration::from_secs(600));
        let place = self.chance.below(PROBES.len() as u64);
        let until = usize::try_from(place)
            .ok()
            .and_then(|place| self.down_until.get_mut(place));
        if let Some(until) = until {
            *until = self.at.saturating_add(span);
        }
    }

    /// To and fro by up to two days, or to 1970 and back, as a machine without a battery does.
    fn jump(&mut self) {
        self.tally.jumps += 1;
        let most: i64 = 2 * 86_400_000_000;
        let micros = |number: u64| i64::try_from(number).unwrap_or(0);
        self.ahead = match self.chance.below(4) {
            0 => 0,
            1 => -1_767_225_600_000_000,
            _ => micros(self.chance.below(2 * most.unsigned_abs())) - most,
        };
    }

    fn run_ends(&mut self, run: RunId) -> Result<(), String> {
        let Some(open) = self.run.take_if(|open| open.run == run) else {
            return Ok(());
        };
        let ending = open.ending.unwrap_or(Ending::Undone);
        if ending == Ending::Mended {
            self.tally.mended += 1;
            // A verification can be wrong: then the fault stands although the run says otherwise.
            if !self.chance.one_in(10) {
                self.mend(&open.signature, open.subject.as_str());
            }
        }
        let case = open.case;
        self.turn(Input::Run(RunNews::Ended { case, run, ending }))
    }

    fn mend(&mut self, signature: &str, subject: &str) {
        match signature {
            "kernel-sysctl-drift" => {
                if let Some(place) = super::machine::Machine::setting(subject) {
                    self.heal(Fault::Drift(place));
                }
            }
            "systemd-outdated-flapping" => {
                self.heal(Fault::Outdated);
                self.heal(Fault::BusMute);
            }
            _ => self.heal(Fault::BusMute),
        }
    }

    fn person(&mut self) -> Result<(), String> {
        let open = self.open_cases();
        let deed = people::next_deed(&mut self.chance, &open, self.world.rules.len());
        self.does(deed)
    }

    fn open_cases(&self) -> Vec<CaseId> {
        self.engine
            .book()
            .open()
            .iter()
            .filter_map(|case| case.id)
            .collect()
    }

    fn does(&mut self, deed: Deed) -> Result<(), String> {
        let demands = &mut self.demands;
        match deed {
            Deed::Settings(mut opt_in) => {
                opt_in.pause = demands.opt_in.pause.clone();
                demands.opt_in = opt_in.clone();
                self.turn(Input::OptIn(opt_in))
            }
            Deed::Pause(reason) => {
                demands.opt_in.pause = reason.as_deref().map(Arc::from);
                let opt_in = demands.opt_in.clone();
                demand(self.engine.set_pause(reason), "the pause is not kept")?;
                self.keep()?;
                self.turn(Input::OptIn(opt_in))
            }
            Deed::Approve(case) => {
                let is_open = self
                    .engine
                    .book()
                    .find(case)
                    .is_some_and(|c| c.state.is_open());
                if is_open {
                    self.demands.approved.insert(case);
                }
                self.turn(Input::Approve(case))
            }
            Deed::Rules(without) => {
                self.without = without;
                self.bus_clear_since = self.at;
                let rules = self.rules();
                self.turn(Input::Rulebook(rules))
            }
            Deed::Limits(limits) => {
                demands.limits = limits.clone();
                self.turn(Input::Limits(limits))
            }
            Deed::Vouch(is_vouched) => {
                let remedies = people::vouched(&self.world.remedies, is_vouched);
                demands.remedies = remedies.clone();
                self.turn(Input::Remedies(remedies))
            }
            Deed::Cord(reason) => {
                demands.cord = reason.clone();
                self.turn(Input::StopCord(reason))
            }
            Deed::Declare(count) => {
                self.machine.declared = count;
                Ok(())
            }
        }
    }

    /// Nothing goes wrong from now on, and nothing more is done.
    pub(super) fn calm(&mut self) -> Result<(), String> {
        self.is_quiet = true;
        for fault in Fault::ALL {
            self.heal(fault);
        }
        self.machine.heal_all();
        self.down_until = [Duration::ZERO; PROBES.len()];
        self.does(Deed::Rules(None))?;
        self.restart(false)
    }

    /// People settle what was left to them.
    pub(super) fn look_after(&mut self) -> Result<(), String> {
        let book = self.engine.book();
        let left: Vec<CaseId> = book
            .open()
            .iter()
            .filter(|case| case.state == CaseState::NeedsHuman)
            .filter_map(|case| case.id)
            .collect();
        for case in left {
            self.does(Deed::Approve(case))?;
        }
        Ok(())
    }
}
