//! Conversations with the real program: a configuration, what clients say and hear, what the log says. One line a step.
//!
//! | line | what happens |
//! | --- | --- |
//! | `mosquitto.conf:` | a file; the lines behind it that are indented by four blanks are its contents |
//! | `folder conf.d`, `fifo FILE`, `remove FILE` | a folder is made, a named pipe; a file goes |
//! | `copy FROM TO`, `revoke writer crl.pem` | a copy; a revocation list of `ca.crt` |
//! | `as root fails 1`, `runs as nobody` | a step only for root; whom the process belongs to |
//! | `grouped none` | the process belongs to no other groups than its own |
//! | `certificates` | certificates of `ca.crt` for `broker`, `reader`, `writer`, `device`, `twice`, and of another authority for `stranger` |
//! | `password bob secret` | a user in `pwfile` |
//! | `env NAME VALUE` | for the next start |
//! | `start`, `start -v` | the broker starts and is waited for |
//! | `fails 3 check mosquitto.conf` | the program ends with this status |
//! | `also fails 1 -c mosquitto.conf` | the same for another one, while the broker runs |
//! | `signal hup`, `ends 0` | a signal; the broker has ended with this status |
//! | `says WORDS`, `then WORDS` | a line of the log holds these words; a line behind the one that was found last. ` ... ` stands for anything |
//! | `unsaid WORDS` | no line until now holds these words |
//! | `shows FILE WORDS`, `hides FILE WORDS` | a file holds these words, sooner or later; it does not hold them now |
//! | `missing FILE`, `gone FILE` | there is no such file; there is none any more, sooner or later |
//! | `move FROM TO`, `mode FILE 640`, `chmod FILE 644` | a file gets another name; its rights; others |
//! | `begin -q`, `a reaches port` | a start that is not waited for; a connects as soon as it can |
//! | `storm closed` | forty connections, all with CONNECT; at least one is closed without a word, or hears what begins with this |
//! | `kill FILE` | SIGTERM for the process of a pid file |
//! | `a opens port2 tls writer` | a connection: to another port, over TLS, with a certificate; each word may be left out. `1.2` behind it is the only version; `alpn` offers a protocol |
//! | `a opens unix FILE` | a connection to a Unix socket |
//! | `a opens websocket origin=http://b.example` | a connection that asks for WebSocket before its first packet; more words as above |
//! | `a raw PROXY UNKNOWN\\r\\n` | a sends these bytes (escapes: `\\r`, `\\n`, `\\0`, `\\xff`); it opens a connection if there is none |
//! | `a upgrades` | a asks for WebSocket now |
//! | `a hears HTTP/1.1 403` | the bytes that come next begin with these |
//! | `a speaks v3` | what comes is 3.1.1, for connections that begin with raw bytes |
//! | `a > connect v5 id=a clean` | a sends packets; the first line opens a connection |
//! | `a < pingresp`, `a < connack success ...` | this came next |
//! | `a alive` | a is answered a PINGREQ, and nothing came before |
//! | `a joins v5 user=bob` | CONNECT with the client's name as identifier, clean, and a CONNACK of success |
//! | `a closed` | the broker has closed the connection, and said nothing more |
//! | `a ignores` | what came until now does not matter |
//! | `a resumed` | the TLS session of an earlier connection went on |
//! | `a drops` | the connection breaks |
//! | `use before` | the lines of the part `== define before` |
//! | `unreachable port2` | nobody listens there |
//!
//! The same conversation can be held with another broker, to see whether it hears and says the same (see [`Answers`]).
//!
//! `{port}`, `{port2}`, `{port3}` in files and arguments are free ports, `{dir}` is the folder, `{pid}` the process,
//! `{sha256 device}` a certificate's fingerprint.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use komar_codec::{DecodeOptions, Framing, ProtocolVersion, Role, frame};
use komar_identity::IdentityPolicy;
use komar_testkit::words::{self, Said};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::broker::{Folder, add_user, command, free_port};
use crate::certificates;
use crate::program::{PATIENCE, Program};

type Outcome<T = ()> = Result<T, String>;

/// A conversation as it stands in its file.
pub(crate) struct Conversation<'a> {
    pub(crate) title: &'a str,
    /// With their numbers in the file.
    pub(crate) lines: Vec<(usize, &'a str)>,
}

