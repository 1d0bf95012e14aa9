//! A seeded simulation: clients, workers and a clock do what a seed says, and the broker is held against `model.rs` after
//! each step. A failure prints the seed and the last steps; `KOMAR_SIMULATION=seed:123` plays it again, and
//! `KOMAR_SIMULATION=steps:100000000` plays for longer, `KOMAR_SIMULATION=seeds:2500..5000` other seeds.
//!
//! In two seeds of three there are no hooks, and in half of them no store. In one of eight some
//! answers come later. What is not played, and has tests of its own: clients of the same process (`local.rs`).

mod hooks;
mod later;
mod power;
mod silence;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::{
    Access, Action, Authenticate, Authorize, Broker, BrokerConfig, Decision, Hooks, LinkState,
    ListenerPolicy, Subject,
};
use komar_codec::{
    Connect, ConnectProperties, DecodeOptions, Disconnect, Framing, Packet, PacketIdentifier,
    ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, QoS, ReasonCode,
    RetainHandling, Role, Subscribe, SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters,
    Will, WillProperties, frame,
};
use komar_testkit::{DelayedStore, PeerId, Random, Site};
use power::Power;

use crate::model::{ClientNumber, Denied, Line, Message, Model, Options, Received, Settings, User, Who};
use crate::planted::{Bug, Planted};

/// Steps that every test run makes.
const STEPS: u64 = 1_000_000;
/// Steps with one seed: then everybody comes to rest, and the broker is another one.
const STEPS_A_SEED: u64 = 400;
const CLIENTS: usize = 6;
/// The name of the other user.
const ANOTHER: &str = "another";
/// Steps that a failure shows.
const LAST_STEPS: usize = 2000;
const TOPICS: [&str; 7] = ["a", "a/b", "a/c", "b", "b/c", "c/b/a", "$s/x"];
const FILTERS: [&str; 11] = [
    "#",
    "+",
    "a/#",
    "a/+",
    "+/b",
    "a/b",
    "b",
    "$s/#",
    "$share/g/a/#",
    "$share/h/+",
    "$share/g/b",
];

#[test]
fn the_broker_agrees_with_the_model() {
    for seed in asked() {
        if let Err(failure) = Simulation::run(seed, None) {
            panic!("seed {seed}: {failure}\nreplay with KOMAR_SIMULATION=seed:{seed}");
        }
    }
}

/// Which seeds are played.
fn asked() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap();
    match std::env::var("KOMAR_SIMULATION") {
        Ok(text) => match text.split_once(':') {
            Some(("seed", seed)) => number(seed)..number(seed) + 1,
            Some(("seeds", seeds)) => {
                let (first, end) = seeds.split_once("..").unwrap();
                number(first)..number(end)
            }
            Some(("steps", steps)) => 0..number(steps) / STEPS_A_SEED,
            _ => panic!("KOMAR_SIMULATION is seed:number, seeds:number..number or steps:number"),
        },
        Err(_) => 0..STEPS / STEPS_A_SEED,
    }
}

/// A bug in the broker that the model does not find is a hole in the model: each of these is found.
#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        let found =
            (0..300).find_map(|seed| Simulation::run(seed, Some(bug)).err().map(|error| (seed, error)));
        let Some((seed, error)) = found else {
            panic!("{bug:?} is not found");
        };
        let why = error.lines().next().unwrap_or_default();
        println!("{bug:?}: seed {seed}: {why}");
    }
}

/// Rules as a list of what is denied, and where some answers come later.
struct DenyList(Denied, Option<Arc<later::Desk>>);

impl Authorize for DenyList {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        let client = subject.client_id.trim_start_matches('c').parse().unwrap_or(0);
        let user = User::from(subject.username.is_some());
        if let Some(desk) = &self.1
            && desk.asks(subject, client, user, action)
        {
            return Decision::Later;
        }
        let denied = match action {
            Action::Publish(name) => self.0.contains(&(true, client, user, name.as_str().to_owned())),
            Action::Receive(name) => self.0.contains(&(false, client, user, name.as_str().to_owned())),
            _ => false,
        };
        if denied { Decision::Deny } else { Decision::Allow }
    }
}

fn access(denied: &Denied, desk: Option<&Arc<later::Desk>>) -> Access {
    let authorize = Some(Arc::new(DenyList(denied.clone(), desk.cloned())) as Arc<dyn Authorize>);
    match desk {
        Some(desk) => Access {
            authenticate: Arc::clone(desk) as Arc<dyn Authenticate>,
            authorize,
        },
        None => Access {
            authorize,
            ..Access::allow_all()
        },
    }
}

/// A packet as a client sends it.
#[derive(Clone, Debug)]
enum Sent {
    Publish(u16, bool, Message),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe(u16, String, Options),
    Unsubscribe(u16, String),
    Ping,
    Disconnect,
}

/// A client: what it has sent and what it has not answered yet.
struct Client {
    is_v5: bool,
    /// As whom it has connected last.
    user: User,
    peer: Option<PeerId>,
    worker: usize,
    bytes: Vec<u8>,
    /// Read from the socket and not looked at.
    mailbox: VecDeque<(u64, Vec<u8>)>,
    owed: VecDeque<Sent>,
    aliases: BTreeMap<u16, String>,
    /// Messages of its own under way: the message, and whether PUBREC has come.
    outgoing: BTreeMap<u16, (Message, bool)>,
    outgoing_order: Vec<u16>,
    last_identifier: u16,
    pings: usize,
    is_slow: bool,
    /// It says nothing of its own accord, however long.
    falls_silent: bool,
    /// What the broker has not handled: it waits for an answer to what the first of it asks.
    line: Line<Sent>,
    /// It has sent DISCONNECT.
    leaves: bool,
    /// SUBSCRIBE and UNSUBSCRIBE packets that are not answered.
    asked: VecDeque<Asked>,
}

