//! Hooks that watch, refuse, rewrite, publish, disconnect their own client, and panic; with one worker and with several.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use komar_broker_core::{
    Access, Action, Authenticate, Authentication, Authorize, Broker, BrokerConfig, CloseCause, Decision,
    Hooks, Known, ListenerId, ListenerPolicy, Login, Now, PublishError, Subject, Worker,
};
use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_testkit::{PeerId, Site, words};

use crate::desk::{hears, hears_nothing, join, open, say};

/// Plays with one worker and with three.
fn with_sites(hooks: impl Fn() -> Hooks, play: impl Fn(&mut Site)) {
    for workers in [1, 3] {
        let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks(), 7);
        play(&mut Site::with_broker(broker, workers));
    }
}

fn subscriber(site: &mut Site, filters: &str) -> PeerId {
    let s = join(site, 1, "connect v5 id=s clean");
    say(site, s, &format!("subscribe id=1 {filters}"));
    hears(site, s, "suback id=1 ...");
    s
}

#[test]
fn a_publish_hook_rewrites_and_refuses_whatever_the_qos() {
    let hooks = || {
        Hooks::default().on_publish(|publish, _| {
            if publish.topic_name() == "no" {
                return Err(ReasonCode::QuotaExceeded);
            }
            // A refusal that is none is one all the same.
            if publish.topic_name() == "odd" {
                return Err(ReasonCode::Success);
            }
            if publish.topic_name() == "old" {
                assert!(publish.set_topic_name("#").is_err());
                publish.set_topic_name("new").unwrap();
                let mut payload = publish.payload().to_vec();
                payload.reverse();
                publish.set_payload(payload);
                publish.set_retain(publish.is_will());
            }
            Ok(())
        })
    };
    with_sites(hooks, |site| {
        let s = subscriber(site, "#");
        let a = join(site, 0, "connect v5 id=a clean will=old will_payload=abc");
        say(
            site,
            a,
            r#"publish old "123" retain + publish old "456" qos=1 id=1 + publish old "789" qos=2 id=2"#,
        );
        hears(site, a, "puback id=1");
        hears(site, a, "pubrec id=2");
        say(site, a, "pubrel id=2");
        hears(site, a, "pubcomp id=2");
        for payload in ["321", "654", "987"] {
            hears(site, s, &format!("publish new \"{payload}\""));
        }
        say(
            site,
            a,
            r#"publish no "x" + publish no "x" qos=1 id=1 + publish no "x" qos=2 id=2 + publish odd "x" qos=1 id=3"#,
        );
        hears(site, a, "puback id=1 quota_exceeded");
        hears(site, a, "pubrec id=2 quota_exceeded");
        hears(site, a, "puback id=3 unspecified_error");
        hears_nothing(site, s);
        // What is the broker's own does not come by.
        site.publish("no", b"own", QoS::AtMostOnce, false).unwrap();
        hears(site, s, r#"publish no "own""#);
        site.hang_up(a);
        hears(site, s, r#"publish new "cba""#);
        assert_eq!(site.broker().statistics().retained_messages, 1);
    });
}

#[test]
fn hooks_publish_and_their_messages_come_after_what_caused_them() {
    let hooks = || {
        Hooks::default()
            .on_connect(|connecting, actions| {
                let text = connecting.identity().client_id.as_bytes();
                actions
                    .publish("log/connect", text, QoS::AtLeastOnce, false)
                    .unwrap();
                assert!(matches!(
                    actions.publish("log/+", b"", QoS::AtMostOnce, false),
                    Err(PublishError::TopicName(_))
                ));
                Ok(())
            })
            .on_publish(|publish, actions| {
                // Its own messages do not come here, so this ends.
                actions
                    .publish("log/publish", publish.payload(), publish.qos(), false)
                    .unwrap();
                Ok(())
            })
            .on_subscribe(|subscribing, actions| {
                if subscribing.filter() == "secret" {
                    return Err(ReasonCode::NotAuthorized);
                }
                if subscribing.filter() == "low" {
                    subscribing.set_maximum_qos(QoS::AtMostOnce);
                    subscribing.set_maximum_qos(QoS::ExactlyOnce);
                }
                let filter = subscribing.filter().as_bytes().to_vec();
                actions
                    .publish("log/subscribe", &filter, QoS::AtMostOnce, false)
                    .unwrap();
                Ok(())
            })
            .on_disconnect(|disconnecting, actions| {
                let text = format!(
                    "{}: {}",
                    disconnecting.identity().client_id,
                    disconnecting.cause()
                );
                actions
                    .publish("log/disconnect", text.as_bytes(), QoS::AtMostOnce, true)
                    .unwrap();
            })
    };
    with_sites(hooks, |site| {
        let s = join(site, 1, "connect v5 id=s clean");
        say(site, s, "subscribe id=1 #");
        // Before the answer, so that the answer can wait for the store to have it.
        hears(site, s, r##"publish log/subscribe "#""##);
        hears(site, s, "suback id=1 ...");
        let a = join(site, 0, "connect v5 id=a clean");
        hears(site, s, r#"publish log/connect "a""#);
        say(site, a, r#"publish t "1" + publish t "2""#);
        for (topic, payload) in [("t", "1"), ("log/publish", "1"), ("t", "2"), ("log/publish", "2")] {
            hears(site, s, &format!("publish {topic} \"{payload}\""));
        }
        say(site, a, "subscribe id=1 secret low qos=2 other qos=1");
        hears(site, a, "suback id=1 not_authorized granted_qos0 granted_qos1");
        hears(site, s, r#"publish log/subscribe "low""#);
        hears(site, s, r#"publish log/subscribe "other""#);
        say(site, a, "disconnect");
        hears(site, s, r#"publish log/disconnect "a: disconnected""#);
        hears_nothing(site, s);
        assert_eq!(site.broker().statistics().retained_messages, 1);
    });
}

/// What a hook publishes for a message of QoS 2 is no more doubled than the message.
#[test]
fn a_message_of_qos_2_that_is_sent_again_is_not_shown_again() {
    let hooks = || {
        let calls = AtomicUsize::new(0);
        Hooks::default().on_publish(move |publish, actions| {
            let number = calls.fetch_add(1, Ordering::Relaxed).to_string();
            actions
                .publish("log", number.as_bytes(), publish.qos(), false)
                .unwrap();
            publish.set_payload(number.into_bytes());
            Ok(())
        })
    };
    with_sites(hooks, |site| {
        let s = subscriber(site, "# qos=2");
        let a = join(site, 0, "connect v5 id=a expiry=100");
        say(site, a, "publish t x qos=2 id=1");
        hears(site, a, "pubrec id=1");
        hears(site, s, r#"publish log "0" qos=2 id=1"#);
        // PUBREC is lost, and the sender cannot know.
        site.hang_up(a);
        site.settle();
        let a = join(site, 1, "connect v5 id=a expiry=100");
        for _ in 0..2 {
            say(site, a, "publish t x qos=2 id=1 dup");
            hears(site, a, "pubrec id=1");
            hears_nothing(site, s);
        }
        say(site, a, "pubrel id=1");
        hears(site, a, "pubcomp id=1");
        // As the hook left it the first time.
        hears(site, s, r#"publish t "0" qos=2 id=2"#);
        // The identifier is free, so this is another message.
        say(site, a, "publish t x qos=2 id=1");
        hears(site, a, "pubrec id=1");
        hears(site, s, r#"publish log "1" qos=2 id=3"#);
        say(site, a, "pubrel id=1");
        hears(site, a, "pubcomp id=1");
        hears(site, s, r#"publish t "1" qos=2 id=4"#);
    });
}

#[test]
fn what_a_hook_publishes_because_of_one_packet_is_bounded() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let hooks = Hooks::default().on_publish(move |_, actions| {
        for _ in 0..11_000 {
            if actions.publish("t", b"", QoS::AtMostOnce, false) == Err(PublishError::Full) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut site = Site::with_broker(broker, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, r#"publish x "1""#);
    assert_eq!(refused.load(Ordering::Relaxed), 1000);
    hears_nothing(&mut site, a);
}

#[test]
fn a_connect_hook_refuses_before_there_is_a_session() {
    let hooks = || {
        Hooks::default().on_connect(|connecting, _| {
            if connecting.identity().client_id.starts_with("bad") {
                Err(ReasonCode::Banned)
            } else {
                Ok(())
            }
        })
    };
    with_sites(hooks, |site| {
        let first = join(site, 0, "connect v5 id=good clean");
        let bad = open(site, 1, "connect v5 id=bad clean");
        hears(site, bad, "connack banned session_present=0");
        assert!(site.is_closed(bad));
        assert_eq!(site.broker().statistics().sessions, 1);
        hears_nothing(site, first);
    });
}

#[test]
fn hooks_disconnect_their_own_client_once_its_packet_is_answered() {
    let hooks = || {
        Hooks::default()
            .on_connect(|connecting, actions| {
                if &*connecting.identity().client_id == "brief" {
                    actions.disconnect(ReasonCode::UseAnotherServer);
                }
                Ok(())
            })
            .on_publish(|publish, actions| {
                if publish.topic_name() == "bye" {
                    actions.disconnect(ReasonCode::QuotaExceeded);
                }
                Ok(())
            })
            .on_subscribe(|_, actions| {
                actions.disconnect(ReasonCode::AdministrativeAction);
                Err(ReasonCode::NotAuthorized)
            })
            .on_disconnect(|_, actions| actions.disconnect(ReasonCode::Banned))
    };
    with_sites(hooks, |site| {
        let brief = join(site, 2, "connect v5 id=brief clean");
        hears(site, brief, "disconnect use_another_server");
        let other = join(site, 1, "connect v5 id=other clean");
        let a = join(site, 0, "connect v5 id=a clean will=bye will_payload=x");
        say(
            site,
            a,
            r#"publish t "1" qos=1 id=1 + publish bye "2" qos=1 id=2 + publish t "3" qos=1 id=3"#,
        );
        hears(site, a, "puback id=1 no_matching_subscribers");
        hears(site, a, "puback id=2 no_matching_subscribers");
        hears(site, a, "disconnect quota_exceeded");
        assert!(site.is_closed(a));
        assert_eq!(site.close_cause(a), Some(CloseCause::AdministrativeAction));
        let b = join(site, 0, "connect v5 id=b clean");
        say(site, b, "subscribe id=1 t");
        hears(site, b, "suback id=1 not_authorized");
        hears(site, b, "disconnect administrative_action");
        hears_nothing(site, other);
    });
}

#[test]
fn a_deliver_hook_leaves_messages_out_live_and_retained_for_one_client_only() {
    let hooks = || {
        Hooks::default().on_deliver(|delivering| {
            !(&*delivering.identity().client_id == "s" && delivering.payload().starts_with(b"hidden"))
        })
    };
    with_sites(hooks, |site| {
        site.publish("r", b"hidden", QoS::AtMostOnce, true).unwrap();
        let s = subscriber(site, "t qos=1 r $share/g/sh");
        let a = join(site, 0, "connect v5 id=a clean");
        say(site, a, "subscribe id=1 t r $share/g/sh");
        hears(site, a, "suback id=1 ...");
        hears(site, a, r#"publish r "hidden" retain"#);
        for _ in 0..2 {
            say(
                site,
                a,
                r#"publish t "hidden" qos=1 id=1 + publish t "shown" qos=1 id=2"#,
            );
            hears(site, a, r#"publish t "hidden""#);
            hears(site, a, r#"publish t "shown""#);
            hears(site, a, "puback id=1");
            hears(site, a, "puback id=2");
            hears(site, s, r#"publish t "shown" qos=1 id=?"#);
        }
        // Of a Shared Subscription another member gets it.
        for _ in 0..3 {
            site.publish("sh", b"hidden", QoS::AtMostOnce, false).unwrap();
            hears(site, a, r#"publish sh "hidden""#);
        }
        hears_nothing(site, s);
    });
}

#[test]
fn a_hook_that_panics_costs_the_link_that_it_was_called_for_and_nobody_else() {
    fn panic_if(it: bool) {
        if it {
            std::panic::resume_unwind(Box::new("a hook panicked"));
        }
    }
    let hooks = || {
        Hooks::default()
            .on_connect(|connecting, _| {
                panic_if(&*connecting.identity().client_id == "panic");
                Ok(())
            })
            .on_disconnect(|disconnecting, _| panic_if(&*disconnecting.identity().client_id == "x"))
            .on_publish(|publish, _| {
                panic_if(publish.topic_name() == "panic");
                Ok(())
            })
            .on_subscribe(|subscribing, _| {
                panic_if(subscribing.filter() == "panic");
                Ok(())
            })
            .on_deliver(|delivering| {
                panic_if(delivering.payload() == b"panic");
                true
            })
    };
    with_sites(hooks, |site| {
        let s = subscriber(site, "#");
        let p = open(site, 0, "connect v5 id=panic clean");
        hears(site, p, "connack implementation_specific_error session_present=0");
        for packet in [
            r#"publish panic "x" qos=1 id=1"#,
            r#"publish panic "x""#,
            "subscribe id=1 panic",
        ] {
            let x = join(site, 0, "connect v5 id=x clean will=panic will_payload=x");
            say(site, x, packet);
            hears(site, x, "disconnect implementation_specific_error");
            // v3 [MQTT-4.8.0-2]
            assert!(site.is_closed(x));
        }
        let a = join(site, 2, "connect v5 id=a clean");
        say(
            site,
            a,
            r#"publish t "panic" qos=1 id=1 + publish t "fine" qos=1 id=2"#,
        );
        hears(site, a, "puback id=1");
        hears(site, a, "puback id=2");
        hears(site, s, r#"publish t "fine""#);
        hears_nothing(site, s);
        assert_eq!(site.broker().statistics().connected, 2);
    });
}

#[test]
fn no_lock_is_held_while_a_hook_runs() {
    // Each asks the broker what would wait for ever if the lock of the Session, the index or the registry was held.
    let broker: Arc<Mutex<Option<Broker>>> = Arc::default();
    let looked = Arc::new(AtomicUsize::new(0));
    let look = {
        let (broker, looked) = (Arc::clone(&broker), Arc::clone(&looked));
        move || {
            let broker = broker.lock().unwrap().clone().unwrap();
            broker.for_each_session(|session| {
                broker.subscriptions(&session.client_id);
                broker.session(&session.client_id);
            });
            broker.statistics();
            broker.stored_messages();
            broker.delete_retained(komar_topic::TopicFilter::new("none").unwrap(), false);
            looked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let looks: [_; 5] = core::array::from_fn(|_| look.clone());
    let [connect, disconnect, publish, subscribe, deliver] = looks;
    let hooks = Hooks::default()
        .on_connect(move |_, _| {
            connect();
            Ok(())
        })
        .on_disconnect(move |_, _| disconnect())
        .on_publish(move |_, _| {
            publish();
            Ok(())
        })
        .on_subscribe(move |_, _| {
            subscribe();
            Ok(())
        })
        .on_deliver(move |_| {
            deliver();
            true
        });
    let made = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    *broker.lock().unwrap() = Some(made.clone());
    let mut site = Site::with_broker(made, 2);
    let s = subscriber(&mut site, "t");
    let a = join(&mut site, 0, "connect v5 id=a clean will=t will_payload=w");
    say(&mut site, a, r#"publish t "x" retain qos=1 id=1"#);
    hears(&mut site, a, "puback id=1");
    hears(&mut site, s, r#"publish t "x""#);
    say(&mut site, s, "subscribe id=2 t");
    hears(&mut site, s, "suback id=2 granted_qos0");
    hears(&mut site, s, r#"publish t "x" retain"#);
    site.hang_up(a);
    hears(&mut site, s, r#"publish t "w""#);
    // Two CONNECTs, two SUBSCRIBEs, a PUBLISH and a Will Message, three deliveries, an end.
    assert_eq!(looked.load(Ordering::Relaxed), 2 + 2 + 2 + 3 + 1);
    *broker.lock().unwrap() = None;
}

/// The Connection of a will has ended: what a hook wants with it must not meet the next one.
#[test]
fn a_hook_that_ends_the_connection_of_a_will_ends_no_other() {
    let hooks = || {
        Hooks::default().on_publish(|publish, actions| {
            if publish.is_will() {
                actions.disconnect(ReasonCode::NotAuthorized);
                return Err(ReasonCode::NotAuthorized);
            }
            Ok(())
        })
    };
    with_sites(hooks, |site| {
        let s = subscriber(site, "#");
        let a = join(site, 1, "connect v5 id=a clean will=w will_payload=abc");
        site.hang_up(a);
        site.settle();
        say(site, s, "pingreq");
        hears(site, s, "pingresp");
    });
}

/// A panic while a reload asks again costs the Connection that it was about.
#[test]
fn a_panic_at_a_recheck_costs_one_connection() {
    struct Forgetful;
    impl Authenticate for Forgetful {
        fn authenticate(&self, _: &Login<'_>) -> Authentication {
            Authentication::Accept
        }

        fn recheck(&self, client: &Known<'_>) -> Result<(), ReasonCode> {
            if &*client.identity.client_id == "a" {
                std::panic::resume_unwind(Box::new("it panicked"));
            }
            Ok(())
        }
    }
    let access = Access {
        authenticate: Arc::new(Forgetful),
        ..Access::allow_all()
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    let b = join(&mut site, 0, "connect v5 id=b clean");
    let policy = Arc::new(ListenerPolicy::default());
    for peer in [a, b] {
        site.recheck(peer, &policy);
    }
    hears(&mut site, a, "disconnect implementation_specific_error ...");
    assert!(site.is_closed(a));
    say(&mut site, b, "pingreq");
    hears(&mut site, b, "pingresp");
}

#[test]
fn a_connect_hook_hears_of_nobody_for_whom_there_is_no_room() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (connected, disconnected) = (Arc::clone(&calls), Arc::clone(&calls));
    let hooks = Hooks::default()
        .on_connect(move |connecting, _| {
            connected
                .lock()
                .unwrap()
                .push(format!("{} comes", connecting.identity().client_id));
            Ok(())
        })
        .on_disconnect(move |disconnecting, _| {
            disconnected
                .lock()
                .unwrap()
                .push(format!("{} goes", disconnecting.identity().client_id));
        });
    let mut config = BrokerConfig::default();
    config.limits.maximum_sessions = Some(1);
    let mut site = Site::with_broker(Broker::with_hooks(config, Access::allow_all(), hooks, 7), 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    let b = open(&mut site, 0, "connect v5 id=b clean");
    hears(&mut site, b, "connack server_busy session_present=0");
    // Whose Session is there needs no room.
    join(&mut site, 0, "connect v5 id=a clean");
    assert!(site.is_closed(a) && site.is_closed(b));
    assert_eq!(*calls.lock().unwrap(), ["a comes", "a comes", "a goes"]);
}

#[test]
fn a_hook_cannot_retain_where_retain_is_not_available() {
    let hooks = Hooks::default().on_publish(|publish, _| {
        publish.set_retain(true);
        Ok(())
    });
    let mut config = BrokerConfig::default();
    config.retain_available = false;
    let mut site = Site::with_broker(Broker::with_hooks(config, Access::allow_all(), hooks, 7), 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "subscribe id=1 t as_published");
    hears(&mut site, a, "suback id=1 ...");
    say(&mut site, a, r#"publish t "x""#);
    hears(&mut site, a, r#"publish t "x""#);
    assert_eq!(site.broker().statistics().retained_messages, 0);
}

/// As many as may publish in one call, and one more: each call has room for its own.
#[test]
fn however_many_connections_end_at_once_each_has_its_last_word() {
    let hooks = Hooks::default().on_disconnect(|_, actions| {
        for _ in 0..5_001 {
            actions.publish("t", b"gone", QoS::AtMostOnce, false).unwrap();
        }
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(7)));
    let mut links = ["a", "b"].map(|name| {
        let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
        let connect = words::encode(ProtocolVersion::V5, &format!("connect v5 id={name} clean")).unwrap();
        worker.input(&mut link, &connect);
        link
    });
    for link in &mut links {
        worker.close(link, CloseCause::ConnectionClosed);
    }
    worker.work();
}

/// What the hook has let one user have, sent or not, is not for the next one unless it says so again.
#[test]
fn a_deliver_hook_is_asked_again_when_another_user_takes_the_session_up() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let hooks = || {
        let asked = Arc::clone(&asked);
        Hooks::default().on_deliver(move |delivering| {
            let user = delivering.identity().username.as_deref().unwrap_or("nobody");
            asked
                .lock()
                .unwrap()
                .push(format!("{user} {}", delivering.topic_name()));
            user == "old" || delivering.payload() == b"open"
        })
    };
    with_sites(hooks, |site| {
        for name in ["r/0", "r/1", "r/2"] {
            let payload: &[u8] = if name == "r/2" { b"open" } else { b"secret" };
            site.publish(name, payload, QoS::AtLeastOnce, true).unwrap();
        }
        let old = "connect v5 id=c user=old password=x expiry=1000 receive_maximum=1";
        let a = join(site, 1, old);
        say(site, a, "subscribe id=1 r/# qos=1 + subscribe id=2 t/# qos=1");
        hears(site, a, "suback id=1 granted_qos1");
        hears(site, a, "suback id=2 granted_qos1");
        // One of the retained messages is under way, the others wait, and so do these.
        hears(site, a, r#"publish r/0 "secret" qos=1 id=1 retain"#);
        for (name, payload) in [("t/0", "secret"), ("t/1", "open")] {
            site.publish(name, payload.as_bytes(), QoS::AtLeastOnce, false)
                .unwrap();
        }
        site.settle();
        site.hang_up(a);
        // The same user is not asked about again, whichever listener it comes by.
        asked.lock().unwrap().clear();
        for listener in [0, 1] {
            let a = join_by(site, listener, old);
            assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
            hears(site, a, r#"publish r/0 "secret" qos=1 id=1 dup retain"#);
            site.hang_up(a);
        }
        let b = join(site, 2, "connect v5 id=c user=new password=x expiry=1000");
        let mut came = Vec::new();
        while let Some(packet) = site.next_packet(b, ProtocolVersion::V5).unwrap() {
            came.push(packet.to_string());
        }
        assert_eq!(came.len(), 2, "{came:?}");
        for name in ["t/1", "r/2"] {
            assert!(came.iter().any(|text| text.contains(name)), "{came:?}");
        }
        let mut asked = core::mem::take(&mut *asked.lock().unwrap());
        asked.sort();
        assert_eq!(asked, ["new r/0", "new r/1", "new r/2", "new t/0", "new t/1"]);
    });
}

/// An identifier that meets one of another user's, or of the same user before its client had lost its state, is no reason to
/// take the one message for the other.
#[test]
fn a_hook_takes_no_message_for_another_ones() {
    with_sites(
        || Hooks::default().on_publish(|_, _| Ok(())),
        |site| {
            let s = subscriber(site, "#");
            let a = join(site, 0, "connect v5 id=c user=alice password=x expiry=1000");
            say(site, a, r#"publish alice "1" qos=2 id=1"#);
            hears(site, a, "pubrec id=1 ...");
            site.hang_up(a);
            let b = join(site, 0, "connect v5 id=c user=bob password=x expiry=1000");
            say(site, b, r#"publish bob "2" qos=2 id=1 dup + pubrel id=1"#);
            hears(site, b, "pubrec id=1 ...");
            hears(site, b, "pubcomp id=1");
            hears(site, s, r#"publish bob "2""#);
            say(
                site,
                b,
                r#"publish bob "3" qos=2 id=1 + publish bob "4" qos=2 id=1 + pubrel id=1"#,
            );
            hears(site, s, r#"publish bob "4""#);
            hears_nothing(site, s);
        },
    );
}

/// A DUP of a message that was let through is the same one, whichever listener it comes by, and whoever has had the Session in
/// between.
#[test]
fn a_publish_hook_sees_a_message_once_whatever_the_listener() {
    let seen: Arc<Mutex<usize>> = Arc::default();
    let hooks = || {
        let seen = Arc::clone(&seen);
        Hooks::default().on_publish(move |_, _| {
            *seen.lock().unwrap() += 1;
            Ok(())
        })
    };
    with_sites(hooks, |site| {
        *seen.lock().unwrap() = 0;
        let s = subscriber(site, "#");
        let alice = "connect v5 id=c user=alice password=x expiry=1000";
        let a = join_by(site, 0, alice);
        say(site, a, r#"publish t "1" qos=2 id=1"#);
        hears(site, a, "pubrec id=1 ...");
        site.hang_up(a);
        let b = join_by(site, 0, "connect v5 id=c user=bob password=x expiry=1000");
        site.hang_up(b);
        let a = join_by(site, 1, alice);
        say(site, a, r#"publish t "1" qos=2 id=1 dup + pubrel id=1"#);
        hears(site, s, r#"publish t "1""#);
        hears_nothing(site, s);
        assert_eq!(*seen.lock().unwrap(), 1);
    });
}

/// What hooks publish for many Connections that end in one turn does not pile up.
#[test]
fn what_disconnect_hooks_publish_is_routed_before_it_is_much() {
    let hooks = Hooks::default().on_disconnect(|_, actions| {
        actions
            .publish("status", &[b'x'; 100_000], QoS::AtLeastOnce, false)
            .unwrap();
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    let policy = Arc::new(ListenerPolicy::default());
    let open = |worker: &mut Worker, packets: &str| {
        let mut link = worker.open(Box::new(()), &policy);
        worker.input(&mut link, &words::encode(ProtocolVersion::V5, packets).unwrap());
        link
    };
    let mut s = open(
        &mut worker,
        "connect v5 id=s expiry=1000 receive_maximum=1 + subscribe id=1 status qos=1",
    );
    let mut links: Vec<_> = (0..25)
        .map(|number| open(&mut worker, &format!("connect v5 id=c{number} clean")))
        .collect();
    worker.close(&mut s, CloseCause::ConnectionClosed);
    for link in &mut links {
        worker.close(link, CloseCause::ConnectionClosed);
    }
    // Of 26, which are more than one megabyte twice.
    assert_eq!(broker.waiting_messages("s"), Some(22));
    worker.work();
    assert_eq!(broker.waiting_messages("s"), Some(26));
}

fn join_by(site: &mut Site, listener: u16, connect: &str) -> PeerId {
    let mut policy = ListenerPolicy::default();
    policy.id = ListenerId(listener);
    let peer = site.open(0, &Arc::new(policy));
    say(site, peer, connect);
    hears(site, peer, "connack success ...");
    peer
}

/// Clients write below `in/` only.
struct Ingest;

impl Authorize for Ingest {
    fn authorize(&self, _: &Subject<'_>, action: Action<'_>) -> Decision {
        match action {
            Action::Publish(name) if !name.as_str().starts_with("in/") => Decision::Deny,
            _ => Decision::Allow,
        }
    }
}

#[test]
fn what_a_hook_has_retained_elsewhere_is_sent_though_the_client_may_not_write_there() {
    let hooks = Hooks::default().on_publish(|publish, _| {
        if let Some(name) = publish.topic_name().strip_prefix("in/") {
            let name = format!("store/{name}");
            publish.set_topic_name(&name).unwrap();
            publish.set_retain(true);
        }
        Ok(())
    });
    let access = Access {
        authorize: Some(Arc::new(Ingest)),
        ..Access::allow_all()
    };
    let broker = Broker::with_hooks(BrokerConfig::default(), access, hooks, 7);
    let mut site = Site::with_broker(broker, 2);
    let a = join(&mut site, 0, "connect v5 id=a clean will=in/will will_payload=w");
    say(
        &mut site,
        a,
        "publish in/0 x + publish in/1 x qos=1 id=1 + publish in/2 x qos=2 id=2 + pubrel id=2",
    );
    site.hang_up(a);
    site.settle();
    assert_eq!(site.broker().statistics().retained_messages, 4);
    let s = join(&mut site, 1, "connect v5 id=s clean");
    for name in ["0", "1", "2", "will"] {
        say(&mut site, s, &format!("subscribe id=1 store/{name}"));
        hears(&mut site, s, "suback id=1 granted_qos0");
        hears(&mut site, s, &format!("publish store/{name} retain ..."));
    }
    // In its own name it may not.
    let b = join(&mut site, 0, "connect v5 id=b clean");
    say(&mut site, b, "publish store/3 x qos=1 id=1 retain");
    hears(&mut site, b, "puback id=1 not_authorized");
}

/// What a panic carries, whose end is another panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("and again"));
    }
}

#[test]
fn a_panic_that_ends_in_another_one_costs_no_more_than_any() {
    let hooks = Hooks::default().on_publish(|_, _| std::panic::resume_unwind(Box::new(Bomb)));
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut site = Site::with_broker(broker, 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "publish t x");
    hears(&mut site, a, "disconnect implementation_specific_error");
    join(&mut site, 0, "connect v5 id=b clean");
}

#[test]
fn what_no_packet_has_room_for_is_dropped_and_counted() {
    const TOO_LARGE: usize = 268_435_456;
    let hooks = Hooks::default().on_publish(|publish, actions| {
        publish.set_payload(vec![0; TOO_LARGE]);
        let _ = actions.publish("t", b"posted", QoS::AtMostOnce, false);
        Ok(())
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut site = Site::with_broker(broker, 1);
    let s = subscriber(&mut site, "t");
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "publish t x qos=1 id=1 retain");
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    site.publish("t", &vec![0; TOO_LARGE], QoS::AtMostOnce, true)
        .unwrap();
    hears(&mut site, s, r#"publish t "posted""#);
    hears_nothing(&mut site, s);
    let statistics = site.broker().statistics();
    assert_eq!(
        (statistics.retained_messages, statistics.dropped_messages),
        (0, 2)
    );
}
