//! A simulation with keep alive: some clients speak just in time, others fall silent and are ended, with their Will Message.

use komar_broker_core::CloseCause;

use super::{CLIENTS, Outcome, Sent, Simulation};
use crate::model::ClientNumber;

/// The longest keep alive, where one is configured.
pub(super) const MAXIMUM_KEEP_ALIVE: u16 = 20;

impl Simulation {
    /// What a client asks for.
    pub(super) fn keep_alive(&mut self, is_v5: bool) -> u16 {
        if is_v5 || self.model.settings.maximum_keep_alive.is_none() {
            *self.random.pick(&[0, 0, 0, 3, 10, 30])
        } else {
            // Others of 3.x are refused, as they cannot be told.
            *self.random.pick(&[3, 10, 20])
        }
    }

    /// Within the next second some would have been silent for too long: who is not one to fall silent speaks, and so do all
    /// but one of the others, as of several that end at once it is not said which is first.
    /// Nobody may fall silent if somebody waits for an answer in vain.
    pub(super) fn speak_in_time(&mut self, waits: bool) -> Outcome {
        let next = self.model.now + 1;
        let mut falls: Option<ClientNumber> = None;
        for client in 0..CLIENTS {
            let state = &self.clients[client];
            if state.peer.is_none() || !state.line.is_empty() || !self.model.is_silent(client, next) {
                continue;
            }
            // That nothing is ever due is to be seen by something else.
            let may_fall = state.falls_silent && !waits && !self.planted.stops_the_clock();
            if may_fall && falls.is_none() {
                falls = Some(client);
                continue;
            }
            self.note(|| format!("c{client} speaks in time"));
            self.send(client, vec![Sent::Ping])?;
        }
        Ok(())
    }

    /// Whoever has been silent for too long is gone, and nobody else. v5 [MQTT-3.1.2-22]
    pub(super) fn end_the_silent(&mut self) -> Outcome {
        for client in 0..CLIENTS {
            let Some(peer) = self.clients[client].peer else {
                continue;
            };
            let is_ended = self.site.close_cause(peer) == Some(CloseCause::KeepAliveTimeout);
            // Who waits for an answer is not listened to.
            let is_heard = self.clients[client].line.is_empty();
            if is_ended != (is_heard && self.model.is_silent(client, self.model.now)) {
                return Err(match is_ended {
                    true => format!("c{client} was ended and had not been silent for too long"),
                    false => format!("c{client} has been silent for too long and is there"),
                });
            }
            if !is_ended {
                continue;
            }
            self.note(|| format!("c{client} was silent for too long"));
            if !self.site.is_closed(peer) {
                return Err(format!("the connection of c{client} is not closed"));
            }
            self.clients[client].peer = None;
            self.has_ended(client);
            self.model.disconnect(client, false);
            self.forget_connection(client);
        }
        Ok(())
    }
}
