//! All Sessions by their Client Identifier.

use core::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;

use crate::session::Session;
use crate::sync::{AtomicUsize, Ordering, RwLock};

type Shard = RwLock<HashMap<Arc<str>, Arc<Session>, SeedableRandomState>>;

/// All Sessions, spread over locks by the hash of their Client Identifier. The first lock in the order of locks.
pub(crate) struct Registry {
    hasher: SeedableRandomState,
    shards: Box<[Shard]>,
    count: AtomicUsize,
    /// The highest count so far.
    maximum: AtomicUsize,
}

impl Registry {
    pub(crate) fn new(hasher: SeedableRandomState) -> Registry {
        let shards = (0..SHARDS)
            .map(|_| RwLock::new(HashMap::with_hasher(hasher.clone())))
            .collect();
        Registry {
            hasher,
            shards,
            count: AtomicUsize::new(0),
            maximum: AtomicUsize::new(0),
        }
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<Arc<Session>> {
        self.shard(client_id)?.read().get(client_id).cloned()
    }

    /// Runs `change` on the Session of that identifier, with its shard locked. What it returns as the new Session
    /// takes the place of the old one.
    pub(crate) fn update<R>(
        &self,
        client_id: &Arc<str>,
        change: impl FnOnce(Option<&Arc<Session>>) -> (Option<Arc<Session>>, R),
    ) -> Option<R> {
        let mut shard = self.shard(client_id)?.write();
        let (new, result) = change(shard.get(client_id));
        if let Some(new) = new
            && shard.insert(Arc::clone(client_id), new).is_none()
        {
            let before = self.count.fetch_add(1, Ordering::Relaxed);
            self.maximum.fetch_max(before + 1, Ordering::Relaxed);
        }
        Some(result)
    }

    /// Takes a Session out, unless another one has its identifier by now.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let Some(shard) = self.shard(&session.client_id) else {
            return;
        };
        let mut shard = shard.write();
        if shard
            .get(&session.client_id)
            .is_some_and(|found| Arc::ptr_eq(found, session))
        {
            shard.remove(&session.client_id);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sessions, connected or not.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Most Sessions that there were at once.
    pub(crate) fn maximum(&self) -> usize {
        self.maximum.load(Ordering::Relaxed)
    }

    /// The Sessions of one shard at this moment; `None` behind the last one.
    pub(crate) fn shard_sessions(&self, number: usize) -> Option<Vec<Arc<Session>>> {
        Some(self.shards.get(number)?.read().values().cloned().collect())
    }

    /// All Sessions at about this moment, a shard at a time.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn shard(&self, client_id: &str) -> Option<&Shard> {
        let hash = self.hasher.hash_one(client_id);
        // SHARDS is a power of two far below the range of either type.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

const SHARDS: usize = 16;
