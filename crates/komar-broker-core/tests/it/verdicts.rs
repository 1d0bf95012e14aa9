//! Answers that come later: early, late, twice, never, out of order, and for clients that have gone.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use komar_broker_core::{
    Access, Action, Authenticate, Authentication, Authorize, Broker, BrokerConfig, CloseCause, Credential,
    Decision, Known, LinkState, ListenerPolicy, Login, Now, OverRate, Pending, Rate, Subject, Worker,
};
use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_passwd::{Editor, PasswordFile, Scheme, StoredHash};
use komar_testkit::{Reading, Site, words};

use crate::desk::{Desk, hears, hears_nothing, join, open, say};

fn site(desk: &Arc<Desk>, workers: usize) -> Site {
    Site::new(BrokerConfig::default(), desk.access_open(), workers)
}

#[test]
fn what_comes_behind_a_question_waits_and_is_handled_in_order() {
    for reading in [Reading::Whole, Reading::ByteByByte] {
        let desk = Arc::new(Desk::default());
        let mut site = site(&desk, 2);
        site.set_reading(reading);
        let s = join(&mut site, 1, "connect v5 id=s clean");
        say(&mut site, s, "subscribe id=1 #");
        desk.answer("s subscribes #", Decision::Allow);
        hears(&mut site, s, "suback id=1 granted_qos0");

        let a = join(&mut site, 0, "connect v5 id=a clean");
        say(
            &mut site,
            a,
            r#"publish one "1" qos=1 id=1 + publish two "2" qos=2 id=2 + publish one "3" qos=1 id=3 + pingreq"#,
        );
        hears_nothing(&mut site, a);
        assert_eq!(site.link_state(a), LinkState::Paused);
        desk.answer("a writes one", Decision::Allow);
        hears(&mut site, a, "puback id=1");
        hears_nothing(&mut site, a);
        desk.answer("a writes two", Decision::Refuse(ReasonCode::QuotaExceeded));
        hears(&mut site, a, "pubrec id=2 quota_exceeded");
        // The first answer is remembered, so nobody is asked for the third.
        hears(&mut site, a, "puback id=3");
        hears(&mut site, a, "pingresp");
        hears(&mut site, s, r#"publish one "1""#);
        hears(&mut site, s, r#"publish one "3""#);
        hears_nothing(&mut site, s);
        assert!(desk.is_idle());
        assert_eq!(site.broker().statistics().publish_received, 3);
    }
}

#[test]
fn a_login_waits_with_what_the_client_sends_behind_it() {
    let desk = Arc::new(Desk::default());
    let mut site = Site::new(BrokerConfig::default(), desk.access(), 1);
    let a = open(&mut site, 0, "connect v5 id=a user=alice clean + pingreq");
    let b = open(&mut site, 0, "connect v5 id=b user=bob clean + pingreq");
    let c = open(&mut site, 0, "connect v5 id=c user=x clean");
    let d = open(&mut site, 0, "connect v5 id=d user=mallory clean");
    hears_nothing(&mut site, a);
    let pending: Vec<_> = (0..4).map(|_| desk.login()).collect();
    let mut names = pending.iter().map(|(name, _)| name.as_str());
    assert_eq!([names.next(), names.next()], [Some("a"), Some("b")]);
    let answers = [
        Authentication::Accept,
        Authentication::Refuse(ReasonCode::Banned),
        Authentication::AcceptAs("token".into()),
        Authentication::Later,
    ];
    // From another thread, the last first.
    let answering: Vec<_> = pending.into_iter().zip(answers).rev().collect();
    std::thread::spawn(move || {
        answering
            .into_iter()
            .for_each(|((_, pending), answer)| pending.answer(answer))
    })
    .join()
    .unwrap();
    hears(&mut site, a, "connack success ...");
    hears(&mut site, a, "pingresp");
    hears(&mut site, b, "connack banned session_present=0");
    hears(&mut site, c, "connack success ...");
    hears(&mut site, d, "connack server_unavailable session_present=0");
    assert!(site.is_closed(b) && site.is_closed(d));
    assert_eq!(
        site.broker().session("a").unwrap().username.as_deref(),
        Some("alice")
    );
    assert_eq!(
        site.broker().session("c").unwrap().username.as_deref(),
        Some("token")
    );
}

#[test]
fn a_late_answer_may_be_a_password_check() {
    let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[7; 12]).unwrap();
    let mut editor = Editor::new(b"");
    editor.set("alice", &hash).unwrap();
    let file = PasswordFile::parse(&editor.text()).unwrap();
    let desk = Arc::new(Desk::default());
    let mut site = Site::new(BrokerConfig::default(), desk.access(), 1);
    let a = open(&mut site, 0, "connect v5 id=a user=alice password=secret");
    let b = open(&mut site, 0, "connect v5 id=b user=alice password=wrong");
    desk.login()
        .1
        .answer(Authentication::Check(file.check("alice", b"secret")));
    desk.login()
        .1
        .answer(Authentication::Check(file.check("alice", b"wrong")));
    hears(&mut site, a, "connack success ...");
    hears(&mut site, b, "connack not_authorized session_present=0");
}

/// Answers each question before it returns, once or twice, or says yes and drops the way back.
struct Hasty {
    twice: bool,
    calls: AtomicUsize,
}

impl Authorize for Hasty {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match (action, subject.later()) {
            (Action::Receive(_), _) => Decision::Allow,
            // The way back is dropped, and what is returned counts.
            (Action::Publish(name), Some(_)) if name.as_str() == "now" => Decision::AllowOnce,
            (_, Some(pending)) => {
                let second = self.twice.then(|| subject.later()).flatten();
                pending.answer(Decision::Allow);
                if let Some(second) = second {
                    second.answer(Decision::Deny);
                }
                Decision::Later
            }
            _ => Decision::Deny,
        }
    }
}

