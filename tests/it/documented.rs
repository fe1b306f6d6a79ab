//! What README and docs tell people to type is what the program understands.

use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Lines of fenced blocks in README and docs that call nodemend.
fn documented_commands() -> Vec<(String, String)> {
    let mut pages = vec![Path::new(ROOT).join("README.md")];
    pages.extend(
        std::fs::read_dir(Path::new(ROOT).join("docs"))
            .expect("docs")
            .map(|entry| entry.expect("entry").path()),
    );
    let mut commands = Vec::new();
    for page in pages
        .into_iter()
        .filter(|page| page.extension().is_some_and(|ext| ext == "md"))
    {
        let text = std::fs::read_to_string(&page).expect("text");
        let mut is_shell = false;
        for line in text.lines() {
            if let Some(kind) = line.trim().strip_prefix("```") {
                is_shell = !is_shell && (kind == "sh" || kind == "console");
                continue;
            }
            let line = line
                .trim()
                .trim_start_matches("$ ")
                .trim_start_matches("sudo ");
            if is_shell && line.starts_with("nodemend ") {
                let command = line.split(" #").next().unwrap_or(line).trim().to_owned();
                commands.push((page.display().to_string(), command));
            }
        }
    }
    commands
}

#[test]
fn every_documented_command_is_understood() {
    let commands = documented_commands();
    assert!(
        commands.len() >= 5,
        "the README shows how to use the program"
    );
    for (page, command) in commands {
        // Words up to the first argument are the command; its help must know the flags that follow.
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let path: Vec<&str> = words
            .iter()
            .take_while(|word| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            })
            .take(2)
            .copied()
            .collect();
        let help = [&path[..], &path[..path.len().min(1)]]
            .into_iter()
            .map(|path| {
                let mut args: Vec<&str> = path.to_vec();
                args.push("--help");
                std::process::Command::new(env!("CARGO_BIN_EXE_nodemend"))
                    .args(args)
                    .output()
                    .expect("runs")
            })
            .find(|output| output.status.success());
        let Some(help) = help else {
            panic!("{page}: `{command}` is not a command")
        };
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            let name = flag.split('=').next().unwrap_or(flag);
            assert!(
                text.contains(name),
                "{page}: `{command}`: there is no {name}"
            );
        }
    }
}
