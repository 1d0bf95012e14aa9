//! A configuration and a file that it includes: loading says the same each time and with either kind of line ends, and
//! whatever is wrong has a place in one of the files.

use std::path::Path;

use komar_conf::{ConfigErrors, Loaded, Memory, load};

/// The main file, and behind the first byte 0xff `d/a.conf`.
pub fn run(data: &[u8]) {
    let mut files = data.splitn(2, |byte| *byte == 0xff);
    let main = files.next().unwrap_or_default();
    let included = files.next().unwrap_or_default();
    let first = loaded(main, included);
    check(&first, main, included);
    assert_eq!(told(&first), told(&loaded(main, included)));
    if !data.contains(&b'\r') {
        let other = loaded(&with_carriage_returns(main), &with_carriage_returns(included));
        assert_eq!(told(&first), told(&other));
    }
}

type Outcome = Result<Loaded, ConfigErrors>;

fn loaded(main: &[u8], included: &[u8]) -> Outcome {
    let source = Memory::default().with("m.conf", main).with("d/a.conf", included);
    load(Path::new("m.conf"), &source)
}

fn check(outcome: &Outcome, main: &[u8], included: &[u8]) {
    let errors = match outcome {
        Ok(loaded) => return assert!(!loaded.config.listeners.is_empty(), "nobody could connect"),
        Err(errors) => errors,
    };
    assert!(!errors.errors.is_empty());
    let lines = |file: &[u8]| file.split(|byte| *byte == b'\n').count();
    let longest = lines(main).max(lines(included));
    for error in &errors.errors {
        let position = error.position.as_ref().expect("a place");
        let line = usize::try_from(position.line).unwrap();
        assert!((1..=longest).contains(&line) && position.column >= 1, "{error}");
        let text = error.to_string();
        assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
    }
    // Configuration errors end the program with 3, files that cannot be opened with others.
    assert_ne!(errors.exit_status(), 0);
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Ok(loaded) => format!("{loaded:?}"),
        Err(errors) => format!("{errors}\n{:?}", errors.warnings),
    }
}

fn with_carriage_returns(file: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    lines.join(&b"\r\n"[..])
}