/// Splits a file at its `== title` lines, takes lines of comments away, and puts in what was defined for `use`.
pub(crate) fn conversations_of(text: &str) -> Vec<Conversation<'_>> {
    let mut found: Vec<Conversation<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("==") {
            found.push(Conversation {
                title: title.trim(),
                lines: Vec::new(),
            });
        } else if !line.trim().is_empty() && !line.starts_with("//") {
            let (earlier, conversation) = match found.split_last_mut() {
                Some((last, earlier)) => (earlier, last),
                None => panic!("a title comes first: {line}"),
            };
            match line.strip_prefix("use ") {
                Some(name) => {
                    let is_meant =
                        |part: &&Conversation<'_>| part.title.strip_prefix("define ") == Some(name);
                    let part = earlier
                        .iter()
                        .find(is_meant)
                        .unwrap_or_else(|| panic!("no part: {line}"));
                    conversation.lines.extend_from_slice(&part.lines);
                }
                None => conversation.lines.push((index + 1, line.trim_end())),
            }
        }
    }
    found.retain(|conversation| !conversation.title.starts_with("define "));
    found
}

/// Plays all conversations of a file, several at a time. Fails with all that went wrong.
pub(crate) fn play_all(name: &str, text: &str) {
    let conversations = conversations_of(text);
    assert!(!conversations.is_empty(), "no conversations in {name}");
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(conversation) = conversations.get(number) else {
                        return;
                    };
                    if let Err((line, error)) = Stage::new(None).play(conversation) {
                        // Writing to a String does not fail.
                        let _ = writeln!(
                            failures.lock().unwrap(),
                            "{name}:{line}: {}\n    {error}",
                            conversation.title
                        );
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "of {} conversations these failed:\n{failures}",
        conversations.len()
    );
}

/// What clients were told in a conversation, one entry for each packet or end of a connection that was looked at.
pub(crate) struct Answers(Vec<String>);

/// Plays one conversation with komar.
pub(crate) fn answers(conversation: &Conversation<'_>) -> Result<Answers, String> {
    let mut stage = Stage::new(None);
    let played = stage.play(conversation);
    played.map_err(|(line, error)| format!("line {line}: {}\n    {error}", conversation.title))?;
    Ok(Answers(core::mem::take(&mut stage.answers)))
}

/// Plays it with another broker, and says what that does instead where they part: a packet, `closed`, `nothing` (it said
/// nothing within the patience), or what became of another step. Lines of the log are not looked at.
pub(crate) fn difference(
    conversation: &Conversation<'_>,
    broker: &'static str,
    expected: Answers,
    patience: Duration,
) -> Option<String> {
    let mut stage = Stage::new(Some(Other {
        broker,
        expected: expected.0,
        patience,
    }));
    stage.play(conversation).err().map(|(_, difference)| difference)
}

/// Another broker than komar, which is compared with it.
struct Other {
    broker: &'static str,
    expected: Vec<String>,
    patience: Duration,
}

struct Stage {
    folder: Folder,
    /// Files before ports were put into them.
    files: BTreeMap<String, String>,
    ports: [u16; 3],
    environment: Vec<(String, String)>,
    program: Option<Program>,
    /// Lines of the log up to the one that was found last.
    heard: usize,
    clients: BTreeMap<String, Client>,
    /// TLS of users.
    tls: BTreeMap<String, Arc<ClientConfig>>,
    other: Option<Other>,
    answers: Vec<String>,
}

/// Connections of a storm: they have come within seconds on any machine.
const STORM: usize = 40;

struct Client {
    wire: Wire,
    received: Vec<u8>,
    /// That of the first CONNECT, as soon as there is one.
    version: Option<ProtocolVersion>,
}

enum Wire {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    WebSocket(Box<WebSocket>),
}

/// Frames, one for each write; what is not the answer to an upgrade is read as it comes.
struct WebSocket {
    wire: Wire,
    /// Payload of the frame that is being read.
    payload: Vec<u8>,
}

impl Stage {
    fn new(other: Option<Other>) -> Stage {
        Stage {
            folder: Folder::new(),
            files: BTreeMap::new(),
            ports: std::array::from_fn(|_| free_port()),
            environment: Vec::new(),
            program: None,
            heard: 0,
            clients: BTreeMap::new(),
            tls: BTreeMap::new(),
            other,
            answers: Vec::new(),
        }
    }

