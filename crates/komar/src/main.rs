//! `komar`: a broker that is started like Mosquitto, and the tools around it.

// They panic when nobody reads or the disk is full; `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod certificates;
mod command;
mod daemon;
mod demo_client;
mod exposed;
mod keylog;
mod logging;
mod output;
mod process;
mod service;
mod signals;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use output::Streams;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let mut streams = Streams::standard();
    let status = run(&program, &arguments, &mut streams);
    let status = streams.finish(status);
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn run(program: &OsString, arguments: &[OsString], streams: &mut Streams) -> i32 {
    if Path::new(program)
        .file_stem()
        .is_some_and(|name| name == "mosquitto_passwd")
    {
        return command::mosquitto_passwd(arguments, streams);
    }
    if let Some((first, rest)) = arguments.split_first()
        && let Some(status) = first.to_str().and_then(|name| command::run(name, rest, streams))
    {
        return status;
    }
    match args::parse(arguments) {
        Ok(args::Request::Help) => {
            streams.output.text(args::help());
            0
        }
        Ok(args::Request::Version) => {
            streams
                .output
                .line(concat!("komar version ", env!("CARGO_PKG_VERSION")));
            0
        }
        Ok(args::Request::Broker(options)) => daemon::run(&options, streams),
        Err(error) => {
            // As Mosquitto: what is wrong on standard error, how it is called on standard output.
            streams.errors.line(format_args!("Error: {error}."));
            streams.output.text(args::help());
            3
        }
    }
}
