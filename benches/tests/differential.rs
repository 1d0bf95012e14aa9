//! What other codecs make of the packets of komar-codec's tables, and of some that its generators make: the same, or there
//! is a line in `data/differences.txt` that says why not. A line that nothing needs any more is a failure too.
//!
//! A packet that both accept is compared twice: by the checksums of the benchmarks, and by all its fields, as far as the
//! other codec can express them: it writes what it has read, and komar-codec reads that.

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/komar-codec/tests/common/generate.rs"]
mod generate;
mod rewrite;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use komar_benches::codec::{Decoder, of_packet};
use komar_benches::peers::{
    MqttbytesV4, MqttbytesV5, NtexV3, NtexV5, RmqttV3, RmqttV5, RumqttcV4, RumqttcV5,
};
use komar_codec::{DecodeOptions, Framing, Packet, PacketType, ProtocolVersion, Role, frame};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const VALID: &str = include_str!("../../crates/komar-codec/tests/data/valid.txt");
const MALFORMED: &str = include_str!("../../crates/komar-codec/tests/data/malformed.txt");
const DIFFERENCES: &str = include_str!("data/differences.txt");

/// Columns of a table, without comments.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('|').map(str::trim).collect())
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}

/// The name of the error, or the checksum of the packet.
fn ours(bytes: &[u8], version: ProtocolVersion, receiver: Role) -> Result<u64, String> {
    let options = DecodeOptions::new(version, receiver);
    let error = match frame(bytes, &options) {
        Ok(Framing::Complete(whole)) => match Packet::decode(whole, &options) {
            Ok(packet) => return Ok(of_packet(&packet)),
            Err(error) => error,
        },
        Ok(Framing::Incomplete { .. }) => return Err("Incomplete".into()),
        Err(error) => error,
    };
    let name = format!("{:?}", error.kind());
    Err(name.split(['(', ' ']).next().unwrap().into())
}

/// The checksum of the packet; `Err` with how it was refused.
fn theirs<D: Decoder>(bytes: &[u8]) -> Result<u64, &'static str> {
    match catch_unwind(AssertUnwindSafe(|| D::default().next(&mut D::buffer(bytes)))) {
        Ok(Some(sum)) => Ok(sum),
        Ok(None) => Err("refuses"),
        Err(_) => Err("panics"),
    }
}

/// Name, decoder, and decoder with encoder.
type Peer = (
    &'static str,
    fn(&[u8]) -> Result<u64, &'static str>,
    fn(&[u8]) -> Option<Vec<u8>>,
);

const V3: [Peer; 4] = [
    ("rumqttc", theirs::<RumqttcV4>, rewrite::rumqttc_v4),
    ("mqttbytes", theirs::<MqttbytesV4>, rewrite::mqttbytes_v4),
    ("ntex-mqtt", theirs::<NtexV3>, rewrite::ntex_v3),
    ("rmqtt-codec", theirs::<RmqttV3>, rewrite::rmqtt_v3),
];
const V5: [Peer; 4] = [
    ("rumqttc", theirs::<RumqttcV5<false>>, rewrite::rumqttc_v5),
    ("mqttbytes", theirs::<MqttbytesV5<false>>, rewrite::mqttbytes_v5),
    ("ntex-mqtt", theirs::<NtexV5<false>>, rewrite::ntex_v5),
    ("rmqtt-codec", theirs::<RmqttV5<false>>, rewrite::rmqtt_v5),
];

/// The fields that are not what they were after the other codec has written the packet, or why there are none.
fn differences(bytes: &[u8], rewrite: fn(&[u8]) -> Option<Vec<u8>>, options: &DecodeOptions) -> Vec<String> {
    let Ok(Framing::Complete(whole)) = frame(bytes, options) else {
        return Vec::new();
    };
    let Ok(ours) = Packet::decode(whole, options) else {
        return Vec::new();
    };
    let written = match catch_unwind(AssertUnwindSafe(|| rewrite(bytes))) {
        Ok(Some(written)) => written,
        Ok(None) => return vec!["does not write it".into()],
        Err(_) => return vec!["panics when it writes it".into()],
    };
    let theirs = match frame(&written, options) {
        Ok(Framing::Complete(whole)) => Packet::decode(whole, options),
        Ok(Framing::Incomplete { .. }) => return vec!["writes half of it".into()],
        Err(error) => Err(error),
    };
    let theirs = match theirs {
        Ok(theirs) if theirs == ours => return Vec::new(),
        Ok(theirs) => fields(&theirs),
        Err(error) => return vec![format!("writes what is refused: {:?}", error.kind())],
    };
    let ours = fields(&ours);
    let names = ours.keys().chain(theirs.keys());
    let differing: std::collections::BTreeSet<&String> = names
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .collect();
    if differing.is_empty() {
        // Passwords and Authentication Data, which are not shown.
        return vec!["writes:secret".into()];
    }
    differing
        .into_iter()
        .map(|name| format!("writes:{name}"))
        .collect()
}

/// Every field of a packet with what it holds, out of its debug output; without how many bytes it was read from.
fn fields(packet: &Packet<'_>) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let shown = format!("{packet:#?}");
    for line in shown.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let mut value = text;
        if let Some((name, rest)) = text.split_once(": ")
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            path.retain(|outer| outer.0 < indent);
            path.push((indent, name));
            value = rest;
        }
        let names: Vec<&str> = path.iter().map(|outer| outer.1).collect();
        if names.last() == Some(&"received") {
            continue;
        }
        fields.entry(names.join(".")).or_default().push_str(value);
    }
    fields
}

