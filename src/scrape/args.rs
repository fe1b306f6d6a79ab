//! node_exporter's flags for the command line, made from the collectors' table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::collectors::TABLE;
use crate::collectors::entry::Flag;
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::roots::Roots;
use crate::scrape::inert;

/// The heading of these flags in `--help` (they are hidden in the short help).
const HEADING: &str = "Metrics, as in node_exporter";
const DISABLE_DEFAULTS: &str = "collector.disable-defaults";
/// The four roots: flag, default, help.
const PATHS: [(&str, &str, &str); 4] = [
    ("path.procfs", "/proc", "procfs mountpoint."),
    ("path.sysfs", "/sys", "sysfs mountpoint."),
    ("path.rootfs", "/", "rootfs mountpoint."),
    ("path.udev.data", "/run/udev/data", "udev data path."),
];

/// The flags that were given. Flatten it into a command with `#[command(flatten)]`.
#[derive(Debug, Clone, Default)]
pub struct ScrapeArgs {
    given: BTreeMap<String, String>,
    unbuilt: Vec<String>,
}

impl ScrapeArgs {
    /// The settings that these flags mean.
    ///
    /// *Errors*: none today; patterns are checked when the collectors are opened.
    pub fn settings(&self) -> Result<Settings, SetupError> {
        let path = |place: usize| {
            let (name, default, _) = PATHS.get(place).copied().unwrap_or_default();
            PathBuf::from(self.given.get(name).map_or(default, String::as_str))
        };
        let (procfs, sysfs, rootfs, udev) = (path(0), path(1), path(2), path(3));
        let roots = Roots::at(&procfs, &sysfs, &rootfs, &udev);
        let mut settings = Settings::defaults(roots, TABLE);
        if self.given.contains_key(DISABLE_DEFAULTS) {
            for entry in TABLE {
                settings.set(&format!("collector.{}", entry.name), "false");
            }
        }
        for (flag, value) in &self.given {
            settings.set(flag, value);
        }
        for flag in &self.unbuilt {
            settings.set(flag, "true");
        }
        Ok(settings)
    }

    /// What was asked for and is not shown, for the log: collectors of node_exporter that are not built here.
    pub fn unbuilt(&self) -> &[String] {
        &self.unbuilt
    }

    /// The same flags with the host's root at `root`, for what was not given: procfs, sysfs and
    /// udev's data are then looked for below it, as in a pod that mounts the host at `/host`.
    pub fn under_root(mut self, root: &Path) -> ScrapeArgs {
        if root != Path::new("/") {
            for (flag, default, _) in PATHS {
                let below = root.join(default.trim_start_matches('/'));
                let below = below.to_string_lossy().trim_end_matches('/').to_owned();
                self.given.entry(flag.to_owned()).or_insert(below);
            }
        }
        self
    }
}

impl Args for ScrapeArgs {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        for (name, default, help) in PATHS {
            command = command.arg(value(name, help).default_value(default));
        }
        let help = "Set all collectors to disabled by default.";
        command = both(command, DISABLE_DEFAULTS, help);
        for entry in TABLE {
            let name = format!("collector.{}", entry.name);
            let state = if entry.enabled { "enabled" } else { "disabled" };
            let help = format!("Enable the {} collector (default: {state}).", entry.name);
            command = both(command, &name, &help);
            for flag in entry.flags {
                command = with_flag(command, flag);
            }
        }
        for name in inert::collectors().chain(inert::switches()) {
            command = both(command, &name, "").mut_arg(&name, |arg| arg.hide(true));
        }
        inert::taken_by(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ScrapeArgs::augment_args(command)
    }
}

impl FromArgMatches for ScrapeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ScrapeArgs, clap::Error> {
        let mut args = ScrapeArgs::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let mut take_text = |name: &str| {
            let typed = matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
            if let Some(texts) = matches.get_many::<String>(name).filter(|_| typed) {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                self.given.insert(name.to_owned(), texts.join("\n"));
            }
        };
        PATHS.iter().for_each(|(name, _, _)| take_text(name));
        let flags = || TABLE.iter().flat_map(|entry| entry.flags);
        flags()
            .filter(|flag| !flag.switch)
            .for_each(|flag| take_text(flag.name));
        let collectors = TABLE
            .iter()
            .map(|entry| format!("collector.{}", entry.name));
        let switches = flags()
            .filter(|flag| flag.switch)
            .map(|flag| flag.name.to_owned());
        self.unbuilt = inert::collectors()
            .filter(|name| matches.get_flag(name))
            .collect();
        for name in collectors.chain(switches) {
            if matches.get_flag(&name) {
                self.given.insert(name, "true".to_owned());
            } else if matches.get_flag(&negated(&name)) {
                self.given.insert(name, "false".to_owned());
            }
        }
        if matches.get_flag(DISABLE_DEFAULTS) {
            self.given
                .insert(DISABLE_DEFAULTS.to_owned(), "true".to_owned());
        }
        Ok(())
    }
}

