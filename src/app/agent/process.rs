//! The agent's process from start to end: the one place where tasks are spawned and watched.

use super::boot::{self, Built, Plan};
use super::core::{Core, Message};
use super::runs::Runs;
use super::server::{self, OwnFamilies, Pages};
use super::sight::{self, Seen};
use super::{cluster, reporter};
use crate::app::cli::{AgentArgs, Common};
use crate::app::{Exit, world};
use crate::collectors::TABLE;
use crate::document::Problems;
use crate::engine::Input;
use crate::executor::{Rein, Shelf};
use crate::host::clock::HostClock;
use crate::host::cluster::{Cluster, Tally};
use crate::probes;
use crate::report::audit::{Entry, RecordKind};
use crate::report::metrics::AgentMetrics;
use crate::report::render::render_status;
use crate::scrape::args::ScrapeArgs;
use crate::scrape::http::MetricsRoute;
use crate::scrape::page::ScrapePage;
use crate::scrape::process::OwnProcess;
use crate::scrape::server::Server;
use nix::errno::Errno;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The stop that holds until every probe has run once.
const FIRST_PASS: &str = "first-pass";
/// How many messages may wait for the engine. Probes wait when it is full; nothing is lost.
pub(super) const INBOX: usize = 64;
/// How long a run may take to reach its next boundary when the process ends.
const MAX_LEAVE: Duration = Duration::from_secs(20);
/// How long the first full pass may take before the summary is printed all the same: the slowest deadline of a probe.
const MAX_FIRST_PASS: Duration = Duration::from_secs(20);

/// Runs the agent until it is told to end.
///
/// # Errors
/// A configuration or rules that cannot be used.
pub async fn run(common: &Common, args: &AgentArgs) -> Result<Exit, Vec<Problems>> {
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let metrics = Arc::new(AgentMetrics::default());
    let cluster = match args.standalone {
        true => None,
        false => Some(connect(args, &metrics).await?),
    };
    let listen = match args.listen.as_slice() {
        [] => vec![config.listen],
        given => given.to_vec(),
    };
    let plan = Plan {
        node: world::node_name(args.node_name.as_deref(), &config),
        host: world::host(common),
        state_dir: world::state_dir(common),
        standalone: args.standalone,
        cluster,
        metrics,
        config,
    };
    let Built { core, shelf, stops } = boot::build(&plan)?;
    let (news, inbox) = mpsc::channel(INBOX);
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let route = metrics_route(&core, &args.scrape, &common.root)?;
    for flag in args.scrape.unbuilt() {
        tracing::warn!(
            "--{flag}: nodemend has no such collector, its families are not on the page (docs/metrics.md)"
        );
    }
    open_doors(
        &core,
        &news,
        route,
        (&listen, args),
        world::run_dir(common),
        &mut tasks,
    )
    .await?;
    // Nothing starts before every probe has run once: a run compares what was before with what is after.
    core.hold(
        FIRST_PASS,
        "the first full pass is not done".to_owned(),
        &news,
    )
    .await;
    for (source, why) in stops {
        core.stop(source, why, &news).await;
    }
    for input in boot::inputs_of(&plan.config, &core) {
        if matches!(input, Input::Remedies(_)) {
            record_start(&core, &plan).await;
        }
        core.turn(input, &news).await;
    }
    if core.runs.is_none() {
        record_start(&core, &plan).await;
    }
    spawn_cluster(&core, &news, &mut tasks);
    spawn_probes(&plan, &core, &news, &mut tasks);
    spawn_first_words(&core, shelf, &news, common, &mut tasks);
    let engine = Arc::clone(&core);
    let engine_news = news.clone();
    tasks.spawn(async move {
        engine.obey(inbox, engine_news).await;
        "engine"
    });
    let exit = wait(common, &core, &news, &mut tasks).await;
    leave(&core).await;
    Ok(exit)
}

/// The API server and the agents' namespace.
async fn connect(
    args: &AgentArgs,
    metrics: &Arc<AgentMetrics>,
) -> Result<(Arc<dyn Cluster>, String), Vec<Problems>> {
    let metrics = Arc::clone(metrics);
    let tally: Tally = Arc::new(move |verb, resource, code| {
        metrics.note_request(verb.word(), resource.word(), code);
    });
    crate::app::clusters::connect(
        args.access.kubeconfig.as_deref(),
        args.access.namespace.as_deref(),
        tally,
    )
    .await
}

