//! Who is it: from what CONNECT and AUTH carry to an answer, at once or later. MQTT 5.0 §3.1.4, §3.15, §4.12.

use std::sync::Arc;

use komar_codec::{Auth, AuthProperties, Connect, Framing, ReasonCode, frame};
use komar_identity::{IdentityError, require_user_name};

use super::connect::{Refusal, refuse};
use super::phase::{Enhanced, PendingConnect, Proof, Waiting};
use super::{Link, Phase};
use crate::access::{
    Answer, Asking, Authentication, CertificateIdentity, Credential, Exchange, ExchangeContext, Login, Step,
};
use crate::error::ProtocolError;
use crate::guard::{Panicked, guarded};
use crate::now::Millis;
use crate::worker::{PasswordRequest, Worker};

/// A client that is let in.
pub(super) struct Accepted {
    pub(super) username: Option<Arc<str>>,
    pub(super) proof: Proof,
    /// Authentication Data for CONNACK, if there was an exchange. It may have begun under older rules, so the present ones
    /// are asked whether its client may stay.
    pub(super) exchanged: Option<Option<Vec<u8>>>,
    /// How many QoS 1 and 2 messages may be under way to it. `None`: as many as to any other.
    pub(super) send_maximum: Option<u16>,
}

/// How it goes on with a CONNECT.
pub(super) enum Outcome {
    Accept(Accepted),
    /// A verdict is waited for.
    Wait(Question),
    /// The client is to send AUTH.
    Exchange(Question),
}

/// What is kept while an answer is waited for.
pub(super) struct Question {
    pub(super) deadline: Millis,
    pub(super) credential: Option<Credential>,
    pub(super) exchange: Option<Box<dyn Exchange>>,
}

impl Worker {
    /// Authenticates by certificate where the listener says so, otherwise by what CONNECT carries.
    pub(super) fn who_is_it(&mut self, link: &mut Link, connect: &Connect<'_>) -> Result<Outcome, Refusal> {
        if link.policy.wants_certificate() {
            return who_by_certificate(link, connect);
        }
        if connect.properties.authentication_method.is_none() {
            // Before the password is looked at: nobody tries those of others out with his own certificate.
            require_identity(link, connect.username)?;
        }
        link.asked = link.asked.wrapping_add(1);
        let login = Login {
            listener: &link.policy,
            client_id: connect.client_id,
            username: connect.username.filter(|name| !name.is_empty()),
            password: connect.password,
            asking: Some(link.asking(&self.inbox, 0)),
        };
        let authenticate = Arc::clone(&self.access.access.authenticate);
        // v5 [MQTT-4.12.0-6]
        if let Some(method) = connect.properties.authentication_method {
            let exchange = guarded("Authenticate", || authenticate.begin(&login, method))?;
            // v5 [MQTT-4.12.0-1]
            let exchange = exchange.ok_or_else(|| {
                refuse(
                    ReasonCode::BadAuthenticationMethod,
                    "no such authentication method",
                )
            })?;
            return self.connect_step(link, connect, exchange, connect.properties.authentication_data);
        }
        let (answer, credential) = guarded("Authenticate", || match authenticate.authenticate(&login) {
            Authentication::Later => (Authentication::Later, None),
            answer => (answer, authenticate.credential(&login)),
        })?;
        if let Authentication::Later = answer {
            return Ok(Outcome::Wait(Question {
                deadline: self.verdict_deadline(),
                credential,
                exchange: None,
            }));
        }
        // A way back that was asked for all the same leads nowhere: it must not end a check of the password.
        link.asked = link.asked.wrapping_add(1);
        self.login_outcome(link, connect, answer, credential)
    }

    /// What a login rests on whose answer has come later.
    fn late_credential(&self, link: &Link, connect: &Connect<'_>) -> Result<Option<Credential>, Panicked> {
        let login = Login::new(
            &link.policy,
            connect.client_id,
            connect.username.filter(|name| !name.is_empty()),
            connect.password,
        );
        guarded("Authenticate", || {
            self.access.access.authenticate.credential(&login)
        })
    }

