//! Log lines: `TIMESTAMP: TEXT`, or JSON, to where the configuration says.

mod destination;
mod line;
mod stream;

use std::sync::{Arc, PoisonError, RwLock};

use komar_conf::{LogDestination, LogTypes, Logging};
use komar_server::event_log;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::process;
use destination::Destination;
pub(crate) use destination::TopicLog;
use line::{Clock, Line};

/// What the command line says about the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// All kinds of lines.
    pub(crate) verbose: bool,
    /// None at all.
    pub(crate) quiet: bool,
    /// A JSON object a line.
    pub(crate) json: bool,
}

/// The kinds of lines that `log_type` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Warning,
    Notice,
    Information,
    Debug,
    Subscribe,
    Unsubscribe,
}

/// The log, from the start of the broker on. Changed by a reload.
static LOG: RwLock<Option<Arc<Output>>> = RwLock::new(None);

#[derive(Clone)]
struct Output {
    places: Vec<Place>,
    /// Of syslog.
    facility: Option<u8>,
    types: LogTypes,
    /// Lines about the coming and going of clients.
    connections: bool,
    clock: Option<Arc<Clock>>,
    json: bool,
}

/// What the configuration wants, and what there is instead as long as that cannot be had.
#[derive(Clone)]
struct Place {
    wanted: LogDestination,
    destination: Arc<Destination>,
}

/// Sends what is logged from now on to where the configuration says, and logs what is wrong with that. A destination
/// that cannot be had does not keep the broker from running: its lines go to standard error.
pub(crate) fn install(logging: &Logging, wishes: Wishes) {
    // A second broker in one process has the first one's subscriber.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    let mut problems = Vec::new();
    let log = Log::open_or(logging, wishes, |wanted, problem| {
        problems.push(problem);
        Place::on_stderr(wanted)
    });
    log.apply();
    for problem in problems {
        tracing::error!("{problem}; its lines go to standard error.");
    }
}

/// A log that is open, and not yet the one that lines go to.
pub(crate) struct Log(Output);

impl Log {
    /// Opens all destinations for a reload. One that the log as it is should have, too, stays as it is if it cannot be
    /// opened, which [`reopen`] has said: passwords and revocations do not wait until the log is repaired.
    ///
    /// # Errors
    ///
    /// What is wrong with each of those that are new and cannot be had.
    pub(crate) fn open(logging: &Logging, wishes: Wishes) -> Result<Log, Vec<String>> {
        let running = current().map(|output| output.places.clone()).unwrap_or_default();
        let mut problems = Vec::new();
        let log = Log::open_or(logging, wishes, |wanted, problem| {
            let kept = running.iter().find(|place| place.wanted == *wanted).cloned();
            kept.unwrap_or_else(|| {
                problems.push(problem);
                Place::on_stderr(wanted)
            })
        });
        if problems.is_empty() {
            Ok(log)
        } else {
            Err(problems)
        }
    }

    /// Sends what is logged from now on there.
    pub(crate) fn apply(self) {
        let unusable = self.0.clock.as_ref().and_then(|clock| clock.unusable());
        let unusable = unusable.map(unusable_format);
        *LOG.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(self.0));
        tracing::callsite::rebuild_interest_cache();
        if let Some(problem) = unusable {
            tracing::warn!("{problem}.");
        }
    }

    /// Opens all destinations; `instead` is asked where that fails.
    fn open_or(
        logging: &Logging,
        wishes: Wishes,
        mut instead: impl FnMut(&LogDestination, String) -> Place,
    ) -> Log {
        let wanted = logging.destinations.iter().filter(|_| !wishes.quiet);
        let places = wanted.map(|wanted| {
            Place::open(wanted, logging.facility).unwrap_or_else(|problem| instead(wanted, problem))
        });
        let clock = || Arc::new(Clock::new(logging.timestamp_format.as_deref()));
        Log(Output {
            places: places.collect(),
            facility: logging.facility,
            types: if wishes.verbose {
                LogTypes::ALL
            } else {
                logging.types
            },
            connections: logging.connection_messages,
            clock: logging.timestamp.then(clock),
            json: wishes.json,
        })
    }
}

/// What would go wrong with this log at a start, found out without making a file.
pub(crate) fn problems(logging: &Logging) -> Vec<String> {
    let destination = |wanted: &LogDestination| match wanted {
        LogDestination::File(path) if !path.exists() => {
            let problem = process::folder_problem(path)?;
            Some(format!(
                "cannot make log_dest file '{}': {problem}",
                path.display()
            ))
        }
        wanted => Destination::open(wanted, logging.facility).err(),
    };
    let destinations = logging.destinations.iter().filter_map(destination);
    let mut problems: Vec<String> = destinations
        .map(|problem| format!("{problem}; its lines will go to standard error"))
        .collect();
    let clock = Clock::new(logging.timestamp_format.as_deref());
    problems.extend(clock.unusable().map(unusable_format));
    problems
}

fn unusable_format(format: &str) -> String {
    format!("log_timestamp_format '{format}' cannot be used; lines begin with the seconds since 1970")
}

