//! The commands besides the broker itself.

mod acl;
mod cert;
mod check;
mod demo;
mod options;
mod passwd;

use std::ffi::OsString;
use std::fmt::Display;

use crate::output::{Output, Streams};

/// Runs the command of that name and returns its exit status; `None` if there is no such command.
pub(crate) fn run(name: &str, arguments: &[OsString], streams: &mut Streams) -> Option<i32> {
    let run: fn(&[OsString], &mut Streams) -> i32 = match name {
        "demo" => demo::run,
        "check" => check::run,
        "options" => options::run,
        "passwd" => passwd::run,
        "acl" => acl::run,
        "cert" => cert::run,
        _ => return None,
    };
    Some(run(arguments, streams))
}

/// What the program is when it is called by that name.
pub(crate) fn mosquitto_passwd(arguments: &[OsString], streams: &mut Streams) -> i32 {
    passwd::run_as("mosquitto_passwd", arguments, streams)
}

/// Why a command did not do its work, and what it ends with.
struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    fn new(status: i32, message: impl Display) -> Failure {
        Failure {
            status,
            message: message.to_string(),
        }
    }

    /// Status 1.
    fn wrong(message: impl Display) -> Failure {
        Failure::new(1, message)
    }
}

/// The exit status of a command; says what is wrong.
fn end(result: Result<i32, Failure>, errors: &mut Output) -> i32 {
    result.unwrap_or_else(|failure| {
        errors.line(format_args!("Error: {}.", failure.message));
        failure.status
    })
}
