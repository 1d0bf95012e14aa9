//! Who is it, and may it: the two questions that an embedder may answer, and the ready-made answers from Mosquitto's
//! files.

mod acl;
mod exchange;
mod files;
mod identity;
mod later;
mod password;
#[cfg(feature = "scram")]
mod scram;

use core::any::Any;
use std::sync::Arc;

use komar_codec::{PacketType, ReasonCode};
use komar_passwd::PasswordCheck;
use komar_topic::{TopicFilter, TopicName};

use crate::config::{ListenerId, ListenerPolicy};
use crate::error::refusal;
use crate::guard::{Panicked, guarded};

pub use exchange::{Exchange, ExchangeContext, Step};
pub use files::{FileAccess, ListenerFiles};
pub(crate) use identity::CertificateIdentity;
pub(crate) use later::{Answer, Asking};
pub use later::{Pending, Verdict};
#[cfg(feature = "scram")]
pub use scram::{Scram, ScramCredential, ScramCredentials};

/// Who a Connection belongs to, once it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The Client Identifier, assigned ones included.
    pub client_id: Arc<str>,
    /// The user name that was authenticated, or that a certificate proves; `None` for anonymous clients.
    pub username: Option<Arc<str>>,
    /// The listener that the Connection came in by.
    pub listener: ListenerId,
}

impl Identity {
    /// Who a Session that was [stored](crate::store::StoredSession) belongs to.
    pub fn new(client_id: Arc<str>, username: Option<Arc<str>>, listener: ListenerId) -> Identity {
        Identity {
            client_id,
            username,
            listener,
        }
    }

    /// Whether that is the same user of the same client, who may come by another listener.
    pub(crate) fn is_same_user(&self, other: &Identity) -> bool {
        self.client_id == other.client_id && self.username == other.username
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject::new(self.username.as_deref(), &self.client_id, self.listener)
    }

    /// As [`subject`](Self::subject), for a question whose answer may come later.
    pub(crate) fn asking<'a>(&'a self, asking: Asking<'a>) -> Subject<'a> {
        Subject {
            asking: Some(asking),
            ..self.subject()
        }
    }
}

/// What a client presents in CONNECT.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Login<'a> {
    /// What holds for its listener.
    pub listener: &'a ListenerPolicy,
    /// The Client Identifier as sent; may be empty.
    pub client_id: &'a str,
    /// The user name; never empty.
    pub username: Option<&'a str>,
    /// The password, any bytes.
    pub password: Option<&'a [u8]>,
    pub(crate) asking: Option<Asking<'a>>,
}

impl<'a> Login<'a> {
    /// A login that no client waits for: to ask an [`Authenticate`] outside a broker.
    pub fn new(
        listener: &'a ListenerPolicy,
        client_id: &'a str,
        username: Option<&'a str>,
        password: Option<&'a [u8]>,
    ) -> Login<'a> {
        Login {
            listener,
            client_id,
            username,
            password,
            asking: None,
        }
    }

    /// The way back for an answer that is not known yet; return [`Authentication::Later`] then. `None`: nobody waits. With any
    /// other answer it is void, whatever becomes of it.
    pub fn later(&self) -> Option<Pending<Authentication>> {
        self.asking.map(|asking| asking.pending())
    }
}

/// The answer to a [`Login`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// Let in, under the user name that it gave.
    Accept,
    /// Let in under this user name, whatever name it gave: the one that a token names, for example. Refused if it is empty, has
    /// a null character or more than 65,535 bytes.
    AcceptAs(Arc<str>),
    /// Let in without a user name, whatever name it gave: nothing vouches for it.
    AcceptAnonymous,
    /// Refused. 5.0 clients get the code, others the nearest return code.
    Refuse(ReasonCode),
    /// The answer takes work that has no place in a turn: the driver [runs](crate::PasswordRequest::run) the check and comes
    /// back with [`Worker::verdict`](crate::Worker::verdict). It may be a later answer, too: who was found elsewhere
    /// still has to know the password.
    Check(PasswordCheck),
    /// The answer comes through [`Login::later`], which has to be called before: without it nobody can answer, and the client
    /// waits until [`Limits::verdict_timeout`](crate::Limits::verdict_timeout) refuses it.
    Later,
}