    fn play(&mut self, conversation: &Conversation<'_>) -> Result<(), (usize, String)> {
        let mut lines = conversation.lines.iter().peekable();
        while let Some((number, line)) = lines.next() {
            let outcome = match line.strip_suffix(':').filter(|name| !name.contains(' ')) {
                Some(file) => {
                    let mut contents = String::new();
                    while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(INDENT)) {
                        contents.push_str(&line[INDENT.len()..]);
                        contents.push('\n');
                    }
                    self.file(file, contents);
                    Ok(())
                }
                None => self.line(line),
            };
            outcome.map_err(|error| match self.other {
                Some(_) => (*number, error),
                None => (*number, format!("{line}\n    {error}{}", self.log())),
            })?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, contents: String) {
        self.folder.write(name, self.filled(&contents));
        self.files.insert(name.to_owned(), contents);
        self.folder.share();
    }

    fn line(&mut self, line: &str) -> Outcome {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (first, rest) {
            ("says" | "then" | "unsaid" | "shows" | "hides", _) if self.other.is_some() => Ok(()),
            ("folder", name) => {
                std::fs::create_dir(self.folder.path().join(name)).map_err(text)?;
                self.folder.share();
                Ok(())
            }
            ("fifo", name) => {
                let status = Command::new("mkfifo").arg(self.folder.path().join(name)).status();
                let status = status.map_err(text)?;
                status.success().then_some(()).ok_or_else(|| status.to_string())
            }
            ("remove", name) => {
                self.files.remove(name);
                std::fs::remove_file(self.folder.path().join(name)).map_err(text)
            }
            ("copy", rest) => {
                let (from, to) = rest.split_once(' ').ok_or("two files")?;
                let path = |name: &str| self.folder.path().join(name);
                std::fs::copy(path(from), path(to)).map(drop).map_err(text)
            }
            ("revoke", rest) => {
                let (client, file) = rest.split_once(' ').ok_or("a client and a file")?;
                certificates::revoke(&self.folder, client, file);
                self.folder.share();
                Ok(())
            }
            ("as", rest) => {
                let rest = rest.strip_prefix("root ").ok_or("as root")?;
                if rustix::process::geteuid().is_root() {
                    self.line(rest)
                } else {
                    Ok(())
                }
            }
            ("runs", rest) => {
                let user = rest.strip_prefix("as ").ok_or("runs as USER")?;
                let account = nix::unistd::User::from_name(user)
                    .map_err(text)?
                    .ok_or("no such user")?;
                let status = std::fs::read_to_string(format!("/proc/{}/status", self.program()?.id()));
                let status = status.map_err(text)?;
                let ids = format!("Uid:\t{0}\t{0}\t{0}\t{0}", account.uid);
                status
                    .contains(&ids)
                    .then_some(())
                    .ok_or_else(|| format!("{ids} is not in {status}"))
            }
            ("grouped", rest) => {
                let status = std::fs::read_to_string(format!("/proc/{}/status", self.program()?.id()));
                let status = status.map_err(text)?;
                let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
                let groups = groups.ok_or("no groups")?.trim();
                (rest == "none" && groups.is_empty())
                    .then_some(())
                    .ok_or_else(|| format!("its groups are {groups}"))
            }
            ("certificates", _) => {
                certificates::write(&self.folder);
                self.tls.clear();
                self.folder.share();
                Ok(())
            }
            ("password", rest) => {
                let (user, password) = rest.split_once(' ').ok_or("a user and a password")?;
                add_user(&self.folder, "pwfile", user, password).expect_status(0, "passwd");
                self.folder.share();
                Ok(())
            }
            ("env", rest) => {
                let (name, value) = rest.split_once(' ').ok_or("a name and a value")?;
                self.environment.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            ("start", arguments) => self.start(arguments),
            ("storm", expected) => self.storm(expected),
            ("begin", arguments) => {
                self.spawn(arguments);
                Ok(())
            }
            ("move", rest) => {
                let (from, to) = rest.split_once(' ').ok_or("two files")?;
                let path = |name: &str| self.folder.path().join(name);
                std::fs::rename(path(from), path(to)).map_err(text)
            }
            ("chmod", rest) => {
                use std::os::unix::fs::PermissionsExt;
                let (name, mode) = rest.split_once(' ').ok_or("a file and its rights")?;
                let rights = u32::from_str_radix(mode, 8).map_err(text)?;
                let rights = std::fs::Permissions::from_mode(rights);
                std::fs::set_permissions(self.folder.path().join(name), rights).map_err(text)
            }
            ("mode", rest) => {
                use std::os::unix::fs::PermissionsExt;
                let (name, mode) = rest.split_once(' ').ok_or("a file and its rights")?;
                let found = std::fs::metadata(self.folder.path().join(name)).map_err(text)?;
                let found = format!("{:o}", found.permissions().mode() & 0o777);
                (found == mode)
                    .then_some(())
                    .ok_or_else(|| format!("they are {found}"))
            }
            ("kill", name) => {
                let pid = self.daemon(name).ok_or("no process of ours")?;
                rustix::process::kill_process(pid, Signal::TERM).map_err(text)
            }
            ("gone", name) => {
                let (path, deadline) = (self.folder.path().join(name), Instant::now() + PATIENCE);
                while path.exists() {
                    if Instant::now() > deadline {
                        return Err("it is there".to_owned());
                    }
                    std::thread::sleep(PAUSE);
                }
                Ok(())
            }
            ("fails", rest) => self.fails(rest),
            ("also", rest) => {
                let running = self.program.take();
                let rest = rest.strip_prefix("fails ").ok_or("also fails")?;
                let outcome = self.fails(rest);
                self.program = running;
                outcome
            }
            ("signal", name) => {
                match name {
                    "rtmin" => self.program()?.signal_number(nix::libc::SIGRTMIN()),
                    name => self.program()?.signal(signal(name)?),
                }
                Ok(())
            }
            ("ends", status) => {
                let ended = self.program.as_mut().ok_or("nothing runs")?.end();
                (ended.status.code().map(|code| code.to_string()).as_deref() == Some(status))
                    .then_some(())
                    .ok_or_else(|| format!("it ended with {}", ended.status))
            }
            ("says", words) => self.says(0, words),
            ("then", words) => self.says(self.heard, words),
            ("unsaid", words) => {
                let text = self.program()?.text();
                let found = text.lines().find(|line| line.contains(&self.filled(words)));
                found.map_or(Ok(()), |line| Err(format!("it said {line}")))
            }
            ("shows", rest) => {
                let (name, words) = rest.split_once(' ').ok_or("a file and words")?;
                self.shows(name, words)
            }
            ("hides", rest) => {
                let (name, words) = rest.split_once(' ').ok_or("a file and words")?;
                let contents = self.read(name);
                (!contents.contains(&self.filled(words)))
                    .then_some(())
                    .ok_or(contents)
            }
            ("missing", name) => {
                let there = self.folder.path().join(name).exists();
                (!there).then_some(()).ok_or_else(|| format!("{name} is there"))
            }
            ("unreachable", port) => match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port(port)?)) {
                Ok(_) => Err("it accepts a connection".to_owned()),
                Err(_) => Ok(()),
            },
            (client, rest) => self.client_line(client, rest),
        }
    }

    fn client_line(&mut self, name: &str, rest: &str) -> Outcome {
        let (verb, words) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "opens" => self.opens(name, words),
            "raw" => self.raw(name, words),
            "upgrades" => {
                let mut client = self
                    .clients
                    .remove(name)
                    .ok_or_else(|| format!("no client '{name}'"))?;
                client.wire = upgrade(client.wire, None)?;
                self.clients.insert(name.to_owned(), client);
                Ok(())
            }
            // Another broker has other words for what is not MQTT.
            "hears" if self.other.is_some() => self.client(name)?.ignores_all(),
            "hears" => self.client(name)?.hears(words),
            "ignores" => {
                self.send(name, "pingreq")?;
                while self.client(name)?.packet().map_err(text)?.name() != "pingresp" {}
                Ok(())
            }
            "reaches" => {
                let deadline = Instant::now() + PATIENCE;
                loop {
                    match self.opens(name, words) {
                        Err(error) if Instant::now() > deadline => return Err(error),
                        Err(_) => std::thread::sleep(PAUSE),
                        Ok(()) => return Ok(()),
                    }
                }
            }
            "resumed" => {
                let Wire::Tls(stream) = &self.client(name)?.wire else {
                    return Err("it does not speak TLS".to_owned());
                };
                let kind = stream.conn.handshake_kind();
                (kind == Some(rustls::HandshakeKind::Resumed))
                    .then_some(())
                    .ok_or_else(|| format!("{kind:?}"))
            }
            "drops" => {
                self.clients.remove(name);
                Ok(())
            }
            ">" => self.send(name, words),
            "<" => self.hears_packet(name, words),
            "joins" => {
                let (version, more) = words.split_once(' ').unwrap_or((words, ""));
                let keep = if more.contains("keep=") { "" } else { "keep=60" };
                self.send(name, &format!("connect {version} id={name} clean {keep} {more}"))?;
                self.hears_packet(name, "connack success ...")
            }
            "alive" => {
                self.send(name, "pingreq")?;
                self.hears_packet(name, "pingresp")
            }
            "closed" => self.hears_end(name),
            "speaks" => {
                let version = words::version(words).ok_or("no version")?;
                self.client_or_new(name)?.version = Some(version);
                Ok(())
            }
            _ => Err("no such step".to_owned()),
        }
    }

    fn hears_packet(&mut self, name: &str, expected: &str) -> Outcome {
        match (self.client(name)?.packet(), &self.other) {
            (Ok(said), None) => {
                if !said.matches(expected)? {
                    return Err(format!("there came {said}"));
                }
                self.answers.push(comparable(&said, expected));
                Ok(())
            }
            (Err(end), None) => Err(end.to_string()),
            (Ok(said), Some(_)) => self.compare(comparable(&said, expected)),
            (Err(end), Some(_)) => self.compare(end.word().to_owned()),
        }
    }

    fn hears_end(&mut self, name: &str) -> Outcome {
        match (self.client(name)?.packet(), &self.other) {
            (Err(end @ End::Closed(_)), None) => {
                self.answers.push(end.word().to_owned());
                Ok(())
            }
            (Err(End::Nothing), None) => Err("it is open".to_owned()),
            (Err(end), None) => Err(end.to_string()),
            (Ok(said), None) => Err(format!("there came {said}")),
            (Ok(said), Some(_)) => self.compare(said.to_string()),
            (Err(end), Some(_)) => self.compare(end.word().to_owned()),
        }
    }

    /// What another broker said is what komar said here.
    fn compare(&mut self, answer: String) -> Outcome {
        let expected = self.other.as_ref().map(|other| other.expected.as_slice());
        let same = expected.and_then(|expected| expected.get(self.answers.len())) == Some(&answer);
        self.answers.push(answer.clone());
        same.then_some(()).ok_or(answer)
    }

    fn start(&mut self, arguments: &str) -> Outcome {
        self.folder.share();
        for _ in 0..5 {
            self.spawn(arguments);
            match self.program()?.wait_for(" running") {
                Ok(_) => return Ok(()),
                Err(text) if text.contains("ddress already in use") => {
                    self.ports = std::array::from_fn(|_| free_port());
                    for (name, contents) in &self.files {
                        self.folder.write(name, self.filled(contents));
                    }
                }
                Err(_) => return Err("it does not start".to_owned()),
            }
        }
        Err("no port stayed free for the broker".to_owned())
    }

    fn spawn(&mut self, arguments: &str) {
        let mut command = self.command();
        if self.files.contains_key("mosquitto.conf") {
            command.args(["-c", "mosquitto.conf"]);
        }
        command.args(self.filled(arguments).split_whitespace());
        self.program = Some(Program::start(&mut command));
        self.heard = 0;
    }

    /// The process of a pid file, if it works in our folder.
    fn daemon(&self, name: &str) -> Option<rustix::process::Pid> {
        let number = self.read(name).parse().ok()?;
        let folder = std::fs::read_link(format!("/proc/{number}/cwd")).ok()?;
        let ours = self.folder.path().canonicalize().ok()?;
        (folder == ours).then_some(rustix::process::Pid::from_raw(number)?)
    }

    fn fails(&mut self, rest: &str) -> Outcome {
        let (status, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut command = self.command();
        command.args(self.filled(arguments).split_whitespace());
        let mut program = Program::start(command.stdin(std::process::Stdio::null()));
        let ended = program.end();
        self.program = Some(program);
        self.heard = 0;
        (ended.status.code().map(|code| code.to_string()).as_deref() == Some(status))
            .then_some(())
            .ok_or_else(|| format!("it ended with {}", ended.status))
    }

    fn command(&mut self) -> Command {
        let mut command = match &self.other {
            Some(other) => Command::new(other.broker),
            None => command(),
        };
        command
            .envs(self.environment.drain(..))
            .current_dir(self.folder.path());
        command
    }

    fn says(&mut self, from: usize, words: &str) -> Outcome {
        let words = self.filled(words);
        let found = self.program()?.wait_from(from, &words);
        self.heard = found.ok_or_else(|| format!("it does not say '{words}'"))?;
        Ok(())
    }

    /// Other programs' files change when they please.
    fn shows(&self, name: &str, words: &str) -> Outcome {
        let (words, deadline) = (self.filled(words), Instant::now() + PATIENCE);
        loop {
            let contents = self.read(name);
            if contents.contains(&words) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{name} is: {contents}"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|error| format!("<{error}>"))
    }

    /// More connections than a second takes, all with CONNECT; one of them at least has to come to this end.
    fn storm(&mut self, expected: &str) -> Outcome {
        let connect = words::encode(ProtocolVersion::V5, "connect v5 id= clean")?;
        let mut clients = Vec::new();
        for _ in 0..STORM {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[0])).map_err(text)?;
            stream.set_read_timeout(Some(self.patience())).map_err(text)?;
            // A connection that was closed already says so when it is read.
            let _ = stream.write_all(&connect);
            clients.push(Client {
                wire: Wire::Plain(stream),
                received: Vec::new(),
                version: Some(ProtocolVersion::V5),
            });
        }
        let mut ends = Vec::new();
        for mut client in clients {
            ends.push(match client.packet() {
                Ok(said) => said.to_string(),
                Err(end) => end.word().to_owned(),
            });
        }
        let came = ends.iter().any(|end| end.starts_with(expected));
        came.then_some(()).ok_or_else(|| format!("there came {ends:?}"))
    }

    fn opens(&mut self, name: &str, words: &str) -> Outcome {
        if let Some(file) = words.strip_prefix("unix ") {
            let stream = UnixStream::connect(self.folder.path().join(file)).map_err(text)?;
            stream.set_read_timeout(Some(self.patience())).map_err(text)?;
            self.add_client(name, Wire::Unix(stream));
            return Ok(());
        }
        let mut words = words.split_whitespace().peekable();
        let websocket = words.next_if_eq(&"websocket").is_some();
        let origin = words.next_if(|word| word.starts_with("origin="));
        let port = match words.next_if(|word| word.starts_with("port")) {
            Some(word) => self.port(word)?,
            None => self.ports[0],
        };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_read_timeout(Some(self.patience())).map_err(text)?;
        let mut wire = match words.next() {
            None => Wire::Plain(stream),
            Some("tls") => {
                let config = self.tls_config(words.next().unwrap_or("-"), words.next().unwrap_or(""))?;
                let server = ServerName::try_from("localhost").map_err(text)?;
                let session = ClientConnection::new(config, server).map_err(text)?;
                Wire::Tls(Box::new(StreamOwned::new(session, stream)))
            }
            Some(word) => return Err(format!("no word of 'opens': {word}")),
        };
        if websocket {
            wire = upgrade(wire, origin)?;
        }
        self.add_client(name, wire);
        Ok(())
    }

    fn patience(&self) -> Duration {
        self.other.as_ref().map_or(PATIENCE, |other| other.patience)
    }

    fn add_client(&mut self, name: &str, wire: Wire) {
        let client = Client {
            wire,
            received: Vec::new(),
            version: None,
        };
        self.clients.insert(name.to_owned(), client);
    }

    fn raw(&mut self, name: &str, words: &str) -> Outcome {
        let bytes = unescaped(words)?;
        self.client_or_new(name)?.wire.write_all(&bytes).map_err(text)
    }

    /// The configuration of a user, with the sessions that it could resume. The handshake happens with the first packet.
    fn tls_config(&mut self, user: &str, version: &str) -> Outcome<Arc<ClientConfig>> {
        let key = format!("{user} {version}");
        if let Some(known) = self.tls.get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.folder.file("ca.crt")).map_err(text)?;
        roots.add(authority).map_err(text)?;
        let versions = match version {
            "1.2" => &[&rustls::version::TLS12][..],
            _ => rustls::ALL_VERSIONS,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .map_err(text)?
            .with_root_certificates(roots);
        let mut config = match user {
            "-" => builder.with_no_client_auth(),
            user => {
                let certificate =
                    CertificateDer::from_pem_file(self.folder.file(&format!("{user}.crt"))).map_err(text)?;
                let key =
                    PrivateKeyDer::from_pem_file(self.folder.file(&format!("{user}.key"))).map_err(text)?;
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .map_err(text)?
            }
        };
        if version == "alpn" {
            config.alpn_protocols = vec![b"mqtt".to_vec()];
        }
        let config = Arc::new(config);
        self.tls.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn send(&mut self, name: &str, words: &str) -> Outcome {
        let is_other = self.other.is_some();
        let client = self.client_or_new(name)?;
        client.version = client.version.or_else(|| {
            let rest = words.strip_prefix("connect ")?;
            words::version(rest.split(' ').next().unwrap_or(rest))
        });
        let bytes = words::encode(client.version.unwrap_or(ProtocolVersion::V5), words)?;
        // A broker that refuses TLS may be gone before this: what it says is looked at when it is read.
        match client.wire.write_all(&bytes).and_then(|()| client.wire.flush()) {
            Err(_) if is_other || matches!(client.wire, Wire::Tls(_)) => Ok(()),
            other => other.map_err(text),
        }
    }

    fn client_or_new(&mut self, name: &str) -> Outcome<&mut Client> {
        if !self.clients.contains_key(name) {
            self.opens(name, "")?;
        }
        self.client(name)
    }

    fn client(&mut self, name: &str) -> Outcome<&mut Client> {
        self.clients
            .get_mut(name)
            .ok_or_else(|| format!("no client '{name}'"))
    }

    fn program(&self) -> Outcome<&Program> {
        self.program.as_ref().ok_or_else(|| "nothing runs".to_owned())
    }

    fn port(&self, word: &str) -> Outcome<u16> {
        match word {
            "port" => Ok(self.ports[0]),
            "port2" => Ok(self.ports[1]),
            "port3" => Ok(self.ports[2]),
            _ => Err(format!("no port: {word}")),
        }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{port}", &self.ports[0].to_string())
            .replace("{port2}", &self.ports[1].to_string())
            .replace("{port3}", &self.ports[2].to_string())
            .replace(
                "{pid}",
                &self
                    .program
                    .as_ref()
                    .map(|program| program.id().to_string())
                    .unwrap_or_default(),
            )
            .replace("{dir}", &self.folder.path().display().to_string())
            .split("{sha256 ")
            .enumerate()
            .map(|(number, part)| match part.split_once('}') {
                Some((client, rest)) if number > 0 => self.fingerprint(client) + rest,
                _ => part.to_owned(),
            })
            .collect()
    }

    fn fingerprint(&self, client: &str) -> String {
        let der = CertificateDer::from_pem_file(self.folder.file(&format!("{client}.crt"))).unwrap();
        IdentityPolicy::Fingerprint.identity(&der).unwrap()
    }

    fn log(&self) -> String {
        let text = self.program.as_ref().map(Program::text).unwrap_or_default();
        text.lines()
            .fold(String::new(), |log, line| log + "\n      | " + line)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A daemon whose conversation has failed is left to nobody.
        if let Some(pid) = self.daemon("komar.pid") {
            // It may be about to end by itself.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

impl Client {
    fn hears(&mut self, words: &str) -> Outcome {
        let expected = unescaped(words)?;
        let mut heard = core::mem::take(&mut self.received);
        while heard.len() < expected.len() {
            let mut buffer = [0; 4096];
            match self.wire.read(&mut buffer).map_err(text)? {
                0 => break,
                count => heard.extend_from_slice(&buffer[..count]),
            }
        }
        heard
            .starts_with(&expected)
            .then_some(())
            .ok_or_else(|| format!("there came {}", heard.escape_ascii()))
    }

    fn ignores_all(&mut self) -> Outcome {
        // A reset is an end as well.
        let _ = self.wire.read_to_end(&mut Vec::new());
        Ok(())
    }

    fn packet(&mut self) -> Result<Said, End> {
        let options = DecodeOptions::new(self.version.unwrap_or(ProtocolVersion::V5), Role::Client);
        let wrong = |error: &dyn std::fmt::Display| End::Wrong(error.to_string());
        loop {
            if let Framing::Complete(whole) =
                frame(&self.received, &options).map_err(|error| wrong(&error))?
            {
                let said = Said::of(whole, &options).map_err(|error| wrong(&error))?;
                let length = whole.len();
                self.received.drain(..length);
                return Ok(said);
            }
            let mut buffer = [0; 4096];
            match self.wire.read(&mut buffer) {
                Ok(0) if self.received.is_empty() => return Err(End::Closed("end of stream".to_owned())),
                Ok(0) => return Err(wrong(&"it ends within a packet")),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(End::Nothing);
                }
                // A reset, or an alert.
                Err(error) if self.received.is_empty() => return Err(End::Closed(error.to_string())),
                Err(error) => return Err(wrong(&error)),
            }
        }
    }
}

/// Why there came no packet.
#[derive(Debug)]
enum End {
    /// The connection was closed, and nothing was said before.
    Closed(String),
    Nothing,
    /// What came is no packet.
    Wrong(String),
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            End::Closed(_) => "closed",
            End::Nothing => "nothing",
            End::Wrong(_) => "no packet",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Closed(how) => write!(f, "the connection is closed: {how}"),
            End::Nothing => f.write_str("nothing came"),
            End::Wrong(error) => write!(f, "there came no packet: {error}"),
        }
    }
}

