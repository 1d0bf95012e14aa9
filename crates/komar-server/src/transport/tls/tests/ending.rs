//! How a connection ends: alerts, forgeries, misbehaviour, and in order.

use super::*;

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