#[test]
fn an_early_answer_counts_and_the_second_one_does_not() {
    for twice in [false, true] {
        let hasty = Arc::new(Hasty {
            twice,
            calls: AtomicUsize::new(0),
        });
        let access = Access {
            authorize: Some(Arc::clone(&hasty) as Arc<dyn Authorize>),
            ..Access::allow_all()
        };
        let mut site = Site::new(BrokerConfig::default(), access, 1);
        let a = join(&mut site, 0, "connect v5 id=a clean");
        say(&mut site, a, "subscribe id=1 t now");
        hears(&mut site, a, "suback id=1 granted_qos0 granted_qos0");
        say(
            &mut site,
            a,
            r#"publish t "1" qos=1 id=1 + publish now "2" qos=1 id=2 + publish now "3" qos=1 id=3"#,
        );
        // What is answered at once is acknowledged when all that came with it is handled.
        for expected in [
            r#"publish t "1""#,
            "puback id=1",
            r#"publish now "2""#,
            r#"publish now "3""#,
            "puback id=2",
            "puback id=3",
        ] {
            hears(&mut site, a, expected);
        }
        // Two filters; three messages, of which the same answer counts once only; three deliveries, none of a name that
        // was looked up twice before.
        assert_eq!(hasty.calls.load(Ordering::Relaxed), 2 + 3 + 3);
    }
}

#[test]
fn a_question_that_is_answered_twice_does_not_answer_the_next_one() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    // Two questions of one packet; both waits are answered, and one of them once more by being dropped with its peer.
    say(&mut site, s, "subscribe id=1 t u");
    let (first, one) = desk.question();
    let (second, other) = desk.question();
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("s subscribes t", "s subscribes u")
    );
    other.answer(Decision::Deny);
    hears_nothing(&mut site, s);
    one.answer(Decision::Allow);
    hears(&mut site, s, "suback id=1 granted_qos0 not_authorized");
    say(&mut site, s, r#"publish t "1" qos=1 id=1"#);
    hears_nothing(&mut site, s);
    desk.answer("s writes t", Decision::Allow);
    hears(&mut site, s, r#"publish t "1""#);
    hears(&mut site, s, "puback id=1");
}

#[test]
fn nobody_who_answers_is_a_refusal_at_the_deadline_and_not_an_end_of_the_connection() {
    let desk = Arc::new(Desk::default());
    let mut config = BrokerConfig::default();
    config.limits.verdict_timeout = Duration::from_secs(60);
    let mut site = Site::new(config.clone(), desk.access_open(), 1);
    let a = join(&mut site, 0, "connect v5 id=a clean keep=10");
    for round in 0..3 {
        let id = round + 1;
        say(
            &mut site,
            a,
            &format!("publish t \"x\" qos=1 id={id} + subscribe id=9 t u"),
        );
        site.advance(Duration::from_secs(59));
        // Longer than the keep alive: the client is not silent, it is not listened to.
        hears_nothing(&mut site, a);
        site.advance(Duration::from_secs(3));
        hears(
            &mut site,
            a,
            &format!("puback id={id} implementation_specific_error"),
        );
        hears_nothing(&mut site, a);
        site.advance(Duration::from_secs(62));
        hears(
            &mut site,
            a,
            "suback id=9 implementation_specific_error implementation_specific_error",
        );
    }
    site.advance(Duration::from_secs(16));
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));

    let mut site = Site::new(config, desk.access(), 1);
    let b = open(&mut site, 0, "connect v5 id=b clean");
    site.advance(Duration::from_secs(59));
    hears_nothing(&mut site, b);
    site.advance(Duration::from_secs(3));
    hears(&mut site, b, "connack server_unavailable session_present=0");
    assert!(site.is_closed(b));
}

#[test]
fn a_client_that_falls_silent_after_an_answer_has_as_long_as_any_other() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean keep=20");
    // The time is nearly over, and is looked at while the Link waits.
    site.advance(Duration::from_secs(29));
    say(&mut site, a, "publish t x qos=1 id=1");
    site.advance(Duration::from_secs(2));
    desk.answer("a writes t", Decision::Allow);
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    site.advance(Duration::from_secs(28));
    hears_nothing(&mut site, a);
    site.advance(Duration::from_secs(4));
    // v5 [MQTT-3.1.2-22]
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));
}