fn spawn_cluster(
    core: &Arc<Core>,
    news: &mpsc::Sender<Message>,
    tasks: &mut JoinSet<&'static str>,
) {
    let Some(side) = &core.cluster else { return };
    let (watched, watching) = (Arc::clone(core), Arc::clone(side));
    let news = news.clone();
    tasks.spawn(async move {
        cluster::follow(watched, watching, news).await;
        "watch of the own Node"
    });
    let (core, side) = (Arc::clone(core), Arc::clone(side));
    tasks.spawn(async move {
        reporter::report(core, side, Arc::new(HostClock)).await;
        "reporter"
    });
}

/// The page of node metrics with this program's own families on it.
fn metrics_route(
    core: &Arc<Core>,
    args: &ScrapeArgs,
    root: &Path,
) -> Result<MetricsRoute, Vec<Problems>> {
    let settings = args
        .clone()
        .under_root(root)
        .settings()
        .map_err(|error| world::refused("--collector", &error))?;
    let mut page =
        ScrapePage::new(&settings, TABLE).map_err(|error| world::refused("--collector", &error))?;
    match OwnProcess::open() {
        Ok(process) => page.contribute(Box::new(process)),
        Err(error) => {
            tracing::warn!(%error, "no process_* on the metrics page: /proc is not there")
        }
    }
    page.contribute(Box::new(OwnFamilies(Arc::downgrade(core))));
    Ok(MetricsRoute::new(page, settings))
}

async fn open_doors(
    core: &Arc<Core>,
    news: &mpsc::Sender<Message>,
    route: MetricsRoute,
    (listen, args): (&[SocketAddr], &AgentArgs),
    run_dir: PathBuf,
    tasks: &mut JoinSet<&'static str>,
) -> Result<(), Vec<Problems>> {
    let pages = Pages::showing(Arc::clone(core), route.clone(), &args.telemetry_path);
    let server = Server::new(pages, args.web_config.as_deref())
        .map_err(|error| world::refused("--web.config.file", &error))?;
    // What is printed for people names the last.
    for &listen in listen {
        match bind(listen).await {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(listen);
                let url = format!("http://{address}{}", args.telemetry_path);
                *core.page.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
                let server = server.clone();
                tasks.spawn(async move {
                    if let Err(error) = server.serve(listener).await {
                        tracing::error!(%error, "the metrics page is no longer served");
                    }
                    "metrics page"
                });
            }
            Err(error) => {
                tracing::error!(%listen, %error, "the metrics page cannot be served; choose another address with --listen");
            }
        }
    }
    let path = run_dir.join("agent.sock");
    match server::bind_private(&path).await {
        Ok(listener) => {
            let pages = Pages::commanding(Arc::clone(core), route, news.clone());
            tasks.spawn(async move {
                server::serve_unix(listener, pages).await;
                "private socket"
            });
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "status, explain and pause cannot be served; choose another folder with --run-dir");
        }
    }
    Ok(())
}

/// Listens; on all addresses of IPv4 where all of IPv6 are asked for and the kernel has none.
async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port()));
            TcpListener::bind(all).await
        }
        other => other,
    }
}

async fn record_start(core: &Arc<Core>, plan: &Plan) {
    let mut entry = Entry::of(RecordKind::AgentStarted);
    entry.opt_in = Some(plan.config.digest.to_string());
    {
        let engine = core.engine();
        entry.reasons.push(format!(
            "nodemend {} {}, mode {} ({})",
            env!("CARGO_PKG_VERSION"),
            if plan.standalone {
                "standalone"
            } else {
                "in a cluster"
            },
            engine.opt_in().mode,
            plan.config.origin
        ));
    }
    if let Err(why) = core.scribe.write(entry).await {
        tracing::error!(why, "audit record not written");
    }
}

