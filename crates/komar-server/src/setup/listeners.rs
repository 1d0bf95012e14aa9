//! Listeners of a configuration as listeners of the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use komar_broker_core::{ListenerFiles, ListenerPolicy, OverRate};
use komar_codec::{ProtocolVersion, QoS};
use komar_conf::{
    Limits, Listener as Given, Plugin, PluginKind, Protocol, ProxyVersion as GivenVersion, RateAction,
    SocketDomain,
};

use super::{ListenerSummary, SetupError, identity, tls};
use crate::listener::{Listener, ProxyProtocol, ProxyVersion, WebSocketOptions};
use crate::open_listener::Siblings;
use crate::rates::{RateLimits, Rates};

/// The sockets of one `listener`: one for each address that it stands for.
pub(super) fn open(
    given: &Given,
    no_delay: bool,
    limits: &Limits,
    errors: &mut Vec<SetupError>,
    warnings: &mut Vec<String>,
) -> Vec<Listener> {
    let before = errors.len();
    errors.extend(unsupported(given));
    let mut listeners = sockets(given, warnings).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let tls = given
        .tls
        .as_ref()
        .and_then(|tls| tls::config(given.port, tls, errors, warnings));
    let policy = policy(given, errors);
    if errors.len() > before {
        return Vec::new();
    }
    let websocket = (given.protocol == Protocol::WebSockets).then(|| WebSocketOptions {
        origins: given.websockets_origins.clone(),
        maximum_head: limits.packet_buffer_size.into(),
    });
    let (proxy, rates) = (proxy(given), Rates::of(&rates(given)));
    let siblings = Siblings::default();
    for listener in &mut listeners {
        *listener = listener.clone().policy(policy.clone()).no_delay(no_delay);
        if let Some(options) = &websocket {
            *listener = listener.clone().websocket(options.clone());
        }
        if let Some(tls) = &tls {
            listener.tls = Some(tls.config());
            listener.client_verifier = tls.client_verifier();
        }
        listener.proxy.clone_from(&proxy);
        listener.rates.clone_from(&rates);
        listener.siblings = siblings.clone();
        listener.maximum_connections = given
            .max_connections
            .and_then(|maximum| usize::try_from(maximum).ok());
    }
    listeners
}

/// What is listened on, without what is asked there.
fn sockets(given: &Given, warnings: &mut Vec<String>) -> Result<Vec<Listener>, SetupError> {
    if let Some(path) = &given.unix_path {
        #[cfg(unix)]
        return Ok(vec![Listener::unix(path)]);
        #[cfg(not(unix))]
        return Err(SetupError::Unsupported {
            what: format!("the Unix socket '{}' on this system", path.display()),
            position: given.position.clone(),
        });
    }
    let mut addresses = addresses(given)?;
    if let Some(interface) = &given.bind_interface {
        addresses = on_interface(given, interface, &addresses, warnings)?;
    }
    let listener = |address: SocketAddr| {
        let mut listener = Listener::tcp(address);
        // A system without IPv6 can still serve everybody else.
        listener.optional = address.is_ipv6() && (given.address.is_none() || address.ip().is_loopback());
        listener
    };
    Ok(addresses.into_iter().map(listener).collect())
}

fn proxy(given: &Given) -> Option<ProxyProtocol> {
    let proxy = given.proxy.as_ref()?;
    Some(ProxyProtocol {
        trusted: proxy.trusted.clone(),
        require_tls: proxy.require_tls,
        require_certificate: proxy.require_certificate,
        ..ProxyProtocol::new(match proxy.version {
            GivenVersion::V1 => ProxyVersion::V1,
            GivenVersion::V2 => ProxyVersion::V2,
        })
    })
}

fn rates(given: &Given) -> RateLimits {
    let (rates, mut limits) = (&given.rates, RateLimits::default());
    limits.connections = rates.connections;
    limits.connections_by_address = rates.connections_by_address;
    limits.answer_connections = rates.answer_connections;
    limits.messages = rates.messages;
    limits.messages_by_address = rates.messages_by_address;
    limits.messages_by_client = rates.messages_by_client;
    limits.over = match rates.action {
        RateAction::Refuse => OverRate::Refuse,
        RateAction::Disconnect => OverRate::Disconnect,
        _ => OverRate::Pause,
    };
    limits
}

