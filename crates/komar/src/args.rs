//! The command line of the broker, as Mosquitto has it: a table that parsing and `--help` read.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use komar_server::Placement;
use lexopt::prelude::*;

use crate::logging::Wishes;

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Help,
    Version,
    Broker(Options),
}

/// How the broker is to run.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) config: Option<PathBuf>,
    /// Ports of the local-only mode.
    pub(crate) ports: Vec<u16>,
    /// Go to the background.
    pub(crate) background: bool,
    pub(crate) log: Wishes,
    /// Read and check the configuration, and end.
    pub(crate) test_config: bool,
    /// Where keys of TLS connections are written.
    pub(crate) tls_keylog: Option<PathBuf>,
    pub(crate) reactors: usize,
    pub(crate) placement: Placement,
}

/// One option.
struct Row {
    short: Option<char>,
    long: &'static str,
    /// What stands behind it, for `--help`; empty for nothing.
    value: &'static str,
    /// Lines for `--help`.
    help: &'static str,
    action: Action,
}

enum Action {
    Switch(fn(&mut Options)),
    Value(fn(&mut Options, OsString) -> Result<(), String>),
    /// The rest of the command line does not matter.
    Ask(Request),
}

const ROWS: &[Row] = &[
    Row {
        short: Some('c'),
        long: "config-file",
        value: "FILE",
        help: "read this mosquitto.conf",
        action: Action::Value(|options, value| {
            options.config = Some(value.into());
            Ok(())
        }),
    },
    Row {
        short: Some('p'),
        long: "port",
        value: "PORT",
        help: "listen on this port of the loopback interface, when the file defines no listener;\nmay be given ten times",
        action: Action::Value(port),
    },
    Row {
        short: Some('d'),
        long: "daemon",
        value: "",
        help: "go to the background",
        action: Action::Switch(|options| options.background = true),
    },
    Row {
        short: Some('v'),
        long: "verbose",
        value: "",
        help: "log everything, whatever the file says",
        action: Action::Switch(|options| options.log.verbose = true),
    },
    Row {
        short: Some('q'),
        long: "quiet",
        value: "",
        help: "log nothing",
        action: Action::Switch(|options| options.log.quiet = true),
    },
    Row {
        short: None,
        long: "test-config",
        value: "",
        help: "check the configuration file and end; 'komar check' looks into the files that it names too",
        action: Action::Switch(|options| options.test_config = true),
    },
    Row {
        short: None,
        long: "tls-keylog",
        value: "FILE",
        help: "write the keys of TLS connections, for Wireshark",
        action: Action::Value(|options, value| {
            options.tls_keylog = Some(value.into());
            Ok(())
        }),
    },
    Row {
        short: None,
        long: "log-format",
        value: "WORD",
        help: "how log lines are written: text (default) or json, an object a line",
        action: Action::Value(|options, value| {
            options.log.json = match value.to_str() {
                Some("text") => false,
                Some("json") => true,
                _ => return Err("--log-format takes 'text' or 'json'".to_owned()),
            };
            Ok(())
        }),
    },
    Row {
        short: None,
        long: "reactors",
        value: "N",
        help: "threads that serve connections (default: one a processor; idle ones cost nothing)",
        action: Action::Value(|options, value| {
            options.reactors = number_of_reactors(&value)?;
            Ok(())
        }),
    },
    Row {
        short: None,
        long: "placement",
        value: "WORD",
        help: "how connections are spread over them: pack (default) or alternate",
        action: Action::Value(|options, value| {
            options.placement = match value.to_str() {
                Some("pack") => Placement::Pack,
                Some("alternate") => Placement::Alternate,
                // Not in the help: for tests of moving.
                Some("restless") => Placement::Restless,
                _ => return Err("--placement takes 'pack' or 'alternate'".to_owned()),
            };
            Ok(())
        }),
    },
    Row {
        short: Some('h'),
        long: "help",
        value: "",
        help: "print this",
        action: Action::Ask(Request::Help),
    },
    Row {
        short: None,
        long: "version",
        value: "",
        help: "print the version",
        action: Action::Ask(Request::Version),
    },
];

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "komar - an MQTT broker that takes Eclipse Mosquitto's place\n\n\
         Usage: komar [-c FILE] [-p PORT]... [-d] [-v | -q] [--test-config]\n       \
         komar demo | check | options | passwd | acl | cert ...   (each with --help)\n\n\
         What Mosquitto says of itself holds here too:\n\
         Usage: mosquitto [-c config_file] [-d] [-h] [-p port] [-v]\n\n",
    );
    for row in ROWS {
        let short = row
            .short
            .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let name = format!("{short}--{} {}", row.long, row.value);
        for (number, line) in row.help.lines().enumerate() {
            let name = if number == 0 { name.trim_end() } else { "" };
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {name:<23} {line}");
        }
    }
    text.push_str(
        "\nWithout a configuration file it listens on port 1883 of the loopback interface and lets everybody in.\n\
         'komar options' lists what a configuration file may say.\n",
    );
    text
}

