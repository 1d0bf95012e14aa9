//! The table of directives, a file for each chapter of the manual.

mod bridge;
mod general;
mod listener;
mod logging;
mod security;

use std::sync::LazyLock;

use crate::TlsVersion;
use crate::arguments::C_INT;
use crate::directive::{Directive, Keyword, Support};

/// All rows.
pub(crate) fn all() -> &'static [Directive] {
    static ROWS: LazyLock<Vec<Directive>> = LazyLock::new(|| {
        let chapters = [
            general::rows(),
            listener::rows(),
            listener::tls_rows(),
            security::rows(),
            logging::rows(),
            bridge::rows(),
        ];
        chapters.into_iter().flatten().collect()
    });
    &ROWS
}

const TLS_VERSIONS: &[Keyword] = &[
    Keyword::full("tlsv1.2"),
    Keyword::full("tlsv1.3"),
    Keyword::with("tlsv1.1", Support::NoEffect("TLS 1.2 is the lowest version")),
];

fn tls_version(word: &str) -> TlsVersion {
    if word == "tlsv1.3" {
        TlsVersion::Tls13
    } else {
        TlsVersion::Tls12
    }
}

/// The largest C `int`.
const MAXIMUM: i64 = C_INT.1;
/// The smallest.
const MINIMUM: i64 = C_INT.0;

// Conversions of numbers whose range the row states.

fn to_u16(value: i64) -> u16 {
    u16::try_from(value.max(0)).unwrap_or(u16::MAX)
}

fn to_u32(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// Zero and less are no bound.
fn bound(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|&value| value > 0)
}

fn seconds(value: i64) -> std::time::Duration {
    std::time::Duration::from_secs(value.max(0).unsigned_abs())
}
