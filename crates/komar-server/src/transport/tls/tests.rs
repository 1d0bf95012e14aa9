use super::*;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::ClientConnection;
use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, HandshakeKind, RootCertStore,
    SupportedProtocolVersion,
};
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::LazyLock;

const WHOLE: usize = usize::MAX;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn data_flows_however_the_input_is_cut() {
    let data = pattern(40_000);
    for version in VERSIONS {
        for (client_certificate, fragment, step) in [
            (false, None, WHOLE),
            (false, None, 7),
            (false, None, 1),
            (true, None, WHOLE),
            (true, None, 1000),
            (true, None, 1),
            (true, Some(32), WHOLE), // handshake messages of many records
            (true, Some(32), 7),
            (true, Some(32), 1),
        ] {
            let mut pair = Pair::with(version, client_certificate, fragment, step);
            assert!(pair.server.is_handshaking());
            assert_eq!(pair.server.peer_certificate(), None);
            pair.handshake();
            assert_eq!(
                pair.server.peer_certificate(),
                client_certificate.then_some(&*PKI.client.certificate)
            );
            assert_eq!(pair.at_server(&data), data, "{version:?} {fragment:?} {step}");
            assert_eq!(pair.at_client(&data), data, "{version:?} {fragment:?} {step}");
            pair.assert_nothing_kept();
        }
    }
}

#[test]
fn a_megabyte_flows_both_ways() {
    let data = pattern(1 << 20);
    for version in VERSIONS {
        for step in [WHOLE, 65_536, 4096] {
            let mut pair = Pair::open(version, step);
            assert!(pair.at_server(&data) == data);
            assert!(pair.at_client(&data) == data);
            pair.assert_nothing_kept();
        }
    }
}

#[test]
fn one_feed_reads_several_records_and_keeps_the_rest() {
    for version in VERSIONS {
        let mut pair = Pair::open(version, WHOLE);
        let mut records = Vec::new();
        for packet in ["one", "two", "three"] {
            records.extend(pair.sealed_by_client(packet.as_bytes()));
        }
        let tail = records.split_off(records.len() - 10);
        let (mut plaintext, mut outgoing) = (b"before ".to_vec(), Vec::new());
        let state = pair
            .server
            .feed(&mut records, &mut plaintext, &mut outgoing)
            .unwrap();
        assert_eq!(state, TlsState::Open);
        assert_eq!(plaintext, b"before onetwo");
        assert!(!pair.server.kept.is_empty());
        // Writing works meanwhile, and does not disturb what is kept.
        assert_eq!(pair.at_client(b"answer"), b"answer");
        pair.server
            .feed(&mut tail.clone(), &mut plaintext, &mut outgoing)
            .unwrap();
        assert_eq!(plaintext, b"before onetwothree");
        assert!(outgoing.is_empty());
        pair.assert_nothing_kept();
    }
}

#[test]
fn packets_share_records_and_outgoing_is_appended_to() {
    for (version, length, overhead) in [
        (&TLS12, 100, 29),
        (&TLS13, 100, 22),
        (&TLS12, 16_384, 29),
        (&TLS13, 16_385, 44),
    ] {
        let mut pair = Pair::open(version, WHOLE);
        let mut outgoing = Vec::with_capacity(40_000);
        outgoing.extend_from_slice(b"before");
        pair.server.encrypt(&pattern(length), &mut outgoing).unwrap();
        assert_eq!(outgoing.len(), 6 + length + overhead, "{version:?} {length}");
        assert_eq!(outgoing.capacity(), 40_000);
        assert!(outgoing.starts_with(b"before"));
        pair.server.encrypt(&[], &mut outgoing).unwrap();
        assert_eq!(outgoing.len(), 6 + length + overhead);
    }
}

#[test]
fn small_fragments_get_the_space_that_they_need() {
    let mut config = server_config(&TLS13, false);
    config.max_fragment_size = Some(64);
    let mut pair = Pair::of(
        Arc::new(config),
        &Arc::new(client_config(&TLS13, false, None)),
        WHOLE,
    );
    pair.handshake();
    let data = pattern(5000);
    assert_eq!(pair.at_client(&data), data);
}

