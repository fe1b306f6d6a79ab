//! `nodemend simulate SCENARIO`.

use crate::app::cli::{Common, Output, SimulateArgs};
use crate::app::{Exit, playbooks, world};
use crate::document::{MAX_DOCUMENT_BYTES, Place, Problems};
use crate::playbook::RELEASE_KEYS;
use crate::rehearsal::{Outcome, Scenario, Theatre};
use crate::simulate;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Plays the scenario: once, or once for each seed. What is wrong with the file is told before anything is played.
///
/// # Errors
/// Everything wrong with the request or the file.
pub fn run(common: &Common, args: &SimulateArgs) -> Result<(String, Exit), Vec<Problems>> {
    let origin = args.scenario.display().to_string();
    let text = read(&args.scenario).map_err(|problems| vec![problems])?;
    let scenario = Scenario::parse(&origin, &text).map_err(|problems| vec![problems])?;
    let theatre = theatre(common)?;
    match &args.seeds {
        Some(range) => {
            let (first, last) = seeds(range)?;
            let out = &mut std::io::stdout();
            Ok(many(&theatre, &scenario, first..=last, common.output, out))
        }
        None => {
            let seed = args.seed.unwrap_or(scenario.seed);
            let outcome = theatre.play(&scenario, seed, None, args.trace);
            Ok(one(&scenario, &outcome, common.output))
        }
    }
}

