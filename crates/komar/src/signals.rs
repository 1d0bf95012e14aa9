//! What the operator asks of a running broker, by signals.

use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::iterator::backend::Handle;

/// One wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// INT, TERM: end in an orderly way.
    Stop,
    /// HUP: read the configuration and its files again.
    Reload,
    /// RTMIN: open the log file again, which was moved away.
    ReopenLog,
    /// USR1: write the database now.
    Save,
    /// USR2: print all subscriptions.
    ShowSubscriptions,
    /// Nobody's: the broker is broken, and has to end.
    Fail,
}

/// The wishes as they come. PIPE is ignored, as in every Rust program.
pub(crate) struct Wishes(Signals);

impl Wishes {
    /// From now on signals do not end the process any more, but wait to be asked for.
    pub(crate) fn watch() -> std::io::Result<Wishes> {
        let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, nix::libc::SIGRTMIN()];
        Signals::new(signals).map(Wishes)
    }

    /// Closing it is [`Wish::Fail`].
    pub(crate) fn failure(&self) -> Handle {
        self.0.handle()
    }

    /// Waits for the next one.
    pub(crate) fn next(&mut self) -> Wish {
        loop {
            match self.0.forever().next() {
                Some(SIGHUP) => return Wish::Reload,
                Some(SIGUSR1) => return Wish::Save,
                Some(SIGUSR2) => return Wish::ShowSubscriptions,
                Some(SIGINT | SIGTERM) => return Wish::Stop,
                None => return Wish::Fail,
                Some(other) if other == nix::libc::SIGRTMIN() => return Wish::ReopenLog,
                Some(_) => {}
            }
        }
    }
}

/// Signals that come so soon after the first are the same wish: who signals a process and its group, as timeout(1)
/// does, sends it twice.
pub(crate) const SAME_WISH: Duration = Duration::from_secs(1);

/// Calls `end` at the next INT or TERM that comes when `same_wish` is over, from a thread of its own.
pub(crate) fn at_next_stop(same_wish: Duration, end: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // Not those of `Wishes`, which a failure has closed.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = std::thread::Builder::new().name("komar-stop".to_owned());
    let counts_from = Instant::now() + same_wish;
    thread.spawn(move || {
        if signals.forever().any(|_| Instant::now() >= counts_from) {
            end();
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, as all of a process hear the same signals.
    #[test]
    fn a_failure_is_heard_of_while_nobody_signals_and_a_stop_after_it() {
        let mut wishes = Wishes::watch().unwrap();
        let failure = wishes.failure();
        let thread = std::thread::spawn(move || failure.close());
        assert_eq!(wishes.next(), Wish::Fail);
        thread.join().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        at_next_stop(Duration::ZERO, move || tell.send(()).unwrap()).unwrap();
        assert!(told.try_recv().is_err());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        told.recv().unwrap();
    }
}
