//! The client against a real `dbus-daemon` (Debian package `dbus`), started here on a socket of its own.

use super::fake::machine;
use super::probe::{probe, read};
use nodemend::host::systemd::{Route, Systemd};
use nodemend::host::{Deadline, Host};
use nodemend::signal::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running bus daemon; killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Daemon {
    /// Starts one on the machine's bus socket and waits until it listens.
    #[allow(
        clippy::disallowed_methods,
        reason = "a test may start the daemon it talks to"
    )]
    fn start(host: &Host) -> Self {
        let socket = host.path("/run/dbus/system_bus_socket");
        fs::remove_file(&socket).ok();
        let config = host.path("/run/dbus/test.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
             <busconfig><type>custom</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_type=\"method_call\"/><allow send_destination=\"*\"/>\
             <allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\
             <allow receive_type=\"error\"/><allow receive_type=\"signal\"/></policy></busconfig>",
            socket.display()
        );
        fs::write(&config, text).expect("configuration");
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address", "--nosyslog"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed (Debian package dbus)");
        let stdout = child.stdout.take().expect("piped");
        let mut address = String::new();
        let read = BufReader::new(stdout).read_line(&mut address);
        assert!(read.expect("read") > 0, "dbus-daemon did not start");
        Self(child)
    }

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a process number"))
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

#[tokio::test]
async fn a_real_bus_daemon_answers_get_id_and_knows_that_systemd_has_no_owner() {
    let (_folder, host) = machine();
    let _daemon = Daemon::start(&host);
    let systemd = Systemd::of(&host);
    let mut connection = systemd.open(Route::Bus, soon()).await.expect("open");
    let pending = connection.send_get_id(soon()).await.expect("send");
    let reply = connection.receive(&pending, soon()).await.expect("answer");
    let id: String = reply.body.read().expect("a text");
    assert_eq!(id.len(), 32);
    assert_eq!(reply.sender.as_deref(), Some("org.freedesktop.DBus"));
    let error = connection.ping(soon()).await.expect_err("no owner");
    assert_eq!(error.kind(), "no-owner", "{error}");
    let again = connection.send_get_id(soon()).await.expect("still usable");
    assert!(connection.receive(&again, soon()).await.is_ok());
}

#[tokio::test]
async fn the_probe_tells_a_real_daemon_without_pid_1() {
    let (_folder, host) = machine();
    let _daemon = Daemon::start(&host);
    let mut probe = probe(&host, "systemd-bus");
    for _ in 0..3 {
        let batch = probe.collect(&host).await.expect("a batch");
        assert_eq!(
            read(&batch, "systemd.bus.daemon.answers"),
            Ok(Value::Bool(true))
        );
        assert_eq!(
            read(&batch, "systemd.bus.manager.answers"),
            Ok(Value::Bool(false))
        );
        assert_eq!(
            read(&batch, "systemd.bus.manager.error"),
            Ok(Value::Text("no-owner".into()))
        );
    }
}

#[tokio::test]
async fn a_daemon_that_was_killed_is_refused_and_a_stopped_one_is_late() {
    use nix::sys::signal::{Signal, kill};
    let (_folder, host) = machine();
    let daemon = Daemon::start(&host);
    let systemd = Systemd::of(&host);
    let mut kept = systemd.open(Route::Bus, soon()).await.expect("open");
    kill(daemon.pid(), Signal::SIGSTOP).expect("stop");
    let short = || Deadline::after(Duration::from_millis(100));
    let error = kept.ping(short()).await.expect_err("stopped");
    assert!(error.to_string().contains("(call)"), "{error}");
    let error = systemd
        .open(Route::Bus, short())
        .await
        .expect_err("stopped");
    assert!(error.to_string().contains("(authentication)"), "{error}");
    kill(daemon.pid(), Signal::SIGCONT).expect("go on");
    assert!(systemd.open(Route::Bus, soon()).await.is_ok());
    drop(daemon);
    let error = systemd.open(Route::Bus, soon()).await.expect_err("killed");
    assert_eq!(error.kind(), "refused");
}
