//! What a sensor's file is: family, unit and arithmetic by its name. Units are those of
//! `Documentation/hwmon/sysfs-interface.rst`.

use crate::collectors::source::attribute::{Format, Scale};
use crate::collectors::source::scan::number;
use crate::exposition::family::Kind;

/// Kinds of sensors that are known; other files are not sensors.
const KINDS: [&[u8]; 14] = [
    b"vrm",
    b"beep_enable",
    b"update_interval",
    b"in",
    b"cpu",
    b"fan",
    b"pwm",
    b"temp",
    b"curr",
    b"power",
    b"energy",
    b"humidity",
    b"intrusion",
    b"freq",
];

/// Millivolts, millidegrees, milliamperes, milliseconds.
const MILLI: Scale = Scale::Times(0.001);
/// Microwatts, microjoules, hertz shown as megahertz.
const MICRO: Scale = Scale::Over(1_000_000.0);

/// The parts of a file's name: `temp1_crit_alarm` is kind `temp`, number 1, element `crit_alarm`.
#[derive(Debug, PartialEq, Eq)]
pub struct SensorFile {
    /// Kind of sensor.
    pub kind: Vec<u8>,
    /// Its number; 0 for a kind that has none.
    pub number: u64,
    /// What of it; empty for the value itself.
    pub element: Vec<u8>,
}

impl SensorFile {
    /// The parts of a name; `None` if it is no sensor's.
    pub fn parse(name: &[u8]) -> Option<SensorFile> {
        // Kinds may hold `_`, so all of them are tried; the element starts after the number or `_`.
        KINDS.iter().find_map(|kind| {
            let rest = name.strip_prefix(*kind)?;
            let digits = rest
                .iter()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(rest.len());
            let (digits, rest) = rest.split_at_checked(digits)?;
            let element = match rest {
                [] => rest,
                [b'_', element @ ..] if !element.is_empty() && !digits.is_empty() => element,
                _ => return None,
            };
            let number = if digits.is_empty() {
                Some(0)
            } else {
                number(digits)
            };
            Some(SensorFile {
                kind: kind.to_vec(),
                number: number?,
                element: element.to_vec(),
            })
        })
    }
}

/// What [`value`] decides on.
#[derive(Debug)]
pub struct Element<'a> {
    /// Kind of sensor.
    pub kind: &'a [u8],
    /// What of it.
    pub name: &'a [u8],
    /// The same, as a part of a metric's name.
    pub clean: Vec<u8>,
    /// Whether the sensor has a file without element too, so that `input` keeps its name.
    pub has_plain: bool,
}

/// How a file is shown.
#[derive(Debug)]
pub struct SensorValue {
    /// Name of the family.
    pub family: Vec<u8>,
    /// Its type.
    pub kind: Kind,
    /// Its help.
    pub help: Vec<u8>,
    /// What the text is: among the numbers some chips have words (`power1_model_number`, `power1_accuracy` of ACPI's power
    /// meters), and some cannot be read while they sleep.
    pub format: Format,
    /// What turns it into the family's unit.
    pub scale: Scale,
    /// Whether the sensor's label stands in place of its name, without which it is not shown.
    pub labelled: bool,
}

/// How the element of a sensor is shown; `None` if it is not.
pub fn value(element: &Element<'_>) -> Option<SensorValue> {
    if let Some(value) = switch(element) {
        return Some(value);
    }
    let name = element.name;
    let (suffix, help, scale) = match (element.kind, name) {
        (kind, b"fault" | b"alarm") => {
            let help = text(&[b"Hardware sensor ", name, b" status (", kind, b")"]);
            ("", help, Scale::One)
        }
        (_, b"beep") => (
            "_enabled",
            b"Hardware monitor sensor has beeping enabled".to_vec(),
            Scale::One,
        ),
        (b"in" | b"cpu", _) => ("_volts", of(b"voltage", name), MILLI),
        (b"temp", b"") => ("_celsius", of(b"temperature", b"input"), MILLI),
        (b"temp", name) if name != b"type" => ("_celsius", of(b"temperature", name), MILLI),
        (b"curr", _) => ("_amps", of(b"current", name), MILLI),
        (b"energy", _) => ("_joule_total", of(b"joules used so far", name), MICRO),
        (b"power", b"accuracy") => (
            "",
            b"Hardware monitor power meter accuracy, as a ratio".to_vec(),
            MICRO,
        ),
        (b"power", b"average_interval" | b"average_interval_min" | b"average_interval_max") => {
            let what = b"Hardware monitor power usage update interval (";
            ("_seconds", text(&[what, name, b")"]), MILLI)
        }
        (b"power", _) => ("_watt", of(b"power usage in watts", name), MICRO),
        (b"humidity", _) => {
            let what =
                b"humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)";
            ("", of(what, name), MICRO)
        }
        (b"fan", b"input" | b"min" | b"max" | b"target") => {
            ("_rpm", of(b"fan revolutions per minute", name), Scale::One)
        }
        (b"freq", b"input") => (
            "_freq_mhz",
            b"Hardware monitor for GPU frequency in MHz".to_vec(),
            MICRO,
        ),
        (kind, _) => {
            let help = text(&[b"Hardware monitor ", kind, b" element ", name]);
            ("", help, Scale::One)
        }
    };
    let kind = if element.kind == b"energy" && suffix == "_joule_total" {
        Kind::Counter
    } else {
        Kind::Gauge
    };
    let family = [base(element).as_slice(), suffix.as_bytes()].concat();
    Some(SensorValue {
        family,
        kind,
        help,
        format: Format::Sensor,
        scale,
        labelled: suffix == "_freq_mhz",
    })
}

