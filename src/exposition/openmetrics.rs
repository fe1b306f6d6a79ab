//! The finished page as OpenMetrics 1.0.0.
//!
//! One pass over the text page, because the two formats differ in little: a counter's metadata
//! drops `_total`, `untyped` is `unknown`, help escapes quotes too, a value always shows that it
//! is a float, and the page ends in `# EOF`. A counter whose name does not end in `_total` is
//! announced as `unknown`: OpenMetrics would want another name for its samples, and dashboards
//! know this one.

/// Writes `text` (a page in text format 0.0.4) to `out` as OpenMetrics. `out` is cleared first.
pub fn convert(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(text.len() + text.len() / 16);
    // Help stands above the type that decides on its name, so it waits for it.
    let mut help: Option<&[u8]> = None;
    for line in text.split(|&byte| byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"# HELP ") {
            flush_help(out, help.replace(rest), false);
        } else if let Some(rest) = line.strip_prefix(b"# TYPE ") {
            push_type(out, help.take(), rest);
        } else if !line.is_empty() && !line.starts_with(b"#") {
            flush_help(out, help.take(), false);
            push_sample(out, line);
        }
    }
    flush_help(out, help, false);
    out.extend_from_slice(b"# EOF\n");
}

fn push_type(out: &mut Vec<u8>, help: Option<&[u8]>, rest: &[u8]) {
    let (name, kind) = split_once(rest, b' ');
    let short = name.strip_suffix(b"_total").filter(|_| kind == b"counter");
    flush_help(out, help, short.is_some());
    out.extend_from_slice(b"# TYPE ");
    out.extend_from_slice(short.unwrap_or(name));
    out.push(b' ');
    out.extend_from_slice(match kind {
        b"counter" if short.is_none() => b"unknown",
        b"untyped" => b"unknown",
        other => other,
    });
    out.push(b'\n');
}

fn flush_help(out: &mut Vec<u8>, help: Option<&[u8]>, shorten: bool) {
    let Some(rest) = help else { return };
    let (name, text) = split_once(rest, b' ');
    let short = name
        .strip_suffix(b"_total")
        .filter(|_| shorten)
        .unwrap_or(name);
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(short);
    out.push(b' ');
    for &byte in text {
        if byte == b'"' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'\n');
}

fn push_sample(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    let value = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    if !value
        .iter()
        .any(|byte| matches!(byte, b'.' | b'e' | b'N' | b'I'))
    {
        out.extend_from_slice(b".0");
    }
    out.push(b'\n');
}

fn split_once(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == at) {
        Some(place) => {
            let (before, after) = text.split_at(place);
            (before, after.get(1..).unwrap_or_default())
        }
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::convert;

    #[test]
    fn types_names_values_and_the_end_are_those_of_openmetrics() {
        let cases = [
            (
                "# HELP a_total say \"a\"\n# TYPE a_total counter\na_total{x=\"y z\"} 1\n",
                "# HELP a say \\\"a\\\"\n# TYPE a counter\na_total{x=\"y z\"} 1.0\n# EOF\n",
            ),
            (
                "# HELP b B\n# TYPE b untyped\nb 1e+06\nb{c=\"1\"} NaN\n",
                "# HELP b B\n# TYPE b unknown\nb 1e+06\nb{c=\"1\"} NaN\n# EOF\n",
            ),
            (
                "# HELP c C\n# TYPE c counter\nc 0.5\n",
                "# HELP c C\n# TYPE c unknown\nc 0.5\n# EOF\n",
            ),
            (
                "# HELP d D\n# TYPE d gauge\nd -3\n",
                "# HELP d D\n# TYPE d gauge\nd -3.0\n# EOF\n",
            ),
            ("", "# EOF\n"),
        ];
        let mut out = Vec::new();
        for (text, want) in cases {
            convert(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }
}
