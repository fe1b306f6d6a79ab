//! What apt and dpkg say, as values. Pure.

use std::collections::BTreeMap;

/// One package that would change its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// Its name, with `:arch` where apt writes one.
    pub name: String,
    /// The version that is installed.
    pub from: String,
    /// The version that would be installed.
    pub to: String,
}

/// What a dry run (`apt-get -s`) would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Simulation {
    /// Packages that would change their version.
    pub upgrades: Vec<Upgrade>,
    /// Packages that would be installed newly.
    pub fresh: Vec<String>,
    /// Packages that would be removed.
    pub removed: Vec<String>,
}

/// Reads the output of `apt-get -s install`. Lines that are no actions are for people and are left out; an action that
/// cannot be read is an error, because what it would do is then unknown.
///
/// *Source*: apt-get(8), `-s`: "Configure (Conf), Remove (Remv) and Unpack (Inst)".
pub(super) fn read_simulation(text: &str) -> Result<Simulation, String> {
    let mut simulation = Simulation::default();
    for line in text.lines() {
        let Some((action, rest)) = line.split_once(' ') else {
            continue;
        };
        match action {
            "Inst" => {
                let (name, from, to) = read_inst(rest)
                    .ok_or_else(|| format!("apt said `{line}`, which is not known"))?;
                match from {
                    Some(from) => simulation.upgrades.push(Upgrade { name, from, to }),
                    None => simulation.fresh.push(name),
                }
            }
            "Remv" | "Purg" => {
                let name = rest.split(' ').next().unwrap_or(rest);
                simulation.removed.push(name.to_owned());
            }
            _ => {}
        }
    }
    Ok(simulation)
}

/// `name [from] (to archive [arch]) ...`, without `[from]` for a new package.
fn read_inst(rest: &str) -> Option<(String, Option<String>, String)> {
    let (name, rest) = rest.split_once(' ')?;
    let (from, rest) = match rest.strip_prefix('[') {
        Some(bracket) => {
            let (from, rest) = bracket.split_once("] ")?;
            (Some(from.to_owned()), rest)
        }
        None => (None, rest),
    };
    let to = rest.strip_prefix('(')?.split([' ', ')']).next()?;
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    let is_sound = is_name(name) && is_word(to) && from.as_deref().is_none_or(is_word);
    is_sound.then(|| (name.to_owned(), from, to.to_owned()))
}

/// Whether this may be the name of a package, with or without architecture. It becomes an argument: it must not look like an
/// option, a file or a pattern.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.:".contains(&c))
        && text.len() <= 200
        // apt reads a trailing + or - as "install" or "remove".
        && !text.ends_with(['+', '-'])
}

/// A package's name without its architecture.
pub(super) fn base_name(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Reads `dpkg-query -W -f '${binary:Package}\t${Version}\t${db:Status-Status}\n'`: versions of what is installed.
pub(super) fn read_installed(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (name, version, status) = (fields.next()?, fields.next()?, fields.next()?);
            (status == "installed").then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// apt 2.6.1 on Debian 12.11, `apt-get -s install --only-upgrade -y apt`, 2026-11-22.
    const APT: &str = "\
Reading package lists...
Building dependency tree...
The following packages will be upgraded:
  apt apt-transport-https libapt-pkg6.0
3 upgraded, 0 newly installed, 0 to remove and 123 not upgraded.
Inst libapt-pkg6.0 [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [amd64])
Conf libapt-pkg6.0 (2.6.2 Debian-Security:12/oldstable-security [amd64])
Inst apt [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [amd64])
Conf apt (2.6.2 Debian-Security:12/oldstable-security [amd64])
Inst apt-transport-https [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [all])
Conf apt-transport-https (2.6.2 Debian-Security:12/oldstable-security [all])
";

    #[test]
    fn a_dry_run_tells_every_upgrade() {
        let read = read_simulation(APT).expect("known lines");
        let names: Vec<&str> = read
            .upgrades
            .iter()
            .map(|upgrade| upgrade.name.as_str())
            .collect();
        assert_eq!(names, ["libapt-pkg6.0", "apt", "apt-transport-https"]);
        assert_eq!(
            (read.upgrades[1].from.as_str(), read.upgrades[1].to.as_str()),
            ("2.6.1", "2.6.2")
        );
        assert!(read.fresh.is_empty() && read.removed.is_empty());
    }

    #[test]
    fn new_and_removed_packages_are_seen() {
        let text = "Remv tk-dev [8.6.13]\nPurg x [1] \nInst newpkg (1:2.0-1 Debian:12/stable [amd64])\n\
                    Inst libc6:i386 [2.36-9] (2.36-10 Debian:12/stable [i386]) []\n";
        let read = read_simulation(text).expect("known lines");
        assert_eq!(read.removed, ["tk-dev", "x"]);
        assert_eq!(read.fresh, ["newpkg"]);
        assert_eq!(read.upgrades[0].name, "libc6:i386");
    }

    #[test]
    fn an_action_that_cannot_be_read_is_an_error() {
        for line in [
            "Inst",
            "Inst ",
            "Inst x",
            "Inst x [1]",
            "Inst x [1] 2",
            "Inst x [1 (2 a)",
            "Inst x [] (2 a)",
            "Inst x [1] ()",
            "Inst -o [1] (2 a)",
            "Inst x;y [1] (2 a)",
            "Inst X [1] (2 a)",
            "Inst x- [1] (2 a)",
            "Inst /x [1] (2 a)",
        ] {
            let known = read_simulation(line);
            // Without anything behind it the word is no action of apt's.
            assert_eq!(known.is_err(), line != "Inst", "{line}: {known:?}");
        }
    }

    #[test]
    fn only_installed_packages_have_a_version() {
        let text = "libc6:amd64\t2.36-9+deb12u14\tinstalled\ntzdata\t2025b\tconfig-files\nbad\n";
        let read = read_installed(text);
        assert_eq!(read.len(), 1);
        assert_eq!(read["libc6:amd64"], "2.36-9+deb12u14");
        assert_eq!(base_name("libc6:amd64"), "libc6");
    }
}
