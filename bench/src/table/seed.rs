//! What reads look for: the same tasks in Taskwire and in the old table, made by the quickest road there is.

use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::data::{STEPS, input, row};
use super::load::Connection;
use super::old_table::OldTable;
use super::saves::is_all;
use super::taskwire::Taskwire;
use super::{Bench, Key};
use crate::Result;

/// Records of a batch, about.
const BATCH: usize = 2_000;
pub(super) const BATCH_BEFORE: &[u8] =
    br#"{"query":"mutation($i:SaveTaskHistoryBatchInput!){saveTaskHistoryBatch(input:$i){savedCount}}","variables":{"i":{"records":["#;
const AFTER: &[u8] = b"]}}}";
/// The tag that few tasks have.
pub(crate) const TAG: &str = "rare";

/// A finished task.
#[derive(Clone)]
pub(crate) struct Seed {
    /// After `user_`.
    pub(crate) user: String,
    pub(crate) task_id: String,
    pub(crate) steps: u32,
    pub(crate) is_failed: bool,
    pub(crate) is_tagged: bool,
}

impl Seed {
    fn status(&self, step: u32) -> (&'static str, &'static str) {
        if self.is_failed && step + 1 == self.steps { ("FAILED", "failed") } else { ("COMPLETED", "completed") }
    }

    fn write_inputs(&self, into: &mut Vec<u8>) {
        for step in 0..self.steps {
            if into.last() == Some(&b'}') {
                into.push(b',');
            }
            let details =
                if self.is_tagged && step == 0 { format!(r#","task":{{"tags":["{TAG}"]}}"#) } else { String::new() };
            input(into, &self.user, &self.task_id, step, self.status(step).0, &details);
        }
    }

    fn write_rows(&self, into: &mut Vec<u8>) {
        for step in 0..self.steps {
            row(into, &self.user, &self.task_id, step, self.status(step).1);
        }
    }
}

/// The records of one finished task, to stand in the body of a batch, and its end.
pub(super) fn task(user: &str, task_id: &str, body: &mut Vec<u8>) {
    let (user, task_id) = (user.to_owned(), task_id.to_owned());
    Seed { user, task_id, steps: STEPS, is_failed: false, is_tagged: false }.write_inputs(body);
    body.extend_from_slice(AFTER);
}

/// Into both; where only Taskwire has them, without the old table.
pub(crate) async fn fill(
    bench: &Bench,
    key: Key,
    seeds: &[Seed],
    taskwire: &Taskwire,
    old_table: Option<&mut OldTable>,
) -> Result<()> {
    let records: usize = seeds.iter().map(|seed| seed.steps as usize).sum();
    let text = format!("{}: {records} records of {} tasks into taskwire", key.name(), seeds.len());
    let bar = bench.progress.counted(&text, records)?;
    let before = taskwire.records(&bench.cluster).await?;
    let mut filling = JoinSet::new();
    // One connection writes while the other one's records are stored.
    for half in seeds.chunks(seeds.len().div_ceil(2).max(1)) {
        filling.spawn(save_all(
            Connection::open(&taskwire.request("\"savedCount\":")).await?,
            half.to_vec(),
            bar.clone(),
        ));
    }
    while let Some(ended) = filling.join_next().await {
        ended??;
    }
    is_all("taskwire", records, taskwire.records(&bench.cluster).await? - before)?;
    taskwire.analyze(&bench.cluster).await?;
    let Some(old_table) = old_table else { return Ok(()) };
    copy(bench, &format!("{}: the same into the old table", key.name()), old_table, seeds).await
}

/// Into an old table.
pub(crate) async fn copy(bench: &Bench, text: &str, old_table: &mut OldTable, seeds: &[Seed]) -> Result<()> {
    let records: usize = seeds.iter().map(|seed| seed.steps as usize).sum();
    let bar = bench.progress.counted(text, seeds.len())?;
    let before = old_table.records().await?;
    let mut lines = Vec::new();
    for some in seeds.chunks(BATCH) {
        lines.clear();
        for seed in some {
            seed.write_rows(&mut lines);
        }
        old_table.copy(&lines).await?;
        bar.inc(u64::try_from(some.len())?);
    }
    is_all("COPY", records, old_table.records().await? - before)?;
    old_table.analyze().await
}

async fn save_all(mut connection: Connection, seeds: Vec<Seed>, bar: ProgressBar) -> Result<()> {
    let mut body = BATCH_BEFORE.to_vec();
    let mut records = 0;
    for (index, seed) in (1..).zip(&seeds) {
        seed.write_inputs(&mut body);
        records += seed.steps as usize;
        if records >= BATCH || index == seeds.len() {
            body.extend_from_slice(AFTER);
            connection.ask(&body).await?;
            body.truncate(BATCH_BEFORE.len());
            bar.inc(u64::try_from(records)?);
            records = 0;
        }
    }
    Ok(())
}
