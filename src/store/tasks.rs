//! Reads of tasks: by key, by page, and counts. A page or count under a filter looks at no more than 20,000 tasks.

use entity::{TaskStatus, task, task_order};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{
    Alias, Asterisk, DynIden, Expr, ExprTrait, IntoIden, PostgresQueryBuilder, Query, SelectStatement, UnionType,
};
use sea_orm::{
    AccessMode, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, IsolationLevel,
    Iterable, JoinType, Order, QueryResult, QueryTrait, Statement, TransactionTrait, Value,
};

use super::columns::{HEAD_COLUMNS, LONE_TASK_COLUMNS};
use super::feed::{Head, statement};
use super::filter::TaskFilter;
use super::page::{Keyset, Rows, with_hidden_values};
use super::rows::Columns;
use super::{Store, StoreError};

/// How many tasks a page or count under a filter looks at.
pub const LOOKED_AT: u64 = 20_000;

/// Whose tasks: no finder can be called without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One user's.
    User(String),
    /// Everybody's.
    Everyone,
}

impl Scope {
    /// Of the one user whose tasks they are.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::User(user_id) => Some(user_id),
            Self::Everyone => None,
        }
    }
}

/// The order of a list of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskOrder {
    /// Latest update first; within a user, the order of the feed.
    #[default]
    UpdatedDesc,
    /// Oldest update first.
    UpdatedAsc,
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
}

impl TaskOrder {
    fn is_by_update(self) -> bool {
        matches!(self, Self::UpdatedDesc | Self::UpdatedAsc)
    }

    fn is_descending(self) -> bool {
        matches!(self, Self::UpdatedDesc | Self::CreatedDesc)
    }
}

/// Where a task stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskKey {
    /// `updated_at` or `created_at`, by the order.
    pub at: DateTimeUtc,
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Its position: orders one user's tasks by update.
    pub position: i64,
}

impl TaskKey {
    /// Where this task stands in a list of that order.
    #[must_use]
    pub fn of(task: &task::Model, order: TaskOrder) -> Self {
        let at = if order.is_by_update() { task.updated_at } else { task.created_at };
        Self { at, user_id: task.user_id.clone(), task_id: task.task_id.clone(), position: task.position }
    }
}

/// One page of tasks.
#[derive(Clone, Debug)]
pub struct TaskRows {
    /// The tasks, in the list's order.
    pub page: Rows<task::Model>,
    /// Where the look at the list ended, if that was before the page was full: the list goes on behind it.
    pub ended_at: Option<TaskKey>,
    /// The user's head in the same statement; none where the list spans several users.
    pub head: Option<Head>,
}

impl Store {
    /// One task; read together with those that others ask for at the same time.
    pub async fn task(&self, user_id: &str, task_id: &str) -> Result<Option<task::Model>, StoreError> {
        let key = (user_id.to_owned(), task_id.to_owned());
        self.lookups.tasks.find(self, key, Self::tasks_in_order).await
    }

    async fn tasks_in_order(self, keys: Vec<(String, String)>) -> Result<Vec<Option<task::Model>>, StoreError> {
        let mut tasks: Vec<Option<task::Model>> = keys.iter().map(|_| None).collect();
        for row in self.within_time(self.db.query_all_raw(tasks_statement(keys))).await?? {
            let mut columns = Columns::of(&row)?;
            let place = columns.read::<i64>().map(usize::try_from)?;
            if let Some(task) = place.ok().and_then(|place| tasks.get_mut(place)) {
                *task = columns.task()?;
            }
        }
        Ok(tasks)
    }

    /// Many tasks by (user, task); what is not there is missing.
    pub async fn tasks_by_key(&self, keys: Vec<(String, String)>) -> Result<Vec<task::Model>, StoreError> {
        Ok(self.clone().tasks_in_order(keys).await?.into_iter().flatten().collect())
    }

