//! Enhanced authentication: an exchange of AUTH packets, at CONNECT and again. MQTT 5.0 §4.12.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use komar_broker_core::{
    Access, Authenticate, Authentication, BrokerConfig, CloseCause, Credential, Exchange, ExchangeContext,
    Known, LinkState, ListenerPolicy, Login, Pending, Step,
};
use komar_codec::{ProtocolVersion, ReasonCode};
use komar_identity::IdentityPolicy;
use komar_testkit::{PeerId, Site};

use crate::desk::{hears, hears_nothing, open, say};

/// The method `echo`: says what it was told until it is told a word that it knows.
#[derive(Default)]
struct Echo {
    later: Mutex<Vec<Pending<Step>>>,
    /// Who was let in under another number may not stay.
    number: AtomicUsize,
}

/// An exchange, and the number when it began.
struct Steps(Arc<Echo>, usize);

#[derive(Clone, Default)]
pub(crate) struct Methods(Arc<Echo>);

impl Methods {
    pub(crate) fn access(&self) -> Access {
        Access {
            authenticate: Arc::new(self.clone()),
            authorize: None,
        }
    }

    fn site(&self) -> Site {
        Site::new(BrokerConfig::default(), self.access(), 1)
    }

    fn answer(&self, step: Step) {
        self.0.later.lock().unwrap().remove(0).answer(step);
    }
}

impl Authenticate for Methods {
    fn authenticate(&self, _: &Login<'_>) -> Authentication {
        Authentication::AcceptAnonymous
    }

    fn begin(&self, login: &Login<'_>, method: &str) -> Option<Box<dyn Exchange>> {
        let is_known = method == "echo" && login.client_id != "stranger";
        let number = self.0.number.load(Ordering::Relaxed);
        is_known.then(|| Box::new(Steps(Arc::clone(&self.0), number)) as Box<dyn Exchange>)
    }

    fn recheck(&self, client: &Known<'_>) -> Result<(), ReasonCode> {
        let known = client.credential.and_then(|known| known.downcast_ref::<usize>());
        if known == Some(&self.0.number.load(Ordering::Relaxed)) {
            Ok(())
        } else {
            Err(ReasonCode::NotAuthorized)
        }
    }
}

impl Exchange for Steps {
    fn step(&mut self, data: Option<&[u8]>, context: &mut ExchangeContext<'_>) -> Step {
        match data.unwrap_or_default() {
            b"yes" => accept("alice"),
            b"other" => accept("bob"),
            b"no" => Step::Refuse(ReasonCode::Banned),
            b"later" => {
                self.0.later.lock().unwrap().push(context.later());
                Step::Later
            }
            b"too much" => Step::Continue(vec![0; 70_000]),
            b"too much at the end" => Step::Accept {
                username: None,
                data: Some(vec![0; 70_000]),
            },
            b"panic" => std::panic::resume_unwind(Box::new("an exchange panicked")),
            other => Step::Continue(other.to_ascii_uppercase()),
        }
    }

    fn credential(&self) -> Option<Credential> {
        Some(Arc::new(self.1))
    }
}

fn accept(username: &str) -> Step {
    Step::Accept {
        username: Some(username.into()),
        data: Some(b"welcome".to_vec()),
    }
}

#[test]
fn a_client_is_let_in_after_as_many_steps_as_it_takes() {
    let mut site = Methods::default().site();
    let a = open(
        &mut site,
        0,
        "connect v5 id=a clean method=echo data=one + pingreq",
    );
    hears(&mut site, a, "auth continue_authentication method=echo data=ONE");
    // What is neither AUTH nor DISCONNECT has no place before CONNACK. v5 [MQTT-3.1.2-30]
    assert!(site.is_closed(a));

    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
    // v5 [MQTT-4.12.0-2]
    hears(&mut site, a, "auth continue_authentication method=echo data=ONE");
    assert_eq!(site.link_state(a), LinkState::Open);
    say(&mut site, a, "auth continue_authentication method=echo data=two");
    hears(&mut site, a, "auth continue_authentication method=echo data=TWO");
    say(
        &mut site,
        a,
        "auth continue_authentication method=echo data=yes + pingreq",
    );
    // v5 [MQTT-4.12.0-5]
    hears(&mut site, a, "connack success method=echo data=welcome ...");
    hears(&mut site, a, "pingresp");
    assert_eq!(
        site.broker().session("a").unwrap().username.as_deref(),
        Some("alice")
    );

    let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=yes");
    hears(&mut site, b, "connack success method=echo data=welcome ...");
    // Without a method there is no exchange, and CONNACK has none either. v5 [MQTT-4.12.0-6]
    let c = open(&mut site, 0, "connect v5 id=c clean");
    hears(
        &mut site,
        c,
        "connack success session_present=0 receive_maximum=20 maximum_packet_size=2000000 alias_maximum=10",
    );
    say(&mut site, c, "auth re_authenticate method=echo data=yes");
    hears(&mut site, c, "disconnect protocol_error");
}