/// A client that has sent CONNECT.
struct Entering {
    client: ClientNumber,
    user: User,
    peer: PeerId,
    worker: usize,
    clean_start: bool,
    expiry: Option<u64>,
    receive_maximum: u16,
    keep_alive: u16,
    will: Option<(Message, u64)>,
    /// PINGREQ packets behind CONNECT.
    pings: usize,
}

/// What the answer to a SUBSCRIBE or UNSUBSCRIBE is about: the filter.
enum Asked {
    Subscribed(String),
    Refused,
    Unsubscribed(String),
}

struct Simulation {
    random: Random,
    site: Site,
    model: Model,
    policy: Arc<ListenerPolicy>,
    clients: Vec<Client>,
    numbers: u64,
    identifiers: u32,
    /// The last steps. `None`: nobody has asked for them, and writing them takes long.
    trace: Option<VecDeque<String>>,
    planted: Planted,
    /// With a store, that loses its power.
    power: Option<Power>,
    /// With hooks, of which that for PUBLISH takes orders.
    has_hooks: bool,
    /// What the deliver hook leaves out.
    withheld: Denied,
    /// Connections that have ended, by client, and what the disconnect hook has published since that was looked at last.
    ends: BTreeMap<ClientNumber, usize>,
    last_words: hooks::LastWords,
    /// Where some answers come later.
    later: Option<later::Later>,
    /// The last order of a message before the present step.
    step_began: u64,
}

type Outcome<T = ()> = Result<T, String>;

impl Simulation {
    /// Plays a seed; once more, with a trace, if it fails.
    fn run(seed: u64, bug: Option<Bug>) -> Outcome {
        if Simulation::new(seed, bug).play().is_ok() {
            return Ok(());
        }
        let mut again = Simulation::new(seed, bug);
        again.trace = Some(VecDeque::new());
        let Err(error) = again.play() else {
            return Err(
                "it failed, and not when played again: something depends on more than the seed".to_owned(),
            );
        };
        let trace: Vec<String> = again.trace.into_iter().flatten().collect();
        Err(format!("{error}\nlast steps:\n{}", trace.join("\n")))
    }

    fn new(seed: u64, bug: Option<Bug>) -> Simulation {
        let mut random = Random::new(seed);
        let has_hooks = seed.is_multiple_of(3) || bug.is_some_and(Bug::is_of_a_hook);
        let settings = Settings {
            allow_duplicates: random.chance(70),
            inflight: *random.pick(&[1, 2, 5, 20]),
            queued: random.chance(30).then(|| *random.pick(&[2, 10])),
            queue_qos0: random.chance(20),
            small_outbox: random.chance(30),
            retained_expiry: random.chance(20).then_some(20),
            maximum_keep_alive: (random.chance(20) && bug != Some(Bug::ForgetsKeepAlive))
                .then_some(silence::MAXIMUM_KEEP_ALIVE),
            publish_hook: has_hooks,
        };
        let planted = Planted::new(bug);
        let mut config = BrokerConfig::default();
        config.allow_duplicate_messages = settings.allow_duplicates;
        config.queue_qos0_messages = settings.queue_qos0;
        config.retained_expiry_maximum = settings.retained_expiry.map(Duration::from_secs);
        config.maximum_keep_alive = planted.maximum_keep_alive(settings.maximum_keep_alive);
        config.limits.maximum_inflight_messages = u16::try_from(settings.inflight).unwrap();
        config.limits.maximum_queued_messages = settings.queued;
        if settings.small_outbox {
            config.limits.maximum_outbox_bytes = 100;
        }
        let workers = *random.pick(&[1, 2, 3]);
        config.durable = random.chance(50) || bug.is_some_and(Bug::is_of_the_store);
        let later = (seed % 8 == 1 || bug.is_some_and(Bug::is_of_a_verdict)).then(later::Later::default);
        let desk = later.as_ref().map(|later| &later.desk);
        config.limits.verdict_timeout = planted.verdict_timeout(later::TIMEOUT);
        let last_words = hooks::LastWords::default();
        let hooks = if has_hooks {
            hooks::hooks(bug, &last_words)
        } else {
            Hooks::default()
        };
        let broker = Broker::with_hooks(config.clone(), access(&Denied::new(), desk), hooks.clone(), 7);
        let mut site = Site::with_broker(broker, workers);
        site.set_order(seed);
        let withheld = if has_hooks {
            hooks::withheld()
        } else {
            Denied::new()
        };
        let power = config.durable.then(|| {
            let store = DelayedStore::default();
            store.shuffle(seed);
            planted.store(&store);
            site.set_store(Box::new(store.clone()));
            Power::new(store, config, hooks)
        });
        let mut model = Model::new(settings);
        model.set_denied(withheld.clone());
        let clients = (0..CLIENTS)
            .map(|number| Client {
                is_v5: number % 3 != 2,
                user: 0,
                peer: None,
                worker: number,
                bytes: Vec::new(),
                mailbox: VecDeque::new(),
                owed: VecDeque::new(),
                aliases: BTreeMap::new(),
                outgoing: BTreeMap::new(),
                outgoing_order: Vec::new(),
                last_identifier: 0,
                pings: 0,
                is_slow: false,
                falls_silent: false,
                line: Line::default(),
                leaves: false,
                asked: VecDeque::new(),
            })
            .collect();
        Simulation {
            random,
            site,
            model,
            policy: Arc::default(),
            clients,
            numbers: 0,
            identifiers: 0,
            trace: None,
            planted,
            power,
            has_hooks,
            withheld,
            ends: BTreeMap::new(),
            last_words,
            later,
            step_began: 0,
        }
    }