/// Settings of a whole chip, which have one file each.
fn switch(element: &Element<'_>) -> Option<SensorValue> {
    let (family, help, scale): (_, &[u8], _) = match element.kind {
        b"beep_enable" => (
            "node_hwmon_beep_enabled",
            b"Hardware beep enabled",
            Scale::One,
        ),
        b"vrm" => (
            "node_hwmon_voltage_regulator_version",
            b"Hardware voltage regulator",
            Scale::One,
        ),
        b"update_interval" => (
            "node_hwmon_update_interval_seconds",
            b"Hardware monitor update interval",
            MILLI,
        ),
        _ => return None,
    };
    Some(SensorValue {
        family: family.into(),
        kind: Kind::Gauge,
        help: help.to_vec(),
        format: if element.kind == b"beep_enable" {
            Format::Flag
        } else {
            Format::Sensor
        },
        scale,
        labelled: false,
    })
}

/// `node_hwmon_<kind>_<element>`; `input` is the value itself and is not named, unless there is
/// another file for that.
fn base(element: &Element<'_>) -> Vec<u8> {
    let kind = [b"node_hwmon_", element.kind].concat();
    match element.name {
        b"" => kind,
        b"input" if !element.has_plain => kind,
        _ => [kind.as_slice(), b"_", &element.clean].concat(),
    }
}

fn of(what: &[u8], element: &[u8]) -> Vec<u8> {
    text(&[b"Hardware monitor for ", what, b" (", element, b")"])
}

fn text(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::{Element, SensorFile, value};

    #[test]
    fn names_are_taken_apart_or_refused() {
        type Case = (&'static str, Option<(&'static str, u64, &'static str)>);
        let cases: [Case; 11] = [
            ("temp1_crit_alarm", Some(("temp", 1, "crit_alarm"))),
            ("in0_input", Some(("in", 0, "input"))),
            ("pwm1", Some(("pwm", 1, ""))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("update_interval", Some(("update_interval", 0, ""))),
            ("intrusion0_alarm", Some(("intrusion", 0, "alarm"))),
            ("temp1_", None),
            ("temp99999999999999999999_input", None),
            ("fan_div", None),
            ("input", None),
            ("name", None),
        ];
        for (name, want) in cases {
            let got = SensorFile::parse(name.as_bytes()).map(|file| {
                let text = |part: Vec<u8>| String::from_utf8_lossy(&part).into_owned();
                (text(file.kind), file.number, text(file.element))
            });
            let want = want.map(|(kind, number, element)| (kind.into(), number, element.into()));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn families_carry_their_unit() {
        let cases = [
            ("temp", "input", false, "node_hwmon_temp_celsius"),
            ("temp", "type", false, "node_hwmon_temp_type"),
            ("pwm", "input", true, "node_hwmon_pwm_input"),
            ("power", "average", false, "node_hwmon_power_average_watt"),
            ("power", "accuracy", false, "node_hwmon_power_accuracy"),
            ("energy", "input", false, "node_hwmon_energy_joule_total"),
            ("fan", "div", false, "node_hwmon_fan_div"),
            ("freq", "input", false, "node_hwmon_freq_freq_mhz"),
            ("in", "alarm", false, "node_hwmon_in_alarm"),
            ("vrm", "", false, "node_hwmon_voltage_regulator_version"),
        ];
        for (kind, name, has_plain, want) in cases {
            let element = Element {
                kind: kind.as_bytes(),
                name: name.as_bytes(),
                clean: name.as_bytes().to_vec(),
                has_plain,
            };
            assert_eq!(value(&element).unwrap().family, want.as_bytes());
        }
    }
}
