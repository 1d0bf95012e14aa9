//! Runs every example as a user would.

use std::process::Command;

#[test]
fn every_example_runs_to_its_end() {
    for (example, says) in [("embed_std", "went from b"), ("embed_server", "listening on")] {
        let output = Command::new(env!("CARGO"))
            .args([
                "run",
                "--quiet",
                "--package",
                "komar-examples",
                "--example",
                example,
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{example}: {errors}");
        assert!(text.contains(says), "{example} says: {text}");
    }
}
