//! `bench compare`: single saves, or batches of 500, through several builds of the server, in turn in slices of a second, over
//! one PostgreSQL.
//!
//! The machine's speed changes by a third within minutes, so rounds of a row that follow one another do not tell builds apart
//! which differ by less than a tenth. Slices that lie side by side do; how certainly is told with each figure.

use std::path::PathBuf;
use std::time::Duration;

use super::cluster::Cluster;
use super::data::Tasks;
use super::load::Span;
use super::progress::Progress;
use super::report::{Round, find};
use super::saves::is_all;
use super::taskwire::Taskwire;
use super::{batches, saves};
use crate::{Result, float, percentile};

/// Before each slice: the others' work is out of the caches, and all connections are open.
const WARM_UP: Duration = Duration::from_millis(400);

/// Which builds, and how long.
#[derive(clap::Args)]
pub(crate) struct Compare {
    /// The programs, release builds; the others are told beside the first
    #[arg(required = true, num_args = 2..)]
    programs: Vec<PathBuf>,
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 256)]
    clients: usize,
    /// Batches of 500 records instead of single saves; the row of that name has four clients
    #[arg(long)]
    batches: bool,
    /// Slices of each that count
    #[arg(long, default_value_t = 40)]
    slices: usize,
    /// Seconds that are measured in a slice
    #[arg(long, default_value_t = 0.8)]
    seconds: f64,
}

/// What one has come to.
struct Build {
    server: Taskwire,
    acknowledged: usize,
    /// Of each slice: records a second, and CPU seconds a record, the server's and PostgreSQL's.
    rates: Vec<f64>,
    own: Vec<f64>,
    database: Vec<f64>,
}

pub(crate) async fn run(arguments: Compare) -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut builds = Vec::new();
    for (number, program) in arguments.programs.iter().enumerate() {
        let server = Taskwire::start(program, &cluster, &format!("compared{number}")).await?;
        builds.push(Build { server, acknowledged: 0, rates: Vec::new(), own: Vec::new(), database: Vec::new() });
    }
    let span = Span { warm_up: WARM_UP, measured: Duration::try_from_secs_f64(arguments.seconds)? };
    let progress = Progress::new(1)?;
    let bar = progress.counted("slices", arguments.slices + 1)?;
    // The first is not counted.
    for number in 0..=arguments.slices {
        // There and back: nobody always comes after the same one.
        builds.reverse();
        for build in &mut builds {
            build.slice(span, &arguments, number).await?;
        }
        bar.inc(1);
    }
    if arguments.slices.is_multiple_of(2) {
        builds.reverse();
    }
    println!("| program | records/s | beside the first | its CPU, µs | beside | PostgreSQL's, µs | beside |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (program, build) in arguments.programs.iter().zip(&builds) {
        let stored = build.server.records(&cluster).await?;
        is_all(&program.display().to_string(), build.acknowledged, stored)?;
        let first = &builds[0];
        println!(
            "| {} | {:.0} | {} | {:.1} | {} | {:.1} | {} |",
            program.display(),
            median(&build.rates),
            beside(&build.rates, &first.rates),
            median(&build.own) * 1e6,
            beside(&build.own, &first.own),
            median(&build.database) * 1e6,
            beside(&build.database, &first.database),
        );
    }
    for build in builds {
        build.server.stop().await?;
    }
    Ok(())
}

impl Build {
    async fn slice(&mut self, span: Span, arguments: &Compare, number: usize) -> Result<()> {
        let mut round = Round::default();
        let tasks = |client, live| Tasks::new(format!("s{number}_{client}"), live);
        let sources = (0..arguments.clients).map(|client| {
            if arguments.batches {
                batches::source(tasks(client, batches::LIVE))
            } else {
                saves::source(tasks(client, 1))
            }
        });
        let (good, each) =
            if arguments.batches { (batches::good(), batches::RECORDS) } else { (saves::GOOD.into(), 1) };
        self.acknowledged += each * self.server.drive(good, each, span, sources.collect(), &mut round).await?.answers;
        let figure = |name| find(&round.figures, name).map_or(f64::NAN, |figure| figure.value);
        if number > 0 {
            let rate = figure("taskwire");
            self.rates.push(rate);
            self.own.push(figure("its CPU") / rate);
            self.database.push(figure("PostgreSQL's CPU for it") / rate);
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> f64 {
    percentile(&mut values.to_vec(), 0.5)
}

/// By how many percent these are more than those of the same turns, with the standard error.
fn beside(of: &[f64], first: &[f64]) -> String {
    let ratios: Vec<f64> = of.iter().zip(first).map(|(of, first)| (of / first).ln()).collect();
    let count = float(ratios.len());
    let mean = ratios.iter().sum::<f64>() / count;
    let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    format!("{:+.1} ± {:.1} %", mean.exp_m1() * 100.0, (variance / count).sqrt() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_told_beside_those_of_the_same_turn() {
        // Each turn is slower than the one before, for both.
        assert_eq!(beside(&[110.0, 55.0, 11.0], &[100.0, 50.0, 10.0]), "+10.0 ± 0.0 %");
        assert_eq!(beside(&[90.0, 45.0], &[100.0, 50.0]), "-10.0 ± 0.0 %");
        // Twice and half as much: nothing, for all that is known.
        assert_eq!(beside(&[200.0, 50.0], &[100.0, 100.0]), "+0.0 ± 69.3 %");
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
