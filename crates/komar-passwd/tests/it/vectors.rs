//! `passwords.json`: what Mosquitto 2.1.2 was seen to do with lines and files.

use komar_passwd::{PasswordFile, PasswordVerdict};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/passwords.json")).unwrap()
}

fn lets_in(file: &PasswordFile, user: &str, password: &str) -> bool {
    file.check(user, password.as_bytes()).run() != PasswordVerdict::Refused
}

#[test]
fn lines_let_in_who_mosquitto_lets_in() {
    for entry in vectors()["entries"].as_array().unwrap() {
        let (user, line) = (entry["user"].as_str().unwrap(), entry["line"].as_str().unwrap());
        let measured = &entry["measured"]["2.1.2"];
        let parsed = PasswordFile::parse(line.as_bytes());
        assert_eq!(parsed.is_ok(), measured["loads"].as_bool().unwrap(), "{line}");
        let Ok(file) = parsed else { continue };
        for check in measured["checks"].as_array().unwrap() {
            let (password, expected) = (check[0].as_str().unwrap(), check[1].as_bool().unwrap());
            // The one defect that is not copied: Mosquitto ignores what follows U+0000.
            let expected = expected && !password.contains('\0');
            assert_eq!(lets_in(&file, user, password), expected, "{line} {password:?}");
        }
        assert!(
            !lets_in(&file, "somebody else", entry["password"].as_str().unwrap_or("x")),
            "{line}"
        );
        assert!(!lets_in(&file, user, ""), "{line}");
    }
}

#[test]
fn files_load_where_mosquitto_loads_them() {
    for case in vectors()["files"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (user, password) = (case["user"].as_str().unwrap(), case["password"].as_str().unwrap());
        let measured = &case["measured"]["2.1.2"];
        let parsed = PasswordFile::parse(case["file"].as_str().unwrap().as_bytes());
        assert_eq!(
            parsed.is_ok(),
            measured["loads"].as_bool().unwrap(),
            "{name}: {parsed:?}"
        );
        let Ok(file) = parsed else { continue };
        assert_eq!(
            lets_in(&file, user, password),
            measured["login"].as_bool().unwrap(),
            "{name}"
        );
        assert_eq!(
            lets_in(&file, user, "completely-wrong"),
            measured["login_wrong"].as_bool().unwrap(),
            "{name}"
        );
    }
}
