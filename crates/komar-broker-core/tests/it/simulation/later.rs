//! A simulation where the answers to some questions of another user come later: out of order, twice, never, after its client
//! has gone or was taken over.

use std::sync::{Arc, Mutex};

use komar_broker_core::{
    Action, Authenticate, Authentication, Decision, Login, Pending, ReasonCode, Subject,
};

use super::{ANOTHER, CLIENTS, Entering, Outcome, Sent, Simulation};
use crate::model::{ClientNumber, Time, User};

/// How many seconds the broker waits for an answer.
pub(super) const TIMEOUT: Time = 20;

/// What a question is about: the Topic Name or Topic Filter, and whether it is to be written.
type About = (bool, String);

/// Whether the answer to a login comes later.
pub(super) fn logs_in_later(client: ClientNumber, user: User) -> bool {
    user == 1 && client.is_multiple_of(2)
}

/// Whether the answer to that question comes later.
fn is_later(client: ClientNumber, user: User, topic: &str) -> bool {
    let sum: usize = topic.bytes().map(usize::from).sum();
    user == 1 && !topic.starts_with("hook/") && (client + sum).is_multiple_of(2)
}

/// A question, with two ways back.
struct Question {
    client: ClientNumber,
    about: About,
    ways: [Option<Pending<Decision>>; 2],
}

/// Where the broker's questions arrive.
#[derive(Default)]
pub(super) struct Desk {
    questions: Mutex<Vec<Question>>,
    /// By client.
    logins: Mutex<Vec<(ClientNumber, Pending<Authentication>)>>,
}

impl Desk {
    /// Takes a question down, if it is one whose answer comes later and somebody waits.
    pub(super) fn asks(
        &self,
        subject: &Subject<'_>,
        client: ClientNumber,
        user: User,
        action: Action<'_>,
    ) -> bool {
        let (write, topic) = match action {
            Action::Publish(name) => (true, name.as_str()),
            Action::Subscribe(filter) => (false, filter.as_str()),
            _ => return false,
        };
        let (Some(way), true) = (subject.later(), is_later(client, user, topic)) else {
            return false;
        };
        self.questions.lock().unwrap().push(Question {
            client,
            about: (write, topic.to_owned()),
            ways: [Some(way), subject.later()],
        });
        true
    }
}

impl Authenticate for Desk {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        let client = login.client_id.trim_start_matches('c').parse().unwrap_or(0);
        let is_another = login.username == Some(ANOTHER);
        match login.later() {
            Some(way) if logs_in_later(client, User::from(is_another)) => {
                self.logins.lock().unwrap().push((client, way));
                Authentication::Later
            }
            _ => Authentication::Accept,
        }
    }
}

/// Answers that are owed.
#[derive(Default)]
pub(super) struct Later {
    pub(super) desk: Arc<Desk>,
    /// Which rules are in force.
    pub(super) rules: u64,
    questions: Vec<Question>,
    /// Ways back that nobody waits at any more.
    stale: Vec<Pending<Decision>>,
    stale_logins: Vec<Pending<Authentication>>,
    knocking: Vec<Knocking>,
}

/// A client that waits to be let in.
struct Knocking {
    entering: Entering,
    way: Pending<Authentication>,
    since: Time,
    /// The rules that were in force.
    rules: u64,
}

/// What a packet asks, if the answer comes later.
fn question_of(client: ClientNumber, user: User, packet: &Sent) -> Option<About> {
    let about = match packet {
        Sent::Publish(_, _, message) => (true, message.topic.clone()),
        Sent::Subscribe(_, filter, _) => {
            let plain = filter
                .strip_prefix("$share/")
                .and_then(|rest| rest.split_once('/'));
            (
                false,
                plain.map_or(filter.as_str(), |(_, plain)| plain).to_owned(),
            )
        }
        _ => return None,
    };
    is_later(client, user, &about.1).then_some(about)
}

