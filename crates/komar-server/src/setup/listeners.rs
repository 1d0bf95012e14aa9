//! Listeners of a configuration as listeners of the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use komar_broker_core::{ListenerFiles, ListenerPolicy};
use komar_codec::{ProtocolVersion, QoS};
use komar_conf::{Listener as Given, Protocol, SocketDomain};
use komar_identity::IdentityPolicy;

use super::{ListenerSummary, SetupError, tls};
use crate::listener::Listener;

/// The sockets of one `listener`: one for each address that it stands for.
pub(super) fn open(
    given: &Given,
    no_delay: bool,
    errors: &mut Vec<SetupError>,
    warnings: &mut Vec<String>,
) -> Vec<Listener> {
    let before = errors.len();
    errors.extend(unsupported(given));
    let addresses = addresses(given).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let tls = given
        .tls
        .as_ref()
        .and_then(|tls| tls::config(given.port, tls, errors, warnings));
    if errors.len() > before {
        return Vec::new();
    }
    let policy = policy(given);
    let listeners = addresses.into_iter().map(|address| {
        let mut listener = Listener::tcp(address).policy(policy.clone()).no_delay(no_delay);
        listener.tls.clone_from(&tls);
        listener.maximum_connections = given
            .max_connections
            .and_then(|maximum| usize::try_from(maximum).ok());
        // A system without IPv6 can still serve everybody else.
        listener.optional = address.is_ipv6() && (given.address.is_none() || address.ip().is_loopback());
        listener
    });
    listeners.collect()
}

fn addresses(given: &Given) -> Result<Vec<SocketAddr>, SetupError> {
    let port = given.port;
    let of_family = |address: &SocketAddr| match given.socket_domain {
        Some(SocketDomain::Ipv4) => address.is_ipv4(),
        Some(SocketDomain::Ipv6) => address.is_ipv6(),
        None => true,
    };
    let all = match &given.address {
        None => [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ]
        .map(|address| SocketAddr::new(address, port))
        .to_vec(),
        Some(host) => {
            let found = (host.as_str(), port).to_socket_addrs();
            found
                .map(Iterator::collect)
                .map_err(|error| SetupError::Unresolvable {
                    port,
                    host: host.clone(),
                    error,
                })?
        }
    };
    Ok(all.into_iter().filter(of_family).collect())
}

/// What would change who gets in or what is heard if it were left out.
fn unsupported(given: &Given) -> Vec<SetupError> {
    let named = [
        (given.unix_path.is_some(), "a Unix socket listener"),
        (given.protocol != Protocol::Mqtt, "a protocol other than 'mqtt'"),
        (given.proxy.is_some(), "'enable_proxy_protocol'"),
        (given.mount_point.is_some(), "'mount_point'"),
        (given.bind_interface.is_some(), "'bind_interface'"),
        (given.security.psk_file.is_some(), "'psk_file'"),
        (!given.security.plugins.is_empty(), "a plugin"),
    ];
    let chosen = named.into_iter().filter(|(is_set, _)| *is_set);
    chosen
        .map(|(_, what)| SetupError::Unsupported {
            what: what.to_owned(),
            position: given.position.clone(),
        })
        .collect()
}

fn policy(given: &Given) -> ListenerPolicy {
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = given.security.allow_anonymous;
    policy.identity = if given.use_identity_as_username {
        Some(IdentityPolicy::CommonName)
    } else if given.use_subject_as_username {
        Some(IdentityPolicy::Subject)
    } else {
        None
    };
    policy.allow_zero_length_client_id = given.security.allow_zero_length_clientid;
    policy.use_username_as_client_id = given.use_username_as_clientid;
    let versions = given.accept_protocol_versions;
    policy.protocol_versions = [
        (versions.mqtt_3_1, ProtocolVersion::V3_1),
        (versions.mqtt_3_1_1, ProtocolVersion::V3_1_1),
        (versions.mqtt_5_0, ProtocolVersion::V5),
    ]
    .into_iter()
    .filter_map(|(accepted, version)| accepted.then_some(version))
    .collect();
    policy.maximum_qos = QoS::from_u8(given.max_qos).unwrap_or(QoS::ExactlyOnce);
    policy.topic_alias_maximum = given.max_topic_alias;
    policy
        .assigned_client_id_prefix
        .clone_from(&given.security.auto_id_prefix);
    policy
}

/// What a client of this listener needs, in words.
pub(super) fn summary(given: &Given, files: &ListenerFiles) -> ListenerSummary {
    let host = given.address.as_deref().unwrap_or("every address");
    let place = format!("port {} of {host}", given.port);
    let mut parts = Vec::new();
    let identity = given.use_identity_as_username || given.use_subject_as_username;
    match &given.tls {
        None => parts.push("plain TCP, nothing is encrypted".to_owned()),
        Some(tls) if tls.require_certificate => {
            let authorities = [&tls.cafile, &tls.capath];
            let authorities: Vec<String> = authorities
                .into_iter()
                .flatten()
                .map(|path| path.display().to_string())
                .collect();
            parts.push(format!(
                "TLS, clients need a certificate from an authority in {}",
                authorities.join(" or ")
            ));
        }
        Some(_) => parts.push("TLS, clients are not asked for a certificate".to_owned()),
    }
    if identity {
        let what = if given.use_identity_as_username {
            "common name"
        } else {
            "subject"
        };
        parts.push(format!(
            "the certificate's {what} becomes the user name, name and password in CONNECT are ignored"
        ));
        if files.passwords.is_some() {
            parts.push("the password file is loaded but not consulted".to_owned());
        }
        if !given.tls.as_ref().is_some_and(|tls| tls.require_certificate) {
            parts.push(
                "nobody can connect, because no certificate is asked for (require_certificate)".to_owned(),
            );
        }
    } else {
        parts.push(login_requirement(given.security.allow_anonymous, files).to_owned());
    }
    parts.push(match (&files.acl, &given.security.acl_file) {
        (Some(_), Some(path)) => format!("{} says who may do what", path.display()),
        _ => "everybody who is let in may do everything".to_owned(),
    });
    ListenerSummary {
        place,
        requires: parts.join("; "),
    }
}

fn login_requirement(anonymous: bool, files: &ListenerFiles) -> &'static str {
    match (anonymous, files.passwords.is_some()) {
        (false, true) => "clients need a user name and its password from the password file",
        (true, true) => "clients may be anonymous; whoever gives a user name needs its password",
        (true, false) => "clients may be anonymous",
        (false, false) => "nobody can log in: there is no password file and allow_anonymous is false",
    }
}
