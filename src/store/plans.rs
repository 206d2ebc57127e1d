//! How PostgreSQL goes about our own reads: EXPLAIN of the very statements that the lists and the feed are made of. To add
//! one: a variant, and its arm in [`Store::query_plan`].

use chrono::TimeDelta;
use sea_orm::{AccessMode, ConnectionTrait, DbErr, IsolationLevel, Statement, TransactionTrait};
use serde_json::Value;

use super::feed::{Head, last_page_statement, no_row};
use super::filter::TaskFilter;
use super::history::{HistoryPart, HistoryQuery, history_statement, steps_statement};
use super::page::{Keyset, Room};
use super::statistics::{Window, statements};
use super::tasks::{Scope, TaskOrder, page_statement, tasks_statement};
use super::{Store, StoreError};

/// The first page, of the size that one has by default.
const PAGE: u64 = 50;

/// A read, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedQuery {
    /// One task.
    Task {
        /// Whose.
        user_id: String,
        /// Which.
        task_id: String,
    },
    /// The first page of a list, last changed first.
    Tasks(Scope),
    /// The first page of a task's records.
    History {
        /// Whose task.
        user_id: String,
        /// Which.
        task_id: String,
    },
    /// The first page of a task's steps.
    Steps {
        /// Whose task.
        user_id: String,
        /// Which.
        task_id: String,
    },
    /// The counts of the last 24 hours' statistics.
    Statistics(Scope),
    /// The last page of a user's feed.
    FeedPage(String),
}

fn first_page<K>() -> Keyset<K> {
    Keyset { after: None, before: None, limit: PAGE, backward: false }
}

impl Store {
    /// Runs a read, and tells as JSON how PostgreSQL went about it: EXPLAIN (ANALYZE, BUFFERS). None where what it is of is
    /// not there.
    pub async fn query_plan(&self, query: &PlannedQuery) -> Result<Option<Value>, StoreError> {
        let planned = match query {
            PlannedQuery::Task { user_id, task_id } => tasks_statement(vec![(user_id.clone(), task_id.clone())]),
            PlannedQuery::Tasks(scope) => {
                page_statement(scope, &TaskFilter::default(), TaskOrder::UpdatedDesc, &first_page())
            }
            PlannedQuery::History { user_id, task_id } => {
                let query = HistoryQuery { user_id: user_id.clone(), task_id: task_id.clone() };
                history_statement(&[HistoryPart { query, page: first_page(), room: Room::PAGE }], false)
            }
            PlannedQuery::Steps { user_id, task_id } => {
                let Some(task) = self.task(user_id, task_id).await? else { return Ok(None) };
                steps_statement(&task, &first_page())
            }
            PlannedQuery::Statistics(scope) => {
                let until = self.now().await?;
                let window = Window { since: until - TimeDelta::days(1), until, bucket_seconds: 3_600 };
                let [(sql, values), _] = statements(scope, None, &window);
                super::feed::statement(&sql, values)
            }
            PlannedQuery::FeedPage(user_id) => {
                let heads = self.within_time(self.heads(std::slice::from_ref(user_id))).await??;
                let head = heads.get(user_id).copied().unwrap_or(Head::START);
                last_page_statement(user_id, head, i64::try_from(PAGE).unwrap_or(i64::MAX))
            }
        };
        self.explain(planned).await.map(Some)
    }

    async fn explain(&self, mut planned: Statement) -> Result<Value, StoreError> {
        planned.sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}", planned.sql);
        let explain = async {
            // It executes the statement. A read cannot change anything; here it could not, whatever it were.
            let read =
                self.db.begin_with_config(Some(IsolationLevel::ReadCommitted), Some(AccessMode::ReadOnly)).await?;
            let row = read.query_one_raw(planned).await?;
            read.commit().await?;
            Ok::<_, DbErr>(row)
        };
        let row = self.within_time(explain).await??.ok_or_else(no_row)?;
        Ok(row.try_get_by_index(0)?)
    }
}
