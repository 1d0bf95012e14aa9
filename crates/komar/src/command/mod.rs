//! The commands besides the broker itself.

mod acl;
mod cert;
mod check;
mod demo;
mod passwd;

use std::ffi::OsString;

/// Runs the command of that name and returns its exit status; `None` if there is no such command.
pub(crate) fn run(name: &str, arguments: &[OsString]) -> Option<i32> {
    let run: fn(&[OsString]) -> i32 = match name {
        "demo" => demo::run,
        "check" => check::run,
        "passwd" => passwd::run,
        "acl" => acl::run,
        "cert" => cert::run,
        _ => return None,
    };
    Some(run(arguments))
}