/// The addresses of an interface, one of each family that is wanted.
fn on_interface(
    given: &Given,
    interface: &str,
    wanted: &[SocketAddr],
    warnings: &mut Vec<String>,
) -> Result<Vec<SocketAddr>, SetupError> {
    let problem = |problem: String| SetupError::Interface {
        port: given.port,
        interface: interface.to_owned(),
        problem,
    };
    let all = if_addrs::get_if_addrs().map_err(|error| problem(error.to_string()))?;
    let own: Vec<_> = all
        .iter()
        .filter(|one| one.name.eq_ignore_ascii_case(interface))
        .collect();
    if own.is_empty() {
        return Err(problem("there is no such interface".to_owned()));
    }
    let mut chosen = Vec::new();
    for address in wanted {
        let candidate = own.iter().find(|one| {
            one.ip().is_ipv4() == address.is_ipv4() && (given.address.is_none() || one.ip() == address.ip())
        });
        match candidate {
            Some(one) => chosen.push(scoped(one, given.port)),
            None if given.address.is_some() => {
                return Err(problem(format!("{} is none of its addresses", address.ip())));
            }
            None => {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                warnings.push(format!("bind_interface: {interface} has no {family} address"));
            }
        }
    }
    if chosen.is_empty() {
        return Err(problem("it has no address that can be listened on".to_owned()));
    }
    Ok(chosen)
}

/// An IPv6 address of a link is one only together with the link's number.
fn scoped(interface: &if_addrs::Interface, port: u16) -> SocketAddr {
    match interface.ip() {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, port, 0, interface.index.unwrap_or_default()).into()
        }
        address => SocketAddr::new(address, port),
    }
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
    let chosen: Vec<SocketAddr> = all.into_iter().filter(of_family).collect();
    if chosen.is_empty() {
        return Err(SetupError::NoAddress {
            port,
            host: given.address.clone().unwrap_or_default(),
            family: match given.socket_domain {
                Some(SocketDomain::Ipv6) => "IPv6",
                _ => "IPv4",
            },
        });
    }
    Ok(chosen)
}

/// What would change who gets in or what is heard if it were left out.
fn unsupported(given: &Given) -> Vec<SetupError> {
    let named = [
        (given.protocol == Protocol::HttpApi, "the protocol 'http_api'"),
        (given.mount_point.is_some(), "'mount_point'"),
        (given.security.psk_file.is_some(), "'psk_file'"),
        (given.security.plugins.iter().any(decides), "a plugin"),
    ];
    let chosen = named.into_iter().filter(|(is_set, _)| *is_set);
    chosen
        .map(|(_, what)| SetupError::Unsupported {
            what: what.to_owned(),
            position: given.position.clone(),
        })
        .collect()
}

/// Whether leaving a plugin out would let in, or keep from being heard, what it would not.
fn decides(plugin: &Plugin) -> bool {
    // That nothing survives is said of `persistence`, which it stands for.
    plugin.kind != PluginKind::PersistSqlite
}

fn policy(given: &Given, errors: &mut Vec<SetupError>) -> ListenerPolicy {
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = given.security.allow_anonymous;
    policy.identity = identity::policy(given, errors);
    policy.username_must_be_identity = given.require_identity_as_username;
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
    policy.outgoing_topic_alias_maximum = given.max_topic_alias_broker;
    policy
        .assigned_client_id_prefix
        .clone_from(&given.security.auto_id_prefix);
    policy
}

/// What is said of a listener that is not opened.
pub(super) fn left_out(given: &Given) -> ListenerSummary {
    ListenerSummary {
        place: place(given),
        requires: "left out, as the HTTP API is not available yet".to_owned(),
    }
}

