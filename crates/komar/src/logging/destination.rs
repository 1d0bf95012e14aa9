//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use komar_conf::LogDestination;

use super::Kind;
use super::line::Line;
use super::stream;

/// One of them.
pub(super) enum Destination {
    Stdout,
    Stderr,
    File(Mutex<File>),
    Syslog(Syslog),
    Topic,
}

/// Publishes a line below a topic name; must not block and not log.
pub(crate) type TopicLog = Box<dyn Fn(&str, &str) + Send + Sync>;

static TOPIC_LOG: RwLock<Option<TopicLog>> = RwLock::new(None);

pub(super) fn publish_with(publish: Option<TopicLog>) {
    *TOPIC_LOG.write().unwrap_or_else(PoisonError::into_inner) = publish;
}

impl Destination {
    pub(super) fn open(wanted: &LogDestination, facility: Option<u8>) -> Result<Destination, String> {
        Ok(match wanted {
            LogDestination::Stdout => Destination::Stdout,
            LogDestination::Stderr => Destination::Stderr,
            LogDestination::File(path) => Destination::File(Mutex::new(open_file(path)?)),
            LogDestination::Syslog => Destination::Syslog(
                Syslog::connect(Path::new(SYSLOG), facility)
                    .map_err(|error| format!("cannot reach syslog at {SYSLOG}: {error}"))?,
            ),
            LogDestination::Topic => Destination::Topic,
            other => return Err(format!("log_dest {other:?} is not known")),
        })
    }

    /// `text` is the line as it is to be written, with its time and its end.
    pub(super) fn write(&self, kind: Kind, line: &Line, text: &str) {
        // A log that cannot be written has nowhere to say so.
        let _ = match self {
            Destination::Stdout => {
                stream::stdout().write(text.as_bytes());
                Ok(())
            }
            Destination::Stderr => {
                stream::stderr().write(text.as_bytes());
                Ok(())
            }
            Destination::File(file) => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(text.as_bytes()),
            Destination::Syslog(syslog) => syslog.write(kind, line.message()),
            Destination::Topic => {
                publish(kind, text.trim_end());
                Ok(())
            }
        };
    }
}

/// Opens a file, or makes it. What is no file, a pipe for example, is an error: it could make the broker wait.
fn open_file(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // Opening a pipe that nobody reads would wait. It means nothing to a file.
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .and_then(|file| Ok((file.metadata()?.is_file(), file)));
    let problem = match opened {
        Ok((true, file)) => return Ok(file),
        Ok((false, _)) => "it is not a regular file".to_owned(),
        Err(error) if is_no_file(path) => format!("it is not a regular file ({error})"),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "cannot open log_dest file '{}': {problem}",
        path.display()
    ))
}

fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

fn publish(kind: Kind, text: &str) {
    let topic = match kind {
        Kind::Error => "$SYS/broker/log/E",
        Kind::Warning => "$SYS/broker/log/W",
        Kind::Notice => "$SYS/broker/log/N",
        Kind::Information => "$SYS/broker/log/I",
        Kind::Subscribe => "$SYS/broker/log/M/subscribe",
        Kind::Unsubscribe => "$SYS/broker/log/M/unsubscribe",
        // A line about a delivery would be delivered, and so on.
        Kind::Debug => return,
    };
    if let Some(publish) = &*TOPIC_LOG.read().unwrap_or_else(PoisonError::into_inner) {
        publish(topic, text);
    }
}

/// The system's log, by the datagrams of RFC 3164 that every daemon behind `/dev/log` reads.
pub(super) struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    facility: u8,
}

impl Syslog {
    /// `facility`: the number of LOCAL0 to LOCAL7; `None` for `daemon`.
    fn connect(path: &Path, facility: Option<u8>) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A daemon that does not read must not stop the broker.
        socket.set_nonblocking(true)?;
        Ok(Syslog {
            socket,
            path: path.to_owned(),
            facility: facility.map_or(DAEMON, |local| LOCAL0.saturating_add(local)),
        })
    }

    fn write(&self, kind: Kind, message: &str) -> io::Result<()> {
        let severity = match kind {
            Kind::Error => 3,
            Kind::Warning => 4,
            Kind::Notice | Kind::Subscribe | Kind::Unsubscribe => 5,
            Kind::Information => 6,
            Kind::Debug => 7,
        };
        let priority = u32::from(self.facility) * 8 + severity;
        let time = jiff::fmt::strtime::format("%b %e %H:%M:%S", &jiff::Zoned::now()).unwrap_or_default();
        let datagram = format!("<{priority}>{time} mosquitto[{}]: {message}", std::process::id());
        match self.socket.send(datagram.as_bytes()) {
            // The daemon was restarted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.socket.connect(&self.path)?;
                self.socket.send(datagram.as_bytes()).map(drop)
            }
            other => other.map(drop),
        }
    }
}

const SYSLOG: &str = "/dev/log";
/// Numbers of facilities.
const DAEMON: u8 = 3;
const LOCAL0: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What no test of the program can see: the daemon is the system's.
    #[test]
    fn syslog_gets_facility_severity_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 200];
        for (facility, kind, priority) in [
            (None, Kind::Notice, "<29>"),
            (Some(0), Kind::Error, "<131>"),
            (Some(7), Kind::Debug, "<191>"),
        ] {
            let syslog = Syslog::connect(&path, facility).unwrap();
            syslog.write(kind, "a line").unwrap();
            let count = daemon.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..count]).unwrap();
            let end = format!(" mosquitto[{}]: a line", std::process::id());
            assert!(text.starts_with(priority) && text.ends_with(&end), "{text}");
        }
    }

    #[test]
    fn a_daemon_that_was_restarted_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::connect(&path, None).unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        syslog.write(Kind::Notice, "a line").unwrap();
        assert!(second.recv(&mut [0; 200]).unwrap() > 0);
    }
}
