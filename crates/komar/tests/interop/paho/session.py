"""A session outlives its connection: subscriptions and messages with QoS 1 and 2 are kept, in order."""

from common import *


def scenario(arguments, version):
    name = f"session-{version}"
    expiry = {"expiry": 600} if version == V5 else {}
    writer = connected(arguments, version, "writer")

    def come():
        client = Client(arguments, version, "reader", client_id=name, clean=False, **expiry)
        reason, present = client.connect()
        expect("connack", reason, ACCEPTED)
        return client, present

    Client(arguments, version, "reader", client_id=name).connect()  # forget an earlier one
    client, present = come()
    expect("session present at first", present, False)
    client.subscribe("session/#", 2)
    # Order holds within one QoS: paho hands a message with QoS 2 over when it is released.
    for qos, lost in ((1, False), (2, True)):
        client.lose() if lost else client.disconnect()
        for number in range(5):
            writer.publish("session/a", b"%d" % number, qos)
        client, present = come()
        # MQTT 3.1 has no such flag.
        expect("session present", present, version != V31)
        client.expect_messages(*[("session/a", b"%d" % number, qos, False) for number in range(5)])
        client.settle()
    client.disconnect()

    fresh = Client(arguments, version, "reader", client_id=name)
    expect("connack with a clean session", fresh.connect(), (ACCEPTED, False))
    writer.publish("session/a", b"unheard", 1)
    fresh.subscribe("session/b", 1)
    writer.publish("session/b", b"heard", 1)
    fresh.expect_messages(("session/b", b"heard", 1, False))
    fresh.disconnect()
    writer.disconnect()


run(scenario)
