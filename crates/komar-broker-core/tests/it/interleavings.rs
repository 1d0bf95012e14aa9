//! Subscribe against publish, in each order: `data/interleavings.txt`.

use std::sync::Arc;

use komar_broker_core::{Access, BrokerConfig, ListenerPolicy};
use komar_codec::ProtocolVersion::V5;
use komar_testkit::{PeerId, Site, words};

use crate::tables::check;

#[test]
fn subscribe_against_publish() {
    check("interleavings.txt", |fields| {
        let [steps, outcomes] = fields else {
            return Err("two columns".to_owned());
        };
        for qos in 0..=2 {
            for order in 0..8 {
                let got = play(steps, qos, order)?;
                if !outcomes.split(" or ").any(|outcome| outcome.trim() == got) {
                    return Err(format!("QoS {qos}, order {order}: {got}"));
                }
            }
        }
        Ok(())
    });
}

/// Plays the steps and says what came.
fn play(steps: &str, qos: u8, order: u64) -> Result<String, String> {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 2);
    site.set_order(order);
    let policy = Arc::new(ListenerPolicy::default());
    let peers = [0, 1].map(|worker| site.open(worker, &policy));
    for (peer, name) in peers.iter().zip(["p", "s"]) {
        site.send(*peer, &words::encode(V5, &format!("connect v5 id={name} clean"))?);
    }
    site.settle();
    let mut got = Vec::new();
    let (mut number, mut steps) = (0, steps.split(' ').peekable());
    while let Some(step) = steps.next() {
        number += 1;
        let (peer, packet) = packet(step, number, qos, &peers)?;
        site.send(peer, &words::encode(V5, &packet)?);
        if steps.next_if_eq(&"&").is_none() {
            settle(&mut site, peers, &mut got)?;
        }
    }
    Ok(if got.is_empty() {
        "-".to_owned()
    } else {
        got.join(" ")
    })
}

/// Who sends what.
fn packet(step: &str, number: usize, qos: u8, peers: &[PeerId; 2]) -> Result<(PeerId, String), String> {
    let [publisher, subscriber] = *peers;
    Ok(match step {
        "s" => (subscriber, format!("subscribe id={number} t qos={qos}")),
        "s1" | "s2" => {
            let handling = step.trim_start_matches('s');
            (
                subscriber,
                format!("subscribe id={number} t qos={qos} handling={handling}"),
            )
        }
        "u" => (subscriber, format!("unsubscribe id={number} t")),
        _ => {
            let (payload, retain) = match step.strip_suffix('r') {
                Some(payload) => (payload, " retain"),
                None => (step, ""),
            };
            let payload = if payload == "0" { "" } else { payload };
            let identifier = if qos == 0 {
                String::new()
            } else {
                format!(" qos={qos} id={number}")
            };
            (publisher, format!(r#"publish t "{payload}"{identifier}{retain}"#))
        }
    })
}

/// Lets both clients read and answer until nothing comes any more.
fn settle(site: &mut Site, peers: [PeerId; 2], got: &mut Vec<String>) -> Result<(), String> {
    loop {
        site.settle();
        let mut quiet = true;
        for peer in peers {
            while let Some(said) = site.next_packet(peer, V5)? {
                quiet = false;
                if let Some(payload) = said.to_string().strip_prefix("publish t \"") {
                    let payload = payload.split('"').next().unwrap_or_default();
                    let retain = if said.matches("publish t retain ...")? {
                        "r"
                    } else {
                        ""
                    };
                    got.push(format!(
                        "{}{retain}",
                        if payload.is_empty() { "0" } else { payload }
                    ));
                }
                let answer = match (said.name(), said.to_string().split("id=").nth(1)) {
                    ("pubrec", Some(rest)) => {
                        let identifier = rest.split(' ').next().unwrap_or_default();
                        Some(format!("pubrel id={identifier}"))
                    }
                    _ => said.answer().map(str::to_owned),
                };
                if let Some(answer) = answer {
                    site.send(peer, &words::encode(V5, &answer)?);
                }
            }
        }
        if quiet {
            return Ok(());
        }
    }
}
