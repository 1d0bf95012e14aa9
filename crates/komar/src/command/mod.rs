//! The commands besides the broker itself.

mod acl;
mod cert;
mod check;
mod demo;
mod options;
mod passwd;

use std::ffi::OsString;

use crate::output::Streams;

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
