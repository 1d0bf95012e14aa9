//! `komar passwd`: users and passwords of a password file, with the options of `mosquitto_passwd`.

mod source;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use komar_passwd::{
    Change, Create, Editor, Scheme, StoredHash, UpdateError, UpdateOptions, check_user_name, update,
};
use lexopt::prelude::*;
use source::{Ask, Source, ask_twice};
use zeroize::Zeroizing;

use super::{Failure, end};
use crate::output::{Output, Streams};

/// How it is called, unless the program has another name.
const NAME: &str = "komar passwd";

const HELP: &str = "\
komar passwd - set and delete passwords in a password file

Usage: komar passwd [-H KIND] [-I N] [-c] FILE USER
       komar passwd [-H KIND] [-I N] [-c] -b FILE USER PASSWORD
       komar passwd -D FILE USER
       komar passwd [-H KIND] [-I N] -U FILE

Without -b the password is asked for twice, and not shown; if standard input is no terminal, the password is its first
line, and the same again its second. The file is replaced in one step: comments and all other
lines stay, as do owner and mode, and several of these may run at the same time. The broker reads it when it is sent
a SIGHUP.

  -b        take the password from the command line, where others on this machine can see it
  -c        create the file; refused if it exists. With - for FILE the line goes to standard output
  -D        delete the user
  -U        replace passwords in plain text by hashes; those that are hashes already stay
  -H KIND   argon2id (default), sha512-pbkdf2, sha512. Mosquitto 2.0 and most builds of 2.1 cannot read argon2id:
            use sha512-pbkdf2 for a file that they read too
  -I N      iterations of sha512-pbkdf2 (default 210000); chooses it if there is no -H
  -h, --help

As mosquitto_passwd (a link of that name to komar), -I with a KIND that has no iterations and what follows USER or PASSWORD
after -c and -D is ignored; otherwise it is an error.

Exit status: 0 done; 1 anything wrong, and nothing was changed, unless it is that standard output cannot be written; 2
the two passwords typed differ. Of -H or -I given twice the last one counts.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    run_as(NAME, arguments, streams)
}

/// Runs the command for a program that was called by this name.
pub(crate) fn run_as(name: &str, arguments: &[OsString], streams: &mut Streams) -> i32 {
    let mut source = Source::default();
    run_with(name, arguments, &mut |prompt| source.ask(prompt), streams)
}

fn run_with(name: &str, arguments: &[OsString], ask: Ask<'_>, streams: &mut Streams) -> i32 {
    if arguments.is_empty() {
        streams.output.text(HELP.replace(NAME, name));
        return 1;
    }
    // Scripts that call mosquitto_passwd get on with what it ignores.
    let tolerant = name != NAME;
    let result = match parse(arguments, tolerant) {
        Ok(Request::Help) => {
            streams.output.text(HELP.replace(NAME, name));
            Ok(0)
        }
        Ok(Request::Job(job)) => work(&job, ask, streams),
        Err(message) => Err(Failure::wrong(format_args!("{message}; see {name} --help"))),
    };
    end(result, &mut streams.errors)
}

enum Request {
    Help,
    Job(Job),
}

struct Job {
    scheme: Scheme,
    file: PathBuf,
    action: Action,
}

enum Action {
    Set {
        create: bool,
        user: String,
        password: Option<Zeroizing<Vec<u8>>>,
    },
    Delete {
        /// Perhaps not UTF-8: what nobody can log in with must go too.
        user: OsString,
    },
    HashPlainText,
}

#[derive(Default)]
struct Flags {
    create: bool,
    batch: bool,
    delete: bool,
    update: bool,
    kind: Option<String>,
    iterations: Option<u32>,
}

