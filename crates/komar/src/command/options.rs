//! `komar options`: what a configuration file may say, from the table that the parser reads.

use std::ffi::OsString;

use komar_conf::{Directive, Support, directive, directives};

use crate::output::{Output, Streams};

const HELP: &str = "\
komar options - what a configuration file may say

Usage: komar options [NAME...]

Prints one line for each option, or all that there is to say about those that are named.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    let Streams { output, errors } = streams;
    let names: Vec<String> = arguments
        .iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if names.iter().any(|name| name == "-h" || name == "--help") {
        output.text(HELP);
        return 0;
    }
    if names.is_empty() {
        for row in directives() {
            output.line(format_args!("{:<32} {}", row.name, row.summary));
        }
        return 0;
    }
    let mut status = 0;
    for name in names {
        match directive(&name) {
            Some(row) => print(row, output),
            None => {
                errors.line(format_args!("Error: there is no option '{name}'."));
                status = 1;
            }
        }
    }
    status
}

fn print(row: &Directive, output: &mut Output) {
    output.line(format_args!("{}: {}", row.name, row.summary));
    match row.support {
        Support::NoEffect(reason) => output.line(format_args!("  no effect:  {reason}")),
        Support::NotYet(reason) => output.line(format_args!(
            "  not yet:    the broker does not start with it: {reason}"
        )),
        Support::Refused(reason) => output.line(format_args!("  refused:    {reason}")),
        _ => {}
    }
    output.line(format_args!("  value:      {}", row.value_type()));
    if !row.default.is_empty() {
        output.line(format_args!("  default:    {}", row.default));
    }
    output.line(format_args!("  belongs to: {}", row.scope()));
    output.line(format_args!("  reload:     {}", row.reload));
    if !row.aliases.is_empty() {
        output.line(format_args!("  also:       {}", row.aliases.join(", ")));
    }
}
