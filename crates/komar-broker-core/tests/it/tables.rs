//! Violations and refusals: each line of a table is a conversation of one packet.

use std::fmt::Write as _;
use std::sync::Arc;

use komar_broker_core::{Access, BrokerConfig, LinkState, ListenerPolicy, ReasonCodes};
use komar_codec::ProtocolVersion;
use komar_testkit::{PeerId, Reading, Site, words};

/// What a client must not send, `data/violations.txt`.
#[test]
fn violations() {
    check("violations.txt", |fields| {
        let [_, packet, v5, v3] = fields else {
            return Err("four columns".to_owned());
        };
        for reading in [Reading::Whole, Reading::ByteByByte] {
            for (version, expected) in [(ProtocolVersion::V5, *v5), (ProtocolVersion::V3_1_1, *v3)] {
                if expected != "-" {
                    violation(reading, &BrokerConfig::default(), version, packet, expected)?;
                }
            }
        }
        Ok(())
    });
}

/// What 5.0 is told with Mosquitto's Reason Codes where they differ, `data/mosquitto_codes.txt`.
#[test]
fn mosquitto_codes() {
    let mut config = BrokerConfig::default();
    config.reason_codes = ReasonCodes::Mosquitto;
    check("mosquitto_codes.txt", |fields| {
        let [_, packet, expected] = fields else {
            return Err("three columns".to_owned());
        };
        for reading in [Reading::Whole, Reading::ByteByByte] {
            if packet.starts_with("raw 10") {
                refusal(reading, &config, ProtocolVersion::V5, packet, expected)?;
            } else {
                violation(reading, &config, ProtocolVersion::V5, packet, expected)?;
            }
        }
        Ok(())
    });
}

/// CONNECT packets that are refused, `data/refusals.txt`.
#[test]
fn refusals() {
    check("refusals.txt", |fields| {
        let [_, packet, version, expected] = fields else {
            return Err("four columns".to_owned());
        };
        let version = words::version(version).ok_or("no version")?;
        for reading in [Reading::Whole, Reading::ByteByByte] {
            refusal(reading, &BrokerConfig::default(), version, packet, expected)?;
        }
        Ok(())
    });
}

fn violation(
    reading: Reading,
    config: &BrokerConfig,
    version: ProtocolVersion,
    packet: &str,
    expected: &str,
) -> Result<(), String> {
    let (mut site, peer) = open(reading, config);
    let word = if version == ProtocolVersion::V5 {
        "v5"
    } else {
        "v3"
    };
    site.send(
        peer,
        &words::encode(version, &format!("connect {word} id=a clean"))?,
    );
    site.settle();
    expect(&mut site, peer, version, "connack success ...")?;
    site.send(peer, &words::encode(version, packet)?);
    site.send(peer, &words::encode(version, "pingreq")?);
    site.settle();
    if expected == "ok" {
        expect(&mut site, peer, version, "pingresp")?;
        return if site.is_closed(peer) {
            Err("it is closed".to_owned())
        } else {
            Ok(())
        };
    }
    if expected != "closed" {
        expect(&mut site, peer, version, &format!("disconnect {expected}"))?;
    }
    closed(&mut site, peer, version)
}

fn refusal(
    reading: Reading,
    config: &BrokerConfig,
    version: ProtocolVersion,
    packet: &str,
    expected: &str,
) -> Result<(), String> {
    let (mut site, peer) = open(reading, config);
    site.send(peer, &words::encode(version, packet)?);
    site.settle();
    if expected != "nothing" {
        expect(&mut site, peer, version, expected)?;
    }
    if expected.starts_with("connack success") {
        let figures = site.broker().statistics();
        return if figures.connected == 1 {
            Ok(())
        } else {
            Err("it is not connected".to_owned())
        };
    }
    // v5 [MQTT-3.2.2-7], v3 [MQTT-3.2.2-5], v5 [MQTT-3.14.0-1]
    closed(&mut site, peer, version)
}

fn open(reading: Reading, config: &BrokerConfig) -> (Site, PeerId) {
    let mut site = Site::new(config.clone(), Access::allow_all(), 1);
    site.set_reading(reading);
    let peer = site.open(0, &Arc::new(ListenerPolicy::default()));
    (site, peer)
}

fn expect(site: &mut Site, peer: PeerId, version: ProtocolVersion, expected: &str) -> Result<(), String> {
    match site.next_packet(peer, version)? {
        Some(came) if came.matches(expected)? => Ok(()),
        Some(came) => Err(format!("{version:?}: expected: {expected}, came: {came}")),
        None => Err(format!("{version:?}: expected: {expected}, came: nothing")),
    }
}

/// Closed, without another word, and nothing is left of it.
fn closed(site: &mut Site, peer: PeerId, version: ProtocolVersion) -> Result<(), String> {
    if let Some(came) = site.next_packet(peer, version)? {
        return Err(format!("{version:?}: expected: the end, came: {came}"));
    }
    let figures = site.broker().statistics();
    let is_over = site.is_closed(peer) && site.link_state(peer) == LinkState::Closing;
    if is_over && figures.connected == 0 && figures.sessions == 0 {
        Ok(())
    } else {
        Err(format!(
            "{version:?}: expected: the end, came: {:?}, {figures:?}",
            site.link_state(peer)
        ))
    }
}

/// Runs a check for every line of a table, and says which lines failed.
pub(crate) fn check(file: &str, mut line_check: impl FnMut(&[&str]) -> Result<(), String>) {
    let path = format!("{}/tests/it/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut lines, mut failures) = (0, String::new());
    for (index, line) in text.lines().enumerate() {
        let line = words::comment_start(line).map_or(line, |place| &line[..place]);
        if line.trim().is_empty() {
            continue;
        }
        lines += 1;
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        if let Err(error) = line_check(&fields) {
            // Writing to a String does not fail.
            let _ = writeln!(failures, "{file}:{}: {}\n    {error}", index + 1, line.trim());
        }
    }
    assert!(lines > 0, "{file} is empty");
    assert!(failures.is_empty(), "of {lines} lines these failed:\n{failures}");
}