impl Flags {
    /// Iterations of hashes that have none, and what stands behind the operands of `-c` and `-D`.
    fn ignore_what_mosquitto_passwd_ignores(&mut self, operands: &mut Vec<OsString>) {
        if matches!(self.kind.as_deref(), Some("sha512" | "argon2id")) {
            self.iterations = None;
        }
        if self.create || self.delete {
            operands.truncate(if self.batch { 3 } else { 2 });
        }
    }
}

fn parse(arguments: &[OsString], tolerant: bool) -> Result<Request, String> {
    let mut flags = Flags::default();
    let mut operands = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Request::Help),
            Short('c') => flags.create = true,
            Short('b') => flags.batch = true,
            Short('D') => flags.delete = true,
            Short('U') => flags.update = true,
            Short('H') => flags.kind = Some(parser.value().and_then(|value| value.string()).map_err(text)?),
            Short('I') => {
                let value = parser.value().and_then(|value| value.string()).map_err(text)?;
                let number = value.parse().ok().filter(|number| *number > 0);
                flags.iterations =
                    Some(number.ok_or_else(|| format!("-I needs a number above 0, not {value:?}"))?);
            }
            Value(value) => {
                operands.push(value);
                // No options after FILE: names and passwords may begin with a dash.
                operands.extend(parser.raw_args().map_err(text)?);
            }
            other => return Err(text(other.unexpected())),
        }
    }
    if tolerant {
        flags.ignore_what_mosquitto_passwd_ignores(&mut operands);
    }
    Ok(Request::Job(job(&flags, &operands)?))
}

fn job(flags: &Flags, operands: &[OsString]) -> Result<Job, String> {
    for (left, right, names) in [
        (flags.create, flags.delete, "-c and -D"),
        (flags.create, flags.update, "-c and -U"),
        (flags.delete, flags.update, "-D and -U"),
        (flags.batch, flags.delete, "-b and -D"),
    ] {
        if left && right {
            return Err(format!("{names} exclude each other"));
        }
    }
    let action = match operands {
        [_] if flags.update => Action::HashPlainText,
        _ if flags.update => return Err("-U needs a file and nothing else".into()),
        [_, user] if flags.delete => Action::Delete { user: user.clone() },
        _ if flags.delete => return Err("-D needs a file and a user".into()),
        [_, user, password] if flags.batch => {
            let password = Some(Zeroizing::new(password.as_encoded_bytes().to_vec()));
            Action::Set {
                create: flags.create,
                user: name(user)?,
                password,
            }
        }
        _ if flags.batch => return Err("-b needs a file, a user and a password".into()),
        [_, user] => Action::Set {
            create: flags.create,
            user: name(user)?,
            password: None,
        },
        _ => return Err("name a file and a user".into()),
    };
    let file = operands.first().map(PathBuf::from).unwrap_or_default();
    if is_standard_output(&file) && !flags.create {
        return Err("- for standard output needs -c".into());
    }
    Ok(Job {
        scheme: scheme(flags)?,
        file,
        action,
    })
}

fn name(user: &OsStr) -> Result<String, String> {
    user.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("the user name {user:?} is not UTF-8"))
}

fn scheme(flags: &Flags) -> Result<Scheme, String> {
    let iterations = flags.iterations.unwrap_or(Scheme::PBKDF2_ITERATIONS);
    match flags.kind.as_deref() {
        Some("sha512-pbkdf2") => Ok(Scheme::Sha512Pbkdf2 { iterations }),
        None if flags.iterations.is_some() => Ok(Scheme::Sha512Pbkdf2 { iterations }),
        Some(kind @ ("sha512" | "argon2id")) if flags.iterations.is_some() => {
            Err(format!("-I is for sha512-pbkdf2, not for {kind}"))
        }
        Some("sha512") => Ok(Scheme::Sha512),
        Some("argon2id") | None => Ok(Scheme::default()),
        Some(kind) => Err(format!(
            "unknown kind of hash {kind:?}: argon2id, sha512-pbkdf2 or sha512"
        )),
    }
}

