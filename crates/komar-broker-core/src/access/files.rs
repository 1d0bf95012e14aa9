//! Mosquitto's password and ACL files, composed: what most brokers run with.

use std::collections::BTreeMap;
use std::sync::Arc;

use komar_acl::Acl;
use komar_codec::ReasonCode;
use komar_passwd::PasswordFile;

use super::{
    Access, Action, Authenticate, Authentication, Authorize, Credential, Decision, Known, Login, Subject,
    acl, password,
};
use crate::config::ListenerId;

/// The files that hold for one listener.
#[derive(Clone, Default)]
pub struct ListenerFiles {
    /// Who may log in; `None`: no user name can be vouched for.
    pub passwords: Option<Arc<PasswordFile>>,
    /// Who may do what; `None`: everybody everything.
    pub acl: Option<Arc<Acl>>,
}

/// Authentication by a password file and authorization by an ACL file, for all listeners or for each its own.
#[derive(Clone, Default)]
pub struct FileAccess {
    default: ListenerFiles,
    listeners: BTreeMap<ListenerId, ListenerFiles>,
}

impl FileAccess {
    /// The same files for all listeners.
    pub fn new(files: ListenerFiles) -> FileAccess {
        FileAccess {
            default: files,
            listeners: BTreeMap::new(),
        }
    }

    /// Other files for one listener (`per_listener_settings`).
    #[must_use]
    pub fn with_listener(mut self, id: ListenerId, files: ListenerFiles) -> FileAccess {
        self.listeners.insert(id, files);
        self
    }

    /// As the pair of decisions that a broker takes.
    pub fn into_access(self) -> Access {
        let rules = self.default.acl.is_some() || self.listeners.values().any(|files| files.acl.is_some());
        let files = Arc::new(self);
        Access {
            authenticate: Arc::clone(&files) as Arc<dyn Authenticate>,
            authorize: rules.then_some(files as Arc<dyn Authorize>),
        }
    }

    fn of(&self, id: ListenerId) -> &ListenerFiles {
        self.listeners.get(&id).unwrap_or(&self.default)
    }
}

impl Authenticate for FileAccess {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        let files = self.of(login.listener.id);
        password::decide(files.passwords.as_deref(), files.acl.is_none(), login)
    }

    fn credential(&self, login: &Login<'_>) -> Option<Credential> {
        password::credential(self.of(login.listener.id).passwords.as_deref(), login)
    }

    fn recheck(&self, client: &Known<'_>) -> Result<(), ReasonCode> {
        let files = self.of(client.listener.id);
        password::recheck(files.passwords.as_deref(), files.acl.is_none(), client)
    }
}

impl Authorize for FileAccess {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        match &self.of(subject.listener).acl {
            Some(rules) => acl::decide(rules, subject, action),
            None => Decision::Allow,
        }
    }
}
