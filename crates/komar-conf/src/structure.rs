//! The rows that concern the parser itself: they start or select an object, or include files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arguments::{Arguments, Problem};
use crate::directive::Support;
use crate::draft::{ListenerDraft, PluginDraft};
use crate::error::Needs;
use crate::parser::{Current, Object, Parser, requires};
use crate::plugin;
use crate::{Bridge, ErrorKind, Plugin, PluginKind, Position, WarningKind};

pub(crate) fn listener(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let position = parser.position(arguments.name_column);
    let draft = listener_draft(arguments, position).inspect_err(|_| parser.add_broken_listener())?;
    Ok(Object::Listener(parser.add_listener(draft)))
}

fn listener_draft(arguments: &mut Arguments<'_>, position: Position) -> Result<ListenerDraft, Problem> {
    let port_word = arguments.word()?;
    let port = arguments.number(port_word, 0, 65535)?;
    let mut draft = ListenerDraft::new(u16::try_from(port).unwrap_or_default(), Some(position));
    let address = match arguments.words.next_word() {
        Some(word) if word.bytes.starts_with(b"#") => {
            let (name, word) = (arguments.name.to_owned(), word.shown());
            arguments.warnings.push(WarningKind::IgnoredWord { name, word });
            None
        }
        Some(word) => Some(arguments.checked(word)?.to_owned()),
        None => None,
    };
    match (port, address) {
        (0, None) => return Err(arguments.at(port_word, |_, _| ErrorKind::UnixPathMissing)),
        (0, Some(path)) => draft.listener.unix_path = Some(PathBuf::from(path)),
        (_, address) => draft.listener.address = address,
    }
    Ok(draft)
}

pub(crate) fn port(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let draft = parser.open_default_listener(arguments);
    let port = arguments.integer(1, 65535)?;
    if let (Some(draft), Ok(port)) = (draft, u16::try_from(port)) {
        if std::mem::replace(&mut draft.has_port, true) {
            arguments.warnings.push(WarningKind::NoEffect {
                name: format!("port {}", draft.listener.port),
                reason: "there is one default listener, and its last 'port' counts; write 'listener' for more",
            });
        }
        draft.listener.port = port;
    }
    Ok(Object::Global)
}