fn with_flag(command: Command, flag: &'static Flag) -> Command {
    if flag.switch {
        return both(command, flag.name, flag.help);
    }
    let arg = value(flag.name, flag.help).aliases(inert::old_name(flag.name));
    let arg = if flag.repeated {
        arg.action(ArgAction::Append)
    } else {
        arg
    };
    command.arg(match flag.default {
        Some(default) => arg.default_value(default),
        None => arg,
    })
}

fn both(command: Command, name: &str, help: &str) -> Command {
    let yes = switch(name.to_owned(), help.to_owned());
    let no = switch(negated(name), format!("Not: {help}")).hide(true);
    command
        .arg(yes.overrides_with(negated(name)))
        .arg(no.overrides_with(name.to_owned()))
}

fn negated(name: &str) -> String {
    format!("no-{name}")
}

fn switch(name: String, help: String) -> Arg {
    Arg::new(name.clone())
        .long(name)
        .help(help)
        .action(ArgAction::SetTrue)
        .help_heading(HEADING)
        .hide_short_help(true)
}

fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .value_name("VALUE")
        .help_heading(HEADING)
        .hide_short_help(true)
}

#[cfg(test)]
mod tests {
    use super::ScrapeArgs;
    use crate::collectors::TABLE;
    use clap::{Args, Command, FromArgMatches};
    use std::path::Path;

    fn parse(flags: &[&str]) -> Result<ScrapeArgs, clap::Error> {
        let command = ScrapeArgs::augment_args(Command::new("test"));
        let matches = command.try_get_matches_from([&["test"], flags].concat())?;
        ScrapeArgs::from_arg_matches(&matches)
    }

    #[test]
    fn flags_of_node_exporter_are_understood() {
        let args = parse(&[
            "--path.procfs=/x/proc",
            "--no-collector.vmstat",
            "--collector.netdev.device-exclude=^veth",
            "--collector.cpu.info",
            "--no-collector.cpu.guest",
        ]);
        let settings = args.unwrap().settings().unwrap();
        let entry = |name: &str| TABLE.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(settings.roots.procfs.path(), Path::new("/x/proc"));
        assert_eq!(settings.roots.sysfs.path(), Path::new("/sys"));
        assert!(!settings.is_enabled(entry("vmstat")));
        assert!(settings.is_enabled(entry("meminfo")));
        assert_eq!(
            settings.text("collector.netdev.device-exclude"),
            Some("^veth")
        );
        assert!(settings.is_on("collector.cpu.info"));
        assert!(!settings.is_on("collector.cpu.guest"));
    }

    #[test]
    fn command_lines_of_others_start_and_say_what_is_not_shown() {
        // Of kube-prometheus, of the Helm chart, of older releases, and of what is not built here.
        let args = parse(&[
            "--no-collector.wifi",
            "--collector.sysctl",
            "--collector.sysctl.include=fs.file-nr",
            "--collector.sysctl.include=kernel.pid_max",
            "--collector.netdev.device-blacklist=^veth",
            "--collector.filesystem.ignored-mount-points=^/dev",
            "--web.max-requests=40",
            "--no-web.disable-exporter-metrics",
            "--no-collector.disable-defaults",
            "--collector.pcidevice.names",
            "--collector.pcidevice.idsfile=/usr/share/misc/pci.ids",
        ]);
        let args = args.unwrap();
        assert_eq!(args.unbuilt(), ["collector.sysctl"]);
        let settings = args.settings().unwrap();
        assert!(
            settings.is_on("collector.sysctl"),
            "a scrape may ask for it"
        );
        let text = |flag: &str| settings.text(flag).map(str::to_owned);
        let exclude = "collector.filesystem.mount-points-exclude";
        assert_eq!(text(exclude).as_deref(), Some("^/dev"));
        assert_eq!(
            text("collector.netdev.device-exclude").as_deref(),
            Some("^veth")
        );
    }

    #[test]
    fn disabled_defaults_leave_what_is_named() {
        let args = parse(&["--collector.disable-defaults", "--collector.meminfo"]).unwrap();
        let settings = args.settings().unwrap();
        let on: Vec<_> = TABLE
            .iter()
            .filter(|entry| settings.is_enabled(entry))
            .collect();
        assert_eq!(on.len(), 1);
        assert_eq!(on[0].name, "meminfo");
    }

    #[test]
    fn unknown_flags_are_refused_and_the_last_of_two_counts() {
        assert!(parse(&["--collector.nonsense"]).is_err());
        assert!(parse(&["--path.procfs"]).is_err());
        let args = parse(&["--no-collector.meminfo", "--collector.meminfo"]).unwrap();
        let entry = TABLE.iter().find(|entry| entry.name == "meminfo").unwrap();
        assert!(args.settings().unwrap().is_enabled(entry));
    }

    #[test]
    fn host_root_moves_what_was_not_given() {
        let args = parse(&["--path.sysfs=/other"])
            .unwrap()
            .under_root(Path::new("/host"));
        let roots = args.settings().unwrap().roots;
        assert_eq!(roots.procfs.path(), Path::new("/host/proc"));
        assert_eq!(roots.rootfs.path(), Path::new("/host"));
        assert_eq!(roots.sysfs.path(), Path::new("/other"));
    }
}
