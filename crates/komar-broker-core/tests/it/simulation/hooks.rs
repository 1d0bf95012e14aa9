//! A simulation with a publish hook that does what the Topic Name says: it publishes, sends a message elsewhere, disconnects
//! its client, or panics.

use komar_broker_core::{Hooks, ReasonCode};
use komar_codec::{ProtocolVersion, Publish, PublishProperties, QoS};

use super::{Outcome, Simulation, TOPICS};
use crate::model::{ClientNumber, Message};

pub(super) fn hooks() -> Hooks {
    Hooks::default().on_publish(|publish, actions| {
        let payload = String::from_utf8_lossy(publish.payload()).into_owned();
        let target = payload.split(' ').nth(1).unwrap_or_default();
        match publish.topic_name() {
            "hook/publish" => {
                let taken = actions.publish(target, payload.as_bytes(), QoS::AtLeastOnce, false);
                assert!(taken.is_ok(), "there is room");
                Err(ReasonCode::ImplementationSpecificError)
            }
            "hook/rewrite" => {
                assert!(publish.set_topic_name(target).is_ok(), "it is a Topic Name");
                Ok(())
            }
            "hook/disconnect" => {
                actions.disconnect(ReasonCode::AdministrativeAction);
                Err(ReasonCode::ImplementationSpecificError)
            }
            "hook/panic" => std::panic::resume_unwind(Box::new("a hook panicked")),
            _ => Ok(()),
        }
    })
}

impl Simulation {
    /// A client publishes what the hook takes for an order.
    pub(super) fn call_hook(&mut self, client: ClientNumber) -> Outcome {
        let Some(peer) = self.clients[client].peer else {
            return Ok(());
        };
        let order = *self
            .random
            .pick(&["hook/publish", "hook/rewrite", "hook/disconnect", "hook/panic"]);
        self.numbers += 1;
        let (number, target) = (self.numbers, *self.random.pick(&TOPICS));
        self.note(|| format!("c{client} orders {order}: {number} {target}"));
        let payload = format!("{number} {target}");
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic_name: order,
            packet_identifier: None,
            properties: PublishProperties::default(),
            payload: payload.as_bytes(),
        };
        let (mut bytes, version): (_, ProtocolVersion) = (Vec::new(), self.version(client));
        publish
            .encode(version, &mut bytes)
            .map_err(|error| error.to_string())?;
        self.site.send(peer, &bytes);
        let of = |publisher, qos| Message {
            number,
            publisher,
            topic: target.to_owned(),
            qos,
            retain: false,
            is_empty: false,
            expires: None,
        };
        match order {
            "hook/publish" => self.model.route(of(None, 1)),
            // Nobody asks whether the client may write there.
            "hook/rewrite" => self.model.route(of(Some(client), 0)),
            _ => {
                self.clients[client].peer = None;
                self.site.settle();
                if !self.site.is_closed(peer) {
                    return Err(format!("c{client} is still connected"));
                }
                self.model.disconnect(client, false);
                self.forget_connection(client);
            }
        }
        self.settle()
    }
}