pub(super) fn spawn_probes(
    plan: &Plan,
    core: &Arc<Core>,
    news: &mpsc::Sender<Message>,
    tasks: &mut JoinSet<&'static str>,
) {
    let (host, paths) = (&plan.host, &plan.config.certificates);
    for probe in probes::build_resident(host, &plan.state_dir, paths) {
        let (out, mut seen) = mpsc::channel::<Seen>(1);
        let (host, vision, nudge) = (host.clone(), Arc::clone(&core.vision), core.nudge.clone());
        let news = news.clone();
        let name = probe.spec().name;
        tasks.spawn(async move {
            let forward = async {
                while let Some(one) = seen.recv().await {
                    if news.send(Message::Seen(one)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(sight::watch(probe, host, vision, nudge, out), forward);
            name
        });
    }
}

/// Ends when every probe has run once, or when some probe hangs for too long.
pub(super) async fn first_pass(core: &Arc<Core>) {
    let looked = async {
        while !core.vision.has_looked() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(MAX_FIRST_PASS, looked).await.is_err() {
        tracing::warn!("the first full pass is not done; some probe hangs");
    }
    // The last batch may still be on its way through the engine.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// After the first full pass: goes on with interrupted runs, and tells a person at the terminal what was found.
fn spawn_first_words(
    core: &Arc<Core>,
    shelf: Shelf,
    news: &mpsc::Sender<Message>,
    common: &Common,
    tasks: &mut JoinSet<&'static str>,
) {
    let (core, news) = (Arc::clone(core), news.clone());
    let paint = world::paint(common);
    let wants_words = common.output == crate::app::cli::Output::Text;
    tasks.spawn(async move {
        first_pass(&core).await;
        Runs::recall(&core, &shelf, &news).await;
        let unbegun = Runs::unbegun(&core, &shelf).await;
        core.go_on(FIRST_PASS, &news).await;
        if wants_words {
            let words = render_status(&core.status(), paint);
            println!(
                "{words}  try       nodemend check · nodemend explain · nodemend signature list"
            );
        }
        Runs::resume(core, shelf, unbegun, news).await;
        // This task has nothing left to do, and its end is no fault.
        std::future::pending::<()>().await;
        "first words"
    });
}

/// Waits for a signal or for the end of a task that must not end.
async fn wait(
    common: &Common,
    core: &Arc<Core>,
    news: &mpsc::Sender<Message>,
    tasks: &mut JoinSet<&'static str>,
) -> Exit {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("signals cannot be received; check the limits of this process");
        return Exit::CannotTell;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return Exit::Fine,
            _ = interrupt.recv() => return Exit::Fine,
            _ = hangup.recv() => reload(common, core, news).await,
            ended = tasks.join_next() => {
                let name = match ended {
                    Some(Ok(name)) => name.to_owned(),
                    Some(Err(error)) => error.to_string(),
                    None => "every task".to_owned(),
                };
                tracing::error!(task = name, "a task ended that must not; the agent ends so that it is started anew");
                return Exit::Found;
            }
        }
    }
}

/// SIGHUP: the new settings whole, or the old ones.
async fn reload(common: &Common, core: &Arc<Core>, news: &mpsc::Sender<Message>) {
    match world::load_config(common) {
        Ok(config) => {
            if news.send(Message::Reload(Box::new(config))).await.is_err() {
                tracing::error!("the engine is gone");
            }
        }
        Err(problems) => {
            tracing::error!(%problems, "the configuration is refused; the old settings stay in force");
            core.metrics.note_reload(false);
            let mut entry = Entry::of(RecordKind::ConfigRefused);
            entry.reasons = problems.list.iter().map(ToString::to_string).collect();
            if let Err(why) = core.scribe.write(entry).await {
                tracing::error!(why, "audit record not written");
            }
        }
    }
}

/// Lets a run reach its next boundary, and says good-bye in the audit log.
async fn leave(core: &Arc<Core>) {
    core.reins
        .send_replace(Rein::Leave("the agent ends".to_owned()));
    let quiet = async {
        // The runner holds a receiver for as long as it rides.
        core.reins.closed().await;
    };
    if core.reins.receiver_count() > 0 && tokio::time::timeout(MAX_LEAVE, quiet).await.is_err() {
        tracing::warn!(
            "a run did not reach a boundary in time; the next agent goes on from its journal"
        );
    }
    let entry = Entry::of(RecordKind::AgentStopped);
    if let Err(why) = core.scribe.write(entry).await {
        tracing::error!(error = why, "audit record not written");
    }
}

#[cfg(test)]
mod tests {
    use super::MAX_LEAVE;
    use std::time::Duration;

    #[test]
    fn the_kubelet_waits_for_longer_than_a_run_may_take_to_leave() {
        let daemon_set = include_str!("../../../manifests/base/daemonset.yaml");
        let key = "terminationGracePeriodSeconds:";
        let line = daemon_set
            .lines()
            .find_map(|line| line.trim().strip_prefix(key));
        let grace: u64 = line.and_then(|text| text.trim().parse().ok()).expect(key);
        // The record that the agent ended, on a slow disk.
        let farewell = crate::app::agent::scribe::MAX_WRITE;
        assert!(Duration::from_secs(grace) > MAX_LEAVE + farewell);
    }
}
