//! The crate rumqttc, as MQTT 3.1.1 (its version 4) and 5.
//!
//! It cannot read a DISCONNECT without properties, which MQTT 5.0 §3.14.2.2.1 allows, so takeover is left to paho.

use std::sync::Arc;

use rumqttc::TlsConfiguration;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::certificates::{READER, WRITER};
use crate::program::PATIENCE;
use crate::setting::{Setting, Transport, password};

/// What the two versions of the client have in common, under their own types.
macro_rules! client {
    ($options:path, $client:path, $connection:path, $event:path, $packet:path, $qos:path, $error:path) => {
        use $connection as Connection;
        use $error as ConnectionError;
        use $event as Event;
        use $options as MqttOptions;
        use $packet as Packet;
        pub(super) use $qos as QoS;

        /// A client that works whenever something is awaited from it.
        pub(super) struct Client {
            pub(super) handle: $client,
            connection: Connection,
        }

        impl Client {
            pub(super) fn connect(setting: &Setting, user: &str) -> Client {
                Client::with(options(setting, user, &client_id(user)))
            }

            pub(super) fn with(options: MqttOptions) -> Client {
                let (handle, connection) = <$client>::new(options, 2000);
                let mut client = Client { handle, connection };
                client.wait("CONNACK", |packet| {
                    matches!(packet, Packet::ConnAck(_)).then_some(())
                });
                client
            }

            /// The reason for which the broker does not let it in.
            pub(super) fn refusal(options: MqttOptions) -> ConnectionError {
                let (_handle, mut connection) = <$client>::new(options, 10);
                loop {
                    match connection
                        .recv_timeout(PATIENCE)
                        .expect("an answer in time")
                    {
                        Err(error) => return error,
                        Ok(Event::Incoming(packet)) => panic!("it was let in: {packet:?}"),
                        Ok(_) => {}
                    }
                }
            }

            pub(super) fn wait<T>(&mut self, what: &str, find: impl Fn(Packet) -> Option<T>) -> T {
                loop {
                    match self.connection.recv_timeout(PATIENCE) {
                        Ok(Ok(Event::Incoming(packet))) => {
                            if let Some(found) = find(packet) {
                                return found;
                            }
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => panic!("the connection ended instead of {what}: {error}"),
                        Err(error) => panic!("no {what} in time: {error:?}"),
                    }
                }
            }

            pub(super) fn subscribe(&mut self, filter: &str, qos: QoS) {
                self.handle.subscribe(filter, qos).unwrap();
                self.wait("SUBACK", |packet| {
                    matches!(packet, Packet::SubAck(_)).then_some(())
                });
            }

            /// Publishes, and waits for the last acknowledgement.
            pub(super) fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: &[u8]) {
                self.handle
                    .publish(topic, qos, retain, payload.to_vec())
                    .unwrap();
                match qos {
                    // It has been written when the answer to a later packet is there.
                    QoS::AtMostOnce => self.subscribe("nothing/of/this/name", QoS::AtMostOnce),
                    _ => self.wait("PUBACK or PUBCOMP", |packet| {
                        matches!(packet, Packet::PubAck(_) | Packet::PubComp(_)).then_some(())
                    }),
                }
            }

            /// The next message: topic, QoS, whether it was retained, payload.
            pub(super) fn message(&mut self) -> (String, QoS, bool, Vec<u8>) {
                self.wait("PUBLISH", |packet| match packet {
                    Packet::Publish(publish) => {
                        let topic =
                            String::from_utf8(AsRef::<[u8]>::as_ref(&publish.topic).to_vec()).unwrap();
                        Some((topic, publish.qos, publish.retain, publish.payload.to_vec()))
                    }
                    _ => None,
                })
            }
        }

        /// How this user reaches the broker.
        pub(super) fn options(setting: &Setting, user: &str, client_id: &str) -> MqttOptions {
            let mut options = MqttOptions::new(client_id, "127.0.0.1", setting.broker.port);
            if setting.transport == Transport::Password {
                options.set_credentials(user, password(user));
            }
            if setting.transport.is_encrypted() {
                let config = TlsConfiguration::Rustls(tls(setting, user));
                options.set_transport(rumqttc::Transport::tls_with_config(config));
            }
            accept_large_packets(&mut options);
            options
        }
    };
}

