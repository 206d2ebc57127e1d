//! The append path from this side: one prepared statement with arrays, one row back for each record it took.
//! The numbering, the duplicate check and the status rules are in the migration's SQL.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use entity::{RecordKind, task, task_record};
use sea_orm::DbErr;
use sea_orm::prelude::DateTimeUtc;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::order::Order;
use super::record::{Committed, NewRecord, Saved};
use super::rows::Columns;
use super::state::{read_state, state_columns};
use super::turn::TURN;
use super::write::Kept;
use super::{Store, StoreError};

static APPEND: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"SELECT a.ord, a."position", a.recorded_at, a.is_late, a.is_duplicate, a.is_conflict, a.repeats, {}
        FROM taskwire_append_v1($1, $2, array_fill('step'::text, ARRAY[cardinality($1)]), $3, $4, $5::text[]::json[],
                                $6, $7, $8, $9, $10, $11, $12, $13::text[]::jsonb[], NULL, $14, $15, $16,
                                $17, $18, $19, $20, $21, $22) a"#,
        state_columns("(a.left_as)")
    )
});

/// The place of this column.
const IS_CONFLICT: usize = 5;

/// How long an append waits for users who are held by somebody's open transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Not at all: their records are left out.
    Skip,
    /// So long; then nothing is written and the append fails with a time-out.
    AtMost(Duration),
}

impl Wait {
    pub(super) fn millis(self) -> i32 {
        match self {
            Self::Skip => 0,
            Self::AtMost(time) => i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1),
        }
    }
}

/// Which states of the tasks an append gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum States {
    /// As each record left its task.
    Each,
    /// As the last record of each task left it, which the others get, too.
    Last,
    /// The same of tasks whose cancellation waits for its acknowledgement, with their last record. All other records are
    /// [`Placed::Written`]: as one that was left out would be, so it is for appends that wait for their users.
    CancellationPending,
}

impl States {
    fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Last => "last",
            Self::CancellationPending => "cancellation_pending",
        }
    }
}

/// How an append is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) wait: Wait,
    /// False: nobody is told. Of the lanes, which tell afterwards, and where the queue for notifications is full.
    pub(super) notify: bool,
    pub(super) states: States,
}

/// What became of one record of an append.
#[derive(Debug)]
pub(super) enum Placed {
    /// Appended.
    Saved(Box<Saved>),
    /// Appended, and nobody has asked what it came to: whose it is, and its task as the append left it, where it came back.
    Written(String, Option<Arc<task::Model>>),
    /// It was there before.
    Duplicate(Place),
    /// Its `record_id` stands for another task or step. Nothing of the append was written.
    Conflict,
    /// Left out: its user is held, or there was a conflict in the same append.
    Held,
}

/// What an append gave back, unread: that takes a while, and the connection is free for the next one meanwhile.
pub(super) struct Appended {
    rows: Vec<PgRow>,
    /// Which record was sent at which place.
    sent: Vec<usize>,
    states: States,
}

impl Appended {
    /// Whether all of so many records have been written or were there before: nobody was held, and none was refused.
    pub(super) fn is_whole(&self, records: usize) -> bool {
        self.rows.len() == records && self.rows.iter().all(|row| matches!(row.try_get(IS_CONFLICT), Ok(false)))
    }

    /// `placed[i]` tells what became of `records[i]`, which are those of the append.
    pub(super) fn read(self, records: &[&NewRecord]) -> Result<Vec<Placed>, StoreError> {
        read_rows(self, records)
    }
}

impl Placed {
    /// Of whom something has been committed, by this append or by one whose answer was lost.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Saved(saved) => Some(&saved.record.user_id),
            Self::Written(user, _) | Self::Duplicate((user, ..)) => Some(user),
            Self::Conflict | Self::Held => None,
        }
    }

    /// The same where the feed was given nothing of it.
    fn written_for(&self) -> Option<&str> {
        match self {
            Self::Written(user, _) => Some(user),
            _ => None,
        }
    }
}

/// Where a record stands: its user, its position and its `recorded_at`.
pub(super) type Place = (String, i64, DateTimeUtc);

impl Store {
    /// Appends records in one transaction, in the order given.
    pub(super) async fn append(
        &self,
        kept: &mut Kept,
        records: &[&NewRecord],
        terms: Terms,
    ) -> Result<Appended, StoreError> {
        let (query, sent) = call(records, terms)?;
        Ok(Appended { rows: self.write_on(kept, query).await?, sent, states: terms.states })
    }

