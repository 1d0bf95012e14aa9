//! A simulation with hooks. That for PUBLISH does what the Topic Name says, `hook/what/topic`: it publishes beside the message or
//! in its place, sends a message elsewhere, refuses it, disconnects its client, or panics. Those for CONNECT, SUBSCRIBE and
//! delivery refuse some things to some users. That for the end of a Connection publishes a last word.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use komar_broker_core::{Hooks, ReasonCode};
use komar_codec::{Connect, ConnectProperties, QoS};

use super::{ANOTHER, CLIENTS, Outcome, Sent, Simulation, TOPICS};
use crate::model::{ClientNumber, Denied, Message, User, ordered};
use crate::planted::{Bug, POSTED};

/// Orders whose client stays, so that it may give them at any QoS, and again.
const ORDERS: [&str; 4] = ["publish", "copy", "rewrite", "refuse"];
/// A user that is not let in.
const BANNED: &str = "banned";
/// What the other user is not to have.
const WITHHELD: &str = "b/c";

/// What the deliver hook leaves out.
pub(super) fn withheld() -> Denied {
    (0..CLIENTS)
        .map(|client| (false, client, 1, WITHHELD.to_owned()))
        .collect()
}

/// Whether the subscribe hook refuses a filter.
pub(super) fn refuses(user: User, filter: &str) -> bool {
    user == 1 && filter == "a/+"
}

/// The last words of Connections that have ended, oldest first: whose, and the number of the message.
pub(super) type LastWords = Arc<Mutex<Vec<(ClientNumber, u64)>>>;

/// Where they go.
const GONE: &str = "a/c";
/// They are numbered from here on.
const GONE_FROM: u64 = 1_000_000_000;

pub(super) fn hooks(bug: Option<Bug>, last_words: &LastWords) -> Hooks {
    let (calls, ends, last_words) = (
        AtomicUsize::new(0),
        AtomicU64::new(GONE_FROM),
        Arc::clone(last_words),
    );
    let hooks = Hooks::default()
        .on_connect(|connecting, _| match connecting.identity().username.as_deref() {
            Some(BANNED) => Err(ReasonCode::Banned),
            _ => Ok(()),
        })
        .on_subscribe(|subscribing, _| {
            let user = User::from(subscribing.identity().username.is_some());
            match refuses(user, subscribing.filter()) {
                true => Err(ReasonCode::NotAuthorized),
                false => Ok(()),
            }
        })
        .on_disconnect(move |gone, actions| {
            let number = ends.fetch_add(1, Ordering::Relaxed);
            let client = gone.identity().client_id.trim_start_matches('c').parse();
            last_words.lock().unwrap().push((client.unwrap_or(0), number));
            let payload = [format!("{number} ").as_bytes(), POSTED].concat();
            let taken = actions.publish(GONE, &payload, QoS::AtLeastOnce, false);
            assert!(taken.is_ok(), "there is room");
        })
        .on_deliver(move |delivering| {
            let is_another = delivering.identity().username.as_deref() == Some(ANOTHER);
            bug == Some(Bug::IgnoresDeliverHook) || !is_another || delivering.topic_name() != WITHHELD
        });
    hooks.on_publish(move |publish, actions| {
        let name = publish.topic_name().to_owned();
        let Some((order, topic)) = ordered(&name) else {
            return Ok(());
        };
        let is_chance = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        match order {
            "publish" if bug == Some(Bug::LosesPosts) && is_chance => Err(ReasonCode::QuotaExceeded),
            "publish" | "copy" => {
                let payload = [publish.payload(), POSTED].concat();
                let taken = actions.publish(topic, &payload, QoS::AtLeastOnce, false);
                assert!(taken.is_ok(), "there is room");
                match order {
                    "copy" => Ok(()),
                    _ => Err(ReasonCode::QuotaExceeded),
                }
            }
            "rewrite" if bug == Some(Bug::IgnoresRewriting) => Ok(()),
            "rewrite" => {
                assert!(publish.set_topic_name(topic).is_ok(), "it is a Topic Name");
                Ok(())
            }
            "refuse" if bug == Some(Bug::IgnoresRefusal) => Ok(()),
            "disconnect" => {
                actions.disconnect(ReasonCode::AdministrativeAction);
                Err(ReasonCode::ImplementationSpecificError)
            }
            "panic" => std::panic::resume_unwind(Box::new("a hook panicked")),
            _ => Err(ReasonCode::QuotaExceeded),
        }
    })
}

