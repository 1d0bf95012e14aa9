//! What all workers share: the index, the retained messages, the Sessions, the rules.

use std::sync::{Arc, Weak};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use komar_topic::{FilterIndex, Handle, STRIPES, Stripe, Stripes};

use crate::access::Access;
use crate::config::BrokerConfig;
use crate::counts::Tallies;
use crate::hooks::Hooks;
use crate::inbox::{Inbox, Letter};
use crate::journal::Journal;
use crate::registry::Registry;
use crate::restore::Restored;
use crate::router::cache::Stamp;
use crate::router::retained::RetainedMessages;
use crate::router::{Subscription, Turns};
use crate::store::Sequence;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};

pub(crate) type Index = FilterIndex<Subscription, SeedableRandomState>;

/// A broker: `Send + Sync`, cheap to clone, driven by one [`Worker`](crate::Worker) a thread.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

/// Locks are taken in the order of the fields: a registry shard, the index, one Session, then its Outbox or the retained
/// messages. The turns are locked alone, or under the index.
pub(crate) struct Shared {
    pub(crate) hooks: Hooks,
    pub(crate) registry: Registry,
    pub(crate) index: RwLock<Index>,
    pub(crate) retained: RwLock<RetainedMessages>,
    pub(crate) turns: Mutex<Turns>,
    /// Of the retained message that was stored last.
    pub(crate) retained_sequence: AtomicU64,
    /// When the next of them expires, in milliseconds; or earlier.
    pub(crate) retained_expiry: AtomicU64,
    /// One version for each stripe of Topic Filters; changed under the index's write lock.
    versions: [AtomicU64; STRIPES],
    rules: RwLock<Rules>,
    rules_epoch: AtomicU64,
    pub(crate) hasher: SeedableRandomState,
    pub(crate) counters: Counters,
    pub(crate) tallies: Tallies,
    /// What is to be stored; `None`: nothing is.
    pub(crate) journal: Option<Arc<Journal>>,
    /// Number of the last change that is durable.
    pub(crate) durable: AtomicU64,
    inboxes: Mutex<Vec<Weak<Inbox>>>,
    /// What the first worker is to see to of what was [restored](Broker::restore).
    pub(crate) restored: Mutex<Option<Restored>>,
    /// Numbers clients of the same process.
    #[cfg(feature = "in-process")]
    pub(crate) next_local: AtomicU64,
    /// Encoded bytes that wait for Connections whose transport takes no more.
    pub(crate) slow_bytes: AtomicUsize,
    /// Bytes of packets that have arrived in part, or wait for a verdict.
    pub(crate) reassembly_bytes: Arc<AtomicUsize>,
    /// Bytes of messages that wait for Sessions, or for their publishers to release them.
    pub(crate) queued_bytes: Arc<AtomicUsize>,
}

/// What a reload swaps, all of it at once.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) access: Access,
}

/// Things that are counted.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) dropped: AtomicU64,
    pub(crate) connected: AtomicUsize,
    pub(crate) expired: AtomicU64,
    pub(crate) receive_maximum_exceeded: AtomicU64,
    pub(crate) rate_exceeded: AtomicU64,
    pub(crate) slowed: AtomicU64,
}

