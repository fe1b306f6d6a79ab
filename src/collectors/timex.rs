//! `timex`: how well the clock is kept.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::adjtimex;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use nix::errno::Errno;

const SOURCE: &str = "adjtimex(2)";
const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from(SOURCE)
}
const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE)
}

const FAMILIES: [Family; 17] = [
    gauge(
        "node_timex_sync_status",
        "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
    ),
    gauge(
        "node_timex_offset_seconds",
        "Time offset in between local system and reference clock.",
    )
    .unit("seconds"),
    gauge(
        "node_timex_frequency_adjustment_ratio",
        "Local clock frequency adjustment.",
    ),
    gauge("node_timex_maxerror_seconds", "Maximum error in seconds.").unit("seconds"),
    gauge(
        "node_timex_estimated_error_seconds",
        "Estimated error in seconds.",
    )
    .unit("seconds"),
    gauge("node_timex_status", "Value of the status array bits."),
    gauge(
        "node_timex_loop_time_constant",
        "Phase-locked loop time constant.",
    ),
    gauge("node_timex_tick_seconds", "Seconds between clock ticks.").unit("seconds"),
    gauge(
        "node_timex_pps_frequency_hertz",
        "Pulse per second frequency.",
    )
    .unit("hertz"),
    gauge("node_timex_pps_jitter_seconds", "Pulse per second jitter.").unit("seconds"),
    gauge(
        "node_timex_pps_shift_seconds",
        "Pulse per second interval duration.",
    )
    .unit("seconds"),
    gauge(
        "node_timex_pps_stability_hertz",
        "Pulse per second stability, average of recent frequency changes.",
    )
    .unit("hertz"),
    counter(
        "node_timex_pps_jitter_total",
        "Pulse per second count of jitter limit exceeded events.",
    ),
    counter(
        "node_timex_pps_calibration_total",
        "Pulse per second count of calibration intervals.",
    ),
    counter(
        "node_timex_pps_error_total",
        "Pulse per second count of calibration errors.",
    ),
    counter(
        "node_timex_pps_stability_exceeded_total",
        "Pulse per second count of stability limit exceeded events.",
    ),
    gauge(
        "node_timex_tai_offset_seconds",
        "International Atomic Time (TAI) offset.",
    )
    .unit("seconds"),
];

/// `TIME_ERROR`: the clock is not synchronized to a reliable server.
const NOT_SYNCHRONIZED: i32 = 5;
/// `STA_NANO`: the kernel counts in nanoseconds instead of microseconds.
const STA_NANO: i32 = 0x2000;
/// adjtimex(2): parts per million with a 16-bit binary fraction.
const PPM: f64 = 1_000_000.0 * 65_536.0;
const MICROS: f64 = 1e6;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "timex",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Timex {
    heads: [Head; 17],
    none: Labels,
}

fn open(_: &Settings, _: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Timex {
        heads: FAMILIES.each_ref().map(Head::of),
        none: Labels::none(),
    }))
}

impl Collector for Timex {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let (state, timex) = match adjtimex::read() {
            Ok(answer) => answer,
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => {
                return Err(CollectError::NoData("right to call adjtimex"));
            }
            Err(source) => {
                return Err(CollectError::System {
                    call: "adjtimex",
                    source,
                });
            }
        };
        let unit = if timex.status & STA_NANO == 0 {
            MICROS
        } else {
            1e9
        };
        let float = |value: libc::c_long| value as f64;
        let values = [
            f64::from(u8::from(state != NOT_SYNCHRONIZED)),
            float(timex.offset) / unit,
            1.0 + float(timex.freq) / PPM,
            float(timex.maxerror) / MICROS,
            float(timex.esterror) / MICROS,
            f64::from(timex.status),
            float(timex.constant),
            float(timex.tick) / MICROS,
            float(timex.ppsfreq) / PPM,
            float(timex.jitter) / unit,
            f64::from(timex.shift),
            float(timex.stabil) / PPM,
            float(timex.jitcnt),
            float(timex.calcnt),
            float(timex.errcnt),
            float(timex.stbcnt),
            f64::from(timex.tai),
        ];
        for (head, value) in self.heads.iter().zip(values) {
            turn.page.family(head).float(&self.none, value);
        }
        Ok(())
    }
}
