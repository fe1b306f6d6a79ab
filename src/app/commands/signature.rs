//! `nodemend signature list|show|signals|lint|test`.

use crate::app::cli::{Common, Output, SignatureCommand};
use crate::app::{Exit, world};
use crate::document::{Place, Problems, closest};
use crate::signal::Catalogue;
use crate::signatures::{CaseResult, Rule, Rulebook, Source, run_cases, shipped};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// Runs the command and returns what goes to stdout.
///
/// # Errors
/// Everything wrong with the request or the files.
pub fn run(common: &Common, command: &SignatureCommand) -> Result<(String, Exit), Vec<Problems>> {
    let catalogue = world::catalogue();
    match command {
        SignatureCommand::List => {
            let rulebook = rules_in_force(common, &catalogue)?;
            Ok((list(&rulebook, common.output), Exit::Fine))
        }
        SignatureCommand::Show { id } => {
            let text = show(common, &catalogue, id)?;
            Ok((text, Exit::Fine))
        }
        SignatureCommand::Signals => Ok((signals(&catalogue, common.output), Exit::Fine)),
        SignatureCommand::Lint { path } => {
            let sources = sources(common, path.as_deref())?;
            let (rulebook, reports) = Rulebook::load(&sources, &catalogue);
            if !reports.is_empty() {
                return Err(reports);
            }
            Ok((
                format!("{} signatures, nothing wrong\n", rulebook.len()),
                Exit::Fine,
            ))
        }
        SignatureCommand::Test { path } => {
            let sources = sources(common, path.as_deref())?;
            let (rulebook, reports) = Rulebook::load(&sources, &catalogue);
            if !reports.is_empty() {
                return Err(reports);
            }
            Ok(test(&rulebook, &catalogue, common.output))
        }
    }
}

fn rules_in_force(common: &Common, catalogue: &Catalogue) -> Result<Rulebook, Vec<Problems>> {
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let (rulebook, reports) = world::load_rules(&config, catalogue);
    if reports.is_empty() {
        Ok(rulebook)
    } else {
        Err(reports)
    }
}

fn sources(common: &Common, path: Option<&Path>) -> Result<Vec<Source>, Vec<Problems>> {
    if let Some(path) = path {
        return world::yaml_sources(path).map_err(|problems| vec![problems]);
    }
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let mut sources = shipped::sources();
    if let Some(dir) = &config.signatures_dir {
        sources.extend(world::yaml_sources(dir).map_err(|problems| vec![problems])?);
    }
    Ok(sources)
}

fn sorted(rulebook: &Rulebook) -> Vec<&Rule> {
    let mut rules: Vec<&Rule> = rulebook.iter().collect();
    rules.sort_by(|a, b| a.signature.id.cmp(&b.signature.id));
    rules
}

fn list(rulebook: &Rulebook, output: Output) -> String {
    let rules = sorted(rulebook);
    if output == Output::Json {
        let list: Vec<_> = rules
            .iter()
            .map(|rule| {
                let s = &rule.signature;
                json!({"id": &*s.id, "severity": s.severity, "subsystem": s.subsystem, "title": s.title,
                       "hold": s.hold.to_string(), "mend": s.mend, "condition": s.condition, "origin": rule.origin})
            })
            .collect();
        return format!("{}\n", serde_json::Value::from(list));
    }
    rules.iter().fold(String::new(), |mut text, rule| {
        let s = &rule.signature;
        let mend = s.mend.as_deref().unwrap_or("report only");
        writeln!(
            text,
            "{:<32} {:<9} {:<10} {:<22} {}",
            s.id,
            s.severity.as_str(),
            s.subsystem,
            mend,
            s.title
        )
        .ok();
        text
    })
}

fn show(common: &Common, catalogue: &Catalogue, id: &str) -> Result<String, Vec<Problems>> {
    let rulebook = rules_in_force(common, catalogue)?;
    let sources = sources(common, None)?;
    let found = rulebook.iter().find(|rule| &*rule.signature.id == id);
    let Some(rule) = found else {
        let mut problems = Problems::of("signature show");
        let near = closest(id, rulebook.iter().map(|rule| &*rule.signature.id));
        let hint = near.map_or_else(
            || "nodemend signature list shows all".to_owned(),
            |n| format!("did you mean `{n}`?"),
        );
        problems.add(
            Place::default(),
            format!("there is no signature `{id}`; {hint}"),
        );
        return Err(vec![problems]);
    };
    let text = sources
        .iter()
        .rfind(|source| source.origin == rule.origin)
        .map_or("", |s| s.text.as_str());
    Ok(match common.output {
        Output::Text => format!("# {}\n{text}", rule.origin),
        Output::Json => {
            let node =
                crate::document::parse(&rule.origin, text).map_err(|problems| vec![problems])?;
            format!(
                "{}\n",
                json!({"origin": rule.origin, "signature": node.to_json()})
            )
        }
    })
}

fn signals(catalogue: &Catalogue, output: Output) -> String {
    if output == Output::Json {
        let list: Vec<_> = catalogue
            .iter()
            .map(|entry| {
                json!({"name": entry.spec.name, "probe": entry.probe, "per": entry.spec.per, "help": entry.spec.help,
                       "source": entry.spec.source, "max_age_seconds": entry.spec.max_age.as_secs_f64()})
            })
            .collect();
        return format!("{}\n", serde_json::Value::from(list));
    }
    catalogue.iter().fold(String::new(), |mut text, entry| {
        let per = entry
            .spec
            .per
            .map(|what| format!("[{what}]"))
            .unwrap_or_default();
        writeln!(
            text,
            "{:<44} {:<14} {}",
            format!("{}{per}", entry.spec.name),
            entry.probe,
            entry.spec.help
        )
        .ok();
        text
    })
}

fn test(rulebook: &Rulebook, catalogue: &Catalogue, output: Output) -> (String, Exit) {
    let results: Vec<(&str, CaseResult)> = sorted(rulebook)
        .into_iter()
        .flat_map(|rule| {
            run_cases(rule, catalogue)
                .into_iter()
                .map(move |result| (&*rule.signature.id, result))
        })
        .collect();
    let failed = results
        .iter()
        .filter(|(_, result)| !result.passed())
        .count();
    let exit = if failed == 0 { Exit::Fine } else { Exit::Found };
    if output == Output::Json {
        let list: Vec<_> = results
            .iter()
            .map(|(id, r)| {
                json!({"signature": id, "case": r.name, "expected": r.expected, "got": r.got, "why": r.why, "passed": r.passed()})
            })
            .collect();
        return (format!("{}\n", serde_json::Value::from(list)), exit);
    }
    let mut text = String::new();
    for (id, result) in results.iter().filter(|(_, result)| !result.passed()) {
        writeln!(
            text,
            "✗ {id}: {}: expected {}, got {} ({})",
            result.name, result.expected, result.got, result.why
        )
        .ok();
    }
    writeln!(
        text,
        "{} cases of {} signatures: {} passed, {failed} failed",
        results.len(),
        rulebook.len(),
        results.len() - failed
    )
    .ok();
    (text, exit)
}
