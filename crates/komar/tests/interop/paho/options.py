"""MQTT 5: subscription options, topic aliases, shared subscriptions, reason codes that say more than success."""

from common import *


def scenario(arguments, version):
    writer = connected(arguments, version, "writer")
    reader = connected(arguments, version, "reader")
    # No Local: own messages do not come back. v5 [MQTT-3.8.3-3]
    writer.subscribe("options/own", 1, noLocal=True)
    writer.subscribe("options/end", 1)
    writer.publish("options/own", b"own", 1)
    writer.publish("options/end", b"end", 1)
    writer.expect_messages(("options/end", b"end", 1, False))

    # Retain As Published and Retain Handling. MQTT 5.0 §3.8.3.1
    writer.publish("options/kept", b"kept", 1, retain=True)
    reader.subscribe("options/kept", 1, retainAsPublished=True, retainHandling=2)
    writer.publish("options/kept", b"again", 1, retain=True)
    reader.expect_messages(("options/kept", b"again", 1, True))
    # The subscription exists already: nothing is sent, and the options are replaced. v5 [MQTT-3.8.4-3]
    reader.subscribe("options/kept", 1, retainHandling=1)
    writer.publish("options/kept", b"", 1, retain=True)
    reader.expect_messages(("options/kept", b"", 1, OTHER_BROKER))  # mosquitto 2.0.11 keeps the old ones

    # Nobody listens, nothing was subscribed: 0x10 and 0x11, where the broker says so.
    expect("no matching subscribers", writer.publish("options/nobody", b"", 1) in (0, 0x10), True)
    expect("no subscription existed", reader.unsubscribe("options/none"), [0x11])
    expect("success", reader.unsubscribe("options/kept"), [0])

    # Topic alias of a publisher.
    reader.subscribe("options/alias", 0)
    if getattr(writer.connack_properties, "TopicAliasMaximum", 0) > 0:
        writer.publish("options/alias", b"first", 0, TopicAlias=1)
        writer.publish("", b"second", 0, TopicAlias=1)
        reader.expect_messages(*[("options/alias", payload, 0, False) for payload in (b"first", b"second")])

    # Of a shared subscription, one member gets each message. MQTT 5.0 §4.8.2
    other = connected(arguments, version, "reader")
    for member in (reader, other):
        member.subscribe("$share/group/options/shared", 1)
        member.subscribe("options/end", 1)
    for number in range(10):
        writer.publish("options/shared", b"%d" % number, 1)
    writer.publish("options/end", b"end", 1)
    got = []
    for member in (reader, other):
        while (message := member.message()).payload != b"end":
            got.append(int(message.payload))
    expect("messages of the group", sorted(got), list(range(10)))
    for client in (writer, reader, other):
        client.disconnect()


run(scenario)
