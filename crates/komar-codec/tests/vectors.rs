//! `data/vectors.json`: what many programs and the specifications make of each packet.
//!
//! `expect` is one result or a list of those that are acceptable; `packet` is the meaning. Topic Filters are none of the
//! codec's business: komar-topic is asked about those of a SUBSCRIBE or UNSUBSCRIBE, as a server asks it, so that every vector
//! holds without an exception. Of one with a `state` the codec may say that it is a packet: what is wrong with it depends on
//! what came before.

#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use komar_codec::{
    DecodeError, DecodeOptions, ErrorClass, Framing, OwnedPacket, Packet, PacketType, PayloadFormat,
    ProtocolVersion, PublishProperties, QoS, Role, UserProperties, Utf8Policy, Will, frame,
};
use komar_topic::SubscriptionFilter;
use serde_json::{Map, Value, json};

#[test]
fn every_vector_holds() {
    let file: Value = serde_json::from_str(include_str!("data/vectors.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 316);
    let mut failures = Vec::new();
    for vector in vectors {
        for role in roles(vector) {
            for utf8 in [Utf8Policy::Permissive, Utf8Policy::Strict] {
                if let Err(failure) = check(vector, role, utf8) {
                    failures.push(format!("{} {role:?} {utf8:?}: {failure}", vector["id"]));
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        vectors.len(),
        failures.join("\n")
    );
}

fn check(vector: &Value, role: Role, utf8: Utf8Policy) -> Result<(), String> {
    let bytes = unhex(vector["hex"].as_str().unwrap());
    let mut options = DecodeOptions::new(version(vector), role);
    options.utf8 = utf8;
    expect_same_when_owned(&bytes, &options)?;
    let acceptable = acceptable(vector);
    let framing = match frame(&bytes, &options) {
        Ok(framing) => framing,
        Err(error) => {
            return expect_class(class(&error), &acceptable).map_err(|why| format!("{why} ({error})"));
        }
    };
    let Framing::Complete(whole) = framing else {
        return expect_class("incomplete", &acceptable);
    };
    let packet = match Packet::decode(whole, &options) {
        Ok(packet) => packet,
        Err(error) => {
            return expect_class(class(&error), &acceptable).map_err(|why| format!("{why} ({error})"));
        }
    };
    expect_same_when_written(&packet, &options)?;
    if let Some(class) = class_of_filters(&packet, options.version) {
        return expect_class(class, &acceptable);
    }
    expect_class("ok", &acceptable)?;
    expect_packet(vector, &packet, options.version)
}

/// The results that a vector allows.
fn acceptable(vector: &Value) -> Vec<&str> {
    let mut acceptable: Vec<&str> = match &vector["expect"] {
        Value::String(one) => vec![one],
        list => list
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect(),
    };
    if vector.get("state").is_some() {
        acceptable.push("ok");
    }
    acceptable
}

/// The result in the words of the vectors, which have none for a version that is not spoken or a packet that is too large:
/// either is refused, and [`expect_class`] takes it for whichever refusal is expected.
fn class(error: &DecodeError) -> &'static str {
    match error.class() {
        ErrorClass::Malformed => "malformed",
        ErrorClass::ProtocolError => "protocol-error",
        ErrorClass::TooLarge | ErrorClass::UnsupportedVersion => "refused",
        other => panic!("class {other:?}"),
    }
}

fn expect_class(class: &str, acceptable: &[&str]) -> Result<(), String> {
    let is_expected = acceptable.contains(&class)
        || class == "refused"
            && (acceptable.contains(&"malformed") || acceptable.contains(&"protocol-error"));
    if is_expected {
        Ok(())
    } else {
        Err(format!("{class}, not {acceptable:?}"))
    }
}

/// What a server that asks komar-topic finds wrong with the Topic Filters, if anything.
fn class_of_filters(packet: &Packet<'_>, version: ProtocolVersion) -> Option<&'static str> {
    let mut classes = Vec::new();
    match packet {
        Packet::Subscribe(subscribe) => {
            for (text, options) in subscribe.filters {
                classes.push(class_of_filter(text, options.no_local));
            }
        }
        Packet::Unsubscribe(unsubscribe) => {
            for text in unsubscribe.filters {
                classes.push(class_of_filter(text, false));
            }
        }
        _ => {}
    }
    // The first one ends the packet. 3.x has one class.
    let class = classes.into_iter().flatten().next()?;
    Some(if version == ProtocolVersion::V5 {
        class
    } else {
        "malformed"
    })
}

fn class_of_filter(text: &str, no_local: bool) -> Option<&'static str> {
    match SubscriptionFilter::parse(text) {
        // v5 [MQTT-3.8.3-4]
        Ok(SubscriptionFilter::Shared(_)) if no_local => Some("protocol-error"),
        Ok(_) => None,
        Err(error) if error.is_shared() => Some("protocol-error"),
        Err(_) => Some("malformed"),
    }
}

/// What the vectors at hand do not have, but what others like them may.
#[test]
fn what_no_vector_has_is_judged_too() {
    let check = |hex: &str, ver: &str, expect: Value, state: Option<&str>| {
        let mut vector = json!({"id": "made up", "ver": ver, "dir": "c2s", "hex": hex, "expect": expect});
        if let Some(state) = state {
            vector["state"] = json!(state);
        }
        check(&vector, Role::Server, Utf8Policy::Permissive)
    };
    let either = || json!(["malformed", "protocol-error"]);
    // An empty Client Identifier without Clean Session; a Topic Alias that nobody knows.
    for (hex, ver) in [
        ("100c00044d5154540400003c0000", "3.1.1"),
        ("300700000323000568", "5.0"),
    ] {
        check(hex, ver, either(), Some("above the codec")).unwrap();
        check(hex, ver, either(), None).unwrap_err();
    }
    // A level that is not spoken, and a known level under the other name.
    for hex in [
        "100e00044d5154540602003c00000163",
        "101000064d51497364700402003c00000163",
    ] {
        for expect in [json!("malformed"), json!("protocol-error"), either()] {
            check(hex, "5.0", expect, None).unwrap();
        }
        check(hex, "5.0", json!("ok"), None).unwrap_err();
        check(hex, "5.0", json!("incomplete"), None).unwrap_err();
    }
    for (filter, no_local, class) in [
        ("a#", false, "malformed"),
        ("a/#/b", false, "malformed"),
        ("+a", false, "malformed"),
        ("", false, "malformed"),
        ("$share", false, "protocol-error"),
        ("$share/g", false, "protocol-error"),
        ("$share/g/", false, "protocol-error"),
        ("$share//a", false, "protocol-error"),
        ("$share/+/a", false, "protocol-error"),
        ("$share/g/a#", false, "malformed"),
        ("$share/g/a", true, "protocol-error"),
        ("$share/g/a", false, "ok"),
        ("a", true, "ok"),
    ] {
        for (ver, class) in [
            ("5.0", class),
            ("3.1.1", if class == "ok" { "ok" } else { "malformed" }),
        ] {
            let is_v5 = ver == "5.0";
            if no_local && !is_v5 {
                continue;
            }
            let identifier: &[u8] = if is_v5 { b"\0\x0a\0" } else { b"\0\x0a" };
            let length = u16::try_from(filter.len()).unwrap().to_be_bytes();
            let unsubscribe = [identifier, &length, filter.as_bytes()].concat();
            let subscribe = [&unsubscribe[..], &[u8::from(no_local) << 2]].concat();
            for (first, body) in [("82", subscribe), ("a2", unsubscribe)] {
                let class = if first == "a2" && no_local { "ok" } else { class };
                let packet = format!("{first}{:02x}{}", body.len(), hex(&body));
                check(&packet, ver, json!(class), None).unwrap_or_else(|why| panic!("{filter}: {why}"));
            }
        }
    }
}

/// What is read is written with the same meaning.
fn expect_same_when_written(packet: &Packet<'_>, options: &DecodeOptions) -> Result<(), String> {
    let mut bytes = Vec::new();
    packet
        .encode(options.version, &mut bytes)
        .map_err(|error| error.to_string())?;
    match frame(&bytes, options).map(|framing| match framing {
        Framing::Complete(whole) => Packet::decode(whole, options),
        Framing::Incomplete { needed } => panic!("{needed} bytes more needed"),
    }) {
        Ok(Ok(again)) if again == *packet => Ok(()),
        other => Err(format!("written and read again: {other:?}")),
    }
}

/// The owned packet is the borrowed one, or has its error.
fn expect_same_when_owned(bytes: &[u8], options: &DecodeOptions) -> Result<(), String> {
    let borrowed = frame(bytes, options).and_then(|framing| match framing {
        Framing::Complete(whole) => Packet::decode(whole, options).map(Some),
        Framing::Incomplete { .. } => Ok(None),
    });
    let owned = OwnedPacket::split_from(&mut BytesMut::from(bytes), options);
    let found = owned
        .as_ref()
        .map(|owned| owned.as_ref().map(OwnedPacket::get))
        .map_err(|error| *error);
    if found == borrowed {
        Ok(())
    } else {
        Err(format!("owned {found:?}, borrowed {borrowed:?}"))
    }
}

fn expect_packet(vector: &Value, packet: &Packet<'_>, version: ProtocolVersion) -> Result<(), String> {
    let Some(expected) = vector.get("packet") else {
        return Ok(());
    };
    let mut meaning = meaning(packet, version);
    if expected.get("payload").is_none() {
        meaning.remove("payload");
    }
    if let Some(length) = expected.get("payload_length") {
        let Packet::Publish(publish) = packet else {
            return Err("payload_length of no PUBLISH".into());
        };
        if length != publish.payload.len() {
            return Err(format!("payload of {} bytes", publish.payload.len()));
        }
        meaning.insert("payload_length".into(), length.clone());
    }
    if expected.as_object().unwrap() == &meaning {
        Ok(())
    } else {
        Err(format!("{meaning:?}\n   not {expected:?}"))
    }
}

/// The packet in the words of the vectors. Those that none of the vectors at hand has are made after the others:
/// `request_problem_information`, `maximum_qos`, `retain_available`, `response_information`, `authentication_data`,
/// `will_delay` and most of a Will's, and a single Subscription Identifier of a PUBLISH as a list.
fn meaning(packet: &Packet<'_>, version: ProtocolVersion) -> Map<String, Value> {
    let is_v5 = version == ProtocolVersion::V5;
    let mut map = Map::new();
    let mut properties = Map::new();
    let mut set = |key: &str, value: Value| {
        map.insert(key.into(), value);
    };
    match packet {
        Packet::Connect(packet) => {
            set("type", json!("CONNECT"));
            set("level", json!(packet.version.protocol_level()));
            set("clean", json!(packet.clean_start));
            set("keep_alive", json!(packet.keep_alive));
            set("client_id", json!(packet.client_id));
            packet.username.inspect(|username| set("user", json!(username)));
            packet
                .password
                .inspect(|password| set("password", json!(hex(password))));
            packet
                .will
                .as_ref()
                .inspect(|will| set("will", will_meaning(will)));
            let from = &packet.properties;
            put(&mut properties, "session_expiry", from.session_expiry_interval);
            put(
                &mut properties,
                "receive_maximum",
                from.receive_maximum.map(|value| value.get()),
            );
            put(
                &mut properties,
                "maximum_packet_size",
                from.maximum_packet_size.map(|value| value.get()),
            );
            put(&mut properties, "topic_alias_maximum", from.topic_alias_maximum);
            put(
                &mut properties,
                "request_response_information",
                from.request_response_information.map(u8::from),
            );
            put(
                &mut properties,
                "request_problem_information",
                from.request_problem_information.map(u8::from),
            );
            put(
                &mut properties,
                "authentication_method",
                from.authentication_method,
            );
            put(
                &mut properties,
                "authentication_data",
                from.authentication_data.map(hex),
            );
            put_user(&mut properties, &from.user_properties);
        }
        Packet::ConnAck(packet) => {
            set("type", json!("CONNACK"));
            set("session_present", json!(packet.session_present));
            let code = packet.reason_code;
            set(
                "code",
                json!(if is_v5 {
                    code.as_u8()
                } else {
                    code.to_v3_connect_return_code()
                }),
            );
            let from = &packet.properties;
            put(&mut properties, "session_expiry", from.session_expiry_interval);
            put(
                &mut properties,
                "receive_maximum",
                from.receive_maximum.map(|value| value.get()),
            );
            put(&mut properties, "maximum_qos", from.maximum_qos.map(QoS::as_u8));
            put(
                &mut properties,
                "retain_available",
                from.retain_available.map(u8::from),
            );
            put(
                &mut properties,
                "maximum_packet_size",
                from.maximum_packet_size.map(|value| value.get()),
            );
            put(
                &mut properties,
                "assigned_client_id",
                from.assigned_client_identifier,
            );
            put(&mut properties, "topic_alias_maximum", from.topic_alias_maximum);
            put(&mut properties, "reason_string", from.reason_string);
            put(
                &mut properties,
                "wildcard_available",
                from.wildcard_subscription_available.map(u8::from),
            );
            put(
                &mut properties,
                "subscription_ids_available",
                from.subscription_identifiers_available.map(u8::from),
            );
            put(
                &mut properties,
                "shared_available",
                from.shared_subscription_available.map(u8::from),
            );
            put(&mut properties, "server_keep_alive", from.server_keep_alive);
            put(&mut properties, "response_information", from.response_information);
            put(&mut properties, "server_reference", from.server_reference);
            put(
                &mut properties,
                "authentication_method",
                from.authentication_method,
            );
            put(
                &mut properties,
                "authentication_data",
                from.authentication_data.map(hex),
            );
            put_user(&mut properties, &from.user_properties);
        }
        Packet::Publish(packet) => {
            set("type", json!("PUBLISH"));
            set("topic", json!(packet.topic_name));
            set("qos", json!(packet.qos.as_u8()));
            set("dup", json!(packet.dup));
            set("retain", json!(packet.retain));
            packet
                .packet_identifier
                .inspect(|identifier| set("packet_id", json!(identifier.get())));
            set("payload", json!(hex(packet.payload)));
            publish_properties(&packet.properties, &mut properties);
        }
        Packet::PubAck(packet) => {
            set("type", json!("PUBACK"));
            set("packet_id", json!(packet.packet_identifier.get()));
            if is_v5 {
                set("code", json!(packet.reason_code.as_u8()));
            }
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::PubRec(packet) => {
            set("type", json!("PUBREC"));
            set("packet_id", json!(packet.packet_identifier.get()));
            if is_v5 {
                set("code", json!(packet.reason_code.as_u8()));
            }
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::PubRel(packet) => {
            set("type", json!("PUBREL"));
            set("packet_id", json!(packet.packet_identifier.get()));
            if is_v5 {
                set("code", json!(packet.reason_code.as_u8()));
            }
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::PubComp(packet) => {
            set("type", json!("PUBCOMP"));
            set("packet_id", json!(packet.packet_identifier.get()));
            if is_v5 {
                set("code", json!(packet.reason_code.as_u8()));
            }
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::Subscribe(packet) => {
            set("type", json!("SUBSCRIBE"));
            set("packet_id", json!(packet.packet_identifier.get()));
            let filters: Vec<Value> = packet
                .filters
                .iter()
                .map(|(filter, options)| {
                    let qos = options.maximum_qos.as_u8();
                    if !is_v5 {
                        return json!({"filter": filter, "qos": qos});
                    }
                    json!({
                        "filter": filter, "qos": qos, "no_local": options.no_local,
                        "retain_as_published": options.retain_as_published,
                        "retain_handling": options.retain_handling as u8,
                    })
                })
                .collect();
            set("filters", json!(filters));
            put(
                &mut properties,
                "subscription_identifier",
                packet.subscription_identifier,
            );
            put_user(&mut properties, &packet.user_properties);
        }
        Packet::SubAck(packet) => {
            set("type", json!("SUBACK"));
            set("packet_id", json!(packet.packet_identifier.get()));
            set(
                "codes",
                json!(
                    packet
                        .reason_codes
                        .iter()
                        .map(|code| code.as_u8())
                        .collect::<Vec<_>>()
                ),
            );
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::Unsubscribe(packet) => {
            set("type", json!("UNSUBSCRIBE"));
            set("packet_id", json!(packet.packet_identifier.get()));
            set("filters", json!(packet.filters.iter().collect::<Vec<_>>()));
            put_user(&mut properties, &packet.user_properties);
        }
        Packet::UnsubAck(packet) => {
            set("type", json!("UNSUBACK"));
            set("packet_id", json!(packet.packet_identifier.get()));
            if is_v5 {
                let codes = packet.reason_codes.iter().map(|code| code.as_u8());
                set("codes", json!(codes.collect::<Vec<_>>()));
            }
            put(&mut properties, "reason_string", packet.properties.reason_string);
            put_user(&mut properties, &packet.properties.user_properties);
        }
        Packet::PingReq => set("type", json!("PINGREQ")),
        Packet::PingResp => set("type", json!("PINGRESP")),
        Packet::Disconnect(packet) => {
            set("type", json!("DISCONNECT"));
            if is_v5 {
                set("code", json!(packet.reason_code.as_u8()));
            }
            let from = &packet.properties;
            put(&mut properties, "session_expiry", from.session_expiry_interval);
            put(&mut properties, "reason_string", from.reason_string);
            put(&mut properties, "server_reference", from.server_reference);
            put_user(&mut properties, &from.user_properties);
        }
        Packet::Auth(packet) => {
            set("type", json!("AUTH"));
            set("code", json!(packet.reason_code.as_u8()));
            let from = &packet.properties;
            put(
                &mut properties,
                "authentication_method",
                from.authentication_method,
            );
            put(
                &mut properties,
                "authentication_data",
                from.authentication_data.map(hex),
            );
            put(&mut properties, "reason_string", from.reason_string);
            put_user(&mut properties, &from.user_properties);
        }
    }
    if !properties.is_empty() {
        map.insert("properties".into(), properties.into());
    }
    map
}

fn publish_properties(from: &PublishProperties<'_>, to: &mut Map<String, Value>) {
    put(
        to,
        "payload_format",
        from.payload_format_indicator.map(format_number),
    );
    put(to, "message_expiry", from.message_expiry_interval);
    put(to, "topic_alias", from.topic_alias.map(|alias| alias.get()));
    put(to, "response_topic", from.response_topic);
    put(to, "correlation_data", from.correlation_data.map(hex));
    put(to, "content_type", from.content_type);
    if !from.subscription_identifiers.is_empty() {
        let identifiers: Vec<u32> = from.subscription_identifiers.iter().collect();
        to.insert("subscription_identifier".into(), json!(identifiers));
    }
    put_user(to, &from.user_properties);
}

fn will_meaning(will: &Will<'_>) -> Value {
    let mut map = Map::new();
    map.insert("topic".into(), json!(will.topic_name));
    map.insert("payload".into(), json!(hex(will.payload)));
    map.insert("qos".into(), json!(will.qos.as_u8()));
    map.insert("retain".into(), json!(will.retain));
    let mut properties = Map::new();
    let from = &will.properties;
    put(&mut properties, "will_delay", from.will_delay_interval);
    put(
        &mut properties,
        "payload_format",
        from.payload_format_indicator.map(format_number),
    );
    put(&mut properties, "message_expiry", from.message_expiry_interval);
    put(&mut properties, "response_topic", from.response_topic);
    put(
        &mut properties,
        "correlation_data",
        from.correlation_data.map(hex),
    );
    put(&mut properties, "content_type", from.content_type);
    put_user(&mut properties, &from.user_properties);
    if !properties.is_empty() {
        map.insert("properties".into(), properties.into());
    }
    map.into()
}

fn format_number(format: PayloadFormat) -> u8 {
    u8::from(format == PayloadFormat::Utf8)
}

fn put<T: Into<Value>>(map: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        map.insert(key.into(), value.into());
    }
}

fn put_user(map: &mut Map<String, Value>, properties: &UserProperties<'_>) {
    if !properties.is_empty() {
        let pairs: Vec<[&str; 2]> = properties.iter().map(|(name, value)| [name, value]).collect();
        map.insert("user_property".into(), json!(pairs));
    }
}

fn version(vector: &Value) -> ProtocolVersion {
    match vector["ver"].as_str().unwrap() {
        "3.1" => ProtocolVersion::V3_1,
        "3.1.1" => ProtocolVersion::V3_1_1,
        "5.0" => ProtocolVersion::V5,
        other => panic!("version {other}"),
    }
}

/// Who receives. Beginnings of packets are given for both sides, but where only one may receive such a packet the other does
/// not wait for the rest: it refuses the fixed header.
fn roles(vector: &Value) -> Vec<Role> {
    match vector["dir"].as_str().unwrap() {
        "c2s" => vec![Role::Server],
        "s2c" => vec![Role::Client],
        "both" => [Role::Server, Role::Client]
            .into_iter()
            .filter(|role| vector["expect"] != "incomplete" || may_receive(*role, vector))
            .collect(),
        other => panic!("direction {other}"),
    }
}

fn may_receive(role: Role, vector: &Value) -> bool {
    let first = unhex(vector["hex"].as_str().unwrap()).first().copied();
    first
        .and_then(|first| PacketType::from_u8(first >> 4))
        .is_none_or(|packet_type| packet_type.may_be_sent_to(role, version(vector)))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
