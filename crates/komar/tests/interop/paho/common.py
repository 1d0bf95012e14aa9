"""A client of paho-mqtt that waits for everything, and says what did not come."""

import argparse
import os
import queue
import socket
import sys
import time
import traceback

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 10
ACCEPTED = 0
OTHER_BROKER = bool(os.environ.get("KOMAR_TEST_BROKER"))
V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--versions", required=True, help="of MQTT: 3, 4 or 5, with commas between them")
parser.add_argument("--files", help="folder with certificates")
parser.add_argument("--tls", action="store_true")
parser.add_argument("--certificates", action="store_true", help="clients have certificates")
parser.add_argument("--websocket", action="store_true")
parser.add_argument("--passwords", action="store_true", help="clients have passwords")


class Failed(Exception):
    """What was expected and did not happen."""


def expect(what, got, expected):
    if got != expected:
        raise Failed(f"{what}: {got!r} instead of {expected!r}")


def properties(packet, **values):
    """MQTT 5 properties by their names without blanks, as paho has them."""
    result = Properties(packet)
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Client:
    """One client. Its thread runs from `connect` to `disconnect`, `lose` or `wait_for_end`."""

    def __init__(self, arguments, version, user, client_id=None, clean=True, will=None, expiry=None, receive_maximum=None):
        self.version, self.clean, self.expiry, self.receive_maximum = version, clean, expiry, receive_maximum
        self.port = arguments.port
        self.events = {name: queue.Queue() for name in ("connack", "suback", "unsuback", "published", "message", "end")}
        # An empty identifier without a clean session is refused: v3 [MQTT-3.1.3-8].
        client_id = client_id or f"{user}-{time.monotonic_ns()}"[:23]
        session = {} if version == V5 else {"clean_session": clean}
        if arguments.websocket:
            session["transport"] = "websockets"
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, reconnect_on_failure=False, **session
        )
        self.paho.on_connect = lambda _c, _u, flags, reason, props: self._put("connack", (reason.value, flags, props))
        self.paho.on_subscribe = lambda _c, _u, mid, reasons, _p: self._put("suback", (mid, [r.value for r in reasons]))
        self.paho.on_unsubscribe = lambda _c, _u, mid, reasons, _p: self._put("unsuback", (mid, [r.value for r in reasons]))
        self.paho.on_publish = lambda _c, _u, mid, reason, _p: self._put("published", (mid, reason.value))
        self.paho.on_message = lambda _c, _u, message: self._put("message", message)
        self.paho.on_disconnect = lambda _c, _u, flags, reason, _p: self._put("end", reason.value)
        if arguments.passwords:
            self.paho.username_pw_set(user, f"password of {user}")
        if arguments.tls:
            own = [f"{arguments.files}/{user}.{end}" for end in ("crt", "key")] if arguments.certificates else [None, None]
            self.paho.tls_set(f"{arguments.files}/ca.crt", *own)
        if will:
            self.paho.will_set(**will)

    def connect(self):
        """Connects; gives the reason code and whether there was a session."""
        more = {}
        if self.version == V5:
            values = {"SessionExpiryInterval": self.expiry, "ReceiveMaximum": self.receive_maximum}
            values = {name: value for name, value in values.items() if value is not None}
            more = {"clean_start": self.clean, "properties": properties(PacketTypes.CONNECT, **values)}
        self.paho.connect("127.0.0.1", self.port, keepalive=60, **more)
        self.paho.loop_start()
        reason, flags, self.connack_properties = self._take("connack")
        return reason, flags.session_present

    def subscribe(self, topic_filter, qos=0, **options):
        """Subscribes; gives the reason codes of the answer. `options` are those of MQTT 5."""
        identifier = options.pop("identifier", None)
        more = {}
        if self.version == V5:
            more["options"] = SubscribeOptions(qos=qos, **options)
            if identifier is not None:
                more["properties"] = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
        else:
            more["qos"] = qos
        return self._answer("suback", self.paho.subscribe(topic_filter, **more)[1])

    def unsubscribe(self, topic_filter):
        return self._answer("unsuback", self.paho.unsubscribe(topic_filter)[1])

    def publish(self, topic, payload, qos=0, retain=False, **values):
        """Publishes; gives the reason code of the last acknowledgement. `values` are MQTT 5 properties."""
        more = {"properties": properties(PacketTypes.PUBLISH, **values)} if values else {}
        return self._answer("published", self.paho.publish(topic, payload, qos, retain, **more).mid)

    def message(self):
        """The next message that was received."""
        return self._take("message")

    def expect_messages(self, *expected):
        """The next messages, as (topic, payload, QoS, retain)."""
        for number, wanted in enumerate(expected, 1):
            message = self.message()
            expect(f"message {number}", (message.topic, message.payload, message.qos, message.retain), wanted)

    def settle(self):
        """Waits until the acknowledgements of what was received have been sent."""
        # The first answer is read after they were queued, the second request is queued behind them.
        for _ in range(2):
            self.unsubscribe("nothing/of/this/name")

    def disconnect(self, **values):
        """DISCONNECT, and the end of the connection. `reason` and properties are those of MQTT 5."""
        reason = values.pop("reason", None)
        more = {"properties": properties(PacketTypes.DISCONNECT, **values)} if values else {}
        self.paho.disconnect(reason, **more) if reason else self.paho.disconnect(**more)
        return self.wait_for_end()

    def lose(self):
        """The connection is cut."""
        connection = self.paho.socket()
        # paho's WebSocket knows no shutdown, the socket below it does.
        if not hasattr(connection, "shutdown"):
            connection = connection._socket
        connection.shutdown(socket.SHUT_RDWR)
        return self.wait_for_end()

    def wait_for_end(self):
        """Waits until the connection has ended; gives the reason."""
        reason = self._take("end")
        self.paho.loop_stop()
        return reason

    def _put(self, kind, event):
        self.events[kind].put(event)

    def _take(self, kind):
        try:
            return self.events[kind].get(timeout=PATIENCE)
        except queue.Empty:
            raise Failed(f"no {kind} within {PATIENCE} seconds") from None

    def _answer(self, kind, mid):
        got, answer = self._take(kind)
        expect(f"{kind} for", got, mid)
        return answer


def connected(*arguments, **options):
    """A client that was let in."""
    client = Client(*arguments, **options)
    reason, _ = client.connect()
    expect("connack", reason, ACCEPTED)
    return client


def run(scenario):
    """Runs a scenario with each version; the exit status is the verdict."""
    arguments = parser.parse_args()
    for version in map(int, arguments.versions.split(",")):
        try:
            scenario(arguments, version)
        except Exception:
            traceback.print_exc()
            print(f"failed with version {version}", flush=True)
            # Threads of clients that still run must not keep the process.
            sys.stderr.flush()
            os._exit(1)
