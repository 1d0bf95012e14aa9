//! Plays the lines of one conversation. The language is explained in `data/scenarios/README.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use komar_broker_core::store::Sequence;
use komar_broker_core::{Hooks, OverRate, Rate};
use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_testkit::words::{self, Said};
use komar_testkit::{DelayedStore, PeerId, Reading, Site};

use crate::setup::{Outcome, Setup, certificate, duration, flag, named, number};

/// How a conversation is played. What the clients see must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One worker; all that a client has sent is read at once.
    Whole,
    /// One worker; each byte is read alone.
    Bytes,
    /// Two workers; Connections are given to them in turn.
    Workers,
    /// As `Workers`, and everything that has to survive is stored.
    Store,
}

/// A conversation under way.
pub(crate) struct Stage {
    mode: Mode,
    setup: Setup,
    site: Option<Site>,
    store: DelayedStore,
    clients: BTreeMap<String, Client>,
    opened: usize,
    notices: Vec<String>,
    /// The rate that several clients share.
    shared_rate: Option<Arc<Rate>>,
}

struct Client {
    peer: PeerId,
    /// The name of the listener that it came in by.
    listener: String,
    version: ProtocolVersion,
    read: VecDeque<Said>,
    /// Answers each message as it comes.
    acknowledges: bool,
    /// For SUBSCRIBE packets that the line does not number.
    last_identifier: u16,
}

impl Stage {
    pub(crate) fn new(mode: Mode) -> Stage {
        Stage {
            mode,
            setup: Setup::default(),
            site: None,
            store: DelayedStore::prompt(),
            clients: BTreeMap::new(),
            opened: 0,
            notices: Vec::new(),
            shared_rate: None,
        }
    }

    /// Plays one line. `Ok(false)`: the rest is not for this mode.
    pub(crate) fn line(&mut self, line: &str) -> Outcome<bool> {
        let words = words::split(line)?;
        let Some((first, rest)) = words.split_first() else {
            return Ok(true);
        };
        match (first.as_str(), rest) {
            ("modes", modes) => return Ok(modes.contains(&format!("{:?}", self.mode).to_lowercase())),
            ("repeat", _) => self.repeat(line)?,
            ("config", rest) => self.setup.config(rest)?,
            ("listener", rest) => self.setup.listener(rest)?,
            ("acl", _) => self.setup.acl(after(line, "acl")),
            ("password", rest) => self.setup.password(rest)?,
            ("reload", []) => self.reload()?,
            ("advance", [time]) => self.advance(time)?,
            ("hold", [what]) if what == "checks" => self.site()?.hold_checks(true),
            ("run", [what]) if what == "checks" => {
                self.site()?.run_checks();
                self.settle()?;
            }
            ("restart", []) => self.restart()?,
            ("stop", []) => {
                self.site()?.stop();
                self.settle()?;
            }
            ("broker", [verb, rest @ ..]) if verb == "publishes" => self.publish(rest)?,
            ("event", _) => self.event(after(line, "event"))?,
            ("figures", rest) => self.figures(rest)?,
            ("waiting", [client_id, count]) => self.waiting(client_id, count)?,
            (name, [verb, _rest @ ..]) => self.client(name, verb, after(after(line, name), verb))?,
            _ => return Err("no such line".to_owned()),
        }
        Ok(true)
    }

    /// Nothing may be left that nobody has looked at.
    pub(crate) fn end(&mut self) -> Outcome {
        for (name, client) in &self.clients {
            if let Some(packet) = client.read.front() {
                return Err(format!("at the end {name} has not looked at: {packet}"));
            }
        }
        Ok(())
    }

    fn site(&mut self) -> Outcome<&mut Site> {
        if self.site.is_none() {
            let workers = match self.mode {
                Mode::Whole | Mode::Bytes => 1,
                Mode::Workers | Mode::Store => 2,
            };
            self.setup.config.durable |= self.mode == Mode::Store;
            let mut site = Site::new(self.setup.config.clone(), self.setup.access()?, workers);
            if self.mode == Mode::Bytes {
                site.set_reading(Reading::ByteByByte);
            }
            if self.setup.config.durable {
                site.set_store(Box::new(self.store.clone()));
            }
            self.site = Some(site);
        }
        self.site.as_mut().ok_or_else(|| "no site".to_owned())
    }

