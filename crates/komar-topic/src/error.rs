//! What is wrong with a text that should be a Topic Name or a Topic Filter, and where.

/// Why a text is no Topic Name, Topic Filter or shared subscription.
///
/// Positions are byte offsets into the text that was given, whole `$share/…` text included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// There is nothing. v3 [MQTT-4.7.3-1], v5 [MQTT-4.7.3-1]
    #[error("empty")]
    Empty,
    /// More bytes than allowed. v3 [MQTT-4.7.3-3], v5 [MQTT-4.7.3-3]
    #[error("{length} bytes, {maximum} are allowed")]
    TooLong {
        /// Where the first character too many begins.
        position: usize,
        /// Bytes of the text.
        length: usize,
        /// [`TopicLimits::maximum_length`](crate::TopicLimits::maximum_length).
        maximum: usize,
    },
    /// More levels than allowed.
    #[error("more than {maximum} levels at byte {position}")]
    TooManyLevels {
        /// Where the first level too many begins.
        position: usize,
        /// [`TopicLimits::maximum_levels`](crate::TopicLimits::maximum_levels).
        maximum: usize,
    },
    /// U+0000. v3 [MQTT-4.7.3-2], v5 [MQTT-4.7.3-2]
    #[error("U+0000 at byte {position}")]
    Null {
        /// Where it stands.
        position: usize,
    },
    /// `+` or `#` in a Topic Name. v3 [MQTT-4.7.1-1], v5 [MQTT-4.7.0-1]
    #[error("wildcard in a topic name at byte {position}")]
    WildcardInName {
        /// Where it stands.
        position: usize,
    },
    /// `+` or `#` that shares its level with other characters. v3 [MQTT-4.7.1-2], v3 [MQTT-4.7.1-3], v5 [MQTT-4.7.1-1],
    /// v5 [MQTT-4.7.1-2]
    #[error("wildcard that does not fill its level at byte {position}")]
    WildcardNotAlone {
        /// Where it stands.
        position: usize,
    },
    /// `#` before the last level. v3 [MQTT-4.7.1-2], v5 [MQTT-4.7.1-1]
    #[error("`#` before the last level at byte {position}")]
    MultiLevelNotLast {
        /// Where it stands.
        position: usize,
    },
    /// `$share`, `$share/…` without a Share Name. v5 [MQTT-4.8.2-1]
    #[error("shared subscription without a share name at byte {position}")]
    ShareNameEmpty {
        /// Where the Share Name should begin.
        position: usize,
    },
    /// `/`, `+` or `#` in a Share Name. v5 [MQTT-4.8.2-2]
    #[error("character that a share name cannot have at byte {position}")]
    ShareNameCharacter {
        /// Where it stands.
        position: usize,
    },
    /// Not `$share/…`, where only that was expected. v5 [MQTT-4.8.2-1]
    #[error("no shared subscription")]
    NotShared,
    /// A Share Name with no filter behind it. v5 [MQTT-4.8.2-2]
    #[error("shared subscription without a filter at byte {position}")]
    SharedFilterMissing {
        /// Where the filter should begin.
        position: usize,
    },
}

impl TopicError {
    /// The byte that is wrong, or the one that is missing.
    pub fn position(&self) -> usize {
        match *self {
            TopicError::Empty | TopicError::NotShared => 0,
            TopicError::TooLong { position, .. }
            | TopicError::TooManyLevels { position, .. }
            | TopicError::Null { position }
            | TopicError::WildcardInName { position }
            | TopicError::WildcardNotAlone { position }
            | TopicError::MultiLevelNotLast { position }
            | TopicError::ShareNameEmpty { position }
            | TopicError::ShareNameCharacter { position }
            | TopicError::SharedFilterMissing { position } => position,
        }
    }

    /// Whether the form `$share/{ShareName}/{filter}` itself is wrong. MQTT 5.0 answers 0x82 (protocol error) then,
    /// and 0x81 (malformed) for every other cause, also in the filter behind the Share Name.
    pub fn is_shared(&self) -> bool {
        matches!(
            self,
            TopicError::NotShared
                | TopicError::ShareNameEmpty { .. }
                | TopicError::ShareNameCharacter { .. }
                | TopicError::SharedFilterMissing { .. }
        )
    }

    /// The same error in a text that begins `offset` bytes earlier.
    pub(crate) fn moved(self, offset: usize) -> TopicError {
        let at = |position: usize| position.saturating_add(offset);
        match self {
            TopicError::TooManyLevels { position, maximum } => TopicError::TooManyLevels {
                position: at(position),
                maximum,
            },
            TopicError::Null { position } => TopicError::Null {
                position: at(position),
            },
            TopicError::WildcardNotAlone { position } => TopicError::WildcardNotAlone {
                position: at(position),
            },
            TopicError::MultiLevelNotLast { position } => TopicError::MultiLevelNotLast {
                position: at(position),
            },
            TopicError::ShareNameEmpty { position } => TopicError::ShareNameEmpty {
                position: at(position),
            },
            TopicError::ShareNameCharacter { position } => TopicError::ShareNameCharacter {
                position: at(position),
            },
            // What a filter or a Share Name alone cannot be wrong in, or what has no position.
            other @ (TopicError::Empty
            | TopicError::TooLong { .. }
            | TopicError::WildcardInName { .. }
            | TopicError::NotShared
            | TopicError::SharedFilterMissing { .. }) => other,
        }
    }
}
