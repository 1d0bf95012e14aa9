//! A server that is stopped at any moment ends.

use komar_server::{Listener, Placement, Server};

/// Right after the start, when its threads may not have slept yet: a stop that comes between a reactor's look for it and
/// its sleep must not be lost.
#[test]
fn a_server_stops_at_once_after_its_start() {
    for round in 0..300 {
        let server = Server::builder()
            .listener(Listener::tcp("127.0.0.1:0".parse().unwrap()))
            .reactors(1 + round % 3)
            .placement(Placement::Alternate)
            .start()
            .unwrap();
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        server.stop();
    }
}
