//! Building the agent from its settings: what cannot be built is said, and the rest goes on.

use super::cluster::{ClusterSide, SlotTally};
use super::core::Core;
use super::instance;
use super::oracle::EngineOracle;
use super::runs::Runs;
use super::scribe::{RunWitness, Scribe};
use super::sight::{Nudge, Vision, chain};
use super::store;
use crate::app::config::Config;
use crate::app::{playbooks, world};
use crate::document::{Place, Problems};
use crate::engine::{Engine, Input, Ledger, Limits, remedies_of};
use crate::executor::{BootId, HostDisk, Runner, Shelf};
use crate::host::Host;
use crate::host::clock::{self, HostClock};
use crate::host::cluster::Cluster;
use crate::lease::{Keeper, Lease, LocalSlots};
use crate::policy::OptIn;
use crate::probes;
use crate::report::audit::{self, AuditLog};
use crate::report::metrics::AgentMetrics;
use crate::signal::Timeline;
use crate::signatures::{Judge, Rulebook};
use crate::steps::{HostCommands, HostServices, Site};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the agent is built from.
pub struct Plan {
    /// The settings.
    pub config: Config,
    /// The machine.
    pub host: Host,
    /// Where journal, ledger and audit log are kept.
    pub state_dir: PathBuf,
    /// The node's name.
    pub node: String,
    /// Whether it runs without a cluster.
    pub standalone: bool,
    /// The API server with the agents' namespace, where there is one.
    pub cluster: Option<(Arc<dyn Cluster>, String)>,
    /// The counters, which the client of the API server writes, too.
    pub metrics: Arc<AgentMetrics>,
}

