//! Samples gathered in the order in which files are read, written in the order of families.

use std::sync::Arc;

use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

/// The most families of one sheet. The largest real one known is `zfs` with about 600.
const MAX_COLUMNS: usize = 4096;
/// The most samples of one sheet: 1,000 NFS mounts with 60 operations of 11 values each are
/// 660,000; a hostile tree must not cost more.
const MAX_CELLS: usize = 1_000_000;

/// Families side by side with the samples that were gathered for each.
///
/// *Cost*: no allocation once every column has grown to the most samples it had.
#[derive(Debug, Default)]
pub struct Sheet {
    columns: Vec<Column>,
    cells: usize,
}

#[derive(Debug)]
struct Column {
    head: Head,
    cells: Vec<(Arc<Labels>, f64)>,
}

impl Sheet {
    /// A sheet whose first columns are these families, in this order.
    pub fn of(families: &[Family]) -> Sheet {
        let columns = families.iter().map(|family| Column::new(Head::of(family)));
        Sheet {
            columns: columns.collect(),
            cells: 0,
        }
    }

    /// The column of a family whose name the kernel chose, added if it is new; `None` when there
    /// are more families than any machine has. Help and type are those of the first asker,
    /// because a page can hold only one of each.
    pub fn column(&mut self, name: &[u8], kind: Kind, help: &[u8]) -> Option<usize> {
        let head = Head::named(name, kind, help);
        let known = self
            .columns
            .iter()
            .position(|column| column.head.name() == head.name());
        if known.is_some() || self.columns.len() >= MAX_COLUMNS {
            return known;
        }
        self.columns.push(Column::new(head));
        Some(self.columns.len() - 1)
    }

    /// Puts one sample below a column; one below no column, or past the most, is dropped.
    pub fn put(&mut self, column: usize, labels: &Arc<Labels>, value: f64) {
        if self.cells < MAX_CELLS
            && let Some(column) = self.columns.get_mut(column)
        {
            column.cells.push((Arc::clone(labels), value));
            self.cells += 1;
        }
    }

    /// Writes every column that has samples, by labels, and forgets the samples. Of samples with
    /// the same labels (two devices that give themselves the same name) one is written, because
    /// a scraper refuses the second.
    pub fn write(&mut self, page: &mut Page) {
        for column in &mut self.columns {
            let cells = &mut column.cells;
            if !cells.is_sorted_by(|one, other| one.0 < other.0) {
                cells.sort_unstable_by(|one, other| {
                    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
                });
                cells.dedup_by(|one, other| one.0 == other.0);
            }
            let mut family = page.family(&column.head);
            for (labels, value) in cells.drain(..) {
                family.float(&labels, value);
            }
        }
        self.cells = 0;
    }
}

impl Column {
    fn new(head: Head) -> Column {
        Column {
            head,
            cells: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COLUMNS, Sheet};
    use crate::exposition::family::{Family, Kind};
    use crate::exposition::label::Labels;
    use crate::exposition::page::Page;
    use std::sync::Arc;

    #[test]
    fn samples_stand_by_family_whatever_the_order_of_reading() {
        let mut sheet = Sheet::of(&[Family::gauge("a", "A."), Family::counter("b_total", "B.")]);
        let named = sheet.column(b"c", Kind::Untyped, b"C.").unwrap();
        assert_eq!(sheet.column(b"c", Kind::Gauge, b"Other."), Some(named));
        let labels = [b"x", b"y"].map(|name| Arc::new(Labels::new(&[("d", name)])));
        let mut page = Page::new();
        for _ in 0..2 {
            for labels in &labels {
                sheet.put(named, labels, 1e6);
                sheet.put(0, labels, 0.5);
                sheet.put(99, labels, 0.5);
            }
            page.clear();
            sheet.write(&mut page);
            assert_eq!(
                String::from_utf8_lossy(page.text()),
                "# HELP a A.\n# TYPE a gauge\na{d=\"x\"} 0.5\na{d=\"y\"} 0.5\n\
                 # HELP c C.\n# TYPE c untyped\nc{d=\"x\"} 1e+06\nc{d=\"y\"} 1e+06\n"
            );
        }
    }

    #[test]
    fn samples_with_the_same_labels_are_written_once() {
        let mut sheet = Sheet::of(&[Family::gauge("a", "A.")]);
        let labels = |name: &[u8]| Arc::new(Labels::new(&[("d", name)]));
        for (name, value) in [(b"y", 2.0), (b"x", 3.0), (b"y", 1.0)] {
            sheet.put(0, &labels(name), value);
        }
        let mut page = Page::new();
        sheet.write(&mut page);
        assert_eq!(
            String::from_utf8_lossy(page.text()),
            "# HELP a A.\n# TYPE a gauge\na{d=\"x\"} 3\na{d=\"y\"} 1\n"
        );
    }

    #[test]
    fn families_without_end_are_refused() {
        let mut sheet = Sheet::default();
        for number in 0..MAX_COLUMNS {
            assert!(
                sheet
                    .column(format!("x{number}").as_bytes(), Kind::Gauge, b"")
                    .is_some()
            );
        }
        assert_eq!(sheet.column(b"more", Kind::Gauge, b""), None);
    }
}
