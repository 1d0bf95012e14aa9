//! After a reload: who may no longer log in is disconnected.

use std::sync::Arc;

use komar_codec::{PacketType, ReasonCode};

use super::{Link, Phase};
use crate::access::{CertificateIdentity, Credential, Identity, Known};
use crate::config::ListenerPolicy;
use crate::error::{CloseCause, refusal};
use crate::guard::guarded;
use crate::link::phase::Proof;
use crate::worker::Worker;

impl Worker {
    /// Looks at a Connection again after [`Broker::set_access`](crate::Broker::set_access), or after its listener's policy
    /// has changed; `policy` is the one that holds now, and `certificate` (DER) is the client's, if the transport has one. A
    /// driver that reloads calls this for each of its Links, in the turn in which the new rules came into force.
    ///
    /// A client that could not log in any more is sent DISCONNECT, and its Connection is closed: 0x87 Not authorized where
    /// [`Authenticate::recheck`](crate::Authenticate::recheck) says so (in Mosquitto's files: anonymous clients where they
    /// are forbidden now, users that were removed, users whose password has changed) and where its Client Identifier does not
    /// begin with [`BrokerConfig::client_id_prefix`](crate::BrokerConfig::client_id_prefix), 0x98 Administrative action
    /// where its version of MQTT is none of the policy's, or its certificate no longer proves the user name that it proved.
    /// Its Session goes on as after any other end of a Connection, and its Will Message is published.
    ///
    /// What CONNACK has promised (Topic Alias Maximum, Maximum QoS), and the keep alive, holds as long as the Connection. A
    /// Connection that has not sent CONNECT yet, or waits for a verdict about it, is judged by the new policy and the new
    /// rules.
    pub fn recheck(&mut self, link: &mut Link, policy: &Arc<ListenerPolicy>, certificate: Option<&[u8]>) {
        self.take_access();
        let established = match &mut link.phase {
            Phase::Established(established) => established,
            phase => {
                if let Phase::Authenticating(pending) | Phase::Exchanging(pending) = phase {
                    pending.epoch = ASK_AGAIN;
                }
                link.take_policy(policy, certificate);
                return;
            }
        };
        let username = established.identity.username.as_deref();
        let same_identity = policy.identity == link.policy.identity
            || still_proves(username, &link.policy, policy, certificate);
        let bound = policy.username_must_be_identity;
        let refusal = match &established.proof {
            _ if !policy.protocol_versions.contains(&established.version) => {
                Some(ReasonCode::AdministrativeAction)
            }
            _ if !self.config.may_be_called(&established.session.client_id) => {
                Some(ReasonCode::NotAuthorized)
            }
            Proof::Certificate if same_identity && !bound => None,
            // A name that was bound to the certificate still is.
            Proof::Login(credential)
                if policy.identity.is_none()
                    || (same_identity && bound && link.policy.username_must_be_identity) =>
            {
                self.may_stay(policy, &established.identity, credential.as_ref())
                    .err()
            }
            _ => Some(ReasonCode::AdministrativeAction),
        };
        if let Some(reason_code) = refusal {
            self.expel(link, reason_code);
        }
    }

    /// Whether a client could log in under the rules in force with what it did.
    pub(super) fn may_stay(
        &self,
        listener: &ListenerPolicy,
        identity: &Identity,
        credential: Option<&Credential>,
    ) -> Result<(), ReasonCode> {
        let client = Known {
            listener,
            identity,
            credential,
        };
        let authenticate = &self.access.access.authenticate;
        guarded("Authenticate::recheck", || authenticate.recheck(&client))
            .unwrap_or(Err(ReasonCode::ImplementationSpecificError))
    }

    /// Ends a Connection for what the driver has decided: a 5.0 client that is connected is sent DISCONNECT with this
    /// code. Its Session goes on as after any other end of a Connection, and its Will Message is published.
    pub fn expel(&mut self, link: &mut Link, reason_code: ReasonCode) {
        let cause = match reason_code {
            ReasonCode::NotAuthorized => CloseCause::NotAuthorized,
            ReasonCode::ServerShuttingDown => CloseCause::ServerShuttingDown,
            _ => CloseCause::AdministrativeAction,
        };
        let reason_code = refusal(reason_code, PacketType::Disconnect);
        if let Phase::Established(_) = link.phase {
            self.say_goodbye(&link.outbox, reason_code, cause);
        } else {
            self.fx.close(&link.outbox, cause);
        }
        self.leave(link, cause);
    }
}

impl Link {
    /// Before CONNECT is answered: a certificate proves what the policy in force says.
    fn take_policy(&mut self, policy: &Arc<ListenerPolicy>, certificate: Option<&[u8]>) {
        let is_same = policy.identity == self.policy.identity;
        self.policy = Arc::clone(policy);
        if !is_same {
            self.certificate = None;
            if let Some(der) = certificate {
                self.present_certificate(der);
            }
        }
    }
}

/// Whether a certificate proves this user name under another policy too, such as one with a longer list.
fn still_proves(
    username: Option<&str>,
    old: &ListenerPolicy,
    new: &ListenerPolicy,
    certificate: Option<&[u8]>,
) -> bool {
    let (Some(username), Some(old), Some(new)) = (username, &old.identity, &new.identity) else {
        return false;
    };
    let proved = match certificate {
        Some(der) => Some(CertificateIdentity::of(der, new)),
        // Behind a proxy there is the common name only, and it is the user name.
        None => CertificateIdentity::of_common_name(username.as_bytes(), old)
            .and_then(|_| CertificateIdentity::of_common_name(username.as_bytes(), new)),
    };
    matches!(proved, Some(CertificateIdentity::Username(name)) if *name == *username)
}

/// An epoch that no rules have: what was asked under it is asked again.
const ASK_AGAIN: u64 = u64::MAX;
