use crate::playbook::testing::{GOOD, key, read};
use crate::playbook::{KeyError, PinnedKey, PrivateKey, SignatureError, sign, verify};

fn signed(expires: Option<&str>) -> String {
    let playbook = read(GOOD).expect("fine");
    sign(&playbook, GOOD, expires, &key("ours", 7)).expect("signed")
}

fn judge(text: &str, signature: &str) -> Result<(), SignatureError> {
    let playbook = read(text).expect("fine");
    verify(&playbook, text, signature, &[key("ours", 7).public()]).map(drop)
}

#[test]
fn a_signature_vouches_for_its_document() {
    let playbook = read(GOOD).expect("fine");
    let pinned = [key("theirs", 1).public(), key("ours", 7).public()];
    let vouched = verify(&playbook, GOOD, &signed(None), &pinned).expect("holds");
    assert_eq!((&*vouched.key, vouched.expires), ("ours", None));
    let vouched = verify(&playbook, GOOD, &signed(Some("2026-11-22")), &pinned).expect("holds");
    assert_eq!(
        vouched.expires.map(|wall| wall.to_rfc3339()),
        Some("2026-11-23T00:00:00.000Z".into())
    );
    assert!(sign(&playbook, GOOD, Some("soon"), &key("ours", 7)).is_err());
}

#[test]
fn every_flipped_byte_of_the_document_fails() {
    let signature = signed(None);
    let commented = format!("# said by a comment\n{GOOD}");
    for index in 0..GOOD.len() {
        for bit in [0x01, 0x20] {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[index] ^= bit;
            // What is no text, or no playbook any more, is refused before its signature is looked at.
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            let Ok(playbook) = read(&text) else { continue };
            verify(&playbook, &text, &signature, &[key("ours", 7).public()]).expect_err(&text);
        }
    }
    assert!(
        judge(&commented, &signature).is_err(),
        "a changed comment shows too"
    );
}

#[test]
fn every_flipped_byte_of_the_signature_fails() {
    let signature = signed(Some("2028-12-31"));
    let (playbook, keys) = (read(GOOD).expect("fine"), [key("ours", 7).public()]);
    verify(&playbook, GOOD, &signature, &keys).expect("unchanged, it holds");
    for index in 0..signature.len() {
        for bit in [0, 5] {
            let mut bytes = signature.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            if let Ok(changed) = String::from_utf8(bytes) {
                verify(&playbook, GOOD, &changed, &keys).expect_err(&changed);
            }
        }
    }
}

/// What is replaced in a good signature file, by what, the kind of the error, and what it must say.
type Broken = (&'static str, &'static str, &'static str, &'static str);

const BROKEN: &[Broken] = &[
    (
        "nodemend playbook signature 1",
        "nodemend playbook signature 2",
        "form",
        "line 1: ",
    ),
    ("nodemend playbook signature 1\n", "", "form", "line 1: "),
    ("nodemend", "\u{feff}nodemend", "form", "line 1: "),
    (
        "playbook: fix-it",
        "playbook: fix-that",
        "other-document",
        "fix-that 1.2.3, and this is fix-it 1.2.3",
    ),
    (
        "playbook: fix-it",
        "playbook:fix-it",
        "form",
        "line 2: expected `playbook: `",
    ),
    ("playbook: fix-it", "playbook: ", "form", "line 2: "),
    (
        "playbook: fix-it\n",
        "",
        "form",
        "line 2: expected `playbook: `",
    ),
    (
        "version: 1.2.3",
        "version: 1.2.2",
        "other-document",
        "fix-it 1.2.2, and this is fix-it 1.2.3",
    ),
    ("version: 1.2.3", "version: latest", "form", "line 3: "),
    ("version: 1.2.3", "Version: 1.2.3", "form", "line 3: "),
    ("digest: ", "digest: 0", "form", "line 4: a digest has 64"),
    ("digest: ", "digest: sha256:", "form", "line 4: "),
    ("digest: ", "digest:  ", "form", "line 4: "),
    ("file: ", "fiel: ", "form", "line 5: expected `file: `"),
    ("file: ", "file: F", "form", "line 5: "),
    (
        "expires: never",
        "expires: Never",
        "form",
        "line 6: `expires` is `never` or a day",
    ),
    ("expires: never", "expires: 2028-02-30", "form", "line 6: "),
    (
        "expires: never",
        "expires: 2028-12-31T00:00:00Z",
        "form",
        "line 6: ",
    ),
    (
        "expires: never",
        "expires: 2099-12-31",
        "forged",
        "key `ours` did not make it",
    ),
    ("key: ours", "key: theirs", "unknown-key", "trust.keys"),
    ("key: ours", "key: Ours", "unknown-key", "`Ours`"),
    ("key: ours", "key: ", "form", "line 7: "),
    (
        "signature: ",
        "signature: 00",
        "form",
        "line 8: a signature has 128",
    ),
    (
        "signature: ",
        "signature: \nsignature: ",
        "form",
        "line 8: ",
    ),
    ("signature: ", "signature:\t", "form", "line 8: "),
    ("\nsignature: ", "\n\nsignature: ", "form", "line 8: "),
    ("key: ours\n", "key: ours\r\n", "unknown-key", ""),
];

