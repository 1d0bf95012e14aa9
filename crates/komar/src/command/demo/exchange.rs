//! What the demo shows: clients of its own, over TLS, and what the broker lets them do.

use std::net::SocketAddr;
use std::sync::Arc;

use komar_codec::ReasonCode;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::site::{PLC, SCADA, Site, USERS};
use crate::demo_client::{ClientError, DemoClient, Introduction};
use crate::output::Output;

/// Certificates are identities, and the ACL file says who may do what.
pub(super) fn show_certificates(
    site: &Site,
    address: SocketAddr,
    output: &mut Output,
) -> Result<(), ClientError> {
    let who = |client_id| Introduction {
        client_id,
        username: None,
        password: None,
    };
    let mut scada = DemoClient::connect(address, &tls(site, Some(SCADA))?, who("scada"))?;
    expect(
        "SUBACK with QoS 1",
        scada.subscribe("PLC1/out")?,
        ReasonCode::GrantedQoS1,
    )?;
    let mut plc = DemoClient::connect(address, &tls(site, Some(PLC))?, who("plc"))?;
    expect(
        "SUBACK with QoS 1",
        plc.subscribe("PLC1/cmd")?,
        ReasonCode::GrantedQoS1,
    )?;

    expect(
        "PUBACK",
        plc.publish("PLC1/out", b"temperature 21.5")?,
        ReasonCode::Success,
    )?;
    let (topic, payload) = scada.message()?;
    expect(
        "the message",
        (topic.as_str(), payload.as_slice()),
        ("PLC1/out", &b"temperature 21.5"[..]),
    )?;
    output.line(format_args!(
        "   {PLC} publishes to PLC1/out: {SCADA} receives \"{}\".",
        String::from_utf8_lossy(&payload)
    ));

    expect(
        "PUBACK",
        scada.publish("PLC1/cmd", b"start")?,
        ReasonCode::Success,
    )?;
    let (topic, payload) = plc.message()?;
    expect(
        "the message",
        (topic.as_str(), payload.as_slice()),
        ("PLC1/cmd", &b"start"[..]),
    )?;
    output.line(format_args!(
        "   {SCADA} publishes to PLC1/cmd: {PLC} receives \"{}\".",
        String::from_utf8_lossy(&payload)
    ));

    expect(
        "a refusal",
        plc.publish("PLC1/cmd", b"stop")?,
        ReasonCode::NotAuthorized,
    )?;
    expect("no message", plc.messages_so_far()? + scada.messages_so_far()?, 0)?;
    output.line(format_args!(
        "   {PLC} publishes to PLC1/cmd: refused (0x87 Not authorized), and nobody receives it."
    ));

    match DemoClient::connect(address, &tls(site, None)?, who("nobody")) {
        Err(ClientError::Io(error)) => output.line(format_args!(
            "   A client without a certificate: refused ({error}).\n"
        )),
        Err(other) => return Err(other),
        Ok(_) => {
            return Err(unexpected(
                "a refusal",
                "an accepted connection without a certificate",
            ));
        }
    }
    Ok(())
}

/// A certificate lets a client in, and its password says who it is.
pub(super) fn show_passwords(
    site: &Site,
    address: SocketAddr,
    output: &mut Output,
) -> Result<(), ClientError> {
    output.line(format_args!(
        "3. The same with 'use_identity_as_username false' and 'password_file pwfile', on {address}:"
    ));
    let tls = tls(site, Some(PLC))?;
    let [(user, password), _] = USERS;
    let login = |password: &'static str| Introduction {
        client_id: "with-password",
        username: Some(user),
        password: Some(password.as_bytes()),
    };
    DemoClient::connect(address, &tls, login(password))?;
    output.line(format_args!("   {user} with its password: accepted."));
    match DemoClient::connect(address, &tls, login("a guess")) {
        Err(ClientError::Refused(ReasonCode::NotAuthorized)) => {
            output.line(format_args!(
                "   {user} with another password: refused (0x87 Not authorized).\n"
            ));
            Ok(())
        }
        Err(other) => Err(other),
        Ok(_) => Err(unexpected(
            "a refusal",
            "an accepted connection with a wrong password",
        )),
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    got: T,
    expected: T,
) -> Result<(), ClientError> {
    if got == expected {
        Ok(())
    } else {
        Err(unexpected(what, &format!("{got:?}")))
    }
}

fn unexpected(expected: &'static str, got: &str) -> ClientError {
    ClientError::Unexpected {
        expected,
        got: got.to_owned(),
    }
}

/// A client's TLS: trusts the folder's authority, and shows a certificate of the folder or none.
fn tls(site: &Site, client: Option<&str>) -> Result<Arc<ClientConfig>, ClientError> {
    let pem = |error: rustls::pki_types::pem::Error| std::io::Error::other(error.to_string());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.file("caMQTT.crt")).map_err(pem)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let certificate = CertificateDer::from_pem_file(site.file(format!("{name}.crt"))).map_err(pem)?;
            let key = PrivateKeyDer::from_pem_file(site.file(format!("{name}.key"))).map_err(pem)?;
            builder.with_client_auth_cert(vec![certificate], key)?
        }
    };
    Ok(Arc::new(config))
}