    /// Appends in a transaction that is rolled back: whether `PostgreSQL` would take these records.
    pub(super) async fn try_append(&self, records: &[&NewRecord]) -> Result<(), StoreError> {
        let wait = Wait::AtMost(TURN.min(self.settings.hold_timeout));
        let terms = Terms { wait, notify: false, states: States::CancellationPending };
        let (query, _) = call(records, terms)?;
        self.within_time(async {
            let mut transaction = self.db.get_postgres_connection_pool().begin().await?;
            query.fetch_all(&mut *transaction).await?;
            transaction.rollback().await
        })
        .await??;
        Ok(())
    }

    /// Tells the feed of what has been committed: before the callers know, and once for each record.
    pub(super) fn tell(&self, placed: &[Placed]) {
        let committed: Vec<Committed> = placed
            .iter()
            .filter_map(|placed| match placed {
                Placed::Saved(saved) => {
                    Some(Committed { record: Arc::clone(&saved.record), task: Arc::clone(&saved.task) })
                }
                _ => None,
            })
            .collect();
        let of =
            |is: fn(&Placed) -> bool| u64::try_from(placed.iter().filter(|placed| is(placed)).count()).unwrap_or(0);
        self.telemetry.saved_records.inc_by(of(|placed| matches!(placed, Placed::Saved(_) | Placed::Written(..))));
        self.telemetry.duplicate_records.inc_by(of(|placed| matches!(placed, Placed::Duplicate(_))));
        self.learnt(placed.iter().filter_map(Placed::user));
        if !committed.is_empty() {
            (self.on_commit)(committed);
        }
        let written: Vec<&str> = placed.iter().filter_map(Placed::written_for).collect();
        if let Some(audience) = self.audience.as_ref().filter(|_| !written.is_empty()) {
            (audience.look_at)(&written);
        }
    }

    /// Reads what duplicates stand for: the first record, and the task as it is now.
    pub(super) async fn duplicates(&self, places: &[Place]) -> Result<Vec<Option<Saved>>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let records: HashMap<(String, i64), task_record::Model> = self
            .records_at(places)
            .await?
            .into_iter()
            .map(|record| ((record.user_id.clone(), record.position), record))
            .collect();
        let keys: Vec<_> = records.values().map(|record| (record.user_id.clone(), record.task_id.clone())).collect();
        let tasks: HashMap<(String, String), task::Model> = self
            .tasks_by_key(keys)
            .await?
            .into_iter()
            .map(|task| ((task.user_id.clone(), task.task_id.clone()), task))
            .collect();
        let saved = places.iter().map(|(user_id, position, _)| {
            let record = records.get(&(user_id.clone(), *position))?.clone();
            let task = tasks.get(&(record.user_id.clone(), record.task_id.clone()))?.clone();
            Some(Saved { record: Arc::new(record), task: Arc::new(task), is_duplicate: true })
        });
        Ok(saved.collect())
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The call of the append function, and which record it has at which place.
fn call<'q>(records: &[&'q NewRecord], terms: Terms) -> Result<(Query<'q>, Vec<usize>), StoreError> {
    let Order { sent: order, head_of, numbers, heads } = Order::of(records);
    let sent = || order.iter().map(|&index| records[index]);
    let details: Vec<Option<String>> = sent()
        .map(|record| record.details.as_ref().map(serde_json::to_string).transpose())
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::Unstorable { index: None, message: error.to_string() })?;
    let query = sqlx::query(APPEND.as_str())
        .bind(sent().map(|record| record.user_id.as_str()).collect::<Vec<_>>())
        .bind(sent().map(|record| record.task_id.as_str()).collect::<Vec<_>>())
        .bind(sent().map(|record| record.step).collect::<Vec<_>>())
        .bind(sent().map(|record| record.status.as_str()).collect::<Vec<_>>())
        .bind(sent().map(|record| record.result.as_str()).collect::<Vec<_>>())
        .bind(where_any(sent().map(|record| some_text(&record.step_name))))
        .bind(sent().map(|record| record.message.as_str()).collect::<Vec<_>>())
        .bind(where_any(sent().map(|record| some_text(&record.error_code))))
        .bind(where_any(sent().map(|record| record.progress)))
        .bind(where_any(sent().map(|record| record.timestamp)))
        .bind(sent().map(|record| record.record_id).collect::<Vec<Uuid>>())
        .bind(where_any(sent().map(|record| record.reported_by.as_deref())))
        .bind(where_any(details.into_iter()))
        .bind(terms.wait.millis())
        .bind(terms.notify)
        .bind(terms.states.name())
        .bind(heads.users)
        .bind(head_of)
        .bind(numbers)
        .bind(heads.lasts)
        .bind(heads.lowest)
        .bind(heads.highest);
    Ok((query, order))
}

