//! The locks that the core uses, named once. They do not poison: a panic of user code is caught by the driver
//! and costs the Link it happened on.

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
