//! The broker from outside: conversations, phases, violations.

mod introspection;
mod phases;
mod scenario;
mod setup;
mod stage;
mod tables;
