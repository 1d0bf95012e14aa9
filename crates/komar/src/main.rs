//! `komar`: a broker that is started like Mosquitto, and the tools around it.

mod args;
mod certificates;
mod command;
mod daemon;
mod demo_client;
mod logging;
mod process;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let status = run(&program, &arguments);
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn run(program: &OsString, arguments: &[OsString]) -> i32 {
    if Path::new(program)
        .file_stem()
        .is_some_and(|name| name == "mosquitto_passwd")
    {
        return command::run("passwd", arguments).unwrap_or(1);
    }
    if let Some((first, rest)) = arguments.split_first()
        && let Some(status) = first.to_str().and_then(|name| command::run(name, rest))
    {
        return status;
    }
    match args::parse(arguments) {
        Ok(args::Request::Help) => {
            print!("{}", args::HELP);
            0
        }
        Ok(args::Request::Version) => {
            println!("komar version {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Ok(args::Request::Broker(options)) => daemon::run(&options),
        Err(error) => {
            // As Mosquitto: what is wrong on standard error, how it is called on standard output.
            eprintln!("Error: {error}.");
            print!("{}", args::HELP);
            3
        }
    }
}
