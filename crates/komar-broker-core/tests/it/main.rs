//! The broker from outside: conversations, phases, violations.

mod access;
mod desk;
mod exchange;
mod hooks;
mod introspection;
#[cfg(feature = "in-process")]
mod local;
mod phases;
mod scenario;
mod setup;
mod stage;
mod store;
mod tables;
mod verdicts;
