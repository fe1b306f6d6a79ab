//! Which format a scraper asked for, and whether it wants it compressed.

/// The formats that a page can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format an `Accept` header asks for: OpenMetrics if it is named with a weight above
    /// zero and not below that of plain text, else text.
    pub fn of_accept(accept: &str) -> Format {
        let weight = |kind: &str| {
            let named = choices(accept).filter(|(name, _)| name.eq_ignore_ascii_case(kind));
            named.map(|(_, weight)| weight).max()
        };
        match weight("application/openmetrics-text") {
            Some(asked) if asked > 0 && asked >= weight("text/plain").unwrap_or(0) => {
                Format::OpenMetrics
            }
            _ => Format::Text,
        }
    }
}

/// Whether an `Accept-Encoding` header asks for gzip.
pub fn wants_gzip(accept_encoding: &str) -> bool {
    let named = choices(accept_encoding).find(|(name, _)| name.eq_ignore_ascii_case("gzip"));
    named.is_some_and(|(_, weight)| weight > 0)
}

/// The names in a header with their weights in thousandths; a weight that is none counts as 1.
fn choices(header: &str) -> impl Iterator<Item = (&str, u16)> {
    header.split(',').map(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.filter_map(|part| part.strip_prefix("q=")).next();
        (
            name,
            weight
                .and_then(|text| text.parse::<f32>().ok())
                .map_or(1000, thousandths),
        )
    })
}

fn thousandths(weight: f32) -> u16 {
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}

#[cfg(test)]
mod tests {
    use super::{Format, wants_gzip};

    #[test]
    fn accept_decides_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let cases = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            (
                "text/plain, application/openmetrics-text;q=0.1",
                Format::Text,
            ),
            (";;;,,q=", Format::Text),
        ];
        for (accept, want) in cases {
            assert_eq!(Format::of_accept(accept), want, "{accept}");
        }
    }

    #[test]
    fn gzip_is_used_only_when_asked() {
        let cases = [
            ("", false),
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
        ];
        for (header, want) in cases {
            assert_eq!(wants_gzip(header), want, "{header}");
        }
    }
}
