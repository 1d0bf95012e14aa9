//! The cases of `tests/data/*.cases`; their form is described at the top of `grammar.cases`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use komar_conf::{ConfigError, ErrorKind, Memory, Position, Warning, load};

const MAIN: &str = "test.conf";

#[test]
fn cases() {
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cases") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for case in text
            .split("\n=== ")
            .skip(1)
            .chain(text.strip_prefix("=== ").map(first_case))
        {
            count += 1;
            if let Err(failure) = check(case, &mut seen) {
                failures.push(format!("{}: {failure}", path.file_name().unwrap().display()));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {count} failed\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(count > 100, "only {count} cases");
    for variant in variants(include_str!("../src/error.rs"), "pub enum ErrorKind {") {
        // This one needs more lines than a case should have.
        assert!(
            seen.contains(variant) || variant == "TooMany",
            "no case for the error {variant}"
        );
    }
    for variant in variants(include_str!("../src/warning.rs"), "pub enum WarningKind {") {
        assert!(seen.contains(variant), "no case for the warning {variant}");
    }
}

fn first_case(text: &str) -> &str {
    text.split("\n=== ").next().unwrap()
}

fn check(case: &str, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let (title, rest) = case.split_once('\n').unwrap();
    let (input, outcomes) = if let Some(outcomes) = rest.strip_prefix("---\n") {
        ("", outcomes)
    } else {
        rest.split_once("\n---\n").unwrap()
    };
    let mut files = vec![(MAIN, String::new())];
    for line in input.lines() {
        match line.strip_prefix("@file ") {
            Some(name) => files.push((name, String::new())),
            None => {
                let content = &mut files.last_mut().unwrap().1;
                content.push_str(line);
                content.push('\n');
            }
        }
    }
    let source = files.into_iter().fold(Memory::default(), |source, (name, text)| {
        source.with(name, bytes(&text))
    });

    let loaded = load(Path::new(MAIN), &source);
    let (config, errors, warnings) = match loaded {
        Ok(loaded) => (Some(loaded.config), Vec::new(), loaded.warnings),
        Err(errors) => (None, errors.errors, errors.warnings),
    };
    let mut found: Vec<(String, String)> = errors.iter().map(describe_error).collect();
    found.extend(warnings.iter().map(describe_warning));
    seen.extend(errors.iter().map(|error| variant(&format!("{:?}", error.kind))));
    seen.extend(
        warnings
            .iter()
            .map(|warning| variant(&format!("{:?}", warning.kind))),
    );

    let fail = |why: &str| Err(format!("{title}: {why}\nfound: {found:#?}\n{config:?}"));
    let mut reports = found.iter();
    for outcome in outcomes
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (word, text) = outcome.split_once(' ').unwrap();
        let holds = match (word, &config) {
            ("error" | "warning", _) => reports.next().is_some_and(|(short, message)| {
                outcome
                    .strip_prefix(short.as_str())
                    .is_some_and(|text| message.contains(text.trim_start()))
            }),
            ("is", Some(config)) => format!("{config:?}").contains(text),
            ("not", Some(config)) => !format!("{config:?}").contains(text),
            ("listener", Some(config)) => {
                let (index, text) = text.split_once(' ').unwrap();
                format!("{:?}", config.listeners.get(index.parse::<usize>().unwrap())).contains(text)
            }
            _ => false,
        };
        if !holds {
            return fail(outcome);
        }
    }
    match reports.next() {
        Some(report) => fail(&format!("also {report:?}")),
        None => Ok(()),
    }
}

fn describe_error(error: &ConfigError) -> (String, String) {
    let Position { file, line, column } = error.position.as_ref().unwrap();
    let file = if file.as_ref() == Path::new(MAIN) {
        String::new()
    } else {
        format!("{}:", file.display())
    };
    let message = error.to_string();
    assert!(message.starts_with("Error: "), "{message}");
    assert!(!error.word.is_empty(), "{message}");
    let place = error
        .position
        .as_ref()
        .map(|position| format!("{}:{}", position.file.display(), position.line));
    assert!(
        message.ends_with(&format!("\nError found at {}.", place.unwrap())),
        "{message}"
    );
    assert!(
        message.lines().count() == 2 && !message.replace('\n', "").contains(char::is_control),
        "{message:?}"
    );
    let expected_status = if matches!(&error.kind, ErrorKind::UnknownWord { name, .. } if name == "tls_version")
    {
        1
    } else {
        3
    };
    assert_eq!(error.kind.exit_status(), expected_status);
    (
        format!(
            "error {file}{line}:{column} {}",
            variant(&format!("{:?}", error.kind))
        ),
        message,
    )
}

fn describe_warning(warning: &Warning) -> (String, String) {
    let message = warning.to_string();
    assert!(
        message.starts_with("Warning: ") && !message.contains(char::is_control),
        "{message:?}"
    );
    (
        format!(
            "warning {} {}",
            warning.position.line,
            variant(&format!("{:?}", warning.kind))
        ),
        message,
    )
}

fn variant(debug: &str) -> String {
    debug
        .chars()
        .take_while(|character| character.is_alphanumeric())
        .collect()
}

/// The names of an enum's variants, from its source.
fn variants<'a>(source: &'a str, head: &str) -> Vec<&'a str> {
    let body = source.split_once(head).unwrap().1.split_once("\n}").unwrap().0;
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names: Vec<&str> = lines
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| {
            line.split(|character: char| !character.is_alphanumeric())
                .next()
                .unwrap()
        })
        .collect();
    assert!(names.len() > 5);
    names
}

fn bytes(text: &str) -> Vec<u8> {
    let text = text
        .replace("<TAB>", "\t")
        .replace("<CR>", "\r")
        .replace("<NUL>", "\0")
        .replace("<BOM>", "\u{feff}")
        .replace("<DEL>", "\u{7f}")
        .replace("<ESC>", "\u{1b}")
        .replace("<LONG>", &"x".repeat(65536))
        .replace("<A51>", &"a".repeat(51))
        .replace("<END>\n", "");
    let mut bytes = Vec::new();
    for (index, part) in text.split("<FF>").enumerate() {
        if index > 0 {
            bytes.push(0xFF);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}
