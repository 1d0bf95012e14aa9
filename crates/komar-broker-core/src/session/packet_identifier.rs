//! Packet Identifiers of the messages that we send: not 0, not in use. v5 [MQTT-2.2.1-4], v3 [MQTT-2.3.1-4]

use komar_codec::PacketIdentifier;

/// Hands out Packet Identifiers in turn.
///
/// Looking for those in use costs a walk over them, so one walk finds how many free ones follow, and the next is
/// made when these are used up.
#[derive(Debug, Default)]
pub(crate) struct PacketIdentifiers {
    last: u16,
    /// How many identifiers after `last` are known to be free.
    free: u16,
}

impl PacketIdentifiers {
    /// The next free identifier, or `None` if all are in use.
    pub(crate) fn allocate<I>(&mut self, in_use: impl Fn() -> I) -> Option<PacketIdentifier>
    where
        I: Iterator<Item = PacketIdentifier>,
    {
        if self.free == 0 && !self.find_free(in_use) {
            return None;
        }
        self.free -= 1;
        self.last = following(self.last);
        PacketIdentifier::new(self.last)
    }

    /// Moves `last` to before the next run of free identifiers and measures the run.
    fn find_free<I>(&mut self, in_use: impl Fn() -> I) -> bool
    where
        I: Iterator<Item = PacketIdentifier>,
    {
        let mut distances: Vec<u16> = in_use()
            .map(|identifier| self.distance(identifier.get()))
            .collect();
        distances.sort_unstable();
        distances.dedup();
        let used: u16 = (1..=u16::MAX)
            .zip(&distances)
            .take_while(|(step, used)| step == *used)
            .fold(0, |_, (step, _)| step);
        if used == u16::MAX {
            return false;
        }
        let end = distances.get(usize::from(used)).copied();
        for _ in 0..used {
            self.last = following(self.last);
        }
        // Without one in use behind the run, it goes once around the circle of 65,535 places.
        self.free = end.map_or(u16::MAX - used, |end| end - used - 1);
        true
    }

    /// How many steps lead from `last` to `identifier`: 1 to 65,535.
    fn distance(&self, identifier: u16) -> u16 {
        if identifier > self.last {
            identifier - self.last
        } else {
            // 0 is not an identifier, so the circle has 65,535 places.
            u16::MAX - (self.last - identifier)
        }
    }
}

fn following(identifier: u16) -> u16 {
    identifier.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn never_hands_out_one_in_use() {
        // Every step releases the oldest but one, so a few stay in use for ever and must be passed over.
        let mut identifiers = PacketIdentifiers::default();
        let mut in_use: VecDeque<PacketIdentifier> = VecDeque::new();
        for step in 0..200_000u32 {
            let new = identifiers.allocate(|| in_use.iter().copied()).unwrap();
            assert!(!in_use.contains(&new), "step {step}: {new:?} is in use");
            in_use.push_back(new);
            if in_use.len() > 10 + (step / 50_000) as usize {
                in_use.remove(1 + (step / 50_000) as usize);
            }
        }
    }

    #[test]
    fn all_in_use_is_none_and_the_one_released_comes_next() {
        let mut identifiers = PacketIdentifiers::default();
        let mut in_use = Vec::new();
        for _ in 0..u16::MAX {
            let new = identifiers.allocate(|| in_use.iter().copied()).unwrap();
            in_use.push(new);
        }
        let first = in_use.first().copied();
        assert_eq!(identifiers.allocate(|| in_use.iter().copied()), None);
        let few: Vec<_> = in_use.iter().copied().filter(|id| Some(*id) != first).collect();
        assert_eq!(identifiers.allocate(|| few.iter().copied()), first);
    }
}
