//! The broker from outside: conversations, phases, violations, a simulation.

// Tests read their tables and may be told how long to run.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod access;
mod batches;
mod desk;
mod exchange;
mod held_up;
mod hooks;
mod interleavings;
mod introspection;
#[cfg(feature = "in-process")]
mod local;
mod model;
mod notes;
mod once;
mod phases;
mod planted;
mod restore;
mod retained;
mod scenario;
mod setup;
mod shared;
mod simulation;
mod stage;
mod store;
mod tables;
mod threads;
mod vectors;
mod verdicts;
