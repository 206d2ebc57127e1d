//! Batches of 500 records from four clients, beside COPY of the same rows into the old table.

use super::data::Tasks;
use super::load::Bodies;
use super::old_table::OldTable;
use super::report::{Bound, Claim, Round};
use super::saves::is_all;
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::{Result, float};

const CLIENTS: usize = 4;
pub(super) const RECORDS: usize = 500;
/// Tasks in progress whose records a client gathers.
pub(super) const LIVE: usize = 640;
const BEFORE: &[u8] =
    br#"{"query":"mutation($i:SaveTaskHistoryBatchInput!){saveTaskHistoryBatch(input:$i){savedCount}}","variables":{"i":{"records":["#;
const AFTER: &[u8] = b"]}}}";

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let mut systems = Systems {
        taskwire: Taskwire::start(&bench.arguments.server, &bench.cluster, "taskwire").await?,
        old_table: OldTable::make(&bench.cluster, "old_table").await?,
    };
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(systems.round(bench, key, number).await));
    }
    systems.taskwire.stop().await?;
    let claims = vec![Claim {
        what: "times COPY into the old table".into(),
        of: "taskwire".into(),
        over: Some("COPY".into()),
        bound: Bound::AtLeast(0.6, Some(0.35)),
    }];
    let notes = vec![
        "COPY and multi-row INSERT take 500 rows a transaction, on one connection; rates are of records.".to_owned(),
    ];
    Ok(Row { title: "Batches of 500, four clients".into(), notes, rounds, claims })
}

struct Systems {
    taskwire: Taskwire,
    old_table: OldTable,
}

impl Systems {
    async fn round(&mut self, bench: &Bench, key: Key, number: usize) -> Result<Round> {
        let mut round = Round::default();
        bench.tell(key, number, "taskwire")?;
        bench.cluster.checkpoint().await?;
        drive(bench, &self.taskwire, number, &mut round).await?;

        bench.tell(key, number, "COPY")?;
        bench.cluster.checkpoint().await?;
        let before = self.old_table.records().await?;
        let tasks = Tasks::new(format!("r{number}"), LIVE);
        let copied = self.old_table.copy_batches(bench.span, tasks, RECORDS, &mut round).await?;
        is_all("COPY", copied, self.old_table.records().await? - before)?;

        bench.tell(key, number, "multi-row INSERT")?;
        bench.cluster.checkpoint().await?;
        let before = self.old_table.records().await?;
        let tasks = Tasks::new(format!("i{number}"), LIVE);
        let inserted = self.old_table.insert_batches(bench.span, tasks, RECORDS, &mut round).await?;
        is_all("multi-row INSERT", inserted, self.old_table.records().await? - before)?;
        Ok(round)
    }
}

/// A round of batches, with its figures. Returns the records a second.
pub(super) async fn drive(bench: &Bench, taskwire: &Taskwire, number: usize, round: &mut Round) -> Result<f64> {
    let before = taskwire.records(&bench.cluster).await?;
    let sources = (0..CLIENTS).map(|client| source(Tasks::new(format!("r{number}_{client}"), LIVE))).collect();
    let measured = taskwire.drive(good(), RECORDS, bench.span, sources, round).await?;
    let stored = taskwire.records(&bench.cluster).await? - before;
    is_all("taskwire", measured.answers * RECORDS, stored)?;
    Ok(measured.a_second * float(RECORDS))
}

/// What stands in a good answer.
pub(super) fn good() -> String {
    format!("\"savedCount\":{RECORDS}")
}

pub(super) fn source(mut tasks: Tasks) -> Bodies {
    Box::new(move |body| {
        body.extend_from_slice(BEFORE);
        for index in 0..RECORDS {
            if index > 0 {
                body.push(b',');
            }
            let step = tasks.next();
            tasks.write_input(step, body);
        }
        body.extend_from_slice(AFTER);
    })
}
