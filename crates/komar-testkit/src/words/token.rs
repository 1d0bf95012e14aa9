//! Text into words, values and escapes.

/// Words that stand for a bit.
pub(super) const FLAGS: [&str; 7] = [
    "clean",
    "retain",
    "dup",
    "bridge",
    "no_local",
    "as_published",
    "will_retain",
];

/// Splits at blanks outside quotes and brings escapes into one form.
///
/// # Errors
///
/// A quote that is not closed, or an escape that is none.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = word_end(rest).ok_or_else(|| format!("a quote is not closed: {rest}"))?;
        let (word, after) = rest.split_at(end);
        words.push(match word.split_once('"') {
            None => word.to_owned(),
            Some((name, quoted)) => {
                let inner = quoted
                    .strip_suffix('"')
                    .ok_or_else(|| format!("text behind a quote: {word}"))?;
                format!("{name}{}", quote(&unescape(inner)?))
            }
        });
        rest = after.trim_start();
    }
    Ok(words)
}

/// Where a comment begins: `//` at the line's start or behind a blank, outside quotes.
pub fn comment_start(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut before) = (false, false, ' ');
    for (place, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && before.is_whitespace() && line[place..].starts_with("//") => {
                return Some(place);
            }
            _ => {}
        }
        before = character;
    }
    None
}

fn word_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character.is_whitespace() && !quoted => return Some(place),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

/// The bytes of a value, quoted or not.
///
/// # Errors
///
/// An escape that is none.
pub fn value(word: &str) -> Result<Vec<u8>, String> {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => Ok(word.as_bytes().to_vec()),
    }
}

/// A value that stands alone or behind `=`: quoted only where it has to be.
pub(super) fn bare(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    match core::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        _ => quote(bytes),
    }
}

/// Bytes in quotes, with escapes where they are no printable text.
pub(super) fn quote(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut text = String::from('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                '\n' => text.push_str("\\n"),
                _ if !character.is_ascii_graphic() && !character.is_alphanumeric() && character != ' ' => {
                    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                        let _ = write!(text, "\\x{byte:02x}");
                    }
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = if let Some(after) = after.strip_prefix('n') {
            bytes.push(b'\n');
            after
        } else if let Some(after) = after.strip_prefix('x') {
            let digits = after
                .get(..2)
                .ok_or_else(|| format!("escape cut short: {text}"))?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("no escape: \\x{digits}"))?);
            &after[2..]
        } else if after.starts_with(['"', '\\']) {
            bytes.push(after.as_bytes()[0]);
            &after[1..]
        } else {
            return Err(format!("no escape: \\{after}"));
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}
