//! The slot of one machine on real files.

use super::error::LeaseError;
use super::fixture::cleared;
use super::keeper::Keeper;
use super::local::LocalSlots;
use super::{Grounds, Lease};
use crate::host::clock::Clock;
use crate::host::fake::HandClock;
use crate::policy::RunId;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn lease(folder: &Path, clock: &Arc<HandClock>) -> Result<Keeper<LocalSlots>, LeaseError> {
    let clock: Arc<dyn Clock> = clock.clone();
    LocalSlots::open(folder, "boot-a", Arc::clone(&clock)).map(|slots| Keeper::new(slots, clock))
}

fn setting() -> (tempfile::TempDir, Arc<HandClock>) {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    (folder, Arc::new(HandClock::at(1000)))
}

#[tokio::test]
async fn a_permit_lives_for_the_hold_and_a_write_prolongs_it() {
    let (folder, clock) = setting();
    let lease = lease(folder.path(), &clock).expect("opens");
    let permit = lease.acquire(cleared(), RunId(17)).await.expect("a slot");
    let live = || permit.ensure_live(clock.now().uptime);
    assert_eq!(live(), Ok(()));
    clock.turn(Duration::from_secs(59));
    assert_eq!(live(), Ok(()));
    clock.turn(Duration::from_secs(1));
    let expired = live().expect_err("the hold is over");
    assert_eq!(expired.age, Duration::from_secs(60));
    lease.renew(&permit).await.expect("written");
    assert_eq!(live(), Ok(()));
    let past = crate::signal::Uptime::default();
    assert!(
        permit.ensure_live(past).is_err(),
        "a proof from the future is none"
    );
    assert_eq!(permit.run(), RunId(17));
    assert!(permit.slot().starts_with("slot.local.0/"));
}

#[tokio::test]
async fn the_slot_file_tells_who_holds_it_and_is_gone_after_the_release() {
    let (folder, clock) = setting();
    let lease = lease(folder.path(), &clock).expect("opens");
    let permit = lease.acquire(cleared(), RunId(17)).await.expect("a slot");
    let note = lease.store().note().expect("readable").expect("there");
    assert_eq!(
        (note.run, note.digest.as_str(), note.version),
        (17, "d1", 1)
    );
    assert_eq!(note.uid, *permit.uid());
    lease.release(permit, Grounds::Soaked).await.expect("freed");
    assert_eq!(lease.store().note().expect("readable"), None);
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("list").collect();
    assert_eq!(files.len(), 1, "only the lock stays: {files:?}");
}

#[tokio::test]
async fn a_second_agent_on_the_machine_is_refused() {
    let (folder, clock) = setting();
    let first = lease(folder.path(), &clock).expect("opens");
    let error = lease(folder.path(), &clock).err().expect("locked");
    assert_eq!(error.kind(), "other-agent");
    assert!(error.to_string().contains("--state-dir"), "{error}");
    drop(first);
    assert!(lease(folder.path(), &clock).is_ok());
}

#[tokio::test]
async fn a_slot_of_a_crashed_run_is_recovered_by_a_write_with_the_same_uid() {
    let (folder, clock) = setting();
    let before = lease(folder.path(), &clock).expect("opens");
    let permit = before.acquire(cleared(), RunId(17)).await.expect("a slot");
    let uid = permit.uid();
    drop((permit, before));
    let after = lease(folder.path(), &clock).expect("opens");
    let permit = after
        .recover(cleared(), RunId(17))
        .await
        .expect("recovered");
    assert_eq!(permit.uid(), uid);
    assert_eq!(
        after
            .store()
            .note()
            .expect("readable")
            .expect("there")
            .version,
        2
    );
}

#[tokio::test]
async fn tidying_up_frees_only_the_slot_of_that_run() {
    let (folder, clock) = setting();
    let lease = lease(folder.path(), &clock).expect("opens");
    drop(lease.acquire(cleared(), RunId(17)).await.expect("a slot"));
    lease
        .tidy_up(RunId(16), Grounds::Untouched)
        .await
        .expect("nothing to do");
    assert!(lease.store().note().expect("readable").is_some());
    lease
        .tidy_up(RunId(17), Grounds::Untouched)
        .await
        .expect("freed");
    assert_eq!(lease.store().note().expect("readable"), None);
}

#[tokio::test]
async fn a_slot_file_that_cannot_be_understood_means_no_slot() {
    let (folder, clock) = setting();
    let lease = lease(folder.path(), &clock).expect("opens");
    drop(lease.acquire(cleared(), RunId(17)).await.expect("a slot"));
    let path = folder.path().join("slot.local.0");
    let good = std::fs::read_to_string(&path).expect("read");
    let large = format!("{good}{}", " ".repeat(20_000));
    let table: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("half", good[..good.len() / 2].into()),
        ("null", "null".into()),
        ("a list", "[]".into()),
        ("no fields", "{}".into()),
        ("a newer form", good.replace("\"format\":1", "\"format\":2")),
        (
            "a form as text",
            good.replace("\"format\":1", "\"format\":\"1\""),
        ),
        (
            "an unknown key",
            good.replace("{\"format\"", "{\"more\":1,\"format\""),
        ),
        ("another name", good.replace("slot.local.0", "slot.local.1")),
        (
            "no uid",
            good.replace("\"uid\":\"", "\"uid\":\"\",\"x\":\""),
        ),
        ("a negative run", good.replace("\"run\":17", "\"run\":-1")),
        (
            "a run as text",
            good.replace("\"run\":17", "\"run\":\"17\""),
        ),
        ("too large", large),
        ("something behind it", format!("{good}x")),
        ("a zero", format!("{good}\0")),
    ];
    for (what, text) in table {
        assert_ne!(text, good, "{what}");
        std::fs::write(&path, &text).expect("write");
        let error = lease.acquire(cleared(), RunId(18)).await.expect_err(what);
        assert_eq!(error.kind(), "unreadable", "{what}: {error}");
        assert_eq!(
            std::fs::read_to_string(&path).expect("read"),
            text,
            "{what}: touched"
        );
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_proves_nothing() {
    let (folder, clock) = setting();
    let lease = lease(folder.path(), &clock).expect("opens");
    let permit = lease.acquire(cleared(), RunId(17)).await.expect("a slot");
    // A directory in the draft's place fails the write for root, too.
    std::fs::create_dir(folder.path().join("slot.local.0.draft")).expect("made");
    clock.turn(Duration::from_secs(30));
    let error = lease.renew(&permit).await.expect_err("not written");
    assert_eq!(error.kind(), "unproved");
    assert_eq!(
        permit.ensure_live(clock.now().uptime),
        Ok(()),
        "the old proof still holds"
    );
    clock.turn(Duration::from_secs(30));
    assert!(permit.ensure_live(clock.now().uptime).is_err());
}
