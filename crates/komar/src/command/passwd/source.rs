//! Where a password comes from that is not on the command line.

use std::io::{self, BufRead, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use zeroize::Zeroizing;

use super::{Failure, LONGEST_PASSWORD};

/// Standard input: a terminal, where passwords are asked for, or lines.
#[derive(Default)]
pub(super) struct Source(Option<Terminal>);

impl Source {
    pub(super) fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<String>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return line(&mut input.lock());
        }
        let terminal = match &mut self.0 {
            Some(terminal) => terminal,
            none => none.insert(Terminal::new()?),
        };
        terminal.ask(prompt)
    }
}

/// How a password is asked for: given the prompt.
pub(super) type Ask<'a> = &'a mut dyn FnMut(&str) -> io::Result<Zeroizing<String>>;

/// The same twice.
pub(super) fn ask_twice(ask: Ask<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut typed = |prompt: &str| {
        ask(prompt).map_err(|error| {
            Failure::wrong(format_args!(
                "cannot read the password: {error}; it is asked for twice, or the first two lines of standard input"
            ))
        })
    };
    let first = typed("Password: ")?;
    if *first != *typed("The same again: ")? {
        return Err(Failure::new(2, "the two passwords differ"));
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

/// Asks at the terminal. While it does not show what is typed, an interrupt has to wait until it shows that again.
struct Terminal {
    interrupted: Arc<AtomicBool>,
    /// Nothing is being asked: an interrupt ends the program at once.
    idle: Arc<AtomicBool>,
}

impl Terminal {
    fn new() -> io::Result<Terminal> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let idle = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&idle))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;
        Ok(Terminal { interrupted, idle })
    }

    fn ask(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.idle.store(false, Ordering::SeqCst);
        // With Ctrl-C it raises SIGINT, and leaves the terminal as it was only if it returns after that.
        let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
        self.idle.store(true, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            signal_hook::low_level::emulate_default_handler(SIGINT)?;
        }
        typed
    }
}

/// The next line, without its end.
fn line(input: &mut dyn BufRead) -> io::Result<Zeroizing<String>> {
    // With room for the longest and its end, so that no copy is left behind by growing.
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD.saturating_add(2)));
    let limit = u64::try_from(line.capacity()).unwrap_or(u64::MAX);
    if input.take(limit).read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "standard input has ended",
        ));
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_standard_input() {
        let mut input = &b"one \r\ntwo\n\nlast"[..];
        for expected in ["one ", "two", "", "last"] {
            assert_eq!(*line(&mut input).unwrap(), expected);
        }
        let end = line(&mut input).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        let endless = vec![b'x'; 1 << 20];
        let long = line(&mut &endless[..]).unwrap();
        assert!(
            long.len() > LONGEST_PASSWORD && long.len() < 1 << 17,
            "bounded, and refused later"
        );
        assert!(line(&mut &b"\xff\n"[..]).is_err(), "not UTF-8");
    }
}