fn work(job: &Job, ask: Ask<'_>, streams: &mut Streams) -> Result<i32, Failure> {
    let Streams { output, errors } = streams;
    match &job.action {
        Action::Set {
            create,
            user,
            password,
        } => {
            check_user_name(user).map_err(Failure::wrong)?;
            if *create && !is_standard_output(&job.file) && job.file.symlink_metadata().is_ok() {
                return Err(exists(&job.file)); // before anything is typed
            }
            warn_if_weak(job.scheme, errors);
            let password = match password {
                Some(password) => password.clone(),
                None => ask_twice(ask)?,
            };
            // Before the file is locked: this takes its time by intent.
            let stored = hash(job.scheme, &password)?;
            set(job, *create, user, &stored, output)?;
        }
        Action::Delete { user } => return delete(&job.file, user, streams),
        Action::HashPlainText => {
            warn_if_weak(job.scheme, errors);
            let mut hash = |plain: &[u8]| hash(job.scheme, plain).map_err(|failure| failure.message);
            hash_plain_text(&job.file, &mut hash, output)?;
        }
    }
    Ok(0)
}

fn warn_if_weak(scheme: Scheme, errors: &mut Output) {
    let hint = match scheme {
        Scheme::Sha512 => "sha512 gives passwords away when the file is stolen",
        Scheme::Sha512Pbkdf2 { iterations } if iterations < Scheme::PBKDF2_ITERATIONS => {
            "fewer than 210000 iterations are quickly tried when the file is stolen"
        }
        _ => return,
    };
    errors.line(format_args!("Warning: {hint}."));
}

fn hash(scheme: Scheme, password: &[u8]) -> Result<StoredHash, Failure> {
    if password.is_empty() {
        return Err(Failure::wrong("an empty password lets nobody in"));
    }
    if password.len() > LONGEST_PASSWORD {
        let length = password.len();
        return Err(Failure::wrong(format!(
            "the password has {length} bytes, more than {LONGEST_PASSWORD}"
        )));
    }
    let mut salt = [0; 64];
    // Mosquitto 2.0 reads no longer salts than 12 bytes, and they are long enough never to repeat.
    let salt = if matches!(scheme, Scheme::Argon2id { .. }) {
        &mut salt[..]
    } else {
        &mut salt[..12]
    };
    getrandom::fill(salt).map_err(|error| Failure::wrong(format!("no random bytes for a salt: {error}")))?;
    StoredHash::derive(scheme, password, salt).map_err(Failure::wrong)
}

fn set(job: &Job, create: bool, user: &str, stored: &StoredHash, output: &mut Output) -> Result<(), Failure> {
    if is_standard_output(&job.file) {
        output.line(format_args!("{user}:{stored}"));
        return Ok(());
    }
    let rule = if create { Create::New } else { Create::Never };
    let change = change(&job.file, rule, |editor| editor.set(user, stored))?;
    let done = match change {
        Change::Added => "Added",
        Change::Updated => "Updated",
    };
    let file = job.file.display();
    output.line(format_args!("{done} the password of user {user:?} in {file}."));
    Ok(())
}

fn delete(file: &Path, user: &OsStr, streams: &mut Streams) -> Result<i32, Failure> {
    let found = change(file, Create::Never, |editor| {
        Ok::<_, std::convert::Infallible>(editor.remove(user.as_encoded_bytes()))
    })?;
    let user = user.to_string_lossy();
    if !found {
        // Scripts know this line from mosquitto_passwd.
        let user = user.replace(char::is_control, "\u{FFFD}");
        streams
            .errors
            .line(format_args!("Warning: User {user} not found in password file."));
        return Ok(1);
    }
    let file = file.display();
    streams
        .output
        .line(format_args!("Deleted user {user:?} from {file}."));
    Ok(0)
}

