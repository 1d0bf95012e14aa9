//! Which certificates of clients count, and as whom. Komar's own.

use std::path::PathBuf;

use crate::arguments::{Arguments, Problem};
use crate::draft::ListenerDraft;

/// The clients that may connect, of all those whose certificate is valid; empty for all of them.
///
/// A client is allowed if it is on any of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedCertificates {
    /// `certificate_allow_name`: identities, whatever certificate proves them.
    pub names: Vec<String>,
    /// `certificate_allow_fingerprint`: the SHA-256 of single certificates.
    pub fingerprints: Vec<[u8; 32]>,
    /// `certificate_allow_folder`: folders that hold copies of clients' certificates.
    pub folders: Vec<PathBuf>,
}

impl AllowedCertificates {
    /// Whether there is no list, so that no client is refused for not being on it.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.fingerprints.is_empty() && self.folders.is_empty()
    }
}

pub(crate) const IDENTITY_FORM: &str = "cn, single_cn, subject, dns, uri, email, upn, serial, fingerprint, or a \
                                        template such as {cn}@{o}";
/// The words of the form.
const IDENTITIES: [&str; 9] = [
    "cn",
    "single_cn",
    "subject",
    "dns",
    "uri",
    "email",
    "upn",
    "serial",
    "fingerprint",
];
pub(crate) const FINGERPRINT_FORM: &str = "64 hexadecimal digits, with or without colons";

pub(crate) fn identity(draft: &mut ListenerDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let (word, text) = arguments.text_word()?;
    // What stands between the braces is known to whoever fills the template.
    if !IDENTITIES.contains(&text) && !text.contains('{') {
        return Err(arguments.unexpected(word, IDENTITY_FORM));
    }
    draft.listener.certificate_identity = text.to_owned();
    Ok(())
}

pub(crate) fn allow_fingerprint(
    draft: &mut ListenerDraft,
    arguments: &mut Arguments<'_>,
) -> Result<(), Problem> {
    let (word, text) = arguments.text_word()?;
    let fingerprint = fingerprint(text).ok_or_else(|| arguments.unexpected(word, FINGERPRINT_FORM))?;
    draft.listener.allowed_certificates.fingerprints.push(fingerprint);
    Ok(())
}

/// As OpenSSL and others print a SHA-256.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = match text.contains(':') {
        true => {
            let pairs: Vec<&str> = text.split(':').collect();
            let is_whole = pairs.iter().all(|pair| pair.len() == 2);
            is_whole.then(|| pairs.concat().into_bytes())?
        }
        false => text.as_bytes().to_vec(),
    };
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn fingerprints_are_read_as_they_are_printed() {
        let plain = "0f".repeat(32);
        assert_eq!(fingerprint(&plain), Some([0x0F; 32]));
        assert_eq!(fingerprint(&plain.to_uppercase()), Some([0x0F; 32]));
        let colons = ["0F"; 32].join(":");
        assert_eq!(fingerprint(&colons), Some([0x0F; 32]));
        for wrong in [
            "",
            "0f",
            &plain[2..],
            &format!("{plain}00"),
            &plain.replace('f', "g"),
            &colons.replacen(':', "", 1),
            &format!("{colons}:"),
            "é",
        ] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }
}