    fn play(&mut self) -> Outcome {
        for _ in 0..STEPS_A_SEED {
            self.step()?;
            self.check()?;
            self.end_step()?;
            self.check_questions()?;
        }
        self.answer_all()?;
        self.commit_all()?;
        self.come_to_rest()?;
        self.leave()
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        if trace.len() >= LAST_STEPS {
            trace.pop_front();
        }
        trace.push_back(format!("  {} s: {}", self.model.now, text()));
    }

    fn step(&mut self) -> Outcome {
        self.step_began = self.model.last_order();
        let client = self.random.below(CLIENTS);
        if self.clients[client].peer.is_none() {
            return match self.random.below(10) {
                0 => self.advance(),
                1 => self.reload(),
                _ => self.connect(client),
            };
        }
        if self.later.is_some() && (self.clients[client].leaves || self.random.chance(6)) {
            return self.answer_something();
        }
        if self.has_hooks && self.clients[client].line.is_empty() && self.random.chance(4) {
            return self.call_hook(client);
        }
        if self.has_hooks && self.random.chance(2) {
            return self.be_turned_away(client);
        }
        match self.random.below(100) {
            0..=3 => self.connect(client),
            4..=6 => self.leave_properly(client),
            7..=9 => self.hang_up(client),
            10..=12 => self.cut(client),
            13..=20 => self.subscribe(client),
            21..=23 => self.unsubscribe(client),
            24..=50 => self.publish(client),
            51..=56 => self.burst(),
            57..=80 => self.read(client, 4),
            81..=88 => self.answer(client, 4),
            89..=90 => self.ping(client),
            91..=92 => self.slow(client),
            93..=95 => self.advance(),
            96 => self.reload(),
            97 => self.broker_publishes(),
            _ => self.change_worker(client),
        }
    }

    fn connect(&mut self, client: ClientNumber) -> Outcome {
        let is_v5 = self.clients[client].is_v5;
        let user = self.clients[client].user ^ User::from(self.random.chance(20));
        let clean_start = self.random.chance(20);
        let seconds = *self.random.pick(&[0u32, 5, 30, u32::MAX]);
        // 3.x has no other choice.
        let seconds = match (is_v5, clean_start) {
            (true, _) => seconds,
            (false, true) => 0,
            (false, false) => u32::MAX,
        };
        let expiry = (seconds != u32::MAX).then_some(u64::from(seconds));
        let receive_maximum = *self.random.pick(&[1u16, 3, 100]);
        let keep_alive = self.keep_alive(is_v5);
        let will = self.random.chance(30).then(|| {
            let mut message = self.message(Some(client), false);
            message.user = user;
            let delay = if is_v5 { *self.random.pick(&[0, 0, 3]) } else { 0 };
            // Of two that are due at the same time either may come last, and be what is retained.
            if (delay > 0 || self.model.effective(keep_alive) > 0) && message.retain {
                message.topic = TOPICS[client].to_owned();
            }
            (message, delay)
        });
        let aliases = *self.random.pick(&[0u16, 0, 1, 3]);
        self.note(|| {
            format!("c{client} connects as {user}: clean {clean_start}, expiry {expiry:?}, maximum {receive_maximum}, keep alive {keep_alive}, will {will:?}")
        });
        let client_id = format!("c{client}");
        let version = self.version(client);
        let payload = will
            .as_ref()
            .map(|(message, _)| payload(message))
            .unwrap_or_default();
        let packet = Connect {
            version,
            bridge: false,
            clean_start,
            keep_alive,
            client_id: &client_id,
            username: (user > 0 && !self.planted.confuses_users()).then_some(ANOTHER),
            password: None,
            will: will.as_ref().map(|(message, delay)| Will {
                topic_name: &message.topic,
                payload: &payload,
                qos: qos(message.qos),
                retain: message.retain,
                properties: WillProperties {
                    will_delay_interval: (*delay > 0).then_some(u32::try_from(*delay).unwrap_or(0)),
                    ..WillProperties::default()
                },
            }),
            properties: ConnectProperties {
                session_expiry_interval: (is_v5 && seconds > 0).then_some(seconds),
                receive_maximum: NonZeroU16::new(receive_maximum).filter(|_| is_v5),
                topic_alias_maximum: Some(aliases).filter(|aliases| is_v5 && *aliases > 0),
                ..ConnectProperties::default()
            },
        };
        let mut bytes = Vec::new();
        packet
            .encode(version, &mut bytes)
            .map_err(|error| error.to_string())?;
        self.planted.connect(&mut bytes, receive_maximum);
        let worker = self.random.below(3);
        let peer = self.site.open(worker, &self.policy);
        self.site.send(peer, &bytes);
        let entering = Entering {
            client,
            user,
            peer,
            worker,
            clean_start,
            expiry,
            receive_maximum,
            keep_alive,
            will,
            pings: 0,
        };
        if self.later.is_some() && later::logs_in_later(client, user) {
            return self.knock(entering);
        }
        self.enter(entering)
    }

