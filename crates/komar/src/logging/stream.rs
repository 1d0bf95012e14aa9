//! Standard output and standard error as places for lines: whoever does not read them makes nobody wait.
//!
//! A line is written where it was made as long as there is room, which costs one look (`poll`) more than writing alone. When
//! there is no room, lines wait in memory, in their order, for a thread that writes them. When too many wait, those that come
//! are dropped until all that wait are written, and then it is said how many there were.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// One of them.
#[derive(Clone)]
pub(super) struct Stream(Arc<Shared>);

struct Shared {
    descriptor: Box<dyn AsFd + Send + Sync>,
    /// Says how many lines were dropped. Called by the thread, with nothing locked.
    tell_dropped: fn(u64),
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: VecDeque<u8>,
    /// Lines that were dropped since there was room last.
    dropped: u64,
    has_thread: bool,
}

pub(super) fn stdout() -> &'static Stream {
    static STDOUT: LazyLock<Stream> = LazyLock::new(|| Stream::to(Box::new(io::stdout()), tell_dropped));
    &STDOUT
}

pub(super) fn stderr() -> &'static Stream {
    static STDERR: LazyLock<Stream> = LazyLock::new(|| Stream::to(Box::new(io::stderr()), tell_dropped));
    &STDERR
}

fn tell_dropped(count: u64) {
    tracing::error!("{count} lines of the log are missing here: nobody read them in time.");
}

impl Stream {
    fn to(descriptor: Box<dyn AsFd + Send + Sync>, tell_dropped: fn(u64)) -> Stream {
        Stream(Arc::new(Shared {
            descriptor,
            tell_dropped,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Writes a line with its end, now or as soon as there is room.
    pub(super) fn write(&self, line: &[u8]) {
        let mut waiting = self.0.lock();
        if waiting.dropped > 0 || waiting.bytes.len().saturating_add(line.len()) > MAXIMUM_WAITING {
            waiting.dropped = waiting.dropped.saturating_add(1);
            return;
        }
        let in_order = waiting.bytes.is_empty();
        waiting.bytes.extend(line);
        // Otherwise the thread is at it.
        if in_order || !waiting.has_thread {
            self.0.write_what_fits(&mut waiting);
        }
        if !waiting.bytes.is_empty() {
            self.0.changed.notify_all();
            if !waiting.has_thread {
                let shared = Arc::clone(&self.0);
                let thread = std::thread::Builder::new().name("komar-log".to_owned());
                // Without a thread, the next line tries to write what waits.
                waiting.has_thread = thread.spawn(move || shared.run()).is_ok();
            }
        }
    }

    /// Waits until everything is written, but not for ever. Says whether it is.
    pub(super) fn finish(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = self.0.lock();
        while !waiting.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let changed = self.0.changed.wait_timeout(waiting, left);
            waiting = changed.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes what waits when there is room. Ends with the process.
    fn run(&self) {
        loop {
            let mut waiting = self.lock();
            while waiting.bytes.is_empty() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            drop(waiting);
            self.has_room(PollTimeout::NONE);
            let mut waiting = self.lock();
            self.write_what_fits(&mut waiting);
            if waiting.bytes.is_empty() {
                let dropped = core::mem::take(&mut waiting.dropped);
                drop(waiting);
                self.changed.notify_all();
                if dropped > 0 {
                    (self.tell_dropped)(dropped);
                }
            }
        }
    }

    fn write_what_fits(&self, waiting: &mut Waiting) {
        // Both streams may be one pipe: what one has seen to be free, the other must not take.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (first, _) = waiting.bytes.as_slices();
            let piece = first.get(..PIECE).unwrap_or(first);
            if piece.is_empty() || !self.has_room(PollTimeout::ZERO) {
                return;
            }
            match nix::unistd::write(&*self.descriptor, piece) {
                Ok(count) => drop(waiting.bytes.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // A log that cannot be written has nowhere to say so.
                Err(_) => waiting.bytes.clear(),
            }
        }
    }

    /// Whether a piece can be written without waiting for anybody, or cannot be written at all.
    fn has_room(&self, timeout: PollTimeout) -> bool {
        let mut wanted = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLOUT)];
        poll(&mut wanted, timeout).map_or_else(|error| error != Errno::EINTR, |ready| ready > 0)
    }
}

/// Bytes of one `write`: a pipe that can be written to at all has room for so many.
const PIECE: usize = 4096;
/// Bytes that wait at the most.
const MAXIMUM_WAITING: usize = 1 << 20;
/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// More than a pipe holds, and less than may wait.
    const LINES: usize = 5000;

    fn line(number: usize) -> String {
        format!("line {number} {}\n", "x".repeat(100))
    }

    #[test]
    fn lines_that_nobody_reads_wait_in_their_order() {
        let (mut reader, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |count| panic!("{count} were dropped"));
        for number in 0..LINES {
            stream.write(line(number).as_bytes());
        }
        assert!(!stream.0.lock().bytes.is_empty());
        let expected: String = (0..LINES).map(line).collect();
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read == expected.as_bytes());
        assert!(stream.finish());
        assert!(stream.0.lock().bytes.is_empty());
    }

    #[test]
    fn lines_that_are_too_many_are_dropped_and_counted() {
        static DROPPED: Mutex<Option<Sender<u64>>> = Mutex::new(None);
        let (sender, dropped) = channel();
        *DROPPED.lock().unwrap() = Some(sender);
        let (reader, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |count| {
            DROPPED.lock().unwrap().as_ref().unwrap().send(count).unwrap();
        });
        let total = 3 * LINES;
        for number in 0..total {
            stream.write(line(number).as_bytes());
        }
        let kept = total - usize::try_from(stream.0.lock().dropped).unwrap();
        assert!(kept < total);
        let mut lines = BufReader::new(reader).lines();
        for number in 0..kept {
            assert_eq!(lines.next().unwrap().unwrap(), line(number).trim_end());
        }
        assert_eq!(dropped.recv().unwrap(), u64::try_from(total - kept).unwrap());
        // From now on there is room again.
        stream.write(b"last\n");
        assert_eq!(lines.next().unwrap().unwrap(), "last");
    }

    #[test]
    fn a_reader_that_has_gone_is_not_waited_for() {
        let (_, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |_| {});
        stream.write(b"a line\n");
        assert!(stream.finish());
    }
}
