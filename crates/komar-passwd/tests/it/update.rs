//! Replacing a file: nobody's change is lost, owner and mode stay.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use komar_passwd::{Create, PasswordFile, Scheme, StoredHash, UpdateError, UpdateOptions, rewrite, update};

const EACH: usize = 200;

fn add(path: &Path, who: &str, create: Create) {
    let stored = StoredHash::derive(Scheme::Sha512, who.as_bytes(), &[5; 12]).unwrap();
    let options = UpdateOptions::default().create(create);
    update(path, &options, |editor| editor.set(who, &stored)).unwrap();
}

fn users(path: &Path) -> usize {
    PasswordFile::parse(&fs::read(path).unwrap()).unwrap().len()
}

/// Files in a folder that are not the password file itself.
fn litter(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "p").collect()
}

#[test]
fn two_threads_lose_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let path = &path;
            scope.spawn(move || {
                (0..EACH).for_each(|n| add(path, &format!("t{thread}-{n}"), Create::IfMissing))
            });
        }
    });
    assert_eq!(users(&path), 2 * EACH);
    assert!(litter(folder.path()).is_empty(), "{:?}", litter(folder.path()));
}

#[test]
fn two_processes_lose_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    let children = ["left", "right"].map(|name| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "update::child_process", "--ignored", "--quiet"])
            .env("KOMAR_PASSWD_TEST", &path)
            .env("KOMAR_PASSWD_NAME", name)
            .spawn()
            .unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(users(&path), 2 * EACH);
    assert!(litter(folder.path()).is_empty(), "{:?}", litter(folder.path()));
}

#[test]
#[ignore = "the other half of two_processes_lose_nobody"]
fn child_process() {
    let (Some(path), Ok(name)) = (
        std::env::var_os("KOMAR_PASSWD_TEST"),
        std::env::var("KOMAR_PASSWD_NAME"),
    ) else {
        return;
    };
    (0..EACH).for_each(|n| add(Path::new(&path), &format!("{name}{n}"), Create::IfMissing));
}

#[test]
fn mode_stays_and_a_new_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    add(&path, "alice", Create::New);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    add(&path, "bob", Create::Never);
    assert_eq!(mode(&path), 0o640);
    assert_eq!(users(&path), 2);
}

#[test]
fn owner_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    fs::write(&path, "").unwrap();
    if std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_err() {
        return; // only root may give a file away
    }
    add(&path, "alice", Create::Never);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12_345, 54_321));
}

#[test]
#[cfg(target_os = "linux")]
fn an_access_list_stays() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";
    // The owner may write, user 1 read, the owning group nothing; the mask, which is the group of the mode, lets read.
    let list = access_list(&[
        (1, 6, u32::MAX),
        (2, 4, 1),
        (4, 0, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    add(&path, "alice", Create::New);
    if let Err(rustix::io::Errno::OPNOTSUPP) = setxattr(&path, ACCESS, &list, XattrFlags::empty()) {
        println!("skipped: no access lists in this file system");
        return;
    }
    let of = |path: &Path| {
        let mut found = vec![0; 1000];
        let length = getxattr(path, ACCESS, found.as_mut_slice()).ok()?;
        found.truncate(length);
        Some(found)
    };
    add(&path, "bob", Create::Never);
    assert_eq!(of(&path), Some(list.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);

    // A file without a list does not get that of its folder.
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    setxattr(folder.path(), DEFAULT, &list, XattrFlags::empty()).unwrap();
    add(&plain, "alice", Create::Never);
    assert_eq!(of(&plain), None);
}

#[test]
#[cfg(target_os = "linux")]
fn a_label_of_selinux_stays() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    const LABEL: &str = "security.selinux";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    add(&path, "alice", Create::New);
    let of = |path: &Path| {
        let mut found = vec![0; 1000];
        let length = getxattr(path, LABEL, found.as_mut_slice()).ok()?;
        found.truncate(length);
        Some(found)
    };
    // A file without a label, or with that of its folder, is none the worse.
    let before = of(&path);
    add(&path, "bob", Create::Never);
    assert_eq!(of(&path), before);
    let label = b"system_u:object_r:mosquitto_etc_t:s0\0";
    if setxattr(&path, LABEL, label, XattrFlags::empty()).is_err() {
        println!("skipped: only root may give a label");
        return;
    }
    add(&path, "carol", Create::Never);
    assert_eq!(of(&path).as_deref(), Some(&label[..]));
}

/// Tag, permissions and user of every entry, as Linux keeps them.
#[cfg(target_os = "linux")]
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, user) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(user.to_le_bytes());
    }
    list
}

