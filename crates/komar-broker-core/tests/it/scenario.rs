//! Conversations in `data/scenarios`, each played in four ways. A failure says where, what was expected, what came.

use std::fmt::Write as _;
use std::path::PathBuf;

use komar_testkit::words;

use crate::stage::{Mode, Stage};

#[test]
fn conversations() {
    play_all(Mode::Whole);
}

#[test]
fn conversations_byte_by_byte() {
    play_all(Mode::Bytes);
}

#[test]
fn conversations_over_two_workers() {
    play_all(Mode::Workers);
}

#[test]
fn conversations_with_a_store() {
    play_all(Mode::Store);
}

fn play_all(mode: Mode) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no conversations in {}", folder.display());
    let (mut played, mut failures) = (0, String::new());
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(file).unwrap();
        for conversation in conversations_of(&text) {
            played += 1;
            if let Err((line, text, error)) = play(mode, &conversation.lines) {
                // Writing to a String does not fail.
                let title = conversation.title;
                let _ = writeln!(
                    failures,
                    "{name}:{line}: {title} ({mode:?})\n    {text}\n    {error}"
                );
            }
        }
    }
    assert!(
        failures.is_empty(),
        "of {played} conversations these failed:\n{failures}"
    );
}

struct Conversation<'a> {
    title: &'a str,
    /// With their numbers in the file.
    lines: Vec<(usize, &'a str)>,
}

/// Splits a file at its `== title` lines and takes comments away.
fn conversations_of(text: &str) -> Vec<Conversation<'_>> {
    let mut found: Vec<Conversation<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = words::comment_start(line)
            .map_or(line, |place| &line[..place])
            .trim();
        if let Some(title) = line.strip_prefix("==") {
            found.push(Conversation {
                title: title.trim(),
                lines: Vec::new(),
            });
        } else if !line.is_empty() {
            let conversation = found
                .last_mut()
                .unwrap_or_else(|| panic!("no == title before {line}"));
            conversation.lines.push((index + 1, line));
        }
    }
    found
}

fn play<'a>(mode: Mode, lines: &[(usize, &'a str)]) -> Result<(), (usize, &'a str, String)> {
    let mut stage = Stage::new(mode);
    for (number, line) in lines {
        match stage.line(line) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err((*number, line, error)),
        }
    }
    let (number, line) = lines.last().copied().unwrap_or_default();
    stage.end().map_err(|error| (number, line, error))
}
