//! The command line: words in, a typed request out.

use crate::scrape::args::ScrapeArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Keeps the nodes of a Kubernetes cluster healthy by itself.
#[derive(Debug, Parser)]
#[command(
    name = "nodemend",
    version,
    propagate_version = true,
    after_help = "Example: nodemend check"
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file [default: /etc/nodemend/config.yaml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The host's root as seen from here (`/host` in a pod)
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Where journal, ledger and audit log are kept [default: /var/lib/nodemend as root, else $XDG_STATE_HOME/nodemend]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the agent's socket is [default: /run/nodemend as root, else $XDG_RUNTIME_DIR/nodemend]
    #[arg(long, global = true, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// For people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// What is logged on stderr: error, warn, info, debug, trace; or by target: info,kube=warn
    #[arg(
        long,
        alias = "log.level",
        global = true,
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: String,
    /// How it is logged
    #[arg(long, alias = "log.format", global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document, or JSON lines where it streams.
    Json,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// If stdout is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[value(alias = "logfmt")]
    Text,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this node, and mend it where that is allowed
    #[command(after_help = "Example: nodemend agent --standalone")]
    Agent(AgentArgs),
    /// Look at this node once, and say what is wrong; needs no running agent
    #[command(after_help = "Example: nodemend check systemd-bus-unresponsive")]
    Check {
        /// Only these signatures
        signatures: Vec<String>,
    },
    /// One scrape of the node's metrics on stdout; needs no running agent
    #[command(
        after_help = "Example: nodemend metrics --collector.disable-defaults --collector.cpu"
    )]
    Metrics(MetricsArgs),
    /// How the running agent is
    #[command(after_help = "Example: nodemend status --output json")]
    Status,
    /// The running agent's cases
    #[command(after_help = "Example: nodemend cases")]
    Cases,
    /// Why a case is open, what would be done, and what each gate says
    #[command(after_help = "Example: nodemend explain case-41")]
    Explain {
        /// The case; else all open ones
        case: Option<String>,
    },
    /// Let the running agent act on a case, or give back one that needed a human
    #[command(after_help = "Example: nodemend approve case-41")]
    Approve {
        /// The case
        case: String,
    },
    /// Let the running agent start nothing
    #[command(after_help = "Example: nodemend pause \"moving racks\"")]
    Pause {
        /// Why
        #[arg(default_value = "paused by hand")]
        reason: String,
    },
    /// End a pause
    #[command(after_help = "Example: nodemend resume")]
    Resume,
    /// The failure signatures
    #[command(
        subcommand,
        after_help = "Example: nodemend signature show systemd-bus-unresponsive"
    )]
    Signature(SignatureCommand),
    /// The remediation playbooks
    #[command(
        subcommand,
        after_help = "Example: nodemend playbook plan systemd-reexec"
    )]
    Playbook(PlaybookCommand),
    /// The cluster's slots, for people with the rights
    #[command(subcommand, after_help = "Example: nodemend slot list")]
    Slot(SlotCommand),
    /// The audit log
    #[command(subcommand, after_help = "Example: nodemend audit verify")]
    Audit(AuditCommand),
    /// Many agents in virtual time: what would a storm do with these limits?
    #[command(after_help = "Example: nodemend simulate my-cluster.yaml --seeds 1..100")]
    Simulate(SimulateArgs),
}

/// Flags of `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// The cluster and what happens to it (docs/simulate.md)
    pub scenario: PathBuf,
    /// The seed, from which all chance follows [default: the scenario's]
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Once for each seed from A to B; only what breaks is told
    #[arg(long, value_name = "A..B")]
    pub seeds: Option<String>,
    /// Everything that happens, line by line
    #[arg(long, conflicts_with = "seeds")]
    pub trace: bool,
}

/// How to reach the API server.
#[derive(Debug, Clone, Args)]
pub struct ApiAccess {
    /// How to reach the API server [default: the pod's service account; for `slot` outside a pod ~/.kube/config]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The agents' namespace [default: the service account's, else nodemend]
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
}

/// `nodemend slot ...`
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// The slots that are taken, and the nodes that wait
    #[command(after_help = "Example: nodemend slot list")]
    List {
        /// The API server
        #[command(flatten)]
        access: ApiAccess,
    },
    /// Free the slot of a node that will not come back
    #[command(after_help = "Example: nodemend slot release slot.cluster.0")]
    Release {
        /// The slot
        name: String,
        /// The API server
        #[command(flatten)]
        access: ApiAccess,
    },
}

