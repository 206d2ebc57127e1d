//! `bench table`: the same work on Taskwire and on its peers, in turn, over one PostgreSQL of its own. Each row has a file
//! with a `run`; what must come out of it stands beside its figures.
//!
//! - `cluster`: that PostgreSQL · `load`: the load generator · `data`: the records · `seed`: those that reads look for
//! - `taskwire`, `aiecs`, `old_table`, `peers`: the systems, and the old table by COPY
//! - `saves`, `batches`, `duties`, `reads`, `lists`, `live`, `servers`, `grown`, `start`: the rows · `steady`: load at a
//!   constant rate · `grow`: millions of records in minutes
//! - `compare`: two builds of the server side by side · `report`: the file · `page`, `plot`: what is made from it · `progress`: what is seen meanwhile

mod aiecs;
mod batches;
mod cluster;
mod compare;
mod data;
mod duties;
mod grow;
mod grown;
mod lists;
mod live;
mod load;
mod old_table;
mod page;
mod peers;
mod plot;
mod progress;
mod reads;
mod report;
mod saves;
mod seed;
mod servers;
mod start;
mod steady;
mod taskwire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

pub(crate) use self::cluster::Cluster;
pub(crate) use self::compare::Compare;
pub(crate) use self::data::input;
pub(crate) use self::load::{Bodies, Request, Span, drive};
use self::page::Notes;
use self::progress::Progress;
use self::report::{Claim, Results, Round, RowResult};
use crate::{Error, Result};

/// What to measure, and how long.
#[derive(clap::Args)]
pub(crate) struct Table {
    /// The server's program, a release build
    #[arg(long, default_value = "target/release/taskwire")]
    server: PathBuf,
    /// The Python that has aiecs
    #[arg(long, default_value = "bench/.venv/aiecs/bin/python")]
    python: PathBuf,
    /// The Python that has strawberry
    #[arg(long, default_value = "bench/.venv/strawberry/bin/python")]
    strawberry: PathBuf,
    /// Only this row, or these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Key>,
    /// One round of 2 s a row over a tenth of the data: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Rounds of each row; the medians are told. 3, if left out
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that are measured in a round; 10, if left out
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds before them; 5, if left out
    #[arg(long)]
    warm_up: Option<f64>,
    /// Puts the rows into this file, beside those that are not run now
    #[arg(long)]
    out: Option<PathBuf>,
    /// Puts what the file then says into this page
    #[arg(long, requires = "out", conflicts_with = "quick")]
    page: Option<PathBuf>,
}

/// A row, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Key {
    #[value(name = "save-256")]
    Save256,
    #[value(name = "save-20")]
    Save20,
    Batch,
    Duties,
    Status,
    History,
    List,
    Live,
    Servers,
    Grown,
    Start,
}

/// What all rows work with.
struct Bench {
    arguments: Table,
    cluster: Cluster,
    span: Span,
    rounds: usize,
    versions: BTreeMap<String, String>,
    progress: Progress,
}

/// What a row has come to.
struct Row {
    title: String,
    notes: Vec<String>,
    rounds: Vec<Round>,
    claims: Vec<Claim>,
}

impl Bench {
    /// Tells what is going on, for it takes long.
    fn tell(&self, key: Key, round: usize, system: &str) -> Result<()> {
        self.progress.step(&format!("{}: round {} of {}: {system}", key.name(), round + 1, self.rounds))
    }

    fn note_versions(&mut self, versions: &serde_json::Value) {
        for (name, version) in versions.as_object().into_iter().flatten() {
            self.versions.insert(name.clone(), version.as_str().unwrap_or_default().to_owned());
        }
    }
}

impl Key {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn run(self, bench: &mut Bench) -> Result<Row> {
        match self {
            Self::Save256 => saves::run(bench, self, 256).await,
            Self::Save20 => saves::run(bench, self, 20).await,
            Self::Batch => batches::run(bench, self).await,
            Self::Duties => duties::run(bench, self).await,
            Self::Status | Self::History => reads::run(bench, self).await,
            Self::List => lists::run(bench, self).await,
            Self::Live => live::run(bench, self).await,
            Self::Servers => servers::run(bench, self).await,
            Self::Grown => grown::run(bench, self).await,
            Self::Start => start::run(bench, self).await,
        }
    }
}

pub(crate) async fn run(arguments: Table) -> Result<()> {
    until_interrupted(Box::pin(measure(arguments))).await
}

pub(crate) async fn compare(arguments: Compare) -> Result<()> {
    until_interrupted(Box::pin(compare::run(arguments))).await
}

