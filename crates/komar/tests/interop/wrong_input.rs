//! Wrong input: what is wrong, where, and the exit status of Mosquitto.

use crate::broker::{Folder, command, is_komar};
use crate::program::Program;

#[test]
fn what_is_wrong_is_said_with_its_exit_status() {
    if !is_komar() {
        return;
    }
    let cases: [(&str, &str, i32, &[&str]); 5] = [
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
    ];
    for (configuration, acl, status, words) in cases {
        let folder = Folder::new();
        folder.write("mosquitto.conf", configuration);
        folder.write("my.acl", acl);
        for start in [&["-c", "mosquitto.conf"][..], &["check", "mosquitto.conf"]] {
            let ended = Program::run(command().args(start).current_dir(folder.path()));
            ended.expect_status(status, configuration);
            for word in words {
                ended.expect_text(word, configuration);
            }
        }
    }
}