    fn client(&mut self, name: &str, verb: &str, rest: &str) -> Outcome {
        match verb {
            "opens" => self.open(name, rest)?,
            "joins" => return self.join(name, rest),
            ">" | ">>" => {
                if self.needs_connection(name, rest)? {
                    self.open(name, "")?;
                }
                return self.send(name, rest, verb == ">");
            }
            _ if !self.clients.contains_key(name) => return Err(format!("{name} has no connection")),
            "subscribes" => return self.subscribe(name, rest),
            "<" => return self.expect(name, rest),
            "counts" => return self.count(name, rest),
            "closed" => return self.expect_closed(name, rest),
            "ignores" => self.known(name)?.read.clear(),
            "acks" => self.known(name)?.acknowledges = true,
            "speaks" => self.known(name)?.version = words::version(rest).ok_or("no version")?,
            "drops" => {
                let peer = self.known(name)?.peer;
                self.site()?.hang_up(peer);
            }
            "takes" => {
                let room = if rest == "all" { None } else { Some(number(rest)?) };
                let peer = self.known(name)?.peer;
                self.site()?.set_room(peer, room);
            }
            _ => return Err(format!("{name} does what? {verb}")),
        }
        self.settle()
    }

    /// New rules, and all clients looked at again.
    fn reload(&mut self) -> Outcome {
        let access = self.setup.access()?;
        let config = self.setup.config.clone();
        self.site()?.broker().set_config_and_access(config, access);
        let peers: Vec<_> = self
            .clients
            .values()
            .map(|client| Ok((client.peer, self.setup.policy(&client.listener)?)))
            .collect::<Outcome<_>>()?;
        for (peer, policy) in peers {
            self.site()?.recheck(peer, &policy);
        }
        self.settle()
    }

    /// The power is lost and comes back: the broker is what the store has of it.
    fn restart(&mut self) -> Outcome {
        let (config, access) = (self.setup.config.clone(), self.setup.access()?);
        if !config.durable {
            return Err("a broker that is not durable does not come back".to_owned());
        }
        let contents = self.store.lose_power(Sequence(u64::MAX))?;
        let restarted = self.site()?.restart(config, access, Hooks::default(), contents);
        restarted.map_err(|error| error.to_string())?;
        self.settle()
    }

    fn open(&mut self, name: &str, rest: &str) -> Outcome {
        let (mut listener, mut certificate_name) = ("", None);
        let (mut rates, mut over, mut turned_away) = (Vec::new(), OverRate::Pause, false);
        for word in rest.split_whitespace() {
            match named(word)? {
                ("listener", value) => listener = value,
                ("certificate", value) => certificate_name = Some(value),
                ("rate", value) => rates.push(Arc::new(Rate::new(number(value)?))),
                ("shared_rate", value) => {
                    let rate = Rate::new(number(value)?);
                    rates.push(Arc::clone(self.shared_rate.get_or_insert_with(|| Arc::new(rate))));
                }
                ("over", "refuse") => over = OverRate::Refuse,
                ("over", "disconnect") => over = OverRate::Disconnect,
                ("turned_away", value) => turned_away = flag(value)?,
                _ => return Err(format!("opens with what? {word}")),
            }
        }
        let policy = self.setup.policy(listener)?;
        let worker = self.opened;
        self.opened += 1;
        let site = self.site()?;
        let peer = site.open(worker, &policy);
        site.limit_messages(peer, rates, over);
        if turned_away {
            site.turn_away(peer, ReasonCode::ConnectionRateExceeded);
        }
        if let Some(name) = certificate_name {
            site.present_certificate(peer, &certificate(name)?);
        }
        let client = Client {
            peer,
            listener: listener.to_owned(),
            version: ProtocolVersion::V5,
            read: VecDeque::new(),
            acknowledges: false,
            last_identifier: 60_000,
        };
        if let Some(old) = self.clients.insert(name.to_owned(), client)
            && let Some(packet) = old.read.front()
        {
            return Err(format!("{name} opens again and has not looked at: {packet}"));
        }
        Ok(())
    }

    /// Whether there is none, or only one that is closed and the client connects again.
    fn needs_connection(&mut self, name: &str, packet: &str) -> Outcome<bool> {
        let Some(client) = self.clients.get(name) else {
            return Ok(true);
        };
        let peer = client.peer;
        Ok(packet.starts_with("connect") && self.site()?.is_closed(peer))
    }