#[test]
fn names_are_those_of_openssl() {
    for (version, suite, expected) in [
        (
            &TLS12,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            &TLS12,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (
            &TLS13,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            "TLS_AES_128_GCM_SHA256",
        ),
        (
            &TLS13,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|offered| offered.suite() == suite);
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&PKI.authority))
            .with_no_client_auth();
        let mut pair = Pair::of(Arc::new(server_config(version, false)), &Arc::new(client), WHOLE);
        assert_eq!((pair.server.version(), pair.server.cipher()), (None, None));
        pair.handshake();
        assert_eq!(pair.server.cipher(), Some(expected));
        assert_eq!(
            pair.server.version(),
            Some(if version.version == TLS12.version {
                "TLSv1.2"
            } else {
                "TLSv1.3"
            })
        );
    }
    for suite in rustls::crypto::ring::ALL_CIPHER_SUITES {
        let name = cipher_name(suite.suite());
        assert!(name.starts_with("ECDHE-") || name.starts_with("TLS_"), "{name}");
    }
}

#[test]
fn a_refused_client_is_told_why() {
    let stranger = Identity::issued_by(&authority("another authority"), "stranger");
    for (version, identity, expected) in [
        (&TLS12, None, AlertDescription::HandshakeFailure),
        (&TLS13, None, AlertDescription::CertificateRequired),
        (&TLS12, Some(&stranger), AlertDescription::UnknownCA),
        (&TLS13, Some(&stranger), AlertDescription::UnknownCA),
    ] {
        for step in [WHOLE, 1] {
            let client = client_config_with(version, identity, None);
            let mut pair = Pair::of(Arc::new(server_config(version, true)), &Arc::new(client), step);
            let (server_error, client_error) = pair.failing_handshake();
            match identity {
                None => assert!(
                    matches!(server_error, TlsError::CertificateMissing),
                    "{server_error}"
                ),
                Some(_) => {
                    assert!(
                        matches!(server_error, TlsError::CertificateRefused { .. }),
                        "{server_error}"
                    );
                }
            }
            assert_eq!(
                client_error,
                Some(rustls::Error::AlertReceived(expected)),
                "{version:?}"
            );
            pair.assert_ended();
        }
    }
}

#[test]
fn no_common_version_is_told() {
    let server = Arc::new(server_config(&TLS13, false));
    let mut pair = Pair::of(server, &Arc::new(client_config(&TLS12, false, None)), WHOLE);
    let (server_error, client_error) = pair.failing_handshake();
    assert!(matches!(
        server_error,
        TlsError::Protocol(rustls::Error::PeerIncompatible(_))
    ));
    assert_eq!(
        client_error,
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion))
    );
}

#[test]
fn an_alert_of_the_client_is_not_answered() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let untrusting = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots(&authority("another authority")))
        .with_no_client_auth();
    let mut pair = Pair::of(
        Arc::new(server_config(&TLS13, false)),
        &Arc::new(untrusting),
        WHOLE,
    );
    let first = pair.exchange();
    assert!(matches!(first, Err(Failure::Client(_))));
    let (mut ciphertext, mut outgoing) = (pair.client_output(), Vec::new());
    let error = pair
        .server
        .feed(&mut ciphertext, &mut Vec::new(), &mut outgoing)
        .unwrap_err();
    assert_eq!(error.to_string(), "client sent alert UnknownCA");
    assert!(outgoing.is_empty());
}

