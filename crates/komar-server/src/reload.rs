//! Other settings, rules and listeners while the broker runs: all at once, or none.
//!
//! 1. Everything that can fail happens first: the caller has opened all files, new listeners are bound here.
//! 2. All reactors are stopped between two turns ([`Pause`]), so that no client is judged by the old rules of one kind and
//!    the new ones of another.
//! 3. Settings, rules and listeners are swapped; nothing of that can fail.
//! 4. Each reactor looks at its Connections again before it reads from any.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use komar_broker_core::ListenerId;
use mio::Interest;
use parking_lot::{Condvar, Mutex};

use crate::listener::{ListenAddress, Listener};
use crate::listening_socket::ListeningSocket;
use crate::mailbox::Mail;
use crate::open_listener::{ListenerSettings, OpenListener};
use crate::reactor::{Listeners, Listening, listener_token};
use crate::server::{Server, ServerBuilder};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// No listener would be left.
    #[error("no listener: add one with ServerBuilder::listener")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// A listener that is to go holds the port of one that is to come.
    #[error(
        "cannot listen on {address}: this broker's own listener on {holder} holds the port until a restart"
    )]
    Held {
        /// The address.
        address: ListenAddress,
        /// What that one listens on.
        holder: ListenAddress,
    },
    /// So many listeners were opened since the start that there are no numbers for more.
    #[error("too many listeners since the start")]
    TooManyListeners,
}

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Listeners that were opened.
    pub added: Vec<ListenAddress>,
    /// Listeners that were closed, and their clients disconnected.
    pub removed: Vec<ListenAddress>,
}

/// Listeners as a reload wants them.
struct Plan {
    kept: Vec<(Arc<OpenListener>, ListenerSettings)>,
    added: Vec<(ListeningSocket, Arc<OpenListener>)>,
    removed: Vec<Arc<OpenListener>>,
    /// All that there will be, in the order of the builder.
    all: Vec<Arc<OpenListener>>,
    /// For each listener of the builder, those included that cannot be opened and need not.
    ids: Vec<ListenerId>,
    next_id: u16,
}

impl Server {
    /// Takes the settings, rules and listeners of `wanted` into force, all at once: between two turns of all reactors, with
    /// every client looked at again before it is read from. Whom logins, rights, certificates, prefixes of Client Identifiers
    /// or the listener's versions would refuse now is disconnected (keep alives are asked for at CONNECT only): 5.0 clients
    /// with 0x87 Not authorized if it is about user name, password or Client Identifier, otherwise with 0x98 Administrative
    /// action. Sessions stay. A listener is the same as before if its address is; TLS sessions are not resumed across a
    /// reload.
    ///
    /// A listener cannot be replaced by one that takes the same port on more addresses or on fewer (`127.0.0.1` and
    /// `0.0.0.0`): the new one is opened while the old one still listens, or nothing would be sure.
    ///
    /// The number of reactors, their placement, and what belongs to the password threads stay as they are.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; nothing has changed then.
    pub fn reload(&self, wanted: ServerBuilder) -> Result<Reloaded, ReloadError> {
        let mut current = self.common.listeners.lock();
        let wanted = wanted.into_reload();
        let mut plan = self.plan(&current, wanted.listeners)?;
        let access = wanted.access.of(&plan.ids);
        let reloaded = Reloaded {
            added: plan.added.iter().map(|(_, open)| open.local.clone()).collect(),
            removed: plan.removed.iter().map(|open| open.local.clone()).collect(),
        };
        let listening = Listening {
            added: core::mem::take(&mut plan.added),
            removed: plan.removed.iter().map(|open| open.id).collect(),
        };
        self.while_paused(listening, || {
            self.broker.set_config_and_access(wanted.config, access);
            self.common
                .maximum_connections
                .store(wanted.maximum_connections, Ordering::Relaxed);
            for (open, settings) in plan.kept {
                open.set(settings);
            }
            for open in &plan.removed {
                open.close();
            }
        });
        current.open = plan.all;
        current.next_id = plan.next_id;
        self.set_sys_interval(wanted.sys_interval);
        Ok(reloaded)
    }

