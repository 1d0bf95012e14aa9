//! A decision allocates nothing. Alone in its program: the counter counts for all threads.
#![allow(missing_docs)]

use std::alloc::System;
use std::fmt::Write as _;

use komar_acl::{Access, Acl, AclFile, Options, Subject, Substitution};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn decisions_do_not_allocate() {
    let mut text = String::from("topic read news/#\n");
    for user in 0..10 {
        writeln!(text, "user u{user}").unwrap();
        (0..user * 10).for_each(|rule| writeln!(text, "topic write a/{rule}/+/x").unwrap());
    }
    // More shapes than are asked one by one.
    for shape in 0..64 {
        let level = |place: u32| ["m", "+"][usize::from((shape >> place) & 1 == 1)];
        writeln!(
            text,
            "user many\ntopic read {}",
            (0..6).map(level).collect::<Vec<_>>().join("/")
        )
        .unwrap();
    }
    for pattern in 0..10 {
        writeln!(text, "pattern home/{pattern}/%u/%c/#").unwrap();
    }
    let file = AclFile::parse(text.as_bytes()).unwrap();
    for substitution in [Substitution::WholeLevel, Substitution::Anywhere] {
        let acl = Acl::compile(&file, Options::default().substitution(substitution));
        let region = Region::new(GLOBAL);
        let mut allowed = 0;
        for username in [
            None,
            Some("u0"),
            Some("u1"),
            Some("u9"),
            Some("many"),
            Some("nobody"),
            Some("a+b"),
        ] {
            let subject = Subject {
                username,
                client_id: "c",
            };
            for topic in [
                "news/today",
                "a/5/b/x",
                "a/89/b/x",
                "home/3/u9/c/door",
                "$SYS/broker/uptime",
                "m/m/m/m/m/m",
                "x",
            ] {
                for access in [
                    Access::Read,
                    Access::Write,
                    Access::Subscribe,
                    Access::Unsubscribe,
                ] {
                    allowed += usize::from(acl.decide(subject, access, topic).is_allow());
                }
            }
        }
        assert_eq!(region.change().allocations, 0);
        assert_eq!(
            allowed,
            7 * 7 * 2 + 1 + 3 + 2 + 1,
            "the questions reach all kinds of rules"
        );
    }
}