#[test]
fn what_is_not_a_handshake_gets_an_alert() {
    let oversized = fragmented_handshake(0xff_ffff, 4);
    let dripped = fragmented_handshake(0xfff0, 12_000);
    let mut interleaved = fragmented_handshake(100, 8);
    interleaved.extend([ALERT_RECORD, 3, 3, 0, 2, 1, 90]);
    let connect = b"\x10\x0e\0\x04MQTT\x04\x02\0<\0\x02ab";
    let (decode_error, unexpected) = (AlertDescription::DecodeError, AlertDescription::UnexpectedMessage);
    for (input, message, alert) in [
        (
            &connect[..],
            "plain text MQTT client on a TLS listener",
            decode_error,
        ),
        (
            b"GET / HTTP/1.1\r\n",
            "does not speak TLS: first byte 0x47",
            decode_error,
        ),
        (&[0; 20], "does not speak TLS: first byte 0x00", decode_error),
        (&[0x80; 64], "does not speak TLS: first byte 0x80", decode_error),
        (
            &[22, 9, 1, 0, 4, 1, 0, 0, 0],
            "UnknownProtocolVersion",
            decode_error,
        ),
        (&[22, 3, 1, 0xff, 0xff], "MessageTooLarge", decode_error),
        (&[22, 3, 1, 0, 0], "InvalidEmptyPayload", decode_error),
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0], "MissingData", decode_error),
        (&[22, 3, 1, 0, 4, 14, 0, 0, 0], "ServerHelloDone", unexpected),
        (&oversized, "HandshakePayloadTooLarge", decode_error),
        (
            &dripped,
            "handshake message needs more than 65535 bytes",
            decode_error,
        ),
        (&interleaved, "MessageInterleaved", unexpected),
    ] {
        for step in [WHOLE, 60_000, 7, 1] {
            let mut server = accept();
            let (error, outgoing) = feed_in_steps(&mut server, input, step);
            let error = error.expect(message).to_string();
            assert!(error.contains(message), "{error} instead of {message}");
            let (header, description) = outgoing.split_at(6);
            assert_eq!(
                (header[0], header[1], &header[3..]),
                (ALERT_RECORD, 3, &[0, 2, ALERT_FATAL][..])
            );
            assert_eq!(description, [u8::from(alert)], "{message}");
            assert_eq!(server.kept.capacity(), 0);
            assert!(matches!(
                server.feed(&mut [1], &mut Vec::new(), &mut Vec::new()),
                Err(TlsError::Ended)
            ));
        }
    }
}

#[test]
fn a_forged_record_ends_the_connection_after_the_data_before_it() {
    for version in VERSIONS {
        let mut pair = Pair::open(version, WHOLE);
        let mut input = pair.sealed_by_client(b"authentic");
        let mut forged = pair.sealed_by_client(b"forged");
        *forged.last_mut().unwrap() ^= 1;
        input.extend(forged);
        let (mut plaintext, mut outgoing) = (Vec::new(), Vec::new());
        let error = pair
            .server
            .feed(&mut input, &mut plaintext, &mut outgoing)
            .unwrap_err();
        assert!(matches!(error, TlsError::Protocol(rustls::Error::DecryptError)));
        assert_eq!(plaintext, b"authentic");
        let told = pair.deliver_to_client(&outgoing).unwrap_err();
        assert_eq!(told, rustls::Error::AlertReceived(AlertDescription::BadRecordMac));
        pair.assert_ended();
    }
}

#[test]
fn the_clients_close_notify_ends_the_input_only() {
    for version in VERSIONS {
        for step in [WHOLE, 1] {
            let mut pair = Pair::open(version, step);
            pair.client.writer().write_all(b"last words").unwrap();
            pair.client.send_close_notify();
            assert_eq!(pair.exchange().unwrap(), TlsState::PeerClosed);
            assert_eq!(pair.received, b"last words");
            pair.assert_nothing_kept();
            let state = pair
                .server
                .feed(&mut [1, 2, 3], &mut pair.received, &mut Vec::new());
            assert_eq!(state.unwrap(), TlsState::PeerClosed);
            assert_eq!(pair.received, b"last words");

            assert_eq!(pair.at_client(b"good bye"), b"good bye");
            pair.assert_close_reaches_client();
        }
    }
}

#[test]
fn close_sends_one_close_notify() {
    for version in VERSIONS {
        let mut pair = Pair::open(version, WHOLE);
        let mut partial = pair.sealed_by_client(b"never complete");
        partial.pop();
        pair.server
            .feed(&mut partial, &mut Vec::new(), &mut Vec::new())
            .unwrap();
        pair.assert_close_reaches_client();
        pair.assert_nothing_kept();
        // Not even garbage is looked at now.
        assert_eq!(
            pair.server
                .feed(&mut [0; 9], &mut Vec::new(), &mut Vec::new())
                .unwrap(),
            TlsState::PeerClosed
        );
    }
    let (mut server, mut outgoing) = (accept(), Vec::new());
    server.close(&mut outgoing);
    assert!(outgoing.is_empty());
    assert!(!server.is_handshaking());
}

