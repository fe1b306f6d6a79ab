//! The image: built without a daemon, nothing but the binary, the same bytes each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the image of `binary` into `archive`; the script's words if it refuses.
pub fn build(binary: &Path, archive: &Path, name: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/image/build");
    let output = Command::new(script)
        .arg(binary)
        .arg(archive)
        .arg(name)
        .output();
    let output = output.expect("the build script can be started");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn equal_binaries_are_equal_images_and_a_dynamic_one_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    let binary = static_binary(dir.path());
    build(&binary, &at("first.tar"), "localhost/nodemend:0.1.0").expect("the first build");
    let again = at("copy");
    fs::copy(&binary, &again).expect("copy the binary, with another time");
    build(&again, &at("second.tar"), "localhost/nodemend:0.1.0").expect("the second build");
    let read = |name: &str| fs::read(at(name)).expect("the archive");
    assert!(
        read("first.tar") == read("second.tar"),
        "equal binaries gave different images"
    );

    // Whatever this repository builds is static; the system's own programs are not.
    let dynamic = PathBuf::from("/usr/bin/env");
    let refusal = build(&dynamic, &at("third.tar"), "x:1").expect_err("it can not run in scratch");
    assert!(refusal.contains("linked dynamically"), "{refusal}");
}

/// A static program without the minute that linking the agent takes.
fn static_binary(dir: &Path) -> PathBuf {
    let (source, binary) = (dir.join("main.c"), dir.join("nodemend"));
    fs::write(&source, "int main(void) { return 0; }\n").expect("a temporary directory");
    let status = Command::new("cc")
        .arg("-static")
        .arg("-o")
        .arg(&binary)
        .arg(source)
        .status();
    assert!(
        status.expect("cc is installed").success(),
        "cc -static failed"
    );
    binary
}
