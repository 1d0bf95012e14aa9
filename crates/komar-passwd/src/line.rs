//! What a line of a password file is: shared by the reader and the editor, so that they cannot disagree.

use alloc::string::String;

/// A line without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Nothing but blanks.
    Blank,
    /// Begins with `#`.
    Comment,
    /// Has no colon: ignored.
    Other,
    /// `NAME:HASH[:ignored]`, both trimmed.
    Entry(Entry<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    /// Empty if there is nothing after the colon.
    pub(crate) hash: &'a [u8],
    /// The second colon and all after it, which readers ignore.
    pub(crate) rest: &'a [u8],
    /// Where `hash` begins in the line, in bytes.
    pub(crate) hash_at: usize,
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        if line.first() == Some(&b'#') {
            return Self::Comment;
        }
        if !line.contains(&b':') {
            return if trim(line).is_empty() {
                Self::Blank
            } else {
                Self::Other
            };
        }
        // Colons in a row, and those before the name, count as one: that is how Mosquitto cuts.
        let (name, hash_at) = token(line, 0);
        let (hash, end) = token(line, hash_at);
        let blanks = hash.iter().take_while(|byte| is_blank(**byte)).count();
        let skipped = line
            .get(hash_at..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| **byte == b':')
            .count();
        Self::Entry(Entry {
            name: trim(name),
            hash: trim(hash),
            rest: line.get(end..).unwrap_or_default(),
            hash_at: hash_at.saturating_add(skipped).saturating_add(blanks),
        })
    }
}

/// Whether this is the end of a file that Mosquitto sees nothing in: colons, and no line feed behind them. With one they are
/// a line without a name.
pub(crate) fn are_colons_at_the_end(last: &[u8]) -> bool {
    !last.is_empty() && last.iter().all(|byte| *byte == b':')
}

/// The lines of a text without their LF, with the numbers from 1.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(line, number)| (number, line))
}

/// Column in characters, from 1, of a byte of a line.
pub(crate) fn column(line: &[u8], byte: usize) -> usize {
    let before = line.get(..byte).unwrap_or(line);
    String::from_utf8_lossy(before).chars().count().saturating_add(1)
}

/// Cuts what C's `isspace` calls blank from both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !is_blank(*byte))
        .map_or(start, |last| last.saturating_add(1));
    text.get(start..end).unwrap_or_default()
}

/// The bytes up to the next colon after `from`, colons at its start skipped, and where they end.
fn token(line: &[u8], from: usize) -> (&[u8], usize) {
    let rest = line.get(from..).unwrap_or_default();
    let Some(start) = rest.iter().position(|byte| *byte != b':') else {
        return (b"", line.len());
    };
    let start = from.saturating_add(start);
    let rest = line.get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
    (
        rest.get(..length).unwrap_or_default(),
        start.saturating_add(length),
    )
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