mod v4 {
    use super::*;
    client!(
        rumqttc::MqttOptions,
        rumqttc::Client,
        rumqttc::Connection,
        rumqttc::Event,
        rumqttc::Packet,
        rumqttc::QoS,
        rumqttc::ConnectionError
    );

    fn accept_large_packets(options: &mut MqttOptions) {
        options.set_max_packet_size(LARGE, LARGE);
    }
}

mod v5 {
    use super::*;
    client!(
        rumqttc::v5::MqttOptions,
        rumqttc::v5::Client,
        rumqttc::v5::Connection,
        rumqttc::v5::Event,
        rumqttc::v5::mqttbytes::v5::Packet,
        rumqttc::v5::mqttbytes::QoS,
        rumqttc::v5::ConnectionError
    );

    fn accept_large_packets(options: &mut MqttOptions) {
        options.set_max_packet_size(u32::try_from(LARGE).ok());
    }
}

/// The scenarios that both versions have.
macro_rules! scenarios {
    ($version:ident) => {
        use super::$version::{Client, QoS, options};
        use super::*;

        #[test]
        fn messages_arrive() {
            Setting::each(&Transport::ALL, |setting| {
                let mut reader = Client::connect(setting, READER);
                let mut writer = Client::connect(setting, WRITER);
                reader.subscribe("exchange/+", QoS::ExactlyOnce);
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    for length in [0, 1, 127, 128, 16_383, 16_385, 500_000] {
                        let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
                        writer.publish("exchange/a", qos, false, &payload);
                        let expected = ("exchange/a".to_owned(), qos, false, payload);
                        assert!(
                            reader.message() == expected,
                            "{length} bytes with {qos:?} over {setting}"
                        );
                    }
                }
            });
        }

        #[test]
        fn many_messages_without_a_pause_keep_their_order() {
            Setting::each(&[Transport::Plain, Transport::MutualTls], |setting| {
                let mut reader = Client::connect(setting, READER);
                let mut writer = Client::connect(setting, WRITER);
                reader.subscribe("many", QoS::AtLeastOnce);
                for number in 0..COUNT {
                    writer
                        .handle
                        .publish("many", QoS::AtLeastOnce, false, number.to_string())
                        .unwrap();
                }
                let sender = std::thread::spawn(move || {
                    for _ in 0..COUNT {
                        writer.wait("PUBACK", |packet| {
                            format!("{packet:?}").starts_with("PubAck").then_some(())
                        });
                    }
                });
                for number in 0..COUNT {
                    assert_eq!(
                        reader.message().3,
                        number.to_string().into_bytes(),
                        "{setting}"
                    );
                }
                sender.join().unwrap();
            });
        }

        #[test]
        fn retained_messages_and_wills_arrive() {
            Setting::each(&[Transport::Plain, Transport::MutualTls], |setting| {
                let mut writer = Client::connect(setting, WRITER);
                writer.publish("state/a", QoS::AtLeastOnce, true, b"kept");
                let mut reader = Client::connect(setting, READER);
                reader.subscribe("state/#", QoS::AtLeastOnce);
                assert_eq!(
                    reader.message(),
                    (
                        "state/a".to_owned(),
                        QoS::AtLeastOnce,
                        true,
                        b"kept".to_vec()
                    )
                );

                let mut lost = options(setting, WRITER, "with-a-will");
                lost.set_last_will(will("state/b"));
                drop(Client::with(lost));
                assert_eq!(
                    reader.message(),
                    (
                        "state/b".to_owned(),
                        QoS::AtLeastOnce,
                        false,
                        b"gone".to_vec()
                    )
                );
            });
        }
    };
}

mod version_4 {
    scenarios!(v4);

    fn will(topic: &str) -> rumqttc::LastWill {
        rumqttc::LastWill::new(topic, "gone", QoS::AtLeastOnce, false)
    }

