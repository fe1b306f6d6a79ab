//! `hwmon`: sensors of boards, processors, disks and cards, from `/sys/class/hwmon`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::hwmon_sensor::{Element, SensorFile, value};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::held::{read_once, word};
use crate::exposition::family::Family;

const CHIP_INCLUDE: &str = "collector.hwmon.chip-include";
const CHIP_EXCLUDE: &str = "collector.hwmon.chip-exclude";
const SENSOR_INCLUDE: &str = "collector.hwmon.sensor-include";
const SENSOR_EXCLUDE: &str = "collector.hwmon.sensor-exclude";
/// What is taken of a sensor's label. node_exporter reads sysfs attributes in one piece of this size.
const MAX_LABEL_BYTES: usize = 128;

const CHIP_NAMES: Family = Family::gauge(
    "node_hwmon_chip_names",
    "Annotation metric for human-readable chip names",
)
.from("/sys/class/hwmon/<chip>/name");
const SENSOR_LABEL: Family =
    Family::gauge("node_hwmon_sensor_label", "Label for given chip and sensor")
        .from("/sys/class/hwmon/<chip>/<sensor>_label");
const SENSOR: Family = Family::gauge(
    "node_hwmon_<sensor>_<element>",
    "Hardware monitor <sensor> element <element>",
)
.from("/sys/class/hwmon/<chip>/<sensor>_<element>");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "hwmon",
    enabled: true,
    lane: Lane::Apart,
    flags: &[
        Flag::optional(
            CHIP_INCLUDE,
            "Regexp of hwmon chip to include (mutually exclusive to device-exclude).",
        ),
        Flag::optional(
            CHIP_EXCLUDE,
            "Regexp of hwmon chip to exclude (mutually exclusive to device-include).",
        ),
        Flag::optional(
            SENSOR_INCLUDE,
            "Regexp of hwmon sensor to include (mutually exclusive to sensor-exclude).",
        ),
        Flag::optional(
            SENSOR_EXCLUDE,
            "Regexp of hwmon sensor to exclude (mutually exclusive to sensor-include).",
        ),
    ],
    families: &[CHIP_NAMES, SENSOR_LABEL, SENSOR],
    open,
};

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let chip_filter = settings.filter(CHIP_INCLUDE, CHIP_EXCLUDE)?;
    let sensor_filter = settings.filter(SENSOR_INCLUDE, SENSOR_EXCLUDE)?;
    let families = [CHIP_NAMES, SENSOR_LABEL];
    let what = ("class/hwmon", "hardware monitors");
    let planner = Box::new(
        move |plan: &mut Plan<'_>, path: &Path, names: Vec<Vec<u8>>| {
            for chip in chips(path, &names) {
                if !chip_filter.is_ignored(&chip.label) {
                    plan_chip(plan, &chip, &sensor_filter);
                }
            }
        },
    );
    Ok(Box::new(DeviceClass::new(
        sources, what, &families, planner,
    )))
}

/// A directory below `/sys/class/hwmon`.
struct Chip {
    dir: PathBuf,
    /// The content of `name`, trimmed.
    name: Option<Vec<u8>>,
    label: Vec<u8>,
}

/// The chips with labels of their own: several may hang on one device and would share its name.
/// They are told apart by their `name`, or by their number where that is the same too.
fn chips(path: &Path, entries: &[Vec<u8>]) -> Vec<Chip> {
    let mut chips = Vec::new();
    let mut labels: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut pairs: BTreeMap<(Vec<u8>, Option<Vec<u8>>), usize> = BTreeMap::new();
    for entry in entries {
        let dir = child(path, entry);
        if !dir.is_dir() {
            continue;
        }
        let name = word(dir.join("name"));
        let label = base_label(&dir, name.as_deref(), entry);
        if label.is_empty() {
            continue;
        }
        *labels.entry(label.clone()).or_default() += 1;
        *pairs.entry((label.clone(), name.clone())).or_default() += 1;
        chips.push((entry, Chip { dir, name, label }));
    }
    let distinct = |(entry, chip): (&Vec<u8>, Chip)| {
        if labels.get(&chip.label).is_none_or(|count| *count < 2) {
            return chip;
        }
        let same = pairs.get(&(chip.label.clone(), chip.name.clone()));
        let mut suffix = clean(chip.name.as_deref().unwrap_or_default());
        if suffix.is_empty() || same.is_some_and(|count| *count > 1) {
            suffix = clean(entry);
        }
        let label = [chip.label.as_slice(), b"_", &suffix].concat();
        Chip { label, ..chip }
    };
    chips.into_iter().map(distinct).collect()
}

/// `platform_coretemp_0`: bus and name of the chip's device, because the numbers of `hwmon<n>`
/// depend on the order in which modules were loaded. Without a device, its `name`, else its number.
fn base_label(dir: &Path, name: Option<&[u8]>, entry: &[u8]) -> Vec<u8> {
    let device = dir.join("device").canonicalize().ok();
    if let Some(device) = device {
        let part = |path: Option<&Path>| {
            let name = path.and_then(Path::file_name).unwrap_or_default();
            clean(name.as_bytes())
        };
        let (kind, own) = (part(device.parent()), part(Some(&device)));
        if !own.is_empty() && !kind.is_empty() {
            return [kind.as_slice(), b"_", &own].concat();
        }
        if !own.is_empty() {
            return own;
        }
    }
    let name = clean(name.unwrap_or_default());
    if name.is_empty() { clean(entry) } else { name }
}