    /// A client is let in.
    fn enter(&mut self, entering: Entering) -> Outcome {
        let Entering {
            client, user, peer, ..
        } = entering;
        let (is_v5, version) = (self.clients[client].is_v5, self.version(client));
        if self.clients[client].peer.is_some() {
            self.has_ended(client);
        }
        self.forget_connection(client);
        let falls_silent = self.random.chance(40);
        let state = &mut self.clients[client];
        (state.worker, state.user, state.falls_silent) = (entering.worker, user, falls_silent);
        (state.peer, state.pings) = (Some(peer), entering.pings);
        let limit = if is_v5 {
            usize::from(entering.receive_maximum)
        } else {
            usize::MAX
        };
        let who = Who { client, user, is_v5 };
        let present = self
            .model
            .connect(who, entering.clean_start, entering.expiry, limit, entering.will);
        let told = self.model.keep_alive(client, entering.keep_alive);
        self.settle()?;
        self.commit_all()?;
        // CONNACK comes first. v5 [MQTT-3.2.0-1]
        let (_, first) = self.clients[client].mailbox.pop_front().ok_or("no CONNACK")?;
        let options = DecodeOptions::new(version, Role::Client);
        let Ok(Framing::Complete(whole)) = frame(&first, &options) else {
            return Err("no packet".to_owned());
        };
        match Packet::decode(whole, &options).map_err(|error| error.to_string())? {
            Packet::ConnAck(answer) => {
                // v5 [MQTT-3.2.2-2], v5 [MQTT-3.2.2-3]
                if answer.reason_code != ReasonCode::Success || answer.session_present != present {
                    return Err(format!("{answer:?}, and session present should be {present}"));
                }
                // v5 [MQTT-3.2.2-21]
                if answer.properties.server_keep_alive != told {
                    return Err(format!("{answer:?}, and the keep alive should be {told:?}"));
                }
            }
            other => return Err(format!("{other:?} before CONNACK")),
        }
        if present {
            self.send_again(client)
        } else {
            let state = &mut self.clients[client];
            state.outgoing.clear();
            state.outgoing_order.clear();
            Ok(())
        }
    }

    /// What a client does after it has found its Session. v5 [MQTT-4.4.0-1]
    fn send_again(&mut self, client: ClientNumber) -> Outcome {
        let state = &self.clients[client];
        let again: Vec<Sent> = state
            .outgoing_order
            .iter()
            .filter_map(|identifier| {
                let (message, recorded) = state.outgoing.get(identifier)?;
                Some(if *recorded {
                    Sent::PubRel(*identifier)
                } else {
                    Sent::Publish(*identifier, true, message.clone())
                })
            })
            .collect();
        if !again.is_empty() {
            self.note(|| format!("c{client} sends again {again:?}"));
        }
        self.send(client, again)
    }

    fn leave_properly(&mut self, client: ClientNumber) -> Outcome {
        self.note(|| format!("c{client} disconnects"));
        self.clients[client].leaves = true;
        self.send(client, vec![Sent::Disconnect])
    }

    fn hang_up(&mut self, client: ClientNumber) -> Outcome {
        self.note(|| format!("c{client} hangs up"));
        let Some(peer) = self.clients[client].peer.take() else {
            return Ok(());
        };
        self.site.hang_up(peer);
        self.has_ended(client);
        self.model.disconnect(client, false);
        self.forget_connection(client);
        self.settle()
    }

