//! `komar acl`: what an ACL file says, and whether it says what was meant.

mod check;
mod explain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use komar_acl::{Access, AclFile, Options, ParseOptions, Subject, Substitution};
use komar_topic::SubscriptionFilter;
use lexopt::prelude::*;

use super::{Failure, end};
use crate::output::{Output, Streams};

const HELP: &str = "\
komar acl - check, question and format an ACL file

Usage: komar acl check FILE [--format text|json] [--password-file FILE]
       komar acl explain FILE [--user USER] --client ID --read|--write TOPIC [--format text|json]
       komar acl fmt FILE [--check]

check     prints every error and everything odd, with line and column. With --password-file also the users that it
          does not know.
explain   says whether that client may read (is sent) or write (may publish) messages on that topic, which line
          decides it, and which others were looked at. Without --user the client is anonymous. --subscribe FILTER says
          what becomes of a subscription: by default, and with acl_strict_subscribe true.
fmt       prints the file in one style; --check only says whether it is in that style already. The file stays as it is.

  --substitution 2.0   replace %u and %c anywhere, as Mosquitto 2.0 did, and not only where they are a whole level
  --extensions         allow group, member, readdeny and writedeny, which Mosquitto does not know
  -h, --help

Exit status: 0 the file is valid (check), the access is allowed (explain), the style is right (fmt); 2 the access is
denied, the style is not right; 3 the file is not valid; 13 it cannot be read; 1 wrong arguments.
";

/// Runs the command.
pub(crate) fn run(arguments: &[OsString], streams: &mut Streams) -> i32 {
    let result = match parse(arguments) {
        Ok(Request::Help) => {
            streams.output.text(HELP);
            Ok(0)
        }
        Ok(Request::Job(job)) => work(&job, &mut streams.output),
        Err(message) => Err(Failure::wrong(format_args!("{message}; see komar acl --help"))),
    };
    end(result, &mut streams.errors)
}

enum Request {
    Help,
    Job(Job),
}

struct Job {
    file: PathBuf,
    parse: ParseOptions,
    options: Options,
    json: bool,
    action: Action,
}

enum Action {
    Check {
        password_file: Option<PathBuf>,
    },
    Explain {
        user: Option<String>,
        client_id: String,
        access: Access,
        topic: String,
    },
    Format {
        check: bool,
    },
}

#[derive(Default)]
struct Flags {
    format: Option<bool>,
    check: bool,
    extensions: bool,
    substitution: Option<Substitution>,
    password_file: Option<PathBuf>,
    user: Option<String>,
    client_id: Option<String>,
    question: Option<(Access, String)>,
}

fn parse(arguments: &[OsString]) -> Result<Request, String> {
    let mut flags = Flags::default();
    let mut operands: Vec<OsString> = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let text = |error: lexopt::Error| error.to_string();
    let string = |parser: &mut lexopt::Parser| parser.value().and_then(|value| value.string()).map_err(text);
    while let Some(argument) = parser.next().map_err(text)? {
        let mut ask = |access: Access, topic: String| match flags.question.replace((access, topic)) {
            None => Ok(()),
            Some(_) => Err("ask one question: --read, --write or --subscribe".to_owned()),
        };
        match argument {
            Short('h') | Long("help") => return Ok(Request::Help),
            Value(value) => operands.push(value),
            Long("check") => once(
                "--check",
                core::mem::replace(&mut flags.check, true).then_some(()),
            )?,
            Long("extensions") => once(
                "--extensions",
                core::mem::replace(&mut flags.extensions, true).then_some(()),
            )?,
            Long("format") => {
                let formats = [("text", false), ("json", true)];
                let json = one_of(&string(&mut parser)?, "--format", &formats)?;
                once("--format", flags.format.replace(json))?;
            }
            Long("substitution") => {
                let versions = [("2.0", Substitution::Anywhere), ("2.1", Substitution::WholeLevel)];
                let substitution = one_of(&string(&mut parser)?, "--substitution", &versions)?;
                once("--substitution", flags.substitution.replace(substitution))?;
            }
            Long("password-file") => {
                let file = parser.value().map_err(text)?.into();
                once("--password-file", flags.password_file.replace(file))?;
            }
            Long("user") => once("--user", flags.user.replace(string(&mut parser)?))?,
            Long("client") => once("--client", flags.client_id.replace(string(&mut parser)?))?,
            Long("read") => ask(Access::Read, string(&mut parser)?)?,
            Long("write") => ask(Access::Write, string(&mut parser)?)?,
            Long("subscribe") => ask(Access::Subscribe, string(&mut parser)?)?,
            other => return Err(text(other.unexpected())),
        }
    }
    job(flags, &operands).map(Request::Job)
}