/// Lower case, with `_` for what a metric name cannot hold, and none at the ends.
fn clean(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let replaced: String = text
        .chars()
        .map(|sign| match sign {
            'a'..='z' | '0'..='9' | ':' | '_' => sign,
            _ => '_',
        })
        .collect();
    replaced.trim_matches('_').as_bytes().to_vec()
}

/// One sensor's files by element; `input` may lie in the directory or below `device`.
type Sensors = BTreeMap<(Vec<u8>, u64), BTreeMap<Vec<u8>, PathBuf>>;

fn plan_chip(plan: &mut Plan<'_>, chip: &Chip, filter: &Filter) {
    let mut sensors = Sensors::new();
    find_sensors(&chip.dir, &mut sensors);
    find_sensors(&chip.dir.join("device"), &mut sensors);
    let readable = clean(chip.name.as_deref().unwrap_or_default());
    if !readable.is_empty() {
        let labels = shared(&[("chip", &chip.label), ("chip_name", &readable)]);
        plan.constant(0, &labels, 1.0);
    }
    for ((kind, number), files) in &sensors {
        let sensor = [kind.as_slice(), number.to_string().as_bytes()].concat();
        if !filter.is_ignored(&[chip.label.as_slice(), b";", &sensor].concat()) {
            plan_sensor(plan, &chip.label, (kind, &sensor), files);
        }
    }
}

fn find_sensors(dir: &Path, sensors: &mut Sensors) {
    for name in names(dir).unwrap_or_default() {
        if let Some(file) = SensorFile::parse(&name) {
            let elements = sensors.entry((file.kind, file.number)).or_default();
            elements.insert(file.element, child(dir, &name));
        }
    }
}

fn plan_sensor(
    plan: &mut Plan<'_>,
    chip: &[u8],
    (kind, sensor): (&[u8], &[u8]),
    files: &BTreeMap<Vec<u8>, PathBuf>,
) {
    let pairs = [("chip", chip), ("sensor", sensor)];
    let labels = shared(&pairs);
    let label = files.get(&b"label"[..]);
    let text = label.and_then(|path| read_once(path.clone()).ok());
    // Blanks at its ends are the chip's own: `Left side  ` of an Apple SMC.
    let text = text.map(|text| match text.strip_suffix(b"\n") {
        Some(line) => line.to_vec(),
        None => text,
    });
    if let Some(text) = &text {
        let text = text.get(..MAX_LABEL_BYTES).unwrap_or(text);
        let [chip, sensor] = pairs;
        plan.constant(1, &shared(&[chip, ("label", text), sensor]), 1.0);
    }
    let has_plain = files.contains_key(&b""[..]);
    for (element, path) in files {
        if element == b"label" {
            continue;
        }
        let what = Element {
            kind,
            name: element,
            clean: clean(element),
            has_plain,
        };
        let Some(value) = value(&what) else { continue };
        let labels = match &text {
            _ if !value.labelled => labels.clone(),
            Some(text) => shared(&[("chip", chip), ("sensor", &clean(text))]),
            None => continue,
        };
        let column = plan.sheet.column(&value.family, value.kind, &value.help);
        if let Some(column) = column {
            let how = (value.format, value.scale);
            plan.readings
                .add(column, &labels, (path.clone(), plan.keep), how);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{chips, clean};

    #[test]
    fn names_are_made_of_what_a_metric_may_hold() {
        for (text, want) in [
            ("applesmc.768", "applesmc_768"),
            ("__Ab-C__", "ab_c"),
            ("0000:02:00.0", "0000:02:00_0"),
            ("\u{20ac}", ""),
        ] {
            assert_eq!(clean(text.as_bytes()), want.as_bytes());
        }
        assert_eq!(clean(b"\xffa\xff"), b"a");
    }

    #[test]
    fn chips_of_one_device_have_labels_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("class");
        let device = dir.path().join("platform/asus");
        std::fs::create_dir_all(&device).unwrap();
        let names = ["a", "b", "b"];
        let mut entries = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let entry = format!("hwmon{number}");
            let chip = class.join(&entry);
            std::fs::create_dir_all(&chip).unwrap();
            std::fs::write(chip.join("name"), format!("{name}\n")).unwrap();
            std::os::unix::fs::symlink(&device, chip.join("device")).unwrap();
            entries.push(entry.into_bytes());
        }
        let labels: Vec<String> = chips(&class, &entries)
            .iter()
            .map(|chip| String::from_utf8_lossy(&chip.label).into_owned())
            .collect();
        assert_eq!(
            labels,
            [
                "platform_asus_a",
                "platform_asus_hwmon1",
                "platform_asus_hwmon2"
            ]
        );
    }
}