fn hash_plain_text(
    file: &Path,
    hash: &mut dyn FnMut(&[u8]) -> Result<StoredHash, String>,
    output: &mut Output,
) -> Result<(), Failure> {
    // Before the file is locked: this takes its time by intent, and others would give up waiting. What cannot be read
    // is said below.
    let mut prepared = HashMap::new();
    if let Ok(text) = komar_server::setup::read_regular(file).map(Zeroizing::new) {
        let hashed = Editor::new(&text).hash_plain_lines(|name, plain| {
            let stored = hash(plain)?;
            let plain = Zeroizing::new(plain.to_vec());
            prepared.insert(name.to_owned(), (plain, stored.clone()));
            Ok::<_, String>(stored)
        });
        hashed.map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))?;
    }
    let counts = change(file, Create::Never, |editor| {
        editor.hash_plain_lines(|name, plain| {
            // Lines that somebody has changed meanwhile are new.
            match prepared.remove(name) {
                Some((same, stored)) if same.as_slice() == plain => Ok(stored),
                _ => hash(plain),
            }
        })
    })?;
    let (hashed, already) = (counts.hashed, counts.already_hashed);
    let file = file.display();
    output.line(format_args!(
        "Hashed {hashed} passwords in {file}; {already} were hashes already."
    ));
    Ok(())
}

fn change<R, E: Display>(
    file: &Path,
    create: Create,
    edit: impl FnOnce(&mut komar_passwd::Editor) -> Result<R, E>,
) -> Result<R, Failure> {
    update(file, &UpdateOptions::default().create(create), edit).map_err(|error| match error {
        UpdateError::Exists { path } => exists(&path),
        UpdateError::Edit(error) => Failure::wrong(format!("{}: {error}", file.display())),
        UpdateError::Io {
            action: "open",
            source,
            ..
        } if source.kind() == io::ErrorKind::NotFound => {
            let folder = file.parent().unwrap_or(Path::new(""));
            if create == Create::Never && (folder.as_os_str().is_empty() || folder.is_dir()) {
                Failure::wrong(format!("{} does not exist; -c creates it", file.display()))
            } else {
                Failure::wrong(format!("the folder {} does not exist", folder.display()))
            }
        }
        other => Failure::wrong(other),
    })
}

fn exists(file: &Path) -> Failure {
    Failure::wrong(format!(
        "{} exists already; leave out -c to change it",
        file.display()
    ))
}

fn is_standard_output(file: &Path) -> bool {
    file == Path::new("-")
}