/// A Link that waits for two things is not silent until it has both.
#[test]
fn a_client_is_not_silent_while_it_is_not_listened_to_for_another_reason() {
    // An answer comes late, and the pause for pressure in between is over soon.
    let desk = Arc::new(Desk::default());
    let mut config = BrokerConfig::default();
    config.limits.verdict_timeout = Duration::from_secs(60);
    config.limits.maximum_waiting_bytes = 1000;
    let mut site = Site::new(config, desk.access_open(), 1);
    let s = join(&mut site, 0, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 t qos=1");
    desk.answer("s subscribes t", Decision::Allow);
    hears(&mut site, s, "suback id=1 ...");
    site.hang_up(s);
    site.settle();
    site.publish("t", &[0; 2000], QoS::AtLeastOnce, false).unwrap();
    let a = join(&mut site, 0, "connect v5 id=a clean keep=10");
    say(&mut site, a, "publish u size=70000 qos=1 id=1");
    site.advance(Duration::from_secs(50));
    hears_nothing(&mut site, a);
    desk.answer("a writes u", Decision::Allow);
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    site.advance(Duration::from_secs(17));
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));

    // The answer comes at once, and the client has to wait until others have paid, too.
    let mut site = Site::new(BrokerConfig::default(), desk.access_open(), 1);
    let rate = Arc::new(Rate::new(NonZeroU32::MIN));
    for number in 0..60 {
        let b = join(&mut site, 0, &format!("connect v5 id=b{number} clean keep=0"));
        site.limit_messages(b, vec![Arc::clone(&rate)], OverRate::Pause);
        say(&mut site, b, "publish t x");
    }
    let a = join(&mut site, 0, "connect v5 id=a clean keep=10");
    site.limit_messages(a, vec![rate], OverRate::Pause);
    say(&mut site, a, "publish t x qos=1 id=1");
    for number in 0..60 {
        desk.answer(&format!("b{number} writes t"), Decision::Allow);
    }
    desk.answer("a writes t", Decision::Allow);
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    site.advance(Duration::from_secs(50));
    hears_nothing(&mut site, a);
    site.advance(Duration::from_secs(28));
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));
}

#[test]
fn what_is_asked_again_at_the_deadline_has_all_its_time() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "subscribe id=1 t u v");
    // The first is never answered, and the rules change meanwhile.
    let _never = desk.question();
    desk.answer("a subscribes u", Decision::Deny);
    desk.answer("a subscribes v", Decision::Allow);
    site.broker().set_access(desk.access_open());
    site.advance(Duration::from_secs(32));
    hears_nothing(&mut site, a);
    for filter in ["t", "u", "v"] {
        desk.answer(&format!("a subscribes {filter}"), Decision::Allow);
    }
    hears(&mut site, a, "suback id=1 granted_qos0 granted_qos0 granted_qos0");
}

#[test]
fn a_way_back_that_is_dropped_is_a_refusal() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, r#"publish t "x" qos=1 id=1"#);
    drop(desk.question());
    hears(&mut site, a, "puback id=1 implementation_specific_error");

    let mut site = Site::new(BrokerConfig::default(), desk.access(), 1);
    let b = open(&mut site, 0, "connect v5 id=b clean");
    drop(desk.login());
    hears(&mut site, b, "connack server_unavailable session_present=0");
}

