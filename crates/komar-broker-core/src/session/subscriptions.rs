//! The Subscriptions of one Session: few in most, so a list as long as they are.

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use komar_topic::Handle;

/// Handles of Subscriptions in the index, by their filters.
pub(crate) enum Subscriptions {
    Few(Vec<(Box<str>, Handle)>),
    Many(Box<HashMap<Box<str>, Handle, SeedableRandomState>>),
}

impl Subscriptions {
    pub(crate) fn get(&self, filter: &str) -> Option<Handle> {
        match self {
            Subscriptions::Few(few) => few
                .iter()
                .find(|(text, _)| &**text == filter)
                .map(|(_, handle)| *handle),
            Subscriptions::Many(many) => many.get(filter).copied(),
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
                let mut many = HashMap::with_capacity_and_hasher(2 * FEW, hasher.clone());
                many.extend(few.drain(..));
                many.insert(filter.into(), handle);
                *self = Subscriptions::Many(Box::new(many));
            }
            Subscriptions::Many(many) => {
                many.insert(filter.into(), handle);
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) -> Option<Handle> {
        match self {
            Subscriptions::Few(few) => {
                let place = few.iter().position(|(text, _)| &**text == filter)?;
                Some(few.swap_remove(place).1)
            }
            Subscriptions::Many(many) => many.remove(filter),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Subscriptions::Few(few) => few.len(),
            Subscriptions::Many(many) => many.len(),
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
                .flat_map(|many| many.iter().map(|(text, handle)| (&**text, *handle))),
        )
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions::Few(Vec::new())
    }
}

/// More than this are found by their hash.
const FEW: usize = 8;
