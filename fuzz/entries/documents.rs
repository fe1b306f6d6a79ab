//! What people write: playbooks and what vouches for them, signatures, configuration, tables.

use nodemend::app::Config;
use nodemend::document::{Problems, parse, parse_span};
use nodemend::playbook::{Checks, PinnedKey, Playbook, parse_floors, release_keys, verify};
use nodemend::policy::Window;
use nodemend::signatures::Signature;
use nodemend::steps::Kinds;
use nodemend::versions::parse_table;

use super::{Entry, files_below, root};

/// The largest report of a document's errors: people read it.
const MAX_SAID: usize = 256 * 1024;

/// The form under all of them.
pub const YAML: Entry = Entry {
    name: "yaml",
    rounds: 800,
    seeds: || {
        vec![b"a: [1, -2.5, {b: 'c'}]\nd:\n  - e: |\n      text\n    f: >-\n      more\n  - null\ng: {{ x }}\n".to_vec()]
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        check(parse("fuzz.yaml", &text));
        let _span = parse_span(&text);
    },
};

thread_local! {
    static SHIPPED: (String, Playbook, Vec<PinnedKey>) = shipped();
}

/// A playbook that we signed, for signatures that we did not make.
fn shipped() -> (String, Playbook, Vec<PinnedKey>) {
    let path = root().join("remediations/playbooks/unit-restart/1.0.0.yaml");
    let text = std::fs::read_to_string(path).expect("a shipped playbook");
    let checks = Checks {
        kinds: &Kinds,
        condition: &|_| Ok(()),
    };
    let playbook = Playbook::parse("shipped", &text, &checks).expect("a good playbook");
    (text, playbook, release_keys().expect("the pinned keys"))
}

/// Playbooks with their signatures, and keys.
pub const PLAYBOOK: Entry = Entry {
    name: "playbook",
    rounds: 200,
    seeds: || {
        let mut seeds = files_below("remediations/playbooks", ".yaml");
        seeds.extend(files_below("remediations/playbooks", ".sig"));
        seeds
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let checks = Checks {
            kinds: &Kinds,
            condition: &|_| Ok(()),
        };
        check(Playbook::parse("fuzz.yaml", &text, &checks));
        SHIPPED.with(|(good, playbook, keys)| {
            if let Ok(vouched) = verify(playbook, good, &text, keys) {
                let digest = playbook.digest.to_string();
                assert!(
                    text.contains(&digest),
                    "{vouched:?} vouches without the digest"
                );
            }
        });
        let _key = PinnedKey::parse(&text);
    },
};

/// Signatures of failures.
pub const SIGNATURE: Entry = Entry {
    name: "signature",
    rounds: 100,
    seeds: || files_below("remediations/signatures", ".yaml"),
    run: |bytes| {
        check(Signature::parse(
            "fuzz.yaml",
            &String::from_utf8_lossy(bytes),
        ));
    },
};

/// The configuration file, and windows.
pub const CONFIG: Entry = Entry {
    name: "config",
    rounds: 300,
    seeds: || {
        let text = "node: { mode: auto, allow: restart }\nlimits: { mode: approve }\nwindows: ['Sun 02:00-04:00 UTC']\nattempts: { max: 2, in: 24h, cooldown: 10m }\ncertificates: { paths: [/etc/kubernetes/pki] }\nlisten: 127.0.0.1:9797\ntrust: { digests: [] }\n";
        vec![text.into(), b"Mon-Fri 22:00-06:00 UTC".to_vec()]
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        check(Config::parse("fuzz.yaml", &text));
        let _window = Window::parse(&text, |_| None);
    },
};

/// Tables of faulty versions, and the floors of playbooks.
pub const VERSIONS: Entry = Entry {
    name: "versions",
    rounds: 200,
    seeds: || {
        let mut seeds = files_below("remediations/versions", ".yaml");
        seeds.push(b"{\"unit-restart\":\"1.0.0\"}".to_vec());
        seeds
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        check(parse_table("fuzz.yaml", &text));
        let _floors = parse_floors(&text);
    },
};

/// A document that is refused says why, in a length that a person can read.
fn check<T>(outcome: Result<T, Problems>) {
    if let Err(problems) = outcome {
        let said = problems.to_string();
        assert!(
            !said.is_empty() && said.len() < MAX_SAID,
            "{} bytes",
            said.len()
        );
    }
}