/// A packet for the comparison of two brokers: what may have any value is left out.
fn comparable(said: &Said, expected: &str) -> String {
    let any = |word: &str| {
        let mut names = expected
            .split_whitespace()
            .filter_map(|word| word.strip_suffix('?'));
        names.any(|name| word.starts_with(name))
    };
    let said = said.to_string();
    let words: Vec<&str> = said.split(' ').filter(|word| !any(word)).collect();
    words.join(" ")
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Unix(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
            Wire::WebSocket(socket) => socket.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
            Wire::WebSocket(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Unix(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
            Wire::WebSocket(socket) => socket.wire.flush(),
        }
    }
}

impl WebSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            let mut header = [0; 2];
            if self.wire.read(&mut header[..1])? == 0 {
                return Ok(0);
            }
            self.wire.read_exact(&mut header[1..])?;
            let length = match header[1] {
                126 => {
                    let mut length = [0; 2];
                    self.wire.read_exact(&mut length)?;
                    u16::from_be_bytes(length).into()
                }
                127 => return Err(io::Error::other("a long frame")),
                length => length.into(),
            };
            let mut payload = vec![0; length];
            self.wire.read_exact(&mut payload)?;
            match header[0] {
                0x82 => self.payload = payload,
                0x88 => return Ok(0),
                other => return Err(io::Error::other(format!("a frame that begins with {other:#x}"))),
            }
        }
        let count = self.payload.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.payload[..count]);
        self.payload.drain(..count);
        Ok(count)
    }

    /// A mask of zeros leaves the bytes as they are.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(100)];
        let frame = [&[0x82, 0x80 | part.len() as u8, 0, 0, 0, 0], part].concat();
        self.wire.write_all(&frame)?;
        Ok(part.len())
    }
}

