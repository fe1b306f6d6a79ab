//! The engine and everything that its commands reach.

use super::cluster::ClusterSide;
use super::face::{Control, ControlAnswer};
use super::keeping::{LedgerFile, NotKept};
use super::runs::Runs;
use super::scribe::Scribe;
use super::sight::{Nudge, Seen, Vision, chain};
use super::store;
use crate::app::config::Config;
use crate::diagnosis::{CaseChange, CaseState, ChangeKind};
use crate::engine::{Command, Ending, Engine, Input, RunNews};
use crate::executor::Rein;
use crate::host::clock;
use crate::policy::{Blocked, CaseId, Cleared, Mode, RunId};
use crate::report::audit::{Decision, Entry, RecordKind};
use crate::report::events::Happening;
use crate::report::metrics::AgentMetrics;
use crate::signal::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// What reaches the engine's loop.
pub enum Message {
    /// A probe ran.
    Seen(Seen),
    /// A run left the runner.
    RunEnded {
        /// The case.
        case: CaseId,
        /// The run.
        run: RunId,
        /// How, as far as the case is concerned.
        ending: Ending,
        /// Why nothing else may start, if so.
        halt: Option<String>,
    },
    /// A person said something.
    Control(Control, oneshot::Sender<ControlAnswer>),
    /// The configuration was read anew.
    Reload(Box<Config>),
}

