//! All Sessions by their Client Identifier.

use core::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::SeedableRandomState;
use hashbrown::hash_table::{Entry, HashTable};

use crate::session::Session;
use crate::sync::{AtomicUsize, Ordering, RwLock};

/// Sessions by the hash of their Client Identifier, which they have themselves: a key of its own would be two words more.
type Shard = RwLock<HashTable<Arc<Session>>>;

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
        let shards = (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect();
        Registry {
            hasher,
            shards,
            count: AtomicUsize::new(0),
            maximum: AtomicUsize::new(0),
        }
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<Arc<Session>> {
        let hash = self.hash(client_id);
        self.shard(hash)?
            .read()
            .find(hash, |session| *session.client_id == *client_id)
            .cloned()
    }

    /// Runs `change` on the Session of that identifier, with its shard locked. What it returns as the new Session
    /// takes the place of the old one.
    pub(crate) fn update<R>(
        &self,
        client_id: &str,
        change: impl FnOnce(Option<&Arc<Session>>) -> (Option<Arc<Session>>, R),
    ) -> Option<R> {
        let hash = self.hash(client_id);
        let mut shard = self.shard(hash)?.write();
        let has_it = |session: &Arc<Session>| *session.client_id == *client_id;
        let result = match shard.entry(hash, has_it, |session| self.hash(&session.client_id)) {
            Entry::Occupied(mut entry) => {
                let (new, result) = change(Some(entry.get()));
                if let Some(new) = new {
                    *entry.get_mut() = new;
                }
                result
            }
            Entry::Vacant(entry) => {
                let (new, result) = change(None);
                if let Some(new) = new {
                    entry.insert(new);
                    let before = self.count.fetch_add(1, Ordering::Relaxed);
                    self.maximum.fetch_max(before + 1, Ordering::Relaxed);
                }
                result
            }
        };
        Some(result)
    }

    /// Takes a Session out, unless another one has its identifier by now.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let hash = self.hash(&session.client_id);
        let Some(shard) = self.shard(hash) else {
            return;
        };
        let mut shard = shard.write();
        if let Ok(found) = shard.find_entry(hash, |found| Arc::ptr_eq(found, session)) {
            found.remove();
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
        Some(self.shards.get(number)?.read().iter().cloned().collect())
    }

    /// All Sessions at about this moment, a shard at a time.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().iter().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn hash(&self, client_id: &str) -> u64 {
        self.hasher.hash_one(client_id)
    }

    fn shard(&self, hash: u64) -> Option<&Shard> {
        // SHARDS is a power of two far below the range of either type.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

const SHARDS: usize = 16;
