//! Who is let in, what is negotiated, and what those are told who are not.

use super::*;

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
fn nothing_in_common_is_told_with_what_is_offered() {
    let of_one_suite = |suite, version| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|offered| offered.suite() == suite);
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&PKI.authority))
            .with_no_client_auth()
    };
    // The broker's key is ECDSA.
    let rsa = CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384;
    let ecdsa = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    for (server, suite, message, alert) in [
        (
            &TLS13,
            ecdsa,
            "client and listener have no TLS version in common; it offers TLSv1.2 with ECDHE-ECDSA-AES128-GCM-SHA256",
            AlertDescription::ProtocolVersion,
        ),
        (
            &TLS12,
            rsa,
            "client and listener have no cipher suite in common; it offers TLSv1.2 with ECDHE-RSA-AES256-GCM-SHA384",
            AlertDescription::HandshakeFailure,
        ),
    ] {
        for step in [WHOLE, 7, 1] {
            let client = Arc::new(of_one_suite(suite, &TLS12));
            let mut pair = Pair::of(Arc::new(server_config(server, false)), &client, step);
            let (server_error, client_error) = pair.failing_handshake();
            assert_eq!(server_error.to_string(), message);
            assert_eq!(client_error, Some(rustls::Error::AlertReceived(alert)));
        }
    }
}

#[test]
fn what_is_not_a_handshake_gets_an_alert() {
    let oversized = fragmented_handshake(0xff_ffff, 4);
    let dripped = fragmented_handshake(0xfff0, 12_000);
    let long = [
        &[22, 3, 1, 0x40, 0, 1, 0, 0x60, 0][..],
        &[0; 0x3ffc],
        &[22, 3, 1, 0x20, 4],
        &[0; 0x2004],
    ]
    .concat();
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
            "handshake message needs more than 16384 bytes",
            decode_error,
        ),
        // As long as it is, it would be a message that is allowed.
        (
            &long,
            "handshake message needs more than 16384 bytes",
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