    /// A page of tasks, and the user's head as it was in the same statement.
    pub async fn list_tasks(
        &self,
        scope: &Scope,
        filter: &TaskFilter,
        order: TaskOrder,
        page: &Keyset<TaskKey>,
    ) -> Result<TaskRows, StoreError> {
        let page_of = page_statement(scope, filter, order, page);
        let (found, ended_at) = match end_of_look(scope, filter, order, page) {
            None => (self.within_time(self.db.query_all_raw(page_of)).await??, None),
            Some(end_of) => self.within_time(self.look(page_of, end_of, page.limit, order)).await??,
        };
        let (mut head, mut tasks) = (Head::START, Vec::with_capacity(found.len()));
        for row in &found {
            let mut columns = Columns::of(row)?;
            head = columns.head()?;
            tasks.extend(columns.task()?);
        }
        let head = matches!(scope, Scope::User(_)).then_some(head);
        sort(&mut tasks, order, scope, page.backward);
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = tasks.len() > limit;
        tasks.truncate(limit);
        let ended_at = if has_more { None } else { ended_at };
        if page.backward {
            tasks.reverse();
        }
        Ok(TaskRows { page: Rows { rows: tasks, has_more: has_more || ended_at.is_some() }, ended_at, head })
    }

    /// How many tasks a list has: at most `limit`, looking at no more than 20,000; and whether that is all.
    pub async fn count_tasks(&self, scope: &Scope, filter: &TaskFilter, limit: u64) -> Result<(u64, bool), StoreError> {
        let (page, order) = (Keyset { after: None, before: None, limit, backward: false }, TaskOrder::UpdatedDesc);
        // Where an index finds all, their places alone are counted, and no task is read.
        let found = if rest_of(scope, filter, order).is_empty() {
            walk(scope, filter, order, &page, limit + 1)
        } else {
            select_page(scope, filter, order, &page)
        };
        let mut counted = Query::select();
        counted.expr_as(Expr::col(Asterisk).count(), Alias::new("found")).from_subquery(found, Alias::new("counted"));
        let (sql, values) = sql_of(&counted, scope);
        let rows = self.query_all(&sql, values).await?;
        let found: i64 = rows.first().map_or(Ok(0), |row| row.try_get("", "found"))?;
        let found = u64::try_from(found).unwrap_or(0);
        if found > limit {
            return Ok((limit, false));
        }
        let ended = match end_of_look(scope, filter, order, &page) {
            None => None,
            Some(end) => last_looked_at(&self.within_time(self.db.query_all_raw(end)).await??, order)?,
        };
        Ok((found, ended.is_none()))
    }

    /// A page under a filter, and where the look at the list ended if that was before the page was full: both in one
    /// snapshot, or tasks that move in between would be passed over.
    async fn look(
        &self,
        page_of: Statement,
        end_of: Statement,
        limit: u64,
        order: TaskOrder,
    ) -> Result<(Vec<QueryResult>, Option<TaskKey>), StoreError> {
        let snapshot =
            self.db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await?;
        let found = snapshot.query_all_raw(page_of).await?;
        let is_full = u64::try_from(found.len()).is_ok_and(|found| found > limit);
        let ended_at = if is_full { None } else { last_looked_at(&snapshot.query_all_raw(end_of).await?, order)? };
        snapshot.commit().await?;
        Ok((found, ended_at))
    }
}

/// Asks for tasks by (user, task); `place` is where the key stands, from 0.
pub(super) fn tasks_statement(keys: Vec<(String, String)>) -> Statement {
    let (users, tasks): (Vec<String>, Vec<String>) = keys.into_iter().unzip();
    // LATERAL with a LIMIT keeps it a look-up of each key; and PostgreSQL does not see how many there are, or a single one would
    // be planned anew each time.
    let sql = format!(
        "SELECT k.ord - 1 AS place, {}
        FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) WITH ORDINALITY k (user_id, task_id, ord)
        CROSS JOIN LATERAL (SELECT * FROM task WHERE user_id = k.user_id AND task_id = k.task_id LIMIT 1) t",
        *LONE_TASK_COLUMNS
    );
    statement(&sql, vec![users.into(), tasks.into()])
}

