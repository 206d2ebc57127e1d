//! What `taskwire export` and `taskwire erase` do: all that is kept of one user, written down or removed, over the database
//! alone. Servers that run meanwhile notice.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use entity::{task, task_record};
use serde::Serialize;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::alone::over_database;
use super::{Outcome, say};
use crate::config::Config;
use crate::db::StartError;
use crate::maintenance::erase::{Erased, erase as erase_all};
use crate::store::{Head, Keyset, Scope, Store, StoreError, TaskFilter, TaskKey, TaskOrder};

/// Records, or tasks, that are in memory at once.
const PAGE: u64 = 500;
/// Whoever sits there can end it.
const TIME: Duration = Duration::from_hours(24);

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// There is no database to do it to.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database did not let it be done.
    #[error("{0}; has `taskwire migrate` or a server prepared this database?")]
    Store(#[from] StoreError),
    /// The lines could not be written.
    #[error("{target}: {cause}")]
    Write {
        /// The file, or standard output.
        target: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// Removes all that is kept of a user, and tells.
pub async fn erase(config: Config, user_id: String) -> Result<Outcome, UserDataError> {
    over_database(config, async move |store| {
        let Erased { records, tasks, has_more } = erase_all(&store, &user_id, Instant::now() + TIME).await?;
        let rest = if has_more { "; time ran out: run it again" } else { "; nothing is left of this user" };
        say(format!("erased {records} records and {tasks} tasks{rest}"));
        Ok(())
    })
    .await
}

/// Writes all that is kept of a user as JSON lines, to a file that is not there yet or to standard output.
pub async fn export(config: Config, user_id: String, to: Option<PathBuf>) -> Result<Outcome, UserDataError> {
    let target = to.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let failed = |cause| UserDataError::Write { target: target.clone(), cause };
    let out: Box<dyn Write> = match &to {
        Some(path) => Box::new(File::create_new(path).map_err(failed)?),
        None => Box::new(io::stdout().lock()),
    };
    let mut lines = Lines { out: BufWriter::new(out), target: target.clone() };
    over_database(config, async move |store| {
        write_user(&store, &user_id, &mut lines).await?;
        lines.out.flush().map_err(|cause| UserDataError::Write { target: lines.target.clone(), cause })
    })
    .await
}

/// A line of an export. The names are those of the GraphQL schema.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is written at once")]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Line<'a> {
    /// The first one.
    Export { user_id: &'a str, exported_at: String, position: i64, oldest_position: Option<i64> },
    /// The current state of a task.
    Task {
        user_id: &'a str,
        task_id: &'a str,
        name: Option<&'a str>,
        tags: &'a [String],
        status: String,
        position: i64,
        step: i32,
        total_steps: Option<i32>,
        progress: Option<f64>,
        message: &'a str,
        error_code: Option<&'a str>,
        created_at: String,
        started_at: Option<String>,
        updated_at: String,
        finished_at: Option<String>,
        report_within_seconds: Option<i32>,
        report_due_at: Option<String>,
        cancellation: Option<Cancellation<'a>>,
    },
    /// A record; its `stepResult`, as it is stored, is added to it.
    Record {
        user_id: &'a str,
        task_id: &'a str,
        position: i64,
        kind: String,
        step: i32,
        status: String,
        progress: Option<f64>,
        reported_by: Option<&'a str>,
        is_late: bool,
        record_id: Uuid,
        timestamp: String,
        recorded_at: String,
    },
    /// The last one: without it the export is not whole.
    End { tasks: u64, records: u64 },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cancellation<'a> {
    requested_at: String,
    requested_by: Option<&'a str>,
    reason: Option<&'a str>,
    delivered_at: Option<String>,
    acknowledged_at: Option<String>,
    outcome: Option<String>,
    message: Option<&'a str>,
}

/// Where the lines go.
struct Lines {
    out: BufWriter<Box<dyn Write>>,
    target: String,
}

impl Lines {
    fn write(&mut self, line: &Line<'_>, step_result: Option<&str>) -> Result<(), UserDataError> {
        let failed = |cause| UserDataError::Write { target: self.target.clone(), cause };
        let mut text = serde_json::to_string(line).map_err(|error| failed(error.into()))?;
        if let Some(step_result) = step_result {
            // It is JSON already, and stays as it is: numbers that no double can hold, too.
            text.truncate(text.len() - 1);
            text = format!("{text},\"stepResult\":{step_result}}}");
        }
        text.push('\n');
        self.out.write_all(text.as_bytes()).map_err(failed)
    }
}

/// Page by page, up to where the feed stood at the beginning: no snapshot is held that would make writers slow.
async fn write_user(store: &Store, user_id: &str, lines: &mut Lines) -> Result<(), UserDataError> {
    let (head, oldest_position) = store.feed_of(user_id).await?;
    let first = Line::Export { user_id, exported_at: time(Utc::now()), position: head.position, oldest_position };
    lines.write(&first, None)?;
    let tasks = write_tasks(store, user_id, lines).await?;
    let records = write_records(store, user_id, head, lines).await?;
    lines.write(&Line::End { tasks, records }, None)
}

async fn write_tasks(store: &Store, user_id: &str, lines: &mut Lines) -> Result<u64, UserDataError> {
    let (scope, order) = (Scope::User(user_id.to_owned()), TaskOrder::CreatedAsc);
    let mut page = Keyset { after: None, before: None, limit: PAGE, backward: false };
    let mut written = 0;
    loop {
        let found = store.list_tasks(&scope, &TaskFilter::default(), order, &page).await?.page;
        for task in &found.rows {
            lines.write(&task_line(task), None)?;
            written += 1;
        }
        page.after = found.rows.last().map(|last| TaskKey::of(last, order));
        if !found.has_more {
            return Ok(written);
        }
    }
}

async fn write_records(store: &Store, user_id: &str, head: Head, lines: &mut Lines) -> Result<u64, UserDataError> {
    let (mut place, mut written) = (Head::START, 0);
    while place.position < head.position {
        let page = store.feed_page(user_id, None, place, PAGE).await?;
        let Some(last) = page.entries.last() else {
            // Retention has been faster: it goes on where the history begins now.
            match store.oldest_record(user_id).await? {
                Some(oldest) if oldest.position > place.position + 1 => {
                    place = Head { position: oldest.position - 1, ..oldest };
                    continue;
                }
                _ => break,
            }
        };
        place = Head::of(&last.record);
        for entry in page.entries.iter().filter(|entry| entry.record.position <= head.position) {
            lines.write(&record_line(&entry.record), Some(&entry.record.result))?;
            written += 1;
        }
    }
    Ok(written)
}

fn task_line(task: &task::Model) -> Line<'_> {
    let cancellation = task.cancel_requested_at.map(|requested_at| Cancellation {
        requested_at: time(requested_at),
        requested_by: task.cancel_requested_by.as_deref(),
        reason: task.cancel_reason.as_deref(),
        delivered_at: task.cancel_delivered_at.map(time),
        acknowledged_at: task.cancel_acknowledged_at.map(time),
        outcome: task.cancel_outcome.map(|outcome| outcome.as_str().to_ascii_uppercase()),
        message: task.cancel_message.as_deref(),
    });
    Line::Task {
        user_id: &task.user_id,
        task_id: &task.task_id,
        name: task.name.as_deref(),
        tags: &task.tags,
        status: task.status.as_str().to_ascii_uppercase(),
        position: task.position,
        step: task.step,
        total_steps: task.total_steps,
        progress: task.progress(),
        message: &task.message,
        error_code: task.error_code.as_deref(),
        created_at: time(task.created_at),
        started_at: task.started_at.map(time),
        updated_at: time(task.updated_at),
        finished_at: task.finished_at.map(time),
        report_within_seconds: task.report_within_seconds,
        report_due_at: task.report_due_at.map(time),
        cancellation,
    }
}

fn record_line(record: &task_record::Model) -> Line<'_> {
    Line::Record {
        user_id: &record.user_id,
        task_id: &record.task_id,
        position: record.position,
        kind: record.kind.as_str().to_ascii_uppercase(),
        step: record.step,
        status: record.status.as_str().to_ascii_uppercase(),
        progress: record.progress,
        reported_by: record.reported_by.as_deref(),
        is_late: record.is_late,
        record_id: record.record_id,
        timestamp: time(record.timestamp),
        recorded_at: time(record.recorded_at),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
