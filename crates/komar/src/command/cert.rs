//! `komar cert`: certificates for a site in one line each.

mod pair;
mod revoke;
mod show;

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
      --dir FOLDER     where the files are written (default: here)
      --out NAME       another name for the files, without ending
      --force          replace files that exist
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
        let name = self.out.as_deref().unwrap_or(name);
        if name.contains(['/', '\\']) || name.is_empty() {
            return Err(format!(
                "'{name}' cannot be the name of a file; choose one with --out"
            ));
        }
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::collected;

    /// A folder to work in.
    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Site {
            Site(tempfile::tempdir().unwrap())
        }

        fn path(&self, file: &str) -> PathBuf {
            self.0.path().join(file)
        }

        /// Status, and what was written to standard output and standard error; the folder is called DIR.
        fn call(&self, line: &str) -> (i32, String, String) {
            let folder = self.0.path().to_str().unwrap();
            let arguments = line
                .split(' ')
                .map(|word| OsString::from(word.replace("DIR", folder)));
            let arguments: Vec<OsString> = arguments.collect();
            let (status, output, errors) = collected(|streams| run(&arguments, streams));
            (
                status,
                output.replace(folder, "DIR"),
                errors.replace(folder, "DIR"),
            )
        }

        #[track_caller]
        fn done(&self, line: &str) -> String {
            let (status, output, errors) = self.call(line);
            assert_eq!((status, errors.as_str()), (0, ""), "{line}");
            output
        }
    }

    #[test]
    fn a_site_in_four_lines() {
        let site = Site::new();
        assert_eq!(site.done("ca site --dir DIR"), "DIR/site.crt\nDIR/site.key\n");
        let broker = site.done("server broker.example 10.0.0.1 --ca DIR/site.crt --dir DIR");
        assert_eq!(broker, "DIR/broker.crt\nDIR/broker.key\n");
        site.done("client plc --ca DIR/site.crt --dir DIR --days 30");
        site.done("client hmi --ca DIR/site.crt --dir DIR --out other");
        assert!(site.path("other.crt").exists());

        let shown = site.done("show DIR/plc.crt --ca DIR/site.crt");
        assert!(shown.contains("CN (use_identity_as_username): plc\n"), "{shown}");
        assert!(shown.ends_with("accepts it.\n"), "{shown}");
        let shown = site.done("show DIR/broker.crt");
        assert!(
            shown.contains("alternative name, dns: broker.example\n"),
            "{shown}"
        );

        // Nothing is overwritten unless it is said.
        let (status, output, errors) = site.call("client plc --ca DIR/site.crt --dir DIR");
        assert_eq!((status, output.as_str()), (1, ""));
        assert!(
            errors.contains("DIR/plc.key exists; --force replaces it"),
            "{errors}"
        );
        let before = std::fs::read(site.path("plc.crt")).unwrap();
        site.done("client plc --ca DIR/site.crt --dir DIR --force");
        assert_ne!(std::fs::read(site.path("plc.crt")).unwrap(), before);
        let left = std::fs::read_dir(site.0.path()).unwrap().count();
        assert_eq!(left, 8, "no temporary file is left");
    }

    #[test]
    #[cfg(unix)]
    fn keys_are_their_owners() {
        use std::os::unix::fs::PermissionsExt as _;
        let site = Site::new();
        site.done("ca site --dir DIR");
        let mode = |file| std::fs::metadata(site.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("site.key"), 0o600);
        assert_eq!(mode("site.crt") & 0o444, 0o444);
    }

    #[test]
    fn what_is_revoked_stays_revoked() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        for client in ["plc", "hmi", "scada"] {
            site.done(&format!("client {client} --ca DIR/site.crt --dir DIR"));
        }
        let accepts = |client: &str| {
            let line = format!("show DIR/{client}.crt --ca DIR/site.crt --crl DIR/site.crl");
            let (status, output, _) = site.call(&line);
            assert!(
                status == 0 || status == 2 && output.contains("refuses it"),
                "{output}"
            );
            status == 0
        };
        let crl = |files: &str| site.done(&format!("crl{files} --ca DIR/site.crt --dir DIR"));
        assert_eq!(crl(""), "DIR/site.crl: 0 certificates revoked\n");
        assert!(accepts("plc") && accepts("hmi") && accepts("scada"));
        assert_eq!(crl(" DIR/plc.crt"), "DIR/site.crl: 1 certificate revoked\n");
        assert!(!accepts("plc") && accepts("hmi"));
        assert_eq!(
            crl(" DIR/hmi.crt DIR/plc.crt"),
            "DIR/site.crl: 2 certificates revoked\n"
        );
        assert_eq!(crl(""), "DIR/site.crl: 2 certificates revoked\n");
        assert!(!accepts("plc") && !accepts("hmi") && accepts("scada"));

        // Neither somebody else's certificate nor somebody else's list.
        site.done("ca other --dir DIR");
        site.done("client stranger --ca DIR/other.crt --dir DIR");
        let before = std::fs::read(site.path("site.crl")).unwrap();
        for (line, words) in [
            (
                "crl DIR/stranger.crt --ca DIR/site.crt --dir DIR",
                "issued by somebody else, \"CN=other\"",
            ),
            (
                "crl --ca DIR/other.crt --dir DIR --out site",
                "list of somebody else, \"CN=site\"",
            ),
            (
                "crl DIR/none.crt --ca DIR/site.crt --dir DIR",
                "cannot read DIR/none.crt",
            ),
        ] {
            let (status, _, errors) = site.call(line);
            assert_eq!(status, 1, "{line}");
            assert!(errors.contains(words), "{line}: {errors}");
        }
        std::fs::write(site.path("note.crl"), "a note").unwrap();
        let (_, _, errors) = site.call("crl --ca DIR/site.crt --dir DIR --out note");
        assert!(
            errors.contains("DIR/note.crl: it is not one revocation list"),
            "{errors}"
        );
        assert_eq!(std::fs::read(site.path("site.crl")).unwrap(), before);
    }

    #[test]
    fn lists_made_at_the_same_time_lose_nothing() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        let clients: Vec<_> = (0..12).map(|number| format!("client{number}")).collect();
        for client in &clients {
            site.done(&format!("client {client} --ca DIR/site.crt --dir DIR"));
        }
        let together = std::sync::Barrier::new(clients.len());
        std::thread::scope(|scope| {
            for client in &clients {
                let (site, together) = (&site, &together);
                scope.spawn(move || {
                    together.wait();
                    site.done(&format!("crl DIR/{client}.crt --ca DIR/site.crt --dir DIR"))
                });
            }
        });
        let list = site.done("crl --ca DIR/site.crt --dir DIR");
        assert_eq!(list, "DIR/site.crl: 12 certificates revoked\n");
        let left = std::fs::read_dir(site.0.path()).unwrap().count();
        assert_eq!(left, 2 + 2 * 12 + 1, "neither lock nor temporary file");
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        std::fs::create_dir(site.path("plc.crt")).unwrap();
        for old in [None, Some("the old key")] {
            if let Some(old) = old {
                std::fs::write(site.path("plc.key"), old).unwrap();
            }
            let before = std::fs::read_dir(site.0.path()).unwrap().count();
            let (status, output, errors) = site.call("client plc --ca DIR/site.crt --dir DIR --force");
            assert_eq!((status, output.as_str()), (1, ""));
            assert!(errors.contains("cannot write DIR/plc.crt: "), "{errors}");
            assert_eq!(std::fs::read_to_string(site.path("plc.key")).ok().as_deref(), old);
            assert_eq!(std::fs::read_dir(site.0.path()).unwrap().count(), before);
        }
    }

    #[test]
    fn an_authority_is_not_replaced_by_what_it_signs() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        std::fs::rename(site.path("site.key"), site.path("kept.key")).unwrap();
        std::fs::create_dir(site.path("sub")).unwrap();
        let files = || ["site.crt", "kept.key"].map(|file| std::fs::read(site.path(file)).unwrap());
        let before = files();
        for line in [
            "client site",
            "client kept",
            "server broker.example --out site",
            "server broker.example --out kept",
        ] {
            for ca in ["DIR/site.crt", "DIR/sub/../site.crt"] {
                let (status, _, errors) = site.call(&format!(
                    "{line} --ca {ca} --ca-key DIR/kept.key --dir DIR --force"
                ));
                assert_eq!(status, 1, "{line}");
                assert!(errors.contains("belongs to the authority"), "{line}: {errors}");
                assert_eq!(files(), before, "{line}");
            }
        }
        // Making the authority anew is said with another command.
        site.done("ca site --dir DIR --force");
        assert_ne!(files(), before);
    }

    #[test]
    fn only_an_authority_signs() {
        use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
        let site = Site::new();
        let day = time::Duration::days(1);
        let now = time::OffsetDateTime::now_utc();
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        for (is_ca, usage, from, until, words) in [
            (IsCa::NoCa, None, now - day, now + day, "(CA:TRUE)"),
            (IsCa::ExplicitNoCa, None, now - day, now + day, "(CA:TRUE)"),
            (
                authority,
                Some(KeyUsagePurpose::CrlSign),
                now - day,
                now + day,
                "(keyCertSign)",
            ),
            (authority, None, now - day - day, now - day, "it has expired"),
            (authority, None, now + day, now + day + day, "it is not valid yet"),
        ] {
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = is_ca;
            params.key_usages = usage.into_iter().collect();
            (params.not_before, params.not_after) = (from, until);
            let key = rcgen::KeyPair::generate().unwrap();
            std::fs::write(site.path("x.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(site.path("x.key"), key.serialize_pem()).unwrap();
            for command in ["client plc", "server broker.example"] {
                let (status, _, errors) = site.call(&format!("{command} --ca DIR/x.crt --dir DIR"));
                assert_eq!(status, 1, "{words}");
                assert!(
                    errors.contains("may not sign others: ") && errors.contains(words),
                    "{errors}"
                );
            }
        }
        site.done("ca site --dir DIR --days 10");
        let (status, _, errors) = site.call("client plc --ca DIR/site.crt --dir DIR --days 30");
        assert_eq!(status, 0);
        assert!(errors.starts_with("Note: it is valid until "), "{errors}");
        let until = |file| {
            let shown = site.done(&format!("show DIR/{file}.crt"));
            shown
                .lines()
                .find(|line| line.starts_with("valid until"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(until("plc"), until("site"));
    }

    #[test]
    fn keys_of_all_forms_are_read() {
        let site = Site::new();
        // Made by openssl ecparam -genkey, openssl genrsa -traditional and openssl pkcs8 -topk8.
        let key = |file: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
            std::fs::read_to_string(folder.join(file)).unwrap()
        };
        for (kind, first) in [
            ("ec", "-----BEGIN EC PARAMETERS"),
            ("rsa", "-----BEGIN RSA PRIVATE KEY"),
        ] {
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let pair = rcgen::KeyPair::from_pem(&key(&format!("{kind}.pkcs8.pem"))).unwrap();
            std::fs::write(site.path("x.crt"), params.self_signed(&pair).unwrap().pem()).unwrap();
            let older = key(&format!("{kind}.pem"));
            assert!(older.starts_with(first), "{older}");
            std::fs::write(site.path("x.key"), older).unwrap();
            site.done(&format!("client {kind} --ca DIR/x.crt --dir DIR"));
            let shown = site.done(&format!("show DIR/{kind}.crt --ca DIR/x.crt"));
            assert!(shown.ends_with("accepts it.\n"), "{shown}");
        }
        std::fs::write(site.path("x.key"), key("ec.pem")).unwrap();
        let (_, _, errors) = site.call("client plc --ca DIR/x.crt --dir DIR");
        assert!(errors.contains("the key does not belong"), "{errors}");
        std::fs::write(site.path("x.key"), key("encrypted.pem")).unwrap();
        let (_, _, errors) = site.call("client plc --ca DIR/x.crt --dir DIR");
        assert!(
            errors.contains("DIR/x.key: the private key is encrypted"),
            "{errors}"
        );
    }

    #[test]
    fn show_says_why_one_would_be_refused() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        site.done("ca other --dir DIR");
        site.done("client plc --ca DIR/site.crt --dir DIR");
        site.done("server broker.example --ca DIR/site.crt --dir DIR");
        for (line, words) in [
            (
                "show DIR/plc.crt --ca DIR/other.crt",
                "none of these authorities has signed it",
            ),
            ("show DIR/broker.crt --ca DIR/site.crt", "not for TLS clients"),
            ("show DIR/site.crt --ca DIR/other.crt", "(CA:TRUE)"),
        ] {
            let (status, output, _) = site.call(line);
            assert_eq!(status, 2, "{line}");
            assert!(
                output.contains("refuses it: ") && output.contains(words),
                "{line}: {output}"
            );
        }
        let shown = site.done("show DIR/plc.crt --template {cn}@{o}");
        assert!(
            shown.contains("template \"{cn}@{o}\": refused, the certificate has nothing for {o}"),
            "{shown}"
        );
        assert!(
            shown.contains("alternative name, uri: refused, there is no"),
            "{shown}"
        );
        let json = site.done("show DIR/plc.crt --format json --ca DIR/site.crt");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["identities"]["CN (use_identity_as_username)"]["identity"],
            "plc"
        );
        assert_eq!(json["certificate"]["issuer, RFC 4514"], "CN=site");
        assert_eq!(json["listener"]["accepted"], true);
        assert!(json["identities"]["alternative name, dns"]["refused"].is_string());
    }

    #[test]
    fn a_folder_of_authorities_is_a_capath() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        site.done("client plc --ca DIR/site.crt --dir DIR");
        std::fs::create_dir(site.path("cas")).unwrap();
        let (status, _, errors) = site.call("show DIR/plc.crt --ca DIR/cas");
        assert_eq!(status, 1);
        assert!(errors.contains("DIR/cas: no certificates (.pem"), "{errors}");
        site.done("ca other --dir DIR/cas");
        let (status, output, _) = site.call("show DIR/plc.crt --ca DIR/cas");
        assert_eq!(status, 2);
        assert!(
            output.contains("none of these authorities has signed it"),
            "{output}"
        );
        std::fs::rename(site.path("site.crt"), site.path("cas/0a1b2c3d.0")).unwrap();
        let shown = site.done("show DIR/plc.crt --ca DIR/cas");
        assert!(shown.ends_with("accepts it.\n"), "{shown}");
    }

    #[test]
    fn files_of_windows_and_with_remarks_are_read() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        let pem = std::fs::read_to_string(site.path("site.crt")).unwrap();
        for text in [
            [b"\xEF\xBB\xBF", pem.replace('\n', "\r\n").as_bytes()].concat(),
            [b"friendlyName: M\xFCller\n", pem.as_bytes()].concat(),
        ] {
            std::fs::write(site.path("site.crt"), text).unwrap();
            site.done("client plc --ca DIR/site.crt --dir DIR --force");
            site.done("crl DIR/plc.crt --ca DIR/site.crt --dir DIR");
            let (status, output, _) = site.call("show DIR/plc.crt --ca DIR/site.crt --crl DIR/site.crl");
            assert_eq!(status, 2);
            assert!(output.ends_with("refuses it: it is revoked.\n"), "{output}");
        }
        let wide: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(site.path("site.crt"), [b"\xFF\xFE", wide.as_slice()].concat()).unwrap();
        for line in ["client hmi", "crl", "show DIR/plc.crt"] {
            let line = format!("{line} --ca DIR/site.crt");
            let (status, _, errors) = site.call(&line);
            assert_eq!(status, 1, "{line}");
            assert!(errors.contains("DIR/site.crt: this text is UTF-16"), "{errors}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_list_keeps_mode_and_owner() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let site = Site::new();
        let list = site.path("site.crl");
        site.done("ca site --dir DIR");
        site.done("crl --ca DIR/site.crt --dir DIR");
        let before = std::fs::read(&list).unwrap();
        std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o640)).unwrap();
        // Only root may give files away.
        let given = nix::unistd::Uid::effective().is_root();
        if given {
            std::os::unix::fs::chown(&list, Some(12345), Some(23456)).unwrap();
        }
        // As sites have it that keep the list elsewhere.
        std::os::unix::fs::symlink(&list, site.path("link.crl")).unwrap();
        site.done("crl --ca DIR/site.crt --dir DIR --out link");
        assert!(site.path("link.crl").is_symlink());
        assert_ne!(std::fs::read(&list).unwrap(), before);
        let found = std::fs::metadata(&list).unwrap();
        assert_eq!(found.mode() & 0o777, 0o640);
        if given {
            assert_eq!((found.uid(), found.gid()), (12345, 23456));
        }
    }

    #[test]
    fn what_cannot_be_made() {
        let site = Site::new();
        site.done("ca site --dir DIR");
        site.done("ca other --dir DIR");
        for (line, words) in [
            ("", "say what to do"),
            ("sign x", "'sign' is not a command"),
            ("client", "'client' needs a NAME"),
            ("show", "'show' needs one FILE"),
            ("client plc", "--ca FILE"),
            ("client plc --ca DIR/none.crt", "cannot read DIR/none.crt"),
            (
                "client plc --ca DIR/site.crt --ca-key DIR/other.key",
                "the key does not belong",
            ),
            (
                "client plc --ca DIR/site.key",
                "DIR/site.key: no certificate (BEGIN CERTIFICATE) in it",
            ),
            (
                "client a\u{FFFF}b --ca DIR/site.crt",
                "no name that a certificate can carry",
            ),
            ("client a/b --ca DIR/site.crt", "choose one with --out"),
            (
                "client a\tb --ca DIR/site.crt",
                "no name that a certificate can carry",
            ),
            (
                "server ü --ca DIR/site.crt",
                "'ü' is neither a DNS name nor an address",
            ),
            ("server a/b --ca DIR/site.crt", "neither a DNS name"),
            (
                "server ok.example a\u{a0}b --ca DIR/site.crt",
                "neither a DNS name",
            ),
            ("server 300.1.1.1 --ca DIR/site.crt", "neither a DNS name"),
            ("server a. --ca DIR/site.crt", "neither a DNS name"),
            ("server *.*.example --ca DIR/site.crt", "neither a DNS name"),
            ("ca x --days 0", "a number from 1 to 36525"),
            ("ca x --days 4000000000", "a number from 1 to 36525"),
            ("ca x --days many", "many"),
            ("ca x --ca DIR/site.crt", "--ca means nothing to 'ca'"),
            ("crl --ca DIR/site.crt --force", "--force means nothing to 'crl'"),
            ("show DIR/site.crt --crl DIR/none", "--crl needs --ca"),
            ("show DIR/site.crt --format xml", "--format is text or json"),
            ("show DIR/site.crt --template all", "no placeholder"),
            ("show DIR/site.key", "no certificate"),
            ("show DIR/site.crt --frobnicate", "--frobnicate"),
        ] {
            let line = if line.is_empty() {
                "--dir DIR".to_owned()
            } else {
                format!("{line} --dir DIR")
            };
            let line = line.replace(
                " --dir DIR",
                if line.starts_with("show") {
                    ""
                } else {
                    " --dir DIR"
                },
            );
            let (status, output, errors) = site.call(&line);
            assert_eq!((status, output.as_str()), (1, ""), "{line}");
            assert!(errors.contains(words), "{line}: {errors}");
        }
        assert_eq!(
            std::fs::read_dir(site.0.path()).unwrap().count(),
            4,
            "nothing was written"
        );
        assert_eq!(site.call("--help"), (0, HELP.to_owned(), String::new()));
    }

    #[test]
    #[cfg(unix)]
    fn a_device_is_not_read() {
        let site = Site::new();
        for line in ["client plc --ca /dev/zero --dir DIR", "show /dev/zero"] {
            let (status, _, errors) = site.call(line);
            assert_eq!(status, 1, "{line}");
            assert!(
                errors.contains("cannot read /dev/zero: it is not a regular file"),
                "{errors}"
            );
        }
    }

    #[test]
    fn an_authority_of_other_programs_keeps_its_name() {
        // Two parts of one kind, which rcgen would lose: the issuer of what it signs would be nobody.
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationalUnitName, "unit");
        let custom = rcgen::DnType::CustomDnType(vec![2, 5, 4, 11]);
        params.distinguished_name.push(custom, "another unit");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let site = Site::new();
        std::fs::write(site.path("odd.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(site.path("odd.key"), key.serialize_pem()).unwrap();
        for line in [
            "client plc --ca DIR/odd.crt --dir DIR",
            "crl --ca DIR/odd.crt --dir DIR",
        ] {
            let (status, _, errors) = site.call(line);
            assert_eq!(status, 1, "{line}");
            assert!(
                errors.contains("its name has parts that komar cannot write anew"),
                "{errors}"
            );
        }
    }
}
