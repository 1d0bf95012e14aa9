//! Name constraints of authorities, held against a common name that looks like a host name, as OpenSSL does.
//!
//! webpki holds them against alternative names and the subject as a whole (RFC 5280 §4.2.1.10). A client's certificate often
//! has no alternative names, and its common name becomes the user name: an authority that may vouch for
//! `plant.example` only must not make `admin.other.example`.

use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;

use crate::{Certificate, attribute, text};

/// The common names of a client's certificate that constraints on DNS names are held against: those that look like a host
/// name of several labels, if there is no alternative name of that kind.
pub(crate) fn host_names(client: &Certificate<'_>) -> Vec<String> {
    let alternatives = client.inner.subject_alternative_name().ok().flatten();
    let has_dns_name = alternatives.is_some_and(|names| {
        let mut names = names.value.general_names.iter();
        names.any(|name| matches!(name, GeneralName::DNSName(_)))
    });
    if has_dns_name {
        return Vec::new();
    }
    client
        .subject_values(attribute::COMMON_NAME)
        .filter_map(|value| text::decode(value).ok().flatten())
        // Zeros at the end are no part of it to OpenSSL.
        .map(|name| name.trim_end_matches('\0').to_owned())
        .filter(|name| is_host_name(name.as_bytes()))
        .collect()
}

/// Whether this authority may vouch for all of the host names.
pub(crate) fn permit(authority: &Certificate<'_>, host_names: &[String]) -> bool {
    let constraints = match authority
        .inner
        .get_extension_unique(&OID_X509_EXT_NAME_CONSTRAINTS)
    {
        Ok(None) => return true,
        Ok(Some(extension)) => extension.parsed_extension(),
        Err(_) => return false,
    };
    let ParsedExtension::NameConstraints(constraints) = constraints else {
        return false; // malformed
    };
    // `None`: a base cannot be read, so that nobody knows what it permits or excludes.
    let bases = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| -> Option<Vec<String>> {
        let subtrees = subtrees.iter().flatten();
        let names = subtrees.filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => Some(Some(name.to_owned())),
            GeneralName::Invalid(..) => Some(None),
            _ => None,
        });
        names.collect()
    };
    let (Some(permitted), Some(excluded)) = (
        bases(&constraints.permitted_subtrees),
        bases(&constraints.excluded_subtrees),
    ) else {
        return host_names.is_empty();
    };
    host_names.iter().all(|name| {
        let is_below = |base: &String| is_below(name.as_bytes(), base.as_bytes());
        (permitted.is_empty() || permitted.iter().any(is_below)) && !excluded.iter().any(is_below)
    })
}

/// Letters, digits, `_`, and inside also `-` and `.`, with a dot somewhere and no dash or dot beside one.
fn is_host_name(name: &[u8]) -> bool {
    let labels = || name.split(|byte| *byte == b'.');
    let is_label = |label: &[u8]| {
        let allowed = label
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        allowed && !label.is_empty() && !label.starts_with(b"-") && !label.ends_with(b"-")
    };
    labels().count() > 1 && labels().all(is_label)
}

/// Whether a host is that of the constraint or below it; the empty one is above all, one with a dot before it stands for what
/// is below only.
fn is_below(name: &[u8], base: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(base.len()) else {
        return false;
    };
    let Some((above, end)) = name.split_at_checked(start) else {
        return false;
    };
    let is_cut_at_a_dot = above.is_empty() || above.ends_with(b".") || base.starts_with(b".");
    base.is_empty() || is_cut_at_a_dot && end.eq_ignore_ascii_case(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_host_name() {
        for (name, expected) in [
            ("a.b", true),
            ("A-1.b_2.c", true),
            ("_._", true),
            ("a", false),
            ("", false),
            (".a", false),
            ("a.", false),
            ("a..b", false),
            ("-a.b", false),
            ("a-.b", false),
            ("a.-b", false),
            ("a.b-", false),
            ("a b.c", false),
            ("*.a.b", false),
            ("\u{e4}.b", false),
        ] {
            assert_eq!(is_host_name(name.as_bytes()), expected, "{name:?}");
        }
    }

    #[test]
    fn what_is_below_a_constraint() {
        for (name, base, expected) in [
            ("a.example", "a.example", true),
            ("A.example", "a.EXAMPLE", true),
            ("b.a.example", "a.example", true),
            ("b.a.example", ".a.example", true),
            ("a.example", ".a.example", false),
            ("ba.example", "a.example", false),
            ("example", "a.example", false),
            ("a.example", "", true),
            ("a.other", "example", false),
        ] {
            assert_eq!(
                is_below(name.as_bytes(), base.as_bytes()),
                expected,
                "{name} {base}"
            );
        }
    }
}
