//! From one Application Message to everybody who is to receive it.

pub(crate) mod cache;
mod fan_out;
mod one_receiver;
pub(crate) mod retained;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use komar_codec::QoS;
use komar_topic::{Match, Stripes, TopicName};

use crate::access::{Access, Action, Decision, Identity};
use crate::broker::Shared;
use crate::config::BrokerConfig;
use crate::message::{Message, SubscriptionIdentifiers};
use crate::session::Session;
use crate::session::inflight::Queued;
use crate::worker::Worker;

pub(crate) use cache::TopicCache;
pub(crate) use one_receiver::OneReceiver;
pub(crate) use shared::{Group, Turns};

/// A Subscription as the index holds it.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) session: Arc<Session>,
    pub(crate) maximum_qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<u32>,
}

/// One receiver of a Topic Name, and whether it may read there.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) maximum_qos: QoS,
    pub(crate) no_local: bool,
    /// It is for the Session's own messages only: what its Subscriptions without No Local make of them.
    pub(crate) own_only: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifiers: SubscriptionIdentifiers,
    /// The READ verdict, and for which user of the Session it was given.
    pub(crate) readable: bool,
    /// It was given for one message: the one that its route was looked up for.
    pub(crate) once: bool,
    pub(crate) identity_epoch: u32,
    /// Of a Shared Subscription: whether it was connected when the message at hand was offered to the first.
    pub(crate) is_first_choice: bool,
}

/// Where a message goes: to one Session, or to one member of a Shared Subscription.
pub(crate) enum Route {
    One(Target),
    Shared(Group),
}

impl Route {
    /// Targets that it holds, itself counting as one.
    fn targets(&self) -> usize {
        match self {
            Route::One(_) => 1,
            Route::Shared(group) => group.len() + 1,
        }
    }
}

/// Who published.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// `None`: the embedder.
    publisher: Option<&'a Arc<Identity>>,
}

/// The settings and rules that a message is routed by.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) access: &'a Access,
    /// The routes are those of an earlier message: READ access was asked for with that one.
    pub(crate) remembered: bool,
}

impl<'a> Origin<'a> {
    /// The broker itself, or the program that it is part of.
    pub(crate) const EMBEDDER: Origin<'static> = Origin { publisher: None };

    pub(crate) fn client(publisher: &'a Arc<Identity>) -> Origin<'a> {
        Origin {
            publisher: Some(publisher),
        }
    }

    pub(crate) fn publisher(self) -> Option<&'a Arc<Identity>> {
        self.publisher
    }

    /// For No Local, which is about clients and not about Sessions or Connections. v5 [MQTT-3.8.3-3]
    fn client_id(self) -> Option<&'a str> {
        self.publisher.map(|publisher| &*publisher.client_id)
    }
}

impl Worker {
    /// Routes a message that its publisher may publish. Returns how many Subscriptions match it.
    pub(crate) fn route(&mut self, origin: Origin<'_>, mut message: Message<'_>) -> usize {
        if message.is_too_large() {
            self.broker.counters.dropped();
            return 0;
        }
        // v5 [MQTT-3.3.1-8], v3 [MQTT-3.3.1-12]
        if message.retain && self.config.retain_available {
            return self.route_retained(origin, message);
        }
        // A hook may want what there is not.
        message.retain = false;
        let Worker {
            broker,
            config,
            fx,
            cache,
            access,
            ..
        } = self;
        let stamp_of = |stripes: &Stripes| broker.stamp(stripes, access.epoch);
        let known = cache.find(message.topic_name.as_str(), stamp_of);
        let routes = match known {
            Some(entry) => cache.routes(entry),
            None => cache.resolve(message.topic_name, stamp_of, |routes| {
                find_routes(broker, config, &access.access, message.topic_name, routes);
            }),
        };
        let rules = InForce {
            config,
            access: &access.access,
            remembered: known.is_some(),
        };
        let single = matches!(routes, [Route::One(_)]);
        let matched = fan_out::fan_out(fx, broker, rules, routes, origin, message);
        cache.note_single(single);
        matched
    }