#[test]
fn nothing_is_encrypted_before_the_handshake_is_over() {
    let mut pair = Pair::with(&TLS13, true, None, WHOLE);
    let mut outgoing = Vec::new();
    assert!(matches!(
        pair.server.encrypt(b"x", &mut outgoing),
        Err(TlsError::NotOpen)
    ));
    // The server could send by now, and does not know to whom.
    let mut hello = pair.client_output();
    pair.server
        .feed(&mut hello, &mut Vec::new(), &mut outgoing)
        .unwrap();
    let answer = outgoing.len();
    assert!(answer > 0);
    assert!(matches!(
        pair.server.encrypt(b"x", &mut outgoing),
        Err(TlsError::NotOpen)
    ));
    assert_eq!(outgoing.len(), answer);
}

#[test]
fn a_second_connection_resumes_the_first() {
    for version in VERSIONS {
        for client_certificate in [false, true] {
            let server = Arc::new(server_config(version, client_certificate));
            let client = Arc::new(client_config(version, client_certificate, None));
            for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let mut pair = Pair::of(Arc::clone(&server), &client, WHOLE);
                pair.handshake();
                assert_eq!(
                    pair.server.connection.handshake_kind(),
                    Some(expected),
                    "{version:?}"
                );
                assert_eq!(pair.server.peer_certificate().is_some(), client_certificate);
                assert_eq!(pair.at_client(b"data"), b"data");
            }
        }
    }
}

#[test]
fn keys_can_change_at_any_time() {
    for step in [WHOLE, 1] {
        let mut pair = Pair::open(&TLS13, step);
        for _ in 0..40 {
            pair.client.refresh_traffic_keys().unwrap();
            assert_eq!(pair.at_server(b"with new keys"), b"with new keys");
            assert_eq!(pair.at_client(b"answer"), b"answer");
            pair.assert_nothing_kept();
        }
    }
}

#[test]
fn a_key_update_may_come_in_two_records() {
    for step in [WHOLE, 7, 1] {
        let (mut server, mut forger) = forged();
        let first = forger.record(ContentType::Handshake, &[24, 0]);
        let mut second = forger.record(ContentType::Handshake, &[0, 1, 1]);
        let last = second.split_off(9);
        let (error, outgoing) = feed_in_steps(&mut server, &[first.clone(), second].concat(), step);
        assert!(error.is_none() && outgoing.is_empty());
        assert_eq!(
            (server.settled, server.kept.len()),
            (first.len(), first.len() + 9)
        );
        // Writing and closing work while rustls holds offsets into what is kept.
        let mut record = Vec::new();
        server.encrypt(b"data", &mut record).unwrap();
        let (error, _) = feed_in_steps(&mut server, &last, step);
        assert!(error.is_none());
        assert_eq!(server.kept.capacity(), 0);
        let mut answered = Vec::new();
        server.encrypt(b"data", &mut answered).unwrap();
        assert_eq!(
            answered.len(),
            record.len() + 27,
            "a key update goes before the data"
        );
    }
    let (mut server, mut forger) = forged();
    feed_in_steps(
        &mut server,
        &forger.record(ContentType::Handshake, &[24, 0]),
        WHOLE,
    );
    let mut outgoing = Vec::new();
    server.close(&mut outgoing);
    assert_eq!((outgoing.len(), server.kept.capacity()), (24, 0));
}

