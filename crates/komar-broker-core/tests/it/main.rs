//! The broker from outside: conversations, phases, violations.

mod phases;
mod scenario;
mod setup;
mod stage;
mod tables;
