"""Will messages: for a client that is lost, not for one that says goodbye."""

from common import *


def scenario(arguments, version):
    reader = connected(arguments, version, "reader")
    reader.subscribe("will/#", 2)

    def with_will(topic, qos=1, retain=False):
        will = {"topic": topic, "payload": b"gone", "qos": qos, "retain": retain}
        return connected(arguments, version, "writer", will=will)

    with_will("will/polite").disconnect()
    for qos in (0, 1, 2):
        with_will(f"will/lost/{qos}", qos).lose()
        reader.expect_messages((f"will/lost/{qos}", b"gone", qos, False))
    with_will("will/kept", retain=True).lose()
    reader.expect_messages(("will/kept", b"gone", 1, False))
    late = connected(arguments, version, "reader")
    late.subscribe("will/#", 1)
    late.expect_messages(("will/kept", b"gone", 1, True))
    if version == V5:
        # DISCONNECT 0x04 asks for the will. MQTT 5.0 §3.14.2.1
        with_will("will/asked").disconnect(reason=mqtt.ReasonCode(PacketTypes.DISCONNECT, identifier=4))
        reader.expect_messages(("will/asked", b"gone", 1, False))
    writer = connected(arguments, version, "writer")
    writer.publish("will/kept", b"", 1, retain=True)
    for client in (reader, late, writer):
        client.disconnect()


run(scenario)