#[test]
fn authentic_misbehaviour_is_bounded() {
    let split = |message: &[u8]| message.chunks(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let endless = split(&[&[24, 0, 0xff, 0], &[0; 2000][..]].concat());
    for (kind, payloads, message, alert) in [
        (
            ContentType::Handshake,
            endless,
            "handshake message needs more than 18437 bytes",
            false,
        ),
        (
            ContentType::ApplicationData,
            vec![Vec::new(); 40],
            "TooManyEmptyFragments",
            false,
        ),
        (
            ContentType::Handshake,
            vec![vec![24, 0xff, 0xff, 0xff]],
            "HandshakePayloadTooLarge",
            false,
        ),
        (
            ContentType::Handshake,
            vec![vec![24, 0, 0, 1, 7]],
            "InvalidKeyUpdate",
            true,
        ),
        (ContentType::Handshake, vec![vec![20, 0, 0, 0]], "Finished", true),
        (
            ContentType::Alert,
            vec![vec![2, 80]],
            "client sent alert InternalError",
            false,
        ),
        (
            ContentType::Alert,
            vec![vec![1, 90]; 5],
            "TooManyWarningAlerts",
            false,
        ),
        (ContentType::ChangeCipherSpec, vec![vec![1]], "", true),
    ] {
        for step in [WHOLE, 100] {
            let (mut server, mut forger) = forged();
            let input: Vec<u8> = payloads
                .iter()
                .flat_map(|payload| forger.record(kind, payload))
                .collect();
            let (error, outgoing) = feed_in_steps(&mut server, &input, step);
            let error = error.expect(message).to_string();
            assert!(error.contains(message), "{error} instead of {message}");
            assert_eq!(outgoing.len(), if alert { 24 } else { 0 }, "{error}");
            assert!(server.encrypt(b"x", &mut Vec::new()).is_err());
            assert_eq!(server.kept.capacity(), 0);
        }
    }
}

#[test]
fn early_data_is_refused_by_configuration() {
    let mut config = server_config(&TLS13, false);
    config.max_early_data_size = 1024;
    assert!(matches!(Tls::accept(&Arc::new(config)), Err(TlsError::EarlyData)));
}

#[test]
fn a_tls_client_is_recognised() {
    let hello = Pair::with(&TLS13, false, None, WHOLE).client_output();
    assert!(looks_like_tls(&hello));
    for other in [
        &b""[..],
        b"\x16",
        b"\x10\x0e\0\x04MQTT",
        b"GET /",
        b"\x16\x04\x01",
    ] {
        assert!(!looks_like_tls(other), "{other:?}");
    }
}

#[test]
fn connections_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Tls>();
    assert_send::<TlsError>();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_never_panic(input in bytes(2000), step in 1usize..300) {
        survive(&mut accept(), &input, step);
    }

    #[test]
    fn random_records_never_panic(input in records(), step in 1usize..300) {
        survive(&mut accept(), &input, step);
    }

    #[test]
    fn a_damaged_client_hello_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        fragment in prop::option::of(32usize..200),
        step in 1usize..300,
    ) {
        for version in VERSIONS {
            let mut input = Pair::with(version, false, fragment, WHOLE).client_output();
            for (index, value) in &changes {
                *index.get_mut(&mut input) = *value;
            }
            survive(&mut accept(), &input, step);
        }
    }

    #[test]
    fn records_after_the_handshake_never_panic(input in records(), authentic: bool, step in 1usize..300) {
        for version in VERSIONS {
            let mut pair = Pair::open(version, WHOLE);
            let mut stream = if authentic { pair.sealed_by_client(b"data") } else { Vec::new() };
            stream.extend(&input);
            survive(&mut pair.server, &stream, step);
        }
    }

    #[test]
    fn random_cuts_change_nothing(cuts in prop::collection::vec(1usize..20_000, 1..20)) {
        let data = pattern(100_000);
        let mut pair = Pair::open(&TLS13, WHOLE);
        let mut stream = pair.sealed_by_client(&data);
        let (mut rest, mut plaintext) = (&mut stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (head, tail) = rest.split_at_mut((*cut).min(rest.len()));
            pair.server.feed(head, &mut plaintext, &mut Vec::new()).unwrap();
            prop_assert!(pair.server.kept.len() < RECORD_CIPHERTEXT_MAX);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(plaintext == data);
        pair.assert_nothing_kept();
    }
}

/// A client of rustls and a server of ours, without a network.
struct Pair {
    client: ClientConnection,
    server: Tls,
    /// Most bytes that the server is fed at once.
    step: usize,
    /// Plaintext that has arrived at the server.
    received: Vec<u8>,
}

/// Who has refused to go on, and why.
#[derive(Debug)]
enum Failure {
    /// With what the client makes of the alert.
    Server(Box<(TlsError, Option<rustls::Error>)>),
    Client(#[allow(dead_code, reason = "shown when a test fails")] rustls::Error),
}

impl Pair {
    fn of(server: Arc<ServerConfig>, client: &Arc<ClientConfig>, step: usize) -> Pair {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        client.set_buffer_limit(None);
        Pair {
            client,
            server: Tls::accept(&server).unwrap(),
            step,
            received: Vec::new(),
        }
    }

