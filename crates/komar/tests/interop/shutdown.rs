//! SIGTERM: an orderly end.

use rustix::process::Signal;

use crate::broker::{Broker, Folder, Reactors};

#[test]
fn a_terminated_broker_ends_with_status_0() {
    for reactors in Reactors::variants() {
        let folder = Folder::new();
        let configuration = "listener {port} 127.0.0.1\nallow_anonymous true\n";
        let mut broker = Broker::start(&folder, configuration, *reactors);
        broker.program.signal(Signal::TERM);
        broker
            .program
            .end()
            .expect_status(0, "SIGTERM")
            .expect_text("terminating", "the last line");
    }
}
