//! What a service manager such as systemd sees and gives: notifications, the watchdog, sockets, few descriptors.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::broker::{Folder, command, free_port, is_komar};
use crate::program::{PATIENCE, Program};

const ANYBODY: &str = "allow_anonymous true\n";

#[test]
fn it_says_that_it_is_ready_alive_and_stopping() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    let configuration = format!("listener {} 127.0.0.1\n{ANYBODY}", free_port());
    folder.write("mosquitto.conf", configuration);
    folder.share();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    anybody_may_write(&path);
    let mut program = Program::start(
        command()
            .args(["-c", "mosquitto.conf", "--reactors", "2"])
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "40000"),
    );
    let next = || {
        let mut buffer = [0; 1000];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    let next_other = || {
        std::iter::repeat_with(next)
            .find(|said| said != "WATCHDOG=1")
            .unwrap()
    };
    program.signal(Signal::HUP);
    let reloading = next_other();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(next_other(), "READY=1");
    program.signal(Signal::TERM);
    assert_eq!(next_other(), "STOPPING=1");
    program.end().expect_status(0, "stop");
}

#[test]
fn a_second_signal_ends_a_stop_that_hangs() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    let configuration = format!(
        "listener {} 127.0.0.1\npid_file komar.pid\n{ANYBODY}",
        free_port()
    );
    folder.write("mosquitto.conf", configuration);
    folder.share();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    anybody_may_write(&path);
    let mut program = Program::start(
        command()
            .args(["-v", "-c", "mosquitto.conf"])
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", &path),
    );
    socket.recv(&mut [0; 100]).unwrap();
    // A service manager that does not read: the broker waits until it can be told.
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"x", &path).is_ok() {}
    program.signal(Signal::TERM);
    program.wait_for("ends the broker at once").unwrap();
    // Signals that come together are one wish.
    std::thread::sleep(Duration::from_millis(1200));
    program.signal(Signal::INT);
    program
        .end()
        .expect_status(1, "a second signal")
        .expect_text("Error: Told to end while it ends", "a second signal");
    assert!(!folder.path().join("komar.pid").exists());
}

#[test]
fn a_signal_that_comes_twice_is_one() {
    let folder = Folder::new();
    folder.write(
        "mosquitto.conf",
        format!("listener {} 127.0.0.1\n{ANYBODY}", free_port()),
    );
    folder.share();
    let mut program = Program::start(
        command()
            .args(["-v", "-c", "mosquitto.conf"])
            .current_dir(folder.path()),
    );
    program.wait_for(" running").unwrap();
    for _ in 0..20 {
        program.signal(Signal::TERM);
    }
    program.end().expect_status(0, "twenty signals");
}

#[test]
fn it_takes_the_sockets_that_it_is_given() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path().join("given.sock");
    let given = UnixListener::bind(&path).unwrap();
    folder.write(
        "mosquitto.conf",
        format!("listener 0 {}\n{ANYBODY}", path.display()),
    );
    folder.share();
    let komar = command();
    let mut shell = Command::new("sh");
    // The socket comes as standard input, and becomes the first descriptor that a service manager gives.
    shell
        .args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" -c mosquitto.conf",
        ])
        .arg(komar.get_program())
        .current_dir(folder.path())
        .stdin(Stdio::from(OwnedFd::from(given.try_clone().unwrap())));
    let mut program = Program::start(&mut shell);
    program.wait_for(" running").unwrap();
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    joins(&mut client);
    program.signal(Signal::TERM);
    program.end().expect_status(0, "stop");
    // It belongs to the service manager, and waits for the next start.
    assert!(path.exists());
}

#[test]
fn without_descriptors_clients_wait_and_one_line_says_so() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    folder.write("mosquitto.conf", format!("listener 0 few.sock\n{ANYBODY}"));
    folder.share();
    let komar = command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 40; exec \"$0\" -c mosquitto.conf"])
        .arg(komar.get_program())
        .current_dir(folder.path());
    let program = Program::start(&mut shell);
    program.wait_for(" running").unwrap();
    let connect = || std::os::unix::net::UnixStream::connect(folder.path().join("few.sock")).unwrap();
    let many: Vec<_> = (0..60).map(|_| connect()).collect();
    program.wait_for("cannot accept connections: ").unwrap();
    let mut last = connect();
    drop(many);
    joins(&mut last);
    let text = program.text();
    assert_eq!(text.matches("cannot accept connections").count(), 1, "{text}");
}

fn joins(client: &mut std::os::unix::net::UnixStream) {
    use std::io::{Read, Write};
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")
        .unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x20\x02\x00\x00");
}

/// The broker may have given its rights up.
fn anybody_may_write(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
}