    fn login_outcome(
        &mut self,
        link: &Link,
        connect: &Connect<'_>,
        answer: Authentication,
        credential: Option<Credential>,
    ) -> Result<Outcome, Refusal> {
        let accept = |username| {
            Ok(Outcome::Accept(Accepted {
                username,
                proof: Proof::Login(credential.clone()),
                exchanged: None,
                send_maximum: None,
            }))
        };
        match answer {
            Authentication::Accept => accept(connect.username.filter(|name| !name.is_empty()).map(Arc::from)),
            Authentication::AcceptAs(username) => accept(Some(username)),
            Authentication::AcceptAnonymous => accept(None),
            Authentication::Refuse(reason_code) => Err(refuse(
                reason_code,
                match (reason_code, connect.username) {
                    (ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword, Some(_)) => {
                        "unknown user name or wrong password"
                    }
                    (ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword, None) => {
                        "credentials are required"
                    }
                    _ => "it may not log in",
                },
            )
            .by_embedder()),
            Authentication::Check(check) => {
                self.checks.push_back(PasswordRequest {
                    outbox: Arc::clone(&link.outbox),
                    check,
                    ticket: link.asked,
                });
                Ok(Outcome::Wait(Question {
                    // The CONNECT timeout runs.
                    deadline: Millis::NEVER,
                    credential,
                    exchange: None,
                }))
            }
            Authentication::Later => Err(unanswered()),
        }
    }

    /// One step of an exchange that CONNECT has begun.
    fn connect_step(
        &mut self,
        link: &mut Link,
        connect: &Connect<'_>,
        mut exchange: Box<dyn Exchange>,
        data: Option<&[u8]>,
    ) -> Result<Outcome, Refusal> {
        let step = self.step(link, exchange.as_mut(), data)?;
        self.connect_stepped(link, connect, exchange, step)
    }

    fn connect_stepped(
        &mut self,
        link: &Link,
        connect: &Connect<'_>,
        exchange: Box<dyn Exchange>,
        step: Step,
    ) -> Result<Outcome, Refusal> {
        let method = connect.properties.authentication_method.unwrap_or_default();
        let question = |deadline, exchange| Question {
            deadline,
            credential: None,
            exchange: Some(exchange),
        };
        match step {
            Step::Continue(data) => {
                // v5 [MQTT-4.12.0-2], v5 [MQTT-4.12.0-5]
                self.send_auth(link, ReasonCode::ContinueAuthentication, method, Some(&data));
                Ok(Outcome::Exchange(question(Millis::NEVER, exchange)))
            }
            Step::Later => Ok(Outcome::Wait(question(self.verdict_deadline(), exchange))),
            Step::Accept { username, data } => Ok(Outcome::Accept(Accepted {
                username,
                proof: Proof::Login(guarded("Exchange", || exchange.credential())?),
                exchanged: Some(data),
                send_maximum: None,
            })),
            // v5 [MQTT-4.12.0-4]
            Step::Refuse(reason_code) => Err(refuse(reason_code, "the authentication exchange failed")),
        }
    }

    /// Asks the exchange. Whatever it answers later carries the number of this question.
    fn step(
        &mut self,
        link: &mut Link,
        exchange: &mut dyn Exchange,
        data: Option<&[u8]>,
    ) -> Result<Step, Panicked> {
        link.asked = link.asked.wrapping_add(1);
        let asking = link.asking(&self.inbox, 0);
        let entropy = &mut self.entropy;
        guarded("Exchange", || {
            exchange.step(data, &mut ExchangeContext { entropy, asking })
        })
    }

    /// Goes on with a CONNECT that a verdict was waited for.
    pub(super) fn connect_answered(&mut self, link: &mut Link, mut pending: PendingConnect, answer: Answer) {
        let options = self.decode_options(link);
        // It was decoded before, so it decodes again.
        let Ok(Framing::Complete(whole)) = frame(&pending.packet, &options) else {
            return;
        };
        if pending.epoch != self.access.epoch && pending.exchange.is_none() {
            // The answer is about rules that hold no more.
            return self.connect(link, whole, &pending.packet);
        }
        let Ok(connect) = Connect::decode(whole, &options) else {
            return;
        };
        let result = match (pending.exchange.take(), answer) {
            (None, Answer::Login(answer)) => {
                // A check of a password, which has no deadline of its own, was asked about with the question.
                let credential = match pending.deadline {
                    Millis::NEVER => Ok(pending.credential),
                    _ => self.late_credential(link, &connect),
                };
                match credential {
                    Ok(credential) => self.login_outcome(link, &connect, answer, credential),
                    Err(panicked) => Err(panicked.into()),
                }
            }
            (Some(exchange), Answer::Step(step)) if !matches!(step, Step::Later) => {
                self.connect_stepped(link, &connect, exchange, step)
            }
            _ => Err(unanswered()),
        };
        self.connect_goes_on(link, &connect, &pending.packet, result);
    }

