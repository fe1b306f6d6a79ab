//! `nodemend playbook run`: a person starts a playbook on this machine, without a running agent.

use super::boot::{self, Plan};
use super::core::Core;
use super::instance;
use super::process;
use super::sight::chain;
use crate::app::cli::{Common, Output};
use crate::app::{Exit, world};
use crate::document::{Place, Problems};
use crate::engine::Input;
use crate::executor::{Outcome, RunEnd};
use crate::host::clock;
use crate::policy::{Blocked, Cleared, Disruption, Mode, OptIn, RunId};
use crate::report::audit::{Decision, Entry, RecordKind, outcome_text};
use crate::signal::Subject;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Runs the command.
///
/// # Errors
/// A playbook that is not there, settings that cannot be used, or anything that keeps this machine from acting.
pub async fn run(
    common: &Common,
    playbook: &str,
    subject: &str,
    dry_run: bool,
) -> Result<(String, Exit), Vec<Problems>> {
    let plan = plan_of(common)?;
    let built = boot::build(&plan)?;
    if let Some(past) = built.shelf.open_runs().next() {
        return Err(refused(format!(
            "{} is still open; start the agent, which goes on with it",
            past.run
        )));
    }
    if let Some((_, why)) = built.stops.first() {
        return Err(refused(why.clone()));
    }
    let core = built.core;
    let Some(runs) = &core.runs else {
        return Err(refused("runs cannot be carried out here".to_owned()));
    };
    let _tasks = look(&core, &plan).await;
    let (id, version) = playbook.split_once('@').unwrap_or((playbook, ""));
    let subject = Subject::named(subject);
    let decision = core
        .engine()
        .clear_by_hand(id, &subject, person(&plan), clock::now());
    let (cleared, run) = match decision {
        None => {
            return Err(refused(format!(
                "no playbook `{id}`; nodemend playbook list names them all"
            )));
        }
        Some(Err(blocked)) => return Ok((gates_text(&blocked), Exit::Found)),
        Some(Ok(decided)) => decided,
    };
    let newest = &cleared.proposal().playbook.version;
    if !version.is_empty() && **newest != *version {
        return Err(refused(format!(
            "only the newest trusted version runs, which is {newest}; leave out @{version}"
        )));
    }
    let course = runs.course(&core, &cleared).map_err(refused)?;
    if dry_run {
        let steps: Vec<_> = course.legs.iter().map(|leg| leg.kind.to_string()).collect();
        let text = format!(
            "every gate passes; would run {id}: {}\nnodemend playbook plan {id} shows each step\n",
            steps.join(", ")
        );
        return Ok((text, Exit::Fine));
    }
    if let Some(why) = instance::cluster_refusal(&plan.state_dir, &plan.node) {
        return Err(refused(why));
    }
    write_down(&core, &cleared, run).await.map_err(refused)?;
    let end = runs
        .runner
        .treat(cleared, run, course, core.reins.subscribe())
        .await;
    Ok(told(common, &end))
}

fn plan_of(common: &Common) -> Result<Plan, Vec<Problems>> {
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    Ok(Plan {
        node: world::node_name(None, &config),
        host: world::host(common),
        state_dir: world::state_dir(common),
        standalone: true,
        cluster: None,
        metrics: Arc::default(),
        config,
    })
}

/// Starts the probes and waits for their first full pass. The engine itself acts on nothing meanwhile: a person is at work.
async fn look(core: &Arc<Core>, plan: &Plan) -> JoinSet<&'static str> {
    let (news, inbox) = mpsc::channel(process::INBOX);
    let mut tasks = JoinSet::new();
    for input in boot::inputs_of(&plan.config, core) {
        core.turn(input, &news).await;
    }
    core.turn(Input::OptIn(OptIn::default()), &news).await;
    process::spawn_probes(plan, core, &news, &mut tasks);
    let (engine, engine_news) = (Arc::clone(core), news.clone());
    tasks.spawn(async move {
        engine.obey(inbox, engine_news).await;
        "engine"
    });
    process::first_pass(core).await;
    tasks
}

/// Ledger and audit record are on the disk before anything begins.
async fn write_down(core: &Arc<Core>, cleared: &Cleared, run: RunId) -> Result<(), String> {
    core.keep_now().await.map_err(|why| why.to_string())?;
    let mut entry = Entry::of(RecordKind::Decided);
    entry.signature = Some(cleared.proposal().signature.clone());
    entry.playbook = Some(cleared.proposal().playbook.clone());
    entry.run = Some(run);
    entry.decision = Some(Decision::Act);
    entry.opt_in = Some(cleared.opt_in().version.to_string());
    entry.reasons.push(cleared.opt_in().source.to_string());
    core.scribe.write(entry).await
}

fn refused(why: String) -> Vec<Problems> {
    let mut problems = Problems::of("playbook run");
    problems.add(Place::default(), why);
    vec![problems]
}

/// The person stands for mode and class; the configuration's ceiling holds for people too.
fn person(plan: &Plan) -> OptIn {
    OptIn {
        source: Arc::from(format!("by hand, uid {}", nix::unistd::getuid())),
        version: Arc::clone(&plan.config.digest),
        mode: Mode::Auto,
        allow: Disruption::Reboot.min(plan.config.ceiling.allow),
        pause: plan.config.node.pause.as_deref().map(Arc::from),
        approved: Vec::new(),
        trouble: Vec::new(),
    }
}

fn gates_text(blocked: &Blocked) -> String {
    blocked
        .answers
        .iter()
        .fold("not now:\n".to_owned(), |mut text, answer| {
            writeln!(
                text,
                "  {:<10} {:<7} {}",
                answer.gate,
                answer.ruling.word(),
                answer.ruling.why()
            )
            .ok();
            text
        })
}

fn told(common: &Common, end: &RunEnd) -> (String, Exit) {
    let (word, exit) = match end {
        RunEnd::Closed(outcome @ Outcome::Mended) => (outcome_text(outcome), Exit::Fine),
        RunEnd::Closed(outcome) => (outcome_text(outcome), Exit::Found),
        RunEnd::Left => ("left open".to_owned(), Exit::Found),
        RunEnd::NoSlot(error) => (format!("no slot: {}", chain(error)), Exit::CannotTell),
        RunEnd::Halted(halt) => (format!("halted: {}", chain(halt)), Exit::CannotTell),
    };
    match common.output {
        Output::Text => (format!("{word}\n"), exit),
        Output::Json => (
            format!("{}\n", serde_json::json!({ "outcome": word })),
            exit,
        ),
    }
}
