//! komar-passwd's entries as an answer to [`Authenticate`](super::Authenticate).

use komar_codec::ReasonCode;
use komar_passwd::PasswordFile;

use super::{Authentication, Login};

/// Decides a login as Mosquitto does, with one difference: where no password file vouches for a user name and an
/// ACL would trust it, the client is let in as anonymous. `trusted`: whether a name may be taken as it is.
pub(super) fn decide(passwords: Option<&PasswordFile>, trusted: bool, login: &Login<'_>) -> Authentication {
    let anonymous = login.listener.allow_anonymous;
    match (login.username, passwords) {
        (None, _) if anonymous => Authentication::AcceptAnonymous,
        (Some(_), None) if anonymous && trusted => Authentication::Accept,
        (Some(_), None) if anonymous => Authentication::AcceptAnonymous,
        (Some(username), Some(passwords)) => {
            // A login without a password is refused after the same work as one with a wrong password.
            Authentication::Check(passwords.check(username, login.password.unwrap_or_default()))
        }
        _ => Authentication::Refuse(ReasonCode::NotAuthorized),
    }
}