impl Simulation {
    /// A packet has come to the broker, which handles it when it has handled all that came before.
    pub(super) fn stand_in_line(&mut self, client: ClientNumber, packet: &Sent) {
        let is_behind = !self.clients[client].line.is_empty();
        if is_behind && matches!(packet, Sent::Ping) && self.planted.pings_ahead() {
            let now = self.model.now;
            self.clients[client].mailbox.push_back((now, vec![0xD0, 0]));
        }
        self.clients[client].line.came(packet.clone(), self.model.now);
        self.go_on(client);
    }

    /// Packets are handled until one raises a question.
    fn go_on(&mut self, client: ClientNumber) {
        let (now, user) = (self.model.now, self.clients[client].user);
        let rules = self.later.as_ref().map_or(0, |later| later.rules);
        loop {
            let line = &mut self.clients[client].line;
            let ask = |packet: &Sent| question_of(client, user, packet);
            let Some((packet, came)) = line.next(now, rules, ask) else {
                return;
            };
            self.is_handled(client, &packet_at(packet, now - came), None);
        }
    }

    /// The question of a client is answered, or it is over.
    fn model_answered(&mut self, client: ClientNumber, verdict: bool) {
        let rules = self.later.as_ref().map_or(0, |later| later.rules);
        if let Some((packet, waited)) = self.clients[client].line.answered(rules) {
            self.is_handled(client, &packet_at(packet, waited), Some(verdict));
        }
        if self.clients[client].peer.is_some() {
            self.go_on(client);
        }
    }

    /// Takes over what the broker has asked. A Connection that ended meanwhile does not wait for its answer.
    pub(super) fn hear_questions(&mut self) -> Outcome {
        let Some(later) = &mut self.later else {
            return Ok(());
        };
        for question in later.desk.questions.lock().unwrap().drain(..) {
            let client = question.client;
            if let Some(place) = later.questions.iter().position(|other| other.client == client) {
                let old = later.questions.remove(place);
                later.stale.extend(old.ways.into_iter().flatten());
            }
            if self.clients[client].peer.is_some() {
                later.questions.push(question);
            } else {
                later.stale.extend(question.ways.into_iter().flatten());
            }
        }
        Ok(())
    }

    /// The broker waits for just what the model says it does, so nothing behind a question was handled before its answer.
    /// Who is not let in yet has heard nothing.
    pub(super) fn check_questions(&mut self) -> Outcome {
        let Some(later) = &self.later else {
            return Ok(());
        };
        for client in 0..CLIENTS {
            let asked = later.questions.iter().find(|question| question.client == client);
            let (asked, expected) = (asked.map(|asked| &asked.about), self.clients[client].line.asks());
            if asked != expected {
                return Err(format!(
                    "c{client} waits for an answer to {asked:?}, and should for {expected:?}"
                ));
            }
        }
        for knocking in &later.knocking {
            let peer = knocking.entering.peer;
            if self.site.unread(peer) > 0 || self.site.is_closed(peer) {
                return Err(format!("c{} was answered early", knocking.entering.client));
            }
        }
        Ok(())
    }

    /// The Connection of that client is over, and with it what it has asked.
    pub(super) fn nobody_waits(&mut self, client: ClientNumber) {
        let Some(later) = &mut self.later else {
            return;
        };
        if let Some(place) = later
            .questions
            .iter()
            .position(|question| question.client == client)
        {
            let old = later.questions.remove(place);
            later.stale.extend(old.ways.into_iter().flatten());
        }
    }

    /// The broker is another one.
    pub(super) fn nobody_knocks(&mut self) {
        if let Some(later) = &mut self.later {
            later.knocking.clear();
        }
    }

    /// Some question is answered, or one that nobody waits for any more.
    pub(super) fn answer_something(&mut self) -> Outcome {
        let is_stale = self.random.chance(20);
        let Some(later) = &mut self.later else {
            return Ok(());
        };
        if is_stale && let Some(way) = later.stale_logins.pop() {
            way.answer(Authentication::Accept);
            return self.settle();
        }
        if is_stale && !later.stale.is_empty() {
            let way = later.stale.swap_remove(self.random.below(later.stale.len()));
            let decision = match self.random.chance(50) {
                true => Decision::AllowOnce,
                false => Decision::Refuse(ReasonCode::QuotaExceeded),
            };
            // A bug: the question that is open takes it for its own.
            let open = later.questions.iter_mut().flat_map(|question| &mut question.ways);
            let open = open
                .filter(|_| self.planted.takes_old_verdicts())
                .find_map(Option::take);
            open.unwrap_or(way).answer(decision);
            return self.settle();
        }
        if !later.knocking.is_empty() && self.random.chance(50) {
            let place = self.random.below(later.knocking.len());
            return self.answer_login(place);
        }
        if later.questions.is_empty() {
            return self.advance();
        }
        let client = later.questions[self.random.below(later.questions.len())].client;
        self.answer_question(client)
    }

