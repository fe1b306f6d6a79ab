//! What a family is: the static description that the page, the documentation and the tests share.

use crate::exposition::label::push_help;

/// The type a family is announced with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, apart from restarts.
    Counter,
    /// Goes both ways.
    Gauge,
    /// node_exporter does not say (`untyped`; `unknown` in OpenMetrics).
    Untyped,
}

impl Kind {
    /// The word after `# TYPE name`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
        }
    }
}

/// One metric family, or a pattern of families whose names the kernel chooses.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Full name; a part in angle brackets (`node_memory_<field>_bytes`) stands for a name that
    /// the kernel chooses, such an entry only documents.
    pub name: &'static str,
    /// The announced type.
    pub kind: Kind,
    /// The text after `# HELP name`, unescaped.
    pub help: &'static str,
    /// Where the value comes from: a file below procfs or sysfs, a system call.
    pub source: &'static str,
    /// Unit of the value; empty for a bare count.
    pub unit: &'static str,
    /// How it differs from node_exporter's family of the same name; empty where it does not.
    pub differs: &'static str,
}

impl Family {
    const fn of(kind: Kind, name: &'static str, help: &'static str) -> Family {
        Family {
            name,
            kind,
            help,
            source: "",
            unit: "",
            differs: "",
        }
    }

    /// A counter family.
    pub const fn counter(name: &'static str, help: &'static str) -> Family {
        Family::of(Kind::Counter, name, help)
    }

    /// A gauge family.
    pub const fn gauge(name: &'static str, help: &'static str) -> Family {
        Family::of(Kind::Gauge, name, help)
    }

    /// A family without a type.
    pub const fn untyped(name: &'static str, help: &'static str) -> Family {
        Family::of(Kind::Untyped, name, help)
    }

    /// The same family with its source named.
    pub const fn from(self, source: &'static str) -> Family {
        Family { source, ..self }
    }

    /// The same family with its unit named.
    pub const fn unit(self, unit: &'static str) -> Family {
        Family { unit, ..self }
    }

    /// The same family with its difference from node_exporter named.
    pub const fn differs(self, differs: &'static str) -> Family {
        Family { differs, ..self }
    }
}

/// The two lines above a family's samples and the name in front of each, rendered once.
#[derive(Debug, Clone)]
pub struct Head {
    lines: Box<[u8]>,
    name: Box<[u8]>,
}

impl Head {
    /// The head of a family with a fixed name.
    pub fn of(family: &Family) -> Head {
        Head::named(family.name.as_bytes(), family.kind, family.help.as_bytes())
    }

    /// The head of a family whose name the kernel chose. Bytes that a metric name cannot hold
    /// become `_`; help that is not UTF-8 is replaced character by character.
    pub fn named(name: &[u8], kind: Kind, help: &[u8]) -> Head {
        let mut clean: Vec<u8> = name.iter().map(|&byte| name_byte(byte)).collect();
        if clean.first().is_none_or(u8::is_ascii_digit) {
            clean.insert(0, b'_');
        }
        let mut lines = Vec::with_capacity(2 * clean.len() + help.len() + 32);
        lines.extend_from_slice(b"# HELP ");
        lines.extend_from_slice(&clean);
        lines.push(b' ');
        push_help(&mut lines, help);
        lines.extend_from_slice(b"\n# TYPE ");
        lines.extend_from_slice(&clean);
        lines.push(b' ');
        lines.extend_from_slice(kind.word().as_bytes());
        lines.push(b'\n');
        Head {
            lines: lines.into_boxed_slice(),
            name: clean.into_boxed_slice(),
        }
    }

    /// `# HELP` and `# TYPE` lines.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The metric name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

fn name_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':' {
        byte
    } else {
        b'_'
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Head, Kind};

    #[test]
    fn head_escapes_help_and_cleans_the_name() {
        let head = Head::named(b"9a-b\"c", Kind::Untyped, b"one\\two\nthree \"four\"");
        assert_eq!(head.name(), b"_9a_b_c");
        assert_eq!(
            String::from_utf8_lossy(head.lines()),
            "# HELP _9a_b_c one\\\\two\\nthree \"four\"\n# TYPE _9a_b_c untyped\n"
        );
    }

    #[test]
    fn head_of_a_static_family_is_its_two_lines() {
        const LOAD: Family = Family::gauge("node_load1", "1m load average.").from("/proc/loadavg");
        assert_eq!(
            Head::of(&LOAD).lines(),
            b"# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\n"
        );
    }
}
