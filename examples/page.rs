//! One page on stdout, or with `--time N` the time of N pages; what `nodemend metrics` wires in.
use clap::{Args, Command, FromArgMatches};
use nodemend::collectors::{TABLE, source::clock};
use nodemend::scrape::{args::ScrapeArgs, page::ScrapePage, selection::Selection};
use std::io::Write;

fn main() -> anyhow::Result<()> {
    let command = ScrapeArgs::augment_args(Command::new("page")).arg(
        clap::Arg::new("time")
            .long("time")
            .value_parser(clap::value_parser!(u32)),
    );
    let matches = command.get_matches();
    let settings = ScrapeArgs::from_arg_matches(&matches)?.settings()?;
    let mut page = ScrapePage::new(&settings, TABLE)?;
    if let Some(&count) = matches.get_one::<u32>("time") {
        let mut times = Vec::new();
        for _ in 0..count {
            let began = clock::monotonic();
            page.render(&Selection::All);
            times.push(clock::monotonic().saturating_sub(began));
        }
        times.sort();
        let at = |share: usize| {
            times
                .get(times.len() * share / 100)
                .copied()
                .unwrap_or_default()
        };
        println!("p50 {:?} p99 {:?}", at(50), at(99));
        return Ok(());
    }
    std::io::stdout().write_all(page.render(&Selection::All))?;
    Ok(())
}
