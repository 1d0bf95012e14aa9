//! Mosquitto's ACL files: parse, decide, explain, lint.
//!
//! ```
//! use komar_acl::{Access, Acl, AclFile, Decision, Options, Subject};
//!
//! let text = "
//! user alice
//! topic home/#
//! topic deny home/safe/#
//! pattern devices/%u/%c/#
//! ";
//! let file = AclFile::parse(text.as_bytes())?;
//! assert!(Acl::lint(&file, None).is_empty());
//!
//! let acl = Acl::compile(&file, Options::default());
//! let alice = Subject { username: Some("alice"), client_id: "phone" };
//! assert_eq!(acl.decide(alice, Access::Write, "home/door"), Decision::Allow);
//! assert_eq!(acl.decide(alice, Access::Read, "home/safe/code"), Decision::Deny);
//! assert_eq!(acl.decide(alice, Access::Write, "devices/alice/phone/battery"), Decision::Allow);
//! println!("{}", acl.explain(alice, Access::Read, "news/today"));
//! # Ok::<(), komar_acl::AclErrors>(())
//! ```
//!
//! # What it does not do
//! - It opens no file and watches none: it is given bytes, and a new [`Acl`] replaces an old one.
//! - It remembers no decision: who asks often about the same topic keeps the answer.
//! - It knows nothing of bridges, which Mosquitto does not check at all, nor of clients before they have a client id.
//! - It checks no topic name: the broker does that before. (A name with a wildcard is refused all the same.)
//! - Groups, `readdeny` and `writedeny` are read only if [`ParseOptions::extensions`] is set.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod compile;
mod decide;
mod error;
mod explain;
mod format;
mod grammar;
mod lint;
mod parse;
mod rule;
mod strict;
mod substitute;
mod table;
mod tree;

pub use compile::{Acl, Options, Substitution};
pub use decide::{Access, Decision, Subject};
pub use error::{AclError, AclErrorCause, AclErrors};
pub use explain::{Considered, Explanation, Outcome, Reason};
pub use lint::{Lint, LintKind};
pub use parse::ParseOptions;
pub use rule::{AclFile, Permission, Rule, Scope};
