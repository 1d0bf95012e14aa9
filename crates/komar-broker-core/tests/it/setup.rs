//! What a conversation says about the broker before it begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use komar_acl::{Acl, AclFile, Options};
use komar_broker_core::{Access, BrokerConfig, FileAccess, ListenerFiles, ListenerId, ListenerPolicy};
use komar_codec::QoS;
use komar_identity::{AllowList, IdentityPolicy};
use komar_passwd::{Editor, PasswordFile, Scheme, StoredHash};
use komar_testkit::words;

pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Configuration, listeners and rules.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: BrokerConfig,
    pub(crate) listeners: BTreeMap<String, Arc<ListenerPolicy>>,
    acl: Option<String>,
    /// Rules that hold for one listener.
    acls: BTreeMap<String, String>,
    passwords: Option<Vec<(String, String)>>,
}

impl Setup {
    /// `config inflight=3 queued=10`
    pub(crate) fn config(&mut self, words: &[String]) -> Outcome {
        for word in words {
            let (name, value) = named(word)?;
            let limits = &mut self.config.limits;
            match name {
                "inflight" => limits.maximum_inflight_messages = number(value)?,
                "inflight_bytes" => limits.maximum_inflight_bytes = Some(number(value)?),
                "total_queued" => limits.maximum_total_queued_bytes = number(value)?,
                "waiting" => limits.maximum_waiting_bytes = number(value)?,
                "replies" => limits.maximum_reply_bytes = number(value)?,
                "queued" => limits.maximum_queued_messages = Some(number(value)?),
                "queued_bytes" => limits.maximum_queued_bytes = Some(number(value)?),
                "unreleased_bytes" => limits.maximum_unreleased_bytes = number(value)?,
                "outbox" => limits.maximum_outbox_bytes = number(value)?,
                "outboxes" => limits.maximum_total_outbox_bytes = number(value)?,
                "reassembly" => limits.maximum_reassembly_bytes = number(value)?,
                "packet_size" => limits.maximum_packet_size = number(value)?,
                "connect_size" => limits.maximum_connect_size = number(value)?,
                "payload" => limits.maximum_payload_size = Some(number(value)?),
                "sessions" => limits.maximum_sessions = Some(number(value)?),
                "subscriptions" => limits.maximum_subscriptions = number(value)?,
                "retained" => limits.maximum_retained_messages = Some(number(value)?),
                "retained_bytes" => limits.maximum_retained_bytes = number(value)?,
                "subscription_bytes" => limits.maximum_subscription_bytes = number(value)?,
                "levels" => limits.maximum_topic_levels = number(value)?,
                "cached" => limits.maximum_cached_targets = number(value)?,
                "connect_timeout" => limits.connect_timeout = duration(value)?,
                "duplicates" => self.config.allow_duplicate_messages = flag(value)?,
                "durable" => self.config.durable = flag(value)?,
                "queue_qos0" => self.config.queue_qos0_messages = flag(value)?,
                "retain" => self.config.retain_available = flag(value)?,
                "upgrade_qos" => self.config.upgrade_outgoing_qos = flag(value)?,
                "id_prefix" => self.config.client_id_prefix = Some(value.to_owned()),
                "retain_source" => self.config.check_retain_source = flag(value)?,
                "retain_expiry" => self.config.retained_expiry_maximum = Some(duration(value)?),
                "keep" => self.config.maximum_keep_alive = Some(number(value)?),
                "expiry" => self.config.session_expiry_maximum = Some(duration(value)?),
                "tolerate" => self.config.tolerate_receive_maximum = flag(value)?,
                "payload_format" => self.config.check_payload_format = flag(value)?,
                "response_information" => self.config.response_information = Some(value.to_owned()),
                _ => return Err(format!("no setting: {name}")),
            }
        }
        Ok(())
    }

    /// `listener tls identity=cn qos=1`; the name may be left out.
    pub(crate) fn listener(&mut self, words: &[String]) -> Outcome {
        let (name, words) = match words.split_first() {
            Some((name, rest)) if !name.contains('=') => (name.clone(), rest),
            _ => (String::new(), words),
        };
        let mut policy = ListenerPolicy::default();
        // The same name again is the same listener, with other settings after the next reload.
        policy.id = match self.listeners.get(&name) {
            Some(known) => known.id,
            None => ListenerId(u16::try_from(self.listeners.len()).map_err(|error| error.to_string())?),
        };
        for word in words {
            let (name, value) = named(word)?;
            match name {
                "anonymous" => policy.allow_anonymous = flag(value)?,
                "identity" => policy.identity = Some(identity(value)?),
                "allow" => {
                    let mut list = AllowList::default();
                    value.split('|').for_each(|name| list.add_name(name));
                    let identity = policy.identity.take().ok_or("allow needs identity before it")?;
                    policy.identity = Some(IdentityPolicy::Listed(Box::new(identity), Arc::new(list)));
                }
                "bound" => policy.username_must_be_identity = flag(value)?,
                "empty_id" => policy.allow_zero_length_client_id = flag(value)?,
                "username_is_id" => policy.use_username_as_client_id = flag(value)?,
                "versions" => {
                    let versions = value
                        .split(',')
                        .map(|word| words::version(word).ok_or("no version"));
                    policy.protocol_versions = versions.collect::<Result<_, _>>()?;
                }
                "qos" => policy.maximum_qos = QoS::from_u8(number(value)?).ok_or("no QoS")?,
                "alias_maximum" => policy.topic_alias_maximum = number(value)?,
                "aliases" => policy.outgoing_topic_alias_maximum = number(value)?,
                "prefix" => policy.assigned_client_id_prefix = value.to_owned(),
                _ => return Err(format!("no setting of a listener: {name}")),
            }
        }
        self.listeners.insert(name, Arc::new(policy));
        Ok(())
    }