pub(crate) fn bind_address(
    parser: &mut Parser<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Object, Problem> {
    let draft = parser.open_default_listener(arguments);
    let address = arguments.text()?;
    if let Some(draft) = draft {
        draft.listener.address = Some(address);
    }
    Ok(Object::Global)
}

pub(crate) fn connection(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let position = parser.position(arguments.name_column);
    let named = |parser: &Parser<'_>, arguments: &mut Arguments<'_>| {
        let (word, name) = arguments.word_text()?;
        match parser.bridges.iter().find(|bridge| bridge.name == name) {
            Some(Bridge {
                position: Some(first),
                ..
            }) => {
                let first = first.clone();
                Err(arguments.at(word, |option, name| ErrorKind::Duplicate {
                    name: format!("{option} {name}"),
                    first,
                }))
            }
            _ => Ok(name.to_owned()),
        }
    };
    let name = named(parser, arguments).inspect_err(|_| parser.add_broken_bridge())?;
    Ok(Object::Bridge(parser.add_bridge(Bridge {
        position: Some(position),
        ..Bridge::new(name)
    })))
}

pub(crate) fn plugin(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let object = parser.security_object(arguments);
    parser.note_security("plugin", arguments);
    let index = load(parser, None, arguments)?;
    if let Some(security) = parser.security_of(object?) {
        security.plugins.push(index);
    }
    Ok(Object::Plugin(index))
}

pub(crate) fn global_plugin(
    parser: &mut Parser<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Object, Problem> {
    parser.security_given.get_or_insert("global_plugin");
    let index = load(parser, None, arguments)?;
    parser.security.plugins.push(index);
    Ok(Object::Plugin(index))
}

pub(crate) fn plugin_load(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let (word, name) = arguments
        .word_text()
        .inspect_err(|_| parser.add_broken_plugin(None))?;
    let earlier = parser
        .plugins
        .iter()
        .find(|draft| draft.name.as_deref() == Some(name));
    if let Some(first) = earlier.and_then(|draft| draft.plugin.as_ref()?.position.clone()) {
        parser.add_broken_plugin(None);
        let duplicate = |option, name| ErrorKind::Duplicate {
            name: format!("{option} {name}"),
            first,
        };
        return Err(arguments.at(word, duplicate));
    }
    load(parser, Some(name.to_owned()), arguments).map(Object::Plugin)
}

/// Reads a path and adds the plugin that it stands for.
fn load(
    parser: &mut Parser<'_>,
    name: Option<String>,
    arguments: &mut Arguments<'_>,
) -> Result<usize, Problem> {
    let position = parser.position(arguments.name_column);
    let kind = plugin_kind(arguments);
    match kind {
        Ok((kind, path)) => {
            let plugin = Plugin {
                position: Some(position),
                name: name.clone(),
                ..Plugin::new(kind, path)
            };
            Ok(parser.add_plugin(PluginDraft {
                name,
                plugin: Some(plugin),
            }))
        }
        Err(problem) => {
            parser.add_broken_plugin(name);
            Err(problem)
        }
    }
}

fn plugin_kind(arguments: &mut Arguments<'_>) -> Result<(PluginKind, String), Problem> {
    let (word, path) = arguments.text_word()?;
    let row = plugin::known(path).map_err(|kind| arguments.at(word, |_, _| kind))?;
    let name = format!("{} {}", arguments.name, row.name);
    match row.support {
        Support::Full => {}
        Support::NoEffect(reason) => arguments.warnings.push(WarningKind::NoEffect { name, reason }),
        Support::NotYet(reason) => arguments.warnings.push(WarningKind::NotYet { name, reason }),
        Support::Refused(reason) => {
            return Err(arguments.at(word, |_, _| ErrorKind::Refused { name, reason }));
        }
    }
    Ok((row.kind, path.to_owned()))
}

pub(crate) fn plugin_use(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    let listener = parser
        .current
        .listener
        .ok_or_else(|| requires(arguments, Needs::Listener))?;
    let (word, name) = arguments.text_word()?;
    let Some(index) = parser
        .plugins
        .iter()
        .position(|draft| draft.name.as_deref() == Some(name))
    else {
        return Err(arguments.at(word, |_, plugin| ErrorKind::PluginNotLoaded { plugin }));
    };
    parser.current.plugin = Some(index);
    if let Some(draft) = parser.listeners.get_mut(listener) {
        draft.security.plugins.push(index);
    }
    Ok(Object::Listener(listener))
}

pub(crate) fn per_listener_settings(
    parser: &mut Parser<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Object, Problem> {
    let value = arguments.boolean()?;
    let was = parser.draft.config.per_listener_settings;
    match (was, value, parser.security_given) {
        (true, false, _) => arguments.warnings.push(WarningKind::Unused {
            name: "per_listener_settings",
            because: "it was switched on before and stays on",
        }),
        (false, true, Some(earlier)) => {
            return Err(arguments.at_name(ErrorKind::PerListenerSettingsLate { earlier }));
        }
        _ => parser.draft.config.per_listener_settings = value,
    }
    Ok(Object::Global)
}

pub(crate) fn include_dir(parser: &mut Parser<'_>, arguments: &mut Arguments<'_>) -> Result<Object, Problem> {
    if parser.included {
        return Err(arguments.at_name(ErrorKind::NestedInclude));
    }
    let directory = PathBuf::from(arguments.text()?);
    let unreadable = |path: PathBuf, error| arguments.at_name(ErrorKind::Unreadable { path, error });
    let mut paths = match parser.source.list_conf(&directory) {
        Ok(paths) => paths,
        Err(error) => return Err(unreadable(directory, error)),
    };
    paths.retain(|path| {
        let name = file_name(path);
        name.len() > 5 && name.ends_with(b".conf")
    });
    // Upper case goes before lower case only between names that do not differ otherwise.
    paths.sort_by_cached_key(|path| {
        let name = file_name(path);
        (name.to_ascii_lowercase(), name.to_vec())
    });
    let back = (parser.current, Arc::clone(&parser.file), parser.line);
    parser.included = true;
    let mut failed = None;
    for path in paths {
        match parser.source.read(&path) {
            Ok(content) => {
                parser.current = Current::default();
                parser.content(&path, &content);
            }
            Err(error) => {
                failed = Some(unreadable(path, error));
                break;
            }
        }
    }
    parser.included = false;
    (parser.current, parser.file, parser.line) = back;
    failed.map_or(Ok(Object::Global), Err)
}

fn file_name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_encoded_bytes()
}
