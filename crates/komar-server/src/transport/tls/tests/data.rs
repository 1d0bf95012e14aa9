//! Plaintext in both directions, however it is cut, and changes of keys on the way.

use super::*;

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
