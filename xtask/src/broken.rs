//! Whether the tests of a statement notice when its code is broken: `draw` picks statements at random, `broken` applies
//! the breaks of `broken.txt`, one at a time, and runs the tests that cite them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A line of code that is broken, and who is to notice.
struct Break {
    id: String,
    file: String,
    old: String,
    new: String,
    /// `RUSTFLAGS`, if there are any.
    flags: Option<String>,
    /// Arguments of `cargo test`.
    test: Vec<String>,
}

/// Prints which statements are drawn: of those that code and tests cite, 30.
pub(crate) fn draw(root: &Path, seed: &str) -> Result<String, String> {
    let mut state: u64 = seed.parse().map_err(|_| format!("not a number: {seed}"))?;
    let mut ids = crate::compliance::proven(root)?;
    let mut drawn = Vec::new();
    while drawn.len() < DRAWN && !ids.is_empty() {
        drawn.push(ids.remove((next(&mut state) % ids.len() as u64) as usize));
    }
    Ok(drawn.join("\n"))
}

/// All breaks, in their order.
fn breaks(root: &Path) -> Result<Vec<Break>, String> {
    let text = read(&root.join(LIST))?;
    text.split("\n\n")
        .filter(|block| block.lines().any(|line| line.starts_with("id: ")))
        .map(parse)
        .collect()
}

/// Fails if the lines of a break do not stand in their file any more, or not once: it could not be tried. Changes nothing.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let breaks = breaks(root)?;
    let mut stale = Vec::new();
    for broken in &breaks {
        if let Err(error) = changed(root, broken) {
            stale.push(error);
        }
    }
    match stale.is_empty() {
        true => Ok(format!("{} statements can be broken.", breaks.len())),
        false => Err(format!("mend {LIST}:\n{}", stale.join("\n"))),
    }
}

/// Breaks the code of each statement whose id contains `id`, and fails if a break is not noticed.
pub(crate) fn run(root: &Path, id: &str) -> Result<String, String> {
    let breaks = breaks(root)?;
    let (mut tried, mut unnoticed) = (0, Vec::new());
    for broken in breaks.iter().filter(|broken| broken.id.contains(id)) {
        tried += 1;
        match try_one(root, broken) {
            Ok(failed) if !failed.is_empty() => println!("{}: {failed}", broken.id),
            Ok(_) => unnoticed.push(format!("{}: no test fails", broken.id)),
            Err(error) => unnoticed.push(error),
        }
    }
    if unnoticed.is_empty() {
        Ok(format!("{tried} statements broken, each noticed."))
    } else {
        Err(format!("not noticed:\n{}", unnoticed.join("\n")))
    }
}

/// The tests that fail with the code broken; empty if none does.
fn try_one(root: &Path, broken: &Break) -> Result<String, String> {
    let path = root.join(&broken.file);
    let (whole, changed) = (read(&path)?, changed(root, broken)?);
    let write = |text: &str| {
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    write(&changed)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if let Some(flags) = &broken.flags {
        cargo.env("RUSTFLAGS", flags);
    }
    let output = cargo
        .current_dir(root)
        .args(["test", "--no-fail-fast"])
        .args(&broken.test)
        .output();
    write(&whole)?;
    let output = output.map_err(|error| format!("cannot run cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .collect();
    if failed.is_empty() && !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: it does not build:\n{error}", broken.id));
    }
    Ok(failed.join(", "))
}

/// The file with the break in it.
fn changed(root: &Path, broken: &Break) -> Result<String, String> {
    let whole = read(&root.join(&broken.file))?;
    apply(&whole, broken).ok_or_else(|| format!("{}: not once in {}: {}", broken.id, broken.file, broken.old))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The text with the break in it, wherever its lines stand; `None` if they do not stand there just once.
fn apply(whole: &str, broken: &Break) -> Option<String> {
    let lines: Vec<&str> = whole.lines().collect();
    let old: Vec<&str> = broken.old.lines().map(str::trim).collect();
    let mut places = lines
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| window.iter().map(|line| line.trim()).eq(old.iter().copied()))
        .map(|(place, _)| place);
    let (place, None) = (places.next()?, places.next()) else {
        return None;
    };
    let changed = [
        &lines[..place],
        &[broken.new.as_str()],
        &lines[place + old.len()..],
    ]
    .concat();
    Some(changed.join("\n") + "\n")
}

fn parse(block: &str) -> Result<Break, String> {
    let all = |prefix: &str| -> Vec<&str> {
        block
            .lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .collect()
    };
    let one = |prefix: &str| match all(prefix).as_slice() {
        [value] => Ok((*value).to_owned()),
        _ => Err(format!("{LIST}: not one line `{prefix}` in:\n{block}")),
    };
    Ok(Break {
        id: one("id: ")?,
        file: one("file: ")?,
        old: all("- ").join("\n"),
        new: all("+ ").join("\n"),
        flags: all("flags: ").first().map(|flags| (*flags).to_owned()),
        test: one("test: ")?.split(' ').map(str::to_owned).collect(),
    })
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const LIST: &str = "crates/komar-testkit/statements/broken.txt";
const DRAWN: usize = 30;
