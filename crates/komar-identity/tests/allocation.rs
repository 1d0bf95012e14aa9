//! The common name of a parsed certificate costs no allocation.

mod common;

use std::alloc::System;
use std::hint::black_box;

use komar_identity::Certificate;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_common_name_is_borrowed() {
    for (file, expected) in [
        ("multi-rdn", Some("multi")),
        ("no-cn", None),
        ("esc", None),
        ("latin1-in-printable", None),
    ] {
        let der = common::certificate(&format!("certs/{file}.pem"));
        let certificate = Certificate::parse(&der).unwrap();
        let region = Region::new(ALLOCATOR);
        let name = black_box(certificate.common_name());
        let change = region.change();
        assert_eq!(change.allocations + change.reallocations, 0, "{file}");
        assert_eq!(name.ok(), expected);
    }
}