pub(crate) fn parse(arguments: &[OsString]) -> Result<Request, String> {
    let mut options = Options {
        config: None,
        ports: Vec::new(),
        background: false,
        log: Wishes::default(),
        test_config: false,
        tls_keylog: None,
        reactors: one_a_processor(),
        placement: Placement::Pack,
    };
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next().map_err(text)? {
        let row = match &argument {
            Short(letter) => ROWS.iter().find(|row| row.short == Some(*letter)),
            Long(name) => ROWS.iter().find(|row| row.long == *name),
            Value(word) => {
                return Err(format!(
                    "unknown command '{}': try demo, check, options, passwd, acl, cert or --help",
                    word.display()
                ));
            }
        };
        let given = match &argument {
            Short(letter) => format!("-{letter}"),
            Long(name) => format!("--{name}"),
            Value(word) => word.display().to_string(),
        };
        match row.map(|row| &row.action) {
            Some(Action::Switch(apply)) => apply(&mut options),
            Some(Action::Value(apply)) => {
                let value = parser.value().map_err(|_| no_value(&given, row))?;
                apply(&mut options, value)?;
            }
            Some(Action::Ask(Request::Help)) => return Ok(Request::Help),
            Some(Action::Ask(_)) => return Ok(Request::Version),
            None => return Err(format!("Unknown option '{given}'")),
        }
    }
    if options.test_config && options.config.is_none() {
        return Err("--test-config needs -c FILE".to_owned());
    }
    Ok(Request::Broker(options))
}

/// In Mosquitto's words, as what else is wrong with its options.
fn no_value(given: &str, row: Option<&Row>) -> String {
    let what = match row.map(|row| row.long) {
        Some("port") => "port",
        Some("config-file") => "config file",
        Some("tls-keylog") => "file",
        _ => "value",
    };
    format!("{given} argument given, but no {what} specified")
}

fn port(options: &mut Options, value: OsString) -> Result<(), String> {
    let port = match value.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err(format!("Invalid port specified ({})", value.display())),
    };
    if options.ports.len() == MAXIMUM_PORTS {
        return Err(format!("-p may be given {MAXIMUM_PORTS} times at most"));
    }
    options.ports.push(port);
    Ok(())
}

/// Connections stay on the first one until that is busy.
fn one_a_processor() -> usize {
    std::thread::available_parallelism().map_or(1, |number| number.get().min(MAXIMUM_REACTORS))
}

/// The value of `--reactors`.
pub(crate) fn reactors(parser: &mut lexopt::Parser) -> Result<usize, String> {
    number_of_reactors(&parser.value().map_err(text)?)
}

fn number_of_reactors(value: &OsString) -> Result<usize, String> {
    let number = value.parse().map_err(text)?;
    if (1..=MAXIMUM_REACTORS).contains(&number) {
        Ok(number)
    } else {
        Err(format!("--reactors takes a number from 1 to {MAXIMUM_REACTORS}"))
    }
}

fn text(error: lexopt::Error) -> String {
    error.to_string()
}

const MAXIMUM_PORTS: usize = 10;
const MAXIMUM_REACTORS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_of_mosquitto_is_understood() {
        let Ok(Request::Broker(options)) = parsed("-v -c mosquitto.conf -p 1883 -p 1884 --daemon") else {
            panic!("it is a broker's command line")
        };
        assert_eq!(options.config, Some(PathBuf::from("mosquitto.conf")));
        assert_eq!(options.ports, [1883, 1884]);
        assert!(options.log.verbose && !options.log.quiet && options.background);
        assert_eq!(parsed("--version"), Ok(Request::Version));
        assert_eq!(parsed("-h"), Ok(Request::Help));
    }

    #[test]
    fn help_has_every_option() {
        let text = help();
        for row in ROWS {
            assert!(text.contains(&format!("--{}", row.long)), "{}", row.long);
            assert!(!row.help.is_empty(), "{}", row.long);
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("-V", "-V"),
            ("-p 70000", "70000"),
            ("-p 0", "Invalid port specified (0)"),
            ("--test-config", "-c FILE"),
            ("brocker", "'brocker'"),
            ("--placement here", "--placement"),
            ("--reactors 0", "--reactors"),
            ("--log-format xml", "--log-format"),
            ("-c", "-c argument given, but no config file specified"),
            ("--unknown", "Unknown option '--unknown'"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
