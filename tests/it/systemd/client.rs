//! The client against fakes: each failure has its name, within its deadline.

use super::fake::{Manner, bus, machine, private};
use nodemend::host::systemd::{BusError, Route, Systemd, terminate_pid1};
use nodemend::host::{Deadline, Host};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(80);
const LONG: Duration = Duration::from_secs(5);

async fn ping(host: &Host, route: Route, span: Duration) -> Result<u32, BusError> {
    let deadline = Deadline::after(span);
    let mut connection = Systemd::of(host).open(route, deadline).await?;
    Ok(connection.ping(deadline).await?.serial)
}

#[tokio::test]
async fn an_answer_carries_the_serial_of_pid_1() {
    for route in [Route::Private, Route::Bus] {
        let (_folder, host) = machine();
        let _fakes = (
            private(&host, &[Manner::Answers]),
            bus(&host, &[Manner::Answers]),
        );
        let expected = if route == Route::Bus { 101 } else { 100 };
        assert_eq!(ping(&host, route, LONG).await.ok(), Some(expected));
    }
}

#[tokio::test]
async fn every_way_to_fail_has_its_name() {
    for (manner, kind, text) in [
        (Manner::SilentGreeting, "late", "(authentication)"),
        (Manner::SilentCalls, "late", "(call)"),
        (Manner::HalfAnswer, "late", "(call)"),
        (Manner::ClosesAtOnce, "closed", "(authentication)"),
        (Manner::ClosesAtCall, "closed", "(call)"),
        (Manner::Rejects, "no-rights", "rejects our user"),
        (Manner::GarbledGreeting, "bad-message", "protocol"),
        (Manner::GarbledAnswer, "bad-message", "protocol"),
        (Manner::HugeAnswer, "bad-message", "protocol"),
        (Manner::OwnError, "unknown-method", "said"),
        (
            Manner::ManagerError("org.freedesktop.DBus.Error.NoReply"),
            "no-reply",
            "said",
        ),
        (
            Manner::ManagerError("org.freedesktop.DBus.Error.NameHasNoOwner"),
            "no-owner",
            "said",
        ),
        (
            Manner::ManagerError("org.freedesktop.DBus.Error.TimedOut"),
            "activation-timed-out",
            "said",
        ),
        (
            Manner::ManagerError("com.example.Odd"),
            "error-reply",
            "said",
        ),
    ] {
        let (_folder, host) = machine();
        let _fake = private(&host, &[manner]);
        let error = ping(&host, Route::Private, SHORT)
            .await
            .expect_err("it fails");
        assert_eq!(error.kind(), kind, "{manner:?}");
        assert!(error.to_string().contains(text), "{manner:?}: {error}");
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_and_one_that_nobody_serves_are_told_apart() {
    let (_folder, host) = machine();
    let error = ping(&host, Route::Bus, LONG).await.expect_err("no socket");
    assert_eq!(error.kind(), "no-socket");
    drop(std::os::unix::net::UnixListener::bind(
        host.path("/run/dbus/system_bus_socket"),
    ));
    let error = ping(&host, Route::Bus, LONG).await.expect_err("nobody");
    assert_eq!(error.kind(), "refused");
}

#[tokio::test]
async fn a_bus_that_never_says_hello_is_late_in_hello() {
    let (_folder, host) = machine();
    let _fake = bus(&host, &[Manner::SilentCalls]);
    let error = ping(&host, Route::Bus, SHORT).await.expect_err("silent");
    assert!(error.to_string().contains("(hello)"), "{error}");
}

#[tokio::test]
async fn a_full_queue_of_a_stopped_daemon_is_late_and_not_our_own_fault() {
    let (_folder, host) = machine();
    let path = host.path("/run/systemd/private");
    let listener = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("socket");
    use std::os::fd::AsRawFd;
    let address = nix::sys::socket::UnixAddr::new(&path).expect("address");
    nix::sys::socket::bind(listener.as_raw_fd(), &address).expect("bind");
    let backlog = nix::sys::socket::Backlog::new(0).expect("backlog");
    nix::sys::socket::listen(&listener, backlog).expect("listen");
    let _first = std::os::unix::net::UnixStream::connect(&path).expect("the queue takes one");
    let error = ping(&host, Route::Private, SHORT).await.expect_err("full");
    assert!(
        error.kind() == "late" && error.to_string().contains("(connect)"),
        "{error}"
    );
}

#[tokio::test]
async fn signals_and_foreign_answers_are_skipped_even_byte_by_byte() {
    let (_folder, host) = machine();
    let _fake = private(&host, &[Manner::Chatty]);
    assert_eq!(ping(&host, Route::Private, LONG).await.ok(), Some(102));
}

#[tokio::test]
async fn answers_in_another_order_find_their_calls() {
    let (_folder, host) = machine();
    let _fake = bus(&host, &[Manner::Answers]);
    let deadline = Deadline::after(LONG);
    let systemd = Systemd::of(&host);
    let mut connection = systemd.open(Route::Bus, deadline).await.expect("open");
    let first = connection.send_get_id(deadline).await.expect("send");
    let second = connection.send_ping(deadline).await.expect("send");
    let ping = connection.receive(&second, deadline).await.expect("answer");
    let id = connection.receive(&first, deadline).await.expect("answer");
    assert_eq!((id.serial, ping.serial), (101, 102));
    assert_eq!(id.body.read::<(String,)>().map(|it| it.0), Ok("id".into()));
    assert!(ping.body.read::<u32>().is_err());
}

#[tokio::test]
async fn the_bus_is_the_second_way_where_the_private_socket_hangs_up() {
    for manner in [
        Manner::ClosesAtOnce,
        Manner::Rejects,
        Manner::SilentGreeting,
    ] {
        let (_folder, host) = machine();
        let _fakes = (private(&host, &[manner]), bus(&host, &[Manner::Answers]));
        let open = Systemd::of(&host)
            .open_any(Deadline::after(SHORT * 4))
            .await;
        assert_eq!(
            open.map(|connection| connection.route()).ok(),
            Some(Route::Bus),
            "{manner:?}"
        );
    }
}

#[tokio::test]
async fn a_reexecuting_pid_1_closes_the_connection_and_then_answers() {
    let (_folder, host) = machine();
    let fake = private(
        &host,
        &[
            Manner::ClosesAtCall,
            Manner::ClosesAtOnce,
            Manner::ClosesAtCall,
            Manner::Answers,
        ],
    );
    let done = Systemd::of(&host)
        .reexecute(Route::Private, Deadline::after(LONG))
        .await
        .expect("re-executed");
    assert_eq!(done.asked, Route::Private);
    let log = fake.log.lock().expect("log").clone();
    assert_eq!(log.iter().filter(|it| *it == "Reexecute").count(), 1);
    assert_eq!(log.last().map(String::as_str), Some("Ping"));
}

#[tokio::test]
async fn a_refused_reexecution_is_an_error_and_a_lost_pid_1_is_late() {
    let (_folder, host) = machine();
    let denied = Manner::ManagerError("org.freedesktop.DBus.Error.AccessDenied");
    let refusing = private(&host, &[denied]);
    let systemd = Systemd::of(&host);
    let error = systemd
        .reexecute(Route::Private, Deadline::after(LONG))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), "denied");
    drop(refusing);
    let _fake = private(&host, &[Manner::ClosesAtCall, Manner::SilentGreeting]);
    let error = systemd
        .reexecute(Route::Private, Deadline::after(SHORT * 2))
        .await
        .expect_err("never answers again");
    assert_eq!(error.kind(), "late");
}

#[test]
fn sigterm_never_goes_to_a_process_1_that_is_not_this_machines_systemd() {
    let (_folder, host) = machine();
    let error = terminate_pid1(&host).expect_err("not ours");
    assert!(
        matches!(error.kind(), "not-systemd" | "unreadable"),
        "{error}"
    );
}
