//! Connections above a limit.
//!
//! Somebody may have left whose end was not read yet, so they wait for a moment before they are refused: a client that comes
//! when another has gone finds its place.

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Reactor;
use crate::event_log;
use crate::open_listener::OpenListener;
use crate::transport::socket::{Peer, Socket};

/// A Connection that waits for a place.
pub(super) struct Surplus {
    socket: Socket,
    peer: Peer,
    listener: Arc<OpenListener>,
    /// It is refused then.
    until: Instant,
}

/// Which limit is reached.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    Listener,
    Server,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Listener => "max_connections exceeded.",
            Limit::Server => "max_connections exceeded (global_max_connections).",
        })
    }
}

impl Reactor {
    /// Counts one Connection more, if there is room for it.
    pub(super) fn take_place(&self, listener: &OpenListener) -> Result<(), Limit> {
        let all = self.common.loads.iter().map(|load| load.load(Ordering::Relaxed));
        if all.sum::<usize>() >= self.common.maximum_connections.load(Ordering::Relaxed) {
            return Err(Limit::Server);
        }
        // Only one reactor accepts: nobody takes the place in between.
        if !listener.settings().has_room() {
            return Err(Limit::Listener);
        }
        listener.connections.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps a Connection until there is room for it or its moment is over.
    pub(super) fn wait_for_place(
        &mut self,
        socket: Socket,
        peer: Peer,
        listener: &Arc<OpenListener>,
        limit: Limit,
    ) {
        if self.surplus.len() >= MOST_WAITING {
            return deny(&peer, limit);
        }
        self.surplus.push_back(Surplus {
            socket,
            peer,
            listener: Arc::clone(listener),
            until: Instant::now() + PATIENCE,
        });
    }

    /// Gives places to those that wait, in their order.
    pub(super) fn admit_surplus(&mut self) {
        for _ in 0..self.surplus.len() {
            let Some(next) = self.surplus.pop_front() else {
                break;
            };
            if next.listener.is_closed() {
                continue;
            }
            match self.take_place(&next.listener) {
                Ok(()) => self.place(next.socket, next.peer, &next.listener),
                Err(limit) if next.until <= Instant::now() => deny(&next.peer, limit),
                Err(_) => self.surplus.push_back(next),
            }
        }
    }

    /// When the first of those that wait is refused.
    pub(super) fn surplus_until(&self) -> Option<Instant> {
        self.surplus.front().map(|first| first.until)
    }
}

fn deny(peer: &Peer, limit: Limit) {
    tracing::info!(target: event_log::NOTICE, "Client connection from {peer} denied: {limit}");
}

/// So many wait at once on one reactor; who comes then is refused at once.
const MOST_WAITING: usize = 64;

/// Longer than a reactor takes for a turn unless it has far too much to do.
const PATIENCE: Duration = Duration::from_millis(20);
