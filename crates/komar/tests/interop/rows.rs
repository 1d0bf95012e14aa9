//! What a client sees of the broker, as data, and the same conversations with the installed mosquitto.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::broker::is_komar;
use crate::play::{Conversation, answers, conversations_of, difference, play_all};
use crate::program::PATIENCE;
use crate::table;
use crate::tools::Tool;

#[test]
fn clients_see_what_mosquitto_shows_them() {
    if is_komar() {
        play_all("rows.txt", include_str!("data/rows.txt"));
    }
}

#[test]
fn packets_that_must_not_come_end_the_connection() {
    if is_komar() {
        play_all("violations.txt", &violations());
        play_all("refusals.txt", &refusals());
    }
}

/// Both brokers get the same configuration and hear the same bytes; what clients hear is the same, packet by packet and
/// property by property, or stands in `differences.txt` with the reason. That file was made with Debian's mosquitto: another
/// version has other differences, which are shown and fail nothing.
#[test]
fn mosquitto_answers_the_same() {
    if !is_komar() || !Tool::MosquittoBroker.is_installed() {
        return;
    }
    let known = differences();
    let is_known_version = version_of_mosquitto().contains(COMPARED_VERSION);
    let texts = [include_str!("data/rows.txt").to_owned(), violations(), refusals()];
    let conversations: Vec<Conversation<'_>> = texts.iter().flat_map(|text| conversations_of(text)).collect();
    let queue = Mutex::new(conversations.iter());
    let report = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(conversation) = queue.lock().unwrap().next() else {
                        return;
                    };
                    let known = known.get(conversation.title).copied();
                    let found = compare(conversation, known);
                    if found.as_deref() != known {
                        let text = format!(
                            "{} | {} | expected: {}\n",
                            conversation.title,
                            found.as_deref().unwrap_or("the same"),
                            known.unwrap_or("the same"),
                        );
                        report.lock().unwrap().push_str(&text);
                    }
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    println!("{report}");
    assert!(
        !is_known_version || report.is_empty(),
        "mosquitto {COMPARED_VERSION} does:\n{report}"
    );
    let titles: Vec<&str> = conversations
        .iter()
        .map(|conversation| conversation.title)
        .collect();
    let stale: Vec<&&str> = known.keys().filter(|title| !titles.contains(title)).collect();
    assert!(stale.is_empty(), "no conversations: {stale:?}");
}

/// What mosquitto does instead, if anything.
fn compare(conversation: &Conversation<'_>, known: Option<&str>) -> Option<String> {
    let answers = match answers(conversation) {
        Ok(answers) => answers,
        Err(error) => return Some(format!("komar itself fails: {error}")),
    };
    // Where silence is expected, it need not be waited for long.
    let patience = if known == Some("nothing") {
        BRIEFLY
    } else {
        PATIENCE
    };
    difference(conversation, "mosquitto", answers, patience)
}

/// Title -> what mosquitto does.
fn differences() -> BTreeMap<&'static str, &'static str> {
    table::rows(include_str!("data/differences.txt"))
        .into_iter()
        .map(|[title, instead, reason]| {
            assert!(!reason.is_empty(), "{title}: why?");
            (title, instead)
        })
        .collect()
}

/// The core's table of what must not come, spoken to the program: each row in both versions.
fn violations() -> String {
    let (mut text, mosquittos) = (String::new(), mosquitto_codes());
    for fields in core_table(include_str!(
        "../../../komar-broker-core/tests/it/data/violations.txt"
    )) {
        let [name, packet, v5, v3] = fields[..] else {
            panic!("four columns: {fields:?}")
        };
        let v5 = mosquittos
            .get(packet)
            .copied()
            .filter(|_| v5 != "-")
            .unwrap_or(v5);
        for (version, word, expected) in [("5.0", "v5", v5), ("3.1.1", "v3", v3)] {
            let end = match expected {
                "-" => continue,
                "ok" => "a alive".to_owned(),
                "closed" => "a closed".to_owned(),
                code => format!("a < disconnect {code}\na closed"),
            };
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "== packet: {name}, {version}\n{PLAIN}a joins {word}\na > {packet}\n{end}"
            );
        }
    }
    text
}

/// The core's table of CONNECT packets that nobody can be let in with.
fn refusals() -> String {
    let (mut text, mosquittos) = (String::new(), mosquitto_codes());
    for fields in core_table(include_str!(
        "../../../komar-broker-core/tests/it/data/refusals.txt"
    )) {
        let [name, packet, version, answer] = fields[..] else {
            panic!("four columns: {fields:?}")
        };
        let answer = mosquittos.get(packet).copied().unwrap_or(answer);
        let end = match answer {
            "nothing" => "a closed".to_owned(),
            answer if answer.starts_with("connack success") => format!("a < {answer}\na alive"),
            answer => format!("a < {answer}\na closed"),
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "== CONNECT: {name}\n{PLAIN}a speaks {version}\na > {packet}\n{end}"
        );
    }
    text
}

/// Packet -> what 5.0 is told with Mosquitto's Reason Codes, which are the program's default, where they differ.
fn mosquitto_codes() -> BTreeMap<&'static str, &'static str> {
    let rows = core_table(include_str!(
        "../../../komar-broker-core/tests/it/data/mosquitto_codes.txt"
    ));
    rows.into_iter()
        .map(|fields| match fields[..] {
            [_, packet, expected] => (packet, expected),
            _ => panic!("three columns: {fields:?}"),
        })
        .collect()
}

/// Rows of a table whose comments begin with two slashes.
fn core_table(text: &str) -> Vec<Vec<&str>> {
    let lines = text
        .lines()
        .map(|line| line.split_once(" //").map_or(line, |(line, _)| line));
    let rows = lines.filter(|line| !line.trim().is_empty() && !line.starts_with("//"));
    rows.map(|line| line.split(" | ").map(str::trim).collect())
        .collect()
}

fn version_of_mosquitto() -> String {
    let output = Command::new("mosquitto").arg("-h").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The beginning of a conversation with a broker that lets everybody in.
const PLAIN: &str = "mosquitto.conf:\n    listener {port} 127.0.0.1\n    allow_anonymous true\n    max_packet_size 2000000\nstart\n";
/// The version whose differences are listed.
const COMPARED_VERSION: &str = "version 2.0.11";
/// How long a broker is waited for that is known to say nothing.
const BRIEFLY: Duration = Duration::from_millis(300);
/// Conversations at a time.
const AT_ONCE: usize = 4;
