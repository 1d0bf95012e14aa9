"""MQTT 5: what the publisher says about a message reaches the subscriber as it was said."""

from common import *


def scenario(arguments, version):
    reader = connected(arguments, version, "reader")
    writer = connected(arguments, version, "writer")
    reader.subscribe("properties/#", 2, identifier=77)
    reader.subscribe("properties/+", 1, identifier=78)
    said = {
        "ContentType": "application/json",
        "CorrelationData": b"\x00\x01",
        "MessageExpiryInterval": 100,
        "PayloadFormatIndicator": 1,
        "ResponseTopic": "properties/answer",
        "UserProperty": [("unit", "°C"), ("unit", "twice"), ("a", "")],
    }
    writer.publish("properties/all", b"{}", 1, **said)
    messages = [reader.message()]
    # One message with both identifiers, or one for each subscription. v5 [MQTT-3.3.4-4]
    if len(messages[0].properties.SubscriptionIdentifier) == 1:
        messages.append(reader.message())
    identifiers = sorted(n for message in messages for n in message.properties.SubscriptionIdentifier)
    expect("subscription identifiers", identifiers, [77, 78])
    for message in messages:
        got = {name: getattr(message.properties, name) for name in said}
        expect("expiry", 90 <= got.pop("MessageExpiryInterval") <= 100, True)
        expect("properties", got, {name: value for name, value in said.items() if name in got})
    # A message without any is given none, apart from the identifiers.
    writer.publish("properties/a/b", b"bare", 2)
    message = reader.message()
    expect("names", set(message.properties.json()), {"SubscriptionIdentifier"})
    # A message that has waited for longer than it may is not delivered. v5 [MQTT-3.3.2-5]
    writer.publish("properties/short", b"too late", 1, retain=True, MessageExpiryInterval=1)
    reader.message()
    time.sleep(2.1)
    late = connected(arguments, version, "reader")
    late.subscribe("properties/short", 1)
    writer.publish("properties/short", b"live", 1)
    late.expect_messages(("properties/short", b"live", 1, False))
    for client in (reader, writer, late):
        client.disconnect()


run(scenario)
