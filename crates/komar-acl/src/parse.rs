//! Text to rules. What one line means is the grammar of [`grammar`]; what lines mean together is here.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use komar_topic::{TopicFilter, TopicLimits};

use crate::compile::Substitution;
use crate::error::{AclError, AclErrorCause, AclErrors};
use crate::grammar::{Keyword, Statement, statement};
use crate::lint::{Lint, LintKind};
use crate::rule::{AclFile, Owner, Permission};

/// What an ACL file may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ParseOptions {
    /// Accept `group NAME`, `member USER`, and the access words `readdeny` and `writedeny`. Default: `false`, since
    /// Mosquitto refuses a file with them.
    pub extensions: bool,
    /// How the rules will be [applied](crate::Options::substitution). It changes what is odd, and no rule.
    pub substitution: Substitution,
}

impl ParseOptions {
    /// The default, with extensions or without.
    #[must_use]
    pub fn extensions(mut self, extensions: bool) -> Self {
        self.extensions = extensions;
        self
    }

    /// The default, with warnings for this substitution.
    #[must_use]
    pub fn substitution(mut self, substitution: Substitution) -> Self {
        self.substitution = substitution;
        self
    }
}

impl AclFile {
    /// Reads a whole ACL file, as Mosquitto 2.1 does.
    ///
    /// ```
    /// # use komar_acl::AclFile;
    /// let errors = AclFile::parse(b"user alice\ntopics a\ntopic reed a/b\n").unwrap_err();
    /// assert_eq!(
    ///     errors.to_string(),
    ///     "line 2, column 1: unknown keyword \"topics\"; did you mean \"topic\"?\n\
    ///      line 3, column 7: unknown access \"reed\"; did you mean \"read\"?"
    /// );
    /// ```
    ///
    /// # Errors
    /// Every line that cannot be understood, not only the first, as far as [`AclErrors::MAXIMUM`]. A NUL byte is an error
    /// too, where Mosquitto drops the rest of the file.
    pub fn parse(text: &[u8]) -> Result<Self, AclErrors> {
        Self::parse_with(text, &ParseOptions::default())
    }

    /// Like [`parse`](Self::parse), with what goes beyond Mosquitto switched on.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(text: &[u8], options: &ParseOptions) -> Result<Self, AclErrors> {
        let mut reader = Reader {
            options,
            file: Self::default(),
            errors: Vec::new(),
            omitted: 0,
            owner: Section::Named(Owner::Anonymous),
        };
        reader.file.substitution = options.substitution;
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        for (line, number) in body.split(|byte| *byte == b'\n').zip(1..) {
            if let Err((column, cause)) = reader.line(number, line) {
                reader.error(number, line, column, cause);
            }
        }
        if reader.errors.is_empty() {
            Ok(reader.file)
        } else {
            Err(AclErrors {
                errors: reader.errors,
                omitted: reader.omitted,
            })
        }
    }
}

/// Whose rules follow.
#[derive(Clone, Copy)]
enum Section {
    Named(Owner),
    /// A user whose name is not UTF-8: no client can have it, so its rules are nobody's.
    Nobody,
}

/// Where in the line, in bytes from 0, and what.
type Problem = (usize, AclErrorCause);

