//! A simulation with a store: it commits now and then, and the power is lost. What is there then is what was durable, and of
//! the rest as much as the disk happened to have.

use std::collections::VecDeque;

use komar_broker_core::store::{Sequence, Store as _};
use komar_broker_core::{BrokerConfig, Hooks};
use komar_testkit::DelayedStore;

use super::{Outcome, Sent, Simulation, access};
use crate::model::{ClientNumber, Model, Received, Told};

/// The store, and the moments that the broker may be thrown back to.
pub(crate) struct Power {
    pub(crate) store: DelayedStore,
    pub(crate) config: BrokerConfig,
    hooks: Hooks,
    /// How things stood at the end of each step that may not be durable, oldest first; the first one is.
    moments: VecDeque<Moment>,
    pub(crate) told: Told,
}

struct Moment {
    /// The last change there was.
    last: Sequence,
    model: Model,
    /// QoS 2 messages that clients have got since, until the next moment.
    received: Vec<(ClientNumber, Received)>,
}

impl Power {
    pub(crate) fn new(store: DelayedStore, config: BrokerConfig, hooks: Hooks) -> Power {
        Power {
            store,
            config,
            hooks,
            moments: VecDeque::new(),
            told: Told::default(),
        }
    }

    /// What the client was told before about the same is of no account any more.
    pub(super) fn forget(&mut self, model: &Model, client: ClientNumber, packet: &Sent) {
        let told = &mut self.told;
        let is_subscribed = |filter: &String| {
            let session = model.sessions.get(&client);
            session.is_some_and(|session| session.subscriptions.contains_key(filter))
        };
        match packet {
            Sent::Publish(identifier, false, _) => {
                told.recorded.remove(&(client, *identifier));
            }
            Sent::Subscribe(_, filter, _) => {
                told.unsubscribed.remove(&(client, filter.clone()));
                if !is_subscribed(filter) {
                    told.subscribed.remove(&(client, filter.clone()));
                }
            }
            Sent::Unsubscribe(_, filter) => {
                told.subscribed.remove(&(client, filter.clone()));
                if is_subscribed(filter) {
                    told.unsubscribed.remove(&(client, filter.clone()));
                }
            }
            _ => {}
        }
    }

    /// A client has got a QoS 2 message, which it does not take again for another one.
    pub(crate) fn received(&mut self, client: ClientNumber, came: &Received) {
        if let Some(moment) = self.moments.back_mut()
            && came.qos == 2
        {
            moment.received.push((client, came.clone()));
        }
    }
}

impl Simulation {
    /// A step is over: the store may have it, it may fail, and the power may go.
    pub(super) fn end_step(&mut self) -> Outcome {
        self.add_moment();
        if self.power.is_none() {
            return Ok(());
        }
        match self.random.below(100) {
            0..=19 => self.commit_some(),
            20..=23 => self.lose_power(),
            24 => self.fail(),
            _ => Ok(()),
        }
    }

    fn add_moment(&mut self) {
        if let Some(power) = &mut self.power {
            power.moments.push_back(Moment {
                last: power.store.submitted(),
                model: self.model.clone(),
                received: Vec::new(),
            });
        }
    }

    /// The store fails. The clients do not know and go on; of all that they are told from now on nothing may rest on what is
    /// not durable. Then the broker begins again from a disk that has some of it.
    fn fail(&mut self) -> Outcome {
        let Some(power) = &self.power else {
            return Ok(());
        };
        let store = power.store.clone();
        store.fail("no space left on device");
        self.note(|| "the store fails".to_owned());
        for _ in 0..self.random.below(8) {
            let client = self.random.below(self.clients.len());
            match self.random.below(8) {
                0..=1 => self.publish(client)?,
                2 => self.burst()?,
                3..=4 => self.read(client, 4)?,
                5 => self.answer(client, 4)?,
                6 => self.subscribe(client)?,
                _ => self.hang_up(client)?,
            }
            self.check()?;
            self.add_moment();
        }
        for client in 0..self.clients.len() {
            self.read(client, usize::MAX)?;
        }
        store.repair();
        self.lose_power()
    }

    /// Everything becomes durable, and what waited for that happens.
    pub(super) fn commit_all(&mut self) -> Outcome {
        for _ in 0..100 {
            let Some(power) = &self.power else {
                return Ok(());
            };
            let last = power.store.submitted();
            power.store.commit_until(last);
            self.settle()?;
            let Some(power) = &mut self.power else {
                return Ok(());
            };
            if let Some(failure) = power.store.failure() {
                return Err(failure);
            }
            if power.store.submitted() == last {
                power.moments.clear();
                power.moments.push_back(Moment {
                    last,
                    model: self.model.clone(),
                    received: Vec::new(),
                });
                return Ok(());
            }
        }
        Err("the store does not come to rest".to_owned())
    }

    /// Everything up to some moment becomes durable.
    fn commit_some(&mut self) -> Outcome {
        let Some(power) = &mut self.power else {
            return Ok(());
        };
        let place = self.random.below(power.moments.len());
        power.moments.drain(..place);
        if let Some(moment) = power.moments.front() {
            power.store.commit_until(moment.last);
        }
        self.note(|| format!("{place} more steps are durable"));
        self.settle()?;
        // What was let go by that belongs to the last moment.
        if let Some(power) = &mut self.power
            && let Some(moment) = power.moments.back_mut()
        {
            moment.last = power.store.submitted();
        }
        Ok(())
    }

    /// The broker is what it was at some moment that it may be thrown back to; the clients are what they are.
    fn lose_power(&mut self) -> Outcome {
        let Some(mut power) = self.power.take() else {
            return Ok(());
        };
        let place = self.random.below(power.moments.len());
        let steps = power.moments.len() - 1 - place;
        self.note(|| format!("the power is lost, and the last {steps} steps with it"));
        let received: Vec<(ClientNumber, Received)> = power
            .moments
            .iter_mut()
            .skip(place)
            .flat_map(|moment| std::mem::take(&mut moment.received))
            .collect();
        let Some(mut kept) = power.moments.remove(place) else {
            return Err("no moment".to_owned());
        };
        let contents = power.store.lose_power(kept.last)?;
        self.model.check_kept(&kept.model, &power.told)?;
        for (client, came) in received {
            // What does not survive it may get before it is durable.
            if kept.model.survives(client) {
                kept.model.received_since(client, &came).map_err(|error| {
                    format!("c{client} had got {came:?} at QoS 2, and the store knows nothing: {error}")
                })?;
            }
        }
        kept.model.restart(&self.model);
        self.model = kept.model;
        let restarted = self.site.restart(
            power.config.clone(),
            access(
                &self.model.denied.difference(&self.withheld).cloned().collect(),
                self.later.as_ref().map(|later| &later.desk),
            ),
            power.hooks.clone(),
            contents,
        );
        restarted.map_err(|error| error.to_string())?;
        // Nobody is called for Connections that end with the broker.
        self.ends.clear();
        self.last_words.lock().unwrap().clear();
        for client in 0..self.clients.len() {
            self.clients[client].peer = None;
            self.forget_connection(client);
        }
        self.nobody_knocks();
        self.power = Some(power);
        self.settle()?;
        self.commit_all()
    }
}
