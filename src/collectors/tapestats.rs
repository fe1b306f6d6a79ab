//! `tapestats`: SCSI tape drives, from `/sys/class/scsi_tape`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Scale, families};
use crate::collectors::source::class::{DeviceClass, Plan, numbered, shared};
use crate::collectors::source::dir::child;
use crate::exposition::family::Family;

const IGNORED: &str = "collector.tapestats.ignored-devices";
/// The kernel counts in nanoseconds.
const NANO: Scale = Scale::Times(1e-9);

const fn stat(family: Family, file: &'static str) -> Attribute {
    Attribute::of(family.from("/sys/class/scsi_tape/<device>/stats"), file)
}

const TABLE: [Attribute; 10] = [
    stat(Family::gauge("node_tape_io_now", "The number of I/Os currently outstanding to this device."), "stats/in_flight"),
    stat(Family::counter("node_tape_io_time_seconds_total", "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used."), "stats/io_ns").scale(NANO),
    stat(Family::counter("node_tape_io_others_total", "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total"), "stats/other_cnt"),
    stat(Family::counter("node_tape_read_bytes_total", "The number of bytes read from the tape drive."), "stats/read_byte_cnt"),
    stat(Family::counter("node_tape_reads_completed_total", "The number of read requests issued to the tape drive."), "stats/read_cnt"),
    stat(Family::counter("node_tape_read_time_seconds_total", "The amount of time spent waiting for read requests to complete."), "stats/read_ns").scale(NANO),
    stat(Family::counter("node_tape_residual_total", "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape."), "stats/resid_cnt"),
    stat(Family::counter("node_tape_written_bytes_total", "The number of bytes written to the tape drive."), "stats/write_byte_cnt"),
    stat(Family::counter("node_tape_writes_completed_total", "The number of write requests issued to the tape drive."), "stats/write_cnt"),
    stat(Family::counter("node_tape_write_time_seconds_total", "The amount of time spent waiting for write requests to complete."), "stats/write_ns").scale(NANO),
];
const FAMILIES: [Family; 10] = families([], &TABLE);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "tapestats",
    enabled: true,
    lane: Lane::Apart,
    flags: &[Flag::value(
        IGNORED,
        "^$",
        "Regexp of devices to ignore for tapestats.",
    )],
    families: &FAMILIES,
    open,
};

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let ignored = settings.pattern(IGNORED)?;
    let what = ("class/scsi_tape", "tape drives");
    let planner = Box::new(
        move |plan: &mut Plan<'_>, path: &Path, names: Vec<Vec<u8>>| {
            for name in names {
                // A drive has eight names (rewinding or not, in four modes); only this one counts.
                let drive =
                    numbered(&name, b"st").is_some_and(|n| n.iter().all(u8::is_ascii_digit));
                if drive
                    && !ignored
                        .as_ref()
                        .is_some_and(|ignored| ignored.is_match(&name))
                {
                    plan.table(
                        &TABLE,
                        0,
                        &shared(&[("device", &name)]),
                        &child(path, &name),
                    );
                }
            }
        },
    );
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}