    fn with(
        version: &'static SupportedProtocolVersion,
        client_certificate: bool,
        fragment: Option<usize>,
        step: usize,
    ) -> Pair {
        let client = client_config(version, client_certificate, fragment);
        Pair::of(
            Arc::new(server_config(version, client_certificate)),
            &Arc::new(client),
            step,
        )
    }

    fn open(version: &'static SupportedProtocolVersion, step: usize) -> Pair {
        let mut pair = Pair::with(version, false, None, step);
        pair.handshake();
        pair
    }

    fn handshake(&mut self) {
        while self.client.is_handshaking() || self.client.wants_write() {
            self.exchange().unwrap();
        }
        assert!(!self.server.is_handshaking());
        self.assert_nothing_kept();
    }

    fn failing_handshake(&mut self) -> (TlsError, Option<rustls::Error>) {
        for _ in 0..10 {
            if let Err(Failure::Server(errors)) = self.exchange() {
                return *errors;
            }
        }
        panic!("the server has accepted the client");
    }

    /// Everything that the client has to send, and the answers.
    fn exchange(&mut self) -> Result<TlsState, Failure> {
        let mut ciphertext = self.client_output();
        let (mut outgoing, mut state) = (Vec::new(), TlsState::Handshaking);
        for piece in ciphertext.chunks_mut(self.step) {
            match self.server.feed(piece, &mut self.received, &mut outgoing) {
                Ok(new) => {
                    state = new;
                    assert_eq!(state == TlsState::Handshaking, self.server.is_handshaking());
                    assert!(state != TlsState::Handshaking || self.server.peer_certificate().is_none());
                }
                Err(error) => {
                    let told = self.deliver_to_client(&outgoing).err();
                    return Err(Failure::Server(Box::new((error, told))));
                }
            }
        }
        self.deliver_to_client(&outgoing).map_err(Failure::Client)?;
        Ok(state)
    }

    fn deliver_to_client(&mut self, mut ciphertext: &[u8]) -> Result<(), rustls::Error> {
        while !ciphertext.is_empty() {
            if self.client.read_tls(&mut ciphertext).unwrap() == 0 {
                break;
            }
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    fn client_output(&mut self) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut ciphertext).unwrap();
        }
        ciphertext
    }

    fn sealed_by_client(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        self.client_output()
    }

    /// Sends `data` to the server; what arrives there.
    fn at_server(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        assert_eq!(self.exchange().unwrap(), TlsState::Open);
        std::mem::take(&mut self.received)
    }

    /// Sends `data` to the client; what arrives there.
    fn at_client(&mut self, data: &[u8]) -> Vec<u8> {
        let (mut ciphertext, mut arrived) = (Vec::new(), Vec::new());
        self.server.encrypt(data, &mut ciphertext).unwrap();
        for piece in ciphertext.chunks(4096) {
            self.deliver_to_client(piece).unwrap();
            match self.client.reader().read_to_end(&mut arrived) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => panic!("{other:?}"),
            }
        }
        arrived
    }

    fn assert_close_reaches_client(&mut self) {
        let mut outgoing = Vec::new();
        self.server.close(&mut outgoing);
        self.deliver_to_client(&outgoing).unwrap();
        assert_eq!(self.client.reader().read(&mut [0; 1]).unwrap(), 0, "end of data");
        let length = outgoing.len();
        self.server.close(&mut outgoing);
        assert!(matches!(
            self.server.encrypt(b"x", &mut outgoing),
            Err(TlsError::Ended)
        ));
        assert_eq!(outgoing.len(), length);
    }

    fn assert_nothing_kept(&self) {
        assert_eq!((self.server.kept.capacity(), self.server.settled), (0, 0));
    }

    fn assert_ended(&mut self) {
        let mut outgoing = Vec::new();
        assert!(matches!(
            self.server.feed(&mut [0; 9], &mut Vec::new(), &mut outgoing),
            Err(TlsError::Ended)
        ));
        assert!(matches!(
            self.server.encrypt(b"x", &mut outgoing),
            Err(TlsError::Ended)
        ));
        self.server.close(&mut outgoing);
        assert!(outgoing.is_empty());
        self.assert_nothing_kept();
    }
}

/// Makes authentic records that no client of rustls would send.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: payload.into(),
        };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap().encode();
        self.sequence += 1;
        record
    }
}

