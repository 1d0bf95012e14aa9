//! The broker as a user starts it: a program, a configuration file, a folder with what that file names.

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use crate::program::{Ended, PATIENCE, Program};

/// A temporary folder with configuration, certificates and the like. Dropping it removes it.
pub(crate) struct Folder(tempfile::TempDir);

/// A broker that accepts Connections. Dropping it kills it.
pub(crate) struct Broker {
    pub(crate) program: Program,
    pub(crate) port: u16,
}

/// Over how many reactors the Connections are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reactors {
    One,
    /// Two that get Connections in turn: those of two clients that connect one after the other never share one.
    Two,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(
            tempfile::Builder::new()
                .prefix("komar-interop-")
                .tempdir()
                .unwrap(),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it, as an argument of a program.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), contents).unwrap();
    }

    /// Lets every user read the files and write new ones: a broker that root starts gives its rights up before it opens
    /// any.
    pub(crate) fn share(&self) {
        share(self.path());
    }
}

impl Broker {
    /// Starts a broker on a configuration in which `{port}` stands for its port, and waits until it accepts.
    pub(crate) fn start(folder: &Folder, configuration: &str, reactors: Reactors) -> Broker {
        folder.share();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            folder.write(
                "mosquitto.conf",
                configuration.replace("{port}", &port.to_string()),
            );
            let mut command = command();
            command
                .args(["-c", "mosquitto.conf"])
                .args(reactors.arguments())
                .current_dir(folder.path());
            let mut program = Program::start(&mut command);
            // Its own word comes first: on a port that was lost meanwhile, somebody else would accept.
            match program.wait_for(" running") {
                Ok(_) => {
                    accepts(&mut program, port);
                    return Broker { program, port };
                }
                Err(text) => assert!(
                    text.contains("ddress already in use"),
                    "it does not start:\n{text}"
                ),
            }
        }
        panic!("no port stayed free for the broker");
    }
}

impl Reactors {
    /// One reactor, and two where the broker knows the option.
    pub(crate) fn variants() -> &'static [Reactors] {
        if is_komar() {
            &[Reactors::One, Reactors::Two]
        } else {
            &[Reactors::One]
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Reactors::One => &[],
            Reactors::Two => &["--reactors", "2", "--placement", "alternate"],
        }
    }
}

/// The program under test.
pub(crate) fn command() -> Command {
    Command::new(other_broker().unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_komar"))))
}

/// Whether the program under test is komar: only then its own commands, options and words are tested.
pub(crate) fn is_komar() -> bool {
    other_broker().is_none()
}

/// Adds a user to a password file with the program's own command.
pub(crate) fn add_user(folder: &Folder, file: &str, user: &str, password: &str) -> Ended {
    let mut command = if is_komar() {
        command()
    } else {
        Command::new("mosquitto_passwd")
    };
    if is_komar() {
        command.arg("passwd");
    }
    if !folder.path().join(file).exists() {
        command.arg("-c");
    }
    Program::run(
        command
            .args(["-b", file, user, password])
            .current_dir(folder.path()),
    )
}

/// A port that nobody listens on, and that is given to no other test of this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut given = GIVEN.lock().unwrap();
        if given.get_or_insert_default().insert(port) {
            return port;
        }
    }
}

fn accepts(program: &mut Program, port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        assert!(
            !program.has_ended(),
            "it ended instead of accepting on port {port}"
        );
        assert!(
            Instant::now() < deadline,
            "it does not accept on port {port}: {error}"
        );
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

fn other_broker() -> Option<OsString> {
    std::env::var_os("KOMAR_TEST_BROKER").filter(|path| !path.is_empty())
}

fn share(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    allow(folder, 0o777);
    let paths: Vec<PathBuf> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for path in paths {
        if path.is_dir() {
            share(&path)
        } else {
            allow(&path, 0o644)
        }
    }
}

/// Ports that are tried, should other programs take them in between.
const ATTEMPTS: usize = 5;
