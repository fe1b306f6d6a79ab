//! The kernel's counters of NFS client and server: lines of numbers that mean something by place.

use std::sync::Arc;

use crate::collectors::entry::{Collector, Turn};
use crate::collectors::error::CollectError;
use crate::collectors::source::class::shared;
use crate::collectors::source::held::HeldFile;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// One line: its first word, and where its numbers go.
#[derive(Debug)]
pub struct RpcLine {
    key: &'static [u8],
    places: Vec<Option<(usize, Arc<Labels>)>>,
    values: Vec<u64>,
    counted: bool,
}

impl RpcLine {
    /// A line with one family a place; `None` is a place that is not shown.
    pub fn columns(key: &'static str, columns: &[Option<usize>]) -> RpcLine {
        let none = shared(&[]);
        let place = |column: &Option<usize>| column.map(|column| (column, Arc::clone(&none)));
        RpcLine::new(key, columns.iter().map(place).collect(), false)
    }

    /// A line with one family whose label names the place; an empty value is not shown.
    pub fn labels(key: &'static str, column: usize, label: &str, values: &[&str]) -> RpcLine {
        let place = |value: &&str| {
            let labels = shared(&[(label, value.as_bytes())]);
            (!value.is_empty()).then_some((column, labels))
        };
        RpcLine::new(key, values.iter().map(place).collect(), false)
    }

    /// A line that begins with the count of its places and has one procedure a place.
    pub fn procedures(
        key: &'static str,
        column: usize,
        protocol: &str,
        methods: &[&str],
    ) -> RpcLine {
        let place = |method: &&str| {
            let pairs = [
                ("method", method.as_bytes()),
                ("proto", protocol.as_bytes()),
            ];
            (!method.is_empty()).then(|| (column, shared(&pairs)))
        };
        RpcLine::new(key, methods.iter().map(place).collect(), true)
    }

    /// A line with one number, shown as one procedure.
    pub fn one(key: &'static str, column: usize, protocol: &str, method: &str) -> RpcLine {
        RpcLine {
            counted: false,
            ..RpcLine::procedures(key, column, protocol, &[method])
        }
    }

    fn new(key: &'static str, places: Vec<Option<(usize, Arc<Labels>)>>, counted: bool) -> RpcLine {
        let values = vec![0; places.len()];
        RpcLine {
            key: key.as_bytes(),
            places,
            values,
            counted,
        }
    }

    /// Takes the line's numbers; what it does not have stays 0, what it has more is not known.
    fn take(&mut self, line: &[u8]) -> Result<(), CollectError> {
        let numbers = fields(line).skip(1 + usize::from(self.counted));
        for (slot, text) in self.values.iter_mut().zip(numbers) {
            *slot = number(text).ok_or(CollectError::Parse("net/rpc"))?;
        }
        Ok(())
    }
}

/// A collector of one such file.
#[derive(Debug)]
pub struct RpcFile {
    file: HeldFile,
    what: &'static str,
    lines: Vec<RpcLine>,
    sheet: Sheet,
}

impl RpcFile {
    /// A collector of `file`; `what` it counts, in the words of an error message.
    pub fn new(
        file: HeldFile,
        what: &'static str,
        families: &[Family],
        lines: Vec<RpcLine>,
    ) -> RpcFile {
        RpcFile {
            file,
            what,
            lines,
            sheet: Sheet::of(families),
        }
    }
}

impl Collector for RpcFile {
    /// A line that the kernel does not print counts as zeros, as in node_exporter.
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = match self.file.read(turn.epoch, turn.scratch) {
            Ok(text) => text,
            Err(error) if error.is_absent() => return Err(CollectError::NoData(self.what)),
            Err(error) => return Err(error.into()),
        };
        let mut result = Ok(());
        for known in &mut self.lines {
            known.values.fill(0);
            let line = lines(text).find(|line| fields(line).next() == Some(known.key));
            if let Some(line) = line {
                let outcome = known.take(line);
                let broken = outcome.is_err();
                result = result.and(outcome);
                if broken {
                    continue;
                }
            }
            for (place, value) in known.places.iter().zip(&known.values) {
                if let Some((column, labels)) = place {
                    self.sheet.put(*column, labels, *value as f64);
                }
            }
        }
        self.sheet.write(turn.page);
        result
    }
}
