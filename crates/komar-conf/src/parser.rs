//! Reads the lines of the files, row by row, into drafts. All errors are collected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::arguments::{Apply, Arguments, Problem};
use crate::directive::{Action, BeforeListener, Directive, Repeat, Support, directive, nearest_name};
use crate::draft::{Draft, ListenerDraft, PluginDraft, SecurityDraft};
use crate::error::Needs;
use crate::lexer::{Line, Word, Words, forbidden_character, lines};
use crate::pem::pem_line;
use crate::source::FileSource;
use crate::{Bridge, ConfigError, ConfigErrors, ErrorKind, Position, Warning, WarningKind};

/// What a directive was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Global,
    Listener(usize),
    Bridge(usize),
    Plugin(usize),
}

/// The state between two lines.
pub(crate) struct Parser<'a> {
    pub(crate) source: &'a dyn FileSource,
    pub(crate) draft: Draft,
    pub(crate) security: SecurityDraft,
    pub(crate) listeners: Vec<ListenerDraft>,
    pub(crate) bridges: Vec<Bridge>,
    pub(crate) plugins: Vec<PluginDraft>,
    /// Index of the default listener, which `port` and options before any `listener` make.
    default_listener: Option<usize>,
    pub(crate) current: Current,
    /// Where each directive was first given, also if its value was wrong.
    given: BTreeMap<(Object, &'static str), Position>,
    /// Objects whose own line was wrong: nothing is said of what they lack.
    pub(crate) broken: BTreeSet<Object>,
    /// The first option that `per_listener_settings` would have to precede.
    pub(crate) security_given: Option<&'static str>,
    /// Options of security below a listener, although they are global.
    pub(crate) below_listener: Vec<(usize, &'static str, Position)>,
    told_deprecated: BTreeSet<&'static str>,
    told_no_effect: BTreeSet<(Object, &'static str)>,
    pub(crate) file: Arc<Path>,
    pub(crate) line: u32,
    pub(crate) included: bool,
    stopped: bool,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

/// Where options go. An included file starts with nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Current {
    pub(crate) listener: Option<usize>,
    pub(crate) bridge: Option<usize>,
    pub(crate) plugin: Option<usize>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(source: &'a dyn FileSource) -> Parser<'a> {
        Parser {
            source,
            draft: Draft::new(),
            security: SecurityDraft::default(),
            listeners: Vec::new(),
            bridges: Vec::new(),
            plugins: Vec::new(),
            default_listener: None,
            current: Current::default(),
            given: BTreeMap::new(),
            broken: BTreeSet::new(),
            security_given: None,
            below_listener: Vec::new(),
            told_deprecated: BTreeSet::new(),
            told_no_effect: BTreeSet::new(),
            file: Arc::from(Path::new("")),
            line: 0,
            included: false,
            stopped: false,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reads the main file.
    pub(crate) fn main_file(&mut self, path: &Path) {
        match self.source.read(path) {
            Ok(content) => self.content(path, &content),
            Err(error) => {
                let path = path.to_owned();
                let word = path.display().to_string();
                self.error_at(None, word, ErrorKind::Unreadable { path, error });
            }
        }
    }

    /// Reads lines that came from this file.
    pub(crate) fn content(&mut self, path: &Path, content: &[u8]) {
        self.file = Arc::from(path);
        if let Some(line) = pem_line(content) {
            // Other errors would quote the key.
            self.line = line;
            return self.error_at(Some(self.position(1)), "-----".to_owned(), ErrorKind::Pem);
        }
        for (number, line) in lines(content) {
            if self.stopped {
                return;
            }
            self.line = number;
            match line {
                Line::Setting(name, words) => self.setting(name, words),
                Line::Skipped => self.warn(self.position(1), WarningKind::SkippedLine),
                Line::Nul(column) => {
                    self.error_at(Some(self.position(column)), "\\0".to_owned(), ErrorKind::NulByte);
                }
            }
        }
    }

    /// Where a directive was given for this object, if it was.
    pub(crate) fn place(&self, object: Object, name: &'static str) -> Option<&Position> {
        self.given.get(&(object, name))
    }

    /// All that was given for this object.
    pub(crate) fn given_for(&self, object: Object) -> impl Iterator<Item = (&'static str, &Position)> {
        self.given
            .range((object, "")..)
            .take_while(move |((other, _), _)| *other == object)
            .map(|((_, name), position)| (*name, position))
    }

    pub(crate) fn error_at(&mut self, position: Option<Position>, word: String, kind: ErrorKind) {
        if self.errors.len() < ConfigErrors::MAXIMUM {
            self.errors.push(ConfigError { position, word, kind });
        } else if !self.stopped {
            self.stopped = true;
            self.errors.push(ConfigError {
                position,
                word,
                kind: ErrorKind::TooMany,
            });
        }
    }

    pub(crate) fn warn(&mut self, position: Position, kind: WarningKind) {
        if self.warnings.len() < ConfigErrors::MAXIMUM {
            self.warnings.push(Warning { position, kind });
        }
    }

    fn setting(&mut self, name: Word<'_>, words: Words<'_>) {
        let mut name = name;
        if self.line == 1 && name.bytes.starts_with(b"\xEF\xBB\xBF") {
            self.error_at(
                Some(self.position(name.column())),
                name.shown(),
                ErrorKind::ByteOrderMark,
            );
            name = name.tail(3);
            if name.bytes.is_empty() || name.bytes.starts_with(b"#") {
                return;
            }
        }
        let text = std::str::from_utf8(name.bytes).unwrap_or_default();
        // `plugin_opt_` takes any word behind it, but a tab there was meant to separate.
        let row = directive(text).filter(|_| forbidden_character(text).is_none());
        let Some(row) = row else {
            return self.unknown(name);
        };
        let mut arguments = Arguments {
            name: text,
            name_column: name.column(),
            words,
            warnings: Vec::new(),
            value: None,
        };
        let result = self.run(row, &mut arguments);
        let position = self.position(name.column());
        for kind in std::mem::take(&mut arguments.warnings) {
            self.warn(position.clone(), kind);
        }
        match result {
            Ok(object) => self.remark(row, object, &arguments, position),
            Err(Problem { kind, column, word }) => self.error_at(Some(self.position(column)), word, kind),
        }
    }

    /// Says what there is to say about a line that was right.
    fn remark(&mut self, row: &Directive, object: Object, arguments: &Arguments<'_>, position: Position) {
        if let Some(deprecation) = row.deprecated
            && self.told_deprecated.insert(row.name)
        {
            let (removal, successor) = (deprecation.removal, deprecation.successor);
            self.warn(
                position.clone(),
                WarningKind::Deprecated {
                    name: row.name,
                    removal,
                    successor,
                },
            );
        }
        let is_default = arguments.value.as_deref() == Some(row.default);
        let name = arguments.name.to_owned();
        let (kind, reason) = match row.support {
            Support::NoEffect(reason) => (WarningKind::NoEffect { name, reason }, reason),
            Support::NotYet(reason) => (WarningKind::NotYet { name, reason }, reason),
            _ => return,
        };
        if !is_default && self.told_no_effect.insert((object, reason)) {
            self.warn(position, kind);
        }
    }

    /// Applies a row to what its line is for.
    fn run(&mut self, row: &'static Directive, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
        match &row.action {
            Action::Structure(_, _, structure) => {
                self.note(Object::Global, row, arguments)?;
                structure(self, arguments)
            }
            Action::Global(apply) => {
                self.note(Object::Global, row, arguments)?;
                apply.run(&mut self.draft, arguments)?;
                Ok(Object::Global)
            }
            Action::Security(apply) => {
                let object = self.security_object(arguments)?;
                self.note(object, row, arguments)?;
                self.note_security(row.name, arguments);
                run_on(apply, self.security_of(object), arguments)?;
                Ok(object)
            }
            Action::Listener(before, apply) => {
                let index = match (self.current.listener, before) {
                    (Some(index), _) => index,
                    (None, BeforeListener::Default) => self.select_default_listener(arguments),
                    (None, BeforeListener::Error) => return Err(requires(arguments, Needs::Listener)),
                };
                self.note(Object::Listener(index), row, arguments)?;
                run_on(apply, self.listeners.get_mut(index), arguments)?;
                Ok(Object::Listener(index))
            }
            Action::Bridge(apply) => {
                let index = self
                    .current
                    .bridge
                    .ok_or_else(|| requires(arguments, Needs::Bridge))?;
                self.note(Object::Bridge(index), row, arguments)?;
                run_on(apply, self.bridges.get_mut(index), arguments)?;
                Ok(Object::Bridge(index))
            }
            Action::Plugin(apply) => {
                let index = self
                    .current
                    .plugin
                    .ok_or_else(|| requires(arguments, Needs::Plugin))?;
                self.note(Object::Plugin(index), row, arguments)?;
                run_on(apply, self.plugins.get_mut(index), arguments)?;
                Ok(Object::Plugin(index))
            }
        }
    }

    /// Remembers where a directive was given, and refuses it if it may not be given again or not at all.
    fn note(
        &mut self,
        object: Object,
        row: &'static Directive,
        arguments: &Arguments<'_>,
    ) -> Result<(), Problem> {
        let position = self.position(arguments.name_column);
        match self.given.get(&(object, row.name)) {
            None => {
                self.given.insert((object, row.name), position);
            }
            Some(first) if row.repeat == Repeat::Refused => {
                let (name, first) = (row.name.to_owned(), first.clone());
                return Err(arguments.at_name(ErrorKind::Duplicate { name, first }));
            }
            Some(_) => {}
        }
        match row.support {
            Support::Refused(reason) => Err(arguments.at_name(ErrorKind::Refused {
                name: arguments.name.to_owned(),
                reason,
            })),
            _ => Ok(()),
        }
    }

    pub(crate) fn note_security(&mut self, name: &'static str, arguments: &Arguments<'_>) {
        self.security_given.get_or_insert(name);
        if let (false, Some(index)) = (self.draft.config.per_listener_settings, self.current.listener) {
            let position = self.position(arguments.name_column);
            self.below_listener.push((index, name, position));
        }
    }

    /// Whose security an option changes: that of the current listener with `per_listener_settings true`.
    pub(crate) fn security_object(&self, arguments: &Arguments<'_>) -> Result<Object, Problem> {
        match (self.draft.config.per_listener_settings, self.current.listener) {
            (false, _) => Ok(Object::Global),
            (true, Some(index)) => Ok(Object::Listener(index)),
            (true, None) => Err(requires(arguments, Needs::Listener)),
        }
    }

    pub(crate) fn security_of(&mut self, object: Object) -> Option<&mut SecurityDraft> {
        match object {
            Object::Listener(index) => self.listeners.get_mut(index).map(|draft| &mut draft.security),
            _ => Some(&mut self.security),
        }
    }

    /// An option that does not exist.
    fn unknown(&mut self, name: Word<'_>) {
        let shown = name.shown();
        let text = std::str::from_utf8(name.bytes).unwrap_or_default();
        // The first word, if tabs were meant to separate.
        let untabbed = text
            .trim_start_matches('\t')
            .split('\t')
            .next()
            .unwrap_or_default();
        let tabbed = directive(untabbed)
            .map(|row| row.name)
            .filter(|_| text.contains('\t'));
        let nearest = nearest_name(text);
        // What follows belongs to what was meant, and is not reported as well.
        match tabbed.or(nearest) {
            Some("listener" | "port") => self.add_broken_listener(),
            Some("connection") => self.add_broken_bridge(),
            Some("plugin" | "global_plugin" | "plugin_load") => self.add_broken_plugin(None),
            _ => {}
        }
        let kind = match tabbed {
            Some(name) => ErrorKind::TabSeparator { name },
            None if text.starts_with('#') => ErrorKind::IndentedComment,
            None => ErrorKind::UnknownOption {
                name: shown.clone(),
                nearest,
            },
        };
        self.error_at(Some(self.position(name.column())), shown, kind);
    }

    /// Makes the default listener current, and makes it first if there is none.
    fn select_default_listener(&mut self, arguments: &Arguments<'_>) -> usize {
        let index = self.default_listener.unwrap_or_else(|| {
            let position = self.position(arguments.name_column);
            self.listeners.push(ListenerDraft {
                opened: false,
                ..ListenerDraft::new(1883, Some(position))
            });
            self.listeners.len().saturating_sub(1)
        });
        self.default_listener = Some(index);
        self.current.listener = Some(index);
        index
    }

    /// The default listener, from now on one that is listened on.
    pub(crate) fn open_default_listener(&mut self, arguments: &Arguments<'_>) -> Option<&mut ListenerDraft> {
        let position = self.position(arguments.name_column);
        let index = self.select_default_listener(arguments);
        let draft = self.listeners.get_mut(index)?;
        if !std::mem::replace(&mut draft.opened, true) {
            draft.listener.position = Some(position);
        }
        Some(draft)
    }

    pub(crate) fn add_listener(&mut self, draft: ListenerDraft) -> usize {
        let index = self.listeners.len();
        self.listeners.push(draft);
        self.current.listener = Some(index);
        index
    }

    pub(crate) fn add_broken_listener(&mut self) {
        let index = self.add_listener(ListenerDraft::new(1883, None));
        self.broken.insert(Object::Listener(index));
    }

    pub(crate) fn add_bridge(&mut self, bridge: Bridge) -> usize {
        let index = self.bridges.len();
        self.bridges.push(bridge);
        self.current.bridge = Some(index);
        index
    }

    pub(crate) fn add_broken_bridge(&mut self) {
        let index = self.add_bridge(Bridge::new(""));
        self.broken.insert(Object::Bridge(index));
    }

    pub(crate) fn add_plugin(&mut self, draft: PluginDraft) -> usize {
        let index = self.plugins.len();
        self.plugins.push(draft);
        self.current.plugin = Some(index);
        index
    }

    pub(crate) fn add_broken_plugin(&mut self, name: Option<String>) {
        let index = self.add_plugin(PluginDraft { name, plugin: None });
        self.broken.insert(Object::Plugin(index));
    }

    pub(crate) fn position(&self, column: u32) -> Position {
        Position {
            file: Arc::clone(&self.file),
            line: self.line,
            column,
        }
    }
}

/// Indexes of objects are valid as long as the parser lives; there is always a target.
fn run_on<T>(apply: &Apply<T>, target: Option<&mut T>, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    target.map_or(Ok(()), |target| apply.run(target, arguments))
}

pub(crate) fn requires(arguments: &Arguments<'_>, needs: Needs) -> Problem {
    arguments.at_name(ErrorKind::Requires {
        name: arguments.name.to_owned(),
        needs,
    })
}