    fn answer_question(&mut self, client: ClientNumber) -> Outcome {
        let verdict = self.random.chance(70);
        let Some(later) = &mut self.later else {
            return Ok(());
        };
        let Some(place) = later
            .questions
            .iter()
            .position(|question| question.client == client)
        else {
            return Ok(());
        };
        let [way, second] = later.questions.remove(place).ways;
        later.stale.extend(second);
        let decision = match verdict || self.planted.takes_no_for_yes() {
            true => Decision::AllowOnce,
            false => Decision::Refuse(ReasonCode::NotAuthorized),
        };
        self.note(|| format!("c{client} gets its answer: {decision:?}"));
        match way {
            Some(way) => way.answer(decision),
            None => return Err("it was answered already".to_owned()),
        }
        self.model_answered(client, verdict);
        self.settle()
    }

    /// A CONNECT whose answer comes later.
    pub(super) fn knock(&mut self, mut entering: Entering) -> Outcome {
        if self.random.chance(50) {
            self.site.send(entering.peer, &[0xC0, 0]);
            entering.pings = 1;
        }
        self.settle()?;
        self.wait_to_be_let_in(entering)?;
        match self.random.chance(40) {
            true => self.answer_login(later_count(&self.later) - 1),
            false => Ok(()),
        }
    }

    /// Somebody asks whether the client may log in.
    fn wait_to_be_let_in(&mut self, entering: Entering) -> Outcome {
        let since = self.model.now;
        let Some(later) = &mut self.later else {
            return Ok(());
        };
        let rules = later.rules;
        let mut logins = later.desk.logins.lock().unwrap();
        let place = logins.iter().position(|(client, _)| *client == entering.client);
        let Some((_, way)) = place.map(|place| logins.remove(place)) else {
            return Err(format!("nobody asks whether c{} may log in", entering.client));
        };
        drop(logins);
        later.knocking.push(Knocking {
            entering,
            way,
            since,
            rules,
        });
        Ok(())
    }

    /// The answer to a CONNECT: yes, no, nobody who would say so, or the client has gone.
    fn answer_login(&mut self, place: usize) -> Outcome {
        let choice = self.random.below(10);
        let Some(later) = &mut self.later else {
            return Ok(());
        };
        let Knocking {
            entering, way, rules, ..
        } = later.knocking.remove(place);
        let (client, peer) = (entering.client, entering.peer);
        if rules != later.rules && choice < 9 {
            // Under other rules the answer does not count, and it is asked again.
            way.answer(Authentication::Accept);
            self.settle()?;
            return self.wait_to_be_let_in(entering);
        }
        match choice {
            0..=6 => {
                way.answer(Authentication::Accept);
                self.note(|| format!("c{client} is let in"));
                return self.enter(entering);
            }
            7 => way.answer(Authentication::Refuse(ReasonCode::Banned)),
            8 => drop(way),
            _ => {
                later.stale_logins.push(way);
                self.note(|| format!("c{client} does not wait to be let in"));
                self.site.hang_up(peer);
                return self.settle();
            }
        }
        self.note(|| format!("c{client} is not let in after all"));
        self.settle()?;
        self.is_turned_away(client, peer)
    }

    /// CONNACK with a code that is not 0, and the end.
    fn is_turned_away(&mut self, client: ClientNumber, peer: komar_testkit::PeerId) -> Outcome {
        let answer = self.site.take_bytes(peer);
        if !self.site.is_closed(peer) || answer.first() != Some(&0x20) || answer.get(3) == Some(&0) {
            return Err(format!("c{client} was let in: {answer:?}"));
        }
        Ok(())
    }

