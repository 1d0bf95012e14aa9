//! Files of certificates and keys that are taken for others.

/// The number of the first line, from 1, that shows that a file holds certificates or keys: one with `-----BEGIN ` or
/// `-----END ` somewhere in it that is no comment. Errors quote what they are about, and nothing of such a file may get
/// into a log.
///
/// ```
/// use komar_conf::pem_line;
///
/// assert_eq!(pem_line(b"key: |\n  -----BEGIN PRIVATE KEY-----\n  MIIE\n"), Some(2));
/// assert_eq!(pem_line(b"# not -----BEGIN here\ntopic a\n"), None);
/// ```
pub fn pem_line(content: &[u8]) -> Option<u32> {
    let mut lines = content.split(|&byte| byte == b'\n').zip(1..);
    let (_, number) =
        lines.find(|(line, _)| !line.starts_with(b"#") && (holds(line, BEGIN) || holds(line, END)))?;
    Some(number)
}

fn holds(line: &[u8], words: &[u8]) -> bool {
    line.windows(words.len()).any(|window| window == words)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_around_it() {
        for (text, expected) in [
            (
                "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
                Some(1),
            ),
            ("\u{feff}-----BEGIN PRIVATE KEY-----\r\nMIIE\r\n", Some(1)),
            // Its first line is lost.
            ("MIIE\nAAAA\n-----END EC PRIVATE KEY-----", Some(3)),
            (
                "a 1\n\"key\": \"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\"",
                Some(2),
            ),
            ("# -----BEGIN rules-----\ntopic a\n# -----END rules-----", None),
            ("-----\nBEGIN -----BEGINNING-----", None),
            ("", None),
        ] {
            assert_eq!(pem_line(text.as_bytes()), expected, "{text:?}");
        }
    }
}
