//! The numbers of a power supply: family, help, file and unit.

use crate::collectors::source::attribute::{Attribute, Format, Scale};
use crate::exposition::family::Family;

/// The kernel counts in microvolts, microamperes and microwatts.
const MICRO: Scale = Scale::Over(1e6);
/// The kernel counts in tenths of a degree.
const TENTHS: Scale = Scale::Over(10.0);

const fn supply(
    name: &'static str,
    help: &'static str,
    file: &'static str,
    scale: Scale,
) -> Attribute {
    Attribute::of(
        Family::gauge(name, help).from("/sys/class/power_supply/<power_supply>"),
        file,
    )
    .format(Format::Prefixed)
    .scale(scale)
}

/// One row a file of a supply's directory.
pub const SUPPLY: [Attribute; 49] = [
    supply(
        "node_power_supply_authentic",
        "authentic value of /sys/class/power_supply/<power_supply>.",
        "authentic",
        Scale::One,
    ),
    supply(
        "node_power_supply_calibrate",
        "calibrate value of /sys/class/power_supply/<power_supply>.",
        "calibrate",
        Scale::One,
    ),
    supply(
        "node_power_supply_capacity",
        "capacity value of /sys/class/power_supply/<power_supply>.",
        "capacity",
        Scale::One,
    ),
    supply(
        "node_power_supply_capacity_alert_max",
        "capacity_alert_max value of /sys/class/power_supply/<power_supply>.",
        "capacity_alert_max",
        Scale::One,
    ),
    supply(
        "node_power_supply_capacity_alert_min",
        "capacity_alert_min value of /sys/class/power_supply/<power_supply>.",
        "capacity_alert_min",
        Scale::One,
    ),
    supply(
        "node_power_supply_cyclecount",
        "cyclecount value of /sys/class/power_supply/<power_supply>.",
        "cycle_count",
        Scale::One,
    ),
    supply(
        "node_power_supply_online",
        "online value of /sys/class/power_supply/<power_supply>.",
        "online",
        Scale::One,
    ),
    supply(
        "node_power_supply_present",
        "present value of /sys/class/power_supply/<power_supply>.",
        "present",
        Scale::One,
    ),
    supply(
        "node_power_supply_time_to_empty_seconds",
        "time_to_empty_seconds value of /sys/class/power_supply/<power_supply>.",
        "time_to_empty_now",
        Scale::One,
    ),
    supply(
        "node_power_supply_time_to_full_seconds",
        "time_to_full_seconds value of /sys/class/power_supply/<power_supply>.",
        "time_to_full_now",
        Scale::One,
    ),
    supply(
        "node_power_supply_current_boot",
        "current_boot value of /sys/class/power_supply/<power_supply>.",
        "current_boot",
        MICRO,
    ),
    supply(
        "node_power_supply_current_max",
        "current_max value of /sys/class/power_supply/<power_supply>.",
        "current_max",
        MICRO,
    ),
    supply(
        "node_power_supply_current_ampere",
        "current_ampere value of /sys/class/power_supply/<power_supply>.",
        "current_now",
        MICRO,
    ),
    supply(
        "node_power_supply_energy_empty",
        "energy_empty value of /sys/class/power_supply/<power_supply>.",
        "energy_empty",
        MICRO,
    ),
    supply(
        "node_power_supply_energy_empty_design",
        "energy_empty_design value of /sys/class/power_supply/<power_supply>.",
        "energy_empty_design",
        MICRO,
    ),
    supply(
        "node_power_supply_energy_full",
        "energy_full value of /sys/class/power_supply/<power_supply>.",
        "energy_full",
        MICRO,
    ),
    supply(
        "node_power_supply_energy_full_design",
        "energy_full_design value of /sys/class/power_supply/<power_supply>.",
        "energy_full_design",
        MICRO,
    ),
    supply(
        "node_power_supply_energy_watthour",
        "energy_watthour value of /sys/class/power_supply/<power_supply>.",
        "energy_now",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_boot",
        "voltage_boot value of /sys/class/power_supply/<power_supply>.",
        "voltage_boot",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_max",
        "voltage_max value of /sys/class/power_supply/<power_supply>.",
        "voltage_max",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_max_design",
        "voltage_max_design value of /sys/class/power_supply/<power_supply>.",
        "voltage_max_design",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_min",
        "voltage_min value of /sys/class/power_supply/<power_supply>.",
        "voltage_min",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_min_design",
        "voltage_min_design value of /sys/class/power_supply/<power_supply>.",
        "voltage_min_design",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_volt",
        "voltage_volt value of /sys/class/power_supply/<power_supply>.",
        "voltage_now",
        MICRO,
    ),
    supply(
        "node_power_supply_voltage_ocv",
        "voltage_ocv value of /sys/class/power_supply/<power_supply>.",
        "voltage_ocv",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_control_limit",
        "charge_control_limit value of /sys/class/power_supply/<power_supply>.",
        "charge_control_limit",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_control_limit_max",
        "charge_control_limit_max value of /sys/class/power_supply/<power_supply>.",
        "charge_control_limit_max",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_counter",
        "charge_counter value of /sys/class/power_supply/<power_supply>.",
        "charge_counter",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_empty",
        "charge_empty value of /sys/class/power_supply/<power_supply>.",
        "charge_empty",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_empty_design",
        "charge_empty_design value of /sys/class/power_supply/<power_supply>.",
        "charge_empty_design",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_full",
        "charge_full value of /sys/class/power_supply/<power_supply>.",
        "charge_full",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_full_design",
        "charge_full_design value of /sys/class/power_supply/<power_supply>.",
        "charge_full_design",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_ampere",
        "charge_ampere value of /sys/class/power_supply/<power_supply>.",
        "charge_now",
        MICRO,
    ),
    supply(
        "node_power_supply_charge_term_current",
        "charge_term_current value of /sys/class/power_supply/<power_supply>.",
        "charge_term_current",
        MICRO,
    ),
    supply(
        "node_power_supply_constant_charge_current",
        "constant_charge_current value of /sys/class/power_supply/<power_supply>.",
        "constant_charge_current",
        MICRO,
    ),
    supply(
        "node_power_supply_constant_charge_current_max",
        "constant_charge_current_max value of /sys/class/power_supply/<power_supply>.",
        "constant_charge_current_max",
        MICRO,
    ),
    supply(
        "node_power_supply_constant_charge_voltage",
        "constant_charge_voltage value of /sys/class/power_supply/<power_supply>.",
        "constant_charge_voltage",
        MICRO,
    ),
    supply(
        "node_power_supply_constant_charge_voltage_max",
        "constant_charge_voltage_max value of /sys/class/power_supply/<power_supply>.",
        "constant_charge_voltage_max",
        MICRO,
    ),
    supply(
        "node_power_supply_precharge_current",
        "precharge_current value of /sys/class/power_supply/<power_supply>.",
        "precharge_current",
        MICRO,
    ),
    supply(
        "node_power_supply_input_current_limit",
        "input_current_limit value of /sys/class/power_supply/<power_supply>.",
        "input_current_limit",
        MICRO,
    ),
    supply(
        "node_power_supply_power_watt",
        "power_watt value of /sys/class/power_supply/<power_supply>.",
        "power_now",
        MICRO,
    ),
    supply(
        "node_power_supply_temp_celsius",
        "temp_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_alert_max_celsius",
        "temp_alert_max_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_alert_max",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_alert_min_celsius",
        "temp_alert_min_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_alert_min",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_ambient_celsius",
        "temp_ambient_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_ambient",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_ambient_max_celsius",
        "temp_ambient_max_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_ambient_max",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_ambient_min_celsius",
        "temp_ambient_min_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_ambient_min",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_max_celsius",
        "temp_max_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_max",
        TENTHS,
    ),
    supply(
        "node_power_supply_temp_min_celsius",
        "temp_min_celsius value of /sys/class/power_supply/<power_supply>.",
        "temp_min",
        TENTHS,
    ),
];
