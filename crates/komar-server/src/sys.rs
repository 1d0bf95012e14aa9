//! `$SYS`: figures about the broker as retained messages, named as Mosquitto names them.
//!
//! A thread of its own makes them at every multiple of the interval, and the first reactor publishes those that have
//! changed. Nothing is counted, looked at or published between two rounds. The figures that take a walk over all Sessions
//! (messages stored, packets that wait) are made anew in each round as long as that takes less than a thousandth of the
//! time, and as often as that allows otherwise: with a million messages that wait for Sessions, every few minutes.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use komar_broker_core::{Broker, Statistics, StoredMessages};
use komar_codec::QoS;
use parking_lot::{Condvar, Mutex};

use crate::mailbox::{Mail, Mailbox};
use crate::publisher::OwnMessage;

/// The thread. Dropping it ends the thread.
pub(crate) struct Sys {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    setting: Mutex<Setting>,
    changed: Condvar,
}

#[derive(Default)]
struct Setting {
    interval: Option<Duration>,
    stopped: bool,
}

impl Sys {
    pub(crate) fn start(
        interval: Option<Duration>,
        version: String,
        broker: Broker,
        turned_away: Arc<AtomicU64>,
        mailbox: Arc<Mailbox>,
    ) -> io::Result<Sys> {
        let shared = Arc::new(Shared {
            setting: Mutex::new(Setting {
                interval,
                stopped: false,
            }),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name("komar-sys".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, version, &broker, &turned_away, &mailbox)
        })?;
        Ok(Sys {
            shared,
            thread: Some(thread),
        })
    }

    /// Another interval, from the next round on; `None` for never.
    pub(crate) fn set_interval(&self, interval: Option<Duration>) {
        self.shared.setting.lock().interval = interval;
        self.shared.changed.notify_all();
    }
}

impl Drop for Sys {
    fn drop(&mut self) {
        self.shared.setting.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of $SYS ended by a panic");
        }
    }
}

fn run(shared: &Shared, version: String, broker: &Broker, turned_away: &AtomicU64, mailbox: &Mailbox) {
    let (started, mut last) = (Instant::now(), Instant::now());
    let mut figures = Figures::new(version);
    let mut walk = Walk::default();
    loop {
        if shared.setting.lock().interval.is_some() {
            let passed = core::mem::replace(&mut last, Instant::now());
            let round = Round {
                uptime: started.elapsed(),
                since: last.duration_since(passed),
                statistics: broker.statistics(),
                turned_away: turned_away.load(Ordering::Relaxed),
                walked: walk.over(|| Walked {
                    stored: broker.stored_messages(),
                    waiting_packets: broker.waiting_packets(),
                }),
            };
            let changed = figures.round(&round);
            mailbox.send(Mail::Publish(changed));
        }
        let mut setting = shared.setting.lock();
        loop {
            if setting.stopped {
                return;
            }
            let before = setting.interval;
            let Some(interval) = before else {
                shared.changed.wait(&mut setting);
                if setting.interval.is_some() {
                    break;
                }
                continue;
            };
            let woken = !shared
                .changed
                .wait_for(&mut setting, until_multiple_of(interval))
                .timed_out();
            // A new interval counts from now on; an idle wake goes on waiting.
            if !woken {
                break;
            }
        }
    }
}

/// What takes a walk over all Sessions.
#[derive(Default)]
struct Walked {
    stored: StoredMessages,
    waiting_packets: usize,
}

/// When all Sessions may be looked at again.
#[derive(Default)]
struct Walk {
    due: Option<Instant>,
}

impl Walk {
    /// Does it if it is due.
    fn over<T>(&mut self, walk: impl FnOnce() -> T) -> Option<T> {
        let begun = Instant::now();
        if self.due.is_some_and(|due| begun < due) {
            return None;
        }
        let found = walk();
        let rest = begun.elapsed().saturating_mul(REST_AFTER_WALK);
        self.due = Instant::now().checked_add(rest);
        Some(found)
    }
}

/// How many times as long as a walk over all Sessions took none is made.
const REST_AFTER_WALK: u32 = 1000;

/// The time until the wall clock shows a multiple of the interval.
fn until_multiple_of(interval: Duration) -> Duration {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let interval = interval.as_millis().max(1);
    let left = interval.saturating_sub(now.as_millis() % interval).max(1);
    Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))
}