/// What a client of this listener needs, in words.
pub(super) fn summary(given: &Given, files: &ListenerFiles) -> ListenerSummary {
    let mut parts = Vec::new();
    if given.protocol == Protocol::WebSockets {
        parts.push(match given.websockets_origins.as_slice() {
            [] => "MQTT over WebSocket, from web pages of every origin".to_owned(),
            origins => format!("MQTT over WebSocket, from web pages of {}", origins.join(" or ")),
        });
    }
    if let Some(proxy) = &given.proxy {
        parts.push(proxy_requirement(proxy));
    }
    let is_name = given.use_identity_as_username || given.use_subject_as_username;
    match &given.tls {
        None if given.unix_path.is_some() => parts.push("only processes of this machine".to_owned()),
        None if given.proxy.is_some() => parts.push("nothing is encrypted from the proxy on".to_owned()),
        None => parts.push("plain TCP, nothing is encrypted".to_owned()),
        Some(tls) if tls.require_certificate => {
            parts.push(format!(
                "TLS, clients need a certificate from {}",
                tls::authorities(tls).join(" or ")
            ));
            if let Some(path) = &tls.crlfile {
                parts.push(format!(
                    "certificates that {} revokes are refused",
                    path.display()
                ));
            }
        }
        Some(_) => parts.push("TLS, clients are not asked for a certificate".to_owned()),
    }
    if let Some(tls) = &given.tls {
        parts.push(tls::spoken(tls).to_owned());
    }
    parts.extend(identity::allowed(given));
    let what = identity::name(given);
    if is_name {
        parts.push(format!(
            "the certificate's {what} becomes the user name, name and password in CONNECT are ignored"
        ));
        if files.passwords.is_some() {
            parts.push("the password file is loaded but not consulted".to_owned());
        }
    } else {
        if given.require_identity_as_username {
            parts.push(format!("the user name must be the certificate's {what}"));
        }
        parts.push(login_requirement(given.security.allow_anonymous, files).to_owned());
    }
    let by_proxy = given
        .proxy
        .as_ref()
        .is_some_and(|proxy| proxy.version == GivenVersion::V2);
    let asked = by_proxy || given.tls.as_ref().is_some_and(|tls| tls.require_certificate);
    if !asked && (is_name || given.require_identity_as_username) {
        parts
            .push("nobody can connect, because no certificate is asked for (require_certificate)".to_owned());
    }
    parts.push(match (&files.acl, &given.security.acl_file) {
        (Some(_), Some(path)) => format!("{} says who may do what", path.display()),
        _ => "everybody who is let in may do everything".to_owned(),
    });
    ListenerSummary {
        place: place(given),
        requires: parts.join("; "),
    }
}

/// Where it listens, in words.
fn place(given: &Given) -> String {
    let host = given.address.as_deref().unwrap_or("every address");
    match (&given.unix_path, &given.bind_interface) {
        (Some(path), _) => format!("the Unix socket {}", path.display()),
        (None, Some(interface)) => format!("port {} of interface {interface}", given.port),
        (None, None) => format!("port {} of {host}", given.port),
    }
}

fn proxy_requirement(proxy: &komar_conf::Proxy) -> String {
    let version = match proxy.version {
        GivenVersion::V1 => 1,
        GivenVersion::V2 => 2,
    };
    let demand = match (proxy.require_certificate, proxy.require_tls) {
        (true, _) => ", which must say that the client's certificate was verified",
        (false, true) => ", which must say that the client uses TLS",
        (false, false) => "",
    };
    let who = match proxy.trusted.as_slice() {
        [] => "whoever reaches this listener can claim any address".to_owned(),
        trusted => {
            let networks: Vec<String> = trusted.iter().map(ToString::to_string).collect();
            format!("others than {} are closed", networks.join(" and "))
        }
    };
    format!(
        "only through proxies: every connection begins with a PROXY header of version {version}{demand}; {who}"
    )
}

fn login_requirement(anonymous: bool, files: &ListenerFiles) -> &'static str {
    match (anonymous, files.passwords.is_some()) {
        (false, true) => "clients need a user name and its password from the password file",
        (true, true) => "clients may be anonymous; whoever gives a user name needs its password",
        (true, false) => "clients may be anonymous",
        (false, false) => "nobody can log in: there is no password file and allow_anonymous is false",
    }
}