/// Flags of `agent`.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Without Kubernetes: the lease is a file
    #[arg(long)]
    pub standalone: bool,
    /// The node's name [default: the host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// The API server, unless it is standalone
    #[command(flatten)]
    pub access: ApiAccess,
    /// Where metrics are served, `:PORT` for all addresses; more than once for more than one [default: 127.0.0.1:9797]
    #[arg(long, value_name = "ADDR", alias = "web.listen-address", value_parser = address)]
    pub listen: Vec<SocketAddr>,
    /// The path of the metrics page
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub telemetry_path: String,
    /// TLS and users for the metrics page, in the format of Prometheus' exporter-toolkit
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// node_exporter's flags.
    #[command(flatten)]
    pub scrape: ScrapeArgs,
}

/// An address, or a port of all addresses or of this machine's own as node_exporter's command lines have it. Other names
/// are not looked up: what a name server answers must not decide who can reach the page.
fn address(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    let own = text.strip_prefix("localhost:");
    match (text.strip_prefix(':'), own) {
        (Some(port), _) => format!("[::]:{port}").parse(),
        (None, Some(port)) => format!("127.0.0.1:{port}").parse(),
        (None, None) => text.parse(),
    }
}

/// Flags of `metrics`.
#[derive(Debug, Clone, Args)]
pub struct MetricsArgs {
    /// For a server; taken so that a command line of node_exporter can be tried.
    #[arg(long = "web.listen-address", hide = true)]
    pub listen: Vec<String>,
    /// As above.
    #[arg(long = "web.telemetry-path", hide = true)]
    pub telemetry_path: Option<String>,
    /// As above.
    #[arg(long = "web.config.file", hide = true)]
    pub web_config: Option<PathBuf>,
    /// node_exporter's flags.
    #[command(flatten)]
    pub scrape: ScrapeArgs,
}

/// `nodemend signature ...`
#[derive(Debug, Subcommand)]
pub enum SignatureCommand {
    /// All signatures in force
    List,
    /// One signature, whole
    Show {
        /// Its id
        id: String,
    },
    /// The signals that a rule may ask for
    Signals,
    /// Whether signature files are right; all errors at once, with line and column
    Lint {
        /// A file or a folder [default: the shipped ones and the configured folder]
        path: Option<PathBuf>,
    },
    /// Run the test cases that stand in the files
    Test {
        /// A file or a folder [default: the shipped ones and the configured folder]
        path: Option<PathBuf>,
    },
}

/// `nodemend playbook ...`
#[derive(Debug, Subcommand)]
pub enum PlaybookCommand {
    /// All playbooks, and who vouches for them
    List,
    /// One playbook, whole
    Show {
        /// Its id, or id@version
        playbook: String,
    },
    /// Whether playbook files are right; all errors at once, with line and column
    Lint {
        /// A file or a folder [default: the shipped ones and the configured folder]
        path: Option<PathBuf>,
    },
    /// Each step with its effect, verification and undo
    Plan {
        /// Its id, or id@version
        playbook: String,
        /// What it is to be applied to
        #[arg(long, default_value = "")]
        subject: String,
    },
    /// Carry a playbook out now, on this machine, as a person: asks for the lease and writes the audit log
    Run {
        /// Its id, or id@version
        playbook: String,
        /// What it is to be applied to
        #[arg(long, default_value = "")]
        subject: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a key pair for signing
    Keygen {
        /// The key's name
        name: String,
        /// Where the private key is written; the public one goes to stdout
        #[arg(long, value_name = "FILE")]
        private: PathBuf,
    },
    /// Sign a playbook; writes FILE.sig
    Sign {
        /// The playbook
        file: PathBuf,
        /// The private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The last day (UTC, YYYY-MM-DD) on which the signature holds [default: it holds for ever]
        #[arg(long, value_name = "DAY")]
        expires: Option<String>,
    },
    /// Whether a playbook's signature is right and its key trusted
    Verify {
        /// The playbook
        file: PathBuf,
    },
}

/// `nodemend audit ...`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// The records, newest last
    List {
        /// Only of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only of this case
        #[arg(long)]
        case: Option<String>,
        /// Only from then on: 2026-11-22 or 2026-11-22T01:00 (UTC)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// At most so many, the newest
        #[arg(long)]
        last: Option<usize>,
    },
    /// One record, whole
    Show {
        /// Its number
        seq: u64,
    },
    /// Whether the log is as it was written: every record, every link, and its end
    Verify {
        /// A head from elsewhere (a slot's annotation, say) that must be in the log
        #[arg(long, value_name = "SEQ:HASH")]
        head: Vec<String>,
    },
    /// Records as JSON lines, as they lie in the log
    Export {
        /// Only of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only of this case
        #[arg(long)]
        case: Option<String>,
        /// Only from then on: 2026-11-22 or 2026-11-22T01:00 (UTC)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}