/// What one round knows.
struct Round {
    uptime: Duration,
    since: Duration,
    statistics: Statistics,
    /// Connections that were too many of a second.
    turned_away: u64,
    walked: Option<Walked>,
}

/// What was published last, and the moving averages.
struct Figures {
    version: String,
    published: HashMap<String, String>,
    loads: Vec<Load>,
}

/// One counter's moving averages.
struct Load {
    name: &'static str,
    count: fn(&Statistics) -> u64,
    before: u64,
    /// A minute's worth, averaged over 1, 5 and 15 minutes.
    averages: [f64; 3],
}

impl Figures {
    fn new(version: String) -> Figures {
        let load = |name, count| Load {
            name,
            count,
            before: 0,
            averages: [0.0; 3],
        };
        Figures {
            version,
            published: HashMap::new(),
            loads: vec![
                load("messages/received", |all| all.packets_received),
                load("messages/sent", |all| all.packets_sent),
                load("publish/received", |all| all.publish_received),
                load("publish/sent", |all| all.publish_sent),
                load("publish/dropped", |all| all.dropped_messages),
                load("bytes/received", |all| all.bytes_received),
                load("bytes/sent", |all| all.bytes_sent),
                load("sockets", |all| all.connections_opened),
                load("connections", |all| all.connects_received),
            ],
        }
    }

    /// The messages of a round: what has changed since the one before.
    fn round(&mut self, round: &Round) -> Vec<OwnMessage> {
        let mut now = vec![
            ("version".to_owned(), self.version.clone()),
            ("uptime".to_owned(), format!("{} seconds", round.uptime.as_secs())),
        ];
        now.extend(counters(round).map(|(name, value)| (name.to_owned(), value.to_string())));
        let first = self.published.is_empty();
        for load in &mut self.loads {
            load.advance(
                &round.statistics,
                if first { Duration::ZERO } else { round.since },
            );
            let spans = ["1min", "5min", "15min"].iter().zip(load.averages);
            now.extend(spans.map(|(span, average)| {
                let name = format!("load/{}/{span}", load.name);
                (name, format!("{average:.2}"))
            }));
        }
        let changed = now
            .into_iter()
            .filter(|(name, value)| self.published.get(name) != Some(value));
        let changed: Vec<(String, String)> = changed.collect();
        let mut messages = Vec::with_capacity(changed.len());
        for (name, value) in changed {
            messages.push(OwnMessage {
                topic_name: format!("$SYS/broker/{name}"),
                payload: value.clone().into_bytes(),
                qos: QoS::ExactlyOnce,
                retain: true,
            });
            self.published.insert(name, value);
        }
        messages
    }
}

impl Load {
    fn advance(&mut self, statistics: &Statistics, since: Duration) {
        let count = (self.count)(statistics);
        let more = count.saturating_sub(core::mem::replace(&mut self.before, count));
        let seconds = since.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        // Counts of one round are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let a_minute = more as f64 * 60.0 / seconds;
        for (average, span) in self.averages.iter_mut().zip([60.0, 300.0, 900.0]) {
            *average = a_minute + (-seconds / span).exp() * (*average - a_minute);
        }
    }
}

