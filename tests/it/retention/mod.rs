//! What is too old goes, and nothing else: on a history that reaches back, made here by SQL.

mod cleanup;
mod command;
mod held;
mod lease;
mod optimize;
mod schedule;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use taskwire::maintenance::cleanup::Cleanup;
use tokio::time::{Duration, Instant};

/// Divides what is before this week into so many weeks, as if a server had been there all the time.
const WEEKS_BACK: &str = "
    DO $$
    DECLARE
        v_week timestamptz := taskwire_bound(now(), 'week');
    BEGIN
        SET LOCAL timezone = 'UTC';
        ALTER TABLE task_record DETACH PARTITION task_record_before;
        FOR i IN REVERSE {weeks}..1 LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF task_record FOR VALUES FROM (%L) TO (%L)',
                taskwire_partition_name(v_week - i * interval '1 week'), v_week - i * interval '1 week',
                v_week - (i - 1) * interval '1 week');
        END LOOP;
        EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_before FOR VALUES FROM (MINVALUE) TO (%L)',
            v_week - {weeks} * interval '1 week');
    END
    $$";

/// `{users}` users with `{tasks}` tasks of `{records}` records each, spread evenly from `{from}` to `{to}` days ago. Every
/// fifth task is not finished.
const PAST: &str = "
    CREATE TEMP TABLE past AS
        SELECT '{name}' || u AS user_id, 't' || (p - 1) / {records} AS task_id, p AS position,
               now() - interval '1 day' * ({from} + ({to} - {from}) * (p - 1)::float8 / greatest({tasks} * {records} - 1, 1)) AS at,
               md5('{name}' || u || ':' || p)::uuid AS record_id, (p - 1) / {records} % 5 = 4 AS is_open
        FROM generate_series(1, {users}) u, generate_series(1, {tasks} * {records}) p;
    INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
        SELECT user_id, task_id, position % 1000, '{\"step\": \"s\", \"message\": \"\"}', at, 'running', position, at, record_id
        FROM past ORDER BY at;
    CREATE TEMP TABLE past_task AS
        SELECT DISTINCT ON (user_id, task_id) *, min(at) OVER (PARTITION BY user_id, task_id) AS begun_at
        FROM past ORDER BY user_id, task_id, position DESC;
    INSERT INTO task (position, moved_position, moved_at, steps_from_position, steps_from_at, created_at, updated_at, record_id,
                      step, highest_step, user_id, task_id, status, step_status, message, finished_at)
        SELECT position, position, at, position, begun_at, begun_at, at, record_id, 1, 1, user_id, task_id, s.status, s.status,
               'last words', CASE WHEN NOT is_open THEN at END
        FROM past_task, LATERAL (SELECT CASE WHEN is_open THEN 'running' ELSE 'completed' END AS status) s;
    INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, finished_at)
        SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id(), finished_at FROM task
        WHERE user_id IN (SELECT user_id FROM past);
    INSERT INTO feed_head (user_id, position, recorded_at, record_id)
        SELECT DISTINCT ON (user_id) user_id, position, at, record_id FROM past ORDER BY user_id, position DESC;
    DROP TABLE past, past_task;";

/// A history to be made.
pub(crate) struct Past {
    pub(crate) name: &'static str,
    pub(crate) users: i64,
    pub(crate) tasks: i64,
    pub(crate) records: i64,
    /// Days ago.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Past {
    pub(crate) async fn make(&self, session: &mut PgConnection) {
        let Self { name, users, tasks, records, from, to } = self;
        let mut sql = PAST.to_owned();
        for (key, value) in [
            ("{name}", (*name).to_owned()),
            ("{users}", users.to_string()),
            ("{tasks}", tasks.to_string()),
            ("{records}", records.to_string()),
            ("{from}", from.to_string()),
            ("{to}", to.to_string()),
        ] {
            sql = sql.replace(key, &value);
        }
        session.execute(AssertSqlSafe(sql)).await.unwrap();
        session.execute("ANALYZE").await.unwrap();
    }
}

pub(crate) async fn weeks_back(session: &mut PgConnection, weeks: u32) {
    session.execute(AssertSqlSafe(WEEKS_BACK.replace("{weeks}", &weeks.to_string()))).await.unwrap();
}

/// Ten weeks of partitions, and three users who have reported every day and a half for nine of them until yesterday: 150 records each.
async fn nine_weeks(session: &mut PgConnection) {
    weeks_back(session, 10).await;
    Past { name: "u", users: 3, tasks: 30, records: 5, from: 63.0, to: 1.0 }.make(session).await;
}

/// A cleanup of what is older than so many days, to the very moment.
fn older_than(days: i64, seconds: u64) -> Cleanup {
    Cleanup {
        cutoff: Utc::now() - TimeDelta::days(days),
        keep_unfinished: true,
        inside: true,
        until: Instant::now() + Duration::from_secs(seconds),
        scheduled_for: None,
    }
}

async fn count(session: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(session).await.unwrap()
}

/// Of each user what is kept is all the positions from some number up to the head; returns the number of users who have any.
async fn assert_no_holes(session: &mut PgConnection) -> usize {
    let sql = "SELECT r.user_id, min(r.position), max(r.position), count(*), min(h.position) \
        FROM task_record r JOIN feed_head h USING (user_id) GROUP BY r.user_id";
    let users: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(sql).fetch_all(session).await.unwrap();
    for (user, first, last, count, head) in &users {
        assert_eq!((last - first + 1, last), (*count, head), "{user} has a hole");
    }
    users.len()
}

/// Every record has its task, every task its place in the lists and, unless it is open, its last record.
async fn assert_whole(session: &mut PgConnection) {
    let orphans =
        "SELECT count(*) FROM task_record r LEFT JOIN task t USING (user_id, task_id) WHERE t.user_id IS NULL";
    assert_eq!(count(session, orphans).await, 0, "records without a task");
    let lists = "SELECT count(*) FROM task t FULL JOIN task_order o USING (user_id, task_id, position) \
        WHERE t.user_id IS NULL OR o.user_id IS NULL";
    assert_eq!(count(session, lists).await, 0, "tasks and lists differ");
}

async fn oldest(session: &mut PgConnection) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("SELECT min(recorded_at) FROM task_record").fetch_one(session).await.unwrap()
}

/// A gap between partitions, or an end that is closed, is a record without a place.
async fn assert_no_gap(session: &mut PgConnection) {
    session.execute("SET timezone = 'UTC'").await.unwrap();
    let sql = "SELECT coalesce((regexp_match(b, $re$FROM \\('([^']+)'\\)$re$))[1], 'open'),
            coalesce((regexp_match(b, $re$TO \\('([^']+)'\\)$re$))[1], 'open')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) b
        WHERE i.inhparent = 'task_record'::regclass
        ORDER BY (regexp_match(b, $re$FROM \\('([^']+)'\\)$re$))[1]::timestamptz NULLS FIRST";
    let bounds: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(session).await.unwrap();
    assert_eq!((bounds[0].0.as_str(), bounds[bounds.len() - 1].1.as_str()), ("open", "open"), "{bounds:?}");
    for pair in bounds.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "{bounds:?}");
    }
}
