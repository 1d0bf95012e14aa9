//! An embedder that answers when the test says so, and peers in words.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use komar_broker_core::{
    Access, Action, Authenticate, Authentication, Authorize, Decision, ListenerPolicy, Login, Pending,
    Subject,
};
use komar_codec::ProtocolVersion;
use komar_testkit::{PeerId, Site, words};

/// Takes every question down and answers none: each is `name` or `client name`.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) logins: Mutex<VecDeque<(String, Pending<Authentication>)>>,
    pub(crate) questions: Mutex<VecDeque<(String, Pending<Decision>)>>,
    /// How often something was asked, whatever became of it.
    pub(crate) asked: Mutex<usize>,
}

impl Desk {
    /// Decides everything later: logins, PUBLISH and SUBSCRIBE. Everybody may read.
    pub(crate) fn access(self: &Arc<Self>) -> Access {
        Access {
            authenticate: Arc::clone(self) as Arc<dyn Authenticate>,
            authorize: Some(Arc::clone(self) as Arc<dyn Authorize>),
        }
    }

    /// As [`access`](Self::access), with everybody let in at once.
    pub(crate) fn access_open(self: &Arc<Self>) -> Access {
        Access {
            authorize: Some(Arc::clone(self) as Arc<dyn Authorize>),
            ..Access::allow_all()
        }
    }

    pub(crate) fn login(&self) -> (String, Pending<Authentication>) {
        self.logins.lock().unwrap().pop_front().expect("somebody logs in")
    }

    pub(crate) fn question(&self) -> (String, Pending<Decision>) {
        self.questions.lock().unwrap().pop_front().expect("somebody asks")
    }

    /// Answers the oldest question, which is this one.
    pub(crate) fn answer(&self, expected: &str, decision: Decision) {
        let (asked, pending) = self.question();
        assert_eq!(asked, expected);
        pending.answer(decision);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.logins.lock().unwrap().is_empty() && self.questions.lock().unwrap().is_empty()
    }
}

impl Authenticate for Desk {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        *self.asked.lock().unwrap() += 1;
        let pending = login.later().expect("a client waits");
        self.logins
            .lock()
            .unwrap()
            .push_back((login.client_id.to_owned(), pending));
        Authentication::Later
    }
}

impl Authorize for Desk {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        let text = match action {
            Action::Receive(_) => return Decision::Allow,
            Action::Publish(name) => format!("{} writes {}", subject.client_id, name.as_str()),
            Action::Subscribe(filter) => format!("{} subscribes {}", subject.client_id, filter.as_str()),
            _ => return Decision::Deny,
        };
        *self.asked.lock().unwrap() += 1;
        let Some(pending) = subject.later() else {
            return Decision::Later;
        };
        self.questions.lock().unwrap().push_back((text, pending));
        Decision::Later
    }
}

/// Opens a Connection and lets the peer say something.
pub(crate) fn open(site: &mut Site, worker: usize, packets: &str) -> PeerId {
    let peer = site.open(worker, &Arc::new(ListenerPolicy::default()));
    say(site, peer, packets);
    peer
}

/// Opens a Connection and expects to be let in.
pub(crate) fn join(site: &mut Site, worker: usize, connect: &str) -> PeerId {
    let peer = open(site, worker, connect);
    hears(site, peer, "connack success ...");
    peer
}

/// The peer sends packets, and the broker works until it rests.
pub(crate) fn say(site: &mut Site, peer: PeerId, packets: &str) {
    site.send(peer, &words::encode(ProtocolVersion::V5, packets).unwrap());
    site.settle();
}

/// This packet comes next.
pub(crate) fn hears(site: &mut Site, peer: PeerId, expected: &str) {
    site.settle();
    match site.next_packet(peer, ProtocolVersion::V5).unwrap() {
        Some(came) => assert!(
            came.matches(expected).unwrap(),
            "expected: {expected}, came: {came}"
        ),
        None => panic!(
            "expected: {expected}, came: nothing; closed: {}",
            site.is_closed(peer)
        ),
    }
}

/// Nothing has come, and the Connection is open.
pub(crate) fn hears_nothing(site: &mut Site, peer: PeerId) {
    site.settle();
    let came = site.next_packet(peer, ProtocolVersion::V5).unwrap();
    assert!(came.is_none(), "expected: nothing, came: {}", came.unwrap());
    assert!(
        !site.is_closed(peer),
        "it is closed: {:?}",
        site.close_cause(peer)
    );
}