    /// AUTH while CONNECT is not answered yet.
    pub(super) fn connect_auth(&mut self, link: &mut Link, packet: &Auth<'_>) -> Result<(), ProtocolError> {
        let Phase::Exchanging(mut pending) = core::mem::replace(&mut link.phase, Phase::AwaitingConnect)
        else {
            return Err(ProtocolError::UnexpectedAuth);
        };
        let options = self.decode_options(link);
        let Ok(Framing::Complete(whole)) = frame(&pending.packet, &options) else {
            return Err(ProtocolError::UnexpectedAuth);
        };
        let connect = Connect::decode(whole, &options)?;
        // v5 [MQTT-4.12.0-3], v5 [MQTT-4.12.0-5]
        if packet.reason_code != ReasonCode::ContinueAuthentication
            || packet.properties.authentication_method != connect.properties.authentication_method
        {
            return Err(ProtocolError::UnexpectedAuth);
        }
        let Some(exchange) = pending.exchange.take() else {
            return Err(ProtocolError::UnexpectedAuth);
        };
        let result = self.connect_step(link, &connect, exchange, packet.properties.authentication_data);
        self.connect_goes_on(link, &connect, &pending.packet, result);
        Ok(())
    }

    /// AUTH of a client that is connected: it authenticates again, or goes on with it. MQTT 5.0 §4.12.1.
    pub(super) fn auth(&mut self, link: &mut Link, packet: &Auth<'_>) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &mut link.phase else {
            return Err(ProtocolError::UnexpectedAuth);
        };
        let Some(enhanced) = &mut established.enhanced else {
            return Err(ProtocolError::UnexpectedAuth);
        };
        // v5 [MQTT-4.12.1-1]
        if packet.properties.authentication_method != Some(&*enhanced.method) {
            return Err(ProtocolError::UnexpectedAuth);
        }
        let method = enhanced.method.clone();
        let exchange = match (packet.reason_code, enhanced.exchange.take()) {
            (ReasonCode::ContinueAuthentication, Some(exchange)) => exchange,
            (ReasonCode::ReAuthenticate, None) => {
                let identity = Arc::clone(&established.identity);
                let login = Login {
                    listener: &link.policy,
                    client_id: &identity.client_id,
                    username: identity.username.as_deref(),
                    password: None,
                    asking: None,
                };
                let authenticate = &self.access.access.authenticate;
                guarded("Authenticate", || authenticate.begin(&login, &method))?
                    .ok_or(ProtocolError::UnexpectedAuth)?
            }
            _ => return Err(ProtocolError::UnexpectedAuth),
        };
        self.reauthenticate(link, exchange, packet.properties.authentication_data)
    }

    fn reauthenticate(
        &mut self,
        link: &mut Link,
        mut exchange: Box<dyn Exchange>,
        data: Option<&[u8]>,
    ) -> Result<(), ProtocolError> {
        let step = self.step(link, exchange.as_mut(), data)?;
        if let Step::Later = step {
            if let Phase::Established(established) = &mut link.phase
                && let Some(enhanced) = &mut established.enhanced
            {
                enhanced.exchange = Some(exchange);
            }
            self.wait(link, Waiting::for_auth());
            return Ok(());
        }
        self.reauthenticated(link, exchange, step);
        Ok(())
    }

    fn reauthenticated(&mut self, link: &mut Link, exchange: Box<dyn Exchange>, step: Step) {
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let Some(enhanced) = &mut established.enhanced else {
            return;
        };
        let method = enhanced.method.clone();
        match step {
            Step::Continue(data) => {
                enhanced.exchange = Some(exchange);
                self.send_auth(link, ReasonCode::ContinueAuthentication, &method, Some(&data));
            }
            Step::Accept { username, data } if username == established.identity.username => {
                let identity = Arc::clone(&established.identity);
                let answer = guarded("Exchange", || exchange.credential())
                    .map_err(|_| ReasonCode::ImplementationSpecificError)
                    .and_then(|credential| {
                        self.may_stay(&link.policy, &identity, credential.as_ref())?;
                        established.proof = Proof::Login(credential);
                        Ok(())
                    });
                match answer {
                    Ok(()) => self.send_auth(link, ReasonCode::Success, &method, data.as_deref()),
                    Err(reason_code) => self.expel(link, reason_code),
                }
            }
            // v5 [MQTT-4.12.1-2]
            Step::Refuse(reason_code) => self.expel(link, reason_code),
            Step::Accept { .. } | Step::Later => self.expel(link, ReasonCode::NotAuthorized),
        }
    }

    /// The verdict about a step of a client that is connected.
    pub(super) fn auth_answered(&mut self, link: &mut Link, answer: Answer) {
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let exchange = established
            .enhanced
            .as_mut()
            .and_then(|enhanced| enhanced.exchange.take());
        match (exchange, answer) {
            (Some(exchange), Answer::Step(step)) => self.reauthenticated(link, exchange, step),
            _ => self.expel(link, ReasonCode::ServerBusy),
        }
    }

    fn send_auth(&mut self, link: &Link, reason_code: ReasonCode, method: &str, data: Option<&[u8]>) {
        self.fx.reply(&link.outbox, |version, buffer| {
            Auth {
                reason_code,
                properties: AuthProperties {
                    authentication_method: Some(method),
                    authentication_data: data,
                    ..AuthProperties::default()
                },
            }
            .encode(version, buffer)
        });
    }
}

