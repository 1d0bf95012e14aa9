//! From words to bytes.

use komar_codec::{
    AckProperties, Auth, AuthProperties, Connect, ConnectProperties, Disconnect, DisconnectProperties,
    EncodeError, Packet, PacketIdentifier, PayloadFormat, ProtocolVersion, PubAck, PubComp, PubRec, PubRel,
    Publish, PublishProperties, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilters,
    SubscriptionIdentifiers, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, UserProperties, Will,
    WillProperties,
};

use super::say::{code, plain_code};
use super::token::{FLAGS, value};

/// The version of that name: `v3.1`, `v3` or `v3.1.1`, `v5`.
pub fn version(word: &str) -> Option<ProtocolVersion> {
    match word {
        "v3.1" => Some(ProtocolVersion::V3_1),
        "v3" | "v3.1.1" => Some(ProtocolVersion::V3_1_1),
        "v5" => Some(ProtocolVersion::V5),
        _ => None,
    }
}

/// Words sorted into those that stand alone and those with a name. What was used is taken out.
struct Fields {
    alone: std::collections::VecDeque<String>,
    named: Vec<(String, Vec<u8>)>,
}

impl Fields {
    fn new(words: &[String]) -> Result<Fields, String> {
        let mut fields = Fields {
            alone: Default::default(),
            named: Vec::new(),
        };
        for word in words {
            if FLAGS.contains(&word.as_str()) {
                fields.named.push((word.clone(), Vec::new()));
                continue;
            }
            match word.split_once('=') {
                Some((name, text))
                    if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty() =>
                {
                    fields.named.push((name.to_owned(), value(text)?));
                }
                _ => fields.alone.push_back(word.clone()),
            }
        }
        Ok(fields)
    }

    fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.alone.pop_front().map(|word| value(&word)).transpose()
    }

    fn next_text(&mut self, what: &str) -> Result<String, String> {
        text(self.next_bytes()?.ok_or_else(|| format!("no {what}"))?)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let place = self.named.iter().position(|(found, _)| found == name)?;
        Some(self.named.remove(place).1)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.bytes(name).map(text).transpose()
    }

    fn number<T: core::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{name}={text} is not a number that fits"))
    }

    fn qos(&mut self, name: &str) -> Result<QoS, String> {
        let number = self.number(name)?.unwrap_or(0);
        QoS::from_u8(number).ok_or_else(|| format!("no QoS: {number}"))
    }

    fn identifier(&mut self) -> Result<Option<PacketIdentifier>, String> {
        let Some(number) = self.number("id")? else {
            return Ok(None);
        };
        PacketIdentifier::new(number)
            .map(Some)
            .ok_or_else(|| "id=0 needs raw bytes".to_owned())
    }

    /// Repeatable `name=key:value`.
    fn pairs(&mut self, name: &str) -> Result<Vec<(String, String)>, String> {
        let mut pairs = Vec::new();
        while let Some(pair) = self.text(name)? {
            let (key, value) = pair
                .split_once(':')
                .ok_or_else(|| format!("no key:value: {pair}"))?;
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(pairs)
    }

    fn reason(&mut self) -> Result<ReasonCode, String> {
        self.alone
            .pop_front()
            .map_or(Ok(ReasonCode::Success), |word| reason(&word))
    }

    /// `size=N` or the quoted payload.
    fn payload(&mut self) -> Result<Vec<u8>, String> {
        match self.number("size")? {
            Some(size) => Ok(vec![b'x'; size]),
            None => Ok(self.next_bytes()?.unwrap_or_default()),
        }
    }

    fn finish(self) -> Result<(), String> {
        match (self.alone.front(), self.named.first()) {
            (None, None) => Ok(()),
            (Some(word), _) => Err(format!("what is {word}?")),
            (None, Some((name, _))) => Err(format!("what is {name}?")),
        }
    }
}

/// Appends one packet.
pub(super) fn packet(version: ProtocolVersion, words: &[String], out: &mut Vec<u8>) -> Result<(), String> {
    let (name, rest) = words.split_first().ok_or("no packet")?;
    match name.as_str() {
        "raw" => return raw(rest, out),
        "subscribe" => return subscribe(version, rest, out),
        _ => {}
    }
    let mut fields = Fields::new(rest)?;
    match name.as_str() {
        "connect" => connect(&mut fields, out)?,
        "publish" => publish(version, &mut fields, out)?,
        "puback" | "pubrec" | "pubrel" | "pubcomp" => acknowledgement(version, name, &mut fields, out)?,
        "unsubscribe" => unsubscribe(version, &mut fields, out)?,
        "suback" => suback(version, &mut fields, out)?,
        "pingreq" => encoded(Packet::PingReq.encode(version, out))?,
        "pingresp" => encoded(Packet::PingResp.encode(version, out))?,
        "disconnect" => disconnect(version, &mut fields, out)?,
        "auth" => auth(version, &mut fields, out)?,
        _ => return Err(format!("no packet is called {name}")),
    }
    fields.finish()
}

