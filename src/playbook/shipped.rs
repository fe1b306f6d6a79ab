//! The playbooks that the binary brings, and the key that vouches for them.

use super::catalogue::Source;
use super::keys::{KeyError, PinnedKey};

/// Public keys that every build trusts: `NAME ed25519:HEX`. The private halves are not in this repository.
pub const RELEASE_KEYS: &[&str] = &[
    "nodemend-release-1 ed25519:46a48c1a4c817cf119b7823bf22137dbca066804fee8f400ec51d5a6b2d9ed37",
];

/// The release keys, read.
///
/// # Errors
/// A key in this file that is none; a test proves that there is no such.
pub fn release_keys() -> Result<Vec<PinnedKey>, KeyError> {
    RELEASE_KEYS
        .iter()
        .map(|text| PinnedKey::parse(text))
        .collect()
}

/// One released version: its texts.
macro_rules! released {
    ($($path:literal),* $(,)?) => {
        &[$(Source {
            name: concat!("shipped:", $path),
            text: include_str!(concat!("../../remediations/playbooks/", $path)),
            signature: Some(include_str!(concat!("../../remediations/playbooks/", $path, ".sig"))),
        }),*]
    };
}

/// Every released version. A line is added for a new version; no line and no file is ever changed.
pub const SHIPPED: &[Source<'static>] = released![
    "sysctl-restore/1.0.0.yaml",
    "systemd-reexec/1.0.0.yaml",
    "systemd-upgrade/1.0.0.yaml",
    "unit-restart/1.0.0.yaml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{parse, sha256_hex};
    use crate::playbook::testing::{Kinds, any_condition, load_shipped};
    use crate::playbook::{Checks, Playbook, Trust, identity};
    use crate::signal::Wall;

    /// Path, identity and digest of the bytes of every released version. A line is added for a new one; none is ever changed.
    const RELEASED: &[(&str, &str, &str)] = &[
        (
            "sysctl-restore/1.0.0.yaml",
            "7154b39273230533b5e4b4158640d800c9bd35dc2ea29a775e05e0f84096d7fa",
            "a6be6bc6d5eed0172a5ec9cacbbf8c0c0fe181b44db7910a73659ae90b6e6c7a",
        ),
        (
            "systemd-reexec/1.0.0.yaml",
            "002e2f2fe2016375227ad3810c2c9aebeac164234197c01e1ac04b98015258da",
            "4f281b5b6e2f339a8ed28706de6c2a94414eb1370ea08e9862a3dcc2dddbe024",
        ),
        (
            "systemd-upgrade/1.0.0.yaml",
            "311d45663fb311a73f918e4ea56c455756894568d86c10bcd395676fffb4f113",
            "821ce599d0c0dfcf37aa6f77e5f1072ac5ab53d4bbbbc5a335e69e49c8445c31",
        ),
        (
            "unit-restart/1.0.0.yaml",
            "43d37b17b999043a826008fea5f2992c549138e07a9ddaa80be4ace3929243f2",
            "47d520ecc9e976a9a822a3cc161c76cea18218f3b14c9cc6c6c43ef236d090ed",
        ),
    ];

    #[test]
    fn a_released_version_is_never_edited() {
        assert_eq!(
            SHIPPED.len(),
            RELEASED.len(),
            "a new version is added to both tables"
        );
        for (source, (path, digest, file)) in SHIPPED.iter().zip(RELEASED) {
            assert_eq!(source.name, format!("shipped:{path}"));
            assert_eq!(sha256_hex(source.text.as_bytes()), *file, "{path}");
            let node = parse(path, source.text).expect("parses");
            assert_eq!(&*identity(&node).expect("canonical"), *digest, "{path}");
        }
    }

    #[test]
    fn every_released_version_is_vouched_for_by_a_release_key_and_lies_where_its_name_says() {
        let (catalogue, problems) = load_shipped();
        assert_eq!(problems, [], "{problems:?}");
        assert_eq!(catalogue.iter().count(), RELEASED.len());
        for listed in catalogue.iter() {
            let key = "nodemend-release-1".into();
            assert_eq!(
                listed.trust(Wall(0)),
                Trust::Signed { key },
                "{}",
                listed.origin
            );
            let (id, version) = (&listed.playbook.id, &listed.playbook.version);
            assert_eq!(&*listed.origin, format!("shipped:{id}/{version}.yaml"));
        }
    }

    #[test]
    fn every_condition_of_a_released_version_is_one_of_the_rule_language() {
        let condition = |text: &str| {
            crate::signatures::Expression::compile(text)
                .map(drop)
                .map_err(|error| error.join("; "))
        };
        for source in SHIPPED {
            let checks = Checks {
                kinds: &Kinds,
                condition: &condition,
            };
            Playbook::parse(source.name, source.text, &checks).expect("fine");
        }
        let checks = Checks {
            kinds: &Kinds,
            condition: &any_condition,
        };
        assert!(Playbook::parse("x", "id: x", &checks).is_err());
    }
}