/// The agent, built.
pub struct Built {
    /// The engine and everything that its commands reach.
    pub core: Arc<Core>,
    /// Runs of before, some perhaps open.
    pub shelf: Shelf,
    /// What keeps it from acting, by source.
    pub stops: Vec<(&'static str, String)>,
}

/// Builds the agent.
///
/// # Errors
/// Rules that cannot be used. Everything else that fails only keeps it from acting.
pub fn build(plan: &Plan) -> Result<Built, Vec<Problems>> {
    let now = clock::now();
    let boot_id = boot_id(&plan.host);
    let mut stops = Vec::new();
    let (rulebook, reports) = world::load_rules(&plan.config, &world::catalogue());
    for report in &reports {
        tracing::error!(%report, "a signature is left out");
    }
    let judge = judge_of(rulebook)?;
    if let Err(error) = store::make_dir(&plan.state_dir) {
        stops.push((
            "state",
            format!("the state directory cannot be used: {}", chain(&error)),
        ));
    }
    let audit_dir = plan.state_dir.join("audit");
    let scribe = Scribe::new(open_audit(&audit_dir, &plan.node, &boot_id));
    if let Some(why) = scribe.failure() {
        stops.push(("audit", format!("the audit log cannot be written: {why}")));
    }
    let ledger_path = plan.state_dir.join("ledger.json");
    let ledger = ledger_of(&ledger_path, &boot_id, &mut stops);
    let metrics = Arc::clone(&plan.metrics);
    let own_id = id_of(plan, &mut stops);
    if let Some((_, namespace)) = &plan.cluster
        && let Err(error) = instance::join_cluster(&plan.state_dir, namespace)
    {
        stops.push(("instance", chain(&error)));
    }
    let side = side_of(plan, &metrics, &scribe, &own_id);
    let nudge = Nudge::default();
    let oracle = Arc::new(EngineOracle::default());
    let witness = RunWitness {
        scribe: scribe.clone(),
        metrics: Arc::clone(&metrics),
        nudge: nudge.clone(),
        cluster: side.clone(),
    };
    let (runs, shelf) = match runs_of(plan, &boot_id, &oracle, witness) {
        Ok((runs, shelf)) => (Some(runs), shelf),
        Err(why) => {
            stops.push(("executor", why));
            (None, Shelf::default())
        }
    };
    let ledger = ledger.map(|ledger| beside(ledger, &shelf, runs.is_some()));
    let engine = Engine::new(judge, ledger, &boot_id, now);
    let mut core = Core::new(
        engine,
        &plan.node,
        plan.standalone,
        Arc::new(Vision::of(probes::SPECS)),
        nudge,
        scribe,
        audit_dir,
        ledger_path,
        metrics,
        runs,
    );
    core.cluster = side;
    let core = Arc::new(core);
    oracle.bind(&core);
    Ok(Built { core, shelf, stops })
}

/// What is kept of former cases and runs. Without it nothing is mended.
fn ledger_of(
    path: &Path,
    boot_id: &str,
    stops: &mut Vec<(&'static str, String)>,
) -> Option<Ledger> {
    match store::read(path, boot_id) {
        Ok(ledger) => Some(Ledger {
            boot_id: boot_id.to_owned(),
            ..ledger
        }),
        Err(error) => {
            stops.push(("ledger", chain(&error)));
            None
        }
    }
}

/// The ledger, with what the journals know better.
fn beside(mut ledger: Ledger, shelf: &Shelf, has_journals: bool) -> Ledger {
    ledger.next_run = ledger.next_run.max(shelf.next_run().0);
    // Without its journals nobody knows which runs began.
    if has_journals {
        ledger.forget_unbegun(shelf.highest);
    }
    ledger
}

/// This agent's id. Without one no slot is its own: none is taken, because none could be known again.
fn id_of(plan: &Plan, stops: &mut Vec<(&'static str, String)>) -> String {
    instance::instance(&plan.state_dir).unwrap_or_else(|error| {
        stops.push(("instance", chain(&error)));
        String::new()
    })
}

/// The cluster, where there is one.
fn side_of(
    plan: &Plan,
    metrics: &Arc<AgentMetrics>,
    scribe: &Scribe,
    instance: &str,
) -> Option<Arc<ClusterSide>> {
    let (api, namespace) = plan.cluster.as_ref()?;
    let tally = SlotTally {
        metrics: Arc::clone(metrics),
        scribe: scribe.clone(),
    };
    let side = ClusterSide::new(
        Arc::clone(api),
        namespace,
        &plan.node,
        instance,
        Arc::new(tally),
    );
    side.set_ceiling(plan.config.ceiling);
    Some(Arc::new(side))
}

fn judge_of(rulebook: Rulebook) -> Result<Judge, Vec<Problems>> {
    Judge::new(rulebook, Timeline::new(world::catalogue()), false).map_err(|error| {
        let mut problems = Problems::of("signatures");
        problems.add(
            Place::default(),
            format!("the log patterns together are too large: {error}"),
        );
        vec![problems]
    })
}

fn open_audit(dir: &Path, node: &str, boot_id: &str) -> Result<AuditLog, String> {
    match AuditLog::open(dir, node, boot_id, audit::Limits::default(), clock::now()) {
        Ok((log, opening)) => {
            if let Some(torn) = &opening.torn {
                tracing::warn!(kept = %torn.display(), "the audit log ended in a torn line; its bytes are kept");
            }
            Ok(log)
        }
        Err(error) => Err(chain(&error)),
    }
}

fn runs_of(
    plan: &Plan,
    boot_id: &str,
    oracle: &Arc<EngineOracle>,
    witness: RunWitness,
) -> Result<(Runs, Shelf), String> {
    let clock: Arc<HostClock> = Arc::new(HostClock);
    let slots = LocalSlots::open(&plan.state_dir.join("slot"), boot_id, clock.clone())
        .map_err(|error| chain(&error))?;
    // In a cluster the local slots are only the lock that keeps a second agent off this machine (I7).
    let (lease, lock): (Arc<dyn Lease>, _) = match &witness.cluster {
        Some(side) => (
            Arc::new(Keeper::new(Arc::clone(&side.slots), clock.clone())),
            Some(slots),
        ),
        None => (Arc::new(Keeper::new(slots, clock.clone())), None),
    };
    let runner = Runner {
        site: Site {
            host: plan.host.clone(),
            services: Arc::new(HostServices::of(&plan.host)),
            commands: Arc::new(HostCommands::of(&plan.host)),
            oracle: oracle.clone(),
            clock,
        },
        lease,
        witness: Arc::new(witness),
        disk: Arc::new(HostDisk),
        folder: plan.state_dir.join("journal"),
        boot: BootId::new(boot_id),
    };
    let shelf = runner.shelf().map_err(|error| chain(&error))?;
    let (catalogue, reports) = playbooks::load_with_floors(&plan.config, &plan.state_dir);
    for report in &reports {
        tracing::error!(%report, "a playbook is left out");
    }
    let runs = Runs {
        runner: Arc::new(runner),
        _lock: lock,
        catalogue: std::sync::Mutex::new(Arc::new(catalogue)),
    };
    Ok((runs, shelf))
}

/// The present boot's id; a machine without one gets a name that never equals a real one.
pub fn boot_id(host: &Host) -> String {
    std::fs::read_to_string(host.path("/proc/sys/kernel/random/boot_id"))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The inputs by which a configuration comes into force.
pub fn inputs_of(config: &Config, core: &Core) -> Vec<Input> {
    let mut inputs = Vec::new();
    if core.standalone {
        let pause = core
            .engine()
            .ledger()
            .and_then(|ledger| ledger.pause.clone());
        inputs.push(Input::OptIn(standalone_opt_in(config, pause)));
    }
    if let Some(side) = &core.cluster {
        side.set_ceiling(config.ceiling);
        inputs.push(Input::OptIn(side.opt_in()));
    }
    inputs.push(Input::Limits(Limits {
        windows: config.windows.clone(),
        max_attempts: config.attempts.max,
        attempts_span: config.attempts.span,
        cooldown: config.attempts.cooldown,
        ..Limits::default()
    }));
    inputs.push(Input::Rulebook(
        world::load_rules(config, &world::catalogue()).0,
    ));
    // Last: with playbooks the gates are asked, and they should see the settings.
    if let Some(runs) = &core.runs {
        let playbooks = Arc::new(playbooks::load_with_floors(config, core.state_dir()).0);
        let remedies = remedies_of(&playbooks, clock::now().wall);
        *runs
            .catalogue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = playbooks;
        inputs.push(Input::Remedies(remedies));
    }
    inputs
}

/// The node's own settings where there is no cluster: those of the configuration file, under its own ceiling.
fn standalone_opt_in(config: &Config, pause: Option<String>) -> OptIn {
    OptIn {
        source: Arc::clone(&config.origin),
        version: Arc::clone(&config.digest),
        mode: config.node.mode.min(config.ceiling.mode),
        allow: config.node.allow.min(config.ceiling.allow),
        pause: config
            .node
            .pause
            .clone()
            .or(pause)
            .map(|text| Arc::from(text.as_str())),
        approved: Vec::new(),
        trouble: Vec::new(),
    }
}