impl Counters {
    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Broker {
    /// Makes a broker. `seed` keys its hash tables against clients that choose colliding names: take it from the
    /// system's source of randomness, or a fixed one to replay a run.
    ///
    /// With [`BrokerConfig::durable`], only beside a store that is empty: of one with contents a broker is made by
    /// [`restore`](Self::restore). The changes of this one begin at 1, and [`Worker::durable`](crate::Worker::durable) takes
    /// no larger number than it has made.
    pub fn new(config: BrokerConfig, access: Access, seed: u64) -> Broker {
        Broker::with_hooks(config, access, Hooks::default(), seed)
    }

    /// As [`new`](Self::new), with code of the embedder's that runs where things happen.
    pub fn with_hooks(config: BrokerConfig, access: Access, hooks: Hooks, seed: u64) -> Broker {
        Broker::with_journal(config, access, hooks, seed, Sequence(0))
    }

    /// `last`: the number of the last change that is durable already.
    pub(crate) fn with_journal(
        config: BrokerConfig,
        access: Access,
        hooks: Hooks,
        seed: u64,
        last: Sequence,
    ) -> Broker {
        let journal = Journal::of(config.durable, last);
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        let shared = Shared {
            hooks,
            registry: Registry::new(hasher.clone()),
            index: RwLock::new(FilterIndex::with_hasher(hasher.clone())),
            retained: RwLock::new(RetainedMessages::with_hasher(hasher.clone())),
            turns: Mutex::new(Turns::default()),
            retained_sequence: AtomicU64::new(0),
            retained_expiry: AtomicU64::new(u64::MAX),
            versions: [const { AtomicU64::new(0) }; STRIPES],
            rules: RwLock::new(Rules {
                config: Arc::new(config),
                access,
            }),
            rules_epoch: AtomicU64::new(0),
            hasher,
            counters: Counters::default(),
            tallies: Tallies::default(),
            journal,
            durable: AtomicU64::new(last.0),
            inboxes: Mutex::default(),
            restored: Mutex::default(),
            #[cfg(feature = "in-process")]
            next_local: AtomicU64::new(0),
            slow_bytes: AtomicUsize::new(0),
            reassembly_bytes: Arc::default(),
            queued_bytes: Arc::default(),
        };
        Broker {
            shared: Arc::new(shared),
        }
    }

    /// Takes other rules into force. Every verdict that is remembered becomes void. Connections stay until their driver
    /// calls [`Worker::recheck`](crate::Worker::recheck) for them.
    pub fn set_access(&self, access: Access) {
        self.set_rules(|rules| rules.access = access);
    }

    /// As [`set_access`](Self::set_access), together with other settings, so that no client is judged by the one and not
    /// by the other. What CONNACK has told a client (Receive Maximum, Maximum Packet Size) holds as long as its Connection;
    /// [`Limits::maximum_cached_targets`](crate::Limits::maximum_cached_targets) is looked at once, when a worker is made.
    pub fn set_config_and_access(&self, config: BrokerConfig, access: Access) {
        let config = Arc::new(config);
        self.set_rules(|rules| *rules = Rules { config, access });
    }

    fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules.write());
        self.shared.rules_epoch.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    /// A letter box for a new worker.
    pub(crate) fn add_inbox(&self) -> Arc<Inbox> {
        let inbox = Arc::default();
        let mut inboxes = self.inboxes.lock();
        inboxes.retain(|other| other.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        inbox
    }

    pub(crate) fn some_inbox(&self) -> Option<Arc<Inbox>> {
        let inboxes = self.inboxes.lock();
        let mut there = inboxes.iter().filter_map(Weak::upgrade);
        there.find(|inbox| !inbox.is_over())
    }

    /// The letter box of one of the workers, in turn.
    #[cfg(feature = "in-process")]
    pub(crate) fn inbox_in_turn(&self, number: u64) -> Option<Arc<Inbox>> {
        let inboxes = self.inboxes.lock();
        let there = inboxes.iter().filter_map(Weak::upgrade);
        let there: Vec<_> = there.filter(|inbox| !inbox.is_over()).collect();
        let place = number.checked_rem(there.len() as u64)?;
        there.get(place as usize).cloned()
    }

    /// Leaves a letter for some worker. `false`: there is none.
    pub(crate) fn send(&self, letter: Letter) -> bool {
        match self.some_inbox() {
            Some(inbox) => {
                inbox.send(letter);
                true
            }
            None => false,
        }
    }

    /// Has some worker begin a turn soon, though there is nothing to do in it but to end it.
    pub(crate) fn ask_for_a_turn(&self) {
        if let Some(inbox) = self.some_inbox() {
            inbox.call();
        }
    }

    /// The state of the world that a lookup depends on of a Topic Name with these stripes; read before the lookup is made.
    pub(crate) fn stamp(&self, stripes: &Stripes, access: u64) -> Stamp {
        let version = |stripe: Stripe| {
            let version = self.versions.get(stripe.number());
            version.map_or(0, |version| version.load(Ordering::Acquire))
        };
        // They only grow, so an equal sum means that none has changed.
        let index = stripes
            .iter()
            .fold(0_u64, |sum, stripe| sum.wrapping_add(version(stripe)));
        Stamp { index, access }
    }

    /// Makes cached lookups stale that a change may concern. Called with the index's write lock held.
    pub(crate) fn changed(&self, stripe: Stripe) {
        if let Some(version) = self.versions.get(stripe.number()) {
            version.fetch_add(1, Ordering::Release);
        }
    }

    /// Takes a Session's Subscriptions out of the index.
    pub(crate) fn forget(&self, handles: Vec<Handle>) {
        if handles.is_empty() {
            return;
        }
        let mut index = self.index.write();
        for handle in handles {
            if let Some((_, stripe)) = index.remove(handle) {
                self.changed(stripe);
            }
        }
    }

    pub(crate) fn rules_epoch(&self) -> u64 {
        self.rules_epoch.load(Ordering::Acquire)
    }

    /// The limits that a client of the same process has to know before it sends: topic levels, and whether messages are
    /// retained.
    #[cfg(feature = "in-process")]
    pub(crate) fn local_limits(&self) -> (usize, bool) {
        let rules = self.rules.read();
        (
            rules.config.limits.maximum_topic_levels,
            rules.config.retain_available,
        )
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules.read().clone()
    }
}
