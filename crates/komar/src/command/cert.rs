//! `komar cert`: certificates for a site in one line each.

mod pair;
mod revoke;
mod show;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;
use zeroize::Zeroizing;

use super::{Failure, end};
use crate::certificates::Authority;
use crate::output::{Output, Streams};

const HELP: &str = "\
komar cert - certificates for an MQTT site in one line each

Usage: komar cert ca NAME [--days N] [--dir FOLDER] [--out NAME] [--force]
       komar cert server NAME... --ca FILE [--ca-key FILE] [--days N] [--dir FOLDER] [--out NAME] [--force]
       komar cert client NAME --ca FILE [--ca-key FILE] [--days N] [--dir FOLDER] [--out NAME] [--force]
       komar cert crl [CERT...] --ca FILE [--ca-key FILE] [--days N] [--dir FOLDER] [--out NAME]
       komar cert show FILE [--ca FILE|FOLDER] [--crl FILE] [--template TEXT] [--format text|json]

  ca      makes an authority: NAME.crt and NAME.key
  server  makes a certificate for a broker that clients reach by the NAMEs (DNS names or addresses):
          broker.crt and broker.key
  client  makes a certificate for a client; NAME is its CN, and so its user name: NAME.crt and NAME.key
  crl     revokes the certificates in the files CERT, and makes the authority's revocation list last N more days.
          The list has the authority's file name with the ending .crl; what it revokes already stays revoked
  show    prints every identity that a broker could derive from a certificate, or why it would be refused; its option
          certificate_identity says which one it takes. With --ca also whether a listener with that cafile (or capath,
          for a folder) accepts it, with --crl with that crlfile too

      --ca FILE        the authority's certificate; its key is expected beside it, with the ending .key
      --ca-key FILE    the authority's key, if it is elsewhere
      --days N         how long it is valid (default: 1000)
      --dir FOLDER     where the files are written (default: here; a list, beside the authority's certificate)
      --out NAME       another name for the files, without ending
      --force          replace files that exist (one command at a time)
      --template TEXT  an identity made of parts, such as '{cn}@{o}'
  -h, --help

A certificate ends with its authority at the latest. Keys are ECDSA P-256, in files that only their owner may read; an
authority's key may be of another kind. Exit status: 0 done; 2 the listener would refuse the certificate (show --ca); 1
anything wrong, and no file was changed, unless it is that standard output cannot be written.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    let outcome = parse(arguments).and_then(|request| match request {
        None => {
            streams.output.text(HELP);
            Ok(0)
        }
        Some(request) => request.carry_out(streams),
    });
    end(outcome.map_err(Failure::wrong), &mut streams.errors)
}

#[derive(Default)]
struct Request {
    command: String,
    operands: Vec<String>,
    authority: Option<PathBuf>,
    authority_key: Option<PathBuf>,
    out: Option<String>,
    days: Option<u32>,
    folder: Option<PathBuf>,
    force: bool,
    revocation_list: Option<PathBuf>,
    template: Option<String>,
    json: bool,
    /// Those that were given, to refuse what a command has no use for.
    options: Vec<&'static str>,
}

fn parse(arguments: &[OsString]) -> Result<Option<Request>, String> {
    let mut request = Request::default();
    let text = |error: lexopt::Error| format!("{error}; see komar cert --help");
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next().map_err(text)? {
        let option = match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(word) => {
                let word = word.string().map_err(text)?;
                if request.command.is_empty() {
                    request.command = word;
                } else {
                    request.operands.push(word);
                }
                continue;
            }
            Long(name) => *OPTIONS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(known, _)| known)
                .ok_or_else(|| text(Long(name).unexpected()))?,
            other => return Err(text(other.unexpected())),
        };
        if request.options.contains(&option) {
            return Err(format!("--{option} is given twice"));
        }
        request.options.push(option);
        if option == "force" {
            request.force = true;
            continue;
        }
        let value = parser.value().map_err(text)?;
        match option {
            "ca" => request.authority = Some(value.into()),
            "ca-key" => request.authority_key = Some(value.into()),
            "dir" => request.folder = Some(value.into()),
            "crl" => request.revocation_list = Some(value.into()),
            "out" => request.out = Some(value.string().map_err(text)?),
            "template" => request.template = Some(value.string().map_err(text)?),
            "days" => request.days = Some(value.parse().map_err(text)?),
            _ => {
                request.json = match value.to_str() {
                    Some("json") => true,
                    Some("text") => false,
                    _ => return Err(format!("--format is text or json, not {value:?}")),
                }
            }
        }
    }
    Ok(Some(request))
}

