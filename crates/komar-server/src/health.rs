//! Whether the threads of a server still turn.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::mailbox::{Mail, Mailbox};

/// Asks the reactors of a server whether they still turn, for a watchdog. Cheap to clone; keeps no server running.
#[derive(Clone)]
pub struct Health {
    mailboxes: Arc<[Arc<Mailbox>]>,
}

impl Health {
    pub(crate) fn new(mailboxes: &[Arc<Mailbox>]) -> Health {
        Health {
            mailboxes: mailboxes.into(),
        }
    }

    /// Whether every reactor has answered within this time. Blocks until then. `false` for a server that has stopped.
    pub fn answers_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let (sender, receiver) = mpsc::channel();
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Mail::Echo(sender.clone()));
        }
        self.mailboxes.iter().all(|_| {
            let left = deadline.saturating_duration_since(Instant::now());
            receiver.recv_timeout(left).is_ok()
        })
    }
}

impl core::fmt::Debug for Health {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Health")
            .field("reactors", &self.mailboxes.len())
            .finish()
    }
}
