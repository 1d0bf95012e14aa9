//! How long and how deep a Topic Name or Topic Filter may be.

use crate::TopicError;

/// Limits that a Topic Name or Topic Filter must keep.
///
/// The default is what the wire can carry, and the depth that Mosquitto accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Bytes of UTF-8. Default: 65,535. v5 [MQTT-4.7.3-3]
    pub maximum_length: usize,
    /// Levels, which is one more than there are slashes. Default: 201, that is 200 slashes.
    ///
    /// Of a shared subscription, the levels of the filter behind the Share Name.
    pub maximum_levels: usize,
}

impl Default for TopicLimits {
    fn default() -> TopicLimits {
        TopicLimits {
            maximum_length: 65_535,
            maximum_levels: 201,
        }
    }
}

impl TopicLimits {
    pub(crate) fn check_length(&self, text: &str) -> Result<(), TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > self.maximum_length {
            let boundary = |position: &usize| text.is_char_boundary(*position);
            return Err(TopicError::TooLong {
                position: (0..=self.maximum_length).rev().find(boundary).unwrap_or(0),
                length: text.len(),
                maximum: self.maximum_length,
            });
        }
        Ok(())
    }

    pub(crate) fn check_levels(&self, text: &str) -> Result<(), TopicError> {
        let position = match self.maximum_levels.checked_sub(1) {
            None => 0,
            Some(slashes) => match text
                .bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'/')
                .nth(slashes)
            {
                None => return Ok(()),
                Some((slash, _)) => slash.saturating_add(1),
            },
        };
        Err(TopicError::TooManyLevels {
            position,
            maximum: self.maximum_levels,
        })
    }
}
