//! Topic Aliases that a client has set. MQTT 5.0 §3.3.2.3.4.

use core::num::NonZeroU16;

use crate::error::ProtocolError;

/// What each Topic Alias stands for on this Connection.
#[derive(Debug, Default)]
pub(crate) struct TopicAliases {
    names: Vec<Option<Box<str>>>,
}

impl TopicAliases {
    /// Sets an alias. v5 [MQTT-3.3.2-12]
    pub(crate) fn set(&mut self, alias: NonZeroU16, name: &str, maximum: u16) -> Result<(), ProtocolError> {
        let place = Self::place(alias, maximum)?;
        if self.names.len() <= place {
            self.names.resize_with(place + 1, || None);
        }
        if let Some(slot) = self.names.get_mut(place)
            && slot.as_deref() != Some(name)
        {
            *slot = Some(name.into());
        }
        Ok(())
    }

    /// What an alias stands for.
    pub(crate) fn get(&self, alias: NonZeroU16, maximum: u16) -> Result<&str, ProtocolError> {
        let place = Self::place(alias, maximum)?;
        self.names
            .get(place)
            .and_then(Option::as_deref)
            .ok_or(ProtocolError::UnknownTopicAlias(alias))
    }

    fn place(alias: NonZeroU16, maximum: u16) -> Result<usize, ProtocolError> {
        if alias.get() > maximum {
            return Err(ProtocolError::TopicAliasTooLarge { alias, maximum });
        }
        Ok(usize::from(alias.get() - 1))
    }
}
