//! A simulation with a publish hook that does what the Topic Name says, `hook/what/topic`: it publishes, sends a message
//! elsewhere, refuses it, disconnects its client, or panics.

use std::sync::atomic::{AtomicUsize, Ordering};

use komar_broker_core::{Hooks, ReasonCode};
use komar_codec::QoS;

use super::{Outcome, Sent, Simulation, TOPICS};
use crate::model::{ClientNumber, Message, ordered};
use crate::planted::{Bug, POSTED};

/// Orders whose client stays, so that it may give them at any QoS, and again.
const ORDERS: [&str; 3] = ["publish", "rewrite", "refuse"];

pub(super) fn hooks(bug: Option<Bug>) -> Hooks {
    let calls = AtomicUsize::new(0);
    Hooks::default().on_publish(move |publish, actions| {
        let name = publish.topic_name().to_owned();
        let Some((order, topic)) = ordered(&name) else {
            return Ok(());
        };
        let is_chance = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        match order {
            "publish" if bug == Some(Bug::LosesPosts) && is_chance => Err(ReasonCode::QuotaExceeded),
            "publish" => {
                let payload = [publish.payload(), POSTED].concat();
                let taken = actions.publish(topic, &payload, QoS::AtLeastOnce, false);
                assert!(taken.is_ok(), "there is room");
                Err(ReasonCode::QuotaExceeded)
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
            if order == "publish" {
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
            topic: format!("hook/{order}/{}", self.random.pick(&TOPICS)),
            qos: 0,
            retain: false,
            is_empty: false,
            expires: None,
        };
        self.note(|| format!("c{client} orders {message:?}"));
        let bytes = self.encode(client, &Sent::Publish(0, false, message));
        self.site.send(peer, &bytes);
        self.clients[client].peer = None;
        self.site.settle();
        if !self.site.is_closed(peer) {
            return Err(format!("c{client} is still connected"));
        }
        self.model.disconnect(client, false);
        self.forget_connection(client);
        self.settle()
    }
}
