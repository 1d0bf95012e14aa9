//! The grammar of one line.
//!
//! ```text
//! line     = "#" text / "" / *SP statement, right-trimmed
//! statement = ("user" / "group" / "member") 1*SP NAME
//!           / ("topic" / "pattern") 1*SP [ACCESS 1*SP] FILTER
//! ```
//! Words end at spaces only, a tab is part of its word. With two words after the keyword the first is the access,
//! whatever it is.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till1, take_while, take_while1};
use nom::combinator::{eof, map, opt, rest, value, verify};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// What a line says; the parts are pieces of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement<'a> {
    /// Blank or a comment.
    Nothing,
    /// A keyword that takes a name; the name may be empty.
    Name { keyword: Keyword, name: &'a [u8] },
    /// A rule; the filter may be empty, and then there is no access.
    Rule {
        keyword: Keyword,
        access: Option<&'a [u8]>,
        filter: &'a [u8],
    },
    /// The first word is no keyword.
    Unknown { word: &'a [u8] },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    User,
    Group,
    Member,
    Topic,
    Pattern,
}

impl Keyword {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Member => "member",
            Self::Topic => "topic",
            Self::Pattern => "pattern",
        }
    }
}

/// Reads one line, given without its line feed.
pub(crate) fn statement(line: &[u8]) -> Statement<'_> {
    let line = trim_end(line);
    let parsed: IResult<&[u8], Statement<'_>> = alt((
        value(Statement::Nothing, preceded(tag("#"), rest)),
        preceded(
            spaces,
            alt((
                value(Statement::Nothing, eof),
                name_statement,
                rule_statement,
                unknown,
            )),
        ),
    ))
    .parse(line);
    // The last alternative takes any word, so this is not reached; it would be an error and not a rule.
    parsed.map_or(Statement::Unknown { word: line }, |(_, statement)| statement)
}

fn name_statement(input: &[u8]) -> IResult<&[u8], Statement<'_>> {
    let keyword = alt((
        keyword(Keyword::User),
        keyword(Keyword::Group),
        keyword(Keyword::Member),
    ));
    map((keyword, rest), |(keyword, name): (_, &[u8])| Statement::Name {
        keyword,
        name: trim(name),
    })
    .parse(input)
}

fn rule_statement(input: &[u8]) -> IResult<&[u8], Statement<'_>> {
    let keyword = alt((keyword(Keyword::Topic), keyword(Keyword::Pattern)));
    let access = opt(terminated(word, spaces1));
    map(
        (keyword, access, rest),
        |(keyword, access, filter): (_, _, &[u8])| {
            // Trimmed only after an access word: alone, a word is taken as it is.
            let filter = if access.is_some() { trim(filter) } else { filter };
            Statement::Rule {
                keyword,
                access,
                filter,
            }
        },
    )
    .parse(input)
}

fn unknown(input: &[u8]) -> IResult<&[u8], Statement<'_>> {
    map(word, |word| Statement::Unknown { word }).parse(input)
}

/// The keyword as a whole word, and the spaces after it.
fn keyword<'a>(
    keyword: Keyword,
) -> impl Parser<&'a [u8], Output = Keyword, Error = nom::error::Error<&'a [u8]>> {
    let whole = verify(word, move |word: &[u8]| word == keyword.word().as_bytes());
    value(keyword, terminated(whole, spaces))
}

fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_till1(|byte| byte == b' ').parse(input)
}

fn spaces(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(|byte| byte == b' ').parse(input)
}

fn spaces1(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|byte| byte == b' ').parse(input)
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|byte| !is_blank(*byte))
        .map_or(0, |last| last.saturating_add(1));
    text.get(..end).unwrap_or_default()
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(text.len());
    trim_end(text.get(start..).unwrap_or_default())
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