/// What a login rests on, of a type that only its [`Authenticate`] knows. Kept as long as the Connection. Dropping it must not
/// panic: that would end the worker.
pub type Credential = Arc<dyn Any + Send + Sync>;

/// A client that is connected, as [`Authenticate::recheck`] sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Known<'a> {
    /// What holds for its listener now.
    pub listener: &'a ListenerPolicy,
    /// Who it is.
    pub identity: &'a Identity,
    /// What [`Authenticate::credential`] gave when it logged in.
    pub credential: Option<&'a Credential>,
}

/// Decides who is let in. Called on a worker's thread; must not block.
pub trait Authenticate: Send + Sync {
    /// Answers one login.
    fn authenticate(&self, login: &Login<'_>) -> Authentication;

    /// What accepting this login would rest on, for [`recheck`](Self::recheck) to compare. Asked right after
    /// [`authenticate`](Self::authenticate), or, if that said [`Authentication::Later`], when the answer has come. For an
    /// exchange see [`Exchange::credential`]. Default: nothing.
    fn credential(&self, _login: &Login<'_>) -> Option<Credential> {
        None
    }

    /// Begins an exchange of AUTH packets by a method of the client's choice (MQTT 5.0 §4.12); `login` has the user name
    /// and password that came with CONNECT, if any. `None`, the default: there is no such method, and the client is
    /// refused with 0x8C.
    fn begin(&self, _login: &Login<'_>, _method: &str) -> Option<Box<dyn Exchange>> {
        None
    }

    /// Whether a client that is connected may stay. Asked after a reload, see [`Worker::recheck`](crate::Worker::recheck), and
    /// when an [`Exchange`] has accepted a client, as that may have begun under older rules. Default: it may.
    ///
    /// # Errors
    ///
    /// What a 5.0 client is told before it is disconnected: [`ReasonCode::NotAuthorized`] where it could not log in any
    /// more.
    fn recheck(&self, _client: &Known<'_>) -> Result<(), ReasonCode> {
        Ok(())
    }
}

/// Who asks.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Subject<'a> {
    /// Its user name.
    pub username: Option<&'a str>,
    /// Its Client Identifier.
    pub client_id: &'a str,
    /// Its listener.
    pub listener: ListenerId,
    asking: Option<Asking<'a>>,
}

impl<'a> Subject<'a> {
    /// Somebody whom nothing waits for: to ask an [`Authorize`] outside a broker.
    pub fn new(username: Option<&'a str>, client_id: &'a str, listener: ListenerId) -> Subject<'a> {
        Subject {
            username,
            client_id,
            listener,
            asking: None,
        }
    }

    /// The way back for an answer that is not known yet; return [`Decision::Later`] then. `None` where nobody can wait: only
    /// a client's PUBLISH and SUBSCRIBE can, not a Will Message, and not a delivery. Return [`Decision::Later`] all the same
    /// where it would be asked: a retained message whose publisher was let publish it later is sent then, and hidden if
    /// the answer is [`Decision::Deny`].
    pub fn later(&self) -> Option<Pending<Decision>> {
        self.asking.map(|asking| asking.pending())
    }
}

impl core::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Subject")
            .field("username", &self.username)
            .field("client_id", &self.client_id)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Whether somebody may have that user name: it is not that of a client without one, and CONNECT, and a store, have room for it.