    #[test]
    fn wrong_passwords_are_refused() {
        Setting::each(&[Transport::Password], |setting| {
            let mut guess = options(setting, WRITER, "guess");
            guess.set_credentials(WRITER, "a guess");
            let error = Client::refusal(guess);
            assert!(
                matches!(
                    error,
                    rumqttc::ConnectionError::ConnectionRefused(rumqttc::ConnectReturnCode::NotAuthorized)
                ),
                "{error} over {setting}"
            );
        });
    }
}

mod version_5 {
    use rumqttc::v5::mqttbytes::v5 as packets;

    scenarios!(v5);

    fn will(topic: &str) -> packets::LastWill {
        packets::LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None)
    }

    #[test]
    fn wrong_passwords_are_refused() {
        Setting::each(&[Transport::Password], |setting| {
            let mut guess = options(setting, WRITER, "guess");
            guess.set_credentials(WRITER, "a guess");
            let error = Client::refusal(guess);
            let refused = packets::ConnectReturnCode::NotAuthorized;
            assert!(
                matches!(&error, rumqttc::v5::ConnectionError::ConnectionRefused(code) if *code == refused),
                "{error} over {setting}"
            );
        });
    }

    #[test]
    fn a_denied_publication_is_named_in_puback() {
        Setting::each(&[Transport::Password, Transport::MutualTls], |setting| {
            let mut reader = Client::connect(setting, READER);
            reader
                .handle
                .publish("denied", QoS::AtLeastOnce, false, "x")
                .unwrap();
            let reason = reader.wait("PUBACK", |packet| match packet {
                packets::Packet::PubAck(puback) => Some(puback.reason),
                _ => None,
            });
            assert_eq!(reason, packets::PubAckReason::NotAuthorized, "{setting}");
        });
    }
}

#[test]
fn the_versions_understand_each_other() {
    Setting::each(&[Transport::Plain, Transport::MutualTls], |setting| {
        let mut old = v4::Client::connect(setting, READER);
        let mut new = v5::Client::connect(setting, WRITER);
        old.subscribe("versions/#", v4::QoS::ExactlyOnce);
        new.subscribe("versions/#", v5::QoS::AtLeastOnce);
        new.publish("versions/a", v5::QoS::ExactlyOnce, false, b"from 5");
        assert_eq!(
            old.message(),
            (
                "versions/a".to_owned(),
                v4::QoS::ExactlyOnce,
                false,
                b"from 5".to_vec()
            ),
            "{setting}"
        );
        let mut other = v4::Client::connect(setting, WRITER);
        other.publish("versions/b", v4::QoS::AtLeastOnce, false, b"from 3.1.1");
        assert_eq!(old.message().3, b"from 3.1.1", "{setting}");
    });
}

#[test]
fn clients_without_our_certificate_are_refused() {
    Setting::each(&[Transport::MutualTls], |setting| {
        let mut nobody = v5::options(setting, READER, "nobody");
        let config = TlsConfiguration::Rustls(without_certificate(setting));
        nobody.set_transport(rumqttc::Transport::tls_with_config(config));
        v5::Client::refusal(nobody);
        v4::Client::refusal(v4::options(setting, "stranger", "stranger"));
        // And the broker goes on serving.
        v5::Client::connect(setting, READER);
    });
}

fn client_id(user: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{user}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn tls(setting: &Setting, user: &str) -> Arc<ClientConfig> {
    if setting.transport != Transport::MutualTls {
        return without_certificate(setting);
    }
    let certificate = CertificateDer::from_pem_file(setting.folder.file(&format!("{user}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(setting.folder.file(&format!("{user}.key"))).unwrap();
    Arc::new(
        tls_builder(setting)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap(),
    )
}

fn without_certificate(setting: &Setting) -> Arc<ClientConfig> {
    Arc::new(tls_builder(setting).with_no_client_auth())
}

fn tls_builder(setting: &Setting) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(setting.folder.file("ca.crt")).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

/// Messages that are sent without a pause; far more than may be in flight.
const COUNT: usize = 1000;
/// Bytes of the largest packet that is sent here.
const LARGE: usize = 1_000_000;
