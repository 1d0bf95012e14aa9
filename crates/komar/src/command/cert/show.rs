//! `komar cert show`: what a certificate proves under every policy, and whether a listener would accept it.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use komar_identity::tls::{
    ClientVerifier, TlsError, certificates_from_pem, default_provider, refusal_reason,
    revocation_lists_from_pem,
};
use komar_identity::{AlternativeNameKind, Certificate, IdentityPolicy};
use komar_server::setup::{certificate_files, is_hashed_name};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use serde_json::{Value as Json, json};

use super::read;
use crate::output::Output;

/// What is to be shown.
pub(super) struct Question<'a> {
    pub(super) file: &'a Path,
    pub(super) authorities: Option<&'a Path>,
    pub(super) revocation_lists: Option<&'a Path>,
    pub(super) template: Option<&'a str>,
}

pub(super) fn run(question: &Question<'_>, json: bool, output: &mut Output) -> Result<i32, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let report = Report::new(question, UnixTime::since_unix_epoch(now))?;
    if json {
        output.line(format_args!("{:#}", report.json()));
    } else {
        output.text(&report);
    }
    Ok(if matches!(report.verdict, Some(Err(_))) {
        2
    } else {
        0
    })
}

/// What was found out.
struct Report {
    file: String,
    /// Names and values, in the order in which they are shown.
    facts: Vec<(&'static str, String)>,
    /// What a reader should not overlook.
    notes: Vec<String>,
    /// How a policy is called, what it derives, or why it derives nothing.
    identities: Vec<(String, Result<String, String>)>,
    /// Whether a listener with the authorities accepts it, or why not; `None` without authorities.
    verdict: Option<Result<(), String>>,
}

impl Report {
    fn new(question: &Question<'_>, now: UnixTime) -> Result<Report, String> {
        let file = question.file.display().to_string();
        let bytes = read(question.file)?;
        let chain = match certificates_from_pem(&bytes, &file) {
            Err(TlsError::NotPem { .. }) => vec![CertificateDer::from(bytes)],
            chain => chain.map_err(|error| error.to_string())?,
        };
        let Some((first, others)) = chain.split_first() else {
            return Err(format!("{file}: no certificate"));
        };
        let certificate = Certificate::parse(first).map_err(|error| format!("{file}: {error}"))?;
        let unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut policies = policies();
        if let Some(text) = question.template {
            let template = text
                .parse()
                .map_err(|error| format!("--template {text:?}: {error}"))?;
            policies.push((format!("template {text:?}"), IdentityPolicy::Template(template)));
        }
        let identities = policies.into_iter().map(|(name, policy)| {
            let identity = policy.identity_of(&certificate);
            (name, identity.map_err(|error| error.to_string()))
        });
        Ok(Report {
            facts: facts(&certificate),
            notes: notes(&certificate, others.len(), unix),
            identities: identities.collect(),
            verdict: verdict(question, first, others, now)?,
            file,
        })
    }

