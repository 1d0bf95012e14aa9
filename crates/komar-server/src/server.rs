//! Starting and stopping a broker.

use core::sync::atomic::{AtomicU64, AtomicUsize};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use komar_broker_core::store::{Contents, RestoreError, Store};
use komar_broker_core::{Access, Broker, BrokerConfig, Hooks, ListenerId, Verdict, Worker};
use mio::{Interest, Poll, Token};
use parking_lot::Mutex;

use crate::authenticate::{MAXIMUM_WAITING_LOGINS, PasswordPool};
use crate::connection::Address;
use crate::health::Health;
use crate::inherited::{Found, InheritedSockets};
use crate::listener::{ListenAddress, Listener};
use crate::listening_socket::ListeningSocket;
use crate::mailbox::{Mail, Mailbox};
use crate::open_listener::OpenListener;
use crate::publisher::Publisher;
use crate::reactor::{Common, Ended, Listeners, Load, Reactor, WAKER, listener_token, now};
use crate::sys::Sys;

/// How new Connections are spread over the reactors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// On the first one that is not busy; from one that stays busy, Connections move to one that is not. Messages between
    /// Connections of one reactor cost the least. The default.
    #[default]
    Pack,
    /// One after the other in turn, for good.
    Alternate,
    /// As [`Alternate`](Self::Alternate), and each Connection moves on after each turn that has read from it: for tests of
    /// moving.
    #[doc(hidden)]
    Restless,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No listener was given.
    #[error("no listener: add one with ServerBuilder::listener")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", suspicion(source))]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// A thread or its means of waiting could not be made.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[from] io::Error),
    /// What the store has kept is not what a broker can begin from.
    #[error("the store: {0}")]
    Restore(#[from] RestoreError),
    /// The system gives no random bytes.
    #[error("the system's source of randomness does not answer: {0}")]
    Entropy(String),
}

/// What is behind most errors of one kind.
fn suspicion(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another broker may be running there",
        _ => "",
    }
}

/// Settings of a server that is to be started.
pub struct ServerBuilder {
    config: BrokerConfig,
    access: AccessSource,
    hooks: Hooks,
    listeners: Vec<Listener>,
    reactors: usize,
    placement: Placement,
    password_threads: usize,
    maximum_connections: usize,
    maximum_handshake_bytes: usize,
    inherited: InheritedSockets,
    maximum_waiting_logins: usize,
    sys_interval: Option<Duration>,
    version: String,
    store: Option<(Arc<dyn Store>, Contents)>,
    on_failure: Arc<dyn Fn() + Send + Sync>,
}

/// What a reload takes over from a builder.
pub(crate) struct Wanted {
    pub(crate) config: BrokerConfig,
    pub(crate) access: AccessSource,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) maximum_connections: usize,
    pub(crate) sys_interval: Option<Duration>,
}

/// The rules, or how they are made of the listeners' numbers.
pub(crate) enum AccessSource {
    Same(Access),
    ByListener(MakeAccess),
}

type MakeAccess = Box<dyn FnOnce(&[ListenerId]) -> Access + Send>;

impl AccessSource {
    pub(crate) fn of(self, ids: &[ListenerId]) -> Access {
        match self {
            AccessSource::Same(access) => access,
            AccessSource::ByListener(make) => make(ids),
        }
    }
}

/// A running broker. Dropping it stops the broker.
pub struct Server {
    pub(crate) broker: Broker,
    pub(crate) common: Arc<Common>,
    pub(crate) threads: Vec<JoinHandle<()>>,
    sys: Mutex<Option<Sys>>,
    version: String,
}