#[test]
fn it_is_refused_for_a_wrong_method_a_wrong_step_and_a_wrong_answer() {
    let mut site = Methods::default().site();
    for connect in [
        "connect v5 id=a clean method=other data=yes",
        "connect v5 id=stranger clean method=echo data=yes",
    ] {
        let a = open(&mut site, 0, connect);
        hears(
            &mut site,
            a,
            "connack bad_authentication_method session_present=0",
        );
        assert!(site.is_closed(a));
    }
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=no");
    // v5 [MQTT-4.12.0-4]
    hears(&mut site, a, "connack banned session_present=0");
    assert!(site.is_closed(a));
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=panic");
    hears(
        &mut site,
        a,
        "connack implementation_specific_error session_present=0",
    );
    for wrong in [
        "auth continue_authentication method=other data=yes",
        "auth re_authenticate method=echo data=yes",
        "auth success method=echo data=yes",
        "connect v5 id=a clean",
    ] {
        let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
        hears(&mut site, a, "auth ...");
        say(&mut site, a, wrong);
        site.settle();
        assert!(site.is_closed(a) && site.unread(a) == 0, "{wrong}");
    }
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
    hears(&mut site, a, "auth ...");
    say(&mut site, a, "disconnect");
    assert!(site.is_closed(a));
    // A client that does not go on is given up by the CONNECT timeout.
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
    hears(&mut site, a, "auth ...");
    site.advance(Duration::from_secs(32));
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));
    assert_eq!(site.broker().statistics().sessions, 0);
}

/// What the client takes for all its steps counts, and what it is made to wait for does not.
#[test]
fn an_exchange_takes_no_longer_than_the_connect_timeout() {
    let more = |site: &mut Site, peer, word: &str| {
        say(
            site,
            peer,
            &format!("auth continue_authentication method=echo data={word}"),
        );
    };
    let methods = Methods::default();
    let mut site = methods.site();
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
    hears(&mut site, a, "auth ...");
    site.advance(Duration::from_secs(20));
    more(&mut site, a, "two");
    hears(&mut site, a, "auth ...");
    site.advance(Duration::from_secs(12));
    assert_eq!(site.close_cause(a), Some(CloseCause::KeepAliveTimeout));

    for goes_on in [true, false] {
        let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=later");
        site.advance(Duration::from_secs(20));
        methods.answer(Step::Continue(b"1".to_vec()));
        hears(&mut site, b, "auth ...");
        site.advance(Duration::from_secs(20));
        more(&mut site, b, "later");
        hears_nothing(&mut site, b);
        site.advance(Duration::from_secs(20));
        methods.answer(Step::Continue(b"2".to_vec()));
        hears(&mut site, b, "auth ...");
        site.advance(Duration::from_secs(if goes_on { 8 } else { 16 }));
        if goes_on {
            more(&mut site, b, "yes");
            hears(&mut site, b, "connack success ...");
        } else {
            assert_eq!(site.close_cause(b), Some(CloseCause::KeepAliveTimeout));
        }
    }
}

#[test]
fn a_step_may_be_answered_later() {
    let methods = Methods::default();
    let mut site = methods.site();
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=later");
    hears_nothing(&mut site, a);
    assert_eq!(site.link_state(a), LinkState::Paused);
    methods.answer(Step::Continue(b"go on".to_vec()));
    hears(
        &mut site,
        a,
        "auth continue_authentication method=echo data=\"go on\"",
    );
    say(
        &mut site,
        a,
        "auth continue_authentication method=echo data=later",
    );
    hears_nothing(&mut site, a);
    methods.answer(accept("alice"));
    hears(&mut site, a, "connack success method=echo data=welcome ...");

    let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=later");
    hears_nothing(&mut site, b);
    methods.answer(Step::Later);
    hears(&mut site, b, "connack server_unavailable session_present=0");
    let c = open(&mut site, 0, "connect v5 id=c clean method=echo data=later");
    site.advance(Duration::from_secs(32));
    hears(&mut site, c, "connack server_unavailable session_present=0");
}