/// Refuses an option that was given before.
fn once<T>(option: &str, before: Option<T>) -> Result<(), String> {
    match before {
        None => Ok(()),
        Some(_) => Err(format!("{option} is given twice")),
    }
}

fn one_of<T: Copy>(value: &str, option: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, choice)| *choice);
    let names = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    found.ok_or_else(|| format!("{option} is {}, not {value:?}", names.join(" or ")))
}

fn job(flags: Flags, operands: &[OsString]) -> Result<Job, String> {
    let [command, file] = operands else {
        return Err("name check, explain or fmt, and a file".into());
    };
    let given = [
        ("--format", flags.format.is_some(), &["check", "explain"][..]),
        ("--check", flags.check, &["fmt"]),
        ("--password-file", flags.password_file.is_some(), &["check"]),
        ("--user", flags.user.is_some(), &["explain"]),
        ("--client", flags.client_id.is_some(), &["explain"]),
        (
            "--read, --write or --subscribe",
            flags.question.is_some(),
            &["explain"],
        ),
        (
            "--substitution",
            flags.substitution.is_some(),
            &["check", "explain"],
        ),
    ];
    let name = command.to_str().unwrap_or_default();
    let known = ["check", "explain", "fmt"].contains(&name);
    let idle = given
        .iter()
        .find(|(_, given, commands)| known && *given && !commands.contains(&name));
    if let Some((option, _, commands)) = idle {
        return Err(format!(
            "{option} is an option of {}, not of {name}",
            commands.join(" and ")
        ));
    }
    let substitution = flags.substitution.unwrap_or_default();
    let action = match command.to_str() {
        Some("check") => Action::Check {
            password_file: flags.password_file,
        },
        Some("fmt") => Action::Format { check: flags.check },
        Some("explain") => {
            let (access, topic) = flags
                .question
                .ok_or("explain needs --read, --write or --subscribe with a topic")?;
            if access == Access::Subscribe {
                SubscriptionFilter::parse(&topic)
                    .map_err(|error| format!("{topic:?} is not a topic filter: {error}"))?;
            }
            let client_id = flags.client_id.ok_or("explain needs --client with a client id")?;
            Action::Explain {
                user: flags.user,
                client_id,
                access,
                topic,
            }
        }
        _ => return Err(format!("unknown command {command:?}: check, explain or fmt")),
    };
    Ok(Job {
        file: file.into(),
        parse: ParseOptions::default()
            .extensions(flags.extensions)
            .substitution(substitution),
        options: Options::default().substitution(substitution),
        json: flags.format.unwrap_or_default(),
        action,
    })
}