/// A checksum that says more than which packet it is of, and the adapters of the benchmarks have it too.
fn is_compared(packet_type: PacketType, version: ProtocolVersion) -> bool {
    match packet_type {
        PacketType::Connect => version == ProtocolVersion::V5,
        PacketType::Disconnect | PacketType::Auth => false,
        _ => packet_type.may_be_sent_to(Role::Server, version),
    }
}

/// What was seen of one packet, by codec, version, packet type, what we do and what they do.
#[derive(Default)]
struct Seen {
    found: BTreeMap<[String; 5], Vec<String>>,
    agreed: usize,
    rewritten: usize,
}

impl Seen {
    fn show(&mut self, bytes: &[u8], version: ProtocolVersion, receiver: Role) {
        let (name, peers) = match version {
            // They have one decoder for both.
            ProtocolVersion::V3_1 => ("3.1", V3),
            ProtocolVersion::V3_1_1 => ("3.1.1", V3),
            ProtocolVersion::V5 => ("5", V5),
        };
        let Some(packet_type) = PacketType::from_u8(bytes[0] >> 4) else {
            return;
        };
        let ours = ours(bytes, version, receiver);
        let options = DecodeOptions::new(version, receiver);
        for (peer, decode, rewrite) in peers {
            let theirs = decode(bytes);
            let key =
                |we: &str, they: &str| [peer, name, &format!("{packet_type:?}"), we, they].map(str::to_owned);
            if ours.is_ok() && theirs.is_ok() {
                self.rewritten += 1;
                for difference in differences(bytes, rewrite, &options) {
                    self.note(key("accept", &difference), bytes);
                }
            }
            let (we, they) = match (&ours, &theirs) {
                (Ok(_), Ok(_)) if !is_compared(packet_type, version) => ("", ""),
                (Ok(ours), Ok(theirs)) if ours == theirs => ("", ""),
                (Ok(_), Ok(_)) => ("accept", "reads something else"),
                (Ok(_), Err(how)) => ("accept", *how),
                (Err(kind), Ok(_)) => (kind.as_str(), "accepts"),
                (Err(kind), Err("panics")) => (kind.as_str(), "panics"),
                (Err(_), Err(_)) => ("", ""),
            };
            if we.is_empty() {
                self.agreed += 1;
            } else {
                self.note(key(we, they), bytes);
            }
        }
    }

    /// The beginning is enough to find a packet by.
    fn note(&mut self, key: [String; 5], bytes: &[u8]) {
        let shown: String = bytes.iter().take(200).map(|byte| format!("{byte:02x}")).collect();
        self.found.entry(key).or_default().push(shown);
    }
}

/// Packets that were generated for a version: the same in every run.
fn generated(version: ProtocolVersion, count: usize) -> Vec<(Vec<u8>, PacketType)> {
    let mut runner = TestRunner::deterministic();
    let strategy = generate::packet(version);
    let mut packets = Vec::new();
    while packets.len() < count {
        let packet = strategy.new_tree(&mut runner).unwrap().current();
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        // What is longer is longer by its payload, which all of them share or copy.
        if bytes.len() < 100_000 {
            packets.push((bytes, packet.packet_type()));
        }
    }
    packets
}

#[test]
fn every_difference_is_explained() {
    // A peer that panics is a result, not a message.
    std::panic::set_hook(Box::new(|_| {}));
    let mut seen = Seen::default();
    for row in rows(VALID).chain(rows(MALFORMED)) {
        let version = match row[1] {
            "3.1" => ProtocolVersion::V3_1,
            "3.1.1" => ProtocolVersion::V3_1_1,
            "5" => ProtocolVersion::V5,
            other => panic!("version {other}"),
        };
        let receivers: &[Role] = match row[2] {
            "c2s" => &[Role::Server],
            "s2c" => &[Role::Client],
            "both" => &[Role::Server, Role::Client],
            other => panic!("direction {other}"),
        };
        for receiver in receivers {
            seen.show(&unhex(row[0]), version, *receiver);
        }
    }
    let from_tables = seen.agreed;
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        for (bytes, packet_type) in generated(version, 1000) {
            for receiver in [Role::Server, Role::Client] {
                if packet_type.may_be_sent_to(receiver, version) {
                    seen.show(&bytes, version, receiver);
                }
            }
        }
    }
    let Seen {
        found,
        agreed,
        rewritten,
    } = seen;
    drop(std::panic::take_hook());
    let known: Vec<Vec<&str>> = rows(DIFFERENCES).collect();
    let mut unused: Vec<_> = known.iter().collect();
    let mut unexplained = Vec::new();
    for (key, packets) in &found {
        // "*" stands for every peer, version or packet type.
        let covers = |line: &Vec<&str>| {
            assert!(line.len() == 6 && !line[5].is_empty(), "{line:?} has no reason");
            (0..5)
                .all(|n| line[n] == "*" || line[n].split(' ').any(|word| word == key[n]) || line[n] == key[n])
        };
        if !known.iter().any(covers) {
            unexplained.push(format!("{} | {}", key.join(" | "), packets.join(" ")));
        }
        unused.retain(|line| !covers(line));
    }
    assert!(unexplained.is_empty(), "unexplained:\n{}", unexplained.join("\n"));
    assert!(unused.is_empty(), "nothing needs {unused:?}");
    let from_generators = agreed - from_tables;
    assert!(
        from_tables > 500 && from_generators > 500 && rewritten > 400,
        "{from_tables}, {from_generators}, {rewritten}"
    );
}
