"""What the ACL file denies: not delivered, and said to a publisher of MQTT 5. `reader` may only read."""

from common import *


def scenario(arguments, version):
    reader = connected(arguments, version, "reader")
    other = connected(arguments, version, "reader")
    other.subscribe("denied", 2)
    expect("reason", reader.publish("denied", b"x", 1), 0x87 if version == V5 else 0)
    reader.publish("denied", b"x", 0)
    # paho does not read the reason in PUBREC and sends PUBREL: that has to be answered all the same.
    reader.publish("denied", b"x", 2)
    writer = connected(arguments, version, "writer")
    writer.publish("denied", b"allowed", 1)
    other.expect_messages(("denied", b"allowed", 1, False))
    for client in (reader, other, writer):
        client.disconnect()


run(scenario)
