//! docs/metrics.md is what the code says.

use std::path::Path;

use nodemend::collectors::TABLE;
use nodemend::report::metrics::FAMILIES;
use nodemend::scrape::docs::render;

#[test]
fn page_of_metrics_is_made_from_the_code() {
    let own: Vec<_> = FAMILIES
        .iter()
        .map(|one| (one.name, one.kind, one.help))
        .collect();
    let made = render(TABLE, &own);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("docs/metrics.md");
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if made != known {
        let fresh = root.join("target/metrics.md");
        std::fs::write(&fresh, &made).unwrap();
        panic!(
            "docs/metrics.md is old; cp {} {}",
            fresh.display(),
            file.display()
        );
    }
}

#[test]
fn every_family_has_a_help_and_a_source() {
    for entry in TABLE {
        assert!(!entry.families.is_empty(), "{}", entry.name);
        for family in entry.families {
            assert!(
                !family.help.is_empty() && !family.source.is_empty(),
                "{}",
                family.name
            );
        }
    }
}
