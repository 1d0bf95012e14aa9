//! A password file, a login and a change: the file loads or every error has a place, editing loses nobody.

use komar_passwd::{Editor, Limits, PasswordFile, PasswordVerdict, Scheme, StoredHash, check_user_name};

/// User, password and file, with 0xFF between them.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0xFF);
    let Some(user) = parts.next().and_then(|part| std::str::from_utf8(part).ok()) else {
        return;
    };
    let password = parts.next().unwrap_or_default();
    let text = parts.next().unwrap_or_default();

    assert_eq!(&**Editor::new(text).text(), text);
    // So that no input is slow because its author wanted it to be.
    let limits = Limits { memory_kib: 64, work_kib: 64, lanes: 2, iterations: 20, field_bytes: 64 };
    let before = match PasswordFile::parse_within(text, &limits) {
        Ok(file) => file,
        Err(errors) => {
            assert!(errors.iter().all(|error| error.line > 0 && error.column > 0));
            return drop(errors.to_string());
        }
    };
    before.warnings().iter().for_each(|warning| drop(warning.to_string()));
    let check = before.check(user, password);
    assert!(check.memory_cost() <= 64 << 10);
    let accepted = check.run() != PasswordVerdict::Refused;
    let expected = before.stored(user).is_some_and(|stored| stored.verify(password)) && !password.is_empty();
    assert_eq!(accepted, expected);

    let mut editor = Editor::new(text);
    let stored = StoredHash::derive(Scheme::Sha512, b"new", &[7; 12]).unwrap();
    if check_user_name(user).is_err() {
        assert!(editor.set(user, &stored).is_err());
        return assert_eq!(&**editor.text(), text);
    }
    editor.set(user, &stored).unwrap();
    let after = PasswordFile::parse_within(&editor.text(), &limits).unwrap();
    // A byte order mark is part of the first line's name.
    assert_eq!(after.check(user, b"new").run(), PasswordVerdict::Accepted { needs_rehash: true });
    same_others(&before, &after, user);
    assert!(editor.remove(user) && !editor.contains(user));
    let after = PasswordFile::parse_within(&editor.text(), &limits).unwrap();
    assert!(!after.contains(user));
    same_others(&before, &after, user);

    let hashed = editor.hash_plain_lines(|_, _| Ok::<_, ()>(stored.clone()));
    // Every entry of a file that loads is a hash, or text that looks like argon2id.
    drop(hashed);
}

fn same_others(before: &PasswordFile, after: &PasswordFile, but: &str) {
    let others = |file: &PasswordFile| {
        let others = file.users().filter(|user| *user != but);
        others.map(|user| (user.to_owned(), file.stored(user).cloned())).collect::<Vec<_>>()
    };
    assert_eq!(others(before), others(after));
}