impl Simulation {
    /// Now and then a message is an order.
    pub(super) fn make_order(&mut self, message: &mut Message) {
        if self.has_hooks && self.random.chance(15) {
            let order = *self.random.pick(&ORDERS);
            if ["publish", "copy"].contains(&order) {
                // What the hook publishes has to be told from others.
                self.numbers += 1;
                (message.retain, message.is_empty, message.number) = (false, false, self.numbers);
            }
            message.topic = format!("hook/{order}/{}", message.topic);
        }
    }

    /// A client is disconnected for what it publishes.
    pub(super) fn call_hook(&mut self, client: ClientNumber) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let order = *self.random.pick(&["disconnect", "panic"]);
        self.numbers += 1;
        let message = Message {
            number: self.numbers,
            publisher: Some(client),
            user: 0,
            topic: format!("hook/{order}/{}", self.random.pick(&TOPICS)),
            qos: 0,
            retain: false,
            is_empty: false,
            moved: false,
            expires: None,
        };
        self.note(|| format!("c{client} orders {message:?}"));
        let bytes = self.encode(client, &Sent::Publish(0, false, message));
        self.site.send(peer, &bytes);
        self.clients[client].peer = None;
        self.has_ended(client);
        self.site.settle();
        if !self.site.is_closed(peer) {
            return Err(format!("c{client} is still connected"));
        }
        self.model.disconnect(client, false);
        self.forget_connection(client);
        self.settle()
    }

    /// A Connection of that client has ended.
    pub(super) fn has_ended(&mut self, client: ClientNumber) {
        if self.has_hooks {
            *self.ends.entry(client).or_default() += 1;
        }
    }

    /// What was published at the end of Connections; there is one last word for each.
    pub(super) fn hear_last_words(&mut self) -> Outcome {
        let said = std::mem::take(&mut *self.last_words.lock().unwrap());
        let mut ends: BTreeMap<ClientNumber, usize> = BTreeMap::new();
        let before = self.step_began;
        for (client, number) in said {
            *ends.entry(client).or_default() += 1;
            self.note(|| format!("(the last word of c{client}: {number})"));
            self.model.route(Message {
                number,
                publisher: None,
                user: 0,
                topic: GONE.to_owned(),
                qos: 1,
                retain: false,
                is_empty: false,
                moved: false,
                expires: None,
            });
        }
        if !ends.is_empty() {
            // A Will Message, say, may come before or behind it.
            self.model.came_in_any_order(before);
        }
        let expected = std::mem::take(&mut self.ends);
        if ends != expected {
            return Err(format!("last words: {ends:?}, ends of Connections: {expected:?}"));
        }
        Ok(())
    }

    /// Somebody who is not let in comes with a client's name, whose Session and Connection are what they were.
    pub(super) fn be_turned_away(&mut self, client: ClientNumber) -> Outcome {
        self.note(|| format!("c{client} is not let in"));
        let version = self.version(client);
        let mut bytes = Vec::new();
        let packet = Connect {
            version,
            bridge: false,
            clean_start: self.random.chance(50),
            keep_alive: 0,
            client_id: &format!("c{client}"),
            username: Some(BANNED),
            password: None,
            will: None,
            properties: ConnectProperties::default(),
        };
        packet
            .encode(version, &mut bytes)
            .map_err(|error| error.to_string())?;
        let worker = self.random.below(3);
        let peer = self.site.open(worker, &self.policy);
        self.site.send(peer, &bytes);
        self.settle()?;
        let answer = self.site.take_bytes(peer);
        // CONNACK with a code that is not 0.
        if !self.site.is_closed(peer) || answer.first() != Some(&0x20) || answer.get(3) == Some(&0) {
            return Err(format!("c{client} was let in: {answer:?}"));
        }
        Ok(())
    }
}