    /// Keeps a retained message and routes it. Both happen under the index's read lock, so that a new Subscription
    /// gets the message either live or from the tree, and not twice. v5 [MQTT-3.3.1-5]
    fn route_retained(&mut self, origin: Origin<'_>, message: Message<'_>) -> usize {
        let Worker {
            broker,
            config,
            fx,
            cache,
            access,
            ..
        } = self;
        let routes = cache.scratch();
        {
            let index = broker.index.read();
            retained::keep(fx, broker, config, origin, message);
            collect(broker, &index, message.topic_name, routes);
        }
        finish_routes(config, &access.access, message.topic_name, routes);
        let rules = InForce {
            config,
            access: &access.access,
            remembered: false,
        };
        fan_out::fan_out(fx, broker, rules, routes, origin, message)
    }
}

impl Worker {
    /// Gives a message of a Shared Subscription to another member, as the one that had it has ended before it was sure to
    /// have it. MQTT 5.0 §4.8.2.
    pub(crate) fn route_orphan(&mut self, orphan: &Queued) {
        let Worker {
            broker,
            fx,
            cache,
            config,
            access,
            ..
        } = self;
        let message = orphan.body.message();
        let routes = cache.scratch();
        collect(broker, &broker.index.read(), message.topic_name, routes);
        routes.retain(|route| matches!(route, Route::Shared(group) if Some(group.id()) == orphan.group));
        finish_routes(config, &access.access, message.topic_name, routes);
        let rules = InForce {
            config,
            access: &access.access,
            remembered: false,
        };
        fan_out::fan_out(fx, broker, rules, routes, Origin::EMBEDDER, message);
    }
}

fn find_routes(
    broker: &Shared,
    config: &BrokerConfig,
    access: &Access,
    name: TopicName<'_>,
    routes: &mut Vec<Route>,
) {
    collect(broker, &broker.index.read(), name, routes);
    finish_routes(config, access, name, routes);
}

/// Copies what matches out of the index, so that no user code runs under its lock.
fn collect(broker: &Shared, index: &crate::broker::Index, name: TopicName<'_>, routes: &mut Vec<Route>) {
    // v5 [MQTT-3.3.2-3], v3 [MQTT-3.3.2-3], v5 [MQTT-4.5.0-1], v3 [MQTT-4.5.0-1]
    index.lookup(name, |found| match found {
        Match::Entries(entries) => routes.extend(entries.map(|entry| Route::One(Target::new(entry)))),
        Match::Group(group) => {
            let turn = broker.turns.lock().of(group.id());
            let mut route = Group::new(group.id(), group.members().map(Target::new).collect(), turn);
            if broker.journal.is_some() {
                let mut share = String::new();
                index.filter_of_group(&group, &mut share);
                route.share = Some(share.into());
            }
            routes.push(Route::Shared(route));
        }
    });
}

/// Merges overlapping Subscriptions if so configured, and asks for READ access.
fn finish_routes(config: &BrokerConfig, access: &Access, name: TopicName<'_>, routes: &mut Vec<Route>) {
    if !config.allow_duplicate_messages && routes.len() > 1 {
        merge_overlapping(routes);
    }
    for route in routes {
        match route {
            Route::One(target) => target.ask(access, name),
            Route::Shared(group) => group.members_mut().for_each(|member| member.ask(access, name)),
        }
    }
}

/// One copy a Session, at the highest QoS of its Subscriptions and with all their identifiers. v5 [MQTT-3.3.4-2]
fn merge_overlapping(routes: &mut Vec<Route>) {
    let mut own = own_copies(routes);
    let mut merged: Vec<Route> = Vec::with_capacity(routes.len());
    let mut places: BTreeMap<*const Session, usize> = BTreeMap::new();
    for route in routes.drain(..) {
        let Route::One(target) = route else {
            merged.push(route);
            continue;
        };
        let known = places
            .get(&Arc::as_ptr(&target.session))
            .and_then(|place| merged.get_mut(*place));
        if let Some(Route::One(first)) = known {
            first.merge(&target);
        } else {
            places.insert(Arc::as_ptr(&target.session), merged.len());
            merged.push(Route::One(target));
        }
    }
    merged.append(&mut own);
    *routes = merged;
}

