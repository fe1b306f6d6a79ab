//! A fake PID 1 (or bus daemon) on a socket: able to answer, to be silent, slow, rude or broken, connection by connection.

use super::wire::{Asked, Kind, message, take_call};
use nodemend::host::Host;
use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// How a fake treats one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers every call.
    Answers,
    /// Accepts and never says a word.
    SilentGreeting,
    /// Accepts us, then never answers a call.
    SilentCalls,
    /// Answers everything but calls to PID 1 (a bus whose PID 1 is mute).
    MuteManager,
    /// Answers calls to PID 1 with this error, as the bus daemon does in its place.
    ManagerError(&'static str),
    /// PID 1 itself answers with an error.
    OwnError,
    /// Closes as soon as it is connected.
    ClosesAtOnce,
    /// Accepts us, then closes at the first call.
    ClosesAtCall,
    /// Does not accept our user.
    Rejects,
    /// Greets with something that is not SASL.
    GarbledGreeting,
    /// Answers a call with bytes that are no message.
    GarbledAnswer,
    /// Announces a message of 100 MB.
    HugeAnswer,
    /// Sends half an answer and stops.
    HalfAnswer,
    /// Sends signals and answers to other calls first, byte by byte.
    Chatty,
}

/// What it was asked, over all connections.
pub type Log = Arc<Mutex<Vec<String>>>;

/// What a fake says to a call of PID 1's.
pub type Script = Arc<dyn Fn(&Asked, &mut Vec<u8>, u32) + Send + Sync>;

/// A running fake; it ends when dropped.
pub struct Fake {
    task: JoinHandle<()>,
    pub log: Log,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A machine with `/run/systemd/system` and no sockets yet.
pub fn machine() -> (TempDir, Host) {
    let folder = tempfile::tempdir().expect("temp dir");
    for path in ["run/systemd/system", "run/dbus", "proc/1"] {
        fs::create_dir_all(folder.path().join(path)).expect("folder");
    }
    let host = Host::at(folder.path());
    (folder, host)
}

/// Serves the private socket: the first manner for the first connection and so on, the last one for all that follow.
pub fn private(host: &Host, manners: &[Manner]) -> Fake {
    serve(host, "/run/systemd/private", manners, plain_script())
}

/// Serves the system bus.
pub fn bus(host: &Host, manners: &[Manner]) -> Fake {
    serve(host, "/run/dbus/system_bus_socket", manners, plain_script())
}

/// Serves the private socket with answers of the test's own.
pub fn private_with(host: &Host, script: Script) -> Fake {
    serve(host, "/run/systemd/private", &[Manner::Answers], script)
}

/// Serves the bus with answers of the test's own.
pub fn bus_with(host: &Host, script: Script) -> Fake {
    serve(
        host,
        "/run/dbus/system_bus_socket",
        &[Manner::Answers],
        script,
    )
}

/// Answers everything with an empty return.
fn plain_script() -> Script {
    Arc::new(|asked, out, serial| {
        let answer = message(&Kind::Return, serial, asked.serial, ":1.0", &());
        out.extend(answer);
    })
}

fn serve(host: &Host, path: &str, manners: &[Manner], script: Script) -> Fake {
    let path = host.path(path);
    fs::remove_file(&path).ok();
    let listener = UnixListener::bind(&path).expect("bind");
    let log = Log::default();
    let shared = log.clone();
    let mut manners: VecDeque<Manner> = manners.iter().copied().collect();
    let task = tokio::spawn(async move {
        let mut sessions = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let manner = if manners.len() > 1 {
                manners.pop_front()
            } else {
                manners.front().copied()
            };
            shared.lock().expect("log").push("connect".to_owned());
            let session = Session {
                manner: manner.expect("a manner"),
                log: shared.clone(),
                script: script.clone(),
                serial: 99,
            };
            sessions.spawn(session.run(stream));
        }
    });
    Fake { task, log }
}

struct Session {
    manner: Manner,
    log: Log,
    script: Script,
    serial: u32,
}

impl Session {
    async fn run(mut self, mut stream: UnixStream) {
        if self.manner == Manner::ClosesAtOnce {
            return;
        }
        let mut buffer = Vec::new();
        while !buffer.ends_with(b"BEGIN\r\n") {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        buffer.clear();
        let greeting: &[u8] = match self.manner {
            Manner::SilentGreeting => std::future::pending().await,
            Manner::Rejects => b"REJECTED EXTERNAL\r\n",
            Manner::GarbledGreeting => b"HTTP/1.1 400 Bad Request\r\n\r\n",
            _ => b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n",
        };
        stream.write_all(greeting).await.ok();
        loop {
            while let Some(asked) = take_call(&mut buffer) {
                self.log.lock().expect("log").push(asked.member.clone());
                let mut out = Vec::new();
                self.answer(&asked, &mut out);
                if self.manner == Manner::ClosesAtCall && asked.member != "Hello" {
                    return;
                }
                if self.manner == Manner::Chatty {
                    for byte in out {
                        stream.write_all(&[byte]).await.ok();
                    }
                } else {
                    stream.write_all(&out).await.ok();
                }
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    }

    fn answer(&mut self, asked: &Asked, out: &mut Vec<u8>) {
        self.serial += 1;
        let (serial, to) = (self.serial, asked.serial);
        let daemon = "org.freedesktop.DBus";
        let is_ours = matches!(asked.member.as_str(), "Hello" | "GetId");
        match self.manner {
            _ if is_ours && self.manner != Manner::SilentCalls => {
                out.extend(message(&Kind::Return, serial, to, daemon, &("id",)));
            }
            Manner::SilentCalls | Manner::MuteManager | Manner::ClosesAtCall => {}
            Manner::ManagerError(name) => {
                out.extend(message(&Kind::Error(name), serial, to, daemon, &("said",)));
            }
            Manner::OwnError => {
                let name = "org.freedesktop.DBus.Error.UnknownMethod";
                out.extend(message(&Kind::Error(name), serial, to, ":1.0", &("said",)));
            }
            Manner::GarbledAnswer => out.extend([0xff; 64]),
            Manner::HugeAnswer => {
                out.extend([b'l', 2, 1, 1]);
                out.extend(100_000_000_u32.to_le_bytes());
                out.extend([1, 0, 0, 0, 0, 0, 0, 0]);
            }
            Manner::HalfAnswer => {
                let whole = message(&Kind::Return, serial, to, ":1.0", &("text",));
                out.extend(&whole[..whole.len() - 5]);
            }
            Manner::Chatty => {
                out.extend(message(&Kind::Signal, serial, 0, ":1.0", &("a.service",)));
                let other = to.wrapping_add(1000);
                out.extend(message(&Kind::Return, serial + 1, other, ":1.0", &()));
                out.extend(message(&Kind::Return, serial + 2, to, ":1.0", &()));
                self.serial += 2;
            }
            _ => (self.script)(asked, out, serial),
        }
    }
}