impl Server {
    /// Settings to start from: no listener yet, everybody may do everything, one reactor.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            config: BrokerConfig::default(),
            access: AccessSource::Same(Access::allow_all()),
            hooks: Hooks::default(),
            listeners: Vec::new(),
            reactors: 1,
            placement: Placement::default(),
            password_threads: 1,
            maximum_connections: usize::MAX,
            maximum_handshake_bytes: MAXIMUM_HANDSHAKE_BYTES,
            inherited: InheritedSockets::default(),
            maximum_waiting_logins: MAXIMUM_WAITING_LOGINS,
            sys_interval: None,
            version: concat!("komar version ", env!("CARGO_PKG_VERSION")).to_owned(),
            store: None,
            on_failure: Arc::new(|| {}),
        }
    }

    /// The TCP addresses that are listened on, in the order of the listeners, with the ports that were chosen.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let all = self.listen_addresses();
        all.iter().filter_map(ListenAddress::tcp).collect()
    }

    /// All that is listened on, in the order of the listeners, with the ports that were chosen.
    pub fn listen_addresses(&self) -> Vec<ListenAddress> {
        let listeners = self.common.listeners.lock();
        listeners.open.iter().map(|open| open.local.clone()).collect()
    }

    /// To ask from a watchdog whether the reactors still turn.
    pub fn health(&self) -> Health {
        Health::new(&self.common.mailboxes)
    }

    /// Why the store has failed, if it has. The server has stopped then, or is about to: what it cannot promise it does not
    /// acknowledge, and what is on disk is for the next one to find out.
    pub fn store_failure(&self) -> Option<String> {
        self.common.store.as_ref().and_then(|store| store.failure())
    }

    /// The broker behind it: figures, and [`Broker::set_access`] for other rules.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Publishes without being a client.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            mailbox: Arc::clone(self.first_mailbox()),
        }
    }

    /// Another interval of `$SYS`, or none.
    pub(crate) fn set_sys_interval(&self, interval: Option<Duration>) {
        let mut sys = self.sys.lock();
        match &*sys {
            Some(sys) => sys.set_interval(interval),
            None if interval.is_some() => {
                let mailbox = Arc::clone(self.first_mailbox());
                let turned_away = Arc::clone(&self.common.turned_away);
                match Sys::start(
                    interval,
                    self.version.clone(),
                    self.broker.clone(),
                    turned_away,
                    mailbox,
                ) {
                    Ok(started) => *sys = Some(started),
                    Err(error) => {
                        tracing::error!("$SYS is not published, there is no thread for it: {error}")
                    }
                }
            }
            None => {}
        }
    }

    fn first_mailbox(&self) -> &Arc<Mailbox> {
        // There is a reactor, and a mailbox for each.
        &self.common.mailboxes[0]
    }

    /// Stops in order: Will Messages are published, Connections closed, threads ended. A thread that checks a password ends
    /// with its check, which is not waited for.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.sys.lock().take());
        // One after the other: those that still run deliver the Will Messages of those that have ended.
        for (thread, mailbox) in self.threads.drain(..).zip(&self.common.mailboxes) {
            mailbox.send(Mail::Stop);
            // By a panic, which its guard has told of.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl ServerBuilder {
    pub(crate) fn into_reload(self) -> Wanted {
        Wanted {
            config: self.config,
            access: self.access,
            listeners: self.listeners,
            maximum_connections: self.maximum_connections,
            sys_interval: self.sys_interval,
        }
    }

    #[cfg(feature = "conf")]
    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// What has to survive a restart goes to `store`, and the broker begins from `contents`, which is what the store has kept.
    /// Whatever a client is promised waits until it is durable. Default: no store, and nothing survives.
    ///
    /// A store that makes a batch durable before it returns is run by a [`CommitThread`](crate::CommitThread). When a store
    /// fails, the server ends all Connections and stops: see [`Server::store_failure`].
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>, contents: Contents) -> Self {
        self.store = Some((store, contents));
        self
    }

    /// Called when a thread that serves Connections ends though nobody has stopped the server: it has panicked, cannot wait
    /// for its Connections any more, or the [store](Self::store) has failed. Why is in the log. Default: nothing.
    ///
    /// Its Connections are closed by then. What is left is no whole broker, and maybe none that listens:
    /// [stop](Server::stop) it, and start another one. Called once for each such thread, in that thread; nothing but a
    /// signal to somebody else should be done there.
    #[must_use]
    pub fn on_failure(mut self, tell: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_failure = Arc::new(tell);
        self
    }

    /// Settings that hold for the whole broker. Whether it is [durable](BrokerConfig::durable) is decided by
    /// [`store`](Self::store).
    #[must_use]
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Who is let in, and who may do what. Default: everybody, everything.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = AccessSource::Same(access);
        self
    }

    /// As [`access`](Self::access), of the numbers that the listeners get, in the order in which they were added. At a reload
    /// those that have no socket get 65,534, by which nobody comes.
    #[must_use]
    pub fn access_by_listener(mut self, make: impl FnOnce(&[ListenerId]) -> Access + Send + 'static) -> Self {
        self.access = AccessSource::ByListener(Box::new(make));
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

    /// Memory that unfinished messages of TLS handshakes may take, in bytes, for each reactor; beyond that,
    /// whoever waits longest for the rest of one is closed. Default: 16 MiB.
    ///
    /// A handshake's messages mostly arrive whole and take nothing. A ClientHello has at most 16 KiB, and what follows it 64
    /// KiB.
    #[must_use]
    pub fn maximum_handshake_bytes(mut self, maximum: usize) -> Self {
        self.maximum_handshake_bytes = maximum;
        self
    }

    /// Listening sockets that the process was started with: listeners take them instead of opening their own. Default:
    /// none.
    #[must_use]
    pub fn inherited_sockets(mut self, sockets: InheritedSockets) -> Self {
        self.inherited = sockets;
        self
    }

    /// Logins that may wait for their password check; more are refused. Each holds its Connection and its CONNECT.
    /// Default: 10,000.
    #[must_use]
    pub fn maximum_waiting_logins(mut self, maximum: usize) -> Self {
        self.maximum_waiting_logins = maximum;
        self
    }

    /// How often figures are published as retained messages below `$SYS/broker`. Default: `None`, never.
    #[must_use]
    pub fn sys_interval(mut self, interval: Option<Duration>) -> Self {
        self.sys_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// What `$SYS/broker/version` says. Default: `komar version ` and the version of this crate.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Tells `log` the keys of TLS connections of the listeners that were added until now.
    #[must_use]
    pub fn tls_key_log(mut self, log: &Arc<dyn rustls::KeyLog>) -> Self {
        for listener in &mut self.listeners {
            if let Some(config) = &mut listener.tls {
                let mut logging = rustls::ServerConfig::clone(config);
                logging.key_log = Arc::clone(log);
                *config = Arc::new(logging);
            }
        }
        self
    }

    /// Threads that check passwords. Default: 1; the program `komar` takes half of the processors.
    ///
    /// Their number bounds the memory that checks take, too: each takes what the hash asks for that it computes
    /// ([`PasswordCheck::memory_cost`](komar_passwd::PasswordCheck::memory_cost)), 46 MiB for an argon2id hash as `komar
    /// passwd` and Mosquitto write it, and 1 GiB at the most, which a password file may ask for
    /// ([`Limits`](komar_passwd::Limits)).
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
        let ids: Vec<ListenerId> = (0..).map(ListenerId).take(self.listeners.len()).collect();
        self.config.durable = self.store.is_some();
        let (access, seed) = (self.access.of(&ids), random_u64()?);
        let (broker, store) = match self.store {
            None => (Broker::with_hooks(self.config, access, self.hooks, seed), None),
            Some((store, contents)) => {
                let now = now(started);
                let restored = Broker::restore(self.config, access, self.hooks, seed, now, contents)?;
                (restored, Some(store))
            }
        };
        let (mut sockets, mut open, mut served) = (Vec::new(), Vec::new(), Vec::new());
        for (id, listener) in ids.iter().zip(self.listeners) {
            let address = listener.address.clone();
            let opened = match self.inherited.find(&address) {
                Found::Socket(socket) => Ok(socket),
                Found::Served => {
                    served.push(address);
                    continue;
                }
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
            let listener = Arc::new(OpenListener::new(*id, socket.address()?, listener));
            open.push(Arc::clone(&listener));
            sockets.push((socket, listener));
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
        let Some(registry) = polls
            .first()
            .map(|poll| poll.registry().try_clone())
            .transpose()?
        else {
            return Err(StartError::NoListener);
        };
        for (socket, listener) in &mut sockets {
            registry.register(socket, listener_token(listener.id), Interest::READABLE)?;
        }
        let passwords = PasswordPool::start(
            self.password_threads,
            self.maximum_waiting_logins,
            deliver_to(mailboxes.clone()),
        )?;
        if let Some(store) = &store {
            let mailboxes = mailboxes.clone();
            store.set_wake(Box::new(move || {
                mailboxes.iter().for_each(|mailbox| mailbox.wake())
            }));
        }
        let common = Arc::new(Common {
            store,
            listeners: Mutex::new(Listeners {
                open,
                served,
                next_id: u16::try_from(ids.len()).unwrap_or(u16::MAX),
            }),
            registry,
            busy: mailboxes.iter().map(|_| Load::default()).collect(),
            reloads: AtomicU64::new(0),
            loads: mailboxes.iter().map(|_| AtomicUsize::new(0)).collect(),
            mailboxes,
            placement: self.placement,
            placed: AtomicUsize::new(0),
            turned_away: Arc::default(),
            maximum_connections: AtomicUsize::new(self.maximum_connections),
            maximum_handshake_bytes: self.maximum_handshake_bytes,
            passwords,
            started,
        });
        let mut server = Server {
            broker,
            common,
            threads: Vec::new(),
            sys: Mutex::new(None),
            version: self.version,
        };
        for (number, poll) in polls.into_iter().enumerate() {
            let sockets = if number == 0 {
                core::mem::take(&mut sockets)
            } else {
                Vec::new()
            };
            let on_failure = Arc::clone(&self.on_failure);
            let thread = server.spawn(number, poll, sockets, on_failure)?;
            server.threads.push(thread);
        }
        server.set_sys_interval(self.sys_interval);
        Ok(server)
    }
}

impl Server {
    fn spawn(
        &self,
        number: usize,
        poll: Poll,
        sockets: Vec<(ListeningSocket, Arc<OpenListener>)>,
        on_failure: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<JoinHandle<()>> {
        let worker = Worker::new(&self.broker, now(self.common.started), Box::new(fill_random));
        let reactor = Reactor::new(number, Arc::clone(&self.common), poll, worker, sockets);
        std::thread::Builder::new()
            .name(format!("komar-reactor-{number}"))
            .spawn(move || {
                let mut guard = Guard {
                    number,
                    was_stopped: false,
                    on_failure,
                };
                guard.was_stopped = reactor.run() == Ended::Stopped;
            })
    }
}

/// Says of a reactor that it has ended, however it does, unless it was to.
struct Guard {
    number: usize,
    was_stopped: bool,
    on_failure: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.was_stopped {
            tracing::error!("reactor {} has ended, its connections with it", self.number);
            (self.on_failure)();
        }
    }
}

/// Sends verdicts of the password pool to the reactor that waits for them.
fn deliver_to(mailboxes: Vec<Arc<Mailbox>>) -> Arc<dyn Fn(Verdict) + Send + Sync> {
    Arc::new(move |verdict| {
        let mailbox = Address::of(&verdict.outbox).and_then(|address| mailboxes.get(address.reactor()));
        if let Some(mailbox) = mailbox {
            mailbox.send(Mail::Answer(verdict));
        }
    })
}

fn random_u64() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Entropy(error.to_string()))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// As many ClientHellos of full length as no storm of honest clients leaves unfinished at a time.
const MAXIMUM_HANDSHAKE_BYTES: usize = 16 << 20;

/// Fills from the system's source, which has answered once at the start and then always answers.
fn fill_random(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the system's source of randomness does not answer");
    }
}
