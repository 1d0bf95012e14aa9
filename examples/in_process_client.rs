//! A part of your program as a client of its own broker: no socket, the same rules.
//!
//! `cargo run -p komar-examples --example in_process_client` starts a broker that nobody outside can use, lets two parts of
//! the program talk through it, and ends.

use std::sync::Arc;

use komar_broker_core::{
    Access, Action, Authorize, Decision, LocalClient, LocalError, LocalEvent, LocalOptions, QoS, Subject,
};
use komar_server::{Listener, Server};

/// Only the sensor may write; everybody may read. In-process clients are asked like all others.
struct Rules;

impl Authorize for Rules {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        match action {
            Action::Publish(_) if subject.username != Some("sensor") => Decision::Deny,
            _ => Decision::Allow,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .access(Access {
            authorize: Some(Arc::new(Rules)),
            ..Access::allow_all()
        })
        .listener(Listener::tcp("127.0.0.1:0".parse()?))
        .start()?;

    let display = connect(&server, "display");
    let sensor = connect(&server, "sensor");
    let subscribed = display.subscribe("room/+/temperature", QoS::AtLeastOnce)?;
    println!("{:?}", answer(&display, subscribed)?);

    let published = sensor.publish("room/1/temperature", b"21.5 degrees", QoS::AtLeastOnce, false)?;
    println!("{:?}", answer(&sensor, published.unwrap_or_default())?);
    if let LocalEvent::Message(message) = display.receive()? {
        println!("{}, said sensor", String::from_utf8_lossy(&message.payload));
    }

    // The display may not write, and is told so.
    let refused = display.publish("room/1/temperature", b"0", QoS::AtLeastOnce, false)?;
    println!("{:?}", answer(&display, refused.unwrap_or_default())?);
    server.stop();
    Ok(())
}

fn connect(server: &Server, name: &str) -> LocalClient {
    let mut options = LocalOptions::new(name);
    options.username = Some(name.to_owned());
    server
        .broker()
        .connect_local(options)
        .expect("a server that runs has workers")
}

/// Waits for the answer to what was asked for.
fn answer(client: &LocalClient, asked: u16) -> Result<LocalEvent, LocalError> {
    loop {
        match client.receive()? {
            event
            @ (LocalEvent::Published { identifier, .. } | LocalEvent::Subscribed { identifier, .. })
                if identifier == asked =>
            {
                return Ok(event);
            }
            _ => {}
        }
    }
}
