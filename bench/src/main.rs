//! `bench`: measures a Taskwire server from outside, in a process of its own, on the machine that the server runs on (it
//! reads `/proc` for memory and CPU). What has to hold is written beside each figure.
//!
//! - `server`: starts the program and reads its memory and CPU · `client`: lean sockets and HTTP, and the pace of sends
//! - `idle`, `latency`, `fanout`, `slow` (which has two): the parts of `bench sockets`
//! - `results`: the file of a measurement, and the tables of docs/benchmarks.md, which a test holds to it
//! - `instructions`: what `examples/instructions.rs` costs under callgrind
//! - `table`: the parts of `bench table`, which runs the same work on Taskwire and on its peers in turn
//! - `train`: what a release is trained with
//!
//! To add a part: a file with a `run`, a variant of [`Part`] (sockets) or of `table::Key`.
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod client;
mod fanout;
mod idle;
mod instructions;
mod latency;
mod results;
mod server;
mod slow;
mod table;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Whatever went wrong, in words: a measurement ends with it.
type Result<T> = std::result::Result<T, Error>;
/// The same, by itself.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures a Taskwire server from outside.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The live feed: idle sockets, latency, fan-out, a reader that stops reading
    Sockets(Sockets),
    /// The same work on Taskwire and on its peers, in turn: saves, batches, reads, lists, start
    Table(table::Table),
    /// Single saves through several builds of the server, in turn: which is faster, and how certainly
    Compare(table::Compare),
    /// What one save and one status cost in instructions, beside their budget
    Instructions(instructions::Instructions),
    /// Work of every day, for a build that counts what runs often (scripts/release)
    Train(train::Train),
    /// Puts what a file of `bench table` says into a page, between its marks
    Page(Page),
}

#[derive(clap::Args)]
struct Page {
    /// The file
    #[arg(long)]
    results: PathBuf,
    /// The page
    #[arg(long, default_value = "docs/benchmarks.md")]
    page: PathBuf,
}

/// What to measure, and how long.
#[derive(clap::Args, Clone)]
struct Sockets {
    /// The server's program, a release build
    #[arg(long)]
    server: PathBuf,
    /// An empty database; without it the server brings its own PostgreSQL
    #[arg(long)]
    database_url: Option<String>,
    /// Only this part, or these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often each part is run; the medians are told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A tenth of the sockets and of the time: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Puts the medians into this file, beside those of parts that are not run now
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Part {
    Idle,
    Latency,
    Fanout,
    Slow,
    Closed,
}

/// A figure by its name, with what it has to be.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: &'static str,
}

fn figure(name: &'static str, value: f64, unit: &'static str, goal: &'static str) -> Figure {
    Figure { name, value, unit, goal }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Sockets(arguments) => sockets(&arguments).await,
        Command::Table(arguments) => table::run(arguments).await,
        Command::Compare(arguments) => table::compare(arguments).await,
        Command::Instructions(arguments) => instructions::run(&arguments).await,
        Command::Train(arguments) => train::run(&arguments).await,
        Command::Page(Page { results, page }) => table::page(&results, &page),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Sockets {
    async fn start(&self, flags: &[&str]) -> Result<server::Server> {
        server::Server::start(&self.server, self.database_url.as_deref(), flags).await
    }
}

async fn sockets(arguments: &Sockets) -> Result<()> {
    for part in [Part::Idle, Part::Latency, Part::Fanout, Part::Slow, Part::Closed] {
        if !arguments.only.is_empty() && !arguments.only.contains(&part) {
            continue;
        }
        let mut rounds = Vec::new();
        for round in 0..arguments.rounds.max(1) {
            println!("{part:?}, round {}", round + 1);
            let own = server::cpu_of(std::process::id())?;
            let begin = std::time::Instant::now();
            let figures = match part {
                Part::Idle => idle::run(arguments).await?,
                Part::Latency => latency::run(arguments).await?,
                Part::Fanout => fanout::run(arguments).await?,
                Part::Slow => slow::stays(arguments).await?,
                Part::Closed => slow::is_closed(arguments).await?,
            };
            let share = (server::cpu_of(std::process::id())? - own) / begin.elapsed().as_secs_f64();
            for figure in &figures {
                println!("  {}: {:.2} {} ({})", figure.name, figure.value, figure.unit, figure.goal);
            }
            println!("  this client's own CPU: {:.1} % of a core", share * 100.0);
            rounds.push(figures);
        }
        medians(part, &rounds);
        if let Some(out) = &arguments.out {
            results::note(out, part, &rounds)?;
        }
    }
    Ok(())
}

fn medians(part: Part, rounds: &[Vec<Figure>]) {
    println!("{part:?}, medians of {}:", rounds.len());
    for (figure, median) in results::medians(rounds) {
        println!("| {} | {median:.2} {} | {} |", figure.name, figure.unit, figure.goal);
    }
}

/// The value below which this share of them lies.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// As a figure.
#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn float(value: usize) -> f64 {
    value as f64
}