struct Reader<'a> {
    options: &'a ParseOptions,
    file: AclFile,
    errors: Vec<AclError>,
    /// Errors that are counted only.
    omitted: usize,
    owner: Section,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        if let Some(position) = memchr::memchr(0, line) {
            return Err((position, AclErrorCause::Nul));
        }
        if number == 1 && line.starts_with("\u{feff}".as_bytes()) {
            return Err((0, AclErrorCause::ByteOrderMark));
        }
        if let Some(position) = memchr::memchr(b'\r', line.trim_ascii_end()) {
            self.warn(number, line, position, LintKind::CarriageReturn);
        }
        match statement(line) {
            Statement::Nothing => Ok(()),
            Statement::Name { keyword, name } => self.name(number, line, keyword, name),
            Statement::Rule {
                keyword,
                access,
                filter,
            } => self.rule(number, line, keyword, access, filter),
            Statement::Unknown { word } => Err((offset(line, word), unknown_keyword(word))),
        }
    }

    fn name(&mut self, number: usize, line: &[u8], keyword: Keyword, name: &[u8]) -> Result<(), Problem> {
        let at = offset(line, name);
        let word = keyword.word();
        if keyword != Keyword::User && !self.options.extensions {
            return Err((0, AclErrorCause::Extension { word }));
        }
        if name.is_empty() {
            return Err((
                line.trim_ascii_end().len(),
                AclErrorCause::MissingName { keyword: word },
            ));
        }
        let Ok(name) = core::str::from_utf8(name) else {
            self.warn(number, line, at, LintKind::NameNotUtf8);
            if keyword != Keyword::Member {
                self.owner = Section::Nobody;
            }
            return Ok(());
        };
        if keyword != Keyword::Group && name.contains(['+', '#']) {
            self.warn(
                number,
                line,
                at,
                LintKind::WildcardInUserName {
                    name: name.to_owned(),
                },
            );
        }
        if let Some(character) = crate::lint::control_character(name) {
            self.warn(number, line, at, LintKind::ControlCharacterInName { character });
        }
        match keyword {
            Keyword::Group => {
                self.owner = Section::Named(Owner::Group(self.file.groups.number(name, number)));
            }
            Keyword::Member => {
                let Section::Named(Owner::Group(group)) = self.owner else {
                    return Err((0, AclErrorCause::MemberOutsideGroup));
                };
                let user = self.file.users.number(name, number);
                self.file.members.push((group, user));
            }
            _ => self.owner = Section::Named(Owner::User(self.file.users.number(name, number))),
        }
        Ok(())
    }

    fn rule(
        &mut self,
        number: usize,
        line: &[u8],
        keyword: Keyword,
        access: Option<&[u8]>,
        filter: &[u8],
    ) -> Result<(), Problem> {
        let at = offset(line, filter);
        if filter.is_empty() {
            let keyword = keyword.word();
            return Err((
                line.trim_ascii_end().len(),
                AclErrorCause::MissingFilter { keyword },
            ));
        }
        let permission = match access {
            None => Permission::ReadWrite,
            Some(word) => self.permission(line, word)?,
        };
        let text = String::from_utf8_lossy(filter);
        // Levels that are not UTF-8 are legal to Mosquitto, the wildcards around them are checked all the same.
        TopicFilter::new_within(&text, &TopicLimits::default()).map_err(|cause| {
            (
                at,
                AclErrorCause::InvalidFilter {
                    filter: shown(filter),
                    cause,
                },
            )
        })?;
        let Ok(filter) = core::str::from_utf8(filter) else {
            self.warn(number, line, at, LintKind::FilterNotUtf8);
            return Ok(()); // matches no topic, whatever it grants or denies
        };
        let owner = match (keyword, self.owner) {
            (Keyword::Pattern, _) => Owner::Pattern,
            (_, Section::Named(owner)) => owner,
            (_, Section::Nobody) => return Ok(()),
        };
        for kind in crate::lint::of_rule(
            self.options.substitution,
            owner,
            access.is_some(),
            permission,
            filter,
        ) {
            self.warn(number, line, at, kind);
        }
        self.file.push(number, owner, permission, filter);
        Ok(())
    }

    fn permission(&self, line: &[u8], word: &[u8]) -> Result<Permission, Problem> {
        let at = offset(line, word);
        match Permission::of_word(word) {
            Some(permission @ (Permission::ReadDeny | Permission::WriteDeny)) if !self.options.extensions => {
                Err((
                    at,
                    AclErrorCause::Extension {
                        word: permission.word(),
                    },
                ))
            }
            Some(permission) => Ok(permission),
            None if word.contains(&b'\t') => Err((at, AclErrorCause::Tab)),
            None => {
                let suggestion = similar(word, Permission::ALL.into_iter().map(Permission::word).take(4));
                let filter = line.get(at..).unwrap_or_default().trim_ascii_end();
                Err((
                    at,
                    AclErrorCause::UnknownAccess {
                        word: shown(word),
                        suggestion,
                        filter: shown(filter),
                    },
                ))
            }
        }
    }

    fn error(&mut self, number: usize, line: &[u8], at: usize, cause: AclErrorCause) {
        if self.errors.len() >= AclErrors::MAXIMUM {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        self.errors.push(AclError {
            line: number,
            column: column_of(line, at),
            cause,
        });
    }

    fn warn(&mut self, number: usize, line: &[u8], at: usize, kind: LintKind) {
        if self.file.warnings.len() >= AclErrors::MAXIMUM {
            self.file.warnings_omitted = self.file.warnings_omitted.saturating_add(1);
            return;
        }
        self.file
            .warnings
            .push(Lint::new(number, column_of(line, at), kind));
    }
}

fn unknown_keyword(word: &[u8]) -> AclErrorCause {
    if word.starts_with(b"#") {
        AclErrorCause::IndentedComment
    } else if word.contains(&b'\t') {
        AclErrorCause::Tab
    } else {
        AclErrorCause::UnknownKeyword {
            word: shown(word),
            suggestion: similar(word, ["user", "topic", "pattern"].into_iter()),
        }
    }
}

/// Where `part`, which is a piece of `line`, begins in it.
fn offset(line: &[u8], part: &[u8]) -> usize {
    part.as_ptr()
        .addr()
        .saturating_sub(line.as_ptr().addr())
        .min(line.len())
}

/// Column in characters, from 1, of a byte of a line.
fn column_of(line: &[u8], byte: usize) -> usize {
    let before = line.get(..byte).unwrap_or(line);
    String::from_utf8_lossy(before).chars().count().saturating_add(1)
}

/// Text for a message: what is not UTF-8 replaced, and not longer than a line of a terminal.
fn shown(text: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => alloc::format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// The one of `words` that `word` was probably meant to be.
fn similar(word: &[u8], words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    if word.len() > 12 {
        return None;
    }
    let close = words.map(|candidate| (distance(&word, candidate.as_bytes()), candidate));
    close
        .filter(|(distance, candidate)| *distance <= 2 && distance.saturating_mul(2) < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, deleted or changed (Levenshtein).
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.iter().enumerate() {
        let mut diagonal = index;
        let mut previous = index.saturating_add(1);
        let mut next = Vec::with_capacity(row.len());
        next.push(previous);
        for (other, above) in right.iter().zip(row.iter().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(letter != other));
            previous = changed
                .min(above.saturating_add(1))
                .min(previous.saturating_add(1));
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
