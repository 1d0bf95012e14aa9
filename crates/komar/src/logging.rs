//! Log lines: `TIMESTAMP: TEXT`, to where the configuration says.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::SystemTime;

use komar_conf::{LogDestination, LogTypes, Logging};
use komar_server::event_log;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Sends what is logged from now on to where the configuration says.
pub(crate) fn install(logging: &Logging, verbose: bool, quiet: bool) -> io::Result<()> {
    let mut destinations = Vec::new();
    let mut unsupported = Vec::new();
    for destination in logging.destinations.iter().filter(|_| !quiet) {
        match destination {
            LogDestination::Stdout => destinations.push(Destination::Stdout),
            LogDestination::Stderr => destinations.push(Destination::Stderr),
            LogDestination::File(path) => {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|error| {
                        io::Error::new(error.kind(), format!("log file '{}': {error}", path.display()))
                    })?;
                destinations.push(Destination::File(Mutex::new(file)));
            }
            other => unsupported.push(format!("{other:?}").to_lowercase()),
        }
    }
    if destinations.is_empty() && !unsupported.is_empty() {
        destinations.push(Destination::Stderr);
    }
    let types = if verbose { LogTypes::ALL } else { logging.types };
    let format = logging.timestamp_format.clone();
    let lines = Lines {
        destinations,
        types,
        connections: logging.connection_messages,
        timestamp: logging.timestamp,
        format,
    };
    // A second broker in one process keeps the first one's log.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    for word in unsupported {
        tracing::warn!(
            "log_dest {word} is not available yet; its lines go to the other destinations or to stderr."
        );
    }
    Ok(())
}

enum Destination {
    Stdout,
    Stderr,
    File(Mutex<File>),
}

struct Lines {
    destinations: Vec<Destination>,
    types: LogTypes,
    connections: bool,
    timestamp: bool,
    format: Option<String>,
}

impl Lines {
    /// Whether lines of this kind are wanted; Mosquitto's words on tracing's levels and targets.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        match metadata.target() {
            event_log::NOTICE => self.types.notice && self.connections,
            event_log::DEBUG => self.types.debug,
            _ => match *metadata.level() {
                Level::ERROR => self.types.error,
                Level::WARN => self.types.warning,
                Level::INFO => self.types.information,
                Level::DEBUG => self.types.debug,
                Level::TRACE => false,
            },
        }
    }

    fn time(&self) -> String {
        match &self.format {
            None => {
                let since = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                since.as_secs().to_string()
            }
            Some(format) => jiff::fmt::strtime::format(format, &jiff::Zoned::now())
                .unwrap_or_else(|_| jiff::Timestamp::now().as_second().to_string()),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // Libraries beneath log for their own developers.
        if !metadata.target().starts_with("komar") || !self.wants(metadata) {
            return;
        }
        let mut line = if self.timestamp {
            format!("{}: ", self.time())
        } else {
            String::new()
        };
        match *metadata.level() {
            Level::ERROR => line.push_str("Error: "),
            Level::WARN => line.push_str("Warning: "),
            _ => {}
        }
        event.record(&mut Text(&mut line));
        line.push('\n');
        for destination in &self.destinations {
            // A log that cannot be written has nowhere to say so.
            let _ = match destination {
                Destination::Stdout => io::stdout().write_all(line.as_bytes()),
                Destination::Stderr => io::stderr().write_all(line.as_bytes()),
                Destination::File(file) => match file.lock() {
                    Ok(mut file) => file.write_all(line.as_bytes()),
                    Err(_) => Ok(()),
                },
            };
        }
    }
}

/// Collects an event's message, and its other fields behind it.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