/// None where none of the records has one, as mostly: nothing is sent then, and nothing looked up for each record.
fn where_any<T>(of_records: impl Iterator<Item = Option<T>>) -> Option<Vec<Option<T>>> {
    let all: Vec<_> = of_records.collect();
    all.iter().any(Option::is_some).then_some(all)
}

/// None where it is empty.
fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The rows say what became of which record. They come with the task's last state at least; a record without one of its
/// own gets the one that comes next for its task: "as this record left it, or later".
fn read_rows(appended: Appended, records: &[&NewRecord]) -> Result<Vec<Placed>, StoreError> {
    let Appended { rows, sent, states: wanted } = appended;
    // From PostgreSQL's counting to ours.
    let index_of =
        |ord: i32| usize::try_from(ord - 1).ok().and_then(|place| sent.get(place).copied()).unwrap_or(usize::MAX);
    let mut placed: Vec<Placed> = records.iter().map(|_| Placed::Held).collect();
    let mut repetitions = Vec::new();
    let mut states: HashMap<(&str, &str), Arc<task::Model>> = HashMap::new();
    // From the last to the first, so that the state to be shared is there already.
    let mut rows: Vec<(usize, PgRow)> =
        rows.into_iter().map(|row| Ok((index_of(row.try_get(0)?), row))).collect::<Result<_, sqlx::Error>>()?;
    rows.sort_unstable_by_key(|(index, _)| std::cmp::Reverse(*index));
    for (index, row) in &rows {
        let (Some(slot), Some(record)) = (placed.get_mut(*index), records.get(*index)) else { continue };
        let mut columns = Columns::new(row);
        columns.skip(1);
        let (position, recorded_at): (Option<i64>, Option<DateTimeUtc>) = (columns.read()?, columns.read()?);
        let (is_late, is_duplicate, is_conflict) = (columns.read()?, columns.read()?, columns.read()?);
        let repeats: Option<i32> = columns.read()?;
        if is_conflict {
            *slot = Placed::Conflict;
        } else if let (Some(position), Some(recorded_at)) = (position, recorded_at) {
            if is_duplicate {
                *slot = Placed::Duplicate((record.user_id.clone(), position, recorded_at));
                continue;
            }
            let key = (record.user_id.as_str(), record.task_id.as_str());
            if let Some(state) = read_state(&mut columns, record, (position, recorded_at))? {
                states.insert(key, Arc::new(state));
            }
            let task = states.get(&key).cloned().ok_or_else(|| no_state(record))?;
            let record = Arc::new(numbered(record, position, recorded_at, is_late));
            *slot = Placed::Saved(Box::new(Saved { record, task, is_duplicate: false }));
        } else {
            repetitions.push((*index, index_of(repeats.ok_or_else(|| no_place(record))?)));
        }
    }
    for (index, first) in repetitions {
        // Where a conflict beside it kept the first from being written, a repetition stands nowhere.
        if let Some(Placed::Saved(first)) = placed.get(first) {
            let place = (first.record.user_id.clone(), first.record.position, first.record.recorded_at);
            placed[index] = Placed::Duplicate(place);
        }
    }
    // With a conflict, nothing is written.
    if wanted == States::CancellationPending && !placed.iter().any(|placed| matches!(placed, Placed::Conflict)) {
        for (placed, record) in placed.iter_mut().zip(records).filter(|(placed, _)| matches!(placed, Placed::Held)) {
            let state = states.get(&(record.user_id.as_str(), record.task_id.as_str())).cloned();
            *placed = Placed::Written(record.user_id.clone(), state);
        }
    }
    Ok(placed)
}

fn no_place(record: &NewRecord) -> StoreError {
    StoreError::Database(DbErr::Custom(format!("the append gave no place of a record of task {:?}", record.task_id)))
}

pub(super) fn no_state(record: &NewRecord) -> StoreError {
    StoreError::Database(DbErr::Custom(format!("the append gave no state of task {:?}", record.task_id)))
}

fn numbered(record: &NewRecord, position: i64, recorded_at: DateTimeUtc, is_late: bool) -> task_record::Model {
    task_record::Model {
        user_id: record.user_id.clone(),
        position,
        recorded_at,
        task_id: record.task_id.clone(),
        step: record.step,
        result: record.result.clone(),
        timestamp: record.timestamp.unwrap_or(recorded_at),
        status: record.status,
        kind: RecordKind::Step,
        record_id: record.record_id,
        is_late,
        reported_by: record.reported_by.clone(),
        progress: record.progress,
    }
}