#[test]
fn a_client_authenticates_again_while_it_goes_on() {
    let methods = Methods::default();
    let mut site = methods.site();
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=yes");
    hears(&mut site, a, "connack success ...");
    say(&mut site, a, "auth re_authenticate method=echo data=one");
    hears(&mut site, a, "auth continue_authentication method=echo data=ONE");
    // It keeps its rights meanwhile. v5 [MQTT-4.12.1-2]
    say(&mut site, a, "publish t x qos=1 id=1");
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    say(&mut site, a, "auth continue_authentication method=echo data=yes");
    hears(&mut site, a, "auth success method=echo data=welcome");

    say(
        &mut site,
        a,
        "auth re_authenticate method=echo data=later + pingreq",
    );
    hears_nothing(&mut site, a);
    methods.answer(accept("alice"));
    hears(&mut site, a, "auth success method=echo data=welcome");
    hears(&mut site, a, "pingresp");

    for (last, code) in [
        // DISCONNECT cannot carry 0x8A.
        ("auth re_authenticate method=echo data=no", "not_authorized"),
        // Another user than the one that it has.
        ("auth re_authenticate method=echo data=other", "not_authorized"),
        ("auth re_authenticate method=other data=yes", "protocol_error"),
        (
            "auth continue_authentication method=echo data=yes",
            "protocol_error",
        ),
        (
            "auth re_authenticate method=echo data=panic",
            "implementation_specific_error",
        ),
    ] {
        let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=yes");
        hears(&mut site, b, "connack success ...");
        say(&mut site, b, last);
        hears(&mut site, b, &format!("disconnect {code}"));
        assert!(site.is_closed(b), "{last}");
    }
}

#[test]
fn a_reload_looks_at_what_an_exchange_has_proved_also_while_it_goes_on() {
    let methods = Methods::default();
    let mut site = methods.site();
    let policy = Arc::new(ListenerPolicy::default());
    let again = |site: &mut Site, peers: &[PeerId]| {
        methods.0.number.fetch_add(1, Ordering::Relaxed);
        site.broker().set_access(methods.access());
        peers.iter().for_each(|peer| site.recheck(*peer, &policy));
    };
    let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=yes");
    hears(&mut site, a, "connack success ...");
    site.recheck(a, &policy);
    hears_nothing(&mut site, a);
    again(&mut site, &[a]);
    hears(&mut site, a, "disconnect not_authorized");

    // Begun before, and to be answered behind it: by the client, and by the embedder.
    let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=one");
    hears(&mut site, b, "auth continue_authentication ...");
    let c = open(&mut site, 0, "connect v5 id=c clean method=echo data=later");
    hears_nothing(&mut site, c);
    again(&mut site, &[b, c]);
    say(&mut site, b, "auth continue_authentication method=echo data=yes");
    hears(&mut site, b, "connack not_authorized session_present=0");
    methods.answer(accept("alice"));
    hears(&mut site, c, "connack not_authorized session_present=0");

    // A client that authenticates again is what that proves from then on.
    let d = open(&mut site, 0, "connect v5 id=d clean method=echo data=yes");
    hears(&mut site, d, "connack success ...");
    methods.0.number.fetch_add(1, Ordering::Relaxed);
    say(&mut site, d, "auth re_authenticate method=echo data=yes");
    hears(&mut site, d, "auth success ...");
    site.recheck(d, &policy);
    hears_nothing(&mut site, d);
    say(&mut site, d, "auth re_authenticate method=echo data=one");
    hears(&mut site, d, "auth continue_authentication ...");
    methods.0.number.fetch_add(1, Ordering::Relaxed);
    say(&mut site, d, "auth continue_authentication method=echo data=yes");
    hears(&mut site, d, "disconnect not_authorized");
}

