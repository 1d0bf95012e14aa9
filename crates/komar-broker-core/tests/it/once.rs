//! A right to read that is given for one message is asked for again with the next one, whoever gets that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use komar_broker_core::{Access, Action, Authorize, BrokerConfig, Decision, Subject};
use komar_codec::{ProtocolVersion, ReasonCode};
use komar_testkit::{PeerId, Site};

use crate::desk::{hears, join, say};

/// Says yes or no to reading, for one message each time, and counts.
struct Once {
    allows: AtomicBool,
    asked: AtomicUsize,
}

impl Authorize for Once {
    fn authorize(&self, _: &Subject<'_>, action: Action<'_>) -> Decision {
        let Action::Receive(_) = action else {
            return Decision::Allow;
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.allows.load(Ordering::Relaxed) {
            Decision::AllowOnce
        } else {
            Decision::Refuse(ReasonCode::QuotaExceeded)
        }
    }
}

/// Two clients with their Subscriptions, which of them publishes first, or else a third one, and how many copies there
/// are of a message that everybody may read.
const CASTS: [(&str, &str, Option<usize>, usize); 5] = [
    ("t", "other", None, 1),
    ("t", "t", None, 2),
    ("t #", "other", None, 2),
    // Its own messages are not sent to it, and it may be asked for them or not.
    ("t no_local", "other", Some(0), 1),
    // Both are asked for, and one gets it.
    ("$share/g/t", "$share/g/t", None, 1),
];

#[test]
fn an_answer_for_one_message_is_not_used_for_the_next() {
    for (first, second, publisher, copies) in CASTS {
        let case = format!("{first} and {second}");
        let rules = Arc::new(Once {
            allows: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
        });
        let access = Access {
            authorize: Some(Arc::clone(&rules) as Arc<dyn Authorize>),
            ..Access::allow_all()
        };
        let mut site = Site::new(BrokerConfig::default(), access, 1);
        let mut subscribers = Vec::new();
        for (name, filters) in [("a", first), ("b", second)] {
            let peer = join(&mut site, 0, &format!("connect v5 id={name} clean"));
            say(&mut site, peer, &format!("subscribe id=1 {filters}"));
            hears(&mut site, peer, "suback id=1 ...");
            subscribers.push(peer);
        }
        let p = join(&mut site, 0, "connect v5 id=p clean");
        // More than it takes for the routes to be remembered, and an odd number, so that the answer that is left over is of
        // either kind.
        for round in 1..=3 {
            let before = publisher.and_then(|number| subscribers.get(number).copied());
            for _ in 0..round {
                say(&mut site, before.unwrap_or(p), "publish t own");
            }
            subscribers.iter().for_each(|peer| {
                received(&mut site, *peer);
            });
            for allows in [false, true, false, false, true, true] {
                rules.allows.store(allows, Ordering::Relaxed);
                rules.asked.store(0, Ordering::Relaxed);
                say(&mut site, p, "publish t x");
                let got: usize = subscribers.iter().map(|peer| received(&mut site, *peer)).sum();
                let expected = if allows { copies } else { 0 };
                assert_eq!(got, expected, "{case}: allowed: {allows}");
                let asked = rules.asked.load(Ordering::Relaxed);
                assert!(asked >= copies, "{case}: asked {asked} times");
            }
            rules.allows.store(round == 1, Ordering::Relaxed);
        }
    }
}

/// Messages that have come.
fn received(site: &mut Site, peer: PeerId) -> usize {
    site.settle();
    let mut count = 0;
    while let Some(came) = site.next_packet(peer, ProtocolVersion::V5).unwrap() {
        assert!(came.matches("publish t ...").unwrap(), "{came}");
        count += 1;
    }
    count
}
