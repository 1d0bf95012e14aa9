"""A second client with the same identifier: the first one is cut off, the second one is served."""

from common import *


def scenario(arguments, version):
    name = f"takeover-{version}"
    writer = connected(arguments, version, "writer")
    first = connected(arguments, version, "reader", client_id=name)
    first.subscribe("takeover", 1)
    second = connected(arguments, version, "reader", client_id=name)
    reason = first.wait_for_end()
    # v5 [MQTT-3.1.4-3]; mosquitto 2.0.11 closes without a word.
    if version == V5 and not OTHER_BROKER:
        expect("reason", reason, 0x8E)
    second.subscribe("takeover", 1)
    writer.publish("takeover", b"to the second", 1)
    second.expect_messages(("takeover", b"to the second", 1, False))
    second.disconnect()
    writer.disconnect()


run(scenario)
