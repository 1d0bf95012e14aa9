//! `acl.json`: what Mosquitto 2.0.11 and 2.1.2 were seen to decide.

use komar_acl::{Access, Acl, AclFile, Options, Subject, Substitution};
use serde_json::Value;

fn check(version: &str, substitution: Substitution) {
    let vectors: Value = serde_json::from_str(include_str!("../data/acl.json")).unwrap();
    let mut decisions = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let measured = &case["measured"][version];
        let parsed = AclFile::parse(case["acl"].as_str().unwrap().as_bytes());
        assert_eq!(
            parsed.is_ok(),
            measured["loads"].as_bool().unwrap(),
            "{name}: {parsed:?}"
        );
        let Ok(file) = parsed else { continue };
        let acl = Acl::compile(&file, Options::default().substitution(substitution));
        let queries = case["queries"].as_array().unwrap().iter();
        for (query, expected) in queries.zip(measured["decisions"].as_array().unwrap()) {
            // "disconnected": the broker refuses the topic before it asks.
            let Some(expected) = expected.as_bool() else {
                continue;
            };
            let subject = Subject {
                username: query[0].as_str(),
                client_id: query[1].as_str().unwrap(),
            };
            let access = match query[2].as_str().unwrap() {
                "read" => Access::Read,
                "write" => Access::Write,
                "subscribe" => Access::Subscribe,
                other => panic!("{other}"),
            };
            let topic = query[3].as_str().unwrap();
            assert_eq!(
                acl.decide(subject, access, topic).is_allow(),
                expected,
                "{name}: {query}"
            );
            assert_eq!(
                acl.explain(subject, access, topic).decision.is_allow(),
                expected,
                "{name}: {query}"
            );
            decisions += 1;
        }
    }
    assert!(decisions > 100, "{decisions}");
}

#[test]
fn decisions_are_those_of_mosquitto_2_1() {
    check("2.1.2", Substitution::WholeLevel);
}

#[test]
fn decisions_are_those_of_mosquitto_2_0() {
    check("2.0.11", Substitution::Anywhere);
}
