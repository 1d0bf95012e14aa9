//! Hands one message to each of its routes.

use std::sync::Arc;

use komar_topic::GroupId;

use crate::broker::Shared;
use crate::event::Event;
use crate::message::{Message, MessageBody};
use crate::router::{InForce, Origin, Route, Target};
use crate::session::{Delivered, Delivery, Session};
use crate::worker::Effects;

/// Delivers to every route. Returns how many Subscriptions matched, whether they could be served or not.
pub(super) fn fan_out(
    fx: &mut Effects,
    broker: &Shared,
    rules: InForce<'_>,
    routes: &mut [Route],
    origin: Origin<'_>,
    message: Message<'_>,
) -> usize {
    let mut body = None;
    let mut matched = 0;
    let last = routes.len().saturating_sub(1);
    if last > 0 {
        fx.encoded.begin();
    }
    for (number, route) in routes.iter_mut().enumerate() {
        let mut offer = Offer {
            message,
            group: None,
            share: None,
            is_last: number == last,
        };
        match route {
            Route::One(target) => {
                matched += 1;
                match deliver(fx, broker, rules, target, origin, offer, &mut body) {
                    Answer::Full => lose(fx, broker, Some(&target.session)),
                    Answer::TooSlow => lose(fx, broker, None),
                    Answer::Taken | Answer::NotMine => {}
                }
            }
            Route::Shared(group) => {
                matched += group.len();
                let share = group.share.clone();
                (offer.group, offer.share) = (Some(group.id()), share.as_ref());
                let (mut no_room, mut full) = (false, None);
                let taken = group.offer(|member| {
                    let answer = deliver(fx, broker, rules, member, origin, offer, &mut body);
                    no_room |= matches!(answer, Answer::Full | Answer::TooSlow);
                    if answer == Answer::Full && full.is_none() {
                        full = Some(Arc::clone(&member.session));
                    }
                    answer == Answer::Taken
                });
                // Who has no room costs nothing as long as somebody else has.
                if no_room && !taken {
                    lose(fx, broker, full.as_ref());
                }
            }
        }
    }
    fx.encoded.end();
    matched
}

/// A message for one route.
#[derive(Clone, Copy)]
struct Offer<'a> {
    message: Message<'a>,
    group: Option<GroupId>,
    /// The filter of that group.
    share: Option<&'a Arc<str>>,
    /// Nobody behind this route needs the shared copy.
    is_last: bool,
}

/// What a Session says to a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    /// It is not for this Session.
    NotMine,
    /// It is, and there is no room for it in the Session.
    Full,
    /// It is, and the Connection cannot keep up.
    TooSlow,
}

/// Nobody takes a message for want of room. That a Session was too `full` is told once an episode.
fn lose(fx: &mut Effects, broker: &Shared, full: Option<&Arc<Session>>) {
    broker.counters.dropped();
    if let Some(session) = full
        && session.lock().lose()
    {
        fx.events.push_back(Event::QueueFull {
            client_id: Arc::clone(&session.client_id),
        });
    }
}

/// Delivers to one Session.
fn deliver(
    fx: &mut Effects,
    broker: &Shared,
    rules: InForce<'_>,
    target: &mut Target,
    origin: Origin<'_>,
    offer: Offer<'_>,
    body: &mut Option<MessageBody>,
) -> Answer {
    let message = offer.message;
    if (target.no_local || target.own_only)
        && (origin.client_id() == Some(&*target.session.client_id)) != target.own_only
    {
        return Answer::NotMine;
    }
    let (qos, retain) = target.copy_of(message, rules.config);
    while target.is_readable(rules.access, message.topic_name, rules.remembered) {
        if !broker.hooks.delivers(&target.session, message, qos, retain) {
            return Answer::NotMine;
        }
        let delivery = Delivery {
            message,
            body,
            is_last: offer.is_last,
            qos,
            retain,
            identifiers: &target.identifiers,
            group: offer.group,
            share: offer.share,
            identity_epoch: target.identity_epoch,
        };
        match target.session.lock().deliver(fx, rules.config, delivery) {
            Delivered::Sent | Delivered::Queued => return Answer::Taken,
            Delivered::Skipped => return Answer::NotMine,
            Delivered::Stale => {}
            Delivered::Full => return Answer::Full,
            Delivered::TooSlow => return Answer::TooSlow,
        }
    }
    Answer::NotMine
}
