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
    pub(super) fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return line(&mut input.lock());
        }
        let terminal = match &mut self.0 {
            Some(terminal) => terminal,
            none => none.insert(Terminal::new()?),
        };
        // What is typed is text; what a program writes may be any bytes.
        Ok(Zeroizing::new(terminal.ask(prompt)?.as_bytes().to_vec()))
    }
}

/// How a password is asked for: given the prompt.
pub(super) type Ask<'a> = &'a mut dyn FnMut(&str) -> io::Result<Zeroizing<Vec<u8>>>;

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
    Ok(first)
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

/// The next line, without its end. Passwords of MQTT are bytes: §3.1.3.6.
fn line(input: &mut dyn BufRead) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room for the longest and its end, so that no copy is left behind by growing.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_PASSWORD.saturating_add(2)));
    let limit = u64::try_from(line.capacity()).unwrap_or(u64::MAX);
    if input.take(limit).read_until(b'\n', &mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "standard input has ended",
        ));
    }
    while let Some(b'\r' | b'\n') = line.last() {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_standard_input() {
        let mut input = &b"one \r\ntwo\n\nlast"[..];
        for expected in ["one ", "two", "", "last"] {
            assert_eq!(*line(&mut input).unwrap(), expected.as_bytes());
        }
        let end = line(&mut input).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        let endless = vec![b'x'; 1 << 20];
        let long = line(&mut &endless[..]).unwrap();
        assert!(
            long.len() > LONGEST_PASSWORD && long.len() < 1 << 17,
            "bounded, and refused later"
        );
        assert_eq!(*line(&mut &b"\xff\0\n"[..]).unwrap(), b"\xff\0", "any bytes");
    }
}
