//! `bench instructions`: what one save and one status cost the server in instructions, which says more than a time on a
//! machine with other load. Callgrind counts 200 and 400 of them (`examples/instructions.rs`); the difference over 200 is
//! one, without what starting costs. `bench/budget.json` says what it may be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::table::Cluster;
use crate::{Result, float, percentile};

/// Requests of the two runs.
const REQUESTS: [usize; 2] = [200, 400];
/// How often: the median counts, for what the server does by the clock falls into one run or the other, and beside other load
/// PostgreSQL's answers come in more pieces.
const TIMES: usize = 9;
const KINDS: [&str; 2] = ["save", "status"];
/// How far it may be off, either way: who makes it cheaper says so, too.
const TOLERANCE: f64 = 0.03;
const DATABASE: &str = "instructions";

#[derive(clap::Args)]
pub(crate) struct Instructions {
    /// What is counted: `cargo build --release -p bench --example instructions`
    #[arg(long, default_value = "target/release/examples/instructions")]
    program: PathBuf,
    /// What they may cost
    #[arg(long, default_value = "bench/budget.json")]
    budget: PathBuf,
    /// Makes what is counted now the budget
    #[arg(long)]
    write: bool,
}

/// Instructions by kind.
type Budget = BTreeMap<String, f64>;

pub(crate) async fn run(arguments: &Instructions) -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut counted = Budget::new();
    for kind in KINDS {
        let mut differences = Vec::new();
        for time in 1..=TIMES {
            println!("{kind}: {REQUESTS:?} under callgrind, {time} of {TIMES}");
            let mut totals = [0.0; 2];
            for (total, requests) in totals.iter_mut().zip(REQUESTS) {
                cluster.database(DATABASE).await?;
                *total = collect(&arguments.program, &cluster.url(DATABASE), kind, requests)?;
            }
            let [few, many] = totals;
            differences.push((many - few) / float(REQUESTS[1] - REQUESTS[0]));
        }
        counted.insert(kind.to_owned(), percentile(&mut differences, 0.5).round());
    }
    if arguments.write {
        std::fs::write(&arguments.budget, format!("{}\n", serde_json::to_string_pretty(&counted)?))?;
        println!("{}: {counted:?}", arguments.budget.display());
        return Ok(());
    }
    let budget: Budget = serde_json::from_str(&std::fs::read_to_string(&arguments.budget)?)?;
    let (table, is_held) = compared(&counted, &budget);
    println!("\n{table}");
    if is_held {
        return Ok(());
    }
    Err("the instructions are off the budget; where that is meant, run: make bench-check ARGS=--write, and commit it"
        .into())
}

/// Beside the budget, and whether all of them are within it.
fn compared(counted: &Budget, budget: &Budget) -> (String, bool) {
    let mut table = "| What | Instructions | Budget | Off | Within 3 % |\n| --- | --- | --- | --- | --- |\n".to_owned();
    let mut is_held = true;
    for (kind, counted) in counted {
        let budget = budget.get(kind).copied().unwrap_or(f64::NAN);
        let off = counted / budget - 1.0;
        let is_within = (counted - budget).abs() <= TOLERANCE * budget;
        is_held &= is_within;
        let verdict = if is_within { "yes" } else { "**no**" };
        let _ = writeln!(table, "| {kind} | {counted} | {budget} | {:+.1} % | {verdict} |", off * 100.0);
    }
    (table, is_held)
}

/// Instructions of one run.
fn collect(program: &Path, url: &str, kind: &str, requests: usize) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([url, kind])
        .arg(requests.to_string())
        .output()
        .map_err(|error| format!("valgrind: {error}; run scripts/setup bench-check"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {told}{}", program.display(), String::from_utf8_lossy(&output.stdout)).into());
    }
    collected(&told).ok_or_else(|| format!("callgrind does not say what it has collected: {told}").into())
}

/// What callgrind has counted, by its last words.
fn collected(told: &str) -> Option<f64> {
    told.lines().find_map(|line| line.split_once("Collected :")?.1.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(save: f64) -> Budget {
        Budget::from([("save".to_owned(), save)])
    }

    #[test]
    fn what_callgrind_says_is_found() {
        let told = "==7== Events    : Ir\n==7== Collected : 2413789214\n==7==\n==7== I   refs:      2,413,789,214\n";
        assert_eq!(collected(told), Some(2_413_789_214.0));
        assert_eq!(collected("==7== Nothing"), None);
    }

    #[test]
    fn three_percent_are_within_the_budget_and_more_are_not_either_way() {
        for (counted, is_held) in [(103.0, true), (97.0, true), (103.5, false), (96.5, false)] {
            assert_eq!(compared(&budget(counted), &budget(100.0)).1, is_held, "{counted}");
        }
        // What has no budget is not within it.
        assert!(!compared(&budget(1.0), &Budget::new()).1);
    }
}