/// The engine and everything that its commands reach.
pub struct Core {
    engine: Mutex<Engine>,
    /// The node's name.
    pub node: Arc<str>,
    /// Whether it runs without a cluster.
    pub standalone: bool,
    /// When the agent began.
    pub started: Timestamp,
    /// How the probes fare.
    pub vision: Arc<Vision>,
    /// Wakes the probes.
    pub nudge: Nudge,
    /// The audit log.
    pub scribe: Scribe,
    /// Where it is.
    pub audit_dir: PathBuf,
    /// The ledger's file.
    pub ledger: LedgerFile,
    /// The families of this program.
    pub metrics: Arc<AgentMetrics>,
    /// Carries out runs; `None`, with the reason in `stops`, where that cannot be.
    pub runs: Option<Runs>,
    /// Tells the run under way to stop or to leave.
    pub reins: watch::Sender<Rein>,
    /// The cluster; `None` without one.
    pub cluster: Option<Arc<ClusterSide>>,
    /// Why nothing may start, by source.
    pub stops: Mutex<Vec<(&'static str, String)>>,
    /// Where metrics are served, once that is known.
    pub page: Mutex<Option<String>>,
}

impl Core {
    /// Puts an engine among what its commands reach.
    #[allow(
        clippy::too_many_arguments,
        reason = "the composition root names each part once"
    )]
    pub fn new(
        engine: Engine,
        node: &str,
        standalone: bool,
        vision: Arc<Vision>,
        nudge: Nudge,
        scribe: Scribe,
        audit_dir: PathBuf,
        ledger_path: PathBuf,
        metrics: Arc<AgentMetrics>,
        runs: Option<Runs>,
    ) -> Self {
        Self {
            engine: Mutex::new(engine),
            node: Arc::from(node),
            standalone,
            started: clock::now(),
            vision,
            nudge,
            scribe,
            audit_dir,
            ledger: LedgerFile::at(ledger_path),
            metrics,
            runs,
            reins: watch::Sender::new(Rein::Go),
            cluster: None,
            stops: Mutex::new(Vec::new()),
            page: Mutex::new(None),
        }
    }

    /// Where journal, ledger and audit log are kept.
    pub fn state_dir(&self) -> &Path {
        self.ledger.path().parent().unwrap_or(Path::new("/"))
    }

    /// The engine. Held for microseconds, never across an await.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing may start, for people.
    pub fn trouble(&self) -> Vec<String> {
        let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.iter().map(|(_, why)| why.clone()).collect()
    }

    /// Where metrics are served.
    pub fn metrics_url(&self) -> String {
        let page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.clone().unwrap_or_else(|| "not served".to_owned())
    }

    /// Obeys messages until nobody sends any more.
    pub async fn obey(
        self: &Arc<Self>,
        mut inbox: mpsc::Receiver<Message>,
        news: mpsc::Sender<Message>,
    ) {
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Seen(seen) => self.see(seen, &news).await,
                Message::RunEnded {
                    case,
                    run,
                    ending,
                    halt,
                } => {
                    if let Some(why) = halt {
                        self.stop("run", why, &news).await;
                    }
                    self.turn(Input::Run(RunNews::Ended { case, run, ending }), &news)
                        .await;
                }
                Message::Control(control, reply) => {
                    let answer = self.control(control, &news).await;
                    // The asker may be gone; what was done is done.
                    if reply.send(answer).is_err() {
                        tracing::debug!("nobody waits for the answer");
                    }
                }
                Message::Reload(config) => self.load(&config, &news).await,
            }
        }
    }

    async fn see(self: &Arc<Self>, seen: Seen, news: &mpsc::Sender<Message>) {
        if let Ok(batch) = &seen.result {
            self.metrics.note_lines(
                batch.records.iter().map(|record| record.source),
                &batch.gaps,
            );
        }
        let input = match seen.result {
            Ok(batch) => Input::Batch(batch),
            Err(reason) => Input::ProbeFailed {
                probe: seen.spec.name,
                reason,
            },
        };
        self.turn(input, news).await;
    }

    /// Nothing may start from now on, and something is wrong.
    pub async fn stop(
        self: &Arc<Self>,
        source: &'static str,
        why: String,
        news: &mpsc::Sender<Message>,
    ) {
        tracing::warn!(source, why, "no run may start");
        self.hold(source, why, news).await;
    }

    /// Nothing may start from now on, as it should be.
    pub async fn hold(
        self: &Arc<Self>,
        source: &'static str,
        why: String,
        news: &mpsc::Sender<Message>,
    ) {
        {
            let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
            if !stops.iter().any(|(known, _)| *known == source) {
                stops.push((source, why));
            }
        }
        self.tell_stops(news).await;
    }

    /// This source does not keep runs from starting any more; others may.
    pub async fn go_on(self: &Arc<Self>, source: &'static str, news: &mpsc::Sender<Message>) {
        self.stops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(known, _)| *known != source);
        self.tell_stops(news).await;
    }

    async fn tell_stops(self: &Arc<Self>, news: &mpsc::Sender<Message>) {
        let first = {
            let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
            stops.first().map(|(_, why)| Arc::from(why.as_str()))
        };
        Box::pin(self.turn(Input::StopCord(first), news)).await;
    }

    /// Gives the engine an input and does what it says.
    pub async fn turn(self: &Arc<Self>, input: Input, news: &mpsc::Sender<Message>) {
        let (commands, has_ledger) = {
            let mut engine = self.engine();
            let commands = engine.turn(clock::now(), input);
            (commands, engine.ledger().is_some())
        };
        let persists = |command: &Command| matches!(command, Command::Persist);
        let wants_ledger = has_ledger && commands.iter().any(persists);
        if let Some(side) = &self.cluster
            && !commands.is_empty()
        {
            side.changed.notify_one();
        }
        let mut is_kept = true;
        if wants_ledger && let Err(why) = self.keep_now().await {
            is_kept = false;
            self.miss_ledger(why, news).await;
        }
        for command in commands {
            match command {
                Command::Persist => {}
                Command::Changed(change) => self.tell_change(&change).await,
                Command::Decided(blocked) => self.tell_decision(&blocked).await,
                Command::Treat { cleared, run } => self.treat(cleared, run, is_kept, news).await,
            }
        }
        self.heed_disk(news).await;
    }

    /// Writes the ledger as it is when its turn to be written has come: of two tasks that change it at once neither finds the
    /// other's draft gone, and the newer one is what stays.
    ///
    /// # Errors
    /// It is not on the disk, or there is none.
    pub async fn keep_now(self: &Arc<Self>) -> Result<(), NotKept> {
        let core = Arc::clone(self);
        let write = move || {
            let ledger = core.engine().ledger().cloned();
            let ledger = ledger.ok_or("there is no ledger")?;
            store::write(core.ledger.path(), &ledger).map_err(|error| chain(&error))
        };
        self.ledger.carry_out(write).await
    }

    pub(super) async fn record(&self, entry: Entry) {
        // A failed write is kept by the log itself, and turns into a stop cord at the end of the turn.
        if let Err(why) = self.scribe.write(entry).await {
            match self.scribe.failure() {
                Some(_) => tracing::error!(why, "audit record not written"),
                // The scribe has said so once; the record comes to the disk in its turn.
                None => tracing::debug!(why, "audit record is late"),
            }
        }
    }

    async fn tell_change(&self, change: &CaseChange) {
        let case = &change.case;
        let (kind, outcome) = match change.kind {
            ChangeKind::Opened => (RecordKind::CaseOpened, None),
            ChangeKind::Moved(from) => (
                RecordKind::CaseChanged,
                Some(format!("{} -> {}", from.as_str(), case.state.as_str())),
            ),
            ChangeKind::Closed(reason) => (RecordKind::CaseClosed, Some(reason.to_string())),
        };
        let id = case.id.map(|id| id.to_string()).unwrap_or_default();
        tracing::info!(
            case = id,
            signature = &*case.signature,
            subject = case.subject.as_str(),
            outcome = outcome.as_deref().unwrap_or(""),
            evidence = case.evidence.join(" · "),
            "{}",
            kind.word()
        );
        if let (Some(side), Some(what)) = (&self.cluster, Happening::of_case(change, clock::now()))
        {
            side.happened(what);
        }
        let mut entry = Entry::of(kind);
        entry.case = case.id;
        entry.signature = Some(case.signature.clone());
        entry.evidence = case.evidence.clone();
        if !case.subject.is_node() {
            entry
                .evidence
                .insert(0, format!("subject {}", case.subject));
        }
        entry.run = case.runs.last().copied();
        entry.outcome = outcome;
        let calls_people =
            matches!(change.kind, ChangeKind::Moved(_)) && case.state == CaseState::NeedsHuman;
        let call = calls_people.then(|| super::told::needs_human(&entry, &id));
        self.record(entry).await;
        if let Some(call) = call {
            self.record(call).await;
        }
    }

    async fn tell_decision(&self, blocked: &Blocked) {
        self.metrics.note_refusals(blocked);
        let proposal = &blocked.proposal;
        let mut entry = Entry::of(RecordKind::Decided);
        entry.case = Some(proposal.case);
        entry.signature = Some(proposal.signature.clone());
        entry.playbook = Some(proposal.playbook.clone());
        entry.opt_in = Some(self.engine().opt_in().version.to_string());
        entry.evidence = proposal.evidence.clone();
        entry.reasons = blocked
            .refusals()
            .map(|answer| format!("{}: {}", answer.gate, answer.ruling.why()))
            .collect();
        let observes = blocked.refusals().any(|answer| answer.gate == "mode");
        let refuses = blocked
            .refusals()
            .any(|answer| answer.ruling.word() == "refuse");
        entry.decision = Some(match (observes, refuses) {
            (true, _) if self.engine().opt_in().mode == Mode::Observe => Decision::Observe,
            (_, true) => Decision::Refuse,
            _ => Decision::Wait,
        });
        tracing::info!(
            case = %proposal.case,
            signature = &*proposal.signature,
            playbook = &*proposal.playbook.id,
            reasons = entry.reasons.join(" · "),
            "not acting"
        );
        self.record(entry).await;
    }

    async fn treat(
        self: &Arc<Self>,
        cleared: Cleared,
        run: RunId,
        is_kept: bool,
        news: &mpsc::Sender<Message>,
    ) {
        let case = cleared.proposal().case;
        let mut entry = Entry::of(RecordKind::Decided);
        entry.case = Some(case);
        entry.signature = Some(cleared.proposal().signature.clone());
        entry.playbook = Some(cleared.proposal().playbook.clone());
        entry.run = Some(run);
        entry.opt_in = Some(cleared.opt_in().version.to_string());
        entry.evidence = cleared.proposal().evidence.clone();
        entry.decision = Some(Decision::Act);
        entry.reasons = cleared
            .answers()
            .iter()
            .map(|a| format!("{}: {}", a.gate, a.ruling.why()))
            .collect();
        let is_written = self.scribe.write(entry).await.is_ok();
        match &self.runs {
            Some(runs) if is_kept && is_written => {
                self.reins.send_replace(Rein::Go);
                runs.start(self, cleared, run, news.clone());
            }
            _ => {
                let news = news.clone();
                // A run that a slow disk kept from beginning has used up no attempt.
                let ending = if self.has_failed() {
                    Ending::Undone
                } else {
                    Ending::NeverBegan
                };
                let message = Message::RunEnded {
                    case,
                    run,
                    ending,
                    halt: None,
                };
                // The loop that would take it is the one that is here: hand it over without waiting.
                tokio::spawn(async move { news.send(message).await.ok() });
            }
        }
    }

    async fn control(
        self: &Arc<Self>,
        control: Control,
        news: &mpsc::Sender<Message>,
    ) -> ControlAnswer {
        if let Some(side) = &self.cluster {
            return ControlAnswer::refused(format!(
                "in a cluster the Node's annotations say this: kubectl annotate node {} nodemend.io/approve=CASE (or nodemend.io/pause=REASON)",
                side.node
            ));
        }
        let mut entry = Entry::of(RecordKind::Control);
        let answer = match &control {
            Control::Approve { case } => match self.open_case(case) {
                Ok(id) => {
                    entry.case = Some(id);
                    self.turn(Input::Approve(id), news).await;
                    ControlAnswer::done(format!(
                        "{id} is approved for one run; nodemend explain {id} shows what comes"
                    ))
                }
                Err(refusal) => refusal,
            },
            Control::Pause { reason } => self.set_pause(Some(reason), news).await,
            Control::Resume => self.set_pause(None, news).await,
        };
        entry.reasons.push(match &control {
            Control::Approve { case } => format!("approve {case}"),
            Control::Pause { reason } => format!("pause: {reason}"),
            Control::Resume => "resume".to_owned(),
        });
        entry.outcome = Some(answer.message.clone());
        self.record(entry).await;
        answer
    }

    async fn set_pause(
        self: &Arc<Self>,
        reason: Option<&String>,
        news: &mpsc::Sender<Message>,
    ) -> ControlAnswer {
        let (kept, opt_in) = {
            let mut engine = self.engine();
            let kept = engine.set_pause(reason.cloned());
            let mut opt_in = engine.opt_in().clone();
            opt_in.pause = reason.map(|text| Arc::from(text.as_str()));
            (kept, opt_in)
        };
        if !kept {
            return ControlAnswer::refused(
                "the ledger cannot be used, so nothing starts anyway; see nodemend status",
            );
        }
        if let Err(why) = self.keep_now().await {
            return ControlAnswer::refused(format!("the pause would not outlive the agent: {why}"));
        }
        self.apply_opt_in(opt_in, news).await;
        match reason {
            Some(reason) => {
                ControlAnswer::done(format!("paused: {reason}; nodemend resume ends it"))
            }
            None => ControlAnswer::done("resumed"),
        }
    }
}