    /// Within the next second the time for some answers is over. They are given before, but for one: in which order those
    /// are handled that are not is not said, nor whether before or after what else happens then. So nothing that this would
    /// matter to is behind it. Returns whose question is not answered.
    pub(super) fn answer_in_time(&mut self) -> Outcome<Option<ClientNumber>> {
        let mut falls = None;
        if self.later.is_none() {
            return Ok(None);
        }
        self.ask_again_in_time()?;
        for client in 0..CLIENTS {
            let line = &self.clients[client].line;
            if line
                .since()
                .is_none_or(|since| since + TIMEOUT > self.model.now + 1)
            {
                continue;
            }
            let is_plain = line.packets().all(|packet| match packet {
                Sent::Publish(_, _, message) => !message.retain && !message.topic.starts_with("hook/"),
                Sent::PubRel(_) | Sent::Disconnect | Sent::Unsubscribe(..) => false,
                Sent::Subscribe(..) => false,
                _ => true,
            });
            if is_plain && falls.is_none() {
                falls = Some(client);
            } else {
                self.answer_question(client)?;
            }
        }
        Ok(falls)
    }

    /// When the time for a login is over and other rules are in force, it is asked again. Of two Connections of a client it could
    /// not be told whose question comes then, so all but the last of them get an answer before.
    fn ask_again_in_time(&mut self) -> Outcome {
        loop {
            let Some(later) = &self.later else {
                return Ok(());
            };
            let then = self.model.now + 1;
            let falls =
                |knocking: &&Knocking| knocking.rules != later.rules && knocking.since + TIMEOUT <= then;
            let is_twin = |place: usize, knocking: &Knocking| {
                let mut others = later.knocking.iter().skip(place + 1).filter(falls);
                falls(&knocking) && others.any(|other| other.entering.client == knocking.entering.client)
            };
            let mut knocking = later.knocking.iter().enumerate();
            let Some(place) = knocking.position(|(place, knocking)| is_twin(place, knocking)) else {
                return Ok(());
            };
            self.answer_login(place)?;
        }
    }

    /// The time for some answers is over: that is a refusal.
    pub(super) fn give_up_waiting(&mut self, falls: Option<ClientNumber>) -> Outcome {
        let now = self.model.now;
        if let Some(client) = falls {
            self.note(|| format!("c{client} gets no answer in time"));
            let before = self.model.last_order();
            self.nobody_waits(client);
            self.model_answered(client, false);
            self.model.came_in_any_order(before);
            self.hear_questions()?;
        }
        loop {
            let Some(later) = &mut self.later else {
                return Ok(());
            };
            let is_over = |knocking: &Knocking| knocking.since + TIMEOUT <= now;
            let Some(place) = later.knocking.iter().position(is_over) else {
                return Ok(());
            };
            let Knocking {
                entering, way, rules, ..
            } = later.knocking.remove(place);
            later.stale_logins.push(way);
            if rules != later.rules {
                self.wait_to_be_let_in(entering)?;
                continue;
            }
            self.note(|| format!("c{} was not let in in time", entering.client));
            self.is_turned_away(entering.client, entering.peer)?;
        }
    }

    /// Nobody waits any longer.
    pub(super) fn answer_all(&mut self) -> Outcome {
        while later_count(&self.later) > 0 {
            self.answer_login(0)?;
        }
        for client in 0..CLIENTS {
            while !self.clients[client].line.is_empty() {
                self.answer_question(client)?;
                self.check_questions()?;
            }
        }
        Ok(())
    }
}

fn later_count(later: &Option<Later>) -> usize {
    later.as_ref().map_or(0, |later| later.knocking.len())
}

/// A message expires so much later, as its time begins when the broker comes to it: before, it was behind a question.
fn packet_at(mut packet: Sent, waited: Time) -> Sent {
    if let Sent::Publish(_, _, message) = &mut packet {
        message.expires = message.expires.map(|expires| expires + waited);
    }
    packet
}