    /// Opens what is new. Dropping the plan closes it again.
    fn plan(&self, current: &Listeners, wanted: Vec<Listener>) -> Result<Plan, ReloadError> {
        if wanted.is_empty() {
            return Err(ReloadError::NoListener);
        }
        let (mut left, mut next_id) = (current.open.clone(), current.next_id);
        let (mut kept, mut added, mut all, mut ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for listener in wanted {
            if let Some(place) = left.iter().position(|open| open.asked == listener.address) {
                let same = left.remove(place);
                ids.push(same.id);
                let settings = same.settings_of(listener);
                kept.push((Arc::clone(&same), settings));
                all.push(same);
                continue;
            }
            let address = listener.address.clone();
            if current.served.contains(&address) {
                ids.push(UNOPENED);
                continue;
            }
            if next_id == UNOPENED.0 {
                return Err(ReloadError::TooManyListeners);
            }
            let id = ListenerId(next_id);
            let opened = ListeningSocket::bind(&address).and_then(|mut socket| {
                self.common
                    .registry
                    .register(&mut socket, listener_token(id), Interest::READABLE)?;
                Ok((socket.address()?, socket))
            });
            match opened {
                Ok((local, socket)) => {
                    ids.push(id);
                    next_id += 1;
                    let new = Arc::new(OpenListener::new(id, local, listener));
                    all.push(Arc::clone(&new));
                    added.push((socket, new));
                }
                Err(error) if listener.optional && error.kind() != io::ErrorKind::AddrInUse => {
                    ids.push(UNOPENED);
                    tracing::warn!("cannot listen on {address}: {error}; the other addresses are served");
                }
                Err(source) => {
                    let own = current.open.iter().find(|open| open.local.excludes(&address));
                    return Err(match own {
                        Some(own) if source.kind() == io::ErrorKind::AddrInUse => ReloadError::Held {
                            address,
                            holder: own.local.clone(),
                        },
                        _ => ReloadError::Bind { address, source },
                    });
                }
            }
        }
        Ok(Plan {
            kept,
            added,
            removed: left,
            all,
            ids,
            next_id,
        })
    }

    /// Runs `swap` while no reactor works. The first reactor gets what listens now.
    fn while_paused(&self, listening: Listening, swap: impl FnOnce()) {
        let pause = Arc::new(Pause::default());
        // However `swap` ends, the reactors go on.
        let _go_on = GoOn(&pause);
        let mut listening = Some(listening);
        for mailbox in &self.common.mailboxes {
            mailbox.send(Mail::Pause(Arc::clone(&pause), listening.take()));
        }
        let mut state = pause.state.lock();
        loop {
            // A reactor that has ended by a panic does not answer any more.
            let alive = self.threads.iter().filter(|thread| !thread.is_finished()).count();
            if state.waiting >= alive {
                break;
            }
            pause.changed.wait_for(&mut state, LOOK_AGAIN);
        }
        drop(state);
        swap();
        self.common.reloads.fetch_add(1, Ordering::Relaxed);
    }
}

/// A moment in which no reactor works.
#[derive(Default)]
pub(crate) struct Pause {
    state: Mutex<PauseState>,
    changed: Condvar,
}

#[derive(Default)]
struct PauseState {
    /// Reactors that stand still.
    waiting: usize,
    over: bool,
}

impl Pause {
    /// Called by a reactor: returns when the pause is over.
    pub(crate) fn wait(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while !state.over {
            self.changed.wait(&mut state);
        }
    }
}

struct GoOn<'a>(&'a Pause);

impl Drop for GoOn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().over = true;
        self.0.changed.notify_all();
    }
}

/// How often is looked whether reactors that do not answer are still there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The number of all listeners that have no socket: no client ever comes from there. Not 65,535, by which clients in the
/// same process come (`LocalOptions::listener`): rules of a listener that does not exist are not theirs.
pub(crate) const UNOPENED: ListenerId = ListenerId(u16::MAX - 1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use komar_broker_core::Access;

    use super::*;

    #[test]
    fn clients_in_the_process_come_by_no_listener_without_a_socket() {
        let local = || Listener::tcp("127.0.0.1:0".parse().unwrap());
        let mut foreign = Listener::tcp("[2001:db8::1]:0".parse().unwrap());
        foreign.optional = true;
        let server = Server::builder().listener(local()).start().unwrap();
        let (sender, numbers) = channel();
        let wanted = Server::builder().listener(local()).listener(foreign);
        server
            .reload(wanted.access_by_listener(move |ids| {
                sender.send(ids.to_vec()).unwrap();
                Access::allow_all()
            }))
            .unwrap();
        // The default of `LocalOptions::listener` is 65,535.
        assert_eq!(numbers.recv().unwrap(), [0, 65_534].map(ListenerId));
    }

    /// Else reloads alone would use up all numbers there are.
    #[test]
    fn what_is_not_opened_takes_no_number() {
        let local = || Listener::tcp("127.0.0.1:0".parse().unwrap());
        // An address for documentation, which no machine has.
        let mut foreign = Listener::tcp("[2001:db8::1]:0".parse().unwrap());
        foreign.optional = true;
        let server = Server::builder().listener(local()).start().unwrap();
        for next_id in [1, 1, 2, 2] {
            let wanted = Server::builder().listener(local()).listener(foreign.clone());
            let wanted = if next_id > 1 {
                wanted.listener(local())
            } else {
                wanted
            };
            server.reload(wanted).unwrap();
            assert_eq!(server.common.listeners.lock().next_id, next_id);
        }
    }
}
