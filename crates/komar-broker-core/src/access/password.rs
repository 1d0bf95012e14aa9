//! komar-passwd's entries as an answer to [`Authenticate`](super::Authenticate).

use std::sync::Arc;

use komar_codec::ReasonCode;
use komar_passwd::{PasswordFile, StoredHash};

use super::{Authentication, Credential, Known, Login};

/// Decides a login as Mosquitto does, with one difference: where no password file vouches for a user name and an
/// ACL would trust it, the client is let in as anonymous. `trusted`: whether a name may be taken as it is.
pub(super) fn decide(passwords: Option<&PasswordFile>, trusted: bool, login: &Login<'_>) -> Authentication {
    let anonymous = login.listener.allow_anonymous;
    match (login.username, passwords) {
        (None, _) if anonymous => Authentication::AcceptAnonymous,
        (Some(_), None) if anonymous && trusted => Authentication::Accept,
        (Some(_), None) if anonymous => Authentication::AcceptAnonymous,
        (Some(username), Some(passwords)) => {
            // One without a password is as good as an empty one, which no user has: refused without work, whatever the
            // name, so that the time tells nothing.
            Authentication::Check(passwords.check(username, login.password.unwrap_or_default()))
        }
        _ => Authentication::Refuse(ReasonCode::NotAuthorized),
    }
}

/// The stored hash that a login is checked against.
pub(super) fn credential(passwords: Option<&PasswordFile>, login: &Login<'_>) -> Option<Credential> {
    let stored = passwords?.stored_shared(login.username?)?;
    Some(Arc::clone(stored) as Credential)
}

/// Whether a client that is connected could log in with what it presented then. A user name that was taken as it is
/// stays where it still would be.
pub(super) fn recheck(
    passwords: Option<&PasswordFile>,
    trusted: bool,
    client: &Known<'_>,
) -> Result<(), ReasonCode> {
    let anonymous = client.listener.allow_anonymous;
    let may_stay = match (client.identity.username.as_deref(), passwords) {
        (None, _) => anonymous,
        (Some(_), None) => anonymous && trusted,
        (Some(username), Some(passwords)) => {
            let then = client
                .credential
                .and_then(|credential| credential.downcast_ref::<StoredHash>());
            then.is_some() && then == passwords.stored(username)
        }
    };
    if may_stay {
        Ok(())
    } else {
        Err(ReasonCode::NotAuthorized)
    }
}