pub(crate) fn is_user_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= usize::from(u16::MAX) && !name.contains('\0')
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// To publish to a Topic Name; Will Messages when they are sent. Asked again, in the publisher's name, each time that a
    /// retained message is sent, if [`BrokerConfig::check_retain_source`](crate::BrokerConfig::check_retain_source) is set:
    /// an answer that counts messages counts those, too.
    Publish(TopicName<'a>),
    /// To be sent a message of a Topic Name: live, retained or queued.
    Receive(TopicName<'a>),
    /// To subscribe with a Topic Filter; of a Shared Subscription, the filter behind the Share Name.
    Subscribe(TopicFilter<'a>),
    /// To unsubscribe from a Topic Filter; of a Shared Subscription, the filter behind the Share Name. A 3.x client is not told
    /// that it may not, and keeps the Subscription all the same. Mosquitto's files always allow it.
    Unsubscribe(TopicFilter<'a>),
}

/// Yes or no. [`Allow`](Self::Allow) and [`Deny`](Self::Deny) are remembered for the same client and topic until
/// [`Broker::set_access`](crate::Broker::set_access) is called; the others are asked for again each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It may.
    Allow,
    /// It may, this time.
    AllowOnce,
    /// It may not: 0x87 Not authorized.
    Deny,
    /// It may not, this time, and a 5.0 client is told this code in PUBACK, PUBREC, SUBACK or UNSUBACK.
    Refuse(ReasonCode),
    /// The answer comes through [`Subject::later`]. Where nobody can wait, it counts as [`Deny`](Self::Deny); about the
    /// publisher of a retained message that is sent, as what was decided when it was published.
    Later,
}

impl Decision {
    /// What a 5.0 client is told of a refusal in a packet of that type.
    pub(crate) fn reason_code(self, packet_type: PacketType) -> ReasonCode {
        match self {
            Decision::Allow | Decision::AllowOnce => ReasonCode::Success,
            Decision::Deny | Decision::Later => ReasonCode::NotAuthorized,
            Decision::Refuse(reason_code) => refusal(reason_code, packet_type),
        }
    }
}

/// Decides who may do what. Called on a worker's thread, outside all locks; must not block.
pub trait Authorize: Send + Sync {
    /// Answers one question.
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision;
}

/// The two decisions together, swapped as one.
#[derive(Clone)]
pub struct Access {
    /// Who is let in.
    pub authenticate: Arc<dyn Authenticate>,
    /// Who may do what; `None` allows everything that the broker itself does not refuse.
    pub authorize: Option<Arc<dyn Authorize>>,
}

impl Access {
    /// Lets everybody in and allows everything. For tests and closed networks.
    pub fn allow_all() -> Access {
        Access {
            authenticate: Arc::new(AllowAll),
            authorize: None,
        }
    }

    /// Whether `subject` may do `action`, where nobody can wait for the answer.
    pub(crate) fn allows(&self, subject: &Subject<'_>, action: Action<'_>) -> bool {
        matches!(
            self.decide(subject, action),
            Ok(Decision::Allow | Decision::AllowOnce)
        )
    }

    /// Asks whether `subject` may do `action`.
    pub(crate) fn decide(&self, subject: &Subject<'_>, action: Action<'_>) -> Result<Decision, Panicked> {
        if let Action::Publish(name) | Action::Receive(name) = action
            && is_reserved(name, matches!(action, Action::Publish(_)))
        {
            return Ok(Decision::Deny);
        }
        match &self.authorize {
            Some(rules) => guarded("Authorize", || rules.authorize(subject, action)),
            None => Ok(Decision::Allow),
        }
    }
}

/// Topics that no rule can open: clients do not write below `$SYS`, and `$share` is not a topic. MQTT 5.0 §4.7.2.
fn is_reserved(name: TopicName<'_>, publish: bool) -> bool {
    let name = name.as_str();
    if !name.starts_with('$') {
        return false;
    }
    let bridge_state = || {
        name.strip_prefix("$SYS/broker/connection/")
            .and_then(|rest| rest.strip_suffix("/state"))
            .is_some_and(|bridge| !bridge.contains('/'))
    };
    name.starts_with("$share") || (publish && name.starts_with("$SYS") && !bridge_state())
}

struct AllowAll;

impl Authenticate for AllowAll {
    fn authenticate(&self, _: &Login<'_>) -> Authentication {
        Authentication::Accept
    }
}
