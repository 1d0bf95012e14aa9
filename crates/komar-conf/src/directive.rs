//! What a directive is. The rows are in [`table`](crate::table).

use std::fmt;

use crate::Bridge;
use crate::arguments::{Apply, Arguments, Problem};
use crate::draft::{Draft, ListenerDraft, PluginDraft, SecurityDraft};
use crate::parser::{Object, Parser};
use crate::suggest::nearest;
use crate::table;

/// One option of mosquitto.conf: a row of the table that the parser, the manual and `--help` share.
#[non_exhaustive]
pub struct Directive {
    /// Its name. Ends in `_` if the rest of the word belongs to the value (`plugin_opt_KEY`).
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// The chapter of the manual.
    pub group: Group,
    /// One line for the manual.
    pub summary: &'static str,
    /// The default as the file would spell it; empty if there is none.
    pub default: &'static str,
    /// What a second occurrence does.
    pub repeat: Repeat,
    /// What a reload does with a new value.
    pub reload: Reload,
    /// Set if Mosquitto intends to drop it.
    pub deprecated: Option<Deprecation>,
    /// Whether it does something.
    pub support: Support,
    pub(crate) action: Action,
}

/// What a reload does with a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reload {
    /// It holds from then on, for everybody.
    Now,
    /// It holds for connections that begin from then on. The others keep what they began with.
    NewConnections,
    /// It holds after a restart.
    Restart,
}

impl std::fmt::Display for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reload::Now => "takes effect",
            Reload::NewConnections => "takes effect for connections that begin after it",
            Reload::Restart => "needs a restart",
        })
    }
}

/// A chapter of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Group {
    General,
    Listener,
    Security,
    Tls,
    Persistence,
    Logging,
    Bridge,
}

/// What a directive belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The whole broker.
    Global,
    /// The last listener defined.
    Listener,
    /// The last listener defined with `per_listener_settings true`, otherwise the whole broker.
    Security,
    /// The last `connection`.
    Bridge,
    /// The last plugin.
    Plugin,
}

/// What a second occurrence of a directive does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repeat {
    /// Replaces the first.
    LastWins,
    /// Is an error.
    Refused,
    /// Adds to the first.
    Accumulates,
}

/// What is known of the end of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deprecation {
    /// The release of Mosquitto that drops it.
    pub removal: Option<&'static str>,
    /// What to use instead.
    pub successor: Option<&'static str>,
}

/// What Komar does with a directive, a word of it, or a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// All that it says.
    Full,
    /// Nothing, for this reason; a warning says so, unless the value is the default.
    NoEffect(&'static str),
    /// It is read, and the broker does not start with it, for this reason; a warning says so.
    NotYet(&'static str),
    /// It is an error, for this reason.
    Refused(&'static str),
}

/// What may stand behind a directive's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueType {
    /// `true`, `false`, `1`, `0`
    Boolean,
    /// A whole number; decimal, hexadecimal (`0x10`) or octal (`010`).
    Integer {
        /// The smallest allowed.
        minimum: i64,
        /// The largest allowed.
        maximum: i64,
    },
    /// The rest of the line.
    Text,
    /// The rest of the line, a path.
    Path,
    /// One of these words.
    Words(&'static [Keyword]),
    /// Of this form.
    Form(&'static str),
}

impl Keyword {
    pub(crate) const fn full(word: &'static str) -> Keyword {
        Keyword {
            word,
            support: Support::Full,
        }
    }

    pub(crate) const fn with(word: &'static str, support: Support) -> Keyword {
        Keyword { word, support }
    }
}

impl fmt::Display for ValueType {
    /// `a whole number from 0 to 65535`, `true or false`: what may be written, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Boolean => f.write_str("true or false"),
            ValueType::Integer { minimum, maximum } if *minimum <= i64::from(i32::MIN) => {
                write!(f, "a whole number up to {maximum}")
            }
            ValueType::Integer { minimum, maximum } => {
                write!(f, "a whole number from {minimum} to {maximum}")
            }
            ValueType::Text => f.write_str("text to the end of the line"),
            ValueType::Path => f.write_str("a path, to the end of the line"),
            ValueType::Words(words) => words.iter().enumerate().try_for_each(|(number, keyword)| {
                let between = if number == 0 { "" } else { ", " };
                write!(f, "{between}{}", keyword.word)
            }),
            ValueType::Form(form) => f.write_str(form),
        }
    }
}

impl fmt::Display for Scope {
    /// What it belongs to, as the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Global => "the whole broker",
            Scope::Listener => "the listener above it",
            Scope::Security => "the whole broker; with per_listener_settings the listener above it",
            Scope::Bridge => "the connection above it",
            Scope::Plugin => "the plugin above it",
        })
    }
}

