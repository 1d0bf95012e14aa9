// Messages of every QoS and size between two clients, pings, an end. Arguments: port, version, folder with certificates.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const mqtt = require("mqtt");

const [port, version, files] = process.argv.slice(2);

function options(user) {
  const all = {
    protocolVersion: Number(version),
    protocolId: version === "3" ? "MQIsdp" : "MQTT",
    clientId: `${user}-${process.pid}`,
    reconnectPeriod: 0,
    connectTimeout: 10000,
  };
  if (files) {
    const read = (name) => fs.readFileSync(`${files}/${name}`);
    Object.assign(all, { ca: read("ca.crt"), cert: read(`${user}.crt`), key: read(`${user}.key`) });
  }
  return all;
}

const connect = (user) => mqtt.connectAsync(`${files ? "wss" : "ws"}://127.0.0.1:${port}/mqtt`, options(user));

async function main() {
  const reader = await connect("reader");
  const writer = await connect("writer");
  const waiting = [];
  const arrived = [];
  reader.on("message", (topic, payload, packet) => {
    arrived.push({ topic, payload, qos: packet.qos });
    waiting.shift()?.();
  });
  const message = async () => {
    if (arrived.length === 0) await new Promise((resolve) => waiting.push(resolve));
    return arrived.shift();
  };
  const [granted] = await reader.subscribeAsync("exchange/#", { qos: 2 });
  assert.strictEqual(granted.qos, 2);
  for (const qos of [0, 1, 2]) {
    for (const length of [0, 1, 119, 125, 126, 65535, 65536, 500000]) {
      const payload = Buffer.alloc(length, length);
      await writer.publishAsync("exchange/a", payload, { qos });
      const got = await message();
      assert.strictEqual(got.topic, "exchange/a");
      assert.strictEqual(got.qos, qos);
      assert.ok(got.payload.equals(payload), `${length} bytes with QoS ${qos}`);
    }
  }
  // Many at once: several packets share a frame.
  await Promise.all(Array.from({ length: 500 }, (_, n) => writer.publishAsync("exchange/n", `${n}`, { qos: 1 })));
  for (let n = 0; n < 500; n++) assert.strictEqual((await message()).payload.toString(), `${n}`);
  // A ping of MQTT, and one of WebSocket.
  writer.sendPing();
  await new Promise((resolve) => writer.once("packetreceive", (packet) => packet.cmd === "pingresp" && resolve()));
  const socket = writer.stream.socket ?? writer.stream._socket;
  if (socket?.ping) {
    const pong = new Promise((resolve) => socket.once("pong", (data) => resolve(data.toString())));
    socket.ping("are you there");
    assert.strictEqual(await pong, "are you there");
  }
  await reader.endAsync();
  await writer.endAsync();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
