//! The program `komar` and clients that nobody of this project wrote: mosquitto's, paho-mqtt for Python, rumqttc,
//! MQTT.js for node.
//!
//! Each test starts the real program on a free port of the loopback interface and talks to it as a user would. Two
//! environment variables change what happens:
//!
//! - `KOMAR_REQUIRE_CLIENTS=1`: a client that is not installed fails the test instead of skipping it;
//! - `KOMAR_TEST_BROKER=/usr/sbin/mosquitto`: another broker with the same command line is tested, to find out
//!   whether a test is right. What only komar has is left out then.

mod broker;
mod certificates;
mod demo;
mod effects;
mod mosquitto_broker;
mod mosquitto_clients;
mod mqtt_js;
mod output;
mod paho;
mod passwd;
mod play;
mod program;
mod rows;
mod rumqttc;
mod service_manager;
mod setting;
mod shutdown;
mod table;
mod tls;
mod tools;
mod tutorial;
mod verify;
mod wrong_input;
