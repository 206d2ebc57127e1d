//! The file of a measurement, from which docs/benchmarks.md has its tables.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Figure, Part, Result};

/// The median of each figure over the rounds.
pub(crate) fn medians(rounds: &[Vec<Figure>]) -> Vec<(&Figure, f64)> {
    let first = rounds.first().map(Vec::as_slice).unwrap_or_default();
    let median = |index: usize| {
        let mut values: Vec<f64> = rounds.iter().filter_map(|round| Some(round.get(index)?.value)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    first.iter().enumerate().map(|(index, figure)| (figure, median(index))).collect()
}

/// Puts a part's medians into the file; other parts stay as they are.
pub(crate) fn note(file: &Path, part: Part, rounds: &[Vec<Figure>]) -> Result<()> {
    let mut all: Map<String, Value> =
        if file.exists() { serde_json::from_str(&std::fs::read_to_string(file)?)? } else { Map::new() };
    let figures: Vec<Value> = medians(rounds)
        .into_iter()
        .map(|(figure, median)| {
            let value = (median * 100.0).round() / 100.0;
            json!({ "name": figure.name, "value": value, "unit": figure.unit, "goal": figure.goal })
        })
        .collect();
    all.insert(format!("{part:?}"), json!({ "rounds": rounds.len(), "figures": figures }));
    Ok(std::fs::write(file, format!("{}\n", serde_json::to_string_pretty(&all)?))?)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::PathBuf;

    use super::*;

    /// A part's table, as docs/benchmarks.md has it.
    fn table(part: &Value) -> String {
        let mut text = "| What | Measured | Has to be |\n| --- | --- | --- |\n".to_owned();
        for figure in part["figures"].as_array().unwrap() {
            let word = |name: &str| figure[name].as_str().unwrap();
            let measured = format!("{} {}", figure["value"], word("unit"));
            writeln!(text, "| {} | {} | {} |", word("name"), measured.trim(), word("goal")).unwrap();
        }
        text
    }

    #[test]
    fn the_page_has_the_figures_of_the_newest_measurement() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(here.join("results")).unwrap().map(|entry| entry.unwrap().path());
        let newest = files.filter(|file| file.to_string_lossy().ends_with("-sockets.json")).max().unwrap();
        let page = std::fs::read_to_string(here.join("../docs/benchmarks.md")).unwrap();
        let all: Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(&newest).unwrap()).unwrap();
        for (name, part) in &all {
            let table = table(part);
            assert!(
                page.contains(&table),
                "docs/benchmarks.md, {name}: put in what {} says\n{table}",
                newest.display()
            );
        }
    }
}
