//! `komar acl check`: everything that is wrong or odd, with its place.

use std::fmt::Display;
use std::path::Path;

use komar_acl::{Acl, AclErrors, AclFile, Lint};
use komar_passwd::PasswordFile;
use serde_json::{Value as Json, json};

use super::{Failure, INVALID, Job, read};
use crate::output::Output;

pub(super) fn run(
    job: &Job,
    text: &[u8],
    password_file: Option<&Path>,
    output: &mut Output,
) -> Result<i32, Failure> {
    // What is wrong with the ACL file is told all the same.
    let (known, failure) = match password_file.map(known_users).transpose() {
        Ok(known) => (known, None),
        Err(failure) => (None, Some(failure)),
    };
    let end = |status| failure.map_or(Ok(status), Err);
    let known = known.as_ref().map(|file| |name: &str| file.contains(name));
    let known: Option<&dyn Fn(&str) -> bool> = known.as_ref().map(|known| known as _);
    let (problems, omitted, status) = match AclFile::parse_with(text, &job.parse) {
        Ok(file) => {
            let lints = Acl::lint(&file, known);
            let problems = lints.iter().map(Problem::of_lint).collect::<Vec<_>>();
            (problems, file.warnings_omitted(), 0)
        }
        Err(errors) => {
            let problems = errors.iter().map(Problem::of_error).collect();
            (problems, errors.omitted(), INVALID)
        }
    };
    let name = job.file.display().to_string();
    if job.json {
        let problems = problems.iter().map(Problem::json).collect::<Vec<_>>();
        let report = json!({
            "file": name, "valid": status == 0, "problems": problems, "problems_omitted": omitted,
        });
        output.line(format_args!("{report:#}"));
        return end(status);
    }
    for problem in &problems {
        output.line(format_args!("{name}:{problem}"));
    }
    if omitted > 0 {
        output.line(format_args!("{name}: {omitted} more like these"));
    }
    let verdict = match (status, problems.len().saturating_add(omitted)) {
        (0, 0) => "valid".to_owned(),
        (0, 1) => "valid, 1 warning".to_owned(),
        (0, warnings) => format!("valid, {warnings} warnings"),
        (_, 1) => "not valid, 1 error".to_owned(),
        (_, errors) => format!("not valid, {errors} errors"),
    };
    output.line(format_args!("{name}: {verdict}"));
    end(status)
}

fn known_users(file: &Path) -> Result<PasswordFile, Failure> {
    PasswordFile::parse(&read(file)?).map_err(|errors| {
        Failure::new(
            INVALID,
            format_args!("the password file {} is not valid:\n{errors}", file.display()),
        )
    })
}

/// A file that cannot be used for anything else.
pub(super) fn invalid(file: &Path, errors: &AclErrors) -> Failure {
    let name = file.display();
    let mut lines = errors
        .iter()
        .map(|error| format!("{name}:{}", Problem::of_error(error)))
        .collect::<Vec<_>>();
    if errors.omitted() > 0 {
        lines.push(format!("{name}: {} more like these", errors.omitted()));
    }
    Failure::new(INVALID, format_args!("{name} is not valid\n{}", lines.join("\n")))
}

struct Problem {
    severity: &'static str,
    line: usize,
    column: usize,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Problem {
    fn of_error(error: &komar_acl::AclError) -> Self {
        Self {
            severity: "error",
            line: error.line,
            column: error.column,
            code: error.cause.code(),
            message: error.cause.to_string(),
            hint: error.hint(),
        }
    }

    fn of_lint(lint: &Lint) -> Self {
        Self {
            severity: "warning",
            line: lint.line(),
            column: lint.column(),
            code: lint.kind().code(),
            message: lint.kind().to_string(),
            hint: None,
        }
    }

    fn json(&self) -> Json {
        json!({
            "severity": self.severity, "line": self.line, "column": self.column,
            "code": self.code, "message": self.message, "hint": self.hint,
        })
    }
}

/// `LINE:COLUMN: error: ..`, as editors read it.
impl Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.line, self.column, self.severity, self.message
        )?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}
