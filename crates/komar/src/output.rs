//! Standard output and standard error: written without a panic when nobody reads them or the disk is full.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// The two streams of a command.
pub(crate) struct Streams {
    /// What was asked for.
    pub(crate) output: Output,
    /// What is wrong, for people. There is nothing left to do about an error that cannot be shown.
    pub(crate) errors: Output,
}

/// A stream that takes everything. What comes after its first failure is dropped: a command does its work to the end, and
/// its exit status says how that went, whoever still reads.
pub(crate) struct Output {
    stream: Box<dyn Write>,
    failure: Option<io::Error>,
}

impl Streams {
    pub(crate) fn standard() -> Streams {
        Streams {
            output: Output::to(Box::new(io::stdout())),
            errors: Output::to(Box::new(io::stderr())),
        }
    }

    /// The exit status of a command that ends with `status`: another one if its output is lost. A reader that has gone
    /// (`komar check .. | head -1`) has read what it wanted.
    pub(crate) fn finish(mut self, status: i32) -> i32 {
        match self.output.finish() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.errors
                    .line(format_args!("Error: cannot write to standard output: {error}."));
                if status == 0 { 1 } else { status }
            }
            _ => status,
        }
    }
}

impl Output {
    fn to(stream: Box<dyn Write>) -> Output {
        Output {
            stream,
            failure: None,
        }
    }

    /// Writes a text as it is.
    pub(crate) fn text(&mut self, text: impl Display) {
        self.attempt(|stream| write!(stream, "{text}"));
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.attempt(|stream| writeln!(stream, "{line}"));
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.attempt(|stream| stream.write_all(bytes));
    }

    /// Whether what is written now is seen by nobody.
    pub(crate) fn is_lost(&self) -> bool {
        self.failure.is_some()
    }

    fn finish(&mut self) -> Option<io::Error> {
        self.attempt(|stream| stream.flush());
        self.failure.take()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut *self.stream).err();
        }
    }
}

/// For commands that write to any stream; does not fail.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|stream| stream.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(|stream| stream.flush());
        Ok(())
    }
}

/// What a command ends with, and what it writes to standard output and to standard error.
#[cfg(test)]
pub(crate) fn collected(run: impl FnOnce(&mut Streams) -> i32) -> (i32, String, String) {
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (output, errors) = (Shared::default(), Shared::default());
    let mut streams = Streams {
        output: Output::to(Box::new(output.clone())),
        errors: Output::to(Box::new(errors.clone())),
    };
    let status = run(&mut streams);
    let text = |shared: &Shared| {
        let bytes = shared.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    };
    (status, text(&output), text(&errors))
}