    /// The connection breaks while the client sends: just the first bytes arrive.
    fn cut(&mut self, client: ClientNumber) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let mut packets = self.take_owed(client, 3);
        packets.extend(self.new_publishes(client, 2));
        let ends: Vec<(Sent, Vec<u8>)> = packets
            .into_iter()
            .map(|packet| {
                let bytes = self.encode(client, &packet);
                (packet, bytes)
            })
            .collect();
        let total: usize = ends.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut left = self.random.below(total + 1);
        self.note(|| format!("c{client} is cut off after {left} of {total} bytes: {ends:?}"));
        for (packet, bytes) in ends {
            let arrives = left.min(bytes.len());
            self.site.send(peer, &bytes[..arrives]);
            left -= arrives;
            if arrives == bytes.len() && !bytes.is_empty() {
                self.was_sent(client, &packet);
            }
        }
        self.hang_up(client)
    }

    fn subscribe(&mut self, client: ClientNumber) -> Outcome {
        let is_v5 = self.clients[client].is_v5;
        let mut filter = *self.random.pick(&FILTERS);
        // A 3.x client could not tell for which Subscription a message came.
        while !is_v5 && filter.starts_with("$share") {
            filter = *self.random.pick(&FILTERS);
        }
        let is_shared = filter.starts_with("$share");
        self.identifiers += 1;
        let options = Options {
            qos: if is_shared {
                1 + u8::from(self.random.chance(50))
            } else {
                u8::try_from(self.random.below(3)).unwrap_or(0)
            },
            no_local: is_v5 && !is_shared && self.random.chance(20),
            as_published: is_v5 && self.random.chance(30),
            handling: if is_v5 {
                u8::try_from(self.random.below(3)).unwrap_or(0)
            } else {
                0
            },
            identifier: if is_v5 { self.identifiers } else { 0 },
        };
        self.note(|| format!("c{client} subscribes to {filter}: {options:?}"));
        self.send(client, vec![Sent::Subscribe(60_000, filter.to_owned(), options)])
    }

    fn unsubscribe(&mut self, client: ClientNumber) -> Outcome {
        let filter = (*self.random.pick(&FILTERS)).to_owned();
        self.note(|| format!("c{client} unsubscribes from {filter}"));
        self.send(client, vec![Sent::Unsubscribe(60_001, filter)])
    }

    fn publish(&mut self, client: ClientNumber) -> Outcome {
        let count = 1 + self.random.below(3);
        let packets = self.new_publishes(client, count);
        self.note(|| format!("c{client} publishes {packets:?}"));
        self.send(client, packets)
    }

    /// Several clients publish at once; the broker reads them in an order of its own.
    fn burst(&mut self) -> Outcome {
        let before = self.model.last_order();
        for client in 0..CLIENTS {
            let Some(peer) = self.clients[client].peer.filter(|_| !self.clients[client].leaves) else {
                continue;
            };
            let mut packets = self.new_publishes(client, 3);
            // What is retained in the end would depend on the order.
            // So would what comes first of what hooks publish, which has no other publisher.
            packets.retain(|packet| match packet {
                Sent::Publish(_, _, message) => {
                    let posts = ["hook/publish/", "hook/copy/"];
                    !message.retain && !posts.iter().any(|order| message.topic.starts_with(order))
                }
                _ => true,
            });
            self.note(|| format!("c{client}, among others, publishes {packets:?}"));
            for packet in packets {
                let bytes = self.encode(client, &packet);
                self.site.send(peer, &bytes);
                self.was_sent(client, &packet);
            }
        }
        self.model.came_in_any_order(before);
        self.settle()
    }

    fn broker_publishes(&mut self) -> Outcome {
        let mut message = self.message(None, true);
        message.expires = None;
        self.note(|| format!("the broker publishes {message:?}"));
        let payload = payload(&message);
        self.site
            .publish(&message.topic, &payload, qos(message.qos), message.retain)
            .map_err(|error| error.to_string())?;
        self.model.route(message);
        self.settle()
    }

    fn ping(&mut self, client: ClientNumber) -> Outcome {
        self.send(client, vec![Sent::Ping])
    }

    fn slow(&mut self, client: ClientNumber) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let room = self.random.chance(60).then(|| self.random.below(200));
        self.note(|| format!("c{client} takes {room:?} bytes"));
        self.clients[client].is_slow = room.is_some();
        self.model.set_slow(client, room.is_some());
        self.site.set_room(peer, room);
        self.settle()
    }

    fn change_worker(&mut self, client: ClientNumber) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let worker = self.random.below(3);
        self.note(|| format!("c{client} moves to worker {worker}"));
        self.site.change_worker(peer, worker);
        self.settle()
    }

    fn advance(&mut self) -> Outcome {
        let seconds = *self.random.pick(&[1u64, 1, 2, 5, 40]);
        self.note(|| format!("{seconds} s pass"));
        self.commit_all()?;
        for _ in 0..seconds {
            let falls = self.answer_in_time()?;
            self.speak_in_time(falls.is_some())?;
            self.model.tick();
            if !self.planted.stops_the_clock() {
                self.site.advance(Duration::from_secs(1));
            }
            self.give_up_waiting(falls)?;
            self.end_the_silent()?;
            self.hear_last_words()?;
            self.collect()?;
            self.commit_all()?;
        }
        Ok(())
    }

    fn reload(&mut self) -> Outcome {
        let mut denied = Denied::new();
        for _ in 0..self.random.below(6) {
            let topic = (*self.random.pick(&TOPICS)).to_owned();
            let user = User::from(self.random.chance(30));
            denied.insert((self.random.chance(40), self.random.below(CLIENTS), user, topic));
        }
        self.note(|| format!("rules: {denied:?}"));
        if !self.planted.forgets_rules() {
            let desk = self.later.as_ref().map(|later| &later.desk);
            self.site.broker().set_access(access(&denied, desk));
            if let Some(later) = &mut self.later {
                later.rules += 1;
            }
        }
        self.commit_all()?;
        denied.extend(self.withheld.clone());
        self.model.set_denied(denied);
        self.settle()?;
        self.commit_all()
    }

    fn message(&mut self, publisher: Option<ClientNumber>, may_expire: bool) -> Message {
        self.numbers += 1;
        let retain = self.random.chance(20);
        let is_empty = retain && self.random.chance(20);
        Message {
            // An empty payload says nothing; which of several came does not matter at QoS 0.
            number: if is_empty { 0 } else { self.numbers },
            publisher,
            user: publisher.map_or(0, |publisher| self.clients[publisher].user),
            topic: (*self.random.pick(&TOPICS)).to_owned(),
            qos: if is_empty {
                0
            } else {
                u8::try_from(self.random.below(3)).unwrap_or(0)
            },
            retain,
            is_empty,
            moved: false,
            expires: (may_expire && !is_empty && self.random.chance(20))
                .then(|| self.model.now + *self.random.pick(&[1u64, 3, 10])),
        }
    }

    /// As many as the broker's Receive Maximum allows.
    fn new_publishes(&mut self, client: ClientNumber, count: usize) -> Vec<Sent> {
        let is_v5 = self.clients[client].is_v5;
        let mut packets = Vec::new();
        for _ in 0..count {
            let mut message = self.message(Some(client), is_v5);
            self.make_order(&mut message);
            let state = &mut self.clients[client];
            if message.qos == 0 {
                packets.push(Sent::Publish(0, false, message));
                continue;
            }
            if state.outgoing.len() >= self.model.settings.inflight {
                continue;
            }
            state.last_identifier = state.last_identifier % 100 + 1;
            while state.outgoing.contains_key(&state.last_identifier) {
                state.last_identifier = state.last_identifier % 100 + 1;
            }
            let identifier = state.last_identifier;
            state.outgoing.insert(identifier, (message.clone(), false));
            state.outgoing_order.push(identifier);
            packets.push(Sent::Publish(identifier, false, message));
        }
        packets
    }

    fn send(&mut self, client: ClientNumber, packets: Vec<Sent>) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let is_last = |packet: &Sent| matches!(packet, Sent::Disconnect);
        if self.clients[client].leaves && !packets.iter().any(is_last) {
            return Ok(());
        }
        for packet in packets {
            let bytes = self.encode(client, &packet);
            self.site.send(peer, &bytes);
            self.was_sent(client, &packet);
        }
        self.settle()
    }

    /// The broker will get it.
    fn was_sent(&mut self, client: ClientNumber, packet: &Sent) {
        if self.later.is_some() {
            self.stand_in_line(client, packet);
        } else {
            self.is_handled(client, packet, None);
        }
    }

    /// The broker has handled it. `verdict`: what was answered to its question, if it raised one.
    fn is_handled(&mut self, client: ClientNumber, packet: &Sent, verdict: Option<bool>) {
        if let Some(power) = &mut self.power {
            power.forget(&self.model, client, packet);
        }
        self.model.speaks(client);
        match packet {
            Sent::Publish(identifier, dup, message) => {
                self.model
                    .publish(client, *identifier, *dup, message.clone(), verdict);
            }
            Sent::PubRel(identifier) => self.model.release(client, *identifier),
            Sent::PubAck(identifier) => self.model.acknowledged(client, *identifier),
            Sent::PubRec(identifier) => self.model.recorded(client, *identifier),
            Sent::PubComp(identifier) => self.model.completed(client, *identifier),
            Sent::Subscribe(_, filter, options) => {
                let refused = verdict == Some(false)
                    || self.has_hooks && hooks::refuses(self.clients[client].user, filter);
                let asked = &mut self.clients[client].asked;
                if refused {
                    asked.push_back(Asked::Refused);
                } else {
                    asked.push_back(Asked::Subscribed(filter.clone()));
                    self.model.subscribe(client, filter, *options);
                }
            }
            Sent::Unsubscribe(_, filter) => {
                let asked = Asked::Unsubscribed(filter.clone());
                self.clients[client].asked.push_back(asked);
                self.model.unsubscribe(client, filter);
            }
            Sent::Ping => self.clients[client].pings += 1,
            Sent::Disconnect => {
                self.has_ended(client);
                self.model.disconnect(client, true);
                self.clients[client].peer = None;
                self.forget_connection(client);
            }
        }
    }

    fn forget_connection(&mut self, client: ClientNumber) {
        let state = &mut self.clients[client];
        state.bytes.clear();
        state.mailbox.clear();
        state.owed.clear();
        state.aliases.clear();
        state.pings = 0;
        state.is_slow = false;
        state.asked.clear();
        state.leaves = false;
        state.line.clear();
        self.nobody_waits(client);
    }

    fn settle(&mut self) -> Outcome {
        self.site.settle();
        self.hear_last_words()?;
        self.hear_questions()?;
        self.collect()
    }

    /// Takes what has arrived into the mailboxes.
    fn collect(&mut self) -> Outcome {
        for notice in self.site.take_notices() {
            self.note(|| format!("(the broker: {})", notice.0));
        }
        for client in 0..CLIENTS {
            let Some(peer) = self.clients[client].peer else {
                continue;
            };
            let version = self.version(client);
            let bytes = self.site.take_bytes(peer);
            let state = &mut self.clients[client];
            state.bytes.extend(bytes);
            let options = DecodeOptions::new(version, Role::Client);
            loop {
                let whole = match frame(&state.bytes, &options) {
                    Ok(Framing::Complete(whole)) => whole.len(),
                    Ok(Framing::Incomplete { .. }) => break,
                    Err(error) => return Err(format!("c{client} got no packet: {error}")),
                };
                let packet: Vec<u8> = state.bytes.drain(..whole).collect();
                for packet in self.planted.outbound(client, packet) {
                    state.mailbox.push_back((self.model.now, packet));
                }
            }
            if self.site.link_state(peer) == LinkState::Closing || self.site.is_closed(peer) {
                let cause = self.site.close_cause(peer);
                return Err(format!("c{client} was disconnected: {cause:?}"));
            }
        }
        Ok(())
    }

    /// The client looks at some of what has come.
    fn read(&mut self, client: ClientNumber, count: usize) -> Outcome {
        for _ in 0..count {
            let Some((arrived, packet)) = self.clients[client].mailbox.pop_front() else {
                return Ok(());
            };
            self.look_at(client, arrived, &packet)?;
        }
        Ok(())
    }

    fn look_at(&mut self, client: ClientNumber, arrived: u64, bytes: &[u8]) -> Outcome {
        let version = self.version(client);
        let options = DecodeOptions::new(version, Role::Client);
        let Ok(Framing::Complete(whole)) = frame(bytes, &options) else {
            return Err("no packet".to_owned());
        };
        let packet = Packet::decode(whole, &options).map_err(|error| format!("c{client}: {error}"))?;
        let state = &mut self.clients[client];
        match packet {
            Packet::Publish(publish) => {
                let topic = topic_of(state, &publish)?;
                let came = Received {
                    identifier: publish.packet_identifier.map(PacketIdentifier::get),
                    dup: publish.dup,
                    qos: publish.qos.as_u8(),
                    retain: publish.retain,
                    topic,
                    number: number_of(publish.payload)?,
                    identifiers: sorted(publish.properties.subscription_identifiers.iter()),
                    expiry: publish.properties.message_expiry_interval.map(u64::from),
                    arrived,
                };
                self.note(|| format!("c{client} gets {came:?}"));
                self.model
                    .received(client, &came)
                    .map_err(|error| format!("c{client} got {came:?}: {error}"))?;
                if let Some(power) = &mut self.power {
                    power.received(client, &came);
                }
                let owed = &mut self.clients[client].owed;
                match (came.qos, came.identifier) {
                    (1, Some(identifier)) => owed.push_back(Sent::PubAck(identifier)),
                    (2, Some(identifier)) => owed.push_back(Sent::PubRec(identifier)),
                    _ => {}
                }
            }
            Packet::PubRel(release) => {
                let identifier = release.packet_identifier.get();
                self.model.check_release(client, identifier)?;
                self.clients[client].owed.push_back(Sent::PubComp(identifier));
            }
            Packet::PubAck(answer) => self.is_over(client, answer.packet_identifier.get()),
            Packet::PubComp(answer) => self.is_over(client, answer.packet_identifier.get()),
            Packet::PubRec(answer) => {
                let identifier = answer.packet_identifier.get();
                if answer.reason_code.is_error() {
                    self.is_over(client, identifier);
                } else if let Some((_, recorded)) = state.outgoing.get_mut(&identifier) {
                    *recorded = true;
                    state.owed.push_back(Sent::PubRel(identifier));
                    if let Some(power) = &mut self.power {
                        power.told.recorded.insert((client, identifier));
                    }
                }
            }
            Packet::PingResp => {
                state.pings = state
                    .pings
                    .checked_sub(1)
                    .ok_or("a PINGRESP that nobody asked for")?;
            }
            Packet::SubAck(answer) => {
                let asked = state.asked.pop_front().ok_or("an answer to nothing")?;
                let is_refused = answer.reason_codes.iter().any(|code| code.is_error());
                match asked {
                    Asked::Subscribed(filter) if !is_refused => self.was_answered(client, true, filter),
                    Asked::Refused if is_refused => {}
                    _ => return Err(format!("c{client} got {answer:?}")),
                }
            }
            Packet::UnsubAck(answer) => match state.asked.pop_front() {
                Some(Asked::Unsubscribed(filter)) => self.was_answered(client, false, filter),
                _ => return Err(format!("c{client} got {answer:?}")),
            },
            other => return Err(format!("c{client} got {other:?}")),
        }
        Ok(())
    }

    /// SUBACK or UNSUBACK. It says nothing about a Subscription that the client has asked for anew, or given up, since.
    fn was_answered(&mut self, client: ClientNumber, is_subscribed: bool, filter: String) {
        let is_about_it = |asked: &Asked| match asked {
            Asked::Subscribed(other) | Asked::Unsubscribed(other) => *other == filter,
            Asked::Refused => false,
        };
        let is_old = self.clients[client].asked.iter().any(is_about_it);
        if let Some(power) = self.power.as_mut().filter(|_| !is_old) {
            power.told.answered(client, is_subscribed, filter);
        }
    }

    fn is_over(&mut self, client: ClientNumber, identifier: u16) {
        let state = &mut self.clients[client];
        let over = state.outgoing.remove(&identifier);
        if let (Some(power), Some((message, _))) = (&mut self.power, over) {
            power.told.arrived.insert(message.number);
            power.told.recorded.remove(&(client, identifier));
        }
        state.outgoing_order.retain(|other| *other != identifier);
    }

    fn take_owed(&mut self, client: ClientNumber, count: usize) -> Vec<Sent> {
        let owed = &mut self.clients[client].owed;
        let count = count.min(owed.len());
        owed.drain(..count).collect()
    }

    fn answer(&mut self, client: ClientNumber, count: usize) -> Outcome {
        let packets = self.take_owed(client, count);
        if packets.is_empty() {
            return Ok(());
        }
        self.note(|| format!("c{client} answers {packets:?}"));
        self.send(client, packets)
    }

    /// Figures of the broker and of the model agree.
    fn check(&mut self) -> Outcome {
        let figures = self.site.broker().statistics();
        let connected = self
            .model
            .sessions
            .values()
            .filter(|session| session.connected)
            .count();
        let subscriptions: usize = self
            .model
            .sessions
            .values()
            .map(|session| session.subscriptions.len())
            .sum();
        for (name, broker, model) in [
            ("sessions", figures.sessions, self.model.sessions.len()),
            ("connected", figures.connected, connected),
            ("subscriptions", figures.subscriptions, subscriptions),
            ("retained", figures.retained_messages, self.model.retained_count()),
        ] {
            if broker != model {
                return Err(format!("{name}: {broker} in the broker, {model} in the model"));
            }
        }
        for client in 0..CLIENTS {
            let waiting = self
                .site
                .broker()
                .waiting_messages(&format!("c{client}"))
                .unwrap_or(0);
            if self.model.bound(client).is_some_and(|bound| waiting > bound) {
                return Err(format!("{waiting} messages wait for c{client}"));
            }
            let state = &self.clients[client];
            let answers = state
                .mailbox
                .iter()
                .filter(|(_, packet)| packet.first() == Some(&0xD0))
                .count();
            if state.peer.is_some() && !state.is_slow && answers != state.pings {
                return Err(format!("{} pings of c{client} are not answered", state.pings));
            }
        }
        Ok(())
    }

    /// Everybody connects, reads everything and answers everything, until nothing comes any more.
    fn come_to_rest(&mut self) -> Outcome {
        self.note(|| "all come to rest".to_owned());
        for client in 0..CLIENTS {
            if self.clients[client].peer.is_none() && self.model.sessions.contains_key(&client) {
                self.connect_again(client)?;
            }
            if let Some(peer) = self.clients[client].peer {
                self.clients[client].is_slow = false;
                self.model.set_slow(client, false);
                self.site.set_room(peer, None);
            }
        }
        self.settle()?;
        // What was withheld until it is durable goes out by this.
        self.commit_all()?;
        for _ in 0..2000 {
            let mut any = false;
            for client in 0..CLIENTS {
                let state = &self.clients[client];
                any |= !state.mailbox.is_empty() || !state.owed.is_empty() || !state.line.is_empty();
                self.read(client, usize::MAX)?;
                self.answer(client, usize::MAX)?;
            }
            self.answer_all()?;
            self.commit_all()?;
            if !any {
                return self.model.check_end();
            }
        }
        Err("the broker does not come to rest".to_owned())
    }

    fn connect_again(&mut self, client: ClientNumber) -> Outcome {
        for _ in 0..100 {
            if !self.model.sessions.contains_key(&client) || self.clients[client].peer.is_some() {
                return Ok(());
            }
            self.connect(client)?;
            self.answer_all()?;
        }
        Ok(())
    }

    /// All Sessions end; the broker has nothing left of them.
    fn leave(&mut self) -> Outcome {
        for client in 0..CLIENTS {
            if self.clients[client].peer.is_some() {
                self.leave_properly(client)?;
                self.answer_all()?;
            }
        }
        for client in 0..CLIENTS {
            while self.model.sessions.contains_key(&client) {
                self.connect(client)?;
                self.answer_all()?;
                if self.clients[client].peer.is_some() {
                    self.leave_properly(client)?;
                    self.answer_all()?;
                }
            }
        }
        self.check()?;
        let figures = self.site.broker().statistics();
        if figures.queued_bytes != 0 || figures.waiting_bytes != 0 {
            return Err(format!("bytes are left: {figures:?}"));
        }
        Ok(())
    }

    fn version(&self, client: ClientNumber) -> ProtocolVersion {
        if self.clients[client].is_v5 {
            ProtocolVersion::V5
        } else {
            ProtocolVersion::V3_1_1
        }
    }

    fn encode(&mut self, client: ClientNumber, packet: &Sent) -> Vec<u8> {
        let version = self.version(client);
        let mut bytes = Vec::new();
        let id = |number: u16| PacketIdentifier::new(number).unwrap_or(PacketIdentifier::MIN);
        let encoded = match packet {
            Sent::Publish(number, dup, message) => {
                let payload = payload(message);
                Publish {
                    dup: *dup,
                    qos: qos(message.qos),
                    retain: message.retain,
                    topic_name: &message.topic,
                    packet_identifier: (message.qos > 0).then(|| id(*number)),
                    properties: PublishProperties {
                        message_expiry_interval: message.expires.map(|expires| {
                            u32::try_from(expires.saturating_sub(self.model.now)).unwrap_or(0)
                        }),
                        ..PublishProperties::default()
                    },
                    payload: &payload,
                }
                .encode(version, &mut bytes)
            }
            Sent::PubAck(number) => PubAck::new(id(*number), ReasonCode::Success).encode(version, &mut bytes),
            Sent::PubRec(number) => PubRec::new(id(*number), ReasonCode::Success).encode(version, &mut bytes),
            Sent::PubRel(number) => PubRel::new(id(*number), ReasonCode::Success).encode(version, &mut bytes),
            Sent::PubComp(number) => {
                PubComp::new(id(*number), ReasonCode::Success).encode(version, &mut bytes)
            }
            Sent::Subscribe(number, filter, options) => {
                let filters = [(
                    filter.as_str(),
                    SubscriptionOptions {
                        maximum_qos: qos(options.qos),
                        no_local: options.no_local,
                        retain_as_published: options.as_published,
                        retain_handling: match options.handling {
                            0 => RetainHandling::SendAtSubscribe,
                            1 => RetainHandling::SendIfNew,
                            _ => RetainHandling::DoNotSend,
                        },
                    },
                )];
                Subscribe {
                    packet_identifier: id(*number),
                    subscription_identifier: Some(options.identifier).filter(|number| *number > 0),
                    user_properties: Default::default(),
                    filters: SubscribeFilters::from_slice(&filters),
                }
                .encode(version, &mut bytes)
            }
            Sent::Unsubscribe(number, filter) => {
                let filters = [filter.as_str()];
                Unsubscribe {
                    packet_identifier: id(*number),
                    user_properties: Default::default(),
                    filters: UnsubscribeFilters::from_slice(&filters),
                }
                .encode(version, &mut bytes)
            }
            Sent::Ping => Packet::PingReq.encode(version, &mut bytes),
            Sent::Disconnect => Disconnect {
                reason_code: ReasonCode::Success,
                properties: Default::default(),
            }
            .encode(version, &mut bytes),
        };
        encoded.expect("a client sends what can be encoded");
        self.planted.inbound(version, &mut bytes);
        bytes
    }
}

