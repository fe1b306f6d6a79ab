use super::*;

const GOOD: &str = "id: a-b\ntitle: T\npackage: systemd\nreferences: [r]\nlines:\n  - os: [rhel]\n    version: '7'\n    \
                    scheme: rpm\n    steps:\n      - { from: any, is: affected, fixedIn: '2-1', because: x }\n      \
                    - { from: '2-1', is: fixed, because: yy }\n";

#[test]
fn the_shipped_tables_are_right_and_carry_their_own_names() {
    let tables = embedded_tables().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(tables.len(), EMBEDDED.len());
    for (table, (file, _)) in tables.iter().zip(EMBEDDED) {
        assert_eq!(format!("{}.yaml", table.id), *file);
    }
}

#[test]
fn a_table_is_read() {
    let table = parse_table("t.yaml", GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(table.lines[0].version.as_deref(), Some("7"));
    assert_eq!(table.lines[0].steps[0].from, None);
    assert_eq!(
        table.lines[0].steps[0].standing,
        Standing::Affected {
            fixed_in: Some("2-1".into())
        }
    );
}

#[test]
fn a_broken_table_is_refused_with_its_place_and_the_next_step() {
    for (old, new, message) in [
        ("id: a-b", "id: A_B", "1:5: `A_B` is no id; write it like"),
        ("id: a-b\n", "", "needs `id`"),
        ("title: T\n", "", "needs `title`"),
        ("title: T", "title: [T]", "expected text, found a list"),
        ("package: systemd\n", "", "needs `package`"),
        (
            "package: systemd",
            "packages: systemd",
            "did you mean `package`?",
        ),
        ("references: [r]\n", "", "needs `references`"),
        (
            "references: [r]",
            "references: []",
            "at least one reference",
        ),
        ("references: [r]", "references: r", "must be a list"),
        ("lines:\n", "line:\n", "did you mean `lines`?"),
        ("os: [rhel]", "os: rhel", "must be a list"),
        (
            "- os: [rhel]\n    version",
            "- version",
            "mean nothing in it; remove them or add `os`",
        ),
        (
            "version: '7'",
            "version: 7",
            "expected text, found a number",
        ),
        (
            "scheme: rpm",
            "scheme: deb",
            "8:13: `deb` is no order of versions; write dpkg or rpm",
        ),
        ("    scheme: rpm\n", "", "needs `scheme`"),
        ("from: any", "from: '1'", "must begin `from: any`"),
        ("from: any, ", "", "a step needs `from`"),
        ("from: '2-1'", "from: any", "only the first step"),
        ("from: '2-1'", "from: new", "`new` is no version"),
        ("is: affected", "is: sick", "not `sick`"),
        ("is: affected, ", "", "needs `is`"),
        ("is: affected", "is: unknown", "`fixedIn` belongs to"),
        (", because: x", "", "needs `because`"),
        (
            ", because: x",
            ", because: x, fixedin: y",
            "did you mean `fixedIn`?",
        ),
        ("steps:\n", "steps: []\n    more:\n", "1 to 64 steps"),
        (
            "because: yy }\n",
            "because: yy }\n      - { from: '2-0', is: fixed, because: z }\n",
            "`2-0` is not above `2-1`",
        ),
        (
            "because: yy }\n",
            "because: yy }\n      - { from: '2-1', is: fixed, because: z }\n",
            "`2-1` is not above `2-1`",
        ),
        ("title: T", "title: T\ntitle: U", ""),
        ("title: T", "title: 'T", ""),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let text = GOOD.replacen(old, new, 1);
        let problems = parse_table("t.yaml", &text).expect_err(new).to_string();
        assert!(
            problems.contains(message),
            "{old:?} -> {new:?} gave {problems}"
        );
        assert!(problems.starts_with("t.yaml:"), "{problems}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let text = GOOD
        .replace("title: T\n", "")
        .replace("scheme: rpm", "scheme: deb");
    let problems = parse_table("t.yaml", &text).expect_err("refused");
    assert_eq!(problems.list.len(), 2, "{problems}");
}
