//! Bugs that a broker might have, planted between it and the simulation: what it reads, writes, is told and what time it
//! believes is changed on the way, as if it had done wrong itself. `simulation.rs` has to find each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use komar_broker_core::store::Change;
use komar_codec::ProtocolVersion;
use komar_testkit::DelayedStore;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Some QoS 1 messages are not sent.
    LosesQos1,
    /// Some QoS 2 messages are sent a second time, with another identifier.
    DoublesQos2,
    /// Some QoS 0 messages are sent behind the next packet.
    SwapsMessages,
    /// QoS 1 messages have identifiers that are in use.
    UsesIdentifiersTwice,
    /// What is sent again does not say so.
    ForgetsDup,
    /// Some QoS 2 messages of publishers are never routed.
    LosesRelease,
    /// No Local has no effect.
    IgnoresNoLocal,
    /// An empty payload does not clear what is retained.
    KeepsCleared,
    /// What is retained comes as if it were live, and the other way round.
    ConfusesRetain,
    /// Other rules are not taken into force.
    ForgetsRules,
    /// Nothing ever expires.
    StopsTheClock,
    /// More messages are sent than the client's Receive Maximum allows.
    IgnoresReceiveMaximum,
    /// The Will Message is published although the client said goodbye.
    PublishesWillAnyway,
    /// Acknowledgements do not wait for the store.
    AcknowledgesEarly,
    /// The store has QoS 2 messages that are not released without what they say.
    StoresNoUnreleased,
    /// The store does not know as what messages were sent.
    StoresNoIdentifiers,
    /// The store does not know of some QoS 2 messages that they were released.
    StoresNoRelease,
    /// The store keeps retained messages that were cleared.
    StoresNoClearing,
    /// The store does not know that QoS 2 messages have been received.
    StoresNoReceipt,
    /// The store has nothing of what hooks publish.
    StoresNoPosts,
    /// Some of what hooks publish goes nowhere.
    LosesPosts,
    /// A hook's Topic Name does not count.
    IgnoresRewriting,
    /// A hook's refusal does not count.
    IgnoresRefusal,
    /// The deliver hook's refusal does not count.
    IgnoresDeliverHook,
    /// Every user is the same to the rules.
    ConfusesUsers,
    /// Clients may be silent for ever.
    ForgetsKeepAlive,
    /// Clients are taken for silent too early.
    ShortensKeepAlive,
    /// The longest keep alive that is configured holds for nobody.
    ForgetsServerKeepAlive,
    /// The second answer to a question, or one to a Connection that is over, answers the one that is open.
    TakesOldVerdicts,
    /// That something is refused later does not count.
    TakesNoForYes,
    /// Nobody looks whether an answer comes in time.
    WaitsForEver,
    /// PINGREQ is answered although what came before it waits.
    PingsAhead,
}

impl Bug {
    pub(crate) const ALL: [Bug; 32] = [
        Bug::LosesQos1,
        Bug::DoublesQos2,
        Bug::SwapsMessages,
        Bug::UsesIdentifiersTwice,
        Bug::ForgetsDup,
        Bug::LosesRelease,
        Bug::IgnoresNoLocal,
        Bug::KeepsCleared,
        Bug::ConfusesRetain,
        Bug::ForgetsRules,
        Bug::StopsTheClock,
        Bug::IgnoresReceiveMaximum,
        Bug::PublishesWillAnyway,
        Bug::AcknowledgesEarly,
        Bug::StoresNoUnreleased,
        Bug::StoresNoIdentifiers,
        Bug::StoresNoRelease,
        Bug::StoresNoClearing,
        Bug::StoresNoReceipt,
        Bug::StoresNoPosts,
        Bug::LosesPosts,
        Bug::IgnoresRewriting,
        Bug::IgnoresRefusal,
        Bug::IgnoresDeliverHook,
        Bug::ConfusesUsers,
        Bug::ForgetsKeepAlive,
        Bug::ShortensKeepAlive,
        Bug::ForgetsServerKeepAlive,
        Bug::TakesOldVerdicts,
        Bug::TakesNoForYes,
        Bug::WaitsForEver,
        Bug::PingsAhead,
    ];