#[test]
fn nobody_is_let_in_whose_connack_cannot_be_sent() {
    let methods = Methods::default();
    let mut site = methods.site();
    let a = open(
        &mut site,
        0,
        r#"connect v5 id=a clean method=echo data="too much at the end""#,
    );
    hears(
        &mut site,
        a,
        "connack implementation_specific_error session_present=0",
    );
    assert!(site.is_closed(a));
    // AUTH that cannot be sent: the client would wait for ever.
    let b = open(
        &mut site,
        0,
        r#"connect v5 id=b clean method=echo data="too much""#,
    );
    assert!(site.is_closed(b));
    let c = open(&mut site, 0, "connect v5 id=c clean method=echo data=yes");
    hears(&mut site, c, "connack success ...");
    say(
        &mut site,
        c,
        r#"auth re_authenticate method=echo data="too much""#,
    );
    assert!(site.is_closed(c));
    // CONNACK is larger than this one takes; what comes in one read with CONNECT is not handled.
    let d = open(
        &mut site,
        0,
        "connect v5 id=d clean maximum_packet_size=10 + publish t x retain",
    );
    hears(&mut site, d, "connack packet_too_large session_present=0");
    assert!(site.is_closed(d));
    // Not even that, to one that takes less.
    let e = open(&mut site, 0, "connect v5 id=e clean maximum_packet_size=4");
    assert!(site.is_closed(e));
    assert_eq!(site.unread(e), 0);
    assert_eq!(site.broker().statistics().connected, 0);
    assert_eq!(site.broker().statistics().retained_messages, 0);
}

#[test]
fn who_cannot_be_told_that_it_is_let_in_takes_no_session_over_and_leaves_no_will() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 2);
    let reader = open(&mut site, 0, "connect v5 id=reader clean");
    hears(&mut site, reader, "connack success ...");
    say(&mut site, reader, "subscribe id=1 w");
    hears(&mut site, reader, "suback id=1 granted_qos0");
    let a = open(&mut site, 0, "connect v5 id=a expiry=100");
    hears(&mut site, a, "connack success ...");
    let rival = open(
        &mut site,
        1,
        "connect v5 id=a clean expiry=100 maximum_packet_size=10 will=w will_payload=x",
    );
    hears(&mut site, rival, "connack packet_too_large session_present=0");
    assert!(site.is_closed(rival));
    site.settle();
    hears_nothing(&mut site, reader);
    hears_nothing(&mut site, a);
    assert!(!site.is_closed(a));
    assert_eq!(site.broker().statistics().connected, 2);
}

#[test]
fn response_information_that_has_no_room_in_connack_is_left_out() {
    for length in [65_530, 65_536] {
        let mut config = BrokerConfig::default();
        config.response_information = Some("%c".repeat(length));
        let mut site = Site::new(config, Access::allow_all(), 1);
        let a = open(&mut site, 0, "connect v5 id=a clean response_information=1");
        let answer = match site.next_packet(a, ProtocolVersion::V5).unwrap() {
            Some(answer) => answer.to_string(),
            None => panic!("no answer"),
        };
        assert!(answer.starts_with("connack success"));
        assert_eq!(answer.len() > 65_000, length == 65_530);
        say(&mut site, a, "pingreq");
        hears(&mut site, a, "pingresp");
    }
}

#[test]
fn an_exchange_that_is_under_way_is_judged_by_the_new_policy() {
    let mut old_only = ListenerPolicy::default();
    old_only.protocol_versions = vec![ProtocolVersion::V3_1_1];
    let mut by_certificate = ListenerPolicy::default();
    by_certificate.identity = Some(IdentityPolicy::CommonName);
    for (policy, answer) in [
        (old_only, "connack unsupported_protocol_version session_present=0"),
        (
            by_certificate,
            "connack bad_authentication_method session_present=0",
        ),
    ] {
        let methods = Methods::default();
        let mut site = methods.site();
        let a = open(&mut site, 0, "connect v5 id=a clean method=echo data=one");
        hears(&mut site, a, "auth continue_authentication ...");
        let b = open(&mut site, 0, "connect v5 id=b clean method=echo data=later");
        hears_nothing(&mut site, b);
        let policy = Arc::new(policy);
        site.recheck(a, &policy);
        site.recheck(b, &policy);
        say(&mut site, a, "auth continue_authentication method=echo data=yes");
        hears(&mut site, a, answer);
        methods.answer(accept("alice"));
        hears(&mut site, b, answer);
        assert_eq!(site.broker().statistics().connected, 0);
    }
}