    /// Connects and expects to be let in. Opens a Connection if there is none that waits for CONNECT.
    fn join(&mut self, name: &str, rest: &str) -> Outcome {
        if self.needs_connection(name, "connect")? {
            self.open(name, "")?;
        }
        let id = if rest.contains("id=") {
            String::new()
        } else {
            format!("id={name}")
        };
        self.send(name, &format!("connect {rest} {id}"), true)?;
        self.expect(name, "connack success ...")
    }

    fn subscribe(&mut self, name: &str, rest: &str) -> Outcome {
        let client = self.known(name)?;
        client.last_identifier += 1;
        let identifier = client.last_identifier;
        self.send(name, &format!("subscribe id={identifier} {rest}"), true)?;
        let client = self.known(name)?;
        let Some(answer) = client.read.pop_front() else {
            return Err("no suback".to_owned());
        };
        let text = answer.to_string();
        let granted = text.split(' ').skip(2).all(|word| word.starts_with("granted"));
        if answer.name() == "suback" && granted {
            Ok(())
        } else {
            Err(format!("not granted: {text}"))
        }
    }

    fn send(&mut self, name: &str, text: &str, settle: bool) -> Outcome {
        let client = self.known(name)?;
        if let Some(version) = text
            .strip_prefix("connect ")
            .and_then(|rest| rest.split_whitespace().next())
            && let Some(version) = words::version(version)
        {
            client.version = version;
        }
        let (peer, bytes) = (client.peer, words::encode(client.version, text)?);
        let site = self.site()?;
        if site.is_closed(peer) {
            return Err(format!("{name}'s connection is closed"));
        }
        site.send(peer, &bytes);
        if settle { self.settle() } else { Ok(()) }
    }

    fn expect(&mut self, name: &str, expected: &str) -> Outcome {
        let client = self.known(name)?;
        let peer = client.peer;
        let came = client.read.pop_front();
        match (expected, came) {
            ("nothing", None) => {
                if self.site()?.is_closed(peer) {
                    return Err("expected: nothing\n    came: the end of the connection".to_owned());
                }
                Ok(())
            }
            (_, Some(came)) if expected != "nothing" && came.matches(expected)? => Ok(()),
            (_, Some(came)) => Err(format!("expected: {expected}\n    came: {came}")),
            (_, None) => {
                let closed = self.site()?.is_closed(peer);
                let came = if closed {
                    "the end of the connection"
                } else {
                    "nothing"
                };
                Err(format!("expected: {expected}\n    came: {came}"))
            }
        }
    }

    /// `a counts 200 publish`: so many of them come next, no two alike.
    fn count(&mut self, name: &str, rest: &str) -> Outcome {
        let (count, kind) = rest.split_once(' ').ok_or("how many of what?")?;
        let (count, client) = (number::<usize>(count)?, self.known(name)?);
        let mut seen = BTreeSet::new();
        for number in 1..=count {
            let Some(packet) = client.read.pop_front() else {
                return Err(format!("expected: {count} x {kind}\n    came: {}", number - 1));
            };
            let text: Vec<String> = words::split(&packet.to_string())?;
            let text: Vec<String> = text.into_iter().filter(|word| !word.starts_with("id=")).collect();
            if packet.name() != kind || !seen.insert(text) {
                return Err(format!(
                    "expected: {count} x {kind}, no two alike\n    came as number {number}: {packet}"
                ));
            }
        }
        Ok(())
    }

    fn expect_closed(&mut self, name: &str, cause: &str) -> Outcome {
        let client = self.known(name)?;
        let peer = client.peer;
        if let Some(packet) = client.read.front() {
            return Err(format!("expected: the end of the connection\n    came: {packet}"));
        }
        let site = self.site()?;
        let found = site
            .close_cause(peer)
            .map_or("closed by the client".to_owned(), |cause| cause.to_string());
        if !site.is_closed(peer) {
            return Err("expected: the end of the connection\n    came: nothing".to_owned());
        }
        if !cause.is_empty() && cause != found {
            return Err(format!("expected: closed {cause}\n    came: closed {found}"));
        }
        Ok(())
    }

    fn known(&mut self, name: &str) -> Outcome<&mut Client> {
        self.clients
            .get_mut(name)
            .ok_or_else(|| format!("{name} has no connection"))
    }

    fn settle(&mut self) -> Outcome {
        self.site()?.settle();
        self.collect()
    }