    /// It shows only after a restart.
    pub(crate) fn is_of_the_store(self) -> bool {
        matches!(
            self,
            Bug::AcknowledgesEarly
                | Bug::StoresNoUnreleased
                | Bug::StoresNoIdentifiers
                | Bug::StoresNoRelease
                | Bug::StoresNoClearing
                | Bug::StoresNoReceipt
                | Bug::StoresNoPosts
        )
    }

    /// It shows only where answers come later.
    pub(crate) fn is_of_a_verdict(self) -> bool {
        matches!(
            self,
            Bug::TakesOldVerdicts | Bug::TakesNoForYes | Bug::WaitsForEver | Bug::PingsAhead
        )
    }

    /// It shows only where there are hooks.
    pub(crate) fn is_of_a_hook(self) -> bool {
        matches!(
            self,
            Bug::StoresNoPosts
                | Bug::LosesPosts
                | Bug::IgnoresRewriting
                | Bug::IgnoresRefusal
                | Bug::IgnoresDeliverHook
        )
    }
}

/// What hooks publish ends with.
pub(crate) const POSTED: &[u8] = b"posted";

/// At most one bug, and how often it had a chance.
pub(crate) struct Planted {
    bug: Option<Bug>,
    chances: usize,
    /// What waits for the next packet, by client.
    kept: BTreeMap<usize, Vec<u8>>,
}

impl Planted {
    pub(crate) fn new(bug: Option<Bug>) -> Planted {
        Planted {
            bug,
            chances: 0,
            kept: BTreeMap::new(),
        }
    }

