//! `komar check`: reads a configuration with every file that it names, and says what it means.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use komar_conf::{Disk, load};
use komar_server::setup::{self, MissingAddress};
use lexopt::prelude::*;

use crate::output::Streams;
use crate::{exposed, logging, process};

const HELP: &str = "\
komar check - read a configuration with every file that it names, and say what it means

Usage: komar check [-c] FILE

Opens certificates, keys, ACL and password files, compares keys with their certificates, and prints for each
listener what it will require of a client. Nothing is started and nothing is changed. Called by root it opens them as
the user that the broker will run as. That pid_file and log_dest can be written, Unix sockets can be made and the
machine has the addresses is looked at, too, but no port or socket is opened: whether they are free, and that user
may listen there, only a start shows.

Exit status: 0 if nothing of that keeps the broker from starting, otherwise the one that it would end with.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    match parse(arguments) {
        Ok(Some(path)) => check(&path, streams),
        Ok(None) => {
            streams.output.text(HELP);
            0
        }
        Err(error) => {
            streams.errors.text(format_args!("Error: {error}.\n\n{HELP}"));
            1
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Option<PathBuf>, String> {
    let mut path = None;
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Short('c') | Long("config-file") => {
                path = Some(PathBuf::from(parser.value().map_err(|error| error.to_string())?));
            }
            Value(value) if path.is_none() => path = Some(value.into()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    path.map(Some)
        .ok_or_else(|| "name the configuration file".to_owned())
}

fn check(path: &Path, streams: &mut Streams) -> i32 {
    let Streams {
        output,
        errors: complaints,
    } = streams;
    let loaded = match load(path, &Disk) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for warning in &errors.warnings {
                output.line(warning);
            }
            complaints.line(&errors);
            return errors.exit_status().into();
        }
    };
    for warning in &loaded.warnings {
        output.line(warning);
    }
    // As the broker does before it opens anything: a file that only root may read is of no use to it.
    match process::drop_privileges(&loaded.config.user) {
        Ok(None) => {}
        Ok(Some(remark)) => output.line(format_args!("Warning: {remark}.")),
        Err(error) => {
            complaints.line(format_args!("Error: {error}."));
            return error.exit_status();
        }
    }
    let process = process::set_umask().and_then(|()| match &loaded.config.pid_file {
        Some(path) => process::check_pid_file(path),
        None => Ok(()),
    });
    let sockets = loaded.config.listeners.iter().filter_map(|listener| {
        let path = listener.unix_path.as_deref()?;
        let problem = socket_problem(path)?;
        Some(format!("Error: cannot listen on {}: {problem}.", path.display()))
    });
    let mut sockets: Vec<String> = sockets.collect();
    for problem in logging::problems(&loaded.config.logging)
        .iter()
        .chain(&exposed::problems(Some(path), &loaded.config))
    {
        output.line(format_args!("Warning: {problem}."));
    }
    match setup::prepare(&loaded.config) {
        Ok(setup) => {
            for warning in &setup.warnings {
                output.line(format_args!("Warning: {warning}."));
            }
            for listener in &setup.listeners {
                output.line(listener);
            }
            sockets.extend(setup.missing_addresses().iter().map(missing));
            if !sockets.is_empty() {
                complaints.line(sockets.join("\n"));
            }
            if let Err(error) = &process {
                complaints.line(format_args!("Error: {error}."));
            }
            // In the order of a start.
            match process {
                _ if !sockets.is_empty() => return 1,
                Err(error) => return error.exit_status(),
                Ok(()) => {}
            }
            output.line(format_args!(
                "{}: the broker would start, if it can listen there.",
                path.display()
            ));
            0
        }
        Err(errors) => {
            for warning in errors.warnings() {
                output.line(format_args!("Warning: {warning}."));
            }
            complaints.line(&errors);
            sockets.extend(errors.missing_addresses().iter().map(missing));
            if !sockets.is_empty() {
                complaints.line(sockets.join("\n"));
            }
            errors.exit_status()
        }
    }
}

fn missing(address: &MissingAddress) -> String {
    format!("Error: {address}.")
}

/// Why a Unix socket could not be made at a path.
fn socket_problem(path: &Path) -> Option<String> {
    process::folder_problem(path).or_else(|| match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Some("there is a file at this path that is no socket".to_owned())
        }
        _ => None,
    })
}
