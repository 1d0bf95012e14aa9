//! Bytes that nobody planned: no panic, and nothing but bounded memory.

use proptest::prelude::*;

use super::*;

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
