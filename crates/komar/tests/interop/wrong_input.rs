//! Wrong input: what is wrong, where, and the exit status of Mosquitto.

use crate::broker::{Folder, command, is_komar};
use crate::certificates;
use crate::program::Program;

/// A configuration, what `my.acl` holds, the exit status and what is said.
type Case = (&'static str, &'static str, i32, &'static [&'static str]);

const CASES: [Case; 17] = [
    (
        "listener 0x7000\nallow_anonymus true\n",
        "",
        3,
        &["allow_anonymous", "mosquitto.conf:2"],
    ),
    (
        "listener 8883\ncertfile missing.crt\nkeyfile missing.key\n",
        "",
        1,
        &["missing.crt", "missing.key"],
    ),
    ("listener 1883\nacl_file nowhere.acl\n", "", 13, &["nowhere.acl"]),
    (
        "listener 1883\nacl_file my.acl\n",
        "user a\ntopic raed x\n",
        3,
        &["my.acl", "line 2"],
    ),
    (
        "listener 8883\r\ncertfile c:\\Program Files (x86)\\mosquitto\\broker.crt\r\nkeyfile x\r\n",
        "",
        1,
        &["c:\\Program Files (x86)\\mosquitto\\broker.crt"],
    ),
    (
        "listener 8883\ncertfile broker.crt\nkeyfile writer.key\n",
        "",
        1,
        &["writer.key", "does not belong to", "broker.crt"],
    ),
    (
        "listener 8883\ncertfile broker.crt\nkeyfile broker.key\nrequire_certificate true\ncafile expired-ca.crt\n",
        "",
        1,
        &["expired-ca.crt", "expired"],
    ),
    // Each of them, not only the first.
    (
        "listener 8883\ncertfile empty\nkeyfile empty2\nrequire_certificate true\ncafile empty3\n",
        "",
        1,
        &[
            "empty: no certificate",
            "empty2: no private key",
            "empty3: no certificate",
        ],
    ),
    (
        "listener 1883\nacl_file folder\n",
        "",
        13,
        &["acl_file 'folder'", "directory"],
    ),
    (
        "listener 1883\nacl_file pipe\n",
        "",
        13,
        &["acl_file 'pipe'", "not a regular file"],
    ),
    (
        "listener 1883\npassword_file pipe\n",
        "",
        13,
        &["password_file 'pipe'", "not a regular file"],
    ),
    (
        "listener 1883\nacl_file /dev/zero\n",
        "",
        13,
        &["acl_file '/dev/zero'", "not a regular file"],
    ),
    (
        "listener 1883\npassword_file /dev/zero\n",
        "",
        13,
        &["password_file '/dev/zero'", "not a regular file"],
    ),
    (
        "listener 1883\npassword_file folder\n",
        "",
        13,
        &["password_file 'folder'", "directory"],
    ),
    (
        "listener 1883\npassword_file odd.pw\n",
        "",
        3,
        &[
            "in password file 'odd.pw'",
            "line 2",
            "odd.pw:1: the line has no colon",
        ],
    ),
    (
        "listener 1883 127.0.0.1\nallow_anonymous true\n\nlistener 1883 127.0.0.1\n",
        "",
        1,
        &[
            "127.0.0.1:1883 (mosquitto.conf:4)",
            "127.0.0.1:1883 (mosquitto.conf:1) has already",
        ],
    ),
    (
        "listener 1883 127.0.0.1\nlistener 1883\n",
        "",
        1,
        &[
            "0.0.0.0:1883 (mosquitto.conf:2)",
            "127.0.0.1:1883 (mosquitto.conf:1) has already",
        ],
    ),
];

fn folder(configuration: &str, acl: &str) -> Folder {
    let folder = Folder::new();
    certificates::write(&folder);
    folder.write("mosquitto.conf", configuration);
    folder.write("my.acl", acl);
    folder.write("odd.pw", "no colon here\nuser:no hash\n");
    for name in ["empty", "empty2", "empty3"] {
        folder.write(name, "");
    }
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    folder.share();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    folder
}

#[test]
fn what_is_wrong_is_said_with_its_exit_status() {
    if !is_komar() {
        return;
    }
    for (configuration, acl, status, words) in CASES {
        let folder = folder(configuration, acl);
        for start in [&["-c", "mosquitto.conf"][..], &["check", "mosquitto.conf"]] {
            let ended = Program::run(command().args(start).current_dir(folder.path()));
            ended.expect_status(status, configuration);
            for word in words {
                ended.expect_text(word, configuration);
            }
            assert!(!ended.text.contains("?."), "{}", ended.text);
        }
    }
}

#[test]
fn an_acl_that_the_broker_may_not_read_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    if !is_komar() {
        return;
    }
    let folder = folder("listener 1883\nacl_file my.acl\n", "user a\ntopic x\n");
    let secret = folder.path().join("my.acl");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read it, and neither the broker nor the check stays root.
    for start in [&["-c", "mosquitto.conf"][..], &["check", "mosquitto.conf"]] {
        Program::run(command().args(start).current_dir(folder.path()))
            .expect_status(13, "my.acl")
            .expect_text("cannot read acl_file 'my.acl'", "my.acl")
            .expect_text("ermission denied", "my.acl");
    }
}
