//! `komar cert crl`: the revocation list of an authority.

use std::path::Path;

use komar_passwd::{Create, UpdateError, UpdateOptions, rewrite};

use super::{Request, read};
use crate::certificates::{CertificateError, first_certificate};
use crate::output::Output;

/// Adds to the authority's list, which replaces the old one in one step.
pub(super) fn run(request: &Request, files: &[String], output: &mut Output) -> Result<i32, String> {
    let authority = request.authority()?;
    let stem = request.authority_file()?.file_stem().unwrap_or_default();
    // Where the authority's other files are: a list elsewhere would be a second one.
    let beside = request.authority_file()?.parent().unwrap_or(Path::new(""));
    let target = request.target_in(beside, &stem.to_string_lossy(), "crl")?;
    let mut certificates = Vec::new();
    for file in files {
        let first = first_certificate(&read(Path::new(file))?, file);
        certificates.push(first.map_err(|error| error.to_string())?);
    }
    let shown = target.display();
    let options = UpdateOptions::default().create(Create::IfMissing).mode(0o644);
    // Locked from reading to replacing: what another adds meanwhile would be lost.
    let written = rewrite(&target, &options, |old| {
        let (list, count) = authority.revoke(old, &certificates, request.days())?;
        Ok::<_, CertificateError>((list.into_bytes().into(), (count, old.is_none())))
    });
    let (count, is_new) = written.map_err(|error| match error {
        UpdateError::Edit(error) => format!("{shown}: {error}"),
        error => error.to_string(),
    })?;
    let certificates = if count == 1 { "certificate" } else { "certificates" };
    let remark = if is_new { " (a new list)" } else { "" };
    output.line(format_args!("{shown}: {count} {certificates} revoked{remark}"));
    Ok(0)
}
