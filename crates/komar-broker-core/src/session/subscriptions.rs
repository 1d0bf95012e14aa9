//! The Subscriptions of one Session: few in most, so a list as long as they are.

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use komar_topic::Handle;

/// Handles of Subscriptions in the index, by their filters.
pub(crate) enum Subscriptions {
    Few(Vec<(Box<str>, Handle)>),
    Many(Box<Many>),
}

pub(crate) struct Many {
    handles: HashMap<Box<str>, Handle, SeedableRandomState>,
    /// Bytes of the filters.
    bytes: usize,
}

impl Subscriptions {
    pub(crate) fn get(&self, filter: &str) -> Option<Handle> {
        match self {
            Subscriptions::Few(few) => few
                .iter()
                .find(|(text, _)| &**text == filter)
                .map(|(_, handle)| *handle),
            Subscriptions::Many(many) => many.handles.get(filter).copied(),
        }
    }

    /// Adds a Subscription whose filter is not there.
    pub(crate) fn insert(&mut self, filter: &str, handle: Handle, hasher: &SeedableRandomState) {
        match self {
            Subscriptions::Few(few) if few.len() < FEW => {
                // A Session with one Subscription is to have room for one.
                few.reserve_exact(1);
                few.push((filter.into(), handle));
            }
            Subscriptions::Few(few) => {
                let bytes = few.iter().map(|(text, _)| text.len()).sum();
                let mut handles = HashMap::with_capacity_and_hasher(2 * FEW, hasher.clone());
                handles.extend(few.drain(..));
                let mut many = Box::new(Many { handles, bytes });
                many.insert(filter, handle);
                *self = Subscriptions::Many(many);
            }
            Subscriptions::Many(many) => many.insert(filter, handle),
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) -> Option<Handle> {
        match self {
            Subscriptions::Few(few) => {
                let place = few.iter().position(|(text, _)| &**text == filter)?;
                Some(few.swap_remove(place).1)
            }
            Subscriptions::Many(many) => {
                let handle = many.handles.remove(filter)?;
                many.bytes -= filter.len();
                Some(handle)
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Subscriptions::Few(few) => few.len(),
            Subscriptions::Many(many) => many.handles.len(),
        }
    }

    /// Bytes of all filters.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Subscriptions::Few(few) => few.iter().map(|(text, _)| text.len()).sum(),
            Subscriptions::Many(many) => many.bytes,
        }
    }

    /// All of them, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Handle)> {
        let (few, many) = match self {
            Subscriptions::Few(few) => (few.as_slice(), None),
            Subscriptions::Many(many) => (&[][..], Some(many)),
        };
        few.iter().map(|(text, handle)| (&**text, *handle)).chain(
            many.into_iter()
                .flat_map(|many| many.handles.iter().map(|(text, handle)| (&**text, *handle))),
        )
    }
}

impl Many {
    fn insert(&mut self, filter: &str, handle: Handle) {
        if self.handles.insert(filter.into(), handle).is_none() {
            self.bytes += filter.len();
        }
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions::Few(Vec::new())
    }
}

/// More than this are found by their hash.
const FEW: usize = 8;