    fn advance(&mut self, time: &str) -> Outcome {
        let time = duration(time)?;
        self.site()?.advance(time);
        self.collect()
    }

    /// Reads what has come for the clients, and lets those answer that do so by themselves.
    fn collect(&mut self) -> Outcome {
        let Some(site) = &mut self.site else { return Ok(()) };
        loop {
            let mut answered = false;
            for (name, client) in &mut self.clients {
                while let Some(packet) = site
                    .next_packet(client.peer, client.version)
                    .map_err(|error| format!("{name} got {error}"))?
                {
                    if let Some(answer) = packet.answer().filter(|_| client.acknowledges) {
                        site.send(client.peer, &words::encode(client.version, answer)?);
                        answered = true;
                    }
                    // Who answers PUBREL by himself does not want to hear of it.
                    if !(client.acknowledges && packet.name() == "pubrel") {
                        client.read.push_back(packet);
                    }
                }
            }
            if !answered {
                break;
            }
            site.settle();
        }
        self.notices
            .extend(site.take_notices().into_iter().map(|notice| notice.0));
        Ok(())
    }

    /// `broker publishes t "x" qos=1 retain`
    fn publish(&mut self, words: &[String]) -> Outcome {
        let [topic, payload, rest @ ..] = words else {
            return Err("a topic and a payload".to_owned());
        };
        let qos = rest
            .iter()
            .find_map(|word| word.strip_prefix("qos="))
            .map_or(Ok(0), number)?;
        let qos = QoS::from_u8(qos).ok_or("no QoS")?;
        let retain = rest.iter().any(|word| word == "retain");
        let topic = String::from_utf8(words::value(topic)?).map_err(|error| error.to_string())?;
        let payload = words::value(payload)?;
        self.site()?
            .publish(&topic, &payload, qos, retain)
            .map_err(|error| error.to_string())?;
        self.settle()
    }

    /// The event has happened since the conversation began, and is used up by this line.
    fn event(&mut self, expected: &str) -> Outcome {
        match self.notices.iter().position(|notice| notice == expected) {
            Some(place) => {
                self.notices.remove(place);
                Ok(())
            }
            None => Err(format!("expected: {expected}\n    came: {:?}", self.notices)),
        }
    }

    fn figures(&mut self, words: &[String]) -> Outcome {
        let figures = self.site()?.broker().statistics();
        for word in words {
            let (name, expected) = named(word)?;
            let value = match name {
                "sessions" => figures.sessions as u64,
                "connected" => figures.connected as u64,
                "subscriptions" => figures.subscriptions as u64,
                "retained" => figures.retained_messages as u64,
                "dropped" => figures.dropped_messages,
                "expired" => figures.expired_sessions,
                "rate_exceeded" => figures.rate_exceeded,
                "slowed" => figures.publishers_slowed,
                "receive_maximum_exceeded" => figures.receive_maximum_exceeded,
                "queued_bytes" => figures.queued_bytes as u64,
                _ => return Err(format!("no figure: {name}")),
            };
            if number::<u64>(expected)? != value {
                return Err(format!("expected: {word}\n    came: {name}={value}"));
            }
        }
        Ok(())
    }

    /// `waiting a 13`, or `waiting a none` where there is no such Session.
    fn waiting(&mut self, client_id: &str, count: &str) -> Outcome {
        let waiting = self.site()?.broker().waiting_messages(client_id);
        let expected = if count == "none" {
            None
        } else {
            Some(number(count)?)
        };
        if waiting == expected {
            Ok(())
        } else {
            Err(format!("expected: {expected:?}\n    came: {waiting:?}"))
        }
    }

    /// `repeat 1..5 a > publish t/$n "$n"`
    fn repeat(&mut self, line: &str) -> Outcome {
        let rest = after(line, "repeat");
        let (range, line) = rest.split_once(' ').ok_or("repeat what?")?;
        let (first, last) = range.split_once("..").ok_or("from where to where?")?;
        for number in number::<u32>(first)?..=number::<u32>(last)? {
            let line = line.replace("$n", &number.to_string());
            self.line(&line)
                .map_err(|error| format!("{error}\n    in: {line}"))?;
        }
        Ok(())
    }
}

/// What is behind the first word, which the line begins with.
fn after<'a>(line: &'a str, word: &str) -> &'a str {
    line.trim_start().strip_prefix(word).unwrap_or(line).trim()
}
