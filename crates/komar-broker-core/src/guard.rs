//! Code of the embedder may panic; that costs the Link it was called for, and nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Code of the embedder panicked. Its message went where the panic hook of the process sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls code of the embedder; what fails here for once ends the Connection. v3 [MQTT-4.8.0-2]. No lock of the broker is held meanwhile, and what it was given is dropped if it panics, so
/// that nothing of the broker's is left half done.
pub(crate) fn guarded<R>(what: &'static str, call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        tracing::error!("{what} of the embedder panicked");
        // What the panic carries is the embedder's, too, and its end may panic in turn.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            core::mem::forget(payload);
        }
        Panicked
    })
}
