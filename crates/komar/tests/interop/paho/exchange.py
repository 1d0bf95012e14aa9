"""Messages of every QoS and size between two clients, then no more of them after UNSUBSCRIBE."""

from common import *


def scenario(arguments, version):
    reader = connected(arguments, version, "reader")
    writer = connected(arguments, version, "writer")
    expect("suback", reader.subscribe("exchange/#", 2), [2])
    payloads = [b"", b"\x00\xff\n", b"x" * 127, b"y" * 128, bytes(range(256)) * 1024]
    for qos in (0, 1, 2):
        for payload in payloads:
            expect("published", writer.publish("exchange/a", payload, qos), 0)
            reader.expect_messages(("exchange/a", payload, qos, False))
    reader.unsubscribe("exchange/#")
    writer.publish("exchange/a", b"unheard", 1)
    expect("suback", reader.subscribe("exchange/b", 0), [0])
    writer.publish("exchange/b", b"heard", 1)
    reader.expect_messages(("exchange/b", b"heard", 0, False))
    reader.disconnect()
    writer.disconnect()


run(scenario)