fn topic_of(state: &mut Client, publish: &Publish<'_>) -> Outcome<String> {
    let alias = publish.properties.topic_alias.map(NonZeroU16::get);
    match (alias, publish.topic_name) {
        (None, name) => Ok(name.to_owned()),
        (Some(alias), "") => state
            .aliases
            .get(&alias)
            .cloned()
            .ok_or(format!("unknown alias {alias}")),
        (Some(alias), name) => {
            state.aliases.insert(alias, name.to_owned());
            Ok(name.to_owned())
        }
    }
}

fn payload(message: &Message) -> Vec<u8> {
    if message.is_empty {
        return Vec::new();
    }
    let mut payload = format!("{} ", message.number).into_bytes();
    // Now and then one that is shared between receivers and not copied.
    if message.number.is_multiple_of(97) {
        payload.resize(40_000, b'x');
    }
    payload
}

/// An empty payload has number 0.
fn number_of(payload: &[u8]) -> Outcome<u64> {
    if payload.is_empty() {
        return Ok(0);
    }
    let text = String::from_utf8_lossy(payload);
    let number = text.split(' ').next().unwrap_or_default();
    number.parse().map_err(|_| format!("no number: {number}"))
}

fn sorted(identifiers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut identifiers: Vec<u32> = identifiers.collect();
    identifiers.sort_unstable();
    identifiers
}

fn qos(number: u8) -> QoS {
    QoS::from_u8(number).unwrap_or(QoS::AtMostOnce)
}
