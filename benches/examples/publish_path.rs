//! The way of a PUBLISH from one client to another through the core, acknowledgements included, for a counter of
//! instructions: `valgrind --tool=callgrind publish_path hook 1 100 20000`, twice with different numbers of messages, whose
//! difference is what messages take. `benches/results/publish_path.md` has the figures.

use std::fmt::Write as _;
use std::sync::Arc;

use komar_acl::{Acl, AclFile, Options};
use komar_broker_core::{
    Access, Broker, BrokerConfig, FileAccess, Hooks, Link, ListenerFiles, ListenerPolicy, Next, Now, Sent,
    Take, Worker,
};

const TOPIC: &str = "plant/5000/state";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [row, numbers @ ..] = arguments.as_slice() else {
        panic!("publish_path plain|hook|hooks|acl|store QOS BATCH MESSAGES");
    };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let [qos, batch, messages] = numbers[..] else {
        panic!("QOS BATCH MESSAGES");
    };
    let (mut hooks, mut access, mut config) =
        (Hooks::default(), Access::allow_all(), BrokerConfig::default());
    config.limits.maximum_inflight_messages = u16::MAX;
    match row.as_str() {
        "plain" => {}
        "hook" => hooks = hooks.on_publish(|_, _| Ok(())),
        "hooks" => hooks = hooks.on_publish(|_, _| Ok(())).on_deliver(|_| true),
        "acl" => access = rules(),
        "store" => config.durable = true,
        _ => panic!("no row: {row}"),
    }
    let broker = Broker::with_hooks(config, access, hooks, 1);
    Scene::new(&broker).play(u8::try_from(qos).unwrap(), batch, messages);
    assert_eq!(broker.statistics().publish_sent as usize, messages);
}

/// A worker, a receiver and a publisher.
struct Scene {
    worker: Worker,
    links: [Link; 2],
}

impl Scene {
    fn new(broker: &Broker) -> Scene {
        let mut worker = Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
        let mut policy = ListenerPolicy::default();
        policy.allow_anonymous = true;
        let policy = Arc::new(policy);
        let links = [0, 1].map(|number| worker.open(Box::new(number), &policy));
        let mut scene = Scene { worker, links };
        for (link, name) in [b'a', b'b'].into_iter().enumerate() {
            // The receiver's Session survives, where there is a store.
            let clean = u8::try_from(link).unwrap() << 1;
            let body = [b"\0\x04MQTT\x04".as_slice(), &[clean, 0, 0, 0, 1, name]].concat();
            scene.turn(link, &packet(0x10, &body));
        }
        scene.turn(
            0,
            &packet(0x82, &[&[0, 1], string(TOPIC).as_slice(), &[2]].concat()),
        );
        scene
    }

    fn play(&mut self, qos: u8, batch: usize, messages: usize) {
        let mut input = Vec::new();
        for number in 1..=batch {
            let identifier = u16::try_from(number).unwrap().to_be_bytes();
            let identifier = if qos > 0 { &identifier[..] } else { &[] };
            let body = [string(TOPIC).as_slice(), identifier, &[0x41; 64]].concat();
            input.extend(packet(0x30 | qos << 1, &body));
        }
        for _ in 0..messages / batch {
            let received = self.turn(1, &input);
            if qos == 1 {
                let acknowledgements: Vec<u8> = received
                    .chunks(2 + 2 + TOPIC.len() + 2 + 64)
                    .flat_map(|publish| [0x40, 2, publish[4 + TOPIC.len()], publish[5 + TOPIC.len()]])
                    .collect();
                self.turn(0, &acknowledgements);
            }
        }
    }

    /// What the receiver was sent in a turn with one input, and in the next if a store has to say something in between.
    fn turn(&mut self, link: usize, bytes: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        self.worker.turn_begin(Now::default());
        self.worker.input(&mut self.links[link], bytes);
        self.worker.work();
        self.write(&mut received);
        while self.worker.next_event().is_some() {}
        let persist = self.worker.turn_end().persist;
        if !persist.is_empty() {
            self.worker.turn_begin(Now::default());
            self.worker.durable(persist.last).expect("it has made them");
            self.write(&mut received);
            self.worker.turn_end();
        }
        received
    }

    fn write(&mut self, received: &mut Vec<u8>) {
        while let Some(outbox) = self.worker.next_dirty() {
            let is_receiver = outbox.handle().downcast_ref::<i32>() == Some(&0);
            while let Take::Output(mut output) = self.worker.take_output(&outbox) {
                while !output.is_empty() {
                    if is_receiver {
                        received.extend_from_slice(output.chunk());
                    }
                    output.advance(output.chunk().len());
                }
                if self.worker.output_done(&outbox, output, Sent::All) != Next::Again {
                    break;
                }
            }
        }
    }
}

/// Rules for 10,000 topics, of which the one in the middle is used.
fn rules() -> Access {
    let mut text = String::new();
    for number in 0..10_000 {
        // Writing to a String does not fail.
        let _ = writeln!(text, "topic readwrite plant/{number}/state");
    }
    let file = AclFile::parse(text.as_bytes()).unwrap();
    let files = ListenerFiles {
        acl: Some(Arc::new(Acl::compile(&file, Options::default()))),
        ..ListenerFiles::default()
    };
    FileAccess::new(files).into_access()
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128, "one byte of Remaining Length");
    [&[first, length], body].concat()
}
