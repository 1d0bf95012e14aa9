//! A whole broker inside a program: two listeners with different rules, and figures about it.
//!
//! `cargo run -p komar-examples --example embed_server` starts it, shows what it listens on, and stops it.

use komar_server::{BrokerConfig, Listener, ListenerPolicy, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::default();
    config.limits.maximum_inflight_messages = 100;

    // Anonymous clients on one port; on the other one nobody, since nothing here could vouch for a user name.
    let mut open = ListenerPolicy::default();
    open.allow_anonymous = true;
    let closed = ListenerPolicy::default();

    let server = Server::builder()
        .config(config)
        .listener(Listener::tcp("127.0.0.1:0".parse()?).policy(open))
        .listener(
            Listener::tcp("127.0.0.1:0".parse()?)
                .policy(closed)
                .maximum_connections(10),
        )
        .reactors(2)
        .start()?;
    for address in server.local_addresses() {
        println!("listening on {address}");
    }
    println!("{:?}", server.broker().statistics());
    server.stop();
    Ok(())
}
