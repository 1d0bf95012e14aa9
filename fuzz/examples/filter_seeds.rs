//! Writes the seeds of the target `filter`: short histories of filters, names and walks.

use std::fs;
use std::path::Path;

const INSERT_FILTER: u8 = 0;
const REMOVE_ENTRY: u8 = 2;
const REPLACE_ENTRY: u8 = 3;
const LOOK_UP: u8 = 4;
const INSERT_NAME: u8 = 5;
const REMOVE_NAME: u8 = 7;
const RETAIN: u8 = 8;
const WALK: u8 = 9;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/filter");
    fs::create_dir_all(&corpus).unwrap();
    for (name, seed) in seeds() {
        fs::write(corpus.join(name), seed).unwrap();
    }
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let filters = [
        "a/b",
        "a/+",
        "a/#",
        "#",
        "+/b",
        "+/+",
        "+/#",
        "/",
        "//#",
        "$SYS/#",
        "$share/g/a/+",
        "$share/g/a/+",
        "$share/h/#",
        "$share/g//",
        "a/b",
    ];
    let invalid = [
        "",
        "a#",
        "#/a",
        "+a",
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
        "a\0",
    ];
    let names = ["a/b", "a", "a/b/c", "/", "$SYS/x", "é/long level of a name", "a/"];
    let ladder = [
        "+/+/+/+/#",
        "x/+/+/+/#",
        "+/x/+/+/#",
        "+/+/x/+/#",
        "x/x/x/x/#",
        "+/+/+/x",
        "x/x/x/x",
    ];
    let each = |kind: u8, texts: &[&str]| {
        texts
            .iter()
            .flat_map(|text| step(kind, text))
            .collect::<Vec<u8>>()
    };
    let all_names = each(INSERT_NAME, &names);
    vec![
        (
            "lookups",
            [each(INSERT_FILTER, &filters), each(LOOK_UP, &names)].concat(),
        ),
        (
            "invalid",
            [
                each(INSERT_FILTER, &invalid),
                each(LOOK_UP, &["", "a/+", "#", "\0"]),
            ]
            .concat(),
        ),
        (
            "ladder",
            [
                each(INSERT_FILTER, &ladder),
                each(LOOK_UP, &["x/x/x/x", "y/x/y/x/z", "x"]),
            ]
            .concat(),
        ),
        (
            "removals",
            [
                each(INSERT_FILTER, &filters),
                vec![
                    REMOVE_ENTRY,
                    3,
                    REPLACE_ENTRY,
                    0,
                    REMOVE_ENTRY,
                    0,
                    REMOVE_ENTRY,
                    10,
                    REMOVE_ENTRY,
                    9,
                ],
                each(LOOK_UP, &names),
            ]
            .concat(),
        ),
        (
            "walks",
            [
                all_names.clone(),
                [
                    step(WALK, "#"),
                    vec![2],
                    step(INSERT_NAME, "a/a"),
                    step(WALK, "#"),
                    vec![1],
                ]
                .concat(),
                [
                    step(REMOVE_NAME, "a/b"),
                    vec![0],
                    step(WALK, "#"),
                    vec![7],
                    step(WALK, "#"),
                    vec![7],
                ]
                .concat(),
                [step(WALK, "a/+"), vec![1], step(WALK, ""), vec![7]].concat(),
            ]
            .concat(),
        ),
        (
            "prefixes",
            [
                all_names,
                step(REMOVE_NAME, "a"),
                vec![255],
                step(RETAIN, "+/#"),
                vec![1],
            ]
            .concat(),
        ),
    ]
}

/// A step with a text that is taken as it stands.
fn step(kind: u8, text: &str) -> Vec<u8> {
    let raw = (128..=255)
        .find(|raw: &u8| raw % 10 == kind)
        .expect("ten follow one another");
    let length = u8::try_from(text.len()).expect("the texts are short");
    [&[raw, length], text.as_bytes()].concat()
}