    /// What the store is given, and what it says.
    pub(crate) fn store(&self, store: &DelayedStore) {
        match self.bug {
            Some(Bug::AcknowledgesEarly) => store.lie(),
            Some(bug) if bug.is_of_the_store() => {
                store.distort(Box::new(move |change| distorted(bug, change)));
            }
            _ => {}
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// One chance of `of` is taken.
    fn now_and_then(&mut self, bug: Bug, of: usize) -> bool {
        if !self.has(bug) {
            return false;
        }
        self.chances += 1;
        self.chances.is_multiple_of(of)
    }

    pub(crate) fn stops_the_clock(&self) -> bool {
        self.has(Bug::StopsTheClock)
    }

    pub(crate) fn confuses_users(&self) -> bool {
        self.has(Bug::ConfusesUsers)
    }

    pub(crate) fn forgets_rules(&self) -> bool {
        self.has(Bug::ForgetsRules)
    }

    pub(crate) fn takes_old_verdicts(&self) -> bool {
        self.has(Bug::TakesOldVerdicts)
    }

    pub(crate) fn takes_no_for_yes(&self) -> bool {
        self.has(Bug::TakesNoForYes)
    }

    pub(crate) fn pings_ahead(&self) -> bool {
        self.has(Bug::PingsAhead)
    }

    /// How long the broker waits for an answer.
    pub(crate) fn verdict_timeout(&self, seconds: u64) -> Duration {
        Duration::from_secs(if self.has(Bug::WaitsForEver) {
            100_000
        } else {
            seconds
        })
    }

    /// What is configured as the longest keep alive.
    pub(crate) fn maximum_keep_alive(&self, seconds: Option<u16>) -> Option<u16> {
        seconds.filter(|_| !self.has(Bug::ForgetsServerKeepAlive))
    }

    /// A CONNECT on its way to the broker.
    pub(crate) fn connect(&mut self, bytes: &mut [u8], receive_maximum: u16) {
        // The keep alive stands behind the protocol's name, its version and the flags.
        let name = bytes.windows(4).position(|window| window == b"MQTT");
        if let Some(low) = name.and_then(|name| bytes.get_mut(name + 7)) {
            match self.bug {
                Some(Bug::ForgetsKeepAlive) => *low = 0,
                Some(Bug::ShortensKeepAlive) if *low > 3 => *low -= 1,
                _ => {}
            }
        }
        if !self.has(Bug::IgnoresReceiveMaximum) {
            return;
        }
        let [high, low] = receive_maximum.to_be_bytes();
        let place = bytes.windows(3).position(|window| window == [0x21, high, low]);
        if let Some(place) = place {
            bytes[place + 1] = 0xFF;
        }
    }

    /// Any other packet on its way to the broker.
    pub(crate) fn inbound(&mut self, version: ProtocolVersion, bytes: &mut Vec<u8>) {
        let (kind, is_v5) = (bytes[0] & 0xF0, version == ProtocolVersion::V5);
        match kind {
            0x30 if self.has(Bug::KeepsCleared) && bytes[0] & 0x01 != 0 && bytes.len() < 12 => {
                // No other message is as short.
                bytes[0] &= 0xFE;
            }
            0x60 if self.now_and_then(Bug::LosesRelease, 10) => bytes.clear(),
            0x80 if is_v5 && self.has(Bug::IgnoresNoLocal) => {
                if let Some(options) = bytes.last_mut() {
                    *options &= !0x04;
                }
            }
            0xE0 if is_v5 && self.has(Bug::PublishesWillAnyway) => *bytes = vec![0xE0, 0x01, 0x04],
            _ => {}
        }
    }

    /// A packet on its way to a client.
    pub(crate) fn outbound(&mut self, client: usize, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
        let kept = self.kept.remove(&client);
        let is_publish = packet[0] & 0xF0 == 0x30;
        let qos = (packet[0] >> 1) & 3;
        let mut packets = Vec::new();
        match (is_publish, qos) {
            (true, 1) if self.now_and_then(Bug::LosesQos1, 20) => packet.clear(),
            (true, 1) if self.has(Bug::UsesIdentifiersTwice) => set_identifier(&mut packet, |_| 1),
            (true, 2) if packet[0] & 0x08 == 0 && self.now_and_then(Bug::DoublesQos2, 10) => {
                packets.push(packet.clone());
                set_identifier(&mut packet, |identifier| identifier + 1000);
            }
            (true, 0) if kept.is_none() && self.now_and_then(Bug::SwapsMessages, 3) => {
                self.kept.insert(client, core::mem::take(&mut packet));
            }
            (true, _) if self.has(Bug::ForgetsDup) => packet[0] &= !0x08,
            (true, _) if self.now_and_then(Bug::ConfusesRetain, 10) => packet[0] ^= 0x01,
            _ => {}
        }
        packets.push(packet);
        packets.extend(kept);
        packets.retain(|packet| !packet.is_empty());
        packets
    }
}

/// A change as a store with that bug keeps it.
fn distorted(bug: Bug, mut change: Change) -> Option<Change> {
    match (bug, &mut change) {
        (Bug::StoresNoUnreleased, Change::Unreleased { message, .. }) => *message = None,
        (Bug::StoresNoIdentifiers, Change::Sent { .. }) => return None,
        (
            Bug::StoresNoIdentifiers,
            Change::Enqueued {
                packet_identifier, ..
            },
        ) => *packet_identifier = None,
        (Bug::StoresNoRelease, Change::Released { .. })
        | (Bug::StoresNoClearing, Change::RetainedCleared { .. })
        | (Bug::StoresNoReceipt, Change::Received { .. }) => return None,
        (Bug::StoresNoPosts, Change::Enqueued { message, .. }) if message.payload().ends_with(POSTED) => {
            return None;
        }
        _ => {}
    }
    Some(change)
}

/// Changes the Packet Identifier of a PUBLISH, which stands behind the Topic Name.
fn set_identifier(packet: &mut [u8], change: impl Fn(u16) -> u16) {
    let length = 1 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let name = usize::from(u16::from_be_bytes([packet[length], packet[length + 1]]));
    let place = length + 2 + name;
    let identifier = u16::from_be_bytes([packet[place], packet[place + 1]]);
    packet[place..place + 2].copy_from_slice(&change(identifier).to_be_bytes());
}
