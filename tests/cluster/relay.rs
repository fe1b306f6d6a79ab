//! A relay in front of the API server: each agent reaches it by a loopback address of its own, so that the way of one agent can
//! be slow, or swallow everything, while the others' stay open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::background::Background;

const PORT: u16 = 6443;

/// What the relay does with the bytes of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    #[default]
    Open,
    /// Passes them on, each piece this much later, in both directions.
    Slow(Duration),
    /// Passes nothing on. What was under way arrives when the way opens again, as TCP would have it: also a write whose sender
    /// gave it up long ago.
    Cut,
}

type Ways = HashMap<IpAddr, Way>;

/// The relay; it ends with this value.
pub struct Relay {
    ways: Arc<watch::Sender<Ways>>,
    _background: Background,
}

impl Relay {
    /// A relay to `server`, in the network of the calling thread.
    pub fn start(server: &str) -> Self {
        let server: SocketAddr = server.parse().expect("address and port of the server");
        let ways = Arc::new(watch::Sender::new(Ways::new()));
        let seen = Arc::clone(&ways);
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = listener.expect("a free port in the test's own network");
        let background =
            Background::serve(listener, move |listener| accept(listener, server, seen));
        Self {
            ways,
            _background: background,
        }
    }

    /// The URL at which agent `number` finds the server.
    pub fn url(number: usize) -> String {
        format!("https://{}:{PORT}", address(number))
    }

    /// From now on the way of agent `number` is like this.
    pub fn set(&self, number: usize, way: Way) {
        let whose = IpAddr::V4(address(number));
        self.ways.send_modify(|ways| {
            ways.insert(whose, way);
        });
    }
}

fn address(number: usize) -> Ipv4Addr {
    let part = |value: usize| u8::try_from(value).expect("fewer than 60,000 agents");
    Ipv4Addr::new(127, 2, part(number / 250), part(number % 250 + 1))
}

async fn accept(listener: TcpListener, server: SocketAddr, ways: Arc<watch::Sender<Ways>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let Ok(from) = client.local_addr() else {
            continue;
        };
        tokio::spawn(relay(client, from.ip(), server, ways.subscribe()));
    }
}

async fn relay(client: TcpStream, from: IpAddr, server: SocketAddr, ways: watch::Receiver<Ways>) {
    // A server that is away refuses, and the client sees its line closed.
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = ways.clone();
    tokio::join!(
        pump(&mut from_client, &mut to_server, from, ways),
        pump(&mut from_server, &mut to_client, from, back),
    );
}

async fn pump<R: AsyncReadExt + Unpin, W: AsyncWriteExt + Unpin>(
    from: &mut R,
    to: &mut W,
    whose: IpAddr,
    mut ways: watch::Receiver<Ways>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut piece).await.unwrap_or(0);
        let way = ways
            .wait_for(|ways| ways.get(&whose) != Some(&Way::Cut))
            .await
            .map(|ways| ways.get(&whose).copied().unwrap_or_default());
        match way {
            Ok(Way::Slow(span)) => tokio::time::sleep(span).await,
            Ok(_) => {}
            Err(_) => return,
        }
        if length == 0 {
            // Half a line may go on in the other direction.
            to.shutdown().await.ok();
            return;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[test]
fn the_relay_passes_on_delays_and_holds_back_the_bytes_of_one_agent_alone() {
    use std::io::{Read, Write};
    use std::time::Instant;
    // Its port is fixed, and in use where this machine has a cluster.
    crate::controlplane::enter_own_network();
    let echo = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = echo.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for line in echo.incoming() {
            let mut line = line.expect("a client");
            std::thread::spawn(move || {
                let mut byte = [0];
                while line.read_exact(&mut byte).is_ok() && line.write_all(&byte).is_ok() {}
            });
        }
    });
    let relay = Relay::start(&server);
    let dial = |number| std::net::TcpStream::connect((address(number), PORT)).expect("the relay");
    let ask = |line: &mut std::net::TcpStream, patience: Duration| {
        line.set_read_timeout(Some(patience)).expect("a limit");
        let began = Instant::now();
        line.write_all(b"x").expect("the relay takes it");
        line.read_exact(&mut [0]).map(|()| began.elapsed())
    };
    let second = Duration::from_secs(1);
    let (mut one, mut two) = (dial(1), dial(2));
    relay.set(1, Way::Slow(Duration::from_millis(100)));
    assert!(ask(&mut one, 5 * second).expect("slowly") >= Duration::from_millis(200));
    relay.set(1, Way::Cut);
    assert!(ask(&mut one, second / 5).is_err(), "nothing comes through");
    ask(&mut two, 5 * second).expect("the other agent's way is open");
    relay.set(1, Way::Open);
    one.set_read_timeout(Some(5 * second)).expect("a limit");
    one.read_exact(&mut [0])
        .expect("what was held back arrives");
}
