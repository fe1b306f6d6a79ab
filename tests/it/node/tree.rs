//! Fixtures: one text file a tree, unpacked below a directory.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The trees under `tests/fixtures/node`.
pub const TREES: [&str; 6] = ["caches", "devices", "hwmon", "network", "storage", "system"];

/// Where the fixtures lie.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node")
}

/// All trees below one new directory.
pub fn unpacked() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in TREES {
        let text = fs::read_to_string(fixtures().join(format!("{name}.tree"))).unwrap();
        unpack(&text, dir.path());
    }
    for place in ["proc", "sys", "udev"] {
        fs::create_dir_all(dir.path().join(place)).unwrap();
    }
    dir
}

/// Unpacks one tree; its format is told at its head.
pub fn unpack(text: &str, root: &Path) {
    let mut open: Option<(PathBuf, bool, String)> = None;
    let body = text.lines().skip_while(|line| line.starts_with('#'));
    for line in body.chain(["@end"]) {
        let Some(order) = line.strip_prefix('@') else {
            let (_, _, content) = open.as_mut().expect("content stands below a file");
            content.push_str(line);
            content.push('\n');
            continue;
        };
        if let Some((path, bare, content)) = open.take() {
            write(&path, bare, &content);
        }
        let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
        match word {
            "file" | "bare" => open = Some((root.join(rest), word == "bare", String::new())),
            "dir" => fs::create_dir_all(root.join(rest)).unwrap(),
            "link" => {
                let (path, target) = rest.split_once(" -> ").unwrap();
                fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(target, root.join(path)).unwrap();
            }
            "end" => {}
            other => panic!("unknown word {other}"),
        }
    }
}

fn write(path: &Path, bare: bool, content: &str) {
    let content = if bare {
        content.strip_suffix('\n').unwrap_or(content)
    } else {
        content
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, unescaped(content)).unwrap();
}

/// `\xNN` is a byte, `\\` a backslash.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        if let Some(hex) = after.strip_prefix('x') {
            out.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            out.push(b'\\');
            rest = after.strip_prefix('\\').unwrap();
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A path that may hold any bytes.
pub fn name(bytes: &[u8]) -> std::ffi::OsString {
    std::ffi::OsString::from_vec(bytes.to_vec())
}
