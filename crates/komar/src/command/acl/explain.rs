//! `komar acl explain`: whether somebody may do something, and which line says so.

use komar_acl::{Access, Acl, AclFile, Explanation, Subject};
use serde_json::{Value as Json, json};

use super::check::invalid;
use super::{Failure, Job, NO};
use crate::output::Output;

pub(super) fn run(
    job: &Job,
    text: &[u8],
    subject: Subject<'_>,
    access: Access,
    topic: &str,
    output: &mut Output,
) -> Result<i32, Failure> {
    let file = AclFile::parse_with(text, &job.parse).map_err(|errors| invalid(&job.file, &errors))?;
    let explain =
        |strict| Acl::compile(&file, job.options.strict_subscribe(strict)).explain(subject, access, topic);
    let explanation = explain(false);
    // Without the option the answer about a filter is always the same.
    let strict = (access == Access::Subscribe).then(|| explain(true));
    let name = job.file.display().to_string();
    let allowed = explanation.decision.is_allow();
    if job.json {
        let mut json = explanation_json(&name, &explanation);
        if let (Some(strict), Some(json)) = (strict, json.as_object_mut()) {
            json.insert("acl_strict_subscribe".into(), explanation_json(&name, &strict));
        }
        output.line(format_args!("{json:#}"));
    } else {
        output.text(explanation.in_file(&name));
        if let Some(strict) = strict {
            let strict = strict.in_file(&name);
            output.text(format_args!(
                "with acl_strict_subscribe true it would be\n{strict}"
            ));
        }
    }
    Ok(if allowed { 0 } else { NO })
}

fn explanation_json(file: &str, explanation: &Explanation) -> Json {
    let considered = explanation
        .considered
        .iter()
        .map(|rule| json!({ "line": rule.line, "rule": rule.rule, "outcome": rule.outcome.to_string() }));
    let line = match explanation.reason {
        komar_acl::Reason::Rule { line } => Some(line),
        komar_acl::Reason::StrictSubscribe => explanation.considered.last().map(|rule| rule.line),
        _ => None,
    };
    let considered = considered.collect::<Vec<_>>();
    let reason = explanation.reason.to_string();
    let allowed = explanation.decision.is_allow();
    json!({ "file": file, "allowed": allowed, "line": line, "reason": reason, "considered": considered })
}
