//! The broker from outside: conversations, phases, violations.

mod desk;
mod hooks;
mod introspection;
mod phases;
mod scenario;
mod setup;
mod stage;
mod tables;
mod verdicts;
