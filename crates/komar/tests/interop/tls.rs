//! Certificates that do not count: an alert before CONNACK, the cause in the log, and nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::broker::{Broker, Folder, Reactors, is_komar};
use crate::certificates;
use crate::program::PATIENCE;
use crate::table;
use crate::tools::Tool;

/// What a client heard instead of CONNACK.
type Alert = Option<u8>;

#[test]
fn rustls_hears_why_its_certificate_does_not_count() {
    check(|site, certificate, version| site.rustls(certificate, version));
}

#[test]
fn openssl_hears_why_its_certificate_does_not_count() {
    if Tool::Openssl.is_installed() {
        check(|site, certificate, version| site.openssl(certificate, version));
    }
}

/// Has each row of the table connect in both versions of TLS.
fn check(connect: impl Fn(&Site, &str, Version) -> Alert) {
    let site = Site::start();
    for [certificate, tls_1_2, tls_1_3, words] in table::rows(include_str!("data/tls.txt")) {
        for (version, expected) in [(Version::Tls12, tls_1_2), (Version::Tls13, tls_1_3)] {
            let before = site.lines().len();
            let alert = connect(&site, certificate, version);
            let expected = (!expected.is_empty()).then(|| expected.parse().unwrap());
            assert_eq!(alert, expected, "{certificate}, {version:?}");
            if is_komar() {
                site.expect_log(before, expected, words);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

struct Site {
    folder: Folder,
    broker: Broker,
}

impl Site {
    fn start() -> Site {
        let folder = Folder::new();
        certificates::write(&folder);
        certificates::revoke(&folder, "revoked", "crl.pem");
        let broker = Broker::start(&folder, CONFIGURATION, Reactors::One);
        if is_komar() {
            // The connection that showed that it accepts.
            broker.program.wait_for("connection closed by client").unwrap();
        }
        Site { folder, broker }
    }

    fn lines(&self) -> Vec<String> {
        self.broker.program.text().lines().map(str::to_owned).collect()
    }

    /// What the log says of one connection: its arrival, the cause of the alert and its end, or that a client has connected
    /// and gone; no other line.
    fn expect_log(&self, before: usize, alert: Alert, words: &str) {
        let found = self.broker.program.wait_from(before, "] disconnected");
        assert!(found.is_some(), "no end in {:#?}", &self.lines()[before..]);
        let lines = self.lines();
        let new = &lines[before..];
        let shapes = match alert {
            None => ["New connection", "New client", "negotiated", "Client a ["].as_slice(),
            Some(_) => &["New connection", words, "Client <unknown> ["],
        };
        assert_eq!(new.len(), shapes.len(), "{new:#?}");
        for (line, shape) in new.iter().zip(shapes) {
            assert!(
                line.to_lowercase().contains(&shape.to_lowercase()),
                "{shape}: {new:#?}"
            );
        }
    }

    fn rustls(&self, certificate: &str, version: Version) -> Alert {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.folder.file("ca.crt")).unwrap())
            .unwrap();
        let versions: &[&SupportedProtocolVersion] = match version {
            Version::Tls12 => &[&rustls::version::TLS12],
            Version::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            "-" => builder.with_no_client_auth(),
            name => {
                let chain =
                    vec![CertificateDer::from_pem_file(self.folder.file(&format!("{name}.crt"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.folder.file(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), server).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        let mut heard = Vec::new();
        // The alert may come while this is written.
        let outcome = tls.write_all(CONNECT).and_then(|()| {
            heard.resize(CONNACK.len(), 0);
            let read = tls.read_exact(&mut heard);
            heard.truncate(if read.is_ok() { CONNACK.len() } else { 0 });
            read?;
            tls.write_all(DISCONNECT)?;
            tls.read_to_end(&mut heard).map(drop)
        });
        match outcome {
            Ok(()) => {
                assert_eq!(heard, CONNACK, "{certificate}");
                None
            }
            Err(error) => {
                assert!(heard.is_empty(), "{certificate}: {heard:02x?} before {error}");
                let cause = error
                    .get_ref()
                    .and_then(|cause| cause.downcast_ref::<rustls::Error>());
                match cause {
                    Some(rustls::Error::AlertReceived(alert)) => Some(number(*alert)),
                    _ => panic!("{certificate}, {version:?}: {error}"),
                }
            }
        }
    }

    fn openssl(&self, certificate: &str, version: Version) -> Alert {
        let mut command = Command::new("openssl");
        command
            .args([
                "s_client",
                "-quiet",
                "-verify_quiet",
                "-no_ign_eof",
                "-nocommands",
            ])
            .args(["-connect", &format!("127.0.0.1:{}", self.broker.port)])
            .args(["-CAfile", &self.folder.file("ca.crt")])
            .arg(match version {
                Version::Tls12 => "-tls1_2",
                Version::Tls13 => "-tls1_3",
            });
        if certificate != "-" {
            command
                .args(["-cert", &self.folder.file(&format!("{certificate}.crt"))])
                .args(["-key", &self.folder.file(&format!("{certificate}.key"))]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its standard input stays open: at its end it would not wait for an answer.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        // It may have ended already.
        let _ = input.write_all(CONNECT);
        let (mut heard, mut buffer) = (Vec::new(), [0; 100]);
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
            if heard == CONNACK {
                input.write_all(DISCONNECT).unwrap();
            }
        }
        let ended = child.wait_with_output().unwrap();
        drop(input);
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        let alert = words
            .split("SSL alert number ")
            .nth(1)
            .map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap());
        let expected = if alert.is_some() { &[][..] } else { CONNACK };
        assert_eq!(heard, expected, "{certificate}, {version:?}: {words}");
        alert
    }
}

fn number(alert: AlertDescription) -> u8 {
    u8::from(alert)
}

/// MQTT 3.1.1, the client `a`, a clean session.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
const DISCONNECT: &[u8] = b"\xe0\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const CONFIGURATION: &str = "listener {port} 127.0.0.1\nallow_anonymous true\ncertfile broker.crt\nkeyfile broker.key\n\
     cafile ca.crt\ncrlfile crl.pem\nrequire_certificate true\n";
