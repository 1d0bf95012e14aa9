//! What is counted: plain numbers of each worker, shown to others once a turn and summed when somebody asks.

use std::sync::Arc;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// What one worker has counted. Only it writes, so that counting is an addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
    pub(crate) publish_received: u64,
    pub(crate) publish_bytes_received: u64,
    pub(crate) publish_sent: u64,
    pub(crate) publish_bytes_sent: u64,
    pub(crate) connects_received: u64,
    pub(crate) connections_opened: u64,
    pub(crate) connections_closed: u64,
}

/// The counts of one worker as of the end of its last turn.
#[derive(Default)]
pub(crate) struct Tally {
    counts: [AtomicU64; COUNTS],
}

/// All workers that there ever were.
#[derive(Default)]
pub(crate) struct Tallies(Mutex<Vec<Arc<Tally>>>);

impl Counts {
    fn fields(&mut self) -> [&mut u64; COUNTS] {
        [
            &mut self.bytes_received,
            &mut self.bytes_sent,
            &mut self.packets_received,
            &mut self.packets_sent,
            &mut self.publish_received,
            &mut self.publish_bytes_received,
            &mut self.publish_sent,
            &mut self.publish_bytes_sent,
            &mut self.connects_received,
            &mut self.connections_opened,
            &mut self.connections_closed,
        ]
    }
}

impl Tally {
    pub(crate) fn show(&self, mut counts: Counts) {
        for (shown, counted) in self.counts.iter().zip(counts.fields()) {
            shown.store(*counted, Ordering::Relaxed);
        }
    }
}

impl Tallies {
    pub(crate) fn add(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.0.lock().push(Arc::clone(&tally));
        tally
    }

    pub(crate) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for tally in self.0.lock().iter() {
            for (sum, shown) in sum.fields().into_iter().zip(&tally.counts) {
                *sum = sum.wrapping_add(shown.load(Ordering::Relaxed));
            }
        }
        sum
    }
}

const COUNTS: usize = 11;
