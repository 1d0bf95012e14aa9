//! `komar demo` shows what it says, in whatever folder, and however an earlier one ended.

use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Folder, command, is_komar};
use crate::program::{Ended, Program};
use crate::tools::Tool;

fn demo(folder: &str) -> Command {
    let mut demo = command();
    demo.args(["demo", "--dir", folder]);
    demo
}

fn once(folder: &str) -> Ended {
    Program::run(demo(folder).arg("--once"))
}

#[test]
fn the_demo_holds_on_one_reactor_and_on_two() {
    if !is_komar() {
        return;
    }
    for reactors in ["1", "2"] {
        let folder = Folder::new();
        let site = folder.file("site");
        let arguments = ["--once", "--reactors", reactors];
        let ended = Program::run(demo(&site).args(arguments));
        ended.expect_status(0, reactors);
        for shown in [
            "myD2000 receives \"temperature 21.5\"",
            "myPLC publishes to PLC1/cmd: refused",
            "A client without a certificate: refused",
            "myuser1 with another password: refused",
            "Everything held.",
        ] {
            ended.expect_text(shown, reactors);
        }
        // A folder of an earlier demo is used again.
        Program::run(demo(&site).args(arguments)).expect_status(0, "the second time");
    }
}

#[test]
fn a_demo_that_was_interrupted_anywhere_is_followed_by_one_that_holds() {
    if !is_komar() {
        return;
    }
    for file in [".komar-demo", "caMQTT.crt", "myPLC.key", "pwfile"] {
        let folder = Folder::new();
        let (site, file) = (folder.file("site"), folder.path().join("site").join(file));
        let mut first = Program::start(&mut demo(&site));
        while !file.exists() {
            assert!(!first.has_ended(), "{}", first.text());
            std::thread::yield_now();
        }
        first.kill();
        once(&site).expect_status(0, file.display());
    }
}

#[test]
fn two_demos_may_begin_in_one_new_folder() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    let site = folder.file("site");
    let both = [(), ()].map(|()| Program::start(demo(&site).arg("--once")));
    for mut one in both {
        one.end().expect_status(0, "one of two");
    }
}

#[test]
fn a_demo_folder_can_be_moved() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    once(&folder.file("site")).expect_status(0, "the first");
    std::fs::rename(folder.file("site"), folder.file("moved")).unwrap();
    once(&folder.file("moved")).expect_status(0, "the moved one");
    folder.share(); // Root's check reads what the broker can, which does not stay root.
    Program::run(
        command()
            .args(["check", "mosquitto.conf"])
            .current_dir(folder.path().join("moved")),
    )
    .expect_status(0, "as an own configuration");
}

#[test]
fn the_lines_to_copy_work_in_a_shell_and_ctrl_c_ends_it() {
    if !is_komar() || !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    let mut demo = Program::start(&mut demo(&folder.file("it's $HOME \"(here)\"")));
    demo.wait_for("Serving until Ctrl-C.").unwrap();
    let shell = |line: &str| Program::start(Command::new("sh").args(["-c", line]));
    let subscribe = demo.wait_for("mosquitto_sub ").unwrap();
    let mut subscriber = shell(&format!("stdbuf -oL {subscribe} -d -C 1 -W 10"));
    subscriber.wait_for("Subscribed (mid: ").unwrap();
    shell(&demo.wait_for("mosquitto_pub ").unwrap())
        .end()
        .expect_status(0, "mosquitto_pub");
    subscriber
        .end()
        .expect_status(0, "mosquitto_sub")
        .expect_text("PLC1/out hello", "mosquitto_sub");
    demo.signal(Signal::INT);
    demo.end()
        .expect_status(0, "Ctrl-C")
        .expect_text("Stopped.", "Ctrl-C");
}

#[test]
fn what_the_demo_cannot_do_is_said() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    folder.write("mosquitto.conf", "listener 1883\n");
    let own = folder.path().display().to_string();
    for (arguments, words) in [
        (["--dir", own.as_str()], "was not made by a demo"),
        (["--dir", ""], "the name is empty"),
        (["--dir", "a\nb"], "control character"),
        (["--reactors", "0"], "from 1 to 256"),
        (["--reactors", "100000"], "from 1 to 256"),
    ] {
        let ended = Program::run(command().arg("demo").args(arguments).current_dir(folder.path()));
        ended
            .expect_status(1, format!("{arguments:?}"))
            .expect_text(words, format!("{arguments:?}"));
        assert_eq!(ended.text.matches("Error").count(), 1, "{}", ended.text);
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing was made");
}