/// Asks for WebSocket. If it is refused, the answer is what is read next.
fn upgrade(mut wire: Wire, origin: Option<&str>) -> Outcome<Wire> {
    let origin = origin.map_or(String::new(), |origin| {
        format!("{}\r\n", origin.replacen('=', ": ", 1))
    });
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n{origin}\r\n"
    );
    // A broker that refuses TLS is heard of later.
    if wire.write_all(request.as_bytes()).is_err() {
        return Ok(wire);
    }
    let mut status = [0; 12];
    let Ok(()) = wire.read_exact(&mut status) else {
        return Ok(wire);
    };
    let mut head = status.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte).map_err(text)?;
        head.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&head).into_owned();
    if status != *b"HTTP/1.1 101" {
        return Ok(Wire::WebSocket(Box::new(WebSocket { wire, payload: head })));
    }
    (answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"))
        .then(|| {
            Wire::WebSocket(Box::new(WebSocket {
                wire,
                payload: Vec::new(),
            }))
        })
        .ok_or(answer)
}

/// Text with `\r`, `\n`, `\0` and `\xff` in it.
fn unescaped(words: &str) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = words;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (byte, length) = match escape.chars().next() {
            Some('r') => (b'\r', 1),
            Some('n') => (b'\n', 1),
            Some('0') => (0, 1),
            Some('x') => {
                let digits = escape.get(1..3).ok_or("two digits")?;
                (u8::from_str_radix(digits, 16).map_err(text)?, 3)
            }
            _ => return Err(format!("no escape: {escape}")),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn signal(name: &str) -> Outcome<Signal> {
    Ok(match name {
        "hup" => Signal::HUP,
        "int" => Signal::INT,
        "term" => Signal::TERM,
        "pipe" => Signal::PIPE,
        "usr1" => Signal::USR1,
        "usr2" => Signal::USR2,
        _ => return Err(format!("no signal: {name}")),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const PAUSE: Duration = Duration::from_millis(3);
const INDENT: &str = "    ";
/// Conversations at a time.
const AT_ONCE: usize = 4;