fn connect(fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let name = fields.next_text("version")?;
    let version = version(&name).ok_or_else(|| format!("no version: {name}"))?;
    let (client_id, username) = (fields.text("id")?.unwrap_or_default(), fields.text("user")?);
    let password = fields.bytes("password");
    let (properties, will_properties) = (fields.pairs("prop")?, fields.pairs("will_prop")?);
    let (properties, will_properties) = (borrowed(&properties), borrowed(&will_properties));
    let (method, data) = (fields.text("method")?, fields.bytes("data"));
    let will_topic = fields.text("will")?;
    let will_payload = match fields.number("will_size")? {
        Some(size) => vec![b'x'; size],
        None => fields.bytes("will_payload").unwrap_or_default(),
    };
    let will = match &will_topic {
        None => None,
        Some(topic_name) => Some(Will {
            topic_name,
            payload: &will_payload,
            qos: fields.qos("will_qos")?,
            retain: fields.flag("will_retain"),
            properties: WillProperties {
                will_delay_interval: fields.number("will_delay")?,
                message_expiry_interval: fields.number("will_expiry")?,
                payload_format_indicator: fields.number::<u8>("will_format")?.map(payload_format),
                user_properties: UserProperties::from_pairs(&will_properties),
                ..WillProperties::default()
            },
        }),
    };
    let packet = Connect {
        version,
        bridge: fields.flag("bridge"),
        clean_start: fields.flag("clean"),
        keep_alive: fields.number("keep")?.unwrap_or(0),
        client_id: &client_id,
        username: username.as_deref(),
        password: password.as_deref(),
        will,
        properties: ConnectProperties {
            session_expiry_interval: fields.number("expiry")?,
            receive_maximum: fields.number("receive_maximum")?,
            maximum_packet_size: fields.number("maximum_packet_size")?,
            topic_alias_maximum: fields.number("alias_maximum")?,
            request_response_information: fields
                .number::<u8>("response_information")?
                .map(|number| number != 0),
            request_problem_information: fields.number::<u8>("problems")?.map(|number| number != 0),
            user_properties: UserProperties::from_pairs(&properties),
            authentication_method: method.as_deref(),
            authentication_data: data.as_deref(),
        },
    };
    encoded(packet.encode(version, out))
}

fn publish(version: ProtocolVersion, fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let topic_name = fields.next_text("topic")?;
    let payload = fields.payload()?;
    let pairs = fields.pairs("prop")?;
    let (pairs, mut identifiers) = (borrowed(&pairs), Vec::new());
    while let Some(identifier) = fields.number("sid")? {
        identifiers.push(identifier);
    }
    let (content_type, response_topic) = (fields.text("type")?, fields.text("response")?);
    let correlation_data = fields.bytes("correlation");
    let format = fields.number::<u8>("format")?;
    let packet = Publish {
        dup: fields.flag("dup"),
        qos: fields.qos("qos")?,
        retain: fields.flag("retain"),
        topic_name: &topic_name,
        packet_identifier: fields.identifier()?,
        properties: PublishProperties {
            payload_format_indicator: format.map(payload_format),
            message_expiry_interval: fields.number("expiry")?,
            topic_alias: fields.number("alias")?,
            response_topic: response_topic.as_deref(),
            correlation_data: correlation_data.as_deref(),
            content_type: content_type.as_deref(),
            subscription_identifiers: SubscriptionIdentifiers::from_slice(&identifiers),
            user_properties: UserProperties::from_pairs(&pairs),
            ..PublishProperties::default()
        },
        payload: &payload,
    };
    encoded(packet.encode(version, out))
}

fn payload_format(number: u8) -> PayloadFormat {
    match number {
        0 => PayloadFormat::Unspecified,
        _ => PayloadFormat::Utf8,
    }
}