/// A word that a directive knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keyword {
    /// As it is written.
    pub word: &'static str,
    /// Whether it does something.
    pub support: Support,
}

/// All directives, chapter by chapter.
pub fn directives() -> &'static [Directive] {
    table::all()
}

/// The directive of this name or alias.
pub fn directive(name: &str) -> Option<&'static Directive> {
    directives().iter().find(|row| row.is_called(name))
}

/// What a row does with its line: for the object that it belongs to, or with the parser itself.
pub(crate) enum Action {
    Global(Apply<Draft>),
    Listener(BeforeListener, Apply<ListenerDraft>),
    Security(Apply<SecurityDraft>),
    Bridge(Apply<Bridge>),
    Plugin(Apply<PluginDraft>),
    Structure(Scope, &'static str, Structure),
}

/// Says what the line was for.
pub(crate) type Structure = fn(&mut Parser<'_>, &mut Arguments<'_>) -> Result<Object, Problem>;

/// What happens to an option of a listener before any listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeforeListener {
    /// It goes to the default listener.
    Default,
    /// It is an error.
    Error,
}

impl Directive {
    /// What it belongs to.
    pub fn scope(&self) -> Scope {
        match &self.action {
            Action::Global(_) => Scope::Global,
            Action::Listener(..) => Scope::Listener,
            Action::Security(_) => Scope::Security,
            Action::Bridge(_) => Scope::Bridge,
            Action::Plugin(_) => Scope::Plugin,
            Action::Structure(scope, ..) => *scope,
        }
    }

    /// What may stand behind its name.
    pub fn value_type(&self) -> ValueType {
        match &self.action {
            Action::Global(apply) => apply.value_type(),
            Action::Listener(_, apply) => apply.value_type(),
            Action::Security(apply) => apply.value_type(),
            Action::Bridge(apply) => apply.value_type(),
            Action::Plugin(apply) => apply.value_type(),
            Action::Structure(_, form, _) => ValueType::Form(form),
        }
    }

    /// Whether it has this name or alias.
    pub fn is_called(&self, word: &str) -> bool {
        let is = |name: &str| word == name || (name.ends_with('_') && word.starts_with(name));
        is(self.name) || self.aliases.iter().any(|alias| is(alias))
    }
}

/// For the rows of the table.
impl Directive {
    pub(crate) const fn row(
        group: Group,
        name: &'static str,
        default: &'static str,
        summary: &'static str,
        action: Action,
    ) -> Directive {
        Directive {
            name,
            aliases: &[],
            group,
            summary,
            default,
            repeat: Repeat::LastWins,
            reload: Reload::Now,
            deprecated: None,
            support: Support::Full,
            action,
        }
    }

    pub(crate) fn also(self, aliases: &'static [&'static str]) -> Directive {
        Directive { aliases, ..self }
    }

    /// A second occurrence is an error.
    pub(crate) fn once(self) -> Directive {
        Directive {
            repeat: Repeat::Refused,
            ..self
        }
    }

    pub(crate) fn accumulates(self) -> Directive {
        Directive {
            repeat: Repeat::Accumulates,
            ..self
        }
    }

    /// A connection keeps the value that it began with.
    pub(crate) fn new_connections(self) -> Directive {
        Directive {
            reload: Reload::NewConnections,
            ..self
        }
    }

    /// Needs a restart.
    pub(crate) fn restart(self) -> Directive {
        Directive {
            reload: Reload::Restart,
            ..self
        }
    }

    /// Mosquitto 3.0 drops it.
    pub(crate) fn until_3(self, successor: Option<&'static str>) -> Directive {
        Directive {
            deprecated: Some(Deprecation {
                removal: Some("3.0"),
                successor,
            }),
            ..self
        }
    }

    /// Discouraged, but not about to go.
    pub(crate) fn better(self, successor: &'static str) -> Directive {
        Directive {
            deprecated: Some(Deprecation {
                removal: None,
                successor: Some(successor),
            }),
            ..self
        }
    }

    pub(crate) fn support(self, support: Support) -> Directive {
        Directive { support, ..self }
    }
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directive")
            .field("name", &self.name)
            .field("scope", &self.scope())
            .field("value_type", &self.value_type())
            .field("support", &self.support)
            .finish_non_exhaustive()
    }
}

/// The known name that is nearest to an unknown one.
pub(crate) fn nearest_name(name: &str) -> Option<&'static str> {
    let names = |row: &'static Directive| std::iter::once(row.name).chain(row.aliases.iter().copied());
    nearest(name, directives().iter().flat_map(names))
}
