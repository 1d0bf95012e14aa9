//! Packets as words: `publish sport/tennis "40:15" qos=1 id=7 retain`.
//!
//! A packet is its name, then what stands alone (topic, payload, filters, reason codes), then flags and `name=value`.
//! What has its default is left out. Payloads are quoted; `\n`, `\"`, `\\` and `\x00` are escapes. `size=5000` stands for
//! a payload of that many `x`. Reason codes are their names (`not_authorized`) or numbers (`0x87`).
//!
//! | packet | alone | named |
//! | --- | --- | --- |
//! | `connect` | version (`v3.1`, `v3`, `v5`) | `id` `clean` `keep` `user` `password` `bridge` `will` (topic) `will_payload` `will_size` `will_qos` `will_retain` `will_delay` `will_expiry` `will_format` `will_prop` `expiry` `receive_maximum` `maximum_packet_size` `alias_maximum` `method` `data` `problems` `response_information` `prop` |
//! | `connack` | reason | `session_present` `assigned` `expiry` `keep` and the limits |
//! | `publish` | topic, payload | `qos` `id` `retain` `dup` `alias` `expiry` `format` `type` `response` `correlation` `sid` `prop` `size` |
//! | `puback` `pubrec` `pubrel` `pubcomp` | reason | `id` |
//! | `subscribe` | filters, each followed by its `qos` `no_local` `as_published` `handling` | `id` `sid` |
//! | `suback` `unsuback` | reasons | `id` |
//! | `unsubscribe` | filters | `id` |
//! | `pingreq` `pingresp` | | |
//! | `disconnect` | reason | `expiry` |
//! | `auth` | reason | `method` `data` |

mod encode;
mod say;
mod token;

use core::fmt;

use komar_codec::{DecodeError, DecodeOptions, Frame, Packet, ProtocolVersion};

pub use encode::version;
pub use token::{comment_start, split, value};

/// Encodes one packet, or several with ` + ` between them. `raw 10 00` is bytes as they are.
///
/// # Errors
///
/// Words that are no packet.
pub fn encode(version: ProtocolVersion, text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for words in split(text)?.split(|word| word == "+") {
        encode::packet(version, words, &mut bytes)?;
    }
    Ok(bytes)
}

/// A packet that was received, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    words: Vec<String>,
    answer: Option<String>,
}

impl Said {
    /// Puts a packet into words.
    ///
    /// # Errors
    ///
    /// The frame holds no packet that its sender may send.
    pub fn of(frame: Frame<'_>, options: &DecodeOptions) -> Result<Said, DecodeError> {
        let packet = Packet::decode(frame, options)?;
        Ok(Said {
            words: say::words(&packet),
            answer: say::answer(&packet),
        })
    }

    /// The packet's name.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What a receiver has to answer, in words: PUBACK, PUBREC or PUBCOMP.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref()
    }

    /// Whether it is the packet that is expected. The order of named values does not matter, except of those with the
    /// same name; `name=?` stands for any value; `...` at the end allows what is not mentioned.
    ///
    /// # Errors
    ///
    /// The expectation cannot be read.
    pub fn matches(&self, expected: &str) -> Result<bool, String> {
        let mut expected = split(expected)?;
        let open = expected.last().is_some_and(|last| last == "...");
        if open {
            expected.pop();
        }
        let mut left: Vec<&str> = self.words.iter().map(String::as_str).collect();
        for word in &expected {
            let word = say::plain_code(word);
            let wanted = |candidate: &&str| match word.strip_suffix("=?") {
                Some(name) => candidate
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('=')),
                None => **candidate == *word,
            };
            let Some(place) = left.iter().position(wanted) else {
                return Ok(false);
            };
            left.remove(place);
        }
        let in_order = order(&self.words, &expected);
        Ok(in_order && (open || left.is_empty()))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// Whether words of one name (or none) come in the same order in both.
fn order(actual: &[String], expected: &[String]) -> bool {
    let name = |word: &str| {
        word.split_once('=')
            .map(|(name, _)| name.to_owned())
            .unwrap_or_default()
    };
    let mut rest = actual.to_vec();
    for word in expected {
        if word.ends_with("=?") {
            continue;
        }
        let word = say::plain_code(word);
        let key = name(&word);
        let is_flag = token::FLAGS.contains(&&*word);
        // Everything of that name before the expected one is passed over and must not be expected later.
        let Some(place) = rest.iter().position(|candidate| *candidate == *word) else {
            return false;
        };
        if !is_flag {
            let mut index = 0;
            rest.retain(|candidate| {
                let before =
                    index < place && name(candidate) == key && !token::FLAGS.contains(&candidate.as_str());
                let itself = index == place;
                index += 1;
                !before && !itself
            });
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use komar_codec::{Framing, Role, frame};

    /// What is encoded and decoded again says the same.
    #[test]
    fn words_survive_the_wire() {
        let client = [
            r#"publish a/b "hello" qos=1 id=7 retain"#,
            r#"publish "" "\x00\"" alias=3"#,
            r#"publish "a b" "" qos=2 id=1 dup expiry=9 format=1 type=text response=r correlation="\xff" prop=a:b prop=c:d"#,
            "publish t size=300",
            "puback id=7",
            "pubrec id=7 not_authorized",
            "pubrel id=1 packet_identifier_not_found",
            "pubcomp id=1",
            "subscribe id=1 sid=5 a/b qos=1 no_local c/# qos=2 as_published handling=2",
            "unsubscribe id=1 a/b c/#",
            "pingreq",
            "disconnect disconnect_with_will_message expiry=5",
            "auth continue_authentication method=x",
        ];
        for text in client {
            let bytes = encode(ProtocolVersion::V5, text).unwrap();
            let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
            let Ok(Framing::Complete(whole)) = frame(&bytes, &options) else {
                panic!("{text}: {bytes:?}")
            };
            let said = Said::of(whole, &options).unwrap();
            assert_eq!(said.to_string(), text);
            assert!(said.matches(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn expectations() {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Client);
        let bytes = encode(
            ProtocolVersion::V5,
            r#"publish t "x" qos=1 id=3 prop=a:1 prop=b:2 retain"#,
        )
        .unwrap();
        let Ok(Framing::Complete(whole)) = frame(&bytes, &options) else {
            panic!("{bytes:?}")
        };
        let said = Said::of(whole, &options).unwrap();
        for (expected, matches) in [
            (r#"publish t "x" qos=1 id=3 retain prop=a:1 prop=b:2"#, true),
            (r#"publish t "x" retain qos=1 id=? prop=a:1 prop=b:2"#, true),
            (r#"publish t "x" qos=1 id=3 retain prop=b:2 prop=a:1"#, false),
            (r#"publish t "x" qos=1 id=3 prop=a:1 prop=b:2"#, false),
            (r#"publish t "x" ..."#, true),
            (r#"publish t "x" prop=b:2 ..."#, true),
            (r#"publish t "x" prop=b:2 prop=a:1 ..."#, false),
            (r#"publish "x" t ..."#, false),
            (r#"publish t "y" ..."#, false),
            ("publish t ...", true),
            ("puback ...", false),
        ] {
            assert_eq!(said.matches(expected).unwrap(), matches, "{expected}");
        }
        assert_eq!(said.answer(), Some("puback id=3"));
    }
}