    pub(crate) fn policy(&self, listener: &str) -> Outcome<Arc<ListenerPolicy>> {
        match (self.listeners.get(listener), listener) {
            (Some(policy), _) => Ok(Arc::clone(policy)),
            (None, "") => Ok(Arc::default()),
            (None, _) => Err(format!("no listener {listener}")),
        }
    }

    /// `acl user bob; topic read t/#`; every line replaces the rules. With the name of a listener before them they
    /// are its own.
    pub(crate) fn acl(&mut self, text: &str) {
        match text.split_once(' ') {
            Some((listener, rules)) if self.listeners.contains_key(listener) => {
                self.acls.insert(listener.to_owned(), rules.replace(';', "\n"));
            }
            _ => self.acl = Some(text.replace(';', "\n")),
        }
    }

    /// `password bob secret`; `passwords none` empties the file.
    pub(crate) fn password(&mut self, words: &[String]) -> Outcome {
        let passwords = self.passwords.get_or_insert_default();
        match words {
            [none] if none == "none" => passwords.clear(),
            [user, secret] => passwords.push((user.clone(), secret.clone())),
            _ => return Err("a user and a password".to_owned()),
        }
        Ok(())
    }

    /// The rules as they stand; everybody may do everything where there are none.
    pub(crate) fn access(&self) -> Outcome<Access> {
        if self.acl.is_none() && self.acls.is_empty() && self.passwords.is_none() {
            return Ok(Access::allow_all());
        }
        let mut files = ListenerFiles::default();
        if let Some(text) = &self.acl {
            files.acl = Some(compiled(text)?);
        }
        if let Some(passwords) = &self.passwords {
            let mut editor = Editor::new(b"");
            for (user, secret) in passwords {
                let hash = StoredHash::derive(Scheme::Sha512, secret.as_bytes(), &[7; 12]);
                editor
                    .set(user, &hash.map_err(|error| error.to_string())?)
                    .map_err(|error| error.to_string())?;
            }
            let file = PasswordFile::parse(&editor.text()).map_err(|errors| format!("{errors}"))?;
            files.passwords = Some(Arc::new(file));
        }
        let mut access = FileAccess::new(files.clone());
        for (listener, text) in &self.acls {
            let policy = self.listeners.get(listener).ok_or("no such listener")?;
            let acl = Some(compiled(text)?);
            access = access.with_listener(policy.id, ListenerFiles { acl, ..files.clone() });
        }
        Ok(access.into_access())
    }
}

fn compiled(text: &str) -> Outcome<Arc<Acl>> {
    let file = AclFile::parse(text.as_bytes()).map_err(|errors| format!("{errors}"))?;
    Ok(Arc::new(Acl::compile(&file, Options::default())))
}

/// The certificate `data/certs/{name}.pem` as a transport hands it on.
pub(crate) fn certificate(name: &str) -> Outcome<Vec<u8>> {
    let path = format!("{}/tests/it/data/certs/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .map_err(|error| error.to_string())
}

/// `90s`, `1.5s`, `200ms`, `2h`
pub(crate) fn duration(text: &str) -> Outcome<Duration> {
    for (unit, seconds) in [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)] {
        if let Some(Ok(count)) = text.strip_suffix(unit).map(str::parse::<f64>) {
            return Ok(Duration::from_secs_f64(count * seconds));
        }
    }
    Err(format!("no time: {text}"))
}

pub(crate) fn named(word: &str) -> Outcome<(&str, &str)> {
    word.split_once('=')
        .ok_or_else(|| format!("no name=value: {word}"))
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("no number that fits: {text}"))
}

pub(crate) fn flag(text: &str) -> Outcome<bool> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("yes or no, not {text}")),
    }
}

fn identity(text: &str) -> Outcome<IdentityPolicy> {
    match text {
        "common_name" => Ok(IdentityPolicy::CommonName),
        "subject" => Ok(IdentityPolicy::Subject),
        _ => Err(format!("no identity: {text}")),
    }
}
