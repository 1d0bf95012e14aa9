//! Nobody reads what a command writes, or it cannot be written: no panic, and a status that says how the work went.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::broker::{Folder, command, free_port, is_komar};
use crate::program::{Ended, PATIENCE, Program};

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
const CALLS: [(&[&str], i32); 20] = [
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
    (&["acl", "fmt", "my.acl"], 0),
    (
        &["acl", "explain", "my.acl", "--client", "c", "--read", "deny"],
        0,
    ),
    (&["acl", "explain", "my.acl", "--client", "c", "--read", "a"], 2),
    (&["passwd", "-I", "1", "-c", "-b", "-", "user", "password"], 0),
    (&["cert", "ca", "site", "--dir", "certificates", "--force"], 0),
    (&["options", "acl_file"], 0),
    (&["cert", "--help"], 0),
    (&["demo", "--help"], 0),
    (&["demo", "--frobnicate"], 1),
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("good.conf", GOOD);
    folder.write("bad.conf", BAD);
    folder.write("my.acl", "topic deny\n");
    std::fs::create_dir(folder.path().join("certificates")).unwrap();
    folder.share();
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
        if status == 0 && !arguments.contains(&"-I") {
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
fn what_cannot_be_said_is_done_all_the_same() {
    if !is_komar() || full().is_none() {
        return;
    }
    let folder = folder();
    for (arguments, file, words) in [
        (
            &["passwd", "-I", "1", "-c", "-b", "pw", "alice", "one"][..],
            "pw",
            "alice:$7$",
        ),
        (&["passwd", "-I", "1", "-b", "pw", "bob", "two"], "pw", "bob:$7$"),
        (&["cert", "ca", "site"], "site.key", "PRIVATE KEY"),
        (
            &["cert", "client", "plc", "--ca", "site.crt"],
            "plc.crt",
            "CERTIFICATE",
        ),
        (
            &["cert", "crl", "plc.crt", "--ca", "site.crt"],
            "site.crl",
            "X509 CRL",
        ),
    ] {
        run(&folder, arguments, full().unwrap().into(), Stdio::piped())
            .expect_status(1, format!("{arguments:?}"))
            .expect_text("cannot write to standard output", format!("{arguments:?}"));
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(words), "{arguments:?}: {text}");
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

#[test]
fn a_log_that_nobody_reads_holds_up_no_client() {
    /// More than a pipe holds.
    const PINGS: usize = 3000;
    if !is_komar() {
        return;
    }
    let (reader, writer) = pipe().unwrap();
    let port = free_port();
    let folder = Folder::new();
    folder.share();
    let mut command = command();
    command
        .args(["-v", "-p", &port.to_string()])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer);
    let mut program = Program::start_as_is(&mut command);
    // The command holds an end of the pipe.
    drop(command);
    let mut client = connected(port);
    for _ in 0..PINGS {
        client.write_all(b"\xc0\0").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    drop(client);
    program.signal(rustix::process::Signal::TERM);
    let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    program.end().expect_status(0, "SIGTERM");
    let pings: Vec<&String> = lines.iter().filter(|line| line.contains(" PING")).collect();
    assert_eq!(pings.len(), 2 * PINGS);
    for pair in pings.chunks(2) {
        assert!(
            pair[0].contains("Received PINGREQ") && pair[1].contains("Sending PINGRESP"),
            "{pair:?}"
        );
    }
    assert!(lines.last().unwrap().ends_with("terminating"), "{lines:#?}");
}

/// A client whose CONNECT was accepted.
fn connected(port: u16) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01p")
        .unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x20\x02\0\0");
    stream
}
