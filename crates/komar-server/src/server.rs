//! Starting and stopping a broker.

use core::sync::atomic::AtomicUsize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use komar_broker_core::{Access, Broker, BrokerConfig, Hooks, ListenerId, Outbox, Worker};
use komar_passwd::PasswordVerdict;
use mio::{Poll, Token};

use crate::authenticate::PasswordPool;
use crate::connection::Address;
use crate::health::Health;
use crate::inherited::{Found, InheritedSockets};
use crate::listener::{ListenAddress, Listener};
use crate::listening_socket::ListeningSocket;
use crate::mailbox::{Mail, Mailbox};
use crate::reactor::{Common, OpenListener, Reactor, WAKER, now};

/// How new Connections are spread over the reactors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// All on the first one. The default, until Connections can move to idle reactors.
    #[default]
    Pack,
    /// One after the other in turn.
    Alternate,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No listener was given.
    #[error("no listener: add one with ServerBuilder::listener")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; another broker may be running there")]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// A thread or its means of waiting could not be made.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[from] io::Error),
    /// The system gives no random bytes.
    #[error("the system's source of randomness does not answer: {0}")]
    Entropy(String),
}

/// Settings of a server that is to be started.
pub struct ServerBuilder {
    config: BrokerConfig,
    access: Access,
    hooks: Hooks,
    listeners: Vec<Listener>,
    reactors: usize,
    placement: Placement,
    password_threads: usize,
    maximum_connections: usize,
    inherited: InheritedSockets,
}