#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("p"), other.path().join("p"));
    fs::write(&target, "# here\n").unwrap();
    symlink(&target, &link).unwrap();
    add(&link, "alice", Create::Never);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(users(&target), 1);
    assert!(fs::read_to_string(&target).unwrap().starts_with("# here\nalice:"));
}

#[test]
fn an_unchanged_file_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    add(&path, "alice", Create::New);
    let inode = fs::metadata(&path).unwrap().ino();
    let removed = update(&path, &UpdateOptions::default(), |editor| {
        Ok::<_, Infallible>(editor.remove("bob"))
    })
    .unwrap();
    assert!(!removed);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
}

#[test]
fn errors_leave_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    let run = |path: &Path, create| {
        let stored = StoredHash::derive(Scheme::Sha512, b"x", &[5; 12]).unwrap();
        update(path, &UpdateOptions::default().create(create), |editor| {
            editor.set("a:b", &stored)
        })
    };
    let missing = run(&path, Create::Never).unwrap_err();
    assert!(
        matches!(&missing, UpdateError::Io { action: "open", .. }),
        "{missing:?}"
    );
    assert!(missing.to_string().contains(path.to_str().unwrap()), "{missing}");
    let nowhere = run(&folder.path().join("no/p"), Create::New).unwrap_err();
    assert!(matches!(&nowhere, UpdateError::Io { .. }), "{nowhere:?}");
    assert!(matches!(
        run(folder.path(), Create::IfMissing),
        Err(UpdateError::NotAFile { .. })
    ));
    assert!(matches!(run(&path, Create::IfMissing), Err(UpdateError::Edit(_))));
    assert!(!path.exists());
    fs::write(&path, "kept").unwrap();
    assert!(matches!(run(&path, Create::New), Err(UpdateError::Exists { .. })));
    assert!(matches!(run(&path, Create::Never), Err(UpdateError::Edit(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    assert!(litter(folder.path()).is_empty());
    symlink(folder.path().join("nothing"), folder.path().join("link")).unwrap();
    assert!(matches!(
        run(&folder.path().join("link"), Create::IfMissing),
        Err(UpdateError::Io { .. })
    ));
}

#[test]
fn a_second_editor_waits_and_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    fs::write(&path, "").unwrap();
    let mut impatient = UpdateOptions::default();
    impatient.lock_timeout = Duration::ZERO;
    update(&path, &UpdateOptions::default(), |_| {
        let second = update(&path, &impatient, |_| Ok::<_, Infallible>(()));
        assert!(matches!(second, Err(UpdateError::Locked { .. })), "{second:?}");
        Ok::<_, Infallible>(())
    })
    .unwrap();
    update(&path, &impatient, |_| Ok::<_, Infallible>(())).unwrap();
}

#[test]
fn any_file_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let options = UpdateOptions::default().create(Create::IfMissing).mode(0o640);
    let append = |end: &str| {
        rewrite(&path, &options, |before| {
            let text = [before.unwrap_or(b"new, "), end.as_bytes()].concat();
            Ok::<_, Infallible>((text.into(), before.is_some()))
        })
        .unwrap()
    };
    assert!(!append("one, "));
    assert_eq!(mode(), 0o640);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(append("two"));
    assert_eq!(mode(), 0o604);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new, one, two");
    let failed = rewrite(&path, &options, |_| Err::<(_, ()), _>("no"));
    assert!(matches!(failed, Err(UpdateError::Edit("no"))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "new, one, two");
    assert!(litter(folder.path()).is_empty(), "{:?}", litter(folder.path()));
}

#[test]
fn a_file_without_measure_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    // Sparse: it takes no room.
    let file = fs::File::create(&path).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let refused = update(&path, &UpdateOptions::default(), |_| Ok::<_, Infallible>(()));
    let error = refused.unwrap_err();
    assert!(matches!(error, UpdateError::TooLarge { .. }), "{error:?}");
    assert!(error.to_string().ends_with("is larger than 256 MiB"), "{error}");
    assert!(litter(folder.path()).is_empty(), "{:?}", litter(folder.path()));
}

#[test]
fn a_lock_file_that_is_left_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    let lock = folder.path().join(".p.lock");
    add(&path, "alice", Create::New);
    update(&path, &UpdateOptions::default(), |_| {
        let mode = fs::metadata(&lock).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "every user can open it, whoever left it");
        Ok::<_, Infallible>(())
    })
    .unwrap();
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o444)).unwrap();
    add(&path, "bob", Create::Never);
    assert_eq!(users(&path), 2);
    assert!(litter(folder.path()).is_empty(), "{:?}", litter(folder.path()));
}