impl Request {
    fn carry_out(&self, streams: &mut Streams) -> Result<i32, String> {
        let Streams { output, errors } = streams;
        let command = self.command.as_str();
        if COMMANDS.contains(&command) {
            let unused = self.options.iter().find(|option| {
                let uses = OPTIONS.iter().find(|(known, _)| known == *option);
                uses.is_some_and(|(_, commands)| !commands.contains(&command))
            });
            if let Some(option) = unused {
                return Err(format!(
                    "--{option} means nothing to '{command}'; see komar cert --help"
                ));
            }
        }
        match (command, self.operands.as_slice()) {
            ("ca", [name]) => {
                let (authority, certificate) =
                    Authority::create(name, self.days()).map_err(|error| error.to_string())?;
                pair::write(self, name, &(certificate, authority.key_pem()), output)
            }
            ("server", names @ [_, ..]) => {
                let authority = self.authority()?;
                let pair = authority
                    .issue_server(names, self.days())
                    .map_err(|error| error.to_string())?;
                let status = pair::write(self, "broker", &pair, output)?;
                self.say_if_shortened(&authority, errors);
                Ok(status)
            }
            ("client", [name]) => {
                let authority = self.authority()?;
                let pair = authority
                    .issue_client(name, self.days())
                    .map_err(|error| error.to_string())?;
                let status = pair::write(self, name, &pair, output)?;
                self.say_if_shortened(&authority, errors);
                Ok(status)
            }
            ("crl", certificates) => revoke::run(self, certificates, output),
            ("show", [file]) => show::run(
                &show::Question {
                    file: Path::new(file),
                    authorities: self.authority.as_deref(),
                    revocation_lists: self.revocation_list.as_deref(),
                    template: self.template.as_deref(),
                },
                self.json,
                output,
            ),
            ("", _) => {
                Err("say what to do: ca, server, client, crl or show; see komar cert --help".to_owned())
            }
            (command, _) if COMMANDS.contains(&command) => Err(format!(
                "'{command}' needs {}; see komar cert --help",
                if command == "show" { "one FILE" } else { "a NAME" }
            )),
            (command, _) => Err(format!("'{command}' is not a command; see komar cert --help")),
        }
    }

    fn days(&self) -> u32 {
        self.days.unwrap_or(1000)
    }

    /// If the certificate ends at least a day earlier than was asked for, because its authority does.
    fn say_if_shortened(&self, authority: &Authority, errors: &mut Output) {
        let Ok(end) = authority.not_after() else { return };
        let days = (end - time::OffsetDateTime::now_utc()).whole_days();
        if days.saturating_add(1) < i64::from(self.days()) {
            errors.line(format_args!(
                "Note: it is valid until {}, when its authority ends.",
                end.date()
            ));
        }
    }

    fn authority(&self) -> Result<Authority, String> {
        let path = self.authority_file()?;
        let key = self.authority_key_file(path);
        let (certificate, secret) = (read(path)?, Zeroizing::new(read(&key)?));
        let (path, key) = (path.display().to_string(), key.display().to_string());
        Authority::from_pem((&certificate, &path), (&secret, &key))
            .map_err(|error| format!("{path} and {key} are no usable authority: {error}"))
    }

    fn authority_file(&self) -> Result<&Path, String> {
        self.authority
            .as_deref()
            .ok_or_else(|| "name the authority with --ca FILE".to_owned())
    }

    fn authority_key_file(&self, certificate: &Path) -> PathBuf {
        let beside = || certificate.with_extension("key");
        self.authority_key.clone().unwrap_or_else(beside)
    }

    /// Whether the authority that signs would be lost if this file were replaced. However the two are spelled, and
    /// through links: the file that is there is compared.
    fn is_of_the_authority(&self, file: &Path) -> bool {
        let Some(certificate) = &self.authority else {
            return false;
        };
        let file = std::fs::canonicalize(file);
        [certificate, &self.authority_key_file(certificate)]
            .into_iter()
            .any(|own| match (&file, std::fs::canonicalize(own)) {
                (Ok(file), Ok(own)) => *file == own,
                _ => false,
            })
    }

    fn target(&self, name: &str, ending: &str) -> Result<PathBuf, String> {
        self.target_in(Path::new(""), name, ending)
    }

    /// In the folder that was asked for, or else in this one.
    fn target_in(&self, folder: &Path, name: &str, ending: &str) -> Result<PathBuf, String> {
        let name = self.out.as_deref().unwrap_or(name);
        if name.contains(['/', '\\']) || name.is_empty() {
            return Err(format!(
                "'{name}' cannot be the name of a file; choose one with --out"
            ));
        }
        let folder = self.folder.as_deref().unwrap_or(folder);
        Ok(folder.join(format!("{name}.{ending}")))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    komar_server::setup::read_regular(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

const COMMANDS: [&str; 5] = ["ca", "server", "client", "crl", "show"];

/// Every long option, and the commands that have a use for it.
const OPTIONS: [(&str, &[&str]); 9] = [
    ("ca", &["server", "client", "crl", "show"]),
    ("ca-key", &["server", "client", "crl"]),
    ("crl", &["show"]),
    ("days", &["ca", "server", "client", "crl"]),
    ("dir", &["ca", "server", "client", "crl"]),
    ("force", &["ca", "server", "client"]),
    ("format", &["show"]),
    ("out", &["ca", "server", "client", "crl"]),
    ("template", &["show"]),
];
