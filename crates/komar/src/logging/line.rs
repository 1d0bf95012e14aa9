//! One line of the log, as text and as JSON.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use super::Kind;

/// What is to be said.
pub(super) struct Line {
    kind: Kind,
    message: String,
    /// What the message says once more, by name; JSON only where the message is for people who watch it.
    fields: Map<String, Value>,
}

/// How the time is written.
pub(super) struct Clock(Option<String>);

impl Line {
    pub(super) fn new(kind: Kind, event: &Event<'_>) -> Line {
        let mut collected = Collected::default();
        event.record(&mut collected);
        // Events of clients have a fixed wording; others only have their fields to say what is meant.
        let says_all = event.metadata().target().starts_with("komar::");
        let mut message = collected.message;
        if !says_all {
            for (name, value) in &collected.fields {
                // Writing to a String does not fail.
                let _ = match value {
                    Value::String(text) => write!(message, " {name}={text}"),
                    value => write!(message, " {name}={value}"),
                };
            }
        }
        let prefix = match kind {
            Kind::Error => "Error: ",
            Kind::Warning => "Warning: ",
            _ => "",
        };
        message.insert_str(0, prefix);
        cut(&mut message);
        Line {
            kind,
            message,
            fields: collected.fields,
        }
    }

    /// Without the time.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// As Mosquitto writes it, with its end.
    pub(super) fn text(&self, clock: Option<&Clock>) -> String {
        match clock {
            Some(clock) => format!("{}: {}\n", clock.now(), self.message),
            None => format!("{}\n", self.message),
        }
    }

    /// One object, with its end.
    pub(super) fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".into(), jiff::Timestamp::now().to_string().into());
        object.insert("type".into(), self.kind.word().into());
        object.insert("message".into(), self.message.as_str().into());
        for (name, value) in &self.fields {
            object.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        format!("{}\n", Value::Object(object))
    }
}

impl Clock {
    /// `format` as for strftime, in local time; seconds since 1970 without.
    pub(super) fn new(format: Option<&str>) -> Clock {
        Clock(format.map(posix))
    }

    /// The format, if it cannot be used: seconds stand in its place.
    pub(super) fn unusable(&self) -> Option<&str> {
        let format = self.0.as_deref()?;
        let written = jiff::fmt::strtime::format(format, &jiff::Zoned::now());
        written.is_err().then_some(format)
    }

    fn now(&self) -> String {
        match &self.0 {
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

/// A format in which everything means what it does to strftime in the POSIX locale, which log lines are written in.
fn posix(format: &str) -> String {
    let mut written = String::with_capacity(format.len());
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            written.push(character);
            continue;
        }
        // Other calendars and other digits, of which that locale has none.
        let _ = rest.next_if(|next| matches!(next, 'E' | 'O'));
        match rest.next() {
            Some('c') => written.push_str("%a %b %e %H:%M:%S %Y"),
            Some('x') => written.push_str("%m/%d/%y"),
            Some('X') => written.push_str("%H:%M:%S"),
            Some('r') => written.push_str("%I:%M:%S %p"),
            Some(other) => written.extend(['%', other]),
            None => written.push_str("%%"),
        }
    }
    written
}

/// An event's message and its other fields.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields
                .insert(field.name().into(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.insert(field.name().into(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().into(), value.into());
    }
}

/// Names in a line are as long as a peer pleases.
fn cut(message: &mut String) {
    if message.len() > LONGEST {
        // A character has four bytes at the most.
        let mut ends = (LONGEST.saturating_sub(3)..=LONGEST).rev();
        let end = ends.find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
    }
}

/// Bytes; about what Mosquitto's lines are cut at.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_mean_what_they_do_in_the_posix_locale() {
        let time = jiff::civil::datetime(2026, 11, 6, 18, 5, 9, 0)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap();
        for (format, expected) in [
            ("%Y-%m-%dT%H:%M:%S", "2026-11-06T18:05:09"),
            ("%c", "Fri Nov  6 18:05:09 2026"),
            ("%Ec", "Fri Nov  6 18:05:09 2026"),
            ("%x %X", "11/06/26 18:05:09"),
            ("%r", "06:05:09 PM"),
            ("%Ey %Om 100%% %", "26 11 100% %"),
        ] {
            let written = jiff::fmt::strtime::format(posix(format), &time).unwrap();
            assert_eq!(written, expected, "{format}");
        }
        assert_eq!(Clock::new(Some("%c")).unusable(), None);
        assert_eq!(Clock::new(Some("%!")).unusable(), Some("%!"));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        for (character, length) in [
            ("a", 1000),
            ("\u{e4}", 1000),
            ("\u{20ac}", 999),
            ("\u{1f600}", 1000),
        ] {
            let mut text = character.repeat(2000);
            cut(&mut text);
            assert_eq!(text.len(), length, "{character}");
        }
        let mut short = "short".to_owned();
        cut(&mut short);
        assert_eq!(short, "short");
    }
}
