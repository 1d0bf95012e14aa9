//! After a reload: who may no longer log in is disconnected.

use std::sync::Arc;

use komar_codec::{PacketType, ReasonCode};

use super::{Link, Phase};
use crate::access::Known;
use crate::config::ListenerPolicy;
use crate::error::{CloseCause, refusal};
use crate::link::phase::Proof;
use crate::worker::Worker;

impl Worker {
    /// Looks at a Connection again after [`Broker::set_access`](crate::Broker::set_access), or after its listener's policy
    /// has changed; `policy` is the one that holds now. A driver that reloads calls this for each of its Links, in the
    /// turn in which the new rules came into force.
    ///
    /// A client that could not log in any more is sent DISCONNECT, and its Connection is closed: 0x87 Not authorized where
    /// [`Authenticate::recheck`](crate::Authenticate::recheck) says so (in Mosquitto's files: anonymous clients where they
    /// are forbidden now, users that were removed, users whose password has changed), 0x98 Administrative action where
    /// client certificates are no longer mapped to user names as they were. Its Session goes on as after any other end of
    /// a Connection, and its Will Message is published.
    ///
    /// What CONNACK has promised (Topic Alias Maximum, Maximum QoS) holds as long as the Connection. A Connection that has
    /// not sent CONNECT yet, or waits for a verdict about it, is judged by the new policy and the new rules.
    pub fn recheck(&mut self, link: &mut Link, policy: &Arc<ListenerPolicy>) {
        self.take_access();
        let established = match &mut link.phase {
            Phase::Established(established) => established,
            phase => {
                if let Phase::Authenticating(pending) | Phase::Exchanging(pending) = phase {
                    pending.epoch = ASK_AGAIN;
                }
                link.policy = Arc::clone(policy);
                return;
            }
        };
        let same_identity = policy.identity == link.policy.identity;
        let bound = policy.username_must_be_identity;
        let refusal = match &established.proof {
            Proof::Certificate if same_identity && !bound => None,
            // A name that was bound to the certificate still is.
            Proof::Login(credential)
                if policy.identity.is_none()
                    || (same_identity && bound && link.policy.username_must_be_identity) =>
            {
                let client = Known {
                    listener: policy,
                    identity: &established.identity,
                    credential: credential.as_ref(),
                };
                self.access.access.authenticate.recheck(&client).err()
            }
            _ => Some(ReasonCode::AdministrativeAction),
        };
        if let Some(reason_code) = refusal {
            self.expel(link, reason_code);
        }
    }

    /// Ends a Connection for what the driver has decided: a 5.0 client that is connected is sent DISCONNECT with this
    /// code. Its Session goes on as after any other end of a Connection, and its Will Message is published.
    pub fn expel(&mut self, link: &mut Link, reason_code: ReasonCode) {
        let cause = match reason_code {
            ReasonCode::NotAuthorized => CloseCause::NotAuthorized,
            _ => CloseCause::AdministrativeAction,
        };
        let reason_code = refusal(reason_code, PacketType::Disconnect);
        let outbox = Arc::clone(&link.outbox);
        let is_connected = matches!(link.phase, Phase::Established(_));
        self.leave(link, cause);
        if is_connected {
            self.say_goodbye(&outbox, reason_code, cause);
        } else {
            self.fx.close(&outbox, cause);
        }
    }
}

/// An epoch that no rules have: what was asked under it is asked again.
const ASK_AGAIN: u64 = u64::MAX;
