//! Retained messages that are asked about while something else happens, which takes two workers at one moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use komar_broker_core::{
    Access, Action, Authorize, Broker, BrokerConfig, Decision, Link, ListenerPolicy, Now, Sent, Subject,
    Take, Worker,
};
use komar_codec::{ProtocolVersion, QoS};
use komar_testkit::words;

/// Who is `old` reads everything. While it is asked, and the test has armed it, the client comes back as `new` on
/// another worker, as another thread may let it in at any moment.
#[derive(Default)]
struct Swap {
    elsewhere: Mutex<Option<(Worker, Option<Link>)>>,
    armed: AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl Authorize for Swap {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        let Action::Receive(name) = action else {
            return Decision::Allow;
        };
        let user = subject.username.unwrap_or_default();
        let asked = format!("{user} reads {}", name.as_str());
        self.asked.lock().unwrap().push(asked);
        if self.armed.swap(false, Ordering::Relaxed)
            && let Some((worker, link)) = self.elsewhere.lock().unwrap().as_mut()
        {
            *link = Some(connect(worker, "connect v5 id=c user=new expiry=1000"));
        }
        if user == "old" {
            Decision::Allow
        } else {
            Decision::Deny
        }
    }
}

#[test]
fn what_one_user_may_read_does_not_go_to_the_next_one() {
    // When the rights are asked for the first time, and when they are asked again for what was found and could not be
    // sent yet.
    for asked_again in [false, true] {
        let rules = Arc::new(Swap::default());
        let access = Access {
            authorize: Some(Arc::clone(&rules) as Arc<dyn Authorize>),
            ..Access::allow_all()
        };
        let broker = Broker::new(BrokerConfig::default(), access.clone(), 7);
        let mut worker = new_worker(&broker);
        *rules.elsewhere.lock().unwrap() = Some((new_worker(&broker), None));
        for number in 0..3 {
            worker
                .publish(&format!("r/{number}"), b"secret", QoS::AtLeastOnce, true)
                .unwrap();
        }
        let mut link = connect(
            &mut worker,
            "connect v5 id=c user=old expiry=1000 receive_maximum=1",
        );
        say(&mut worker, &mut link, "subscribe id=1 r/# qos=1");
        if asked_again {
            assert_eq!(count(&written(&mut worker), b"secret"), 1);
            broker.set_access(access);
            worker.turn_begin(Now::default());
            say(&mut worker, &mut link, "puback id=1");
        }
        rules.armed.store(true, Ordering::Relaxed);
        rules.asked.lock().unwrap().clear();
        written(&mut worker);
        assert!(!rules.armed.load(Ordering::Relaxed), "the client has come back");
        let (mut other, link) = rules.elsewhere.lock().unwrap().take().unwrap();
        let mut all = Vec::new();
        for _ in 0..5 {
            for worker in [&mut worker, &mut other] {
                worker.turn_begin(Now::default());
                all.extend(written(worker));
            }
        }
        assert!(link.is_some_and(|link| link.outbox().is_open()));
        assert_eq!(count(&all, b"secret"), 0, "asked again: {asked_again}");
        let asked = rules.asked.lock().unwrap();
        let last = if asked_again {
            "new reads r/1"
        } else {
            "new reads r/0"
        };
        assert!(asked.iter().any(|asked| asked == last), "{asked:?}");
    }
}

fn new_worker(broker: &Broker) -> Worker {
    let mut worker = Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    worker
}

fn connect(worker: &mut Worker, packet: &str) -> Link {
    let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
    say(worker, &mut link, packet);
    link
}

fn say(worker: &mut Worker, link: &mut Link, packet: &str) {
    worker.input(link, &words::encode(ProtocolVersion::V5, packet).unwrap());
}

/// What a worker writes in a turn, to whomever.
fn written(worker: &mut Worker) -> Vec<u8> {
    let mut all = Vec::new();
    worker.work();
    while let Some(outbox) = worker.next_dirty() {
        while let Take::Output(mut output) = worker.take_output(&outbox) {
            while !output.is_empty() {
                let chunk = output.chunk();
                all.extend_from_slice(chunk);
                let length = chunk.len();
                output.advance(length);
            }
            worker.output_done(&outbox, output, Sent::All);
        }
    }
    worker.turn_end();
    all
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .filter(|window| *window == wanted)
        .count()
}
