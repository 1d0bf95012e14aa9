//! Prints what Criterion measured as a table: `cargo run -p komar-benches --bin table -- decode`.
//!
//! The argument is the name of a suite; rows come in the order in which they were measured. Results of earlier runs stay
//! where Criterion has put them until `target/criterion` is removed.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let suite = std::env::args().nth(1).ok_or("which suite?")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let mut rows = Vec::new();
    for row in folders(&target.join("criterion"))? {
        let Some(row_name) = name(&row).strip_prefix(&format!("{suite} - ")).map(str::to_owned) else {
            continue;
        };
        let mut results = Vec::new();
        for participant in folders(&row)? {
            if let Some(result) = Measured::read(&participant)? {
                results.push((name(&participant), result));
            }
        }
        results.sort_by_key(|(_, result)| result.at);
        rows.push((row_name, results));
    }
    rows.sort_by_key(|(_, results)| results.first().map(|(_, result)| result.at));

    println!("| row | who | median ns | minimum ns | spread | times the first |");
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for (row, results) in rows {
        let first = results.first().map_or(f64::NAN, |(_, result)| result.median);
        for (who, result) in results {
            println!(
                "| {row} | {who} | {:.1} | {:.1} | ±{:.0} % | {:.2} |",
                result.median,
                result.minimum,
                result.spread * 100.0,
                result.median / first
            );
        }
    }
    Ok(())
}

/// Nanoseconds per element.
struct Measured {
    median: f64,
    minimum: f64,
    /// Median absolute deviation to the median.
    spread: f64,
    at: SystemTime,
}

impl Measured {
    fn read(folder: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let folder = folder.join("new");
        let Ok(about) = fs::metadata(folder.join("sample.json")) else {
            return Ok(None);
        };
        let at = about.modified()?;
        let sample: Value = serde_json::from_str(&fs::read_to_string(folder.join("sample.json"))?)?;
        let benchmark: Value = serde_json::from_str(&fs::read_to_string(folder.join("benchmark.json"))?)?;
        let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
        let numbers = |key: &str| -> Vec<f64> {
            let list = sample[key].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(Value::as_f64).collect()
        };
        let mut each: Vec<f64> = numbers("times")
            .into_iter()
            .zip(numbers("iters"))
            .map(|(time, count)| time / count / elements)
            .collect();
        let median = middle(&mut each);
        let minimum = each.first().copied().unwrap_or(f64::NAN);
        let mut distances: Vec<f64> = each.iter().map(|value| (value - median).abs()).collect();
        let spread = middle(&mut distances) / median;
        Ok(Some(Measured {
            median,
            minimum,
            spread,
            at,
        }))
    }
}

/// Sorts, and gives the one in the middle.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && name(&path) != "report" {
            found.push(path);
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
