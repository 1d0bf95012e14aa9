//! What a Link may receive when.

use std::sync::Arc;

use komar_codec::{PacketType, ProtocolVersion};

use super::topic_alias::TopicAliases;
use crate::access::{Credential, Decision, Exchange, Identity};
use crate::now::Millis;
use crate::session::Session;
use crate::session::counted::Counted;
use crate::sync::AtomicUsize;

/// Where a Link is in its life.
pub(crate) enum Phase {
    /// Only CONNECT is legal. v5 [MQTT-3.1.0-1], v3 [MQTT-3.1.0-1]
    AwaitingConnect,
    /// CONNECT is read; the driver or the embedder owes a verdict.
    Authenticating(Box<PendingConnect>),
    /// CONNECT is read, and the client is to go on with its exchange: AUTH or DISCONNECT. v5 [MQTT-3.1.2-30]
    Exchanging(Box<PendingConnect>),
    /// The Session and what was negotiated live here.
    Established(Box<Established>),
    /// Nothing is read any more.
    Closed,
}

/// A packet as it came, to be read again; its bytes count towards those of packets that have arrived in part.
pub(crate) struct KeptPacket {
    bytes: Vec<u8>,
    _counted: Counted,
}

impl KeptPacket {
    pub(crate) fn new(packet: &[u8], total: &Arc<AtomicUsize>) -> KeptPacket {
        let mut counted = Counted::default();
        counted.add(packet.len(), total);
        KeptPacket {
            bytes: packet.to_vec(),
            _counted: counted,
        }
    }
}

impl core::ops::Deref for KeptPacket {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A CONNECT that waits for a verdict.
pub(crate) struct PendingConnect {
    pub(crate) packet: KeptPacket,
    /// The rules under which the question was asked; under others it is asked again.
    pub(crate) epoch: u64,
    pub(crate) credential: Option<Credential>,
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    /// When it is given up; [`Millis::NEVER`] where the CONNECT timeout does that.
    pub(crate) deadline: Millis,
    pub(crate) connect_time: ConnectTime,
}

/// What is left of the CONNECT timeout: the time that a client is made to wait for a verdict does not count.
#[derive(Clone, Copy)]
pub(crate) struct ConnectTime {
    /// When the Connection was opened, so many milliseconds later as the client has waited.
    pub(crate) opened: Millis,
    /// Since when it waits.
    pub(crate) waiting: Millis,
}

/// A packet that waits for answers, to be read again.
pub(crate) struct Waiting {
    /// `None` for AUTH, whose exchange remembers where it is.
    pub(crate) packet: Option<KeptPacket>,
    /// One for each question, in their order.
    pub(crate) answers: Vec<Option<Decision>>,
    /// How many of them are not there yet.
    pub(crate) missing: usize,
    pub(crate) deadline: Millis,
    /// When it was read first.
    pub(crate) came: Millis,
    /// The rules under which the questions were asked.
    pub(crate) epoch: u64,
}

/// What a client that was let in by an exchange may do again. MQTT 5.0 §4.12.1.
pub(crate) struct Enhanced {
    pub(crate) method: Box<str>,
    /// Under way.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
}

/// What exists once a client is accepted.
pub(crate) struct Established {
    pub(crate) version: ProtocolVersion,
    pub(crate) session: Arc<Session>,
    /// The Session's epoch when this Connection was bound to it.
    pub(crate) epoch: u64,
    pub(crate) identity: Arc<Identity>,
    /// The other side is a bridge of Mosquitto's kind: all its Subscriptions are No Local and Retain As Published.
    pub(crate) bridge: bool,
    /// Our Receive Maximum and Maximum Packet Size as CONNACK told them, which a reload does not take back.
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet_size: u32,
    pub(crate) topic_aliases: TopicAliases,
    pub(crate) write_verdicts: WriteVerdicts,
    /// What its login rests on, for the next reload.
    pub(crate) proof: Proof,
    /// Nothing is read before the answers are there.
    pub(crate) waiting: Option<Box<Waiting>>,
    pub(crate) enhanced: Option<Box<Enhanced>>,
}

/// What a login rests on.
pub(crate) enum Proof {
    /// The client certificate, by the identity policy of the Link's listener.
    Certificate,
    /// Whatever the embedder said when it accepted the login.
    Login(Option<Credential>),
}

/// Whether a packet of that type may come in that phase. The whole table is in `tests/it/data/phases.txt`.
pub(crate) fn is_legal(phase: &Phase, packet: PacketType) -> bool {
    match phase {
        Phase::AwaitingConnect => packet == PacketType::Connect,
        // v5 [MQTT-3.1.0-2], v3 [MQTT-3.1.0-2]
        // v5 [MQTT-3.2.0-2]
        Phase::Established(_) => packet != PacketType::Connect,
        Phase::Exchanging(_) => matches!(packet, PacketType::Auth | PacketType::Disconnect),
        Phase::Authenticating(_) | Phase::Closed => false,
    }
}

/// Whether this Link's user may write to the Topic Names that it published to last.
#[derive(Default)]
pub(crate) struct WriteVerdicts(Option<Box<Remembered>>);

/// Made when first needed: most Connections publish nothing, or nobody has to be asked.
#[derive(Default)]
struct Remembered {
    /// The rules that the verdicts come from.
    epoch: u64,
    recent: Vec<(String, bool)>,
    next: usize,
}

impl Remembered {
    /// Forgets what comes from other rules.
    fn be_of(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.recent.clear();
            self.epoch = epoch;
        }
    }
}

impl ConnectTime {
    /// Stops at `now`, for a Connection that was `opened` then.
    pub(crate) fn stopped(opened: Millis, now: Millis) -> ConnectTime {
        ConnectTime { opened, waiting: now }
    }

    /// Goes on: when the Connection would have been opened, had it never waited.
    pub(crate) fn resumed(self, now: Millis) -> Millis {
        self.opened.after(now.since(self.waiting))
    }
}

impl WriteVerdicts {
    pub(crate) fn find(&mut self, epoch: u64, topic_name: &str) -> Option<bool> {
        let remembered = self.0.as_mut()?;
        remembered.be_of(epoch);
        remembered
            .recent
            .iter()
            .find(|(known, _)| known == topic_name)
            .map(|(_, verdict)| *verdict)
    }

    pub(crate) fn remember(&mut self, epoch: u64, topic_name: &str, verdict: bool) {
        if topic_name.len() > LONGEST_REMEMBERED {
            return;
        }
        let remembered = self.0.get_or_insert_default();
        remembered.be_of(epoch);
        if remembered.recent.len() < REMEMBERED {
            remembered.recent.push((topic_name.to_owned(), verdict));
        } else if let Some((name, old)) = remembered.recent.get_mut(remembered.next) {
            // The text's buffer is used again: a publisher of many topics costs no allocations.
            name.clear();
            name.push_str(topic_name);
            *old = verdict;
        }
        remembered.next = (remembered.next + 1) % REMEMBERED;
    }
}

const REMEMBERED: usize = 8;
const LONGEST_REMEMBERED: usize = 256;
