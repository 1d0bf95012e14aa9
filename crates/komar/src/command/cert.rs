//! `komar cert`: certificates for a site in one line each.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use komar_identity::{Certificate, IdentityPolicy};
use lexopt::prelude::*;

use crate::certificates::Authority;

const HELP: &str = "\
komar cert - certificates for an MQTT site in one line each

Usage: komar cert ca NAME [--days N] [--dir FOLDER] [--force]
       komar cert server NAME... --ca FILE [--ca-key FILE] [--out NAME] [--days N] [--dir FOLDER] [--force]
       komar cert client NAME --ca FILE [--ca-key FILE] [--days N] [--dir FOLDER] [--force]
       komar cert show FILE

  ca      makes an authority: NAME.crt and NAME.key
  server  makes a certificate for a broker that clients reach by the NAMEs (DNS names or addresses):
          broker.crt and broker.key, or another name with --out
  client  makes a certificate for a client; NAME is its CN, and so its user name: NAME.crt and NAME.key
  show    prints every identity that a broker could derive from a certificate, and why one would be refused

      --ca FILE      the authority's certificate; its key is expected beside it, with the ending .key
      --ca-key FILE  the authority's key, if it is elsewhere
      --days N       how long it is valid (default: 1000)
      --dir FOLDER   where the files are written (default: here)
      --force        replace files that exist

Keys are ECDSA P-256, in files that only their owner may read.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString]) -> i32 {
    match parse(arguments).and_then(|request| request.map_or_else(help, |request| request.carry_out())) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Error: {error}.");
            1
        }
    }
}

fn help() -> Result<(), String> {
    print!("{HELP}");
    Ok(())
}

struct Request {
    command: String,
    names: Vec<String>,
    authority: Option<PathBuf>,
    authority_key: Option<PathBuf>,
    out: Option<String>,
    days: u32,
    folder: PathBuf,
    force: bool,
}

fn parse(arguments: &[OsString]) -> Result<Option<Request>, String> {
    let mut request = Request {
        command: String::new(),
        names: Vec::new(),
        authority: None,
        authority_key: None,
        out: None,
        days: 1000,
        folder: PathBuf::new(),
        force: false,
    };
    let text = |error: lexopt::Error| format!("{error}; see komar cert --help");
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("ca") => request.authority = Some(parser.value().map_err(text)?.into()),
            Long("ca-key") => request.authority_key = Some(parser.value().map_err(text)?.into()),
            Long("out") => request.out = Some(parser.value().and_then(|value| value.parse()).map_err(text)?),
            Long("days") => request.days = parser.value().and_then(|value| value.parse()).map_err(text)?,
            Long("dir") => request.folder = parser.value().map_err(text)?.into(),
            Long("force") => request.force = true,
            Value(word) if request.command.is_empty() => request.command = word.string().map_err(text)?,
            Value(word) => request.names.push(word.string().map_err(text)?),
            other => return Err(text(other.unexpected())),
        }
    }
    Ok(Some(request))
}

impl Request {
    fn carry_out(&self) -> Result<(), String> {
        match (self.command.as_str(), self.names.as_slice()) {
            ("ca", [name]) => {
                let authority = Authority::create(name, self.days).map_err(|error| error.to_string())?;
                self.write(name, authority.certificate_pem(), &authority.key_pem())
            }
            ("server", [_, ..]) => {
                let issued = self.authority()?.issue_server(&self.names, self.days);
                let (certificate, key) = issued.map_err(|error| error.to_string())?;
                self.write(self.out.as_deref().unwrap_or("broker"), &certificate, &key)
            }
            ("client", [name]) => {
                let issued = self.authority()?.issue_client(name, self.days);
                let (certificate, key) = issued.map_err(|error| error.to_string())?;
                self.write(self.out.as_deref().unwrap_or(name), &certificate, &key)
            }
            ("show", [file]) => show(Path::new(file)),
            ("", _) => Err("say what to do: ca, server, client or show; see komar cert --help".to_owned()),
            (command, _) => Err(format!(
                "'{command}' is not a command, or a NAME is missing; see komar cert --help"
            )),
        }
    }

    fn authority(&self) -> Result<Authority, String> {
        let path = self
            .authority
            .as_ref()
            .ok_or("name the authority with --ca FILE")?;
        let key = self
            .authority_key
            .clone()
            .unwrap_or_else(|| path.with_extension("key"));
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        Authority::from_pem(&read(path)?, &read(&key)?).map_err(|error| {
            format!(
                "{} and {} are no usable authority: {error}",
                path.display(),
                key.display()
            )
        })
    }

    /// Writes a pair of files, or neither.
    fn write(&self, name: &str, certificate: &str, key: &str) -> Result<(), String> {
        if name.contains(['/', '\\']) {
            return Err(format!(
                "'{name}' cannot be the name of a file; choose one with --out"
            ));
        }
        let files = [
            (format!("{name}.crt"), certificate, 0o644),
            (format!("{name}.key"), key, 0o600),
        ];
        for (file, _, _) in &files {
            let path = self.folder.join(file);
            if path.exists() && !self.force {
                return Err(format!("{} exists; --force replaces it", path.display()));
            }
        }
        for (file, text, mode) in files {
            let path = self.folder.join(file);
            write_file(&path, text, mode)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}

fn write_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}

fn show(path: &Path) -> Result<(), String> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {file}: {error}"))?;
    let certificates =
        komar_identity::tls::certificates_from_pem(&bytes, &file).map_err(|error| error.to_string())?;
    let Some(first) = certificates.first() else {
        return Err(format!("{file}: no certificate"));
    };
    let certificate = Certificate::parse(first).map_err(|error| format!("{file}: {error}"))?;
    if certificate.version() == 1 {
        println!("X.509 version 1: it has no extensions, and many programs refuse it.");
        println!(
            "  Make a better one with: komar cert server NAME --ca CA.crt, or komar cert client NAME --ca CA.crt"
        );
    }
    let policies = [
        ("use_identity_as_username (CN)", IdentityPolicy::CommonName),
        ("use_subject_as_username", IdentityPolicy::Subject),
        ("serial number", IdentityPolicy::Serial),
        ("SHA-256 fingerprint", IdentityPolicy::Fingerprint),
    ];
    for (what, policy) in policies {
        match policy.identity(first) {
            Ok(identity) => println!("{what}: {identity}"),
            Err(error) => println!("{what}: refused, {error}"),
        }
    }
    Ok(())
}
