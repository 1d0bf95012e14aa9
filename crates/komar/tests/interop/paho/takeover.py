"""A second client with the same identifier: the first one is cut off, the second one is served."""

from common import *


def scenario(arguments, version):
    name = f"takeover-{version}"
    writer = connected(arguments, version, "writer")
    first = connected(arguments, version, "reader", client_id=name)
    first.subscribe("takeover", 1)
    second = connected(arguments, version, "reader", client_id=name)
    reason = first.wait_for_end()
    if version == V5:
        expect("reason", reason, 0x8E)  # session taken over
    second.subscribe("takeover", 1)
    writer.publish("takeover", b"to the second", 1)
    second.expect_messages(("takeover", b"to the second", 1, False))
    second.disconnect()
    writer.disconnect()


run(scenario)
