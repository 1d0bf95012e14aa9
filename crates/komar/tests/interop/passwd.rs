//! `komar passwd` beside `mosquitto_passwd`: files go back and forth, and nobody's change is lost.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use komar_passwd::{PasswordFile, PasswordVerdict};

use crate::broker::{Folder, command, is_komar};
use crate::program::{Ended, Program};
use crate::tools::Tool;

fn passwd(folder: &Folder, arguments: &[&str]) -> Ended {
    Program::run(command().arg("passwd").args(arguments).current_dir(folder.path()))
}

fn mosquitto_passwd(folder: &Folder, arguments: &[&str]) -> Ended {
    Program::run(
        Command::new("mosquitto_passwd")
            .args(arguments)
            .current_dir(folder.path()),
    )
}

fn lets_in(folder: &Folder, user: &str, password: &str) -> bool {
    let text = std::fs::read(folder.path().join("pw")).unwrap();
    let file = PasswordFile::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    file.check(user, password.as_bytes()).run() != PasswordVerdict::Refused
}

#[test]
fn two_processes_that_add_users_lose_none() {
    if !is_komar() {
        return;
    }
    const EACH: usize = 200;
    let folder = Folder::new();
    folder.write("pw", "# everybody\n");
    std::thread::scope(|scope| {
        for side in ["left", "right"] {
            let folder = &folder;
            scope.spawn(move || {
                for number in 0..EACH {
                    let user = format!("{side}{number}");
                    passwd(folder, &["-I", "1", "-b", "pw", &user, "secret"]).expect_status(0, &user);
                }
            });
        }
    });
    let text = std::fs::read(folder.path().join("pw")).unwrap();
    assert!(text.starts_with(b"# everybody\n"));
    assert_eq!(PasswordFile::parse(&text).unwrap().len(), 2 * EACH);
    let left: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["pw"], "neither locks nor temporary files are left");
}

#[test]
fn the_name_mosquitto_passwd_is_enough() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    let link = folder.path().join("mosquitto_passwd");
    std::os::unix::fs::symlink(Path::new(env!("CARGO_BIN_EXE_komar")), &link).unwrap();
    let run =
        |arguments: &[&str]| Program::run(Command::new(&link).args(arguments).current_dir(folder.path()));
    run(&["-c", "-I", "1", "-b", "pw", "alice", "secret"]).expect_status(0, "-c");
    assert!(lets_in(&folder, "alice", "secret"));
    run(&["-D", "pw", "bob"]).expect_status(1, "-D");
    run(&[])
        .expect_status(1, "nothing")
        .expect_text("Usage: ", "nothing");
}

#[test]
fn files_go_back_and_forth() {
    if !is_komar() || !Tool::MosquittoPasswd.is_installed() {
        return;
    }
    let folder = Folder::new();
    mosquitto_passwd(&folder, &["-c", "-b", "pw", "alice", "one"]).expect_status(0, "made");
    mosquitto_passwd(&folder, &["-H", "sha512", "-b", "pw", "bob", "two:three"]).expect_status(0, "added");
    assert!(lets_in(&folder, "alice", "one") && lets_in(&folder, "bob", "two:three"));
    passwd(&folder, &["-H", "sha512-pbkdf2", "-b", "pw", "carol", "four"]).expect_status(0, "added");
    passwd(&folder, &["-H", "sha512", "-b", "pw", "alice", "five"]).expect_status(0, "changed");
    mosquitto_passwd(&folder, &["-b", "pw", "dave", "six"]).expect_status(0, "added behind ours");
    for (user, password, expected) in [
        ("alice", "five", true),
        ("alice", "one", false),
        ("bob", "two:three", true),
        ("carol", "four", true),
        ("dave", "six", true),
    ] {
        assert_eq!(
            lets_in(&folder, user, password),
            expected,
            "{user} with {password}"
        );
    }
    passwd(&folder, &["-D", "pw", "bob"]).expect_status(0, "-D");
    mosquitto_passwd(&folder, &["-D", "pw", "bob"]).expect_status(1, "it is gone");
}

#[test]
fn exit_statuses_are_those_of_mosquitto_passwd() {
    if !is_komar() || !Tool::MosquittoPasswd.is_installed() {
        return;
    }
    // Only what the releases 2.0 and 2.1 agree on.
    for (text, line, status) in [
        ("", "", 1),
        ("", "-b pw u p", 0),
        ("", "-b -H sha512 pw u p", 0),
        ("", "-H md5 -b pw u p", 1),
        ("", "-H", 1),
        ("", "-b pw u:v p", 1),
        ("", "-b pw u", 1),
        ("", "-b pw", 1),
        ("", "-b none/pw u p", 1),
        ("", "-c -D pw u", 1),
        ("", "-c -U pw", 1),
        ("", "-D -U pw", 1),
        ("", "-b -D pw u", 1),
        ("", "-D pw u", 1),
        ("", "-D pw", 1),
        ("u:secret\n", "-U pw", 0),
        ("", "-U none", 1),
        ("", "-U", 1),
    ] {
        let arguments: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        for (whose, run) in [
            ("komar passwd", passwd as fn(&Folder, &[&str]) -> Ended),
            ("mosquitto_passwd", mosquitto_passwd),
        ] {
            let folder = Folder::new();
            folder.write("pw", text);
            run(&folder, &arguments).expect_status(status, format!("{whose} {line}"));
        }
    }
}

#[test]
fn a_link_of_its_name_ignores_what_mosquitto_passwd_ignores() {
    if !is_komar() || !Tool::MosquittoPasswd.is_installed() {
        return;
    }
    let folder = Folder::new();
    let link = folder.path().join("mosquitto_passwd");
    std::os::unix::fs::symlink(Path::new(env!("CARGO_BIN_EXE_komar")), &link).unwrap();
    for (line, ours) in [
        ("-H sha512 -I 5 -c -b FILE u p", 1),
        ("-c -b FILE u p more", 1),
        ("-D FILE u more", 1),
    ] {
        let words =
            |file: &str| -> Vec<String> { line.split(' ').map(|word| word.replace("FILE", file)).collect() };
        let run = |mut program: Command, file: &str, status: i32| {
            if line.starts_with("-D") {
                folder.write(file, "u:x\n");
            }
            Program::run(program.args(words(file)).current_dir(folder.path())).expect_status(status, line);
            let _ = std::fs::remove_file(folder.path().join(file));
        };
        run(Command::new("mosquitto_passwd"), "theirs", 0);
        run(Command::new(&link), "linked", 0);
        let mut komar = command();
        komar.arg("passwd");
        run(komar, "ours", ours);
    }
}

#[test]
fn without_a_terminal_the_password_is_read_from_standard_input() {
    let folder = Folder::new();
    for (typed, status) in [
        ("secret\nsecret\n", 0),
        ("secret\nother\n", 2),
        ("secret\n", 1),
        ("", 1),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_komar"))
            .args(["passwd", "-I", "1", "-c", "pw", "alice"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // One that ends early does not read everything.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        assert_eq!(child.wait().unwrap().code(), Some(status), "{typed:?}");
        assert_eq!(folder.path().join("pw").exists(), status == 0, "{typed:?}");
        if status == 0 {
            assert!(lets_in(&folder, "alice", "secret"));
            std::fs::remove_file(folder.path().join("pw")).unwrap();
        }
    }
}
