//! PID 1 and host commands without a machine behind them, and able to fail on request.

use super::site::{Commands, HostTask, Pong, PortError, Services, TaskEnd, UnitNow, Way};
use crate::host::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// An error of a port.
pub fn broken(kind: &str, may_be_done: bool) -> PortError {
    PortError {
        kind: kind.into(),
        message: format!("made to fail: {kind}"),
        may_be_done,
    }
}

/// PID 1 as a table of what it says.
#[derive(Debug, Default)]
pub struct Pid1 {
    /// Its answer by its private socket; `None` is silence.
    pub private: Option<Pong>,
    /// Its answer on the bus.
    pub bus: Option<Pong>,
    /// Its answer on the bus after a re-execution.
    pub bus_after: Option<Pong>,
    /// What `reexecute` fails with, if it fails.
    pub reexecute_fails: Option<PortError>,
    /// How often it executed itself anew, and by which way.
    pub reexecuted: Vec<&'static str>,
    /// Units.
    pub units: BTreeMap<String, UnitNow>,
    /// What `restart` fails with, if it fails.
    pub restart_fails: Option<PortError>,
    /// Units that were restarted.
    pub restarted: Vec<String>,
}

/// PID 1 and its units.
#[derive(Debug, Default)]
pub struct FakeServices(pub Mutex<Pid1>);

impl FakeServices {
    fn ready<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Pid1) -> Result<T, PortError>,
    ) -> BoxFuture<'static, Result<T, PortError>> {
        let answer = ask(&mut self.0.lock().expect("no test panics while holding it"));
        Box::pin(async move { answer })
    }
}

impl Services for FakeServices {
    fn ping(&self, way: Way, _limit: Duration) -> BoxFuture<'_, Result<Pong, PortError>> {
        self.ready(|pid1| {
            let pong = match way {
                Way::Private => &pid1.private,
                Way::Bus => &pid1.bus,
            };
            pong.clone().ok_or_else(|| broken("late", true))
        })
    }

    fn reexecute(&self, _limit: Duration) -> BoxFuture<'_, Result<(), PortError>> {
        self.ready(|pid1| match pid1.reexecute_fails.clone() {
            Some(error) => {
                if error.may_be_done {
                    pid1.reexecuted.push("private, answer lost");
                    pid1.bus = pid1.bus_after.clone();
                }
                Err(error)
            }
            None => {
                pid1.reexecuted.push("private");
                pid1.bus = pid1.bus_after.clone();
                Ok(())
            }
        })
    }

    fn terminate_pid1(&self) -> BoxFuture<'_, Result<(), PortError>> {
        self.ready(|pid1| {
            pid1.reexecuted.push("signal");
            pid1.bus = pid1.bus_after.clone();
            Ok(())
        })
    }

    fn unit<'a>(
        &'a self,
        unit: &'a str,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        self.ready(|pid1| {
            Ok(pid1.units.get(unit).cloned().unwrap_or(UnitNow {
                load: "not-found".into(),
                active: "inactive".into(),
                ..UnitNow::default()
            }))
        })
    }

    fn restart<'a>(
        &'a self,
        unit: &'a str,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        self.ready(|pid1| {
            if let Some(error) = pid1.restart_fails.clone() {
                return Err(error);
            }
            let state = pid1
                .units
                .get_mut(unit)
                .ok_or_else(|| broken("no-such-unit", false))?;
            state.active_since_us = Some(state.active_since_us.unwrap_or(0) + 1);
            pid1.restarted.push(unit.to_owned());
            Ok(state.clone())
        })
    }
}

/// Answers to commands by the words that their argument list contains.
#[derive(Debug, Default)]
pub struct FakeCommands {
    /// Words and the end of a command that has all of them; the first that fits.
    pub ends: Mutex<Vec<(Vec<&'static str>, TaskEnd)>>,
    /// Commands that were run, as one line each.
    pub ran: Mutex<Vec<String>>,
}

impl FakeCommands {
    /// From now on a command with all these words ends like this.
    pub fn say(&self, words: &[&'static str], status: i32, stdout: &str) {
        let result = if status == 0 { "success" } else { "exit-code" };
        let end = TaskEnd {
            status: Some(status),
            result: result.into(),
            stdout: stdout.into(),
            stderr: String::new(),
        };
        self.ends
            .lock()
            .expect("ends")
            .insert(0, (words.to_vec(), end));
    }
}

impl Commands for FakeCommands {
    fn run<'a>(&'a self, task: &'a HostTask) -> BoxFuture<'a, Result<TaskEnd, PortError>> {
        let line = task.arguments.join(" ");
        let ends = self.ends.lock().expect("ends");
        let fits = |words: &Vec<&str>| words.iter().all(|word| line.contains(word));
        let end = ends
            .iter()
            .find(|(words, _)| fits(words))
            .map(|(_, end)| end.clone());
        self.ran.lock().expect("ran").push(line);
        Box::pin(async move { end.ok_or_else(|| broken("no-such-command", false)) })
    }

    fn is_running<'a>(
        &'a self,
        _task: &'a HostTask,
    ) -> BoxFuture<'a, Result<Option<bool>, PortError>> {
        Box::pin(async { Ok(None) })
    }

    fn remove<'a>(&'a self, _task: &'a HostTask) -> BoxFuture<'a, Result<(), PortError>> {
        Box::pin(async { Ok(()) })
    }
}