/// The file's text. One that is larger than any document is not read to its end.
fn read(path: &Path) -> Result<String, Problems> {
    let unreadable = |error: &std::io::Error| world::unreadable(path, error);
    let wrong = |why: String| {
        let mut problems = Problems::of(path.display().to_string());
        problems.add(Place::default(), why);
        problems
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let limit = MAX_DOCUMENT_BYTES as u64;
    let size = file.metadata().map_err(|error| unreadable(&error))?.len();
    let mut bytes = Vec::new();
    let mut part = file.take(limit.saturating_add(1));
    part.read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    let read = bytes.len() as u64;
    if read > limit {
        let size = size.max(read);
        return Err(wrong(format!(
            "{size} bytes are more than the {limit} of the largest scenario; a cluster is described by its numbers, not node by node (docs/simulate.md)"
        )));
    }
    String::from_utf8(bytes)
        .map_err(|error| wrong(format!("is no text: {error}; a scenario is YAML in UTF-8")))
}

/// The shipped signatures and playbooks, as the agent would use them with this configuration.
fn theatre(common: &Common) -> Result<Theatre, Vec<Problems>> {
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let (catalogue, _) = playbooks::load(&config);
    let trade = simulate::World::shipped(world::catalogue(), &catalogue);
    let configured = config.trust.keys.iter();
    let keys: Vec<String> = RELEASE_KEYS
        .iter()
        .map(|key| (*key).to_owned())
        .chain(configured.map(|(name, key)| format!("{name} {key}")))
        .collect();
    let named = config.trust.digests.iter().map(ToString::to_string);
    Theatre::of(trade, catalogue, &keys, &named.collect()).map_err(|why| {
        let mut problems = Problems::of("signatures");
        problems.add(Place::default(), why);
        vec![problems]
    })
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(", ")
}

fn exit(is_broken: bool) -> Exit {
    if is_broken { Exit::Found } else { Exit::Fine }
}

fn one(scenario: &Scenario, outcome: &Outcome, output: Output) -> (String, Exit) {
    let mut text = String::new();
    if output == Output::Json {
        let mut all = outcome.json(scenario);
        if let (Some(fields), false) = (all.as_object_mut(), outcome.log.is_empty()) {
            fields.insert("log".to_owned(), json!(outcome.log));
        }
        text = format!("{all}\n");
    } else {
        for line in &outcome.log {
            // Writing to a String cannot fail.
            writeln!(text, "{line}").ok();
        }
        text.push_str(&outcome.text(scenario));
        if outcome.breach.is_some() {
            let seed = outcome.seed;
            writeln!(
                text,
                "play it again with --seed {seed}; --trace shows what led there"
            )
            .ok();
        }
    }
    (text, exit(outcome.breach.is_some()))
}

/// Seeds as `A..B`, both included.
fn seeds(range: &str) -> Result<(u64, u64), Vec<Problems>> {
    let parts = range.split_once("..").and_then(|(first, last)| {
        let last = last.strip_prefix('=').unwrap_or(last);
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    parts.filter(|(first, last)| first <= last).ok_or_else(|| {
        let mut problems = Problems::of("--seeds");
        let why = format!("`{range}` is no range of seeds; write it like 1..500, both included");
        problems.add(Place::default(), why);
        vec![problems]
    })
}

/// One line for each seed that broke something, and a summary. Machine output streams: one line a seed, until its reader has
/// what it wanted.
fn many(
    theatre: &Theatre,
    scenario: &Scenario,
    seeds: std::ops::RangeInclusive<u64>,
    output: Output,
    out: &mut impl Write,
) -> (String, Exit) {
    let (mut played, mut broken, mut events) = (0_u64, Vec::new(), 0_u64);
    let mut runs: std::collections::BTreeMap<&'static str, u64> = std::collections::BTreeMap::new();
    let mut most: std::collections::BTreeMap<std::sync::Arc<str>, usize> =
        std::collections::BTreeMap::new();
    for seed in seeds {
        let outcome = theatre.play(scenario, seed, None, false);
        played += 1;
        events += outcome.events;
        for (kind, count) in outcome.runs() {
            *runs.entry(kind).or_default() += count;
        }
        for (domain, count) in &outcome.most {
            let known = most.entry(domain.clone()).or_default();
            *known = (*known).max(*count);
        }
        let line = match (&outcome.breach, output) {
            (_, Output::Json) => Some(outcome.json(scenario).to_string()),
            (Some(breach), Output::Text) => Some(format!("seed {seed}: {breach}")),
            (None, Output::Text) => None,
        };
        if outcome.breach.is_some() {
            broken.push(seed);
        }
        if let Some(line) = line
            && writeln!(out, "{line}").is_err()
        {
            break;
        }
    }
    if output == Output::Json {
        return (String::new(), exit(!broken.is_empty()));
    }
    let runs = runs.iter().map(|(kind, count)| format!("{count} {kind}"));
    let most = most
        .iter()
        .map(|(domain, count)| format!("{domain} {count}"));
    let mut text = format!(
        "{}: {played} seeds, {events} events, runs: {}; most nodes disrupted at once: {}\n",
        scenario.name,
        listed(runs),
        listed(most)
    );
    match broken.first() {
        Some(first) => {
            let count = broken.len();
            writeln!(text, "{count} seeds broke an invariant, the first is {first}: play it again with --seed {first} --trace").ok();
        }
        None => text.push_str("every invariant held in every play\n"),
    }
    (text, exit(!broken.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::{listed, many, seeds};
    use crate::app::cli::Output;
    use crate::playbook::testing::load_shipped;
    use crate::rehearsal::{Scenario, Theatre};
    use crate::{probes, simulate};
    use std::collections::BTreeSet;
    use std::io::{Error, ErrorKind, Result, Write};

    /// A reader that closed its end.
    struct Closed(usize);

    impl Write for Closed {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            match self
                .0
                .checked_sub(bytes.iter().filter(|byte| **byte == b'\n').count())
            {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len())
                }
                None => Err(Error::from(ErrorKind::BrokenPipe)),
            }
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_seed_is_played_for_a_reader_that_has_what_it_wanted() {
        let (playbooks, _) = load_shipped();
        let trade = simulate::World::shipped(probes::catalogue(), &playbooks);
        let theatre = Theatre::of(trade, playbooks, &[], &BTreeSet::new()).expect("sound rules");
        let text = "name: x\nlasts: 5m\nnodes: {count: 1}\nlimits: {cluster: 0}\n";
        let scenario = Scenario::parse("s.yaml", text).expect("sound");
        // All the seeds there are take for ever.
        let (said, _) = many(
            &theatre,
            &scenario,
            0..=u64::MAX,
            Output::Json,
            &mut Closed(3),
        );
        assert_eq!(said, "");
    }

    #[test]
    fn what_is_not_there_is_said_to_be_none() {
        let said = |parts: &[&str]| listed(parts.iter().map(|part| (*part).to_owned()));
        assert_eq!(said(&[]), "none");
        assert_eq!(said(&["3 mended", "1 undone"]), "3 mended, 1 undone");
    }

    #[test]
    fn ranges_of_seeds_are_read_as_written_and_nothing_else_is() {
        assert_eq!(seeds("1..500").ok(), Some((1, 500)));
        assert_eq!(seeds("7..=7").ok(), Some((7, 7)));
        for text in ["", "1", "5..1", "a..b", "1...3", "-1..3"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
