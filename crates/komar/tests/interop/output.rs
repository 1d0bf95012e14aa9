//! Nobody reads what a command writes, or it cannot be written: no panic, and a status that says how the work went.

use std::fs::{File, OpenOptions};
use std::io::pipe;
use std::process::{Command, Stdio};

use crate::broker::{Folder, command, is_komar};
use crate::program::{Ended, Program};

const GOOD: &str = "listener 1883 127.0.0.1\nallow_anonymous true\n";
const BAD: &str = "allow_anonymus true\n";

/// A stream whose reader has gone.
fn closed() -> Stdio {
    let (_, writer) = pipe().unwrap();
    writer.into()
}

/// A disk without room.
fn full() -> Option<File> {
    OpenOptions::new().write(true).open("/dev/full").ok()
}

fn run(folder: &Folder, arguments: &[&str], output: Stdio, errors: Stdio) -> Ended {
    let mut command: Command = command();
    command
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    Program::start_as_is(&mut command).end()
}

/// What to run, and its exit status.
const CALLS: [(&[&str], i32); 14] = [
    (&["--help"], 0),
    (&["--version"], 0),
    (&["--frobnicate"], 3),
    (&["--test-config", "-c", "good.conf"], 0),
    (&["--test-config", "-c", "bad.conf"], 3),
    (&["-c", "bad.conf"], 3),
    (&["check", "good.conf"], 0),
    (&["check", "bad.conf"], 3),
    (&["check"], 1),
    (&["passwd", "--help"], 0),
    (&["acl", "check", "my.acl"], 0),
    (&["cert", "--help"], 0),
    (&["demo", "--help"], 0),
    (&["demo", "--frobnicate"], 1),
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("good.conf", GOOD);
    folder.write("bad.conf", BAD);
    folder.write("my.acl", "topic deny\n");
    folder
}

#[test]
fn a_reader_that_has_gone_changes_nothing() {
    if !is_komar() {
        return;
    }
    let folder = folder();
    for (arguments, status) in CALLS {
        let ended = run(&folder, arguments, closed(), Stdio::piped());
        ended.expect_status(status, format!("{arguments:?}"));
        assert!(!ended.text.contains("panicked"), "{arguments:?}: {}", ended.text);
        if status == 0 {
            assert_eq!(ended.text, "", "{arguments:?}");
        }
        run(&folder, arguments, Stdio::piped(), closed()).expect_status(status, format!("{arguments:?}"));
        run(&folder, arguments, closed(), closed()).expect_status(status, format!("{arguments:?}"));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    if !is_komar() || full().is_none() {
        return;
    }
    let folder = folder();
    for (arguments, status) in CALLS {
        let ended = run(&folder, arguments, full().unwrap().into(), Stdio::piped());
        assert!(!ended.text.contains("panicked"), "{arguments:?}: {}", ended.text);
        if status == 0 {
            ended
                .expect_status(1, format!("{arguments:?}"))
                .expect_text("cannot write to standard output", format!("{arguments:?}"));
        } else {
            ended.expect_status(status, format!("{arguments:?}"));
        }
        let both = run(&folder, arguments, full().unwrap().into(), full().unwrap().into());
        both.expect_status(status.max(1), format!("{arguments:?}"));
    }
}

#[test]
fn the_demo_without_a_reader_shows_nothing_and_ends() {
    if !is_komar() {
        return;
    }
    for more in [&["--once"][..], &[]] {
        let folder = Folder::new();
        let arguments = [&["demo", "--dir", "site"], more].concat();
        let ended = run(&folder, &arguments, closed(), Stdio::piped());
        ended.expect_status(0, format!("{arguments:?}"));
        assert_eq!(ended.text, "", "{arguments:?}");
    }
}