async fn until_interrupted(measurement: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        outcome = measurement => outcome,
        // What was started is ended as it goes out of scope.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn measure(arguments: Table) -> Result<()> {
    let (rounds, warm_up, measured) = if arguments.quick { (1, 1.0, 2.0) } else { (3, 5.0, 10.0) };
    let span = Span {
        warm_up: Duration::try_from_secs_f64(arguments.warm_up.unwrap_or(warm_up))?,
        measured: Duration::try_from_secs_f64(arguments.seconds.unwrap_or(measured))?,
    };
    let mut results = begin(&arguments)?;
    let cluster = Cluster::start().await?;
    results.postgresql = cluster.settings().await?;
    results.machine = machine()?;
    for (name, value) in results.machine.iter().chain(&results.postgresql) {
        println!("{name}: {value}");
    }
    let (commit, dirty) = commit()?;
    println!("commit: {commit}{}", if dirty { ", with changes" } else { "" });
    let rounds = arguments.rounds.unwrap_or(rounds).max(1);
    let keys: Vec<(usize, &Key)> = Key::value_variants()
        .iter()
        .enumerate()
        .filter(|(_, key)| arguments.only.is_empty() || arguments.only.contains(key))
        .collect();
    let (notes, progress) = (Notes::read()?, Progress::new(keys.len())?);
    let mut bench = Bench { arguments, cluster, span, rounds, versions: BTreeMap::new(), progress };
    let mut failures = Vec::new();
    let told = version(&bench.arguments.server)?;
    bench.versions.insert("taskwire".into(), told.trim_start_matches("taskwire ").to_owned());
    for (place, key) in keys {
        bench.progress.row(&key.name());
        let begin = Instant::now();
        let row = match key.run(&mut bench).await {
            Ok(row) => row,
            // The others have their turn all the same.
            Err(error) => {
                let failure = format!("{}: {error}", key.name());
                bench.progress.print(&format!("FAILED: {failure}"));
                failures.push(failure);
                bench.cluster.clear().await?;
                continue;
            }
        };
        let row = RowResult {
            place,
            title: row.title,
            date: results.machine.get("date").cloned().unwrap_or_default(),
            commit: commit.clone(),
            dirty,
            quick: bench.arguments.quick,
            warm_up_seconds: span.warm_up.as_secs_f64(),
            measured_seconds: span.measured.as_secs_f64(),
            notes: row.notes,
            claims: row.claims,
            rounds: row.rounds,
        };
        let told = row.told(&key.name(), &notes);
        bench.progress.print(&format!("\n{}: {:.0} s\n\n{told}", row.title, begin.elapsed().as_secs_f64()));
        results.rows.insert(key.name(), row);
        results.versions.append(&mut bench.versions);
        if let Some(out) = &bench.arguments.out {
            results.write(out)?;
        }
        bench.cluster.clear().await?;
    }
    bench.progress.end();
    println!("{}", results.verdicts());
    if let (Some(out), Some(page)) = (&bench.arguments.out, &bench.arguments.page) {
        self::page(out, page)?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// What the file has already; where only some rows are measured on a new day, the others as they were.
fn begin(arguments: &Table) -> Result<Results> {
    let Some(out) = arguments.out.as_deref().filter(|_| !arguments.quick) else { return Ok(Results::default()) };
    let before = if arguments.only.is_empty() { None } else { out.parent().and_then(page::newest) };
    Results::read(before.as_deref().filter(|_| !out.exists()).unwrap_or(out))
}

/// Makes the section of the page from the file.
pub(crate) fn page(results: &Path, page: &Path) -> Result<()> {
    Results::read(results)?.put_into(page, &Notes::read()?)
}

/// What it ran on.
fn machine() -> Result<BTreeMap<String, String>> {
    let line = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file)?;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        Ok::<_, Error>(found.map_or_else(String::new, |(_, value)| value.trim().to_owned()))
    };
    let cores = std::thread::available_parallelism()?.to_string();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(BTreeMap::from([
        ("CPU".to_owned(), line("/proc/cpuinfo", "model name")?),
        ("cores".to_owned(), cores),
        ("memory".to_owned(), line("/proc/meminfo", "MemTotal")?),
        ("kernel".to_owned(), kernel),
        ("date".to_owned(), chrono::Utc::now().format("%Y-%m-%d").to_string()),
    ]))
}

/// The commit, and whether the sources differ from it; results are no sources.
fn commit() -> Result<(String, bool)> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() { Ok(text) } else { Err(Error::from("not a git repository")) }
    };
    let changes = git(&[
        "status",
        "--porcelain",
        "--",
        "..",
        ":!results",
        ":!notes.md",
        ":!../docs/benchmarks.md",
        ":!../docs/growth.svg",
    ])?;
    Ok((git(&["rev-parse", "--short=12", "HEAD"])?, !changes.is_empty()))
}

fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}; run make bench, which builds it", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
