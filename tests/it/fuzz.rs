//! A bounded run of what `fuzz/` runs without end: the same entries, inputs from a generator that
//! starts at the same number each time, so that a failure comes again.

#[path = "../../fuzz/entries/mod.rs"]
pub mod entries;

use std::path::Path;
use std::time::{Duration, Instant};

use entries::{ENTRIES, Entry};

/// The longest that one input may take, on a machine that others use too. What is quadratic in an
/// input of 64 KiB takes longer.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Longest input.
const MAX_INPUT: usize = 64 * 1024;

/// xorshift64*: small, and the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Pieces that parsers stumble over: limits of numbers, signs, quotes, ends, broken UTF-8, nesting.
const PIECES: [&[u8]; 30] = [
    b"0",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"1e309",
    b"NaN",
    b"-Inf",
    b"0x",
    b"\n",
    b"\r\n\r\n",
    b"\0",
    b"\t",
    b" ",
    b":",
    b"=",
    b"\"",
    b"\\",
    b"\\134\\012",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"- - - - ",
    b"%zz",
    b"\xff\xfe",
    b"\xf0\x9f\xa9\xba",
    b"&a *a",
    b"!!binary ",
    b"-----BEGIN CERTIFICATE-----\n",
    b"some avg60=",
];

/// Changes `input` in one to four places.
fn mutate(numbers: &mut Numbers, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(input.len() + 1);
        let span = numbers.below(32) + 1;
        let end = (place + span).min(input.len());
        match numbers.below(9) {
            0 if place < input.len() => input[place] ^= 1 << numbers.below(8),
            1 if place < input.len() => input[place] = numbers.next() as u8,
            2 => drop(input.drain(place..end)),
            3 => {
                let piece = input[place..end].to_vec();
                let times = 1 + numbers.below(64);
                input.splice(place..place, piece.repeat(times));
            }
            4 => input.truncate(place),
            5 => {
                let from = numbers.below(other.len() + 1);
                let to = (from + numbers.below(200)).min(other.len());
                input.splice(place..end, other[from..to].iter().copied());
            }
            6 => drop(input.splice(place..end, (0..span).map(|_| numbers.next() as u8))),
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())];
                input.splice(place..place, piece.iter().copied());
            }
        }
        input.truncate(MAX_INPUT);
    }
}

fn run(entry: &Entry) {
    let seeds = (entry.seeds)();
    for seed in &seeds {
        (entry.run)(seed);
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ entry.name.len() as u64);
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    for round in 0..entry.rounds {
        let mut input = seeds[numbers.below(seeds.len())].clone();
        let other = &seeds[numbers.below(seeds.len())];
        mutate(&mut numbers, &mut input, other);
        let since = Instant::now();
        (entry.run)(&input);
        let took = since.elapsed();
        assert!(
            took < MAX_TIME,
            "{} round {round} took {took:?}",
            entry.name
        );
        slowest = slowest.max(took);
    }
    let took = began.elapsed();
    println!(
        "{}: {} inputs in {took:?}, slowest {slowest:?}",
        entry.name, entry.rounds
    );
}

/// All entries one after the other would take the test's time of two cores; each half has its own.
#[test]
fn no_parser_panics_or_runs_away_first_half() {
    let (first, _) = ENTRIES.split_at(ENTRIES.len() / 2);
    first.iter().for_each(run);
}

#[test]
fn no_parser_panics_or_runs_away_second_half() {
    let (_, second) = ENTRIES.split_at(ENTRIES.len() / 2);
    second.iter().for_each(run);
}

/// The targets of cargo-fuzz and the bounded run share one list.
#[test]
fn every_entry_has_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let targets = manifest.matches("[[bin]]").count();
    assert_eq!(targets, ENTRIES.len());
    for Entry { name, .. } in ENTRIES {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let text = std::fs::read_to_string(root.join(format!("targets/{name}.rs"))).unwrap();
        assert!(
            text.contains(&format!("entries::run(\"{name}\", bytes)")),
            "{name}"
        );
    }
}