/// Of the Sessions that match with No Local and without, what their own messages are to be sent for.
fn own_copies(routes: &[Route]) -> Vec<Route> {
    let targets = |no_local: bool| {
        routes.iter().filter_map(move |route| match route {
            Route::One(target) if target.no_local == no_local => Some(target),
            _ => None,
        })
    };
    let with_both: BTreeSet<*const Session> =
        targets(true).map(|target| Arc::as_ptr(&target.session)).collect();
    let mut own: BTreeMap<*const Session, Target> = BTreeMap::new();
    if !with_both.is_empty() {
        for target in targets(false) {
            let session = Arc::as_ptr(&target.session);
            if let Some(first) = own.get_mut(&session) {
                first.merge(target);
            } else if with_both.contains(&session) {
                let own_only = true;
                own.insert(
                    session,
                    Target {
                        own_only,
                        ..target.clone()
                    },
                );
            }
        }
    }
    own.into_values().map(Route::One).collect()
}

impl Target {
    fn new(entry: &Subscription) -> Target {
        Target {
            session: Arc::clone(&entry.session),
            maximum_qos: entry.maximum_qos,
            no_local: entry.no_local,
            own_only: false,
            retain_as_published: entry.retain_as_published,
            // v5 [MQTT-3.3.4-5]
            identifiers: SubscriptionIdentifiers::new(entry.identifier),
            readable: false,
            once: false,
            identity_epoch: 0,
            is_first_choice: false,
        }
    }

    fn merge(&mut self, other: &Target) {
        // v3 [MQTT-3.3.5-1]
        self.maximum_qos = self.maximum_qos.max(other.maximum_qos);
        // Its own messages it gets for the others, if it has any. v5 [MQTT-3.8.3-3]
        self.no_local |= other.no_local;
        self.retain_as_published |= other.retain_as_published;
        // v5 [MQTT-3.3.4-4]
        self.identifiers.add(&other.identifiers);
    }

    /// Asks whether the Session may read there and remembers the answer for its present user.
    fn ask(&mut self, access: &Access, name: TopicName<'_>) {
        self.identity_epoch = self.session.identity_epoch();
        let decision = receive_decision(access, &self.session, name);
        self.readable = matches!(decision, Decision::Allow | Decision::AllowOnce);
        self.once = matches!(decision, Decision::AllowOnce | Decision::Refuse(_));
    }

    /// QoS and RETAIN of the copy for this receiver.
    #[inline]
    pub(crate) fn copy_of(&self, message: Message<'_>, config: &BrokerConfig) -> (QoS, bool) {
        let qos = if config.upgrade_outgoing_qos {
            self.maximum_qos
        } else {
            // v5 [MQTT-3.8.4-8]
            // v5 [MQTT-4.8.2-3], v3 [MQTT-3.8.4-6]
            message.qos.min(self.maximum_qos)
        };
        // v5 [MQTT-3.3.1-12], v5 [MQTT-3.3.1-13]
        // v3 [MQTT-3.3.1-9]
        (qos, message.retain && self.retain_as_published)
    }

    /// Whether the Session may read there; asks again if another user has it by now, or if the answer was for one message
    /// and the route is a remembered one.
    pub(crate) fn is_readable(&mut self, access: &Access, name: TopicName<'_>, remembered: bool) -> bool {
        if self.identity_epoch != self.session.identity_epoch() || (self.once && remembered) {
            self.ask(access, name);
        }
        self.readable
    }
}

/// Whether the present user of a Session may receive messages of `name`.
pub(crate) fn may_receive(access: &Access, session: &Session, name: TopicName<'_>) -> bool {
    let decision = receive_decision(access, session, name);
    matches!(decision, Decision::Allow | Decision::AllowOnce)
}

fn receive_decision(access: &Access, session: &Session, name: TopicName<'_>) -> Decision {
    if access.authorize.is_none() {
        return Decision::Allow;
    }
    let identity: Arc<Identity> = Arc::clone(&session.lock().identity);
    // Who panics has not allowed it.
    access
        .decide(&identity.subject(), Action::Receive(name))
        .unwrap_or(Decision::Deny)
}
