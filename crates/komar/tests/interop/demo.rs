//! `komar demo --once` shows what it says.

use crate::broker::{Folder, command, is_komar};
use crate::program::Program;

#[test]
fn the_demo_holds_on_one_reactor_and_on_two() {
    if !is_komar() {
        return;
    }
    for reactors in ["1", "2"] {
        let folder = Folder::new();
        let site = folder.file("site");
        let arguments = ["demo", "--once", "--dir", &site, "--reactors", reactors];
        let ended = Program::run(command().args(arguments));
        ended.expect_status(0, reactors);
        for shown in [
            "myD2000 receives \"temperature 21.5\"",
            "myPLC publishes to PLC1/cmd: refused",
            "A client without a certificate: refused",
            "myuser1 with another password: refused",
            "Everything held.",
        ] {
            ended.expect_text(shown, reactors);
        }
        // A folder of an earlier demo is used again.
        Program::run(command().args(arguments)).expect_status(0, "the second time");
    }
}
