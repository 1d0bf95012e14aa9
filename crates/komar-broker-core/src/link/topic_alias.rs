//! Topic Aliases that a client has set, and those that we set. MQTT 5.0 §3.3.2.3.4.

use core::num::NonZeroU16;
use std::collections::BTreeMap;

use crate::error::ProtocolError;

/// What each Topic Alias stands for on this Connection.
#[derive(Debug, Default)]
pub(crate) struct TopicAliases(Option<Box<Names>>);

/// Made when the first alias is set: most clients set none.
#[derive(Debug, Default)]
struct Names {
    list: Vec<Option<Box<str>>>,
}

impl TopicAliases {
    /// Sets an alias. v5 [MQTT-3.3.2-12]
    pub(crate) fn set(&mut self, alias: NonZeroU16, name: &str, maximum: u16) -> Result<(), ProtocolError> {
        let place = Self::place(alias, maximum)?;
        let names = &mut self.0.get_or_insert_default().list;
        if names.len() <= place {
            names.resize_with(place + 1, || None);
        }
        if let Some(slot) = names.get_mut(place)
            && slot.as_deref() != Some(name)
        {
            *slot = Some(name.into());
        }
        Ok(())
    }

    /// What an alias stands for.
    pub(crate) fn get(&self, alias: NonZeroU16, maximum: u16) -> Result<&str, ProtocolError> {
        let place = Self::place(alias, maximum)?;
        let names = self.0.as_ref().and_then(|names| names.list.get(place));
        names
            .and_then(Option::as_deref)
            .ok_or(ProtocolError::UnknownTopicAlias(alias))
    }

    fn place(alias: NonZeroU16, maximum: u16) -> Result<usize, ProtocolError> {
        // v5 [MQTT-3.2.2-17]
        if alias.get() > maximum {
            return Err(ProtocolError::TopicAliasTooLarge { alias, maximum });
        }
        Ok(usize::from(alias.get() - 1))
    }
}

/// Names that we have given an alias on a Connection: the first that were sent, and no others later.
#[derive(Debug)]
pub(crate) struct OutgoingAliases {
    maximum: u16,
    names: Named,
}

#[derive(Debug)]
enum Named {
    /// The alias of each is its place and one.
    Few(Vec<Box<str>>),
    Many(BTreeMap<Box<str>, NonZeroU16>),
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By its name.
    Name,
    /// By its name, which an alias stands for from now on.
    NameAndAlias(NonZeroU16),
    /// By an alias that stands for it.
    Alias(NonZeroU16),
}

impl OutgoingAliases {
    /// `None` if the client wants none. v5 [MQTT-3.1.2-27]
    pub(crate) fn new(maximum: u16) -> Option<Box<OutgoingAliases>> {
        (maximum > 0).then(|| {
            Box::new(OutgoingAliases {
                maximum,
                names: match maximum {
                    ..=FEW => Named::Few(Vec::new()),
                    _ => Named::Many(BTreeMap::new()),
                },
            })
        })
    }

    /// How to name a topic in the next PUBLISH.
    pub(crate) fn naming(&self, name: &str) -> Naming {
        let known = match &self.names {
            Named::Few(names) => names
                .iter()
                .position(|known| &**known == name)
                .and_then(Self::alias),
            Named::Many(names) => names.get(name).copied(),
        };
        match known {
            Some(alias) => Naming::Alias(alias),
            None => self.next().map_or(Naming::Name, Naming::NameAndAlias),
        }
    }

    /// Notes that a PUBLISH is sent which gives the name an alias.
    pub(crate) fn add(&mut self, name: &str) {
        let Some(alias) = self.next() else { return };
        match &mut self.names {
            Named::Few(names) => names.push(name.into()),
            Named::Many(names) => {
                names.insert(name.into(), alias);
            }
        }
    }

    /// The alias of the next name. v5 [MQTT-3.3.2-11]
    fn next(&self) -> Option<NonZeroU16> {
        let place = match &self.names {
            Named::Few(names) => names.len(),
            Named::Many(names) => names.len(),
        };
        Self::alias(place).filter(|alias| alias.get() <= self.maximum)
    }

    /// v5 [MQTT-3.3.2-8], v5 [MQTT-3.1.2-26]
    fn alias(place: usize) -> Option<NonZeroU16> {
        u16::try_from(place + 1).ok().and_then(NonZeroU16::new)
    }
}

/// Up to so many names are compared one by one.
const FEW: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_have_an_alias_however_many_there_may_be() {
        for maximum in [1, FEW, FEW + 1, 300] {
            let mut aliases = OutgoingAliases::new(maximum).unwrap();
            let name = |number: u16| format!("t/{}", number % 7 * 1000 + number);
            for number in 1..=maximum + 2 {
                let alias = NonZeroU16::new(number).filter(|_| number <= maximum);
                let expected = alias.map_or(Naming::Name, Naming::NameAndAlias);
                assert_eq!(aliases.naming(&name(number)), expected);
                aliases.add(&name(number));
            }
            for number in 1..=maximum {
                let alias = NonZeroU16::new(number).unwrap();
                assert_eq!(aliases.naming(&name(number)), Naming::Alias(alias));
            }
            assert_eq!(aliases.naming(&name(maximum + 1)), Naming::Name);
        }
    }
}
