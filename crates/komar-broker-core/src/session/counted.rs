//! Bytes of one Session that count towards a total of all Sessions.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering};

/// A share of a total; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    bytes: usize,
    /// Known from the first byte on.
    total: Option<Arc<AtomicUsize>>,
}

impl Counted {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(&mut self, bytes: usize, total: &Arc<AtomicUsize>) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.total
            .get_or_insert_with(|| Arc::clone(total))
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        if let Some(total) = &self.total {
            total.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.subtract(self.bytes);
    }
}
