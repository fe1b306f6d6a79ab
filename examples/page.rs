//! The metrics part alone: one page on stdout; `--time N` the time of N pages; `--listen ADDR` a
//! server. The bench and the comparison with node_exporter run it; `nodemend metrics` and
//! `nodemend agent` are wired the same way.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;

use clap::{Arg, Args, Command, FromArgMatches, value_parser};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use nodemend::collectors::TABLE;
use nodemend::host::clock;
use nodemend::scrape::args::ScrapeArgs;
use nodemend::scrape::http::{Answer, MetricsRoute, refusal};
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;
use nodemend::scrape::server::{Routes, Server};

struct OnlyMetrics(MetricsRoute);

impl Routes for OnlyMetrics {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let query = request.uri().query().unwrap_or_default();
            match request.uri().path() {
                "/metrics" => {
                    self.0
                        .respond(request.method(), query, request.headers())
                        .await
                }
                _ => refusal(StatusCode::NOT_FOUND, "only /metrics is here"),
            }
        })
    }
}

fn main() -> anyhow::Result<()> {
    let command = ScrapeArgs::augment_args(Command::new("page"))
        .arg(
            Arg::new("time")
                .long("time")
                .value_parser(value_parser!(u32)),
        )
        .arg(Arg::new("listen").long("listen"))
        .arg(
            Arg::new("web.config.file")
                .long("web.config.file")
                .value_parser(value_parser!(PathBuf)),
        );
    let matches = command.get_matches();
    let settings = ScrapeArgs::from_arg_matches(&matches)?.settings()?;
    let mut page = ScrapePage::new(&settings, TABLE)?;
    if let Some(address) = matches.get_one::<String>("listen") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let routes = OnlyMetrics(MetricsRoute::new(page, settings));
        let web_config = matches.get_one::<PathBuf>("web.config.file");
        let server = Server::new(routes, web_config.map(PathBuf::as_path))?;
        return runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await?;
            Ok(server.serve(listener).await?)
        });
    }
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