fn work(job: &Job, output: &mut Output) -> Result<i32, Failure> {
    let text = read(&job.file)?;
    match &job.action {
        Action::Check { password_file } => check::run(job, &text, password_file.as_deref(), output),
        Action::Explain {
            user,
            client_id,
            access,
            topic,
        } => {
            let subject = Subject {
                // To the broker a zero-length user name is none.
                username: user.as_deref().filter(|name| !name.is_empty()),
                client_id,
            };
            explain::run(job, &text, subject, *access, topic, output)
        }
        Action::Format { check } => format(job, &text, *check, output),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    komar_server::setup::read_regular(file).map_err(|error| {
        Failure::new(
            UNREADABLE,
            format_args!("cannot read {}: {error}", file.display()),
        )
    })
}

fn format(job: &Job, text: &[u8], check: bool, output: &mut Output) -> Result<i32, Failure> {
    let formatted = AclFile::format(text, &job.parse).map_err(|errors| check::invalid(&job.file, &errors))?;
    if !check {
        output.bytes(&formatted);
        return Ok(0);
    }
    if formatted == text {
        return Ok(0);
    }
    output.line(format_args!(
        "{}: not in the style of komar acl fmt",
        job.file.display()
    ));
    Ok(NO)
}

/// The answer is no.
const NO: i32 = 2;
/// As the broker ends that reads such a file.
const INVALID: i32 = 3;
/// As the broker ends that cannot open a file.
const UNREADABLE: i32 = 13;

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::output::collected;

    const GOOD: &str = "user alice\ntopic read a/#\ntopic deny a/b\n";

    fn call(text: &str, arguments: &[&str]) -> (i32, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acl");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("pw"), "bob:$6$c2FsdHNhbHRzYWx0$3aiBbchfIZo+1WYrkPzJjQxZ79F/NmwLQ+wF073kTd+6ANhaic8G/jWF/X4sqSFUKpLNdm1FZjBck6HQ8knM3A==\n").unwrap();
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let place =
            |argument: &&str| OsString::from(argument.replace("DIR", folder.path().to_str().unwrap()));
        let arguments = arguments.iter().map(place).collect::<Vec<_>>();
        let (status, output, errors) = collected(|streams| run(&arguments, streams));
        let place = |text: String| text.replace(folder.path().to_str().unwrap(), "DIR");
        (status, place(output), place(errors))
    }

    #[test]
    fn check_finds_errors_and_oddities() {
        let (status, output, errors) = call(GOOD, &["check", "DIR/acl"]);
        assert_eq!(
            (status, output.as_str(), errors.as_str()),
            (0, "DIR/acl: valid\n", "")
        );
        let (status, output, _) = call("topic deny\n", &["check", "DIR/acl"]);
        assert_eq!(status, 0);
        assert!(
            output.starts_with("DIR/acl:1:7: warning: ") && output.ends_with("valid, 1 warning\n"),
            "{output}"
        );
        let (status, output, _) = call("topics a\n\ntopic reed b\n", &["check", "DIR/acl"]);
        assert_eq!(status, 3);
        assert_eq!(
            output,
            "DIR/acl:1:1: error: unknown keyword \"topics\"; did you mean \"topic\"?\n\
             DIR/acl:3:7: error: unknown access \"reed\"; did you mean \"read\"?\n\
             DIR/acl: not valid, 2 errors\n"
        );
        let (status, output, _) = call(GOOD, &["check", "DIR/acl", "--password-file", "DIR/pw"]);
        assert_eq!(status, 0);
        assert!(
            output.contains("1:1: warning: the password file has no user \"alice\""),
            "{output}"
        );
    }

    #[test]
    fn check_tells_all_beside_a_password_file_of_no_use() {
        for (password_file, expected) in [("DIR/acl", 3), ("DIR/none", 13)] {
            let arguments = ["check", "DIR/acl", "--password-file", password_file];
            let (status, output, errors) = call("topic a\nx:plain\n", &arguments);
            assert_eq!(status, expected, "{errors}");
            assert!(output.starts_with("DIR/acl:2:1: error: "), "{output}");
            assert!(errors.contains(password_file), "{errors}");
            let (status, output, _) = call(
                "topics\nx:plain\n",
                &[&arguments[..], &["--format", "json"]].concat(),
            );
            let json: Json = serde_json::from_str(&output).unwrap();
            assert_eq!((status, &json["valid"]), (expected, &json!(false)));
        }
    }

    #[test]
    fn check_speaks_json() {
        let (status, output, _) = call("topic reed b\n", &["check", "DIR/acl", "--format", "json"]);
        let json: Json = serde_json::from_str(&output).unwrap();
        assert_eq!(status, 3);
        assert_eq!(
            (&json["valid"], &json["file"]),
            (&json!(false), &json!("DIR/acl"))
        );
        let expected = json!({
            "severity": "error", "line": 1, "column": 7, "code": "unknown-access",
            "message": "unknown access \"reed\"", "hint": "did you mean \"read\"?",
        });
        assert_eq!(json["problems"], json!([expected]));
        let (status, output, _) = call(GOOD, &["check", "--format=json", "DIR/acl"]);
        let json: Json = serde_json::from_str(&output).unwrap();
        assert_eq!(
            (status, &json["valid"], &json["problems"]),
            (0, &json!(true), &json!([]))
        );
    }

    #[test]
    fn explain_names_the_line() {
        let ask = |question: &[&str]| {
            call(
                GOOD,
                &[&["explain", "DIR/acl", "--client", "c"], question].concat(),
            )
        };
        let (status, output, _) = ask(&["--user", "alice", "--read", "a/b"]);
        assert_eq!(status, 2);
        assert_eq!(
            output,
            "denied: user \"alice\" (client id \"c\") reads \"a/b\"\n\
             because of DIR/acl:3: topic deny a/b\n  \
             DIR/acl:3: topic deny a/b (matches and denies)\n"
        );
        assert_eq!(ask(&["--user", "alice", "--read", "a/c"]).0, 0);
        assert_eq!(ask(&["--user", "alice", "--write", "a/c"]).0, 2);
        assert_eq!(ask(&["--user", "alice", "--subscribe", "#"]).0, 0);
        assert_eq!(ask(&["--user", "alice", "--subscribe", "b/#"]).0, 0);
        assert_eq!(ask(&["--read", "a/c"]).0, 2);
        let strict = |filter| ask(&["--user", "alice", "--subscribe", filter]).1;
        assert_eq!(
            strict("a/b"),
            "allowed: user \"alice\" (client id \"c\") subscribes to \"a/b\"\n\
             because every subscription is accepted; what may not be read is not delivered\n\
             with acl_strict_subscribe true it would be\n\
             denied: user \"alice\" (client id \"c\") subscribes to \"a/b\"\n\
             because of acl_strict_subscribe: something under the filter must be readable\n  \
             DIR/acl:3: topic deny a/b (matches and denies)\n"
        );
        assert!(strict("#").ends_with("readable\n  DIR/acl:2: topic read a/# (matches and allows)\n"));
        let (status, output, _) = ask(&["--user", "alice", "--subscribe", "b", "--format", "json"]);
        let json: Json = serde_json::from_str(&output).unwrap();
        assert_eq!((status, &json["allowed"]), (0, &json!(true)));
        let strict = &json["acl_strict_subscribe"];
        assert_eq!(
            (&strict["allowed"], &strict["line"]),
            (&json!(false), &json!(null))
        );
        for filter in ["a/#/b", "", "$share/g"] {
            let (status, _, errors) = ask(&["--subscribe", filter]);
            assert_eq!(status, 1);
            assert!(errors.contains("is not a topic filter"), "{errors}");
        }
        let (status, output, _) = ask(&["--user", "alice", "--read", "a/c", "--format", "json"]);
        let json: Json = serde_json::from_str(&output).unwrap();
        assert_eq!(
            (status, &json["allowed"], &json["line"]),
            (0, &json!(true), &json!(2))
        );
        assert_eq!(json["considered"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_user_name_of_no_length_is_none() {
        let ask = |user: &[&str]| {
            let question = &["explain", "DIR/acl", "--client", "c", "--read", "x"];
            call("topic x\nuser u\ntopic y\n", &[&question[..], user].concat())
        };
        let anonymous = ask(&[]);
        assert_eq!(anonymous.0, 0);
        assert_eq!(ask(&["--user", ""]), anonymous);
    }

    #[test]
    fn substitution_and_extensions() {
        let ask = [
            "explain", "DIR/acl", "--client", "c", "--user", "u", "--read", "x-u",
        ];
        let pattern = "pattern x-%u\n";
        assert_eq!(call(pattern, &ask).0, 2);
        assert_eq!(
            call(pattern, &[&ask[..], &["--substitution", "2.0"]].concat()).0,
            0
        );
        let group = "group g\nmember u\ntopic x\n";
        assert_eq!(call(group, &["check", "DIR/acl"]).0, 3);
        assert_eq!(call(group, &["check", "DIR/acl", "--extensions"]).0, 0);
    }

    #[test]
    fn fmt_prints_one_style() {
        let untidy = "user  alice\r\n topic  read  a\r\n";
        assert_eq!(call(untidy, &["fmt", "DIR/acl"]).1, "user alice\ntopic read a\n");
        assert_eq!(call(untidy, &["fmt", "DIR/acl", "--check"]).0, 2);
        assert_eq!(
            call("user alice\ntopic read a\n", &["fmt", "--check", "DIR/acl"]),
            (0, "".into(), "".into())
        );
        let (status, output, errors) = call("topic\n", &["fmt", "DIR/acl"]);
        assert_eq!((status, output.as_str()), (3, ""));
        assert!(
            errors.contains("DIR/acl:1:6: error: \"topic\" needs a topic filter"),
            "{errors}"
        );
    }

    #[test]
    fn what_is_refused() {
        for (arguments, status, words) in [
            (&[][..], 1, "name check, explain or fmt"),
            (&["check"], 1, "name check, explain or fmt"),
            (&["chek", "DIR/acl"], 1, "unknown command"),
            (&["check", "DIR/none"], 13, "cannot read DIR/none"),
            (
                &["check", "DIR/acl", "--password-file", "DIR/none"],
                13,
                "cannot read DIR/none",
            ),
            (&["check", "DIR/acl", "--password-file", "DIR/acl"], 0, ""),
            (
                &["check", "DIR/acl", "--format", "xml"],
                1,
                "--format is text or json",
            ),
            (&["check", "DIR/acl", "--frobnicate"], 1, "--frobnicate"),
            (
                &["explain", "DIR/acl", "--client", "c"],
                1,
                "explain needs --read",
            ),
            (
                &["explain", "DIR/acl", "--read", "a"],
                1,
                "explain needs --client",
            ),
            (
                &[
                    "explain", "DIR/acl", "--client", "c", "--read", "a", "--write", "b",
                ],
                1,
                "one question",
            ),
            (&["check", "/dev/zero"], 13, "not a regular file"),
            (&["check", "DIR/fifo"], 13, "not a regular file"),
            (
                &["check", "DIR/acl", "--password-file", "DIR/fifo"],
                13,
                "not a regular file",
            ),
            (
                &["fmt", "DIR/acl", "--read", "x"],
                1,
                "an option of explain, not of fmt",
            ),
            (
                &["check", "DIR/acl", "--user", "x"],
                1,
                "--user is an option of explain, not of check",
            ),
            (&["check", "DIR/acl", "--check"], 1, "--check is an option of fmt"),
            (
                &["fmt", "DIR/acl", "--format", "json"],
                1,
                "--format is an option of check and explain",
            ),
            (&["fmt", "DIR/acl", "--substitution", "2.0"], 1, "not of fmt"),
            (
                &[
                    "explain",
                    "DIR/acl",
                    "--password-file",
                    "DIR/pw",
                    "--client",
                    "c",
                    "--read",
                    "a",
                ],
                1,
                "--password-file is an option of check",
            ),
            (
                &["check", "DIR/acl", "--format", "text", "--format", "json"],
                1,
                "--format is given twice",
            ),
            (
                &["fmt", "DIR/acl", "--check", "--check"],
                1,
                "--check is given twice",
            ),
        ] {
            let (found, _, errors) = call(GOOD, arguments);
            assert_eq!(found, status, "{arguments:?}: {errors}");
            assert!(errors.contains(words), "{arguments:?}: {errors}");
        }
        assert_eq!(call(GOOD, &["--help"]), (0, HELP.into(), "".into()));
    }
}
