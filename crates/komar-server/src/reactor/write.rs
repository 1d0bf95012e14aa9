//! Writing what waits for Connections.

use std::sync::Arc;

use komar_broker_core::{CloseCause, Next, Outbox, Take};

use super::Reactor;
use crate::connection::{Address, write_output};
use crate::mailbox::Mail;
use crate::transport::socket::Socket;

impl Reactor {
    pub(super) fn write_all(&mut self) {
        while let Some(outbox) = self.worker.next_dirty() {
            self.flush(&outbox);
        }
    }

    /// Writes what waits for one Connection: at once if any thread may, otherwise on its own reactor.
    pub(super) fn flush(&mut self, outbox: &Arc<Outbox>) {
        let Some(address) = Address::of(outbox) else {
            return;
        };
        match &address.socket {
            Some(socket) => self.flush_plain(outbox, socket),
            None if address.reactor() == self.number => {
                if let Some(key) = self.find(outbox) {
                    self.flush_layers(outbox, key);
                }
            }
            None => {
                self.forward(outbox, Mail::Flush(Arc::clone(outbox)));
            }
        }
    }

    fn flush_plain(&mut self, outbox: &Arc<Outbox>, socket: &Socket) {
        loop {
            let next = match self.worker.take_output(outbox) {
                Take::Output(mut output) => {
                    let sent = write_output(socket, &mut output);
                    self.worker.output_done(outbox, output, sent)
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => return self.hang_up(outbox, socket),
                _ => return,
            }
        }
    }

    fn flush_layers(&mut self, outbox: &Arc<Outbox>, key: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let Some(layers) = &mut connection.layers else {
                return;
            };
            let next = match self.worker.take_output(outbox) {
                Take::Output(mut output) => {
                    let sent = layers.write_output(&connection.socket, &mut output, &mut self.scratch);
                    self.worker.output_done(outbox, output, sent)
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => {
                    layers.close(&connection.socket, &mut self.scratch);
                    connection.closing = true;
                    return self.flush_pending(key);
                }
                _ => return,
            }
        }
    }

    /// Writes bytes of the layers that wait; a Connection that is being closed ends with it.
    pub(super) fn flush_pending(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(layers) = &mut connection.layers else {
            return;
        };
        layers.flush(&connection.socket, &mut self.scratch);
        // A peer that does not even take our last words gets no more time for them.
        if connection.closing {
            connection.discard_input(&mut self.buffer);
            self.over.push((key, CloseCause::ConnectionClosed));
        }
    }

    /// Ends a plain Connection: here if it is ours, by its socket if it is another reactor's.
    fn hang_up(&mut self, outbox: &Arc<Outbox>, socket: &Socket) {
        match self
            .find(outbox)
            .and_then(|key| Some((key, self.connections.get(key)?)))
        {
            Some((key, connection)) => {
                connection.discard_input(&mut self.buffer);
                self.over.push((key, CloseCause::ConnectionClosed));
            }
            // Its reactor finds out by itself.
            None => socket.shutdown(),
        }
    }
}
