//! PID 1's counter of messages on the system bus ("cookie", signatures.md 1.1), set close to the end of its 32 bits.
//!
//! The counter is found by its value: the serial of PID 1's last reply *is* the counter, so it is among the
//! places in its writable memory that follow the serials over many replies. On 252 a second place does: the
//! buffer that the last reply was sent from, which is rewritten by the next one. So each is tried.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;

use crate::bus::{Answer, ping_manager};
use crate::node::Node;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Each round is one ping; a handful leaves one candidate (300 were used when this was first tried by hand).
const ROUNDS: usize = 12;
/// Writing into a place that only looked like the counter must stay the exception.
const MAX_PLACES: usize = 4;

/// Sets the counter to `value`, and proves it by one ping, whose reply takes the next number.
///
/// There is no release: a counter only goes up. Throw the node away.
pub fn set(node: &Node, value: u32) -> Result<()> {
    let pid = node.leader()?;
    let memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{pid}/mem"))?;
    let mut places = everywhere(pid, &memory, serial(node)?)?;
    for _ in 0..ROUNDS {
        let now = u64::from(serial(node)?);
        places.retain(|place| read(&memory, *place).is_ok_and(|found| found == now));
    }
    let count = places.len();
    ensure!(
        count <= MAX_PLACES,
        "{count} places follow PID 1's serials: too many to try"
    );
    for place in places {
        let before = read(&memory, place)?;
        memory.write_all_at(&u64::from(value).to_ne_bytes(), place)?;
        if serial(node)? > value {
            return Ok(());
        }
        memory.write_all_at(&before.to_ne_bytes(), place)?;
    }
    bail!("none of the {count} places that follow PID 1's serials is the counter")
}

/// The serial of PID 1's reply to a ping.
pub fn serial(node: &Node) -> Result<u32> {
    match ping_manager(node, ANSWER_LIMIT)? {
        Answer::Reply { serial } => Ok(serial),
        other => bail!("PID 1 does not answer on the bus: {other:?}"),
    }
}

/// All aligned places of PID 1's private writable memory that hold `value`.
fn everywhere(pid: Pid, memory: &File, value: u32) -> Result<Vec<u64>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let (start, end) = range.context("a line of maps without a range")?;
        let (start, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        let mut bytes = vec![0; usize::try_from(end - start)?];
        // Guard pages and the like cannot be read and hold no counter.
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        let wanted = u64::from(value).to_ne_bytes();
        let hits = bytes
            .chunks_exact(8)
            .zip((start..).step_by(8))
            .filter(|(chunk, _)| *chunk == wanted);
        found.extend(hits.map(|(_, place)| place));
    }
    ensure!(!found.is_empty(), "{value} is nowhere in PID 1's memory");
    Ok(found)
}

fn read(memory: &File, place: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, place)?;
    Ok(u64::from_ne_bytes(bytes))
}