/// A running broker. Dropping it stops the broker.
pub struct Server {
    broker: Broker,
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Settings to start from: no listener yet, everybody may do everything, one reactor.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            config: BrokerConfig::default(),
            access: Access::allow_all(),
            hooks: Hooks::default(),
            listeners: Vec::new(),
            reactors: 1,
            placement: Placement::default(),
            password_threads: 1,
            maximum_connections: usize::MAX,
            inherited: InheritedSockets::default(),
        }
    }

    /// The TCP addresses that are listened on, in the order of the listeners, with the ports that were chosen.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listen_addresses().filter_map(ListenAddress::tcp).collect()
    }

    /// All that is listened on, in the order of the listeners, with the ports that were chosen.
    pub fn listen_addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.common.listeners.iter().map(|listener| &listener.local)
    }

    /// To ask from a watchdog whether the reactors still turn.
    pub fn health(&self) -> Health {
        Health::new(&self.common.mailboxes)
    }

    /// The broker behind it: figures, and [`Broker::set_access`] for other rules.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Stops in order: Will Messages are published, Connections closed, threads ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // One after the other: those that still run deliver the Will Messages of those that have ended.
        for (thread, mailbox) in self.threads.drain(..).zip(&self.common.mailboxes) {
            mailbox.send(Mail::Stop);
            if thread.join().is_err() {
                tracing::error!("a reactor ended by a panic");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl ServerBuilder {
    #[cfg(all(test, feature = "conf"))]
    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Settings that hold for the whole broker.
    #[must_use]
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Who is let in, and who may do what. Default: everybody, everything.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Code of yours that runs where things happen. Default: none.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Adds a listener. Its policy gets the number of the listener as its [`ListenerId`].
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Threads that serve Connections. Default: 1.
    #[must_use]
    pub fn reactors(mut self, reactors: usize) -> Self {
        self.reactors = reactors.max(1);
        self
    }

    /// How Connections are spread over the reactors. Default: [`Placement::Pack`].
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Connections at a time, over all listeners; more are closed at once. Default: no limit
    /// (`global_max_connections`).
    #[must_use]
    pub fn maximum_connections(mut self, maximum: usize) -> Self {
        self.maximum_connections = maximum;
        self
    }

    /// Listening sockets that the process was started with: listeners take them instead of opening their own. Default:
    /// none.
    #[must_use]
    pub fn inherited_sockets(mut self, sockets: InheritedSockets) -> Self {
        self.inherited = sockets;
        self
    }

    /// Threads that check passwords. Default: 1.
    #[must_use]
    pub fn password_threads(mut self, threads: usize) -> Self {
        self.password_threads = threads.max(1);
        self
    }

    /// Opens the listeners and starts the threads. Works from any thread, and from inside an async runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what could not be had; nothing runs then.
    pub fn start(mut self) -> Result<Server, StartError> {
        if self.listeners.is_empty() {
            return Err(StartError::NoListener);
        }
        let started = Instant::now();
        let broker = Broker::with_hooks(self.config, self.access, self.hooks, random_u64()?);
        let (mut sockets, mut listeners) = (Vec::new(), Vec::new());
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let address = listener.address;
            let opened = match self.inherited.find(&address) {
                Found::Socket(socket) => Ok(socket),
                Found::Served => continue,
                Found::Nothing => ListeningSocket::bind(&address),
            };
            let socket = match opened {
                Ok(socket) => socket,
                Err(error) if listener.optional && error.kind() != io::ErrorKind::AddrInUse => {
                    tracing::warn!("cannot listen on {address}: {error}; the other addresses are served");
                    continue;
                }
                Err(source) => return Err(StartError::Bind { address, source }),
            };
            let mut policy = listener.policy;
            policy.id = ListenerId(u16::try_from(number).unwrap_or(u16::MAX));
            listeners.push(OpenListener {
                policy: Arc::new(policy),
                tls: listener.tls,
                websocket: listener.websocket,
                proxy: listener.proxy,
                local: socket.address()?,
                maximum_connections: listener.maximum_connections,
                connections: AtomicUsize::new(0),
                no_delay: listener.no_delay,
            });
            sockets.push(socket);
        }
        for address in self.inherited.addresses() {
            tracing::warn!("the socket {address} of the service manager is no listener's; it is closed");
        }
        let (mut polls, mut mailboxes) = (Vec::new(), Vec::new());
        for _ in 0..self.reactors {
            let poll = Poll::new()?;
            mailboxes.push(Arc::new(Mailbox::new(mio::Waker::new(
                poll.registry(),
                Token(WAKER),
            )?)));
            polls.push(poll);
        }
        let passwords = PasswordPool::start(self.password_threads, deliver_to(mailboxes.clone()))?;
        let common = Arc::new(Common {
            listeners,
            loads: mailboxes.iter().map(|_| AtomicUsize::new(0)).collect(),
            mailboxes,
            placement: self.placement,
            placed: AtomicUsize::new(0),
            maximum_connections: self.maximum_connections,
            passwords,
            started,
        });
        let mut server = Server {
            broker,
            common,
            threads: Vec::new(),
        };
        for (number, poll) in polls.into_iter().enumerate() {
            let sockets = if number == 0 {
                core::mem::take(&mut sockets)
            } else {
                Vec::new()
            };
            let thread = server.spawn(number, poll, sockets)?;
            server.threads.push(thread);
        }
        Ok(server)
    }
}

impl Server {
    fn spawn(&self, number: usize, poll: Poll, sockets: Vec<ListeningSocket>) -> io::Result<JoinHandle<()>> {
        let worker = Worker::new(&self.broker, now(self.common.started), Box::new(fill_random));
        let reactor = Reactor::new(number, Arc::clone(&self.common), poll, worker, sockets)?;
        std::thread::Builder::new()
            .name(format!("komar-reactor-{number}"))
            .spawn(move || reactor.run())
    }
}

/// Sends verdicts of the password pool to the reactor that waits for them.
fn deliver_to(mailboxes: Vec<Arc<Mailbox>>) -> Arc<dyn Fn(Arc<Outbox>, PasswordVerdict) + Send + Sync> {
    Arc::new(move |outbox, verdict| {
        let mailbox = Address::of(&outbox).and_then(|address| mailboxes.get(address.reactor));
        if let Some(mailbox) = mailbox {
            mailbox.send(Mail::Verdict(Arc::clone(&outbox), verdict));
        }
    })
}

fn random_u64() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Entropy(error.to_string()))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Fills from the system's source, which has answered once at the start and then always answers.
fn fill_random(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the system's source of randomness does not answer");
    }
}