#[test]
fn a_broken_signature_file_is_refused_with_its_line_and_what_to_do() {
    for (good, bad, kind, words) in BROKEN {
        let signature = signed(None);
        assert!(signature.contains(good), "{good} is not in the good file");
        let error = judge(GOOD, &signature.replacen(good, bad, 1)).expect_err(bad);
        assert_eq!(error.kind(), *kind, "{bad:?}: {error}");
        assert!(error.to_string().contains(words), "{bad:?}: {error}");
    }
}

#[test]
fn a_signature_file_of_another_size_is_refused() {
    let signature = signed(None);
    for text in [
        String::new(),
        "\n".into(),
        signature.trim_end().to_owned(),
        format!("{signature}\n"),
        format!("{signature}more"),
        signature.repeat(2),
        "x".repeat(1 << 20),
        signature.replace('\n', "\r\n"),
        signature[..signature.len() / 2].to_owned(),
    ] {
        let error = judge(GOOD, &text).expect_err("refused");
        assert_eq!(error.kind(), "form", "{error}");
    }
}

#[test]
fn a_signature_of_another_document_or_key_is_none() {
    let other_text = GOOD.replace("Mends it", "Breaks it");
    let other = read(&other_text).expect("fine");
    let signature = sign(&other, &other_text, None, &key("ours", 7)).expect("signed");
    assert_eq!(
        judge(GOOD, &signature).expect_err("refused").kind(),
        "other-document"
    );
    // The name of a pinned key, the secret of another.
    let imposter = sign(&read(GOOD).expect("fine"), GOOD, None, &key("ours", 8)).expect("signed");
    assert_eq!(
        judge(GOOD, &imposter).expect_err("refused").kind(),
        "forged"
    );
    // The signature of one file below the lines of another.
    let (lines, _) = signed(None)
        .split_once("signature: ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("split");
    let (_, stolen) = signature.split_once("signature: ").expect("split");
    assert_eq!(
        judge(GOOD, &format!("{lines}signature: {stolen}"))
            .expect_err("refused")
            .kind(),
        "forged"
    );
}

#[test]
fn a_key_is_read_as_it_is_written() {
    let private = key("ours", 7);
    let again = PrivateKey::parse(&private.to_text()).expect("reads");
    assert_eq!(again.public(), private.public());
    assert_eq!(
        PinnedKey::parse(&private.public().to_string()),
        Ok(private.public())
    );
    let shown = format!("{private:?} {:?}", private.public());
    assert!(
        !shown.contains(&"07".repeat(8)),
        "a secret key is never printed: {shown}"
    );
}

#[test]
fn a_broken_private_key_file_is_refused_without_repeating_it() {
    let good = key("ours", 7).to_text();
    for (from, to, line) in [
        ("nodemend", "Nodemend", 1),
        ("key 1", "key 2", 1),
        ("name: ours", "name: Ours!", 2),
        ("name: ours\n", "", 2),
        ("secret: ", "secret: 00", 3),
        ("secret: 07", "secret: 0g", 3),
        ("secret: ", "secret:", 3),
        ("secret: ", "public: ", 3),
        ("0707\n", "0707\nmore\n", 4),
        ("0707\n", "0707", 4),
    ] {
        let error = PrivateKey::parse(&good.replacen(from, to, 1)).expect_err(to);
        assert!(
            matches!(&error, KeyError::Private { line: found, .. } if *found == line),
            "{to:?}: {error}"
        );
        assert!(!error.to_string().contains("0707"), "{error}");
    }
    assert!(PrivateKey::from_seed("Not An Id", &[0; 32]).is_err());
}

#[test]
fn a_broken_public_key_is_refused() {
    let good = key("ours", 7).public().to_string();
    for text in [
        String::new(),
        "ours".into(),
        good.replace("ours", "Ours"),
        good.replace(" ed25519:", "  ed25519:"),
        good.replace("ed25519:", "rsa:"),
        good.replace("ed25519:", ""),
        good.to_uppercase(),
        format!("{good}0"),
        good[..good.len() - 2].to_owned(),
        format!("ours ed25519:{}", "0".repeat(64)),
        format!("ours ed25519:01{}", "0".repeat(62)),
        format!("ours ed25519:{}", "f".repeat(64)),
        "x".repeat(100_000),
    ] {
        let error = PinnedKey::parse(&text).expect_err("refused");
        assert!(error.to_string().len() < 250, "{error}");
    }
}
