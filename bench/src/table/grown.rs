//! The same work over tables of several sizes, kind by kind: so the empty one is measured right before the largest, to which
//! it is compared, and what the machine's speed does meanwhile is not in their ratio.

use super::data::USERS;
use super::grow::{self, savers};
use super::load::{self, Bodies};
use super::reads::Work;
use super::report::{Bound, Claim, Round};
use super::saves::{self, is_all};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row, lists};
use crate::Result;

/// Records of ten steps a task.
pub(super) const SIZES: [usize; 5] = [EMPTY, 10_000, 100_000, 1_000_000, 10_000_000];
/// Next to nothing: two full pages of tasks, so that reads have the same to find as in the others.
pub(super) const EMPTY: usize = 1_000;
/// The largest in a quick run.
const QUICK: usize = 100_000;
/// Tasks of a page.
const PAGE: usize = 50;
const STEPS: usize = super::data::STEPS as usize;

/// A kind of work, and how much less of it may be done over the largest table.
pub(super) struct Kind {
    pub(super) name: &'static str,
    claim: &'static str,
    at_most: f64,
}

/// The one that writes.
const SAVES: &str = "saves";

pub(super) const KINDS: [Kind; 4] = [
    Kind { name: SAVES, claim: "saves, of an empty table over the largest", at_most: 1.5 },
    Kind { name: "statuses", claim: "statuses, of an empty table over the largest", at_most: 1.3 },
    Kind { name: "histories", claim: "histories, of an empty table over the largest", at_most: 1.3 },
    Kind { name: "first pages", claim: "first pages, of an empty table over the largest", at_most: 1.3 },
];

/// Each has a full page of tasks, and there are no more than in the other rows.
fn users(size: usize) -> usize {
    (size / STEPS / PAGE).clamp(1, USERS)
}

/// What its figure is called.
pub(super) fn figure(kind: &str, size: usize) -> String {
    format!("{kind} at {size} records")
}

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let mut sizes: Vec<usize> =
        SIZES.into_iter().filter(|size| !bench.arguments.quick || [EMPTY, QUICK].contains(size)).collect();
    let largest = sizes.pop().ok_or("no size")?;
    // The empty one last of all but the largest.
    sizes.rotate_left(1);
    // Filled once: what a round of saves adds to it is little. The others are made anew for each round.
    let grown = table(bench, largest).await?;
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(round(bench, key, number, &sizes, &grown).await));
    }
    grown.taskwire.stop().await?;
    let claims = KINDS.iter().map(|kind| Claim {
        what: kind.claim.into(),
        of: figure(kind.name, EMPTY),
        over: Some(figure(kind.name, largest)),
        bound: Bound::AtMost(kind.at_most),
    });
    let notes = vec![format!(
        "Saves and statuses of 256 clients, histories of 64, first pages of a user's tasks of one; {EMPTY} records \
         stand for an empty table: two users with a full page of tasks. The largest has {largest} of {} tasks of {} users. \
         A round of saves adds to its table: the size is that at its begin.",
        largest / STEPS,
        users(largest)
    )];
    Ok(Row { title: "As the tables grow".into(), notes, rounds, claims: claims.collect() })
}

/// A server over a database of its own, with so many records.
struct Table {
    size: usize,
    taskwire: Taskwire,
}

async fn table(bench: &Bench, size: usize) -> Result<Table> {
    let database = format!("grown_{size}");
    let taskwire = Taskwire::start(&bench.arguments.server, &bench.cluster, &database).await?;
    grow::fill(bench, &taskwire, &database, size / STEPS, users(size)).await?;
    Ok(Table { size, taskwire })
}

async fn round(bench: &Bench, key: Key, number: usize, small: &[usize], grown: &Table) -> Result<Round> {
    let mut round = Round::default();
    let mut tables = Vec::new();
    for size in small {
        tables.push(table(bench, *size).await?);
    }
    // The one that writes is the last.
    for kind in KINDS.iter().rev() {
        for table in tables.iter().chain([grown]) {
            measure(bench, key, number, kind.name, table, &mut round).await?;
        }
    }
    for table in tables {
        table.taskwire.stop().await?;
    }
    Ok(round)
}

async fn measure(
    bench: &Bench,
    key: Key,
    number: usize,
    kind: &str,
    Table { size, taskwire }: &Table,
    round: &mut Round,
) -> Result<()> {
    let name = figure(kind, *size);
    bench.tell(key, number, &name)?;
    bench.cluster.checkpoint().await?;
    let (good, sources) = work(kind, number, *size);
    let is_save = kind == SAVES;
    // To count ten million takes seconds.
    let before = if is_save { taskwire.records(&bench.cluster).await? } else { 0 };
    let measured = load::drive(taskwire.request(good), bench.span, sources).await?;
    if is_save {
        is_all("taskwire", measured.answers, taskwire.records(&bench.cluster).await? - before)?;
    }
    round.add(name.clone(), measured.a_second, "/s");
    round.add(format!("{name}, p99"), measured.p99, "ms");
    round.add(format!("{name}, the load generator's CPU"), measured.own_cpu, "cores");
    Ok(())
}

/// What stands in a good answer, and where the requests come from.
fn work(kind: &str, number: usize, size: usize) -> (String, Vec<Bodies>) {
    let read = |key| {
        let work = Work::of(key);
        let sources = (0..work.clients).map(|_| work.source(size / STEPS, users(size))).collect();
        (work.good, sources)
    };
    match kind {
        "statuses" => read(Key::Status),
        "histories" => read(Key::History),
        "first pages" => ("\"taskId\":".into(), vec![lists::first_pages(users(size))]),
        _ => (saves::GOOD.into(), savers(256, &format!("r{number}"))),
    }
}
