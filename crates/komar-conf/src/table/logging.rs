//! Where log lines go, and which.

use std::path::PathBuf;

use crate::arguments::Apply::{self, Boolean, Integer, Special, Text};
use crate::arguments::{Arguments, Problem};
use crate::directive::Support::NoEffect;
use crate::directive::{Action, Directive, Group, Keyword};
use crate::draft::Draft;
use crate::{ErrorKind, LogDestination, LogTypes};

pub(super) fn rows() -> Vec<Directive> {
    vec![
        row(
            "log_dest",
            "stderr",
            "where log lines go",
            Special("none | stdout | stderr | syslog | topic | file PATH", destination),
        )
        .accumulates(),
        row(
            "log_type",
            "error, warning, notice, information",
            "which log lines are written; debug has one for each packet",
            Special(
                "none | all | error | warning | notice | information | debug | subscribe | unsubscribe | websockets | internal",
                log_type,
            ),
        )
        .accumulates(),
        row("log_timestamp", "true", "lines begin with the time", Boolean(|draft, value| {
            draft.logging().timestamp = value;
        })),
        row(
            "log_timestamp_format",
            "",
            "form of the time, as for strftime; seconds since 1970 if not given",
            Text(|draft, value| draft.logging().timestamp_format = Some(value)),
        )
        .once(),
        row("log_facility", "", "syslog facility LOCAL0 to LOCAL7; 'daemon' if not given", Integer(0, 7, |draft, value| {
            draft.logging().facility = u8::try_from(value).ok();
        })),
        row("connection_messages", "true", "a line for each connect and disconnect", Boolean(|draft, value| {
            draft.logging().connection_messages = value;
        })),
        row("websockets_log_level", "0", "log level of an external library", Integer(super::MINIMUM, super::MAXIMUM, |_, _| {}))
            .support(NoEffect("no external library serves WebSockets")),
    ]
}

const NO_SUCH_LINES: &str = "there are no lines of this kind";

const DESTINATIONS: &[Keyword] = &[
    Keyword::full("none"),
    Keyword::full("stdout"),
    Keyword::full("stderr"),
    Keyword::full("syslog"),
    Keyword::full("topic"),
    Keyword::full("file"),
    Keyword::with("dlt", NoEffect("there is no DLT daemon to write to")),
    Keyword::with("android", NoEffect("this is not Android")),
];

const TYPES: &[Keyword] = &[
    Keyword::full("none"),
    Keyword::full("all"),
    Keyword::full("error"),
    Keyword::full("warning"),
    Keyword::full("notice"),
    Keyword::full("information"),
    Keyword::full("debug"),
    Keyword::full("subscribe"),
    Keyword::full("unsubscribe"),
    Keyword::with("websockets", NoEffect(NO_SUCH_LINES)),
    Keyword::with("internal", NoEffect(NO_SUCH_LINES)),
];

fn row(name: &'static str, default: &'static str, summary: &'static str, apply: Apply<Draft>) -> Directive {
    Directive::row(Group::Logging, name, default, summary, Action::Global(apply))
}

fn destination(draft: &mut Draft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let word = arguments.keyword(DESTINATIONS)?;
    let file = if word == "file" {
        Some(PathBuf::from(arguments.text()?))
    } else {
        None
    };
    if !std::mem::replace(&mut draft.log_dest_given, true) {
        draft.logging().destinations.clear();
    }
    let destinations = &mut draft.logging().destinations;
    let destination = match (word, file) {
        ("none", _) => {
            destinations.clear();
            return Ok(());
        }
        ("stdout", _) => LogDestination::Stdout,
        ("stderr", _) => LogDestination::Stderr,
        ("syslog", _) => LogDestination::Syslog,
        ("topic", _) => LogDestination::Topic,
        (_, Some(path)) => LogDestination::File(path),
        _ => return Ok(()),
    };
    let is_file = matches!(destination, LogDestination::File(_));
    if is_file
        && destinations
            .iter()
            .any(|other| matches!(other, LogDestination::File(_)))
    {
        return Err(arguments.at_name(ErrorKind::OnlyOnce {
            name: "log_dest file",
        }));
    }
    if !destinations.contains(&destination) {
        destinations.push(destination);
    }
    Ok(())
}

fn log_type(draft: &mut Draft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let word = arguments.keyword(TYPES)?;
    if !std::mem::replace(&mut draft.log_type_given, true) {
        draft.logging().types = LogTypes::NONE;
    }
    let types = &mut draft.logging().types;
    match word {
        "none" => *types = LogTypes::NONE,
        "all" => *types = LogTypes::ALL,
        "error" => types.error = true,
        "warning" => types.warning = true,
        "notice" => types.notice = true,
        "information" => types.information = true,
        "debug" => types.debug = true,
        "subscribe" => types.subscribe = true,
        "unsubscribe" => types.unsubscribe = true,
        "websockets" => types.websockets = true,
        _ => types.internal = true,
    }
    Ok(())
}
