//! Lines and words. One line is one setting; only the space separates words.

/// A line with something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A name and what follows it.
    Setting(Word<'a>, Words<'a>),
    /// Skipped, although there is text behind a leading carriage return.
    Skipped,
    /// Holds a byte 0 at this column.
    Nul(u32),
}

/// Some bytes of a line that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) bytes: &'a [u8],
    line: &'a [u8],
    offset: usize,
}

/// The part of a line that was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    line: &'a [u8],
    offset: usize,
}

/// The lines of a file that say something, with their numbers.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = (u32, Line<'_>)> {
    content
        .split(|&byte| byte == b'\n')
        .zip(1_u32..)
        .filter_map(|(line, number)| Some((number, Line::read(line)?)))
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Option<Line<'a>> {
        let length = line
            .iter()
            .rposition(|&byte| byte != b'\r')
            .map_or(0, |last| last.saturating_add(1));
        let line = line.get(..length).unwrap_or(line);
        match line.first()? {
            b'#' => return None,
            b'\r' => return Some(Line::Skipped),
            _ => {}
        }
        if let Some(offset) = line.iter().position(|&byte| byte == 0) {
            return Some(Line::Nul(column(line, offset)));
        }
        let mut words = Words { line, offset: 0 };
        let name = words.next_word()?;
        Some(Line::Setting(name, words))
    }
}

impl<'a> Words<'a> {
    /// The next word, if there is one.
    pub(crate) fn next_word(&mut self) -> Option<Word<'a>> {
        let rest = self.unread();
        let start = rest.iter().position(|&byte| byte != b' ')?;
        let from_start = rest.get(start..)?;
        let length = from_start
            .iter()
            .position(|&byte| byte == b' ')
            .unwrap_or(from_start.len());
        let word = Word {
            bytes: from_start.get(..length)?,
            line: self.line,
            offset: self.offset.saturating_add(start),
        };
        self.offset = word.offset.saturating_add(length);
        Some(word)
    }

    /// All that is left without outer white space, if there is anything.
    pub(crate) fn rest(&mut self) -> Option<Word<'a>> {
        let rest = self.unread();
        let start = rest.iter().position(|&byte| !is_space(byte))?;
        let length = rest
            .iter()
            .rposition(|&byte| !is_space(byte))?
            .saturating_add(1)
            .saturating_sub(start);
        let word = Word {
            bytes: rest.get(start..)?.get(..length)?,
            line: self.line,
            offset: self.offset.saturating_add(start),
        };
        self.offset = self.line.len();
        Some(word)
    }

    /// Where the next word would stand.
    pub(crate) fn column(&self) -> u32 {
        column(self.line, self.offset)
    }

    /// Steps over so many bytes.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(bytes).min(self.line.len());
    }

    pub(crate) fn unread(&self) -> &'a [u8] {
        self.line.get(self.offset..).unwrap_or_default()
    }
}

impl<'a> Word<'a> {
    /// A part of this word.
    pub(crate) fn tail(self, start: usize) -> Word<'a> {
        Word {
            bytes: self.bytes.get(start..).unwrap_or_default(),
            line: self.line,
            offset: self.offset.saturating_add(start),
        }
    }

    /// Other bytes of the line, so many bytes behind the beginning of this word.
    pub(crate) fn of_line(self, bytes: &'a [u8], start: usize) -> Word<'a> {
        Word {
            bytes,
            line: self.line,
            offset: self.offset.saturating_add(start),
        }
    }

    /// Its column in characters, from 1.
    pub(crate) fn column(&self) -> u32 {
        column(self.line, self.offset)
    }

    /// For messages: what is not UTF-8 replaced, control characters escaped, shortened.
    pub(crate) fn shown(&self) -> String {
        shown(self.bytes)
    }
}

/// See [`Word::shown`].
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 100;
    let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes));
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_noncharacter(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if bytes.len() > LONGEST {
        shown.push_str("...");
    }
    shown
}

/// The first character that text may not hold: control characters and noncharacters.
pub(crate) fn forbidden_character(text: &str) -> Option<usize> {
    text.find(|character: char| character.is_control() || is_noncharacter(character))
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// White space as C has it in its default locale.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn column(line: &[u8], offset: usize) -> u32 {
    // Bytes that continue a UTF-8 character do not count.
    let before = line
        .iter()
        .take(offset)
        .filter(|&&byte| byte & 0b1100_0000 != 0b1000_0000)
        .count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(content: &str) -> (Word<'_>, Words<'_>) {
        match lines(content.as_bytes()).next() {
            Some((1, Line::Setting(name, words))) => (name, words),
            other => panic!("{content:?}: {other:?}"),
        }
    }

    #[test]
    fn words_are_separated_by_spaces_only() {
        let (name, mut words) = setting("  listener   1883 a\tb  \r\r\n");
        assert_eq!((name.bytes, name.column()), (&b"listener"[..], 3));
        let mut next = || words.next_word().map(|word| (word.bytes, word.column()));
        assert_eq!(next(), Some((&b"1883"[..], 14)));
        assert_eq!(next(), Some((&b"a\tb"[..], 19)));
        assert_eq!(next(), None);
    }

    #[test]
    fn the_rest_loses_outer_white_space() {
        let (_, mut words) = setting("acl_file  \t c:\\Program Files (x86)\\a.acl # x \t");
        let rest = words.rest().expect("a value");
        assert_eq!(rest.bytes, b"c:\\Program Files (x86)\\a.acl # x");
        assert_eq!(rest.column(), 13);
        assert_eq!(words.rest(), None);
    }

    #[test]
    fn columns_count_characters() {
        let (_, mut words) = setting("user žluťoučký kůň");
        words.next_word();
        assert_eq!(words.next_word().map(|word| word.column()), Some(16));
    }

    #[test]
    fn lines_that_say_nothing() {
        let content = b"# x\r\n\r\n\n   \n#\0\n\rport 1\n a\0b\nport 1";
        let found: Vec<_> = lines(content).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], (6, Line::Skipped));
        assert_eq!(found[1], (7, Line::Nul(3)));
        assert!(matches!(found[2], (8, Line::Setting(..))));
    }
}