/// Whether there is a log.
pub(crate) fn is_installed() -> bool {
    current().is_some()
}

/// Opens log files again, after they were moved away, and whatever could not be had before.
pub(crate) fn reopen() {
    let Some(output) = current() else {
        return;
    };
    let mut problems = Vec::new();
    let places = output.places.iter().map(|place| {
        Place::open(&place.wanted, output.facility).unwrap_or_else(|problem| {
            problems.push(problem);
            place.clone()
        })
    });
    let again = Output {
        places: places.collect(),
        ..Output::clone(&output)
    };
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(again));
    for problem in problems {
        tracing::error!("{problem}; its lines go where they went before.");
    }
}

/// Writes a text to standard output, like lines of the log. Says whether somebody reads it.
pub(crate) fn print(text: &str) -> bool {
    text.split_inclusive('\n').all(|line| {
        stream::stdout().write(line.as_bytes());
        stream::stdout().finish()
    })
}

/// Has what a panic says written to the log, in whatever thread it is. What panics while it logs is not helped.
pub(crate) fn note_panics() {
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !tracing::enabled!(Level::ERROR) {
            return standard(panic);
        }
        let thread = std::thread::current();
        let text = panic.to_string().replace('\n', " ");
        tracing::error!("in thread '{}': {text}", thread.name().unwrap_or("?"));
    }));
}

/// Waits until the lines that are on their way are written, if anybody reads them.
pub(crate) fn finish() {
    for stream in [stream::stdout(), stream::stderr()] {
        // There is nothing that could still be done.
        let _ = stream.finish();
    }
}

/// What `log_dest topic` publishes with; `None` while no broker runs.
pub(crate) fn publish_with(publish: Option<TopicLog>) {
    destination::publish_with(publish);
}

/// Whether error lines are seen by whoever has started the broker, or by nobody because that is what was asked for.
pub(crate) fn is_at_hand() -> bool {
    let is_stream = |place: &Place| matches!(*place.destination, Destination::Stdout | Destination::Stderr);
    current().is_some_and(|output| {
        let has_errors = output.types.has(Kind::Error);
        output.places.is_empty() || has_errors && output.places.iter().any(is_stream)
    })
}

fn current() -> Option<Arc<Output>> {
    LOG.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The subscriber's side.
struct Lines;

impl Place {
    fn open(wanted: &LogDestination, facility: Option<u8>) -> Result<Place, String> {
        Ok(Place {
            wanted: wanted.clone(),
            destination: Arc::new(Destination::open(wanted, facility)?),
        })
    }

    fn on_stderr(wanted: &LogDestination) -> Place {
        Place {
            wanted: wanted.clone(),
            destination: Arc::new(Destination::Stderr),
        }
    }
}

impl Output {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries beneath log for their own developers.
        metadata.target().starts_with("komar")
            && Kind::of(metadata).is_some_and(|kind| self.types.has(kind))
            && (self.connections || metadata.target() != event_log::CONNECTION)
            && !self.places.is_empty()
    }
}

impl Kind {
    fn of(metadata: &Metadata<'_>) -> Option<Kind> {
        Some(match metadata.target() {
            event_log::NOTICE | event_log::CONNECTION => Kind::Notice,
            event_log::DEBUG | event_log::PACKET => Kind::Debug,
            event_log::SUBSCRIBE => Kind::Subscribe,
            event_log::UNSUBSCRIBE => Kind::Unsubscribe,
            _ => match *metadata.level() {
                Level::ERROR => Kind::Error,
                Level::WARN => Kind::Warning,
                Level::INFO => Kind::Information,
                Level::DEBUG => Kind::Debug,
                Level::TRACE => return None,
            },
        })
    }

    /// Its word in `log_type`.
    fn word(self) -> &'static str {
        match self {
            Kind::Error => "error",
            Kind::Warning => "warning",
            Kind::Notice => "notice",
            Kind::Information => "information",
            Kind::Debug => "debug",
            Kind::Subscribe => "subscribe",
            Kind::Unsubscribe => "unsubscribe",
        }
    }
}

trait Has {
    fn has(&self, kind: Kind) -> bool;
}

impl Has for LogTypes {
    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Error => self.error,
            Kind::Warning => self.warning,
            Kind::Notice => self.notice,
            Kind::Information => self.information,
            Kind::Debug => self.debug,
            Kind::Subscribe => self.subscribe,
            Kind::Unsubscribe => self.unsubscribe,
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    /// Asked once for each place in the code, and again when the log changes: what nobody wants costs nothing.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if current().is_some_and(|output| output.wants(metadata)) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(output) = current().filter(|output| output.wants(event.metadata())) else {
            return;
        };
        let Some(kind) = Kind::of(event.metadata()) else {
            return;
        };
        let line = Line::new(kind, event);
        let text = if output.json {
            line.json()
        } else {
            line.text(output.clock.as_deref())
        };
        for place in &output.places {
            place.destination.write(kind, &line, &text);
        }
    }
}