/// An open server, and its client in the wrong hands.
fn forged() -> (Tls, Forger) {
    let mut client = client_config(&TLS13, false, None);
    client.enable_secret_extraction = true;
    let mut pair = Pair::of(Arc::new(server_config(&TLS13, false)), &Arc::new(client), WHOLE);
    pair.handshake();
    let suite = pair.client.negotiated_cipher_suite().unwrap().tls13().unwrap();
    let (sequence, secrets) = pair.client.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("another cipher suite")
    };
    (
        pair.server,
        Forger {
            encrypter: suite.aead_alg.encrypter(key, iv),
            sequence,
        },
    )
}

fn accept() -> Tls {
    static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
        Arc::new(
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&VERSIONS)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(PKI.server.chain(), PKI.server.key())
                .unwrap(),
        )
    });
    Tls::accept(&CONFIG).unwrap()
}

fn feed_in_steps(server: &mut Tls, input: &[u8], step: usize) -> (Option<TlsError>, Vec<u8>) {
    let (mut input, mut plaintext, mut outgoing) = (input.to_vec(), Vec::new(), Vec::new());
    for piece in input.chunks_mut(step) {
        if let Err(error) = server.feed(piece, &mut plaintext, &mut outgoing) {
            return (Some(error), outgoing);
        }
        assert!(server.kept.len() < HANDSHAKE_KEPT_MAX + RECORD_CIPHERTEXT_MAX);
    }
    (None, outgoing)
}

/// Whatever the input does, the rest of the interface stays usable.
fn survive(server: &mut Tls, input: &[u8], step: usize) {
    let (error, mut outgoing) = feed_in_steps(server, input, step);
    let ended = matches!(
        server.feed(&mut [], &mut Vec::new(), &mut outgoing),
        Err(TlsError::Ended)
    );
    assert_eq!(ended, error.is_some());
    let encrypted = server.encrypt(b"data", &mut outgoing);
    assert!(!(ended && encrypted.is_ok()));
    server.close(&mut outgoing);
    assert_eq!(server.kept.capacity(), 0);
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Well-formed headers of every record type around anything, handshake messages in pieces among them.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let record = (20u8..25, 0u8..5, bytes(80)).prop_map(|(kind, minor, body)| {
        let mut record = vec![kind, 3, minor, 0, u8::try_from(body.len()).unwrap()];
        record.extend(body);
        record
    });
    let handshake = (0u32..300, 0usize..300).prop_map(|(length, sent)| fragmented_handshake(length, sent));
    prop::collection::vec(prop_oneof![record, handshake], 0..12).prop_map(|records| records.concat())
}

/// The first `sent` bytes of a ClientHello of `length` bytes (its own header not counted), one in each
/// record.
fn fragmented_handshake(length: u32, sent: usize) -> Vec<u8> {
    let [_, high, middle, low] = length.to_be_bytes();
    let message = [1, high, middle, low].into_iter().chain(std::iter::repeat(0));
    message
        .take(sent)
        .flat_map(|byte| [HANDSHAKE_RECORD, 3, 1, 0, 1, byte])
        .collect()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

type Authority = CertifiedIssuer<'static, KeyPair>;

struct Pki {
    authority: Authority,
    server: Identity,
    client: Identity,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let authority = authority("authority");
    let (server, client) = (
        Identity::issued_by(&authority, "localhost"),
        Identity::issued_by(&authority, "client"),
    );
    Pki {
        authority,
        server,
        client,
    }
});

struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    fn issued_by(authority: &Authority, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, authority).unwrap().der().clone();
        Identity { certificate, key }
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    Arc::new(roots)
}

fn server_config(version: &'static SupportedProtocolVersion, client_certificate: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = if client_certificate {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&PKI.authority), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(PKI.server.chain(), PKI.server.key())
        .unwrap()
}

fn client_config(
    version: &'static SupportedProtocolVersion,
    client_certificate: bool,
    fragment: Option<usize>,
) -> ClientConfig {
    client_config_with(version, client_certificate.then_some(&PKI.client), fragment)
}

fn client_config_with(
    version: &'static SupportedProtocolVersion,
    identity: Option<&Identity>,
    fragment: Option<usize>,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(&PKI.authority));
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain(), identity.key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.max_fragment_size = fragment;
    config
}
