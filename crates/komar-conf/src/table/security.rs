//! Who may connect and do what; plugins.

use crate::arguments::Apply::{self, Boolean, Path, Special};
use crate::arguments::{Arguments, Problem};
use crate::directive::Support::{NoEffect, NotYet};
use crate::directive::{Action, Directive, Group, Scope, Structure};
use crate::draft::{PluginDraft, SecurityDraft};
use crate::structure;
use crate::{AclOptions, ErrorKind};

pub(super) fn rows() -> Vec<Directive> {
    vec![
        row(
            "allow_anonymous",
            "false, but true if no listener is defined",
            "a connection without user name is accepted",
            Boolean(|security, value| security.allow_anonymous = Some(value)),
        ),
        row(
            "allow_zero_length_clientid",
            "true",
            "an empty client identifier is replaced by a generated one",
            Boolean(|security, value| security.allow_zero_length_clientid = Some(value)),
        ),
        row(
            "acl_file",
            "",
            "who may read and write which topics",
            Path(|security, value| security.acl_file = Some(value)),
        ),
        row(
            "acl_strict_subscribe",
            "false",
            "refuse subscriptions under which nothing may be read (Komar's own)",
            Boolean(|security, value| acl_options(security).strict_subscribe = value),
        ),
        row(
            "acl_extensions",
            "false",
            "allow group, member, readdeny, writedeny in the ACL file (Komar's own)",
            Boolean(|security, value| acl_options(security).extensions = value),
        ),
        row(
            "acl_substitute_anywhere",
            "false",
            "replace %u and %c anywhere, as Mosquitto 2.0 does (Komar's own)",
            Boolean(|security, value| acl_options(security).substitute_anywhere = value),
        ),
        row(
            "password_file",
            "",
            "user names and hashed passwords",
            Path(|security, value| security.password_file = Some(value)),
        ),
        row(
            "psk_file",
            "",
            "identities and shared keys of TLS-PSK",
            Path(|security, value| {
                security.psk_file = Some(value);
            }),
        )
        .support(NotYet("TLS-PSK is not available")),
        row(
            "auto_id_prefix",
            "auto-",
            "how generated client identifiers begin",
            Special("TEXT, up to 50 bytes", id_prefix),
        )
        .once()
        .until_3(Some("'listener_auto_id_prefix'")),
        structure(
            Scope::Security,
            "plugin",
            "PATH",
            "use one of the built-in plugins by the file name that it has in Mosquitto",
            structure::plugin,
        )
        .also(&["auth_plugin"]),
        structure(
            Scope::Global,
            "global_plugin",
            "PATH",
            "as 'plugin', always for all listeners",
            structure::global_plugin,
        ),
        structure(
            Scope::Global,
            "plugin_load",
            "NAME PATH",
            "name a plugin for 'plugin_use'",
            structure::plugin_load,
        ),
        structure(
            Scope::Listener,
            "plugin_use",
            "NAME",
            "use a named plugin for this listener",
            structure::plugin_use,
        ),
        plugin(
            "plugin_opt_",
            "",
            "option of the plugin above",
            Special("KEY VALUE, KEY without a blank before it", plugin_option),
        )
        .also(&["auth_opt_"])
        .accumulates(),
        plugin(
            "auth_plugin_deny_special_chars",
            "true",
            "for plugins of old releases",
            Boolean(|_, _| {}),
        )
        .support(NoEffect("no plugin of that kind is loaded")),
    ]
}

/// `listener_auto_id_prefix` reads the same.
pub(super) fn id_prefix(security: &mut SecurityDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    security.auto_id_prefix = Some(arguments.text_up_to(50)?);
    Ok(())
}

fn acl_options(security: &mut SecurityDraft) -> &mut AclOptions {
    security.acl_options.get_or_insert_default()
}

fn row(
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    apply: Apply<SecurityDraft>,
) -> Directive {
    Directive::row(Group::Security, name, default, summary, Action::Security(apply))
}

fn plugin(
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    apply: Apply<PluginDraft>,
) -> Directive {
    Directive::row(Group::Security, name, default, summary, Action::Plugin(apply))
}

fn structure(
    scope: Scope,
    name: &'static str,
    form: &'static str,
    summary: &'static str,
    run: Structure,
) -> Directive {
    Directive::row(
        Group::Security,
        name,
        "",
        summary,
        Action::Structure(scope, form, run),
    )
    .accumulates()
}

fn plugin_option(draft: &mut PluginDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let key = arguments
        .name
        .strip_prefix("plugin_opt_")
        .or_else(|| arguments.name.strip_prefix("auth_opt_"));
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(arguments.at_name(ErrorKind::PluginOption {
            name: arguments.name.to_owned(),
        }));
    };
    let value = arguments.text()?;
    if let Some(plugin) = &mut draft.plugin {
        plugin.options.push((key.to_owned(), value));
    }
    Ok(())
}
