//! `komar passwd`: users and passwords of a password file, with the options of `mosquitto_passwd`.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use komar_passwd::{Change, Create, Scheme, StoredHash, UpdateError, UpdateOptions, check_user_name, update};
use lexopt::prelude::*;
use signal_hook::consts::SIGINT;
use zeroize::Zeroizing;

use crate::output::Streams;

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

Exit status: 0 done, 1 anything wrong (nothing was changed), 2 the two passwords typed differ.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    let mut terminal = None;
    let mut ask = |prompt: &str| {
        let input = io::stdin();
        if !input.is_terminal() {
            return line(&mut input.lock());
        }
        let terminal = match &mut terminal {
            Some(terminal) => terminal,
            none => none.insert(Terminal::new()?),
        };
        terminal.ask(prompt)
    };
    run_with(arguments, &mut ask, &mut streams.output, &mut streams.errors)
}

/// Asks at the terminal. While it does not show what is typed, an interrupt has to wait until it shows that again.
struct Terminal {
    interrupted: Arc<AtomicBool>,
    /// Nothing is being asked: an interrupt ends the program at once.
    idle: Arc<AtomicBool>,
}

impl Terminal {
    fn new() -> io::Result<Terminal> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let idle = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&idle))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;
        Ok(Terminal { interrupted, idle })
    }

    fn ask(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.idle.store(false, Ordering::SeqCst);
        // With Ctrl-C it raises SIGINT, and leaves the terminal as it was only if it returns after that.
        let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
        self.idle.store(true, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            signal_hook::low_level::emulate_default_handler(SIGINT)?;
        }
        typed
    }
}

/// The next line, without its end.
fn line(input: &mut dyn BufRead) -> io::Result<Zeroizing<String>> {
    // With room for the longest and its end, so that no copy is left behind by growing.
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD.saturating_add(2)));
    let limit = u64::try_from(line.capacity()).unwrap_or(u64::MAX);
    if input.take(limit).read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "standard input has ended",
        ));
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// How a password is asked for: given the prompt.
type Ask<'a> = &'a mut dyn FnMut(&str) -> io::Result<Zeroizing<String>>;

fn run_with(arguments: &[OsString], ask: Ask<'_>, output: &mut dyn Write, errors: &mut dyn Write) -> i32 {
    if arguments.is_empty() {
        return print(output, HELP).map_or(1, |()| 1);
    }
    let result = match parse(arguments) {
        Ok(Request::Help) => print(output, HELP),
        Ok(Request::Job(job)) => work(&job, ask, output, errors),
        Err(message) => Err(Failure::wrong(format!("{message}; see komar passwd --help"))),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            // Nothing is left to do about an error that cannot be shown.
            let _ = writeln!(errors, "Error: {}.", failure.message);
            failure.status
        }
    }
}

struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    fn wrong(message: impl Display) -> Self {
        Self {
            status: 1,
            message: message.to_string(),
        }
    }
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
        user: String,
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

fn parse(arguments: &[OsString]) -> Result<Request, String> {
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
        [_, user] if flags.delete => Action::Delete { user: name(user)? },
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

fn work(job: &Job, ask: Ask<'_>, output: &mut dyn Write, errors: &mut dyn Write) -> Result<(), Failure> {
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
            set(job, *create, user, &stored, output)
        }
        Action::Delete { user } => delete(&job.file, user, output),
        Action::HashPlainText => {
            warn_if_weak(job.scheme, errors);
            hash_plain_text(job, output)
        }
    }
}

fn warn_if_weak(scheme: Scheme, errors: &mut dyn Write) {
    let hint = match scheme {
        Scheme::Sha512 => "sha512 gives passwords away when the file is stolen",
        Scheme::Sha512Pbkdf2 { iterations } if iterations < Scheme::PBKDF2_ITERATIONS => {
            "fewer than 210000 iterations are quickly tried when the file is stolen"
        }
        _ => return,
    };
    let _ = writeln!(errors, "Warning: {hint}.");
}

fn ask_twice(ask: Ask<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut typed = |prompt: &str| {
        ask(prompt).map_err(|error| {
            Failure::wrong(format!(
                "cannot read the password: {error}; it is asked for twice, or the first two lines of standard input"
            ))
        })
    };
    let first = typed("Password: ")?;
    if *first != *typed("The same again: ")? {
        return Err(Failure {
            status: 2,
            message: "the two passwords differ".into(),
        });
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
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

fn set(
    job: &Job,
    create: bool,
    user: &str,
    stored: &StoredHash,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    if is_standard_output(&job.file) {
        return print(output, &format!("{user}:{stored}\n"));
    }
    let rule = if create { Create::New } else { Create::Never };
    let change = change(&job.file, rule, |editor| editor.set(user, stored))?;
    let done = match change {
        Change::Added => "Added",
        Change::Updated => "Updated",
    };
    print(
        output,
        &format!(
            "{done} the password of user {user:?} in {}.\n",
            job.file.display()
        ),
    )
}

fn delete(file: &Path, user: &str, output: &mut dyn Write) -> Result<(), Failure> {
    let found = change(file, Create::Never, |editor| {
        Ok::<_, std::convert::Infallible>(editor.remove(user))
    })?;
    if !found {
        return Err(Failure::wrong(format!("{} has no user {user:?}", file.display())));
    }
    print(
        output,
        &format!("Deleted user {user:?} from {}.\n", file.display()),
    )
}

fn hash_plain_text(job: &Job, output: &mut dyn Write) -> Result<(), Failure> {
    let counts = change(&job.file, Create::Never, |editor| {
        editor.hash_plain_lines(|_, plain| hash(job.scheme, plain).map_err(|failure| failure.message))
    })?;
    let (hashed, already) = (counts.hashed, counts.already_hashed);
    let file = job.file.display();
    print(
        output,
        &format!("Hashed {hashed} passwords in {file}; {already} were hashes already.\n"),
    )
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

fn print(output: &mut dyn Write, text: &str) -> Result<(), Failure> {
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| Failure::wrong(format!("cannot write to standard output: {error}")))
}

/// What MQTT can carry. MQTT 5.0 §1.5.6.
const LONGEST_PASSWORD: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
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
            next.map(|text| Zeroizing::new((*text).to_owned()))
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = run_with(&arguments, &mut ask, &mut output, &mut errors);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            status,
            output: text(output),
            errors: text(errors),
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
    fn lines_of_standard_input() {
        let mut input = &b"one \r\ntwo\n\nlast"[..];
        for expected in ["one ", "two", "", "last"] {
            assert_eq!(*line(&mut input).unwrap(), expected);
        }
        let end = line(&mut input).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        let endless = vec![b'x'; 1 << 20];
        let long = line(&mut &endless[..]).unwrap();
        assert!(
            long.len() > LONGEST_PASSWORD && long.len() < 1 << 17,
            "bounded, and refused later"
        );
        assert!(line(&mut &b"\xff\n"[..]).is_err(), "not UTF-8");
    }

    #[test]
    fn an_existing_file_is_not_created_again() {
        let (_folder, file) = place();
        std::fs::write(&file, "kept\n").unwrap();
        let mut asked = false;
        let arguments = ["-c", &file, "u"].map(OsString::from);
        let mut ask = |_: &str| {
            asked = true;
            Ok(Zeroizing::new("p".to_owned()))
        };
        assert_eq!(
            run_with(&arguments, &mut ask, &mut Vec::new(), &mut Vec::new()),
            1
        );
        assert!(!asked, "it is said before a password is typed");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept\n");
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
}
