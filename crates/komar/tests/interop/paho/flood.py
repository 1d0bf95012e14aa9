"""Many messages without a pause: each arrives once, in order, also past every limit of what may be in flight."""

from common import *

COUNT = 400


def scenario(arguments, version):
    small = {"receive_maximum": 3} if version == V5 else {}
    reader = connected(arguments, version, "reader", **small)
    writer = connected(arguments, version, "writer", **small)
    reader.subscribe("flood", 2)
    for qos in (1, 2):
        for number in range(COUNT):
            writer.paho.publish("flood", b"%d" % number, qos)
        reader.expect_messages(*[("flood", b"%d" % number, qos, False) for number in range(COUNT)])
        for _ in range(COUNT):
            writer._take("published")
    reader.disconnect()
    writer.disconnect()


run(scenario)
