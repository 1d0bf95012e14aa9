"""Retained messages: the last one of each topic, for every filter that matches, until an empty one clears it."""

from common import *


def scenario(arguments, version):
    writer = connected(arguments, version, "writer")
    for topic, payload in (("a", b"old"), ("a", b"new"), ("b/c", b"deep")):
        writer.publish(f"retained/{topic}", payload, 1, retain=True)
    reader = connected(arguments, version, "reader")
    for topic_filter, expected in (
        ("retained/a", [("retained/a", b"new")]),
        ("retained/+/c", [("retained/b/c", b"deep")]),
        ("retained/#", [("retained/a", b"new"), ("retained/b/c", b"deep")]),
    ):
        reader.subscribe(topic_filter, 1)
        got = sorted((message.topic, message.payload, message.retain) for message in (reader.message() for _ in expected))
        expect(topic_filter, got, [(topic, payload, True) for topic, payload in expected])
        reader.unsubscribe(topic_filter)
    for topic in ("a", "b/c"):
        writer.publish(f"retained/{topic}", b"", 1, retain=True)
    reader.subscribe("retained/#", 1)
    writer.publish("retained/a", b"live", 1)
    reader.expect_messages(("retained/a", b"live", 1, False))
    reader.disconnect()
    writer.disconnect()


run(scenario)