/// Names below `$SYS/broker/` with their numbers.
fn counters(round: &Round) -> impl Iterator<Item = (&'static str, u64)> {
    let all = &round.statistics;
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let total = number(all.sessions);
    let absent = total.saturating_sub(number(all.connected));
    let maximum = number(all.maximum_sessions);
    let walked = round.walked.iter().flat_map(move |walked| {
        [
            ("packet/out/count", number(walked.waiting_packets)),
            ("messages/stored", number(walked.stored.messages)),
            ("store/messages/count", number(walked.stored.messages)),
            ("store/messages/bytes", number(walked.stored.bytes)),
        ]
    });
    [
        ("clients/total", total),
        ("clients/connected", all.connections),
        ("clients/active", all.connections),
        ("clients/disconnected", absent),
        ("clients/inactive", absent),
        ("clients/expired", all.expired_sessions),
        ("subscriptions/count", number(all.subscriptions)),
        ("shared_subscriptions/count", number(all.shared_subscriptions)),
        ("retained messages/count", number(all.retained_messages)),
        ("messages/received", all.packets_received),
        ("messages/sent", all.packets_sent),
        ("bytes/received", all.bytes_received),
        ("bytes/sent", all.bytes_sent),
        ("publish/messages/received", all.publish_received),
        ("publish/messages/sent", all.publish_sent),
        ("publish/messages/dropped", all.dropped_messages),
        ("publish/bytes/received", all.publish_bytes_received),
        ("publish/bytes/sent", all.publish_bytes_sent),
        ("packet/out/bytes", number(all.waiting_bytes)),
        ("connections/socket/count", all.connections_opened),
    ]
    .into_iter()
    .chain((maximum > 1).then_some(("clients/maximum", maximum)))
    .chain(Some(("rate_exceeded/connections", round.turned_away)).filter(|(_, count)| *count > 0))
    .chain(Some(("rate_exceeded/messages", all.rate_exceeded)).filter(|(_, count)| *count > 0))
    .chain(walked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(seconds: u64, change: impl FnOnce(&mut Statistics)) -> Round {
        let mut statistics = Statistics::default();
        change(&mut statistics);
        Round {
            uptime: Duration::from_secs(seconds),
            since: Duration::from_secs(10),
            statistics,
            turned_away: 0,
            walked: None,
        }
    }

    fn value<'a>(messages: &'a [OwnMessage], name: &str) -> Option<&'a str> {
        let topic = format!("$SYS/broker/{name}");
        let found = messages.iter().find(|message| message.topic_name == topic)?;
        core::str::from_utf8(&found.payload).ok()
    }

    #[test]
    fn a_walk_that_took_long_is_not_made_again_soon() {
        let mut walk = Walk::default();
        assert!(walk.over(|| ()).is_some());
        walk.due = Instant::now().checked_add(Duration::from_secs(3600));
        assert!(walk.over(|| ()).is_none());
        walk.due = Some(Instant::now());
        assert!(walk.over(|| ()).is_some());
    }

    #[test]
    fn the_first_round_has_every_name_and_loads_of_nothing() {
        let mut figures = Figures::new("komar version 1".to_owned());
        let mut first = round(0, |all| {
            all.packets_received = 7;
            all.maximum_sessions = 2;
        });
        first.walked = Some(Walked {
            waiting_packets: 3,
            ..Walked::default()
        });
        let messages = figures.round(&first);
        let names: Vec<&str> = messages
            .iter()
            .map(|message| message.topic_name.as_str())
            .collect();
        let expected: Vec<&str> = include_str!("../tests/data/sys_topics.txt").lines().collect();
        for name in &expected {
            assert!(names.contains(name), "{name} is missing");
        }
        assert_eq!(names.len(), expected.len(), "{names:#?}");
        assert!(
            messages
                .iter()
                .all(|message| message.retain && message.qos == QoS::ExactlyOnce)
        );
        assert_eq!(value(&messages, "load/messages/received/1min"), Some("0.00"));
        assert_eq!(value(&messages, "packet/out/count"), Some("3"));
        assert_eq!(value(&messages, "version"), Some("komar version 1"));
        assert_eq!(value(&messages, "uptime"), Some("0 seconds"));
    }

    #[test]
    fn later_rounds_have_what_has_changed() {
        let mut figures = Figures::new(String::new());
        figures.round(&round(0, |_| {}));
        let messages = figures.round(&round(10, |all| all.packets_received = 10));
        assert_eq!(value(&messages, "messages/received"), Some("10"));
        // x = 10 a 10 s = 60 a minute; 60 + exp(-10/T) * (0 - 60)
        assert_eq!(value(&messages, "load/messages/received/1min"), Some("9.21"));
        assert_eq!(value(&messages, "load/messages/received/5min"), Some("1.97"));
        assert_eq!(value(&messages, "load/messages/received/15min"), Some("0.66"));
        assert_eq!(value(&messages, "uptime"), Some("10 seconds"));
        assert_eq!(messages.len(), 5);
        let messages = figures.round(&round(10, |all| all.packets_received = 10));
        assert_eq!(value(&messages, "load/messages/received/1min"), Some("7.80"));
        // uptime and version are as before, and 0.66 moves by less than 0.01.
        assert_eq!(messages.len(), 2);
    }
}
