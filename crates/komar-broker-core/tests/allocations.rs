//! What the way of a PUBLISH allocates once it is warm: nothing at QoS 0, one body a message at QoS 1, whatever watches or
//! judges it. Without the test harness (see `Cargo.toml`): this is the only thread of the process.

#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use komar_acl::{Acl, AclFile, Options};
use komar_broker_core::{
    Access, Broker, BrokerConfig, FileAccess, Hooks, Link, ListenerFiles, ListenerPolicy, Next, Now, Sent,
    Take, Worker,
};
use komar_codec::ProtocolVersion;
use komar_testkit::words;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (on_publish, on_deliver) = (Arc::clone(&calls), Arc::clone(&calls));
    let one = Hooks::default().on_publish(move |_, _| {
        on_publish.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let two = one.clone().on_deliver(move |_| {
        on_deliver.fetch_add(1, Ordering::Relaxed);
        true
    });
    let rows = [
        ("no hook", Hooks::default(), Access::allow_all()),
        ("a publish hook", one, Access::allow_all()),
        ("a publish and a deliver hook", two.clone(), Access::allow_all()),
        ("an ACL of 10,000 rules", Hooks::default(), rules()),
        ("hooks and an ACL of 10,000 rules", two, rules()),
    ];
    for (what, hooks, access) in rows {
        for (qos, most) in [(0, 0), (1, 1)] {
            let allocated = allocations(hooks.clone(), access.clone(), qos);
            println!("{what}, QoS {qos}: {allocated} allocations for {MESSAGES} messages");
            assert!(allocated <= most * MESSAGES, "{what}, QoS {qos}: {allocated}");
        }
    }
    // Warm-up and measurement, at both QoS; the deliver hook in two rows.
    assert_eq!(calls.load(Ordering::Relaxed), 2 * (WARM + MESSAGES) * (3 + 2));
}

/// Allocations of [`MESSAGES`] messages from one client to another, with all acknowledgements.
fn allocations(hooks: Hooks, access: Access, qos: u8) -> usize {
    let broker = Broker::with_hooks(BrokerConfig::default(), access, hooks, 1);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    let policy = Arc::new(policy);
    let mut links = ["a", "b"].map(|id| {
        let mut link = worker.open(Box::new(()), &policy);
        input(&mut worker, &mut link, &format!("connect v3 id={id} clean"));
        link
    });
    let [a, b] = &mut links;
    input(&mut worker, a, "subscribe id=1 plant/5000/state qos=1");
    let identifier = if qos == 0 {
        String::new()
    } else {
        "id=7".to_owned()
    };
    let publish = format!("publish plant/5000/state \"{:x<64}\" qos={qos} {identifier}", "");
    let publish = words::encode(ProtocolVersion::V3_1_1, &publish).unwrap();
    let mut received = Vec::with_capacity(1 << 16);
    let mut run = |count: usize| {
        for _ in 0..count {
            worker.turn_begin(Now::default());
            worker.input(b, &publish);
            worker.work();
            received.clear();
            write(&mut worker, &mut received);
            if qos == 1 {
                // PUBLISH to the one, PUBACK to the other, in one order or the other.
                let place = received.iter().position(|byte| byte & 0xF0 == 0x30).unwrap();
                let name = place + 4 + "plant/5000/state".len();
                let puback = [0x40, 2, received[name], received[name + 1]];
                worker.input(a, &puback);
            }
            while worker.next_event().is_some() {}
            worker.turn_end();
        }
    };
    run(WARM);
    let region = Region::new(ALLOCATOR);
    run(MESSAGES);
    let change = region.change();
    assert_eq!(broker.statistics().publish_sent as usize, WARM + MESSAGES);
    change.allocations + change.reallocations
}

fn input(worker: &mut Worker, link: &mut Link, packet: &str) {
    worker.turn_begin(Now::default());
    worker.input(link, &words::encode(ProtocolVersion::V3_1_1, packet).unwrap());
    worker.work();
    write(worker, &mut Vec::new());
    worker.turn_end();
}

fn write(worker: &mut Worker, into: &mut Vec<u8>) {
    while let Some(outbox) = worker.next_dirty() {
        while let Take::Output(mut output) = worker.take_output(&outbox) {
            while !output.is_empty() {
                into.extend_from_slice(output.chunk());
                output.advance(output.chunk().len());
            }
            if worker.output_done(&outbox, output, Sent::All) != Next::Again {
                break;
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

const WARM: usize = 2_000;
const MESSAGES: usize = 10_000;
