//! `komar demo`: the classic two-client set-up of an industrial site, made, run and shown.

mod exchange;
mod site;

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use komar_conf::{Config, Disk};
use komar_server::{Placement, Server, StartError, setup};
use lexopt::prelude::*;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args;
use crate::output::{Output, Streams};
use site::{CONFIGURATION, PASSWORD_CONFIGURATION, PLC, SCADA, Site};

const HELP: &str = "\
komar demo - make a small MQTT site, run it, and show that it does what it should

Usage: komar demo [--dir FOLDER] [--once] [--reactors N]

Makes a folder (default: ./komar-demo) with a certificate authority, certificates for the broker and two clients, a
mosquitto.conf, an ACL file and a password file; starts the broker on it; lets clients of its own connect over TLS
and shows what they may and may not do; then serves until Ctrl-C. A folder that a demo has made is used again, and may be moved.

      --dir FOLDER    where the files are
      --once          end after the exchange; exit status 0 only if everything held
      --reactors N    run on N threads, with publisher and subscriber on different ones (default: 1)
";

struct Options {
    folder: PathBuf,
    once: bool,
    reactors: usize,
}

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            streams.output.text(HELP);
            return 0;
        }
        Err(error) => {
            streams.errors.text(format_args!("Error: {error}.\n\n{HELP}"));
            return 1;
        }
    };
    match demonstrate(&options, &mut streams.output) {
        Ok(()) => 0,
        Err(error) => {
            streams.errors.line(error);
            1
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Option<Options>, String> {
    let mut options = Options {
        folder: PathBuf::from("komar-demo"),
        once: false,
        reactors: 1,
    };
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("dir") => options.folder = parser.value().map_err(text)?.into(),
            Long("once") => options.once = true,
            Long("reactors") => options.reactors = args::reactors(&mut parser)?,
            other => return Err(text(other.unexpected())),
        }
    }
    Ok(Some(options))
}

/// What went wrong, as it is shown.
#[derive(Debug)]
struct Problem(String);

impl Problem {
    fn new(what: impl Display) -> Problem {
        Problem(format!("Error: {what}."))
    }

    /// An error, with what was being done.
    fn of(what: impl Display, error: impl Display) -> Problem {
        Problem::new(format_args!("{what}: {error}"))
    }

    /// All that is wrong in a file, which says so itself.
    fn list(errors: impl Display) -> Problem {
        Problem(errors.to_string())
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn demonstrate(options: &Options, output: &mut Output) -> Result<(), Problem> {
    let site = Site::at(&options.folder)?;
    output.line(format_args!("1. The files are in {}:", site.folder().display()));
    output.line(
        "   caMQTT.crt, broker.crt, myPLC.crt, myD2000.crt with their keys, mosquitto.conf, myacl.conf, pwfile\n",
    );
    // Where the names in the configurations count from.
    std::env::set_current_dir(site.folder())
        .map_err(|error| Problem::of(format!("cannot go to {}", site.folder().display()), error))?;

    let (server, address) = start(CONFIGURATION, options, output)?;
    output.line(format_args!(
        "2. The broker runs on {address}. A client needs a certificate of caMQTT; its CN becomes the user name.\n"
    ));
    exchange::show_certificates(&site, address, output)
        .map_err(|error| Problem::of("the exchange with certificates failed", error))?;

    let (second, password_address) = start(PASSWORD_CONFIGURATION, options, output)?;
    exchange::show_passwords(&site, password_address, output)
        .map_err(|error| Problem::of("the exchange with passwords failed", error))?;
    second.stop();

    if options.once {
        server.stop();
        output.line("Everything held.");
        return Ok(());
    }
    serve(server, site.folder(), address, output)
}

/// Says how to reach the broker, and waits for Ctrl-C.
fn serve(server: Server, folder: &Path, address: SocketAddr, output: &mut Output) -> Result<(), Problem> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).map_err(|error| Problem::of("cannot watch for Ctrl-C", error))?;
    output.line("4. Try it with Mosquitto's own clients, in two terminals:\n");
    output.line(format_args!(
        "mosquitto_sub {} -t PLC1/out -v\n",
        connection(folder, address, SCADA)
    ));
    output.line(format_args!(
        "mosquitto_pub {} -t PLC1/out -m hello\n",
        connection(folder, address, PLC)
    ));
    output.line("Serving until Ctrl-C.");
    // Without a reader nobody knows that it serves, or how to reach it.
    if !output.is_lost() {
        signals.forever().next();
    }
    server.stop();
    output.line("\nStopped.");
    Ok(())
}

/// Arguments of Mosquitto's clients, for a shell.
fn connection(folder: &Path, address: SocketAddr, user: &str) -> String {
    let file = |name: String| quoted(&folder.join(name).display().to_string());
    format!(
        "-h {} -p {} --cafile {} --cert {} --key {}",
        address.ip(),
        address.port(),
        file("caMQTT.crt".to_owned()),
        file(format!("{user}.crt")),
        file(format!("{user}.key"))
    )
}

/// A word that a POSIX shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Starts the broker on a configuration file; on another port if that one is taken.
fn start(file: &str, options: &Options, output: &mut Output) -> Result<(Server, SocketAddr), Problem> {
    let mut config = komar_conf::load(Path::new(file), &Disk)
        .map_err(Problem::list)?
        .config;
    for listener in &mut config.listeners {
        listener.address = Some(Ipv4Addr::LOCALHOST.to_string());
    }
    let server = match start_on(&config, options)? {
        Err(StartError::Bind { source, address }) if source.kind() == ErrorKind::AddrInUse => {
            output.line(format_args!(
                "   {address} is taken; a free port is used instead."
            ));
            config.listeners.iter_mut().for_each(|listener| listener.port = 0);
            start_on(&config, options)?
        }
        started => started,
    };
    let server = server.map_err(|error| Problem::of("the broker does not start", error))?;
    let address = server.local_addresses().first().copied();
    let address = address.ok_or_else(|| Problem::new(format_args!("{file} has no listener for TCP")))?;
    Ok((server, address))
}

fn start_on(config: &Config, options: &Options) -> Result<Result<Server, StartError>, Problem> {
    let setup = setup::prepare(config).map_err(Problem::list)?;
    let placement = if options.reactors > 1 {
        Placement::Alternate
    } else {
        Placement::Pack
    };
    let builder = setup.builder.reactors(options.reactors).placement(placement);
    Ok(builder.start())
}