impl Link {
    /// Who asks a question about this Link, the one at `place` of those that one packet raises.
    pub(super) fn asking<'a>(&'a self, inbox: &'a Arc<crate::inbox::Inbox>, place: usize) -> Asking<'a> {
        Asking {
            inbox,
            outbox: &self.outbox,
            ticket: self.asked,
            place,
        }
    }
}

impl Enhanced {
    /// What is kept of a method once a client is let in by it.
    pub(super) fn of(connect: &Connect<'_>) -> Option<Box<Enhanced>> {
        let method = connect.properties.authentication_method?;
        Some(Box::new(Enhanced {
            method: method.into(),
            exchange: None,
        }))
    }
}

impl From<Panicked> for Refusal {
    fn from(_: Panicked) -> Refusal {
        refuse(
            ReasonCode::ImplementationSpecificError,
            "code that was to authenticate it panicked",
        )
    }
}

/// Refuses another user name than the certificate's where the listener binds them together.
pub(super) fn require_identity(link: &Link, username: Option<&str>) -> Result<(), Refusal> {
    if !link.policy.username_must_be_identity {
        return Ok(());
    }
    let refused = |error: IdentityError| refuse(ReasonCode::BadUserNameOrPassword, error.to_string());
    match link.certificate.as_deref() {
        Some(CertificateIdentity::Username(identity)) => {
            require_user_name(identity, username).map_err(refused)
        }
        Some(CertificateIdentity::None(error)) => Err(refused(error.clone())),
        None => Err(refuse(ReasonCode::BadUserNameOrPassword, "no client certificate")),
    }
}

/// Refuses an exchange of AUTH packets where the certificate says who it is.
pub(super) fn require_no_certificate(link: &Link) -> Result<(), Refusal> {
    if !link.policy.wants_certificate() {
        return Ok(());
    }
    // v5 [MQTT-4.12.0-1]
    Err(refuse(
        ReasonCode::BadAuthenticationMethod,
        "client certificates are the only way to authenticate here",
    ))
}

/// The certificate replaces user name and password, as Mosquitto's use_identity_as_username does.
fn who_by_certificate(link: &Link, connect: &Connect<'_>) -> Result<Outcome, Refusal> {
    if connect.properties.authentication_method.is_some() {
        require_no_certificate(link)?;
    }
    match link.certificate.as_deref() {
        Some(CertificateIdentity::Username(username)) => Ok(Outcome::Accept(Accepted {
            username: Some(Arc::clone(username)),
            proof: Proof::Certificate,
            exchanged: None,
            send_maximum: None,
        })),
        Some(CertificateIdentity::None(error)) => {
            Err(refuse(ReasonCode::BadUserNameOrPassword, error.to_string()))
        }
        None => Err(refuse(ReasonCode::BadUserNameOrPassword, "no client certificate")),
    }
}

fn unanswered() -> Refusal {
    refuse(
        ReasonCode::ServerUnavailable,
        "nobody answered whether it may log in",
    )
    .by_embedder()
}