fn acknowledgement(
    version: ProtocolVersion,
    name: &str,
    fields: &mut Fields,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let identifier = fields.identifier()?.ok_or("no id")?;
    let reason_code = fields.reason()?;
    encoded(match name {
        "puback" => PubAck::new(identifier, reason_code).encode(version, out),
        "pubrec" => PubRec::new(identifier, reason_code).encode(version, out),
        "pubrel" => PubRel::new(identifier, reason_code).encode(version, out),
        _ => PubComp::new(identifier, reason_code).encode(version, out),
    })
}

/// Options belong to the filter before them.
fn subscribe(version: ProtocolVersion, words: &[String], out: &mut Vec<u8>) -> Result<(), String> {
    let is_filter = |word: &String| {
        !FLAGS.contains(&word.as_str())
            && !["id=", "sid=", "qos=", "handling="]
                .iter()
                .any(|name| word.starts_with(name))
    };
    let first = words.iter().position(is_filter).unwrap_or(words.len());
    let (head, mut rest) = words.split_at(first);
    let mut head = Fields::new(head)?;
    let mut filters = Vec::new();
    while let Some((filter, after)) = rest.split_first() {
        let end = after.iter().position(is_filter).unwrap_or(after.len());
        let (options, next) = after.split_at(end);
        let mut options = Fields::new(options)?;
        let handling: u8 = options.number("handling")?.unwrap_or(0);
        filters.push((
            text(value(filter)?)?,
            SubscriptionOptions {
                maximum_qos: options.qos("qos")?,
                no_local: options.flag("no_local"),
                retain_as_published: options.flag("as_published"),
                retain_handling: match handling {
                    0 => RetainHandling::SendAtSubscribe,
                    1 => RetainHandling::SendIfNew,
                    2 => RetainHandling::DoNotSend,
                    _ => return Err(format!("no retain handling: {handling}")),
                },
            },
        ));
        options.finish()?;
        rest = next;
    }
    let filters: Vec<(&str, SubscriptionOptions)> = filters
        .iter()
        .map(|(filter, options)| (filter.as_str(), *options))
        .collect();
    let packet = Subscribe {
        packet_identifier: head.identifier()?.ok_or("no id")?,
        subscription_identifier: head.number("sid")?,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_slice(&filters),
    };
    head.finish()?;
    encoded(packet.encode(version, out))
}

fn unsubscribe(version: ProtocolVersion, fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let mut filters = Vec::new();
    while let Some(filter) = fields.next_bytes()? {
        filters.push(text(filter)?);
    }
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let packet = Unsubscribe {
        packet_identifier: fields.identifier()?.ok_or("no id")?,
        user_properties: UserProperties::default(),
        filters: UnsubscribeFilters::from_slice(&filters),
    };
    encoded(packet.encode(version, out))
}

/// For what a client must not send.
fn suback(version: ProtocolVersion, fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let packet_identifier = fields.identifier()?.ok_or("no id")?;
    let codes = [fields.reason()?];
    let packet = SubAck {
        packet_identifier,
        reason_codes: komar_codec::ReasonCodes::from_codes(&codes),
        properties: AckProperties::default(),
    };
    encoded(packet.encode(version, out))
}

fn disconnect(version: ProtocolVersion, fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let packet = Disconnect {
        reason_code: fields.reason()?,
        properties: DisconnectProperties {
            session_expiry_interval: fields.number("expiry")?,
            ..DisconnectProperties::default()
        },
    };
    encoded(packet.encode(version, out))
}

fn auth(version: ProtocolVersion, fields: &mut Fields, out: &mut Vec<u8>) -> Result<(), String> {
    let (reason_code, method) = (fields.reason()?, fields.text("method")?);
    let data = fields.bytes("data");
    let packet = Auth {
        reason_code,
        properties: AuthProperties {
            authentication_method: method.as_deref(),
            authentication_data: data.as_deref(),
            ..AuthProperties::default()
        },
    };
    encoded(packet.encode(version, out))
}

fn raw(words: &[String], out: &mut Vec<u8>) -> Result<(), String> {
    for word in words {
        // `61*5` is five times the byte 61.
        let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(digits, 16).map_err(|_| format!("no byte: {word}"))?;
        let count: usize = count.parse().map_err(|_| format!("no count: {word}"))?;
        out.extend(core::iter::repeat_n(byte, count));
    }
    Ok(())
}

fn reason(word: &str) -> Result<ReasonCode, String> {
    let word = plain_code(word);
    ReasonCode::ALL
        .iter()
        .copied()
        .find(|known| code(*known) == word)
        .ok_or_else(|| format!("no reason code: {word}"))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}; it needs raw bytes"))
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn encoded(result: Result<(), EncodeError>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}