    fn json(&self) -> Json {
        let result = |result: &Result<String, String>| match result {
            Ok(identity) => json!({ "identity": identity }),
            Err(reason) => json!({ "refused": reason }),
        };
        let facts: serde_json::Map<String, Json> = self
            .facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let identities: serde_json::Map<String, Json> = self
            .identities
            .iter()
            .map(|(name, identity)| (name.clone(), result(identity)))
            .collect();
        let verdict = match &self.verdict {
            None => Json::Null,
            Some(Ok(())) => json!({ "accepted": true }),
            Some(Err(reason)) => json!({ "accepted": false, "reason": reason }),
        };
        json!({
            "file": self.file, "certificate": facts, "notes": self.notes, "identities": identities,
            "listener": verdict,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "{name}: {value}")?;
        }
        for note in &self.notes {
            writeln!(f, "Note: {note}")?;
        }
        writeln!(f, "\nThe user name, by policy:")?;
        for (name, identity) in &self.identities {
            match identity {
                Ok(identity) => writeln!(f, "  {name}: {identity}")?,
                Err(reason) => writeln!(f, "  {name}: refused, {reason}")?,
            }
        }
        match &self.verdict {
            None => Ok(()),
            Some(Ok(())) => writeln!(f, "\nA listener with these authorities accepts it."),
            Some(Err(reason)) => writeln!(f, "\nA listener with these authorities refuses it: {reason}."),
        }
    }
}

fn policies() -> Vec<(String, IdentityPolicy)> {
    let mut policies = vec![
        (
            "CN (use_identity_as_username)".to_owned(),
            IdentityPolicy::CommonName,
        ),
        (
            "CN, if it is the only one".to_owned(),
            IdentityPolicy::OnlyCommonName,
        ),
        (
            "subject (use_subject_as_username)".to_owned(),
            IdentityPolicy::Subject,
        ),
    ];
    policies.extend(AlternativeNameKind::ALL.map(|kind| {
        (
            format!("alternative name, {kind}"),
            IdentityPolicy::AlternativeName(kind),
        )
    }));
    policies.extend([
        ("serial number".to_owned(), IdentityPolicy::Serial),
        ("SHA-256 fingerprint".to_owned(), IdentityPolicy::Fingerprint),
    ]);
    policies
}

fn facts(certificate: &Certificate<'_>) -> Vec<(&'static str, String)> {
    let or_reason = |text: Result<String, komar_identity::IdentityError>| match text {
        Ok(text) => text,
        Err(error) => format!("({error})"),
    };
    vec![
        ("X.509 version", certificate.version().to_string()),
        ("subject, RFC 4514", or_reason(certificate.subject_rfc4514())),
        ("subject, one line", or_reason(certificate.subject_oneline())),
        ("subject, slashes", or_reason(certificate.subject_slash())),
        ("issuer, RFC 4514", certificate.issuer_rfc4514()),
        ("valid from", date(certificate.not_before())),
        ("valid until", date(certificate.not_after())),
    ]
}

fn notes(certificate: &Certificate<'_>, others: usize, now: i64) -> Vec<String> {
    let mut notes = Vec::new();
    if certificate.version() == 1 {
        notes.push(
            "version 1 has no extensions, and many programs refuse it; komar cert server and komar cert client make \
             better ones"
                .to_owned(),
        );
    }
    if now < certificate.not_before() {
        notes.push("it is not valid yet".to_owned());
    } else if !certificate.is_valid_at(now) {
        notes.push("it has expired".to_owned());
    }
    if certificate.is_self_issued() {
        notes.push("it is issued by itself, as authorities are".to_owned());
    }
    if certificate.is_marked_as_authority() {
        notes.push(
            "it is marked as an authority (CA:TRUE): whoever has its key can make certificates for any other name"
                .to_owned(),
        );
    }
    if others > 0 {
        notes.push(format!(
            "the file holds {others} more certificates; the first is shown"
        ));
    }
    notes
}

/// Asks the verifier that a listener has.
fn verdict(
    question: &Question<'_>,
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<Option<Result<(), String>>, String> {
    let Some(authorities) = question.authorities else {
        return match question.revocation_lists {
            Some(_) => Err("--crl needs --ca".to_owned()),
            None => Ok(None),
        };
    };
    let text = |error: TlsError| error.to_string();
    let files = if authorities.is_dir() {
        certificate_files(authorities)
            .map_err(|error| format!("cannot read {}: {error}", authorities.display()))?
    } else {
        vec![authorities.to_owned()]
    };
    if files.is_empty() {
        return Err(format!(
            "{}: no certificates (.pem, .crt, .cer, or OpenSSL's hashed names such as 9d66eef0.0) in this folder",
            authorities.display()
        ));
    }
    let (mut cas, mut problem) = (Vec::new(), None);
    for file in files {
        match certificates_from_pem(&read(&file)?, &file.display().to_string()) {
            Ok(found) => cas.extend(found),
            // A key beside its certificate, for example. What is damaged or cannot be read may be the authority that is
            // asked about.
            Err(error @ TlsError::NoCertificate { .. }) if !is_hashed_name(&file) => problem = Some(error),
            Err(error) => return Err(text(error)),
        }
    }
    if let (true, Some(problem)) = (cas.is_empty(), problem) {
        return Err(text(problem));
    }
    let crls = match question.revocation_lists {
        None => Vec::new(),
        Some(path) => revocation_lists_from_pem(&read(path)?, &path.display().to_string()).map_err(text)?,
    };
    let verifier =
        ClientVerifier::new(cas, crls, false, true, &Arc::new(default_provider()), now).map_err(text)?;
    let verdict = verifier.verify_client_cert(certificate, others, now);
    Ok(Some(verdict.map(|_| ()).map_err(|error| reason(&error))))
}

fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(cause) => refusal_reason(cause),
        error => error.to_string(),
    }
}

fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}
