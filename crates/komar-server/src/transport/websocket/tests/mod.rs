//! Frames against a table, and against themselves cut anywhere.

use proptest::prelude::*;

use super::*;

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: broker.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn accept() -> WebSocket {
    WebSocket::accept(&Arc::new(Settings {
        origins: Vec::new(),
        maximum_head: 4096,
    }))
}

fn open() -> WebSocket {
    let mut socket = accept();
    let fed = socket.feed(&mut REQUEST.as_bytes().to_vec(), &mut Vec::new());
    assert!(fed.end.is_none() && socket.is_open());
    socket
}

/// What comes out of a conversation: the payload, what was sent, how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    payload: Vec<u8>,
    sent: Vec<u8>,
    end: Option<End>,
}

/// Feeds the bytes in pieces of these lengths, again and again. Pings are answered at the end.
fn converse(mut socket: WebSocket, bytes: &[u8], lengths: &[usize]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = (*lengths.next().unwrap()).clamp(1, rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        let mut piece = piece.to_vec();
        let fed = socket.feed(&mut piece, &mut outcome.sent);
        outcome.payload.extend_from_slice(&piece[fed.payload]);
        if fed.end.is_some() {
            assert!(outcome.end.is_none(), "it ends once");
            outcome.end = fed.end;
        }
    }
    socket.answer_ping(&mut outcome.sent);
    outcome
}

/// A frame as a client sends it: opcode and FIN in the first byte, masked.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// Reads a frame as a server sends it: its first byte and its payload.
fn unmasked(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, header) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
        length => (usize::from(length), 2),
    };
    let (frame, rest) = bytes.split_at(header + length);
    (bytes[0], &frame[header..], rest)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn frames_do_what_the_table_says() {
    for line in include_str!("frames.txt").lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [frames, payload, sent, error] =
            cells.try_into().unwrap_or_else(|_| panic!("four cells: {line}"));
        let mut outcomes = Vec::new();
        for lengths in [[usize::MAX], [1], [3]] {
            outcomes.push(converse(open(), &hex(frames), &lengths));
        }
        let [outcome, by_one, by_three] = outcomes.try_into().unwrap();
        assert_eq!(outcome, by_one, "{line}");
        assert_eq!(outcome, by_three, "{line}");
        assert_eq!(outcome.payload, hex(payload), "payload: {line}");
        assert_eq!(outcome.sent, hex(sent), "sent: {line}");
        let end = outcome.end.map_or(String::new(), |end| match end {
            End::Failed(error) => format!("{error:?}"),
            other => format!("{other:?}"),
        });
        assert_eq!(end, error, "end: {line}");
    }
}

#[test]
fn a_frame_behind_the_request_is_read() {
    let mut bytes = REQUEST.as_bytes().to_vec();
    bytes.extend(masked(0x82, b"CONNECT"));
    let outcome = converse(accept(), &bytes, &[usize::MAX]);
    assert_eq!(outcome.payload, b"CONNECT");
    assert!(outcome.sent.starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn a_head_without_an_end_is_refused_at_its_limit() {
    let mut bytes = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
    bytes.resize(100_000, b'x');
    let outcome = converse(accept(), &bytes, &[1000]);
    assert_eq!(
        outcome.end,
        Some(End::Refused(UpgradeError::HeadTooLarge { limit: 4096 }))
    );
    assert!(outcome.sent.starts_with(b"HTTP/1.1 431 "));
}

#[test]
fn of_many_pings_the_last_is_answered() {
    let bytes: Vec<u8> = (0..=255).flat_map(|number| masked(0x89, &[number])).collect();
    assert_eq!(converse(open(), &bytes, &[100]).sent, [0x8a, 1, 255]);
}

#[test]
fn nothing_is_sent_after_a_close_frame() {
    let mut socket = open();
    socket.feed(&mut masked(0x89, b"?"), &mut Vec::new());
    let mut sent = Vec::new();
    socket.close(&mut sent);
    socket.close(&mut sent);
    socket.answer_ping(&mut sent);
    let fed = socket.feed(&mut masked(0x82, b"more"), &mut sent);
    assert!(fed.payload.is_empty() && fed.end.is_none());
    assert_eq!(sent, [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn our_frames_can_be_read() {
    for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 200_000] {
        let mut bytes = Vec::new();
        open().begin_frame(length, &mut bytes);
        bytes.resize(bytes.len() + length, 7);
        let (first, payload, rest) = unmasked(&bytes);
        assert_eq!((first, payload.len(), rest.len()), (0x82, length, 0), "{length}");
    }
}

/// The lengths at which the encoding changes, and small ones.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..40usize, 1 => 120..135usize, 1 => 0xfff0..0x1_0010usize];
    length.prop_map(|length| (0..length).map(|number| (number * 7 + length) as u8).collect())
}

fn message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let parts = prop::collection::vec(
        (
            payload(),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..125)),
        ),
        1..4,
    );
    parts.prop_map(|parts| {
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        let last = parts.len() - 1;
        for (number, (payload, ping)) in parts.into_iter().enumerate() {
            let opcode = if number == 0 { 2 } else { 0 };
            let fin = if number == last { 0x80 } else { 0 };
            bytes.extend(masked(fin | opcode, &payload));
            all.extend(payload);
            // Control frames may stand between the fragments of a message.
            if let Some(ping) = ping {
                bytes.extend(masked(0x8a, &ping));
            }
        }
        (bytes, all)
    })
}

proptest! {
    #[test]
    fn payload_is_the_same_however_the_bytes_are_cut(
        messages in prop::collection::vec(message(), 1..5),
        lengths in prop::collection::vec(prop_oneof![1..8usize, 1..40_000usize], 1..6),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let payload: Vec<u8> = messages.iter().flat_map(|(_, payload)| payload.clone()).collect();
        let outcome = converse(open(), &bytes, &lengths);
        prop_assert!(outcome.payload == payload);
        prop_assert_eq!(outcome.end, None);
        prop_assert!(outcome.sent.is_empty());
    }

    #[test]
    fn any_bytes_have_one_outcome_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![Just(0x82u8), Just(0x80), Just(0x02), Just(0x89), Just(0x81), any::<u8>()], 0..200),
        lengths in prop::collection::vec(1..20usize, 1..6),
    ) {
        prop_assert_eq!(converse(open(), &bytes, &lengths), converse(open(), &bytes, &[usize::MAX]));
    }

    #[test]
    fn any_request_has_one_outcome_however_it_is_cut(
        at in 0..REQUEST.len(),
        byte in any::<u8>(),
        lengths in prop::collection::vec(1..60usize, 1..6),
    ) {
        let mut bytes = REQUEST.as_bytes().to_vec();
        bytes[at] = byte;
        prop_assert_eq!(converse(accept(), &bytes, &lengths), converse(accept(), &bytes, &[usize::MAX]));
    }
}