#[test]
fn an_answer_for_a_client_that_has_gone_does_nothing() {
    let desk = Arc::new(Desk::default());
    let mut site = Site::new(BrokerConfig::default(), desk.access(), 2);
    let s = open(&mut site, 1, "connect v5 id=s clean");
    desk.login().1.answer(Authentication::Accept);
    hears(&mut site, s, "connack success ...");
    say(&mut site, s, "subscribe id=1 t");
    desk.answer("s subscribes t", Decision::Allow);
    hears(&mut site, s, "suback id=1 granted_qos0");

    // Gone before its login is answered.
    let a = open(&mut site, 0, "connect v5 id=a clean");
    site.hang_up(a);
    site.settle();
    assert!(site.is_closed(a));
    desk.login().1.answer(Authentication::Accept);
    site.settle();
    assert_eq!(site.broker().statistics().connected, 1);

    // Gone before its message may be published.
    let b = open(&mut site, 0, "connect v5 id=b clean");
    desk.login().1.answer(Authentication::Accept);
    hears(&mut site, b, "connack success ...");
    say(&mut site, b, r#"publish t "never" qos=1 id=1"#);
    site.hang_up(b);
    site.settle();
    desk.answer("b writes t", Decision::Allow);
    hears_nothing(&mut site, s);
}

#[test]
fn an_answer_for_a_connection_that_was_taken_over_does_nothing() {
    for kicked in [false, true] {
        let desk = Arc::new(Desk::default());
        let mut site = site(&desk, 2);
        let s = join(&mut site, 1, "connect v5 id=s clean");
        say(&mut site, s, "subscribe id=1 t");
        desk.answer("s subscribes t", Decision::Allow);
        hears(&mut site, s, "suback id=1 granted_qos0");
        let old = join(&mut site, 0, "connect v5 id=a expiry=100");
        // Where it may write is remembered, so nobody is asked about what comes behind the question.
        say(&mut site, old, r#"publish t "first" qos=1 id=9"#);
        desk.answer("a writes t", Decision::Allow);
        hears(&mut site, s, r#"publish t "first""#);
        hears(&mut site, old, "puback id=9");
        say(
            &mut site,
            old,
            r#"publish u "old" qos=1 id=1 + publish t "2" qos=1 id=2 + publish t "3" qos=1 id=3 retain"#,
        );
        let (_, pending) = desk.question();
        if kicked {
            assert!(site.broker().kick("a", ReasonCode::AdministrativeAction));
            pending.answer(Decision::Allow);
            hears(&mut site, old, "disconnect administrative_action");
            assert!(!site.broker().kick("a", ReasonCode::AdministrativeAction));
        } else {
            let new = join(&mut site, 1, "connect v5 id=a expiry=100");
            pending.answer(Decision::Allow);
            hears(&mut site, old, "disconnect session_taken_over");
            say(&mut site, new, r#"publish t "new" qos=1 id=1"#);
            desk.answer("a writes t", Decision::Allow);
            hears(&mut site, new, "puback id=1");
            hears(&mut site, s, r#"publish t "new""#);
        }
        hears_nothing(&mut site, s);
        assert!(site.is_closed(old));
        assert_eq!(site.broker().statistics().retained_messages, 0);
    }
}

#[test]
fn what_comes_from_a_connection_that_is_being_closed_is_not_read() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 t");
    hears(&mut site, s, "suback id=1 granted_qos0");
    let a = join(&mut site, 0, "connect v5 id=a clean");
    assert!(site.broker().kick("a", ReasonCode::AdministrativeAction));
    say(&mut site, a, r#"publish t "late" retain + pingreq"#);
    hears(&mut site, a, "disconnect administrative_action");
    hears_nothing(&mut site, s);
    assert!(site.is_closed(a));
    assert_eq!(site.broker().statistics().retained_messages, 0);
}

/// Allows PUBLISH later; where nobody can wait, it says this.
struct Slow(Decision);

impl Authorize for Slow {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        let Action::Publish(_) = action else {
            return Decision::Allow;
        };
        match subject.later() {
            Some(pending) => {
                pending.answer(Decision::Allow);
                Decision::Later
            }
            None => self.0,
        }
    }
}

#[test]
fn what_was_granted_late_is_retained_unless_it_is_denied_now() {
    for (now, is_there) in [
        (Decision::Later, true),
        (Decision::Allow, true),
        (Decision::Deny, false),
        (Decision::Refuse(ReasonCode::QuotaExceeded), false),
    ] {
        let access = Access {
            authorize: Some(Arc::new(Slow(now))),
            ..Access::allow_all()
        };
        let mut site = Site::new(BrokerConfig::default(), access, 1);
        let a = join(&mut site, 0, "connect v5 id=a clean");
        say(&mut site, a, r#"publish t "x" qos=1 id=1 retain"#);
        hears(&mut site, a, "puback id=1 no_matching_subscribers");
        assert_eq!(site.broker().statistics().retained_messages, 1);
        let s = join(&mut site, 0, "connect v5 id=s clean");
        say(&mut site, s, "subscribe id=1 t");
        hears(&mut site, s, "suback id=1 granted_qos0");
        if is_there {
            hears(&mut site, s, r#"publish t "x" retain"#);
        }
        hears_nothing(&mut site, s);
    }
}

const FLOODING: usize = 10;
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];

#[test]
fn a_thousand_questions_are_answered_in_any_order_and_what_waits_is_bounded() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 2);
    let s = join(&mut site, 1, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 #");
    desk.answer("s subscribes #", Decision::Allow);
    hears(&mut site, s, "suback id=1 granted_qos0");
    let peers: Vec<_> = (0..1000)
        .map(|number| join(&mut site, number, &format!("connect v5 id=c{number} clean")))
        .collect();
    for (number, peer) in peers.iter().enumerate() {
        site.send(
            *peer,
            &words::encode(ProtocolVersion::V5, &format!("publish t \"{number}\" qos=1 id=1")).unwrap(),
        );
        // Behind it more than one read, of which no more than that is taken.
        if number < FLOODING {
            site.send(*peer, &PINGREQ.repeat(48 << 10));
        }
    }
    site.settle();
    assert_eq!(desk.questions.lock().unwrap().len(), 1000);
    assert!(
        peers
            .iter()
            .take(FLOODING)
            .all(|peer| site.pending(*peer) >= 32 << 10),
        "the rest stays in the sockets"
    );
    let mut waiting: Vec<(String, Pending<Decision>)> = desk.questions.lock().unwrap().drain(..).collect();
    // An order that is neither the first come nor its reverse.
    waiting.sort_by_key(|(text, _)| {
        text.len() * 1000 + text.bytes().map(usize::from).sum::<usize>() * 37 % 1000
    });
    for (text, pending) in waiting {
        let allowed = text.bytes().map(usize::from).sum::<usize>() % 3 != 0;
        pending.answer(if allowed { Decision::Allow } else { Decision::Deny });
    }
    site.settle();
    let mut allowed = 0;
    for (number, peer) in peers.iter().enumerate() {
        let text = format!("c{number} writes t");
        let yes = text.bytes().map(usize::from).sum::<usize>() % 3 != 0;
        allowed += usize::from(yes);
        hears(
            &mut site,
            *peer,
            if yes {
                "puback id=1"
            } else {
                "puback id=1 not_authorized"
            },
        );
        let replies = site.take_bytes(*peer);
        let pings = if number < FLOODING { 48 << 10 } else { 0 };
        assert_eq!(replies, PINGRESP.repeat(pings));
    }
    for _ in 0..allowed {
        hears(&mut site, s, "publish t ...");
    }
    hears_nothing(&mut site, s);
}

#[test]
fn a_driver_that_goes_on_reading_is_stopped() {
    let desk = Arc::new(Desk::default());
    let mut config = BrokerConfig::default();
    config.limits.maximum_paused_bytes = 1000;
    let broker = Broker::new(config, desk.access(), 1);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
    let connect = words::encode(ProtocolVersion::V5, "connect v5 id=a clean").unwrap();
    assert_eq!(worker.input(&mut link, &connect).state, LinkState::Paused);
    for _ in 0..10 {
        assert_eq!(worker.input(&mut link, &[0xC0; 100]).state, LinkState::Paused);
    }
    assert_eq!(worker.input(&mut link, &[0xC0]).state, LinkState::Closing);
    assert_eq!(link.outbox().close_cause(), Some(CloseCause::QuotaExceeded));
}

#[test]
fn an_answer_under_rules_that_hold_no_more_is_asked_for_again() {
    let (old, new) = (Arc::new(Desk::default()), Arc::new(Desk::default()));
    let mut site = Site::new(BrokerConfig::default(), old.access(), 1);
    let a = open(&mut site, 0, "connect v5 id=a clean");
    site.broker().set_access(new.access());
    old.login().1.answer(Authentication::Accept);
    hears_nothing(&mut site, a);
    new.login().1.answer(Authentication::Accept);
    hears(&mut site, a, "connack success ...");

    say(&mut site, a, r#"publish t "x" qos=1 id=1"#);
    site.broker().set_access(old.access());
    new.answer("a writes t", Decision::Allow);
    hears_nothing(&mut site, a);
    old.answer("a writes t", Decision::Deny);
    hears(&mut site, a, "puback id=1 not_authorized");

    say(&mut site, a, "subscribe id=1 t u");
    site.broker().set_access(new.access());
    old.answer("a subscribes t", Decision::Allow);
    old.answer("a subscribes u", Decision::Allow);
    hears_nothing(&mut site, a);
    new.answer("a subscribes t", Decision::Allow);
    new.answer("a subscribes u", Decision::Deny);
    hears(&mut site, a, "suback id=1 granted_qos0 not_authorized");
}

#[test]
fn a_will_message_cannot_wait_and_is_not_sent() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 t");
    desk.answer("s subscribes t", Decision::Allow);
    hears(&mut site, s, "suback id=1 granted_qos0");
    let a = join(&mut site, 0, "connect v5 id=a clean will=t will_payload=x");
    site.hang_up(a);
    hears_nothing(&mut site, s);
    assert!(desk.is_idle());
}

/// Panics for what is called "panic".
struct Brittle(Mutex<usize>);

impl Authorize for Brittle {
    fn authorize(&self, _: &Subject<'_>, action: Action<'_>) -> Decision {
        let text = match action {
            Action::Publish(name) | Action::Receive(name) => name.as_str().to_owned(),
            Action::Subscribe(filter) => filter.as_str().to_owned(),
            _ => String::new(),
        };
        let receive = matches!(action, Action::Receive(_));
        if text == "panic" || (text == "panic/read" && receive) {
            // The lock is poisoned, and nothing of the broker's is held.
            let _held = self.0.lock();
            std::panic::resume_unwind(Box::new("a rule panicked"));
        }
        Decision::Allow
    }
}

#[test]
fn a_panic_in_a_rule_costs_the_link_that_it_was_asked_for_and_nobody_else() {
    let access = Access {
        authorize: Some(Arc::new(Brittle(Mutex::new(0)))),
        ..Access::allow_all()
    };
    let mut site = Site::new(BrokerConfig::default(), access, 2);
    let s = join(&mut site, 1, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 t panic/read");
    hears(&mut site, s, "suback id=1 granted_qos0 granted_qos0");
    for packet in [r#"publish panic "x" qos=1 id=1"#, "subscribe id=1 panic"] {
        let a = join(&mut site, 0, "connect v5 id=a clean");
        say(&mut site, a, packet);
        hears(&mut site, a, "disconnect implementation_specific_error");
        assert!(site.is_closed(a));
    }
    let b = join(&mut site, 0, "connect v5 id=b clean");
    // Where somebody else is asked about, it counts as no.
    say(
        &mut site,
        b,
        r#"publish panic/read "x" qos=1 id=1 + publish t "x" qos=1 id=2"#,
    );
    hears(&mut site, b, "puback id=1");
    hears(&mut site, b, "puback id=2");
    hears(&mut site, s, r#"publish t "x""#);
    site.publish("t", b"y", QoS::AtMostOnce, false).unwrap();
    hears(&mut site, s, r#"publish t "y""#);
    hears_nothing(&mut site, s);
}

fn passwords() -> PasswordFile {
    let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[7; 12]).unwrap();
    let mut editor = Editor::new(b"");
    editor.set("alice", &hash).unwrap();
    PasswordFile::parse(&editor.text()).unwrap()
}

#[test]
fn a_login_that_is_answered_when_its_time_is_over_takes_nothing_over() {
    let access = Access {
        authenticate: Arc::new(Checks(passwords())),
        authorize: None,
    };
    let broker = Broker::new(BrokerConfig::default(), access, 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    let logs_in = |worker: &mut Worker| {
        let connect = "connect v5 id=alice expiry=100 user=alice password=secret";
        let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
        worker.input(&mut link, &words::encode(ProtocolVersion::V5, connect).unwrap());
        let verdict = worker.next_password_check().unwrap().run();
        (link, verdict)
    };
    let (mut first, verdict) = logs_in(&mut worker);
    worker.verdict(&mut first, verdict);
    assert_eq!(broker.statistics().connected, 1);
    let (mut second, verdict) = logs_in(&mut worker);
    let mut now = Now::default();
    for second in 1..=40 {
        now.monotonic = Duration::from_secs(second);
        worker.turn_begin(now);
    }
    let timeout = Some(CloseCause::KeepAliveTimeout);
    assert_eq!(second.outbox().close_cause(), timeout);
    worker.verdict(&mut second, verdict);
    assert_eq!(first.outbox().close_cause(), None);
    assert_eq!(broker.statistics().connected, 1);
}

/// Asks for the way back and answers all the same: it is kept, or dropped.
struct Undecided {
    passwords: PasswordFile,
    kept: Mutex<Vec<Pending<Authentication>>>,
}

impl Authenticate for Undecided {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        let pending = login.later().expect("a client waits");
        if login.client_id.starts_with("kept") {
            self.kept.lock().unwrap().push(pending);
        }
        let password = login.password.unwrap_or_default();
        Authentication::Check(self.passwords.check("alice", password))
    }
}

#[test]
fn a_way_back_beside_another_answer_is_void() {
    let undecided = Arc::new(Undecided {
        passwords: passwords(),
        kept: Mutex::default(),
    });
    let access = Access {
        authenticate: Arc::clone(&undecided) as Arc<dyn Authenticate>,
        authorize: None,
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    site.hold_checks(true);
    let answers = [Authentication::Accept, Authentication::Refuse(ReasonCode::Banned)];
    for (number, answer) in answers.into_iter().enumerate() {
        for (name, password, expected) in [
            ("kept", "secret", "connack success ..."),
            ("dropped", "secret", "connack success ..."),
            ("dropped", "wrong", "connack not_authorized session_present=0"),
        ] {
            let peer = open(
                &mut site,
                0,
                &format!("connect v5 id={name}{number}{password} user=alice password={password} clean"),
            );
            hears_nothing(&mut site, peer);
            if name == "kept" {
                let pending = undecided.kept.lock().unwrap().pop().expect("it was kept");
                pending.answer(match &answer {
                    Authentication::Accept => Authentication::Accept,
                    _ => Authentication::Refuse(ReasonCode::Banned),
                });
                // Nobody is let in, or refused, before the password is looked at.
                hears_nothing(&mut site, peer);
            }
            assert_eq!(site.run_checks(), 1);
            hears(&mut site, peer, expected);
        }
    }
}

/// Answered last first.
#[test]
fn of_a_subscribe_no_more_filters_are_asked_about_than_may_be_subscribed_to() {
    const ASKED: usize = 3_000;
    let desk = Arc::new(Desk::default());
    let mut config = BrokerConfig::default();
    config.limits.maximum_subscriptions = ASKED;
    let mut site = Site::new(config, desk.access_open(), 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    let filters: Vec<String> = (0..ASKED + 100).map(|number| format!("f/{number}")).collect();
    say(&mut site, s, &format!("subscribe id=1 {}", filters.join(" ")));
    let mut questions: Vec<_> = desk.questions.lock().unwrap().drain(..).collect();
    assert_eq!(questions.len(), ASKED);
    questions.reverse();
    for (_, pending) in questions {
        pending.answer(Decision::Allow);
    }
    let codes = [vec!["granted_qos0"; ASKED], vec!["quota_exceeded"; 100]];
    hears(&mut site, s, &format!("suback id=1 {}", codes.concat().join(" ")));
    assert_eq!(site.broker().statistics().subscriptions, ASKED);
    assert_eq!(*desk.asked.lock().unwrap(), ASKED);
}

/// Some Subscriptions are not made, and some are for good.
struct Sticky;

impl Authorize for Sticky {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        match action {
            Action::Subscribe(filter) if filter.as_str() == "denied" => Decision::Deny,
            Action::Unsubscribe(filter) => {
                assert!(subject.later().is_none(), "an UNSUBSCRIBE does not wait");
                match filter.as_str() {
                    "kept" => Decision::Deny,
                    "busy" => Decision::Refuse(ReasonCode::ImplementationSpecificError),
                    "later" => Decision::Later,
                    _ => Decision::Allow,
                }
            }
            _ => Decision::Allow,
        }
    }
}

#[test]
fn who_may_not_unsubscribe_keeps_the_subscription_and_in_5_0_is_told() {
    let access = || Access {
        authorize: Some(Arc::new(Sticky)),
        ..Access::allow_all()
    };
    let mut site = Site::new(BrokerConfig::default(), access(), 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 kept $share/g/kept busy later free");
    hears(&mut site, s, "suback id=1 ...");
    say(
        &mut site,
        s,
        "unsubscribe id=2 kept $share/g/kept busy later free other",
    );
    hears(
        &mut site,
        s,
        "unsuback id=2 not_authorized not_authorized implementation_specific_error not_authorized success \
         no_subscription_existed",
    );
    assert_eq!(site.broker().statistics().subscriptions, 4);
    site.publish("kept", b"x", QoS::AtMostOnce, false).unwrap();
    hears(&mut site, s, r#"publish kept "x""#);
    hears(&mut site, s, r#"publish kept "x""#);

    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let mut site = Site::new(BrokerConfig::default(), access(), 1);
        let s = site.open(0, &Arc::new(ListenerPolicy::default()));
        for (packet, answer) in [
            ("connect v3 id=s clean", "connack success"),
            (
                "subscribe id=1 kept free",
                "suback id=1 granted_qos0 granted_qos0",
            ),
            ("unsubscribe id=2 kept free", "unsuback id=2"),
        ] {
            let packet = match (packet.strip_prefix("connect v3 "), version) {
                (Some(rest), ProtocolVersion::V3_1) => format!("connect v3.1 {rest}"),
                _ => packet.to_owned(),
            };
            site.send(s, &words::encode(version, &packet).unwrap());
            site.settle();
            let came = site.next_packet(s, version).unwrap().expect("an answer");
            assert!(came.matches(&format!("{answer} ...")).unwrap(), "{came}");
        }
        assert_eq!(site.broker().statistics().subscriptions, 1);
    }
}

/// A Subscription that is denied makes nobody a member, whatever the version says about it.
#[test]
fn who_may_not_subscribe_is_no_member_of_a_shared_subscription() {
    for (version, connect, answer) in [
        (
            ProtocolVersion::V3_1,
            "connect v3.1 id=s clean",
            "suback id=1 unspecified_error",
        ),
        (
            ProtocolVersion::V3_1_1,
            "connect v3 id=s clean",
            "suback id=1 unspecified_error",
        ),
        (
            ProtocolVersion::V5,
            "connect v5 id=s clean",
            "suback id=1 not_authorized",
        ),
    ] {
        struct Only;
        impl Authorize for Only {
            fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
                match action {
                    Action::Subscribe(filter) if subject.client_id == "s" && filter.as_str() == "t" => {
                        Decision::Deny
                    }
                    _ => Decision::Allow,
                }
            }
        }
        let access = Access {
            authorize: Some(Arc::new(Only)),
            ..Access::allow_all()
        };
        let mut site = Site::new(BrokerConfig::default(), access, 2);
        let other = join(&mut site, 1, "connect v5 id=other clean");
        say(&mut site, other, "subscribe id=1 $share/g/t qos=1");
        hears(&mut site, other, "suback id=1 granted_qos1");
        let s = site.open(0, &Arc::new(ListenerPolicy::default()));
        for (packet, answer) in [
            (connect, "connack success ..."),
            ("subscribe id=1 $share/g/t", answer),
        ] {
            site.send(s, &words::encode(version, packet).unwrap());
            site.settle();
            let came = site.next_packet(s, version).unwrap().expect("an answer");
            assert!(came.matches(answer).unwrap(), "{came}");
        }
        for number in 0..4 {
            let text = number.to_string();
            site.publish("t", text.as_bytes(), QoS::AtLeastOnce, false)
                .unwrap();
            hears(&mut site, other, &format!("publish t \"{number}\" qos=1 id=?"));
        }
        assert_eq!(site.unread(s), 0);
    }
}

/// Lets in when the test says so, for as long as the number is the one that it was then.
#[derive(Default)]
struct Numbered {
    number: AtomicUsize,
    logins: Mutex<Vec<Pending<Authentication>>>,
}

impl Authenticate for Numbered {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        self.logins.lock().unwrap().extend(login.later());
        Authentication::Later
    }

    fn credential(&self, _: &Login<'_>) -> Option<Credential> {
        Some(Arc::new(self.number.load(Ordering::Relaxed)))
    }

    fn recheck(&self, client: &Known<'_>) -> Result<(), ReasonCode> {
        let known = client.credential.and_then(|known| known.downcast_ref::<usize>());
        if known == Some(&self.number.load(Ordering::Relaxed)) {
            Ok(())
        } else {
            Err(ReasonCode::NotAuthorized)
        }
    }
}

#[test]
fn what_a_later_answer_rests_on_is_asked_when_it_comes() {
    let numbered = Arc::new(Numbered::default());
    let access = Access {
        authenticate: Arc::clone(&numbered) as Arc<dyn Authenticate>,
        authorize: None,
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    let a = open(&mut site, 0, "connect v5 id=a clean");
    hears_nothing(&mut site, a);
    // Known by the time of the answer only.
    numbered.number.store(7, Ordering::Relaxed);
    numbered
        .logins
        .lock()
        .unwrap()
        .remove(0)
        .answer(Authentication::Accept);
    hears(&mut site, a, "connack success ...");
    site.recheck(a, &Arc::new(ListenerPolicy::default()));
    hears_nothing(&mut site, a);
    numbered.number.store(8, Ordering::Relaxed);
    site.recheck(a, &Arc::new(ListenerPolicy::default()));
    hears(&mut site, a, "disconnect not_authorized");
}

#[test]
fn packets_that_wait_for_answers_are_bounded_together() {
    let desk = Arc::new(Desk::default());
    let mut config = BrokerConfig::default();
    config.limits.maximum_reassembly_bytes = 3000;
    let mut site = Site::new(config, desk.access_open(), 1);
    let peers: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let peer = join(&mut site, 0, &format!("connect v5 id={name} clean"));
            say(&mut site, peer, "publish t size=1300");
            peer
        })
        .into();
    assert_eq!(site.link_state(peers[0]), LinkState::Paused);
    assert_eq!(site.link_state(peers[1]), LinkState::Paused);
    hears(&mut site, peers[2], "disconnect quota_exceeded");
    assert!(site.is_closed(peers[2]));
    desk.answer("a writes t", Decision::Allow);
    site.settle();
    site.hang_up(peers[1]);
    // What is answered, and what nobody waits for any more, is given back.
    for _ in 0..5 {
        let peer = join(&mut site, 0, "connect v5 id=d clean");
        say(&mut site, peer, "publish t size=2900");
        assert_eq!(site.link_state(peer), LinkState::Paused);
        site.hang_up(peer);
    }
}

#[test]
fn a_3_1_1_client_is_told_that_nobody_can_say_who_it_is() {
    for (answer, return_code) in [
        (Authentication::Refuse(ReasonCode::ServerUnavailable), 3),
        (Authentication::Refuse(ReasonCode::ServerBusy), 3),
        (Authentication::Later, 3),
        (Authentication::Refuse(ReasonCode::Banned), 5),
    ] {
        let desk = Arc::new(Desk::default());
        let mut site = Site::new(BrokerConfig::default(), desk.access(), 1);
        let a = open(&mut site, 0, "connect v3 id=a user=alice clean");
        desk.login().1.answer(answer);
        site.settle();
        assert_eq!(site.take_bytes(a), [0x20, 2, 0, return_code]);
        assert!(site.is_closed(a));
    }
}

/// Counts questions; everything is allowed.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Authorize for Counting {
    fn authorize(&self, _: &Subject<'_>, action: Action<'_>) -> Decision {
        if matches!(action, Action::Publish(_) | Action::Unsubscribe(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Decision::Allow
    }
}

#[test]
fn the_first_verdict_of_a_link_is_remembered_after_a_reload_too() {
    let rules = Arc::new(Counting::default());
    let access = Access {
        authorize: Some(Arc::clone(&rules) as _),
        ..Access::allow_all()
    };
    let mut site = Site::new(BrokerConfig::default(), access.clone(), 1);
    site.broker().set_access(access);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, r#"publish t "1" + publish t "2""#);
    say(&mut site, a, r#"publish t "3""#);
    assert_eq!(rules.0.load(Ordering::Relaxed), 1);
}

#[test]
fn of_one_unsubscribe_no_more_is_asked_than_there_may_be_subscriptions() {
    let rules = Arc::new(Counting::default());
    let access = Access {
        authorize: Some(Arc::clone(&rules) as _),
        ..Access::allow_all()
    };
    let mut config = BrokerConfig::default();
    config.limits.maximum_subscriptions = 2;
    let mut site = Site::new(config, access, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "unsubscribe id=1 a b c");
    hears(
        &mut site,
        a,
        "unsuback id=1 no_subscription_existed no_subscription_existed implementation_specific_error",
    );
    assert_eq!(rules.0.load(Ordering::Relaxed), 2);
}

/// v5 [MQTT-3.3.2-6]
#[test]
fn a_message_grows_old_while_it_waits_for_an_answer() {
    let desk = Arc::new(Desk::default());
    let mut site = site(&desk, 1);
    let s = join(&mut site, 0, "connect v5 id=s clean");
    say(&mut site, s, "subscribe id=1 t");
    desk.answer("s subscribes t", Decision::Allow);
    hears(&mut site, s, "suback id=1 granted_qos0");
    let a = join(&mut site, 0, "connect v5 id=a clean");
    for (waits, left) in [(0, Some(20)), (8, Some(12)), (20, None)] {
        say(&mut site, a, "publish t x qos=1 id=1 expiry=20");
        site.advance(Duration::from_secs(waits));
        // Under other rules it is asked again, and is as old as before.
        site.broker().set_access(desk.access_open());
        desk.answer("a writes t", Decision::AllowOnce);
        site.settle();
        desk.answer("a writes t", Decision::AllowOnce);
        site.settle();
        if let Some(left) = left {
            hears(&mut site, s, &format!("publish t \"x\" expiry={left}"));
        }
        hears_nothing(&mut site, s);
        hears(&mut site, a, "puback id=1 ...");
    }
}

/// Has a password checked for every login.
struct Checks(PasswordFile);

impl Authenticate for Checks {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        Authentication::Check(self.0.check(login.client_id, login.password.unwrap_or_default()))
    }
}

#[test]
fn the_answer_about_a_password_lets_nobody_else_in() {
    let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[7; 12]).unwrap();
    let mut editor = Editor::new(b"");
    editor.set("a", &hash).unwrap();
    let access = Access {
        authenticate: Arc::new(Checks(PasswordFile::parse(&editor.text()).unwrap())),
        authorize: None,
    };
    let broker = Broker::new(BrokerConfig::default(), access, 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    let policy = Arc::new(ListenerPolicy::default());
    let connect = |worker: &mut Worker, text: &str| {
        let mut link = worker.open(Box::new(()), &policy);
        let bytes = words::encode(ProtocolVersion::V5, text).unwrap();
        worker.input(&mut link, &bytes);
        (link, worker.next_password_check().unwrap())
    };
    let (a, request) = connect(&mut worker, "connect v5 id=a user=a password=secret");
    let (mut b, other) = connect(&mut worker, "connect v5 id=b user=b password=guess");
    // As a driver would that maps answers to Connections wrongly.
    worker.verdict(&mut b, request.run());
    assert_eq!(b.state(), LinkState::Paused);
    worker.verdict(&mut b, other.refuse());
    assert_eq!(b.state(), LinkState::Closing);
    assert_eq!(broker.statistics().connected, 0);

    // The rules change while it is checked: it is asked about again, and that is another question.
    drop(a);
    let (mut c, request) = connect(&mut worker, "connect v5 id=a user=a password=secret");
    let desk = Arc::new(Desk::default());
    broker.set_access(desk.access());
    worker.turn_begin(Now::default());
    worker.verdict(&mut c, request.run());
    assert_eq!(c.state(), LinkState::Paused);
    assert_eq!(desk.login().0, "a");
    assert_eq!(broker.statistics().connected, 0);
}
