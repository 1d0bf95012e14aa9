//! Cipher suites by the names of OpenSSL.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

use super::{TlsError, TlsWarning};

/// Which cipher suites a listener offers.
#[derive(Debug, Clone)]
pub struct CipherSelection {
    /// In order of preference.
    pub suites: Vec<SupportedCipherSuite>,
    /// Names without effect.
    pub warnings: Vec<TlsWarning>,
}

/// Reads OpenSSL's cipher lists: `ciphers` for TLS 1.2, `ciphers_tls1.3` for TLS 1.3. `None`: all.
///
/// Understood are full names of OpenSSL and of the RFCs, the common words (`DEFAULT`, `HIGH`, `ECDHE`, `ECDSA`, `AESGCM`,
/// `AES256`, `CHACHA20`, …), `A+B`, and removal by `!` and `-`; `@STRENGTH` and `@SECLEVEL` have no effect. What is not
/// available (no forward secrecy, CBC, SHA-1 and the like) is reported and left out.
///
/// # Errors
/// [`TlsError::NoCipherSuite`] if a list is given and nothing of it is available.
pub fn select_cipher_suites(
    provider: &CryptoProvider,
    tls12: Option<&str>,
    tls13: Option<&str>,
) -> Result<CipherSelection, TlsError> {
    let mut selection = CipherSelection {
        suites: Vec::new(),
        warnings: Vec::new(),
    };
    for (list, is_tls13) in [(tls13, true), (tls12, false)] {
        let all: Vec<SupportedCipherSuite> = provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.tls13().is_some() == is_tls13)
            .copied()
            .collect();
        match list {
            Some(list) => selection.select(list, &all)?,
            None => selection.suites.extend(all),
        }
    }
    Ok(selection)
}

impl CipherSelection {
    fn select(&mut self, list: &str, all: &[SupportedCipherSuite]) -> Result<(), TlsError> {
        let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
        let mut banned: Vec<CipherSuite> = Vec::new();
        // A command may follow a word without a separator: `DEFAULT@SECLEVEL=2`.
        let words = list
            .split([':', ';', ',', ' '])
            .map(|item| item.split_once('@').map_or(item, |(word, _)| word));
        for item in words.filter(|word| !word.is_empty()) {
            let (operator, name) = match item.split_at_checked(1) {
                Some((operator @ ("!" | "-" | "+"), name)) => (operator, name),
                _ => ("", item),
            };
            let matching =
                |suite: &&SupportedCipherSuite| name.split('+').all(|part| matches(part, suite.suite()));
            let found: Vec<SupportedCipherSuite> = all.iter().filter(matching).copied().collect();
            match operator {
                "!" => {
                    chosen.retain(|suite| !found.contains(suite));
                    banned.extend(found.iter().map(SupportedCipherSuite::suite));
                }
                "-" => chosen.retain(|suite| !found.contains(suite)),
                // Moves to the end.
                "+" => {
                    let (moved, kept): (Vec<_>, Vec<_>) =
                        chosen.into_iter().partition(|suite| found.contains(suite));
                    chosen = [kept, moved].concat();
                }
                _ if found.is_empty() => self.warnings.push(TlsWarning::UnknownCipher {
                    name: name.to_owned(),
                }),
                _ => {
                    for suite in found {
                        if !chosen.contains(&suite) && !banned.contains(&suite.suite()) {
                            chosen.push(suite);
                        }
                    }
                }
            }
        }
        if chosen.is_empty() {
            let known: Vec<&str> = all
                .iter()
                .filter_map(|suite| openssl_name(suite.suite()))
                .collect();
            return Err(TlsError::NoCipherSuite {
                names: list.to_owned(),
                known: known.join(" "),
            });
        }
        self.suites.append(&mut chosen);
        Ok(())
    }
}

/// Whether a full name or a word of OpenSSL means this suite.
fn matches(word: &str, suite: CipherSuite) -> bool {
    let Some(name) = openssl_name(suite) else {
        return false;
    };
    let has = |part: &str| name.split(['-', '_']).any(|found| found == part);
    let is_tls13 = name.starts_with("TLS_");
    let is_gcm = !has("CHACHA20");
    match word {
        "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" => true,
        "ECDHE" | "EECDH" | "kECDHE" | "kEECDH" | "ECDH" => !is_tls13,
        "ECDSA" | "aECDSA" => has("ECDSA"),
        "aRSA" => has("RSA"),
        "AES" | "AESGCM" | "FIPS" => is_gcm,
        "AES128" => has("AES128") || has("128"),
        "AES256" => has("AES256") || has("256") && !has("128") && is_gcm,
        "CHACHA20" => has(word),
        "SUITEB128" | "SUITEB128C2" => has("ECDSA") && is_gcm,
        "SUITEB128ONLY" => has("ECDSA") && has("AES128"),
        "SUITEB192" => has("ECDSA") && has("AES256"),
        // RSA, SHA1, SHA256 and SHA384 are other suites: of RSA key exchange, and those whose records have such a MAC.
        _ => word == name || Some(word) == suite.as_str(),
    }
}

/// OpenSSL's name; that of a TLS 1.3 suite is the RFC's.
fn openssl_name(suite: CipherSuite) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(known, _)| *known == suite)
        .map(|(_, name)| *name)
}

const NAMES: [(CipherSuite, &str); 9] = [
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];
