//! An agent on a network of its own, joined to that of the control plane by a cable: it can be pulled, or lose what goes one
//! way. Nobody is told then, neither by a refusal nor by the end of a connection, as with a switch that dies.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, until};

/// The first of the agents' addresses on the control plane's bridge; the agent's number is added.
const FIRST_ADDRESS: usize = 2;
const LAID_WITHIN: Duration = Duration::from_secs(20);
/// The agent's end of the cable.
const INNER: &str = "eth0";

/// What becomes of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The cable is pulled: no carrier at either end.
    Both,
    /// What the agent says arrives, what it is answered does not: it is deaf.
    Answers,
    /// What the agent says does not arrive, what it is told does: it is mute.
    Calls,
}

/// The cable of one agent; its network ends with it and the agent.
pub struct Cable {
    /// Holds the network while no agent runs in it.
    keeper: Process,
    port: String,
}

impl Cable {
    /// Lays the cable of agent `number` (below 250) to the bridge of the calling thread's network. Logs go to `dir`.
    pub fn lay(number: usize, dir: &Path) -> Self {
        let argv = ["unshare", "--net", "sleep", "infinity"].map(str::to_owned);
        let cable = Self {
            keeper: Process::start(&format!("net-{number}"), argv.into(), dir),
            port: format!("cable{number}"),
        };
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let outside = network("thread-self");
        let inside = cable.keeper.pid().to_string();
        until("the agent has a network", LAID_WITHIN, || {
            network(&inside).is_some_and(|own| Some(own) != outside)
        });
        let port = &cable.port;
        let address = format!("198.51.100.{}/24", FIRST_ADDRESS + number);
        run(&format!(
            "ip link add {port} type veth peer name {INNER} netns {inside}"
        ));
        run(&format!("ip link set {port} master br0 up"));
        for command in [
            "ip link set lo up".to_owned(),
            format!("ip addr add {address} dev {INNER}"),
            format!("ip link set {INNER} up"),
        ] {
            cable.run_inside(&command);
        }
        cable
    }

    /// `argv`, to be run at the agent's end.
    pub fn inside(&self, argv: &[String]) -> Vec<String> {
        let network = format!("--net=/proc/{}/ns/net", self.keeper.pid());
        let mut whole = vec!["nsenter".to_owned(), network, "--".to_owned()];
        whole.extend_from_slice(argv);
        whole
    }

    /// From now on these packets vanish.
    pub fn lose(&self, loss: Loss) {
        match loss {
            Loss::Both => run(&format!("ip link set {} down", self.port)),
            Loss::Answers => self.run_inside(&format!("nft {}", drop_all(INNER))),
            Loss::Calls => run(&format!("nft {}", drop_all(&self.port))),
        }
    }

    /// Every packet arrives again.
    pub fn mend(&self) {
        run(&format!("ip link set {} up", self.port));
        for (end, is_inside) in [(INNER, true), (self.port.as_str(), false)] {
            // Made first, because only what is there can be removed.
            let command = format!("nft table netdev {end} ; delete table netdev {end}");
            if is_inside {
                self.run_inside(&command);
            } else {
                run(&command);
            }
        }
    }

    fn run_inside(&self, command: &str) {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        execute(&self.inside(&words));
    }
}

/// Commands of nft(8) after which nothing that comes in at `end` is seen by anybody.
fn drop_all(end: &str) -> String {
    format!(
        "table netdev {end} {{ chain losing {{ type filter hook ingress device {end} priority 0 ; policy drop ; }} ; }}"
    )
}

fn run(command: &str) {
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    execute(&words);
}

fn execute(argv: &[String]) {
    let (program, arguments) = argv.split_first().expect("a command has a program");
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("iproute2, util-linux and nftables are installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {errors}");
}

#[test]
fn a_cable_that_is_pulled_or_loses_one_way_refuses_nothing_and_carries_again_when_mended() {
    crate::controlplane::enter_own_network();
    let logs = tempfile::tempdir().expect("a temporary directory");
    let (one, other) = (Cable::lay(1, logs.path()), Cable::lay(2, logs.path()));
    // Nobody listens: whoever gets through is refused, whoever does not hears nothing.
    let dial = |cable: &Cable| {
        let call = "echo > /dev/tcp/198.51.100.1/9";
        let argv = ["timeout", "1", "bash", "-c", call].map(str::to_owned);
        let argv = cable.inside(&argv);
        let output = Command::new(&argv[0])
            .args(&argv[1..])
            .env("LC_ALL", "C")
            .output();
        let output = output.expect("nsenter is installed");
        String::from_utf8_lossy(&output.stderr).contains("refused")
    };
    assert!(dial(&one) && dial(&other));
    for loss in [Loss::Both, Loss::Answers, Loss::Calls] {
        one.lose(loss);
        assert!(!dial(&one), "{loss:?}");
        assert!(dial(&other), "{loss:?} of the other's cable");
        one.mend();
        until("it carries again", LAID_WITHIN, || dial(&one));
    }
}
