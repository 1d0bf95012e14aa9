//! A worker's memory of where messages of a Topic Name go.
//!
//! An entry is valid while nothing has changed that could concern it: its stamp is the version of its stripes of the
//! index and the epoch of the access rules, read before the lookup. A Topic Name is taken in when it misses for the second
//! time, so that names which are published to once do not push others out.

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use komar_topic::{Stripes, TopicName};

use super::{Route, Target};

/// State of the world that a cached lookup depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) index: u64,
    pub(crate) access: u64,
}

pub(crate) struct TopicCache {
    places: HashMap<Box<str>, usize, SeedableRandomState>,
    entries: Vec<Entry>,
    /// Targets in all entries, with what an entry counts for beside them.
    targets: usize,
    maximum_targets: usize,
    /// Hashes of names that missed once.
    missed: Box<[u64; MISSED]>,
    /// Routes of a name that is not cached. Emptied at the end of a turn.
    scratch: Vec<Route>,
    /// Whether the last message had one Session as its receiver.
    single: bool,
}

struct Entry {
    /// Of the Topic Name.
    stripes: Stripes,
    stamp: Stamp,
    routes: Vec<Route>,
}

impl TopicCache {
    pub(crate) fn new(hasher: SeedableRandomState, maximum_targets: usize) -> TopicCache {
        TopicCache {
            places: HashMap::with_hasher(hasher),
            entries: Vec::new(),
            targets: 0,
            maximum_targets,
            missed: Box::new([0; MISSED]),
            scratch: Vec::new(),
            single: false,
        }
    }

    /// The entry of a Topic Name, if there is one that is valid: if its stamp is what `stamp_of` says at present.
    pub(crate) fn find(&self, name: &str, stamp_of: impl Fn(&Stripes) -> Stamp) -> Option<usize> {
        let place = *self.places.get(name)?;
        let entry = self.entries.get(place)?;
        (entry.stamp == stamp_of(&entry.stripes)).then_some(place)
    }

    /// The routes of an entry that [`find`](Self::find) has found.
    pub(crate) fn routes(&mut self, place: usize) -> &mut [Route] {
        self.entries
            .get_mut(place)
            .map_or(&mut [], |entry| entry.routes.as_mut_slice())
    }

    /// The receiver in an entry that [`find`](Self::find) has found, if it is the only one.
    pub(crate) fn single(&self, place: usize) -> Option<&Target> {
        match self.entries.get(place)?.routes.as_slice() {
            [Route::One(target)] => Some(target),
            _ => None,
        }
    }

    pub(crate) fn note_single(&mut self, single: bool) {
        self.single = single;
    }

    pub(crate) fn was_single(&self) -> bool {
        self.single
    }

    /// Looks the routes up and remembers them if the name was looked up before.
    pub(crate) fn resolve(
        &mut self,
        name: TopicName<'_>,
        stamp_of: impl Fn(&Stripes) -> Stamp,
        look_up: impl FnOnce(&mut Vec<Route>),
    ) -> &mut [Route] {
        if let Some(place) = self.places.get(name.as_str()).copied() {
            return self.refresh(place, stamp_of, look_up);
        }
        self.scratch.clear();
        if !self.missed_before(name.as_str()) {
            look_up(&mut self.scratch);
            return &mut self.scratch;
        }
        let stripes = name.stripes();
        let stamp = stamp_of(&stripes);
        look_up(&mut self.scratch);
        let cost = own_cost(name) + targets(&self.scratch);
        if cost > self.maximum_targets {
            return &mut self.scratch;
        }
        if self.targets + cost > self.maximum_targets {
            self.clear();
        }
        self.targets += cost;
        let place = self.entries.len();
        self.places.insert(name.as_str().into(), place);
        self.entries.push(Entry {
            stripes,
            stamp,
            routes: core::mem::take(&mut self.scratch),
        });
        self.routes(place)
    }

    /// An empty list for routes that are not cached.
    pub(crate) fn scratch(&mut self) -> &mut Vec<Route> {
        self.scratch.clear();
        &mut self.scratch
    }

    /// Forgets what must not outlive the turn.
    pub(crate) fn turn_end(&mut self) {
        self.scratch.clear();
    }

    /// Empties entries that are no longer valid, so that they keep no Session alive that is over.
    pub(crate) fn sweep(&mut self, stamp_of: impl Fn(&Stripes) -> Stamp) {
        for entry in &mut self.entries {
            if !entry.routes.is_empty() && entry.stamp != stamp_of(&entry.stripes) {
                self.targets -= targets(&entry.routes);
                entry.routes = Vec::new();
                entry.stamp = Stamp {
                    index: u64::MAX,
                    access: u64::MAX,
                };
            }
        }
    }

    fn refresh(
        &mut self,
        place: usize,
        stamp_of: impl Fn(&Stripes) -> Stamp,
        look_up: impl FnOnce(&mut Vec<Route>),
    ) -> &mut [Route] {
        let Some(entry) = self.entries.get_mut(place) else {
            return &mut [];
        };
        let stamp = stamp_of(&entry.stripes);
        self.targets -= targets(&entry.routes);
        entry.routes.clear();
        look_up(&mut entry.routes);
        entry.stamp = stamp;
        self.targets += targets(&entry.routes);
        if self.targets > self.maximum_targets {
            // Too many by now: begin anew, and serve this message from the scratch list.
            self.scratch = core::mem::take(&mut entry.routes);
            self.clear();
            return &mut self.scratch;
        }
        self.routes(place)
    }

    fn clear(&mut self) {
        self.places.clear();
        self.entries.clear();
        self.targets = 0;
    }

    fn missed_before(&mut self, name: &str) -> bool {
        use core::hash::BuildHasher;
        let hash = self.places.hasher().hash_one(name);
        let Some(slot) = self.missed.get_mut(hash as usize % MISSED) else {
            return false;
        };
        core::mem::replace(slot, hash) == hash
    }
}

/// What an entry counts for beside its targets: one, and one for as many bytes of its name as a target has.
fn own_cost(name: TopicName<'_>) -> usize {
    1 + name.as_str().len() / size_of::<Target>()
}

fn targets(routes: &[Route]) -> usize {
    routes.iter().map(Route::targets).sum()
}

const MISSED: usize = 1024;
