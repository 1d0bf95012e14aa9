//! The command line of the broker, as Mosquitto has it.

use std::ffi::OsString;
use std::path::PathBuf;

use komar_server::Placement;
use lexopt::prelude::*;

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
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
    /// Read and check the configuration, and end.
    pub(crate) test_config: bool,
    pub(crate) reactors: usize,
    pub(crate) placement: Placement,
}

pub(crate) const HELP: &str = "\
komar - an MQTT broker that takes Eclipse Mosquitto's place

Usage: komar [-c FILE] [-p PORT]... [-d] [-v | -q] [--test-config]
       komar demo | check | passwd | acl | cert ...   (each with --help)

  -c, --config-file FILE  read this mosquitto.conf
  -p, --port PORT         listen on this port of the loopback interface, when the file defines no listener;
                          may be given ten times
  -d, --daemon            go to the background
  -v, --verbose           log everything, whatever the file says
  -q, --quiet             log nothing
      --test-config       check the configuration file and end
      --reactors N        threads that serve connections (default: 1)
      --placement WORD    how connections are spread over them: pack (default) or alternate
  -h, --help              print this
      --version           print the version

Without a configuration file it listens on port 1883 of the loopback interface and lets everybody in.
";

pub(crate) fn parse(arguments: &[OsString]) -> Result<Request, String> {
    let mut options = Options {
        config: None,
        ports: Vec::new(),
        background: false,
        verbose: false,
        quiet: false,
        test_config: false,
        reactors: 1,
        placement: Placement::Pack,
    };
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('c') | Long("config-file") => options.config = Some(parser.value().map_err(text)?.into()),
            Short('p') | Long("port") => {
                let port = parser
                    .value()
                    .and_then(|value| value.parse::<u16>())
                    .map_err(text)?;
                if port == 0 || options.ports.len() == MAXIMUM_PORTS {
                    return Err(format!(
                        "-p takes a port from 1 to 65535, at most {MAXIMUM_PORTS} times"
                    ));
                }
                options.ports.push(port);
            }
            Short('d') | Long("daemon") => options.background = true,
            Short('v') | Long("verbose") => options.verbose = true,
            Short('q') | Long("quiet") => options.quiet = true,
            Long("test-config") => options.test_config = true,
            Long("reactors") => options.reactors = reactors(&mut parser)?,
            Long("placement") => {
                options.placement = match parser.value().map_err(text)?.to_str() {
                    Some("pack") => Placement::Pack,
                    Some("alternate") => Placement::Alternate,
                    _ => return Err("--placement takes 'pack' or 'alternate'".to_owned()),
                }
            }
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("version") => return Ok(Request::Version),
            Value(word) => {
                return Err(format!(
                    "unknown command '{}': try demo, check, passwd, acl, cert or --help",
                    word.display()
                ));
            }
            other => return Err(text(other.unexpected())),
        }
    }
    if options.test_config && options.config.is_none() {
        return Err("--test-config needs -c FILE".to_owned());
    }
    Ok(Request::Broker(options))
}

/// The value of `--reactors`.
pub(crate) fn reactors(parser: &mut lexopt::Parser) -> Result<usize, String> {
    let number = parser.value().and_then(|value| value.parse()).map_err(text)?;
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
        let Ok(Request::Broker(options)) = parsed("-v -c mosquitto.conf -p 1883 -p 1884") else {
            panic!("it is a broker's command line")
        };
        assert_eq!(options.config, Some(PathBuf::from("mosquitto.conf")));
        assert_eq!(options.ports, [1883, 1884]);
        assert!(options.verbose && !options.quiet);
        assert_eq!(parsed("--version"), Ok(Request::Version));
        assert_eq!(parsed("-h"), Ok(Request::Help));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("-V", "-V"),
            ("-p 70000", "70000"),
            ("-p 0", "-p"),
            ("--test-config", "-c FILE"),
            ("brocker", "'brocker'"),
            ("--placement here", "--placement"),
            ("--reactors 0", "--reactors"),
            ("-c", "-c"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
