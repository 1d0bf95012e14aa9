//! COMPLIANCE.md: each normative statement of MQTT 3.1.1 and 5.0, the code that cites it, the tests that do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A statement of a specification.
struct Statement {
    section: String,
    concerns: String,
    demand: String,
    code: Vec<String>,
    tests: Vec<String>,
    /// Why it needs neither, from `exceptions.txt`.
    exception: Option<String>,
}

/// Statements by version and id, such as `v5 MQTT-3.1.2-22`, in the order of the documents.
type Statements = Vec<(String, Statement)>;

/// Writes COMPLIANCE.md.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    let (text, summary) = generate(root)?;
    let path = root.join("COMPLIANCE.md");
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(summary)
}

/// Fails if COMPLIANCE.md is not what [`write()`] would write.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let (text, summary) = generate(root)?;
    let path = root.join("COMPLIANCE.md");
    let present =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if present == text {
        Ok(summary)
    } else {
        Err("COMPLIANCE.md is out of date: run `cargo xtask compliance`".to_owned())
    }
}

fn generate(root: &Path) -> Result<(String, String), String> {
    Ok(render(&statements(root)?))
}

/// Ids of the statements that code and tests cite, in the order of the documents.
pub(crate) fn proven(root: &Path) -> Result<Vec<String>, String> {
    let statements = statements(root)?;
    Ok(statements
        .into_iter()
        .filter(|(_, statement)| !statement.code.is_empty() && !statement.tests.is_empty())
        .map(|(id, _)| id)
        .collect())
}

fn statements(root: &Path) -> Result<Statements, String> {
    let mut statements = Statements::new();
    for version in ["v3", "v5"] {
        let path = root.join(format!("crates/komar-testkit/statements/{version}.txt"));
        let text = read(&path)?;
        statements.extend(text.lines().filter_map(|line| parse(version, line)));
    }
    let places: BTreeMap<String, usize> = statements
        .iter()
        .enumerate()
        .map(|(place, (id, _))| (id.clone(), place))
        .collect();
    let mut wrong = Vec::new();
    let exceptions = read(&root.join("crates/komar-testkit/statements/exceptions.txt"))?;
    for line in exceptions.lines().filter(|line| !line.starts_with('#')) {
        let place = line
            .split_once(" | ")
            .and_then(|(id, reason)| Some((*places.get(id.trim())?, reason.trim())));
        match place {
            Some((place, reason)) => statements[place].1.exception = Some(reason.to_owned()),
            None => wrong.push(format!("exceptions.txt: no such statement, or no reason: {line}")),
        }
    }
    for file in sources(root)? {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = read(&file)?;
        // In a source file everything behind the first test module belongs to the tests.
        let tests_from = text
            .lines()
            .position(|line| line.trim() == "#[cfg(test)]")
            .unwrap_or(usize::MAX);
        for (number, line) in text.lines().enumerate() {
            for citation in citations(line) {
                let Some(place) = citation.as_ref().ok().and_then(|id| places.get(id)) else {
                    let id = citation.unwrap_or_else(|id| id);
                    wrong.push(format!(
                        "{name}:{}: no such statement, or no version before it: {id}",
                        number + 1
                    ));
                    continue;
                };
                let is_test = name.contains("/tests/") || number >= tests_from;
                let statement = &mut statements[*place].1;
                let list = if is_test {
                    &mut statement.tests
                } else {
                    &mut statement.code
                };
                // Without line numbers, so that the table changes only when a citation moves to another file.
                if !list.contains(&name) {
                    list.push(name.clone());
                }
            }
        }
    }
    if wrong.is_empty() {
        Ok(statements)
    } else {
        Err(wrong.join("\n"))
    }
}

fn parse(version: &str, line: &str) -> Option<(String, Statement)> {
    let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [id, section, concerns, demand, ..] = fields.as_slice() else {
        return None;
    };
    if !id.starts_with("MQTT-") {
        return None;
    }
    let statement = Statement {
        section: (*section).to_owned(),
        concerns: (*concerns).to_owned(),
        demand: (*demand).to_owned(),
        code: Vec::new(),
        tests: Vec::new(),
        exception: None,
    };
    Some((format!("{version} {id}"), statement))
}

/// What a line cites: `Ok("v5 MQTT-3.1.2-22")`, or `Err` with an id that has no version before it.
fn citations(line: &str) -> Vec<Result<String, String>> {
    let mut found = Vec::new();
    for (start, _) in line.match_indices("[MQTT-") {
        let Some(id) = line[start + 1..].split(']').next() else {
            continue;
        };
        let before = line[..start].trim_end();
        found.push(
            match before
                .rsplit(|character: char| !character.is_alphanumeric())
                .next()
            {
                Some(version @ ("v3" | "v5")) => Ok(format!("{version} {id}")),
                _ => Err(id.to_owned()),
            },
        );
    }
    found
}

fn render(statements: &Statements) -> (String, String) {
    let mut text = String::from(
        "# Compliance\n\nGenerated by `cargo xtask compliance`: which source files cite a statement, and which tests. A \
         statement that no\nfile cites is not shown to be met; it is not said to be broken either.\n",
    );
    let mut summary = String::new();
    for (version, title) in [("v3", "MQTT 3.1.1"), ("v5", "MQTT 5.0")] {
        let of_version = || statements.iter().filter(|(id, _)| id.starts_with(version));
        let concern_us = || of_version().filter(|(_, statement)| statement.concerns != "client");
        let cited = concern_us()
            .filter(|(_, statement)| !statement.code.is_empty())
            .count();
        let tested = concern_us()
            .filter(|(_, statement)| !statement.tests.is_empty())
            .count();
        let total = concern_us().count();
        let excepted = concern_us()
            .filter(|(_, statement)| statement.exception.is_some())
            .count();
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n## {title}\n\nOf {total} statements that concern a server, code cites {cited} and tests cite {tested}; {excepted} need \
             neither, for the reason that stands in place of the code.\n\n\
             | statement | section | who | what is demanded | code | tests |\n| --- | --- | --- | --- | --- | --- |\n"
        );
        for (id, statement) in of_version() {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                id.split(' ').nth(1).unwrap_or(id),
                statement.section,
                statement.concerns,
                statement.demand.replace('|', "\\|"),
                match &statement.exception {
                    Some(reason) => format!("– {reason}"),
                    None => statement.code.join(" "),
                },
                statement.tests.join(" ")
            );
        }
        let _ = write!(
            summary,
            "{title}: {total} statements concern a server, {cited} cited by code, {tested} by tests. "
        );
    }
    (text, summary.trim_end().to_owned())
}

/// Rust sources and test tables of the crates.
fn sources(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_statements = path.ends_with("komar-testkit/statements");
            if path.is_dir() && !is_statements {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "txt")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_need_a_version_right_before_them() {
        assert_eq!(citations("// v5 [MQTT-3.1.2-22], v3 [MQTT-3.1.2-24]").len(), 2);
        assert_eq!(
            citations("x(); // v5 [MQTT-3.1.2-22]"),
            [Ok("v5 MQTT-3.1.2-22".to_owned())]
        );
        assert_eq!(citations("[MQTT-3.1.2-22]"), [Err("MQTT-3.1.2-22".to_owned())]);
        assert!(citations("MQTT 5.0 §3.1.2").is_empty());
    }
}
