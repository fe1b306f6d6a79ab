//! The page: one buffer, written once, kept between scrapes.

use crate::exposition::family::Head;
use crate::exposition::label::Labels;
use crate::exposition::number::{push_digits, push_f64, push_i64, push_scaled, push_u64};

/// A page, or a collector's part of one, in the Prometheus text format 0.0.4.
///
/// *Cost*: no allocation once the buffer has grown to the size of the largest page seen.
#[derive(Debug, Default)]
pub struct Page {
    text: Vec<u8>,
    samples: usize,
}

impl Page {
    /// An empty page.
    pub fn new() -> Page {
        Page::default()
    }

    /// Forgets the text and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.samples = 0;
    }

    /// The text written so far.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many samples were written.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Begins a family. All samples of a family are written through the one value returned,
    /// because a scraper wants them in one group; a family without samples leaves no trace.
    pub fn family<'a>(&'a mut self, head: &'a Head) -> FamilyWriter<'a> {
        let start = self.text.len();
        self.text.extend_from_slice(head.lines());
        FamilyWriter {
            page: self,
            name: head.name(),
            start,
            empty: true,
        }
    }

    /// Appends another page's text.
    pub fn append(&mut self, part: &Page) {
        self.text.extend_from_slice(&part.text);
        self.samples += part.samples;
    }

    /// Appends families that were rendered before and hold so many samples.
    pub fn append_rendered(&mut self, text: &[u8], samples: usize) {
        self.text.extend_from_slice(text);
        self.samples += samples;
    }

    /// Appends text that is a page already, such as the product's own families.
    pub fn append_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        if text.last().is_some_and(|&byte| byte != b'\n') {
            self.text.push(b'\n');
        }
    }
}

/// Writes the samples of one family.
#[derive(Debug)]
pub struct FamilyWriter<'a> {
    page: &'a mut Page,
    name: &'a [u8],
    start: usize,
    empty: bool,
}

impl FamilyWriter<'_> {
    /// A sample whose value is an unsigned integer.
    pub fn int(&mut self, labels: &Labels, value: u64) {
        push_u64(self.sample(labels), value);
        self.end();
    }

    /// A sample whose value is a signed integer.
    pub fn signed(&mut self, labels: &Labels, value: i64) {
        push_i64(self.sample(labels), value);
        self.end();
    }

    /// A sample whose value is 1 or 0.
    pub fn flag(&mut self, labels: &Labels, value: bool) {
        self.sample(labels).push(if value { b'1' } else { b'0' });
        self.end();
    }

    /// A sample whose value is a float.
    pub fn float(&mut self, labels: &Labels, value: f64) {
        push_f64(self.sample(labels), value);
        self.end();
    }

    /// A sample whose value is copied from the digits that the kernel printed.
    pub fn digits(&mut self, labels: &Labels, digits: &[u8]) {
        push_digits(self.sample(labels), digits);
        self.end();
    }

    /// A sample whose value is `value / 10^scale`, where `float` is node_exporter's result.
    pub fn scaled(&mut self, labels: &Labels, value: u64, scale: u8, float: f64) {
        push_scaled(self.sample(labels), value, scale, float);
        self.end();
    }

    fn sample(&mut self, labels: &Labels) -> &mut Vec<u8> {
        let text = &mut self.page.text;
        text.extend_from_slice(self.name);
        text.extend_from_slice(labels.bytes());
        text
    }

    fn end(&mut self) {
        self.page.text.push(b'\n');
        self.page.samples += 1;
        self.empty = false;
    }
}

impl Drop for FamilyWriter<'_> {
    fn drop(&mut self) {
        if self.empty {
            self.page.text.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::exposition::family::{Family, Head};
    use crate::exposition::label::Labels;

    #[test]
    fn family_without_samples_leaves_no_trace() {
        let head = Head::of(&Family::gauge("node_x", "X."));
        let mut page = Page::new();
        drop(page.family(&head));
        assert_eq!(page.text(), b"");
        page.family(&head).int(&Labels::none(), 7);
        assert_eq!(
            page.text(),
            b"# HELP node_x X.\n# TYPE node_x gauge\nnode_x 7\n"
        );
        assert_eq!(page.samples(), 1);
    }

    #[test]
    fn parts_join_into_one_page() {
        let mut page = Page::new();
        page.append_text(b"a 1");
        let mut part = Page::new();
        part.family(&Head::of(&Family::counter("b_total", "B.")))
            .float(&Labels::none(), 0.5);
        page.append(&part);
        assert_eq!(
            page.text(),
            b"a 1\n# HELP b_total B.\n# TYPE b_total counter\nb_total 0.5\n"
        );
    }
}
