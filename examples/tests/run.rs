//! Runs every example as a user would. `cargo test` has built them beside this test.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn every_example_runs_to_its_end() {
    for (example, says) in [
        ("embed_std", "went from b"),
        ("embed_server", "listening on"),
        ("in_process_client", "21.5 degrees, said sensor"),
        ("custom_authorize", "bob writes shared/x: PUBACK 0x97"),
    ] {
        let output = Command::new(path_of(example)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{example}: {errors}");
        assert!(text.contains(says), "{example} says: {text}");
    }
}

/// `target/debug/examples/NAME`, seen from `target/debug/deps/run-…`.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = folder
        .join("examples")
        .join(example)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: cargo build --examples",
        path.display()
    );
    path
}
