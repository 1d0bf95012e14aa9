//! Standard output and standard error as places for lines: whoever does not read them makes nobody wait.
//!
//! A line is written where it was made as long as there is room, which costs one look (`poll`) more than writing alone. When
//! there is no room, lines wait in memory, in their order, for a thread that writes them. When too many wait, those that come
//! are dropped until all that wait are written, and then it is said how many there were.
//!
//! A terminal does not tell how much room there is: all its lines are the thread's.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

/// One of them.
#[derive(Clone)]
pub(super) struct Stream(Arc<Shared>);

struct Shared {
    descriptor: Box<dyn AsFd + Send + Sync>,
    /// Whether a [`PIECE`] has room where there is any. Otherwise a write may wait, and nobody waits with it.
    tells_room: bool,
    /// Says how many lines were dropped. Called by the thread, with nothing locked.
    tell_dropped: fn(u64),
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: VecDeque<u8>,
    /// Lines that were dropped and not spoken of yet. While there is a thread, it is none when nothing waits.
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
            tells_room: tells_room(&*descriptor),
            descriptor,
            tell_dropped,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Writes a line with its end, now or as soon as there is room.
    pub(super) fn write(&self, line: &[u8]) {
        let mut waiting = self.0.lock();
        let in_order = waiting.bytes.is_empty();
        let is_too_much = waiting.bytes.len().saturating_add(line.len()) > MAXIMUM_WAITING;
        // One alone may be as long as it likes: it is there already.
        if !in_order && (waiting.dropped > 0 || is_too_much) {
            waiting.dropped = waiting.dropped.saturating_add(1);
        } else {
            waiting.bytes.extend(line);
        }
        // Otherwise the thread is at it.
        if self.0.tells_room && (in_order || !waiting.has_thread) {
            self.0.write_what_fits(&mut waiting);
        }
        if !waiting.bytes.is_empty() || waiting.dropped > 0 {
            self.0.changed.notify_all();
            if !waiting.has_thread {
                let shared = Arc::clone(&self.0);
                let thread = std::thread::Builder::new().name("komar-log".to_owned());
                // Without a thread, the next line tries to write what waits, if that makes nobody wait, and asks for a
                // thread again.
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
            while waiting.bytes.is_empty() && waiting.dropped == 0 {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            drop(waiting);
            self.has_room(PollTimeout::NONE);
            let mut waiting = self.lock();
            if self.tells_room {
                self.write_what_fits(&mut waiting);
            } else {
                // With nothing locked. What waits stays in its place: nobody else takes anything away.
                let piece = waiting.first_piece().to_vec();
                drop(waiting);
                let written = nix::unistd::write(&*self.descriptor, &piece);
                waiting = self.lock();
                waiting.take_away(written);
            }
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
        while !waiting.bytes.is_empty() && self.has_room(PollTimeout::ZERO) {
            let written = nix::unistd::write(&*self.descriptor, waiting.first_piece());
            waiting.take_away(written);
            if written == Err(Errno::EAGAIN) {
                return;
            }
        }
    }

    /// Whether a piece can be written without waiting for anybody, or cannot be written at all.
    fn has_room(&self, timeout: PollTimeout) -> bool {
        let mut wanted = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLOUT)];
        poll(&mut wanted, timeout).map_or_else(|error| error != Errno::EINTR, |ready| ready > 0)
    }
}

impl Waiting {
    fn first_piece(&self) -> &[u8] {
        let (first, _) = self.bytes.as_slices();
        first.get(..PIECE).unwrap_or(first)
    }

    fn take_away(&mut self, written: nix::Result<usize>) {
        match written {
            Ok(count) => drop(self.bytes.drain(..count.min(self.bytes.len()))),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A log that cannot be written has nowhere to say so.
            Err(_) => self.bytes.clear(),
        }
    }
}

/// Whether it is of a kind that takes a [`PIECE`] where it says that there is room. A terminal takes one byte of it, and
/// waits with the rest until it is read.
fn tells_room(descriptor: &dyn AsFd) -> bool {
    let kind = fstat(descriptor).map(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT);
    matches!(kind, Ok(SFlag::S_IFIFO | SFlag::S_IFSOCK | SFlag::S_IFREG))
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
    fn a_terminal_that_nobody_reads_makes_nobody_wait() {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let stream = Stream::to(Box::new(terminal.slave), |count| panic!("{count} were dropped"));
        for number in 0..LINES {
            stream.write(line(number).as_bytes());
        }
        let mut lines = BufReader::new(std::fs::File::from(terminal.master)).lines();
        for number in 0..LINES {
            assert_eq!(lines.next().unwrap().unwrap().trim_end(), line(number).trim_end());
        }
        assert!(stream.finish());
    }

    #[test]
    fn a_line_of_more_than_may_wait_is_written_alone() {
        let (reader, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |count| panic!("{count} were dropped"));
        let long = "x".repeat(MAXIMUM_WAITING + 1);
        let mut lines = BufReader::new(reader).lines();
        for line in ["first", &long, "later"] {
            stream.write(format!("{line}\n").as_bytes());
            assert!(lines.next().unwrap().unwrap() == line);
            assert!(stream.finish());
        }
    }

    /// What was dropped while no thread could be had is told by the first one, and the lines after it come.
    #[test]
    fn what_was_dropped_without_a_thread_ends_no_log() {
        static DROPPED: Mutex<Option<Sender<u64>>> = Mutex::new(None);
        let (sender, dropped) = channel();
        *DROPPED.lock().unwrap() = Some(sender);
        let (reader, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |count| {
            DROPPED.lock().unwrap().as_ref().unwrap().send(count).unwrap();
        });
        stream.0.lock().dropped = 3;
        stream.write(b"later\n");
        assert_eq!(BufReader::new(reader).lines().next().unwrap().unwrap(), "later");
        assert_eq!(dropped.recv().unwrap(), 3);
    }

    #[test]
    fn a_reader_that_has_gone_is_not_waited_for() {
        let (_, writer) = pipe().unwrap();
        let stream = Stream::to(Box::new(writer), |_| {});
        stream.write(b"a line\n");
        assert!(stream.finish());
    }
}
