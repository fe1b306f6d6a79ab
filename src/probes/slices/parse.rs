//! Pure: the kernel's pressure text to shares.

/// Shares of the last minute in which work waited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// In which some task waited.
    pub some: f64,
    /// In which all tasks waited; older kernels do not say it for the processor.
    pub full: Option<f64>,
}

/// Reads `some avg10=0.00 avg60=1.25 avg300=0.86 total=3661447` and a line `full` like it.
pub fn read_pressure(text: &str) -> Option<Pressure> {
    let line = |word: &str| {
        let mut lines = text.lines();
        let rest = lines.find_map(|line| line.strip_prefix(word))?;
        let percent = rest
            .split_whitespace()
            .find_map(|part| part.strip_prefix("avg60="))?;
        let percent: f64 = percent.parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
    };
    Some(Pressure {
        some: line("some ")?,
        full: line("full "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_two_shares_or_nothing() {
        // Linux 6.1, Debian 12: /sys/fs/cgroup/system.slice/io.pressure.
        let text = "some avg10=0.00 avg60=1.25 avg300=0.86 total=3661447\n\
            full avg10=0.00 avg60=0.50 avg300=0.81 total=3440158\n";
        let whole = Pressure {
            some: 0.0125,
            full: Some(0.005),
        };
        let half = Pressure {
            some: 0.0125,
            full: None,
        };
        let first = text.lines().next().expect("a line");
        for (text, want) in [
            (text, Some(whole)),
            (first, Some(half)),
            ("", None),
            ("some avg10=0.00\n", None),
            ("some avg60=101.00\n", None),
            ("some avg60=NaN\n", None),
            ("some avg60=-1\n", None),
            ("full avg60=1.00\n", None),
        ] {
            assert_eq!(read_pressure(text), want, "{text}");
        }
    }
}