/// Asks for a page, and in the same snapshot for the user's head.
pub(super) fn page_statement(
    scope: &Scope,
    filter: &TaskFilter,
    order: TaskOrder,
    page: &Keyset<TaskKey>,
) -> Statement {
    let (sql, mut values) = sql_of(&select_page(scope, filter, order, page), scope);
    let user = match scope {
        Scope::User(user_id) => Some(user_id.clone()),
        Scope::Everyone => None,
    };
    values.push(user.into());
    let sql = format!(
        "WITH page AS ({sql})
        SELECT {HEAD_COLUMNS}, page.*
        FROM (SELECT) AS one LEFT JOIN feed_head h ON h.user_id = ${} LEFT JOIN page ON true",
        values.len()
    );
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Asks for the last task that a page under a filter looks at and for the one behind it; none where an index finds all.
fn end_of_look(scope: &Scope, filter: &TaskFilter, order: TaskOrder, page: &Keyset<TaskKey>) -> Option<Statement> {
    if rest_of(scope, filter, order).is_empty() {
        return None;
    }
    let mut looked = walk(scope, filter, order, page, LOOKED_AT + 1);
    looked.offset(LOOKED_AT - 1).limit(2);
    let (sql, values) = sql_of(&looked, scope);
    Some(Statement::from_sql_and_values(DbBackend::Postgres, sql, values))
}

/// The list goes on behind a task only if there is another one.
fn last_looked_at(rows: &[QueryResult], order: TaskOrder) -> Result<Option<TaskKey>, StoreError> {
    let [last, _beyond] = rows else { return Ok(None) };
    if !order.is_by_update() {
        return Ok(Some(TaskKey::of(&task::Model::from_query_result(last, "")?, order)));
    }
    let task_order::Model { updated_at: at, user_id, task_id, position, .. } =
        task_order::Model::from_query_result(last, "")?;
    Ok(Some(TaskKey { at, user_id, task_id, position }))
}

/// The SQL and its values. One user's lists keep their plans. Everybody's are planned for each call: a tenth of all tasks could
/// be so many that to read and sort them would look better than to walk.
fn sql_of(select: &SelectStatement, scope: &Scope) -> (String, Vec<Value>) {
    match scope {
        Scope::User(_) => with_hidden_values(select),
        Scope::Everyone => {
            let (sql, values) = select.build(PostgresQueryBuilder);
            (sql, values.into_iter().collect())
        }
    }
}

/// The page's rows and one more, in the order in which the page is read.
fn select_page(scope: &Scope, filter: &TaskFilter, order: TaskOrder, page: &Keyset<TaskKey>) -> SelectStatement {
    let rest = rest_of(scope, filter, order);
    let looked = walk(scope, filter, order, page, if rest.is_empty() { page.limit + 1 } else { LOOKED_AT });
    let ordered = ordered_by(order);
    let mut chosen = Query::select();
    chosen.columns(task::Column::iter().map(|column| (task::Entity, column)));
    chosen.from_subquery(looked, ordered.clone());
    if order.is_by_update() {
        let same = |of_task: task::Column, of_place: task_order::Column| {
            Expr::col((task::Entity, of_task)).equals((task_order::Entity, of_place))
        };
        let mut task_there = Query::select();
        task_there.column(Asterisk).from(task::Entity);
        task_there.and_where(same(task::Column::UserId, task_order::Column::UserId));
        task_there.and_where(same(task::Column::TaskId, task_order::Column::TaskId));
        // LIMIT keeps it a look-up of each task, and so the order.
        chosen.join_lateral(JoinType::InnerJoin, task_there.limit(1).take(), task::Entity.into_iden(), Expr::val(true));
    }
    chosen.cond_where(rest).limit(page.limit + 1);
    in_order(&mut chosen, &ordered, scope, order, page.backward);
    chosen
}

/// What of a filter is no range of an index: it is looked for along the list.
fn rest_of(scope: &Scope, filter: &TaskFilter, order: TaskOrder) -> Condition {
    let statuses = match scope {
        Scope::User(_) if order.is_by_update() => None,
        _ => filter.effective_statuses(),
    };
    let has_status = statuses.map(|statuses| Expr::col((ordered_by(order), task::Column::Status)).is_in(statuses));
    filter.condition(&ordered_by(order)).add_option(has_status)
}

/// The table that is walked in that order, under whose name its columns are.
fn ordered_by(order: TaskOrder) -> DynIden {
    if order.is_by_update() { task_order::Entity.into_iden() } else { task::Entity.into_iden() }
}

/// The first places behind a key, in the order of an index: by creation of `task`, by update of `task_order`.
fn walk(scope: &Scope, filter: &TaskFilter, order: TaskOrder, page: &Keyset<TaskKey>, limit: u64) -> SelectStatement {
    let statuses = filter.effective_statuses();
    if let (Scope::User(_), true, Some(statuses)) = (scope, order.is_by_update(), statuses) {
        return merged_places(scope, &statuses, order, page, limit);
    }
    let mut walk =
        if order.is_by_update() { task_order::Entity::find().into_query() } else { task::Entity::find().into_query() };
    walk.limit(limit);
    of_scope(&mut walk, &ordered_by(order), scope, order, page);
    walk
}

/// A user's first places behind a key, by status: each is a range of an index, and these ranges are merged.
fn merged_places(
    scope: &Scope,
    statuses: &[TaskStatus],
    order: TaskOrder,
    page: &Keyset<TaskKey>,
    limit: u64,
) -> SelectStatement {
    let places = task_order::Entity.into_iden();
    let range_of = |is_status: Expr| {
        let mut range = Query::select();
        range.columns(task_order::Column::iter()).from(task_order::Entity).and_where(is_status).limit(limit);
        of_scope(&mut range, &places, scope, order, page);
        Query::select().column(Asterisk).from_subquery(range, Alias::new("range")).take()
    };
    let mut ranges = statuses.iter().map(|status| range_of(task_order::Column::Status.eq(*status)));
    // No status at all: nothing.
    let mut all = ranges.next().unwrap_or_else(|| range_of(Expr::val(false)));
    for range in ranges {
        all.union(UnionType::All, range);
    }
    let mut merged = Query::select();
    merged.column(Asterisk).from_subquery(all, places.clone()).limit(limit);
    in_order(&mut merged, &places, scope, order, page.backward);
    merged
}

/// Whose, behind which key and in which order.
fn of_scope(select: &mut SelectStatement, ordered: &DynIden, scope: &Scope, order: TaskOrder, page: &Keyset<TaskKey>) {
    if let Scope::User(user_id) = scope {
        select.and_where(Expr::col((ordered.clone(), task::Column::UserId)).eq(user_id.as_str()));
    }
    if let Some(key) = &page.after {
        select.and_where(beyond(ordered, scope, order, key, order.is_descending()));
    }
    if let Some(key) = &page.before {
        select.and_where(beyond(ordered, scope, order, key, !order.is_descending()));
    }
    in_order(select, ordered, scope, order, page.backward);
}

/// The columns that order a list; those of one user's list by update are one column, in the order of the feed.
fn key_columns(scope: &Scope, order: TaskOrder) -> Vec<task::Column> {
    match (scope, order.is_by_update()) {
        (Scope::User(_), true) => vec![task::Column::Position],
        (Scope::User(_), false) => vec![task::Column::CreatedAt, task::Column::TaskId],
        (Scope::Everyone, true) => vec![task::Column::UpdatedAt, task::Column::UserId, task::Column::TaskId],
        (Scope::Everyone, false) => vec![task::Column::CreatedAt, task::Column::UserId, task::Column::TaskId],
    }
}

fn beyond(ordered: &DynIden, scope: &Scope, order: TaskOrder, key: &TaskKey, below: bool) -> Expr {
    let columns = key_columns(scope, order);
    let values = columns.iter().map(|column| match column {
        task::Column::Position => Expr::val(key.position),
        task::Column::UserId => Expr::val(key.user_id.as_str()),
        task::Column::TaskId => Expr::val(key.task_id.as_str()),
        _ => Expr::val(key.at),
    });
    let right = Expr::tuple(values.collect::<Vec<_>>());
    let left = Expr::tuple(columns.iter().map(|column| Expr::col((ordered.clone(), *column))).collect::<Vec<_>>());
    if below { left.lt(right) } else { left.gt(right) }
}

fn in_order(select: &mut SelectStatement, ordered: &DynIden, scope: &Scope, order: TaskOrder, backward: bool) {
    let direction = if order.is_descending() == backward { Order::Asc } else { Order::Desc };
    for column in key_columns(scope, order) {
        select.order_by((ordered.clone(), column), direction.clone());
    }
}

/// A join keeps no order by right: put the rows into that in which the page was read.
fn sort(tasks: &mut [task::Model], order: TaskOrder, scope: &Scope, backward: bool) {
    tasks.sort_by(|a, b| {
        let (a, b) = (TaskKey::of(a, order), TaskKey::of(b, order));
        let ascending = match (scope, order.is_by_update()) {
            (Scope::User(_), true) => a.position.cmp(&b.position),
            _ => (a.at, &a.user_id, &a.task_id).cmp(&(b.at, &b.user_id, &b.task_id)),
        };
        if order.is_descending() == backward { ascending } else { ascending.reverse() }
    });
}

/// Statuses that a bulk cancellation looks for.
pub const UNFINISHED: [TaskStatus; 2] = [TaskStatus::Pending, TaskStatus::Running];