/// What MQTT can carry. MQTT 5.0 §1.5.6.
const LONGEST_PASSWORD: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::collected;
    use komar_passwd::{PasswordFile, PasswordVerdict};

    struct Outcome {
        status: i32,
        output: String,
        errors: String,
    }

    fn call(arguments: &[&str], typed: &[&str]) -> Outcome {
        let arguments = arguments.iter().map(OsString::from).collect::<Vec<_>>();
        let mut typed = typed.iter();
        let mut ask = |_: &str| {
            let next = typed.next().ok_or_else(|| io::Error::other("no terminal"));
            next.map(|text| Zeroizing::new(text.as_bytes().to_vec()))
        };
        let (status, output, errors) = collected(|streams| run_with(NAME, &arguments, &mut ask, streams));
        Outcome {
            status,
            output,
            errors,
        }
    }

    fn lets_in(text: &[u8], user: &str, password: &str) -> bool {
        let file = PasswordFile::parse(text).unwrap();
        file.check(user, password.as_bytes()).run() != PasswordVerdict::Refused
    }

    /// A folder with a path of a password file that does not exist.
    fn place() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pw").to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn a_user_comes_changes_and_goes() {
        let (_folder, file) = place();
        let quick = ["-I", "1"];
        let created = call(&[&quick[..], &["-c", "-b", &file, "alice", "one"]].concat(), &[]);
        assert_eq!(
            (created.status, created.output),
            (0, format!("Added the password of user \"alice\" in {file}.\n"))
        );
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("alice:$7$1$") && lets_in(text.as_bytes(), "alice", "one"));

        std::fs::write(&file, format!("# staff\n\n{text}nonsense\n")).unwrap();
        let updated = call(&[&quick[..], &[&file, "alice"]].concat(), &["two", "two"]);
        assert_eq!(updated.status, 0, "{}", updated.errors);
        assert!(updated.output.starts_with("Updated "), "{}", updated.output);
        let added = call(&[&quick[..], &["-b", &file, "bob", "-three"]].concat(), &[]);
        assert!(added.output.starts_with("Added "), "{}", added.errors);
        let text = std::fs::read(&file).unwrap();
        assert!(
            lets_in(&text, "alice", "two")
                && !lets_in(&text, "alice", "one")
                && lets_in(&text, "bob", "-three")
        );

        let deleted = call(&["-D", &file, "bob"], &[]);
        assert_eq!(
            (deleted.status, deleted.output),
            (0, format!("Deleted user \"bob\" from {file}.\n"))
        );
        let again = call(&["-D", &file, "bob"], &[]);
        assert_eq!((again.status, again.output.as_str()), (1, ""));
        assert_eq!(again.errors, "Warning: User bob not found in password file.\n");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("# staff\n\nalice:") && text.ends_with("nonsense\n") && !text.contains("bob")
        );
    }

    #[test]
    fn the_kind_of_hash() {
        let line = |arguments: &[&str]| call(&[arguments, &["-c", "-b", "-", "u", "pw"]].concat(), &[]);
        for (arguments, begins, warns) in [
            (&[][..], "u:$argon2id$v=19$m=47104,t=1,p=1$", false),
            (&["-H", "argon2id"], "u:$argon2id$v=19$m=47104,t=1,p=1$", false),
            (&["-H", "sha512-pbkdf2"], "u:$7$210000$", false),
            (&["-H", "sha512-pbkdf2", "-I", "5"], "u:$7$5$", true),
            (&["-I", "5"], "u:$7$5$", true),
            (&["-H", "sha512"], "u:$6$", true),
        ] {
            let outcome = line(arguments);
            assert_eq!(outcome.status, 0, "{}", outcome.errors);
            assert!(
                outcome.output.starts_with(begins),
                "{arguments:?}: {}",
                outcome.output
            );
            assert_eq!(!outcome.errors.is_empty(), warns, "{}", outcome.errors);
            assert_eq!(outcome.output.lines().count(), 1);
            assert!(lets_in(outcome.output.as_bytes(), "u", "pw"));
        }
        assert_ne!(
            line(&["-I", "1"]).output,
            line(&["-I", "1"]).output,
            "salts are random"
        );
    }

    #[test]
    fn what_is_refused() {
        let (_folder, file) = place();
        let file = file.as_str();
        for (arguments, typed, status, words) in [
            (
                &["-b", file, "u", "p"][..],
                &[][..],
                1,
                "does not exist; -c creates it",
            ),
            (
                &["-b", "-c", "/nonexistent/pw", "u", "p"],
                &[],
                1,
                "the folder /nonexistent does not exist",
            ),
            (
                &["-b", "/nonexistent/pw", "u", "p"],
                &[],
                1,
                "the folder /nonexistent does not exist",
            ),
            (&["-c", "-D", file, "u"], &[], 1, "-c and -D"),
            (&["-c", "-U", file], &[], 1, "-c and -U"),
            (&["-D", "-U", file], &[], 1, "-D and -U"),
            (&["-b", "-D", file, "u"], &[], 1, "-b and -D"),
            (&["-c", "-b", file, "u"], &[], 1, "-b needs"),
            (&["-c", file], &[], 1, "name a file and a user"),
            (&["-c", file, "u", "p"], &[], 1, "name a file and a user"),
            (&["-D", file], &[], 1, "-D needs"),
            (&["-U"], &[], 1, "-U needs"),
            (&["-H", "md5", "-c", file, "u"], &[], 1, "unknown kind"),
            (&["-H", "sha512", "-I", "5", "-c", file, "u"], &[], 1, "-I is for"),
            (&["-I", "0", "-c", file, "u"], &[], 1, "above 0"),
            (&["-I", "x", "-c", file, "u"], &[], 1, "above 0"),
            (
                &["-I", "99999999", "-c", "-b", file, "u", "p"],
                &[],
                1,
                "10000000",
            ),
            (&["-x", file, "u"], &[], 1, "--help"),
            (&["-", "u"], &[], 1, "needs -c"),
            (&["-c", "-b", file, "a:b", "p"], &[], 1, "colon"),
            (&["-c", "-b", file, "", "p"], &[], 1, "empty"),
            (&["-c", "-b", file, "u", ""], &[], 1, "empty password"),
            (&["-I", "1", "-c", file, "u"], &["", ""], 1, "empty password"),
            (&["-I", "1", "-c", file, "u"], &["a", "b"], 2, "differ"),
            (&["-I", "1", "-c", file, "u"], &[], 1, "no terminal"),
        ] {
            let outcome = call(arguments, typed);
            assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.errors);
            assert!(
                outcome.errors.contains(words),
                "{arguments:?}: {}",
                outcome.errors
            );
            assert_eq!(outcome.output, "");
            assert!(!Path::new(file).exists(), "{arguments:?}");
        }
        assert_eq!(call(&[], &[]).status, 1);
        let help = call(&["--help"], &[]);
        assert_eq!((help.status, help.output.as_str()), (0, HELP));
    }

    #[test]
    fn an_existing_file_is_not_created_again() {
        let (_folder, file) = place();
        std::fs::write(&file, "kept\n").unwrap();
        let mut asked = false;
        let arguments = ["-c", &file, "u"].map(OsString::from);
        let mut ask = |_: &str| {
            asked = true;
            Ok(Zeroizing::new(b"p".to_vec()))
        };
        let (status, ..) = collected(|streams| run_with(NAME, &arguments, &mut ask, streams));
        assert_eq!(status, 1);
        assert!(!asked, "it is said before a password is typed");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept\n");
    }

    #[test]
    fn others_change_the_file_while_plain_text_is_hashed() {
        let (_folder, file) = place();
        std::fs::write(&file, "alice:one\nbob:two\n").unwrap();
        let scheme = Scheme::Sha512Pbkdf2 { iterations: 1 };
        let derive = |plain: &[u8]| StoredHash::derive(scheme, plain, &[7; 12]).unwrap();
        let mut hashed = Vec::new();
        let mut hash = |plain: &[u8]| {
            if hashed.is_empty() {
                let mut options = UpdateOptions::default();
                options.lock_timeout = std::time::Duration::ZERO;
                let changed = update(Path::new(&file), &options, |editor| {
                    *editor = Editor::new(b"alice:three\nbob:two\n");
                    editor.set("carol", &derive(b"four"))
                });
                changed.expect("nobody holds the lock");
            }
            hashed.push(plain.to_vec());
            Ok(derive(plain))
        };
        let (done, ..) = collected(|streams| {
            i32::from(hash_plain_text(Path::new(&file), &mut hash, &mut streams.output).is_ok())
        });
        assert_eq!(done, 1);
        assert_eq!(hashed, [&b"one"[..], b"two", b"three"], "once each");
        let text = std::fs::read(&file).unwrap();
        for (user, password) in [("alice", "three"), ("bob", "two"), ("carol", "four")] {
            assert!(lets_in(&text, user, password), "{user}");
        }
    }

    #[test]
    fn plain_text_becomes_hashes_once() {
        let (_folder, file) = place();
        std::fs::write(&file, "# x\nalice:one\n\nbob:two\n").unwrap();
        let first = call(&["-I", "1", "-U", &file], &[]);
        assert_eq!(
            first.output,
            format!("Hashed 2 passwords in {file}; 0 were hashes already.\n"),
            "{}",
            first.errors
        );
        let text = std::fs::read(&file).unwrap();
        assert!(text.starts_with(b"# x\nalice:$7$") && lets_in(&text, "bob", "two"));
        let second = call(&["-I", "1", "-U", &file], &[]);
        assert_eq!(
            second.output,
            format!("Hashed 0 passwords in {file}; 2 were hashes already.\n")
        );
        assert_eq!(std::fs::read(&file).unwrap(), text);

        std::fs::write(&file, "alice:one\nbob:tw:o\n").unwrap();
        let refused = call(&["-I", "1", "-U", &file], &[]);
        assert_eq!(refused.status, 1);
        assert!(refused.errors.contains("line 2, column 7"), "{}", refused.errors);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "alice:one\nbob:tw:o\n");
    }

    #[test]
    #[cfg(unix)]
    fn a_user_that_nobody_can_be_goes_too() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_folder, file) = place();
        std::fs::write(&file, b"gr\xfcn:x\ngrau:y\n").unwrap();
        let arguments = [
            "-D".into(),
            OsString::from(&file),
            OsStr::from_bytes(b"gr\xfcn").into(),
        ];
        let mut ask = |_: &str| Err(io::Error::other("no terminal"));
        let (status, output, _) = collected(|streams| run_with(NAME, &arguments, &mut ask, streams));
        assert_eq!(
            (status, output),
            (0, format!("Deleted user \"gr\u{fffd}n\" from {file}.\n"))
        );
        assert_eq!(std::fs::read(&file).unwrap(), b"grau:y\n");
    }

    #[test]
    fn what_mosquitto_passwd_ignores_is_ignored_under_its_name() {
        for (arguments, typed) in [
            (
                &["-H", "sha512", "-I", "5", "-c", "-b", "FILE", "u", "p"][..],
                &[][..],
            ),
            (
                &["-I", "1", "-c", "-b", "FILE", "u", "p", "more", "and more"],
                &[],
            ),
            (&["-I", "1", "-c", "FILE", "u", "more"], &["p", "p"]),
        ] {
            let (_folder, file) = place();
            let arguments: Vec<OsString> = arguments
                .iter()
                .map(|word| word.replace("FILE", &file).into())
                .collect();
            let mut typed = typed.iter();
            let mut ask = |_: &str| {
                let next = typed.next().ok_or_else(|| io::Error::other("no terminal"))?;
                Ok(Zeroizing::new(next.as_bytes().to_vec()))
            };
            let (status, ..) = collected(|streams| run_with(NAME, &arguments, &mut ask, streams));
            assert_eq!(status, 1, "{arguments:?}");
            let (status, _, errors) =
                collected(|streams| run_with("mosquitto_passwd", &arguments, &mut ask, streams));
            assert_eq!(status, 0, "{arguments:?}: {errors}");
            assert!(lets_in(&std::fs::read(&file).unwrap(), "u", "p"));
            let delete = ["-D", &file, "u", "more"].map(OsString::from);
            let (status, ..) = collected(|streams| run_with(NAME, &delete, &mut ask, streams));
            assert_eq!(status, 1);
            let (status, ..) = collected(|streams| run_with("mosquitto_passwd", &delete, &mut ask, streams));
            assert_eq!(status, 0);
        }
    }

    #[test]
    fn it_speaks_of_itself_by_the_name_that_it_was_called_by() {
        let said = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from).collect::<Vec<_>>();
            let (_, output, errors) = collected(|streams| run_as("mosquitto_passwd", &arguments, streams));
            output + &errors
        };
        for arguments in [&[][..], &["--help"], &["-x"]] {
            let said = said(arguments);
            assert!(
                said.contains("mosquitto_passwd") && !said.contains(NAME),
                "{said}"
            );
        }
    }
}
