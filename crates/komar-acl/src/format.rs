//! An ACL file in one style.

use alloc::vec::Vec;

use crate::error::AclErrors;
use crate::grammar::{Keyword, Statement, statement};
use crate::parse::ParseOptions;
use crate::rule::{AclFile, Permission};

impl AclFile {
    /// The same file in one style: single spaces, LF line ends, no blanks at the ends of lines, a blank line before
    /// every section, never two. Comments stay, and the order of everything.
    ///
    /// `topic deny`, which grants a topic of that name, becomes `topic readwrite deny`.
    ///
    /// ```
    /// # use komar_acl::{AclFile, ParseOptions};
    /// let text = AclFile::format(b"user  alice\r\n  topic   read  a/b \r\n", &ParseOptions::default())?;
    /// assert_eq!(text, b"user alice\ntopic read a/b\n");
    /// # Ok::<(), komar_acl::AclErrors>(())
    /// ```
    ///
    /// # Errors
    /// As [`AclFile::parse`]: only a valid file can be formatted.
    pub fn format(text: &[u8], options: &ParseOptions) -> Result<Vec<u8>, AclErrors> {
        Self::parse_with(text, options)?;
        let mut writer = Writer {
            text: Vec::with_capacity(text.len()),
            comment: None,
            blank: true,
        };
        for line in text.split(|byte| *byte == b'\n') {
            writer.line(line.trim_ascii_end());
        }
        writer.end();
        Ok(writer.text)
    }
}

struct Writer {
    text: Vec<u8>,
    /// Where the comment begins that stands directly above what comes next: it belongs to it.
    comment: Option<usize>,
    /// Whether the last line is blank, or there is none.
    blank: bool,
}

impl Writer {
    fn line(&mut self, line: &[u8]) {
        match statement(line) {
            Statement::Nothing if line.first() == Some(&b'#') => {
                if self.comment.is_none() {
                    self.comment = Some(self.text.len());
                }
                self.write(&[line]);
            }
            Statement::Nothing => {
                if !self.blank {
                    self.text.push(b'\n');
                }
                self.blank = true;
                self.comment = None;
            }
            Statement::Name { keyword, name } => {
                if matches!(keyword, Keyword::User | Keyword::Group) {
                    self.begin_section();
                }
                self.comment = None;
                self.write(&[keyword.word().as_bytes(), b" ", name]);
            }
            Statement::Rule {
                keyword,
                access,
                filter,
            } => {
                self.comment = None;
                let is_word = Permission::of_word(filter).is_some();
                let access = access.or(is_word.then_some(b"readwrite"));
                match access {
                    Some(access) => self.write(&[keyword.word().as_bytes(), b" ", access, b" ", filter]),
                    None => self.write(&[keyword.word().as_bytes(), b" ", filter]),
                }
            }
            // Not in a file that was parsed.
            Statement::Unknown { .. } => self.write(&[line]),
        }
    }

    /// A blank line before the section, or before the comment directly above it.
    fn begin_section(&mut self) {
        let at = self.comment.unwrap_or(self.text.len());
        let before = self.text.get(..at).unwrap_or_default();
        if !before.is_empty() && !before.ends_with(b"\n\n") {
            self.text.insert(at, b'\n');
        }
    }

    fn write(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        self.text.push(b'\n');
        self.blank = false;
    }

    fn end(&mut self) {
        while self.text.ends_with(b"\n\n") {
            self.text.pop();
        }
    }
}
