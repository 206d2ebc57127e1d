//! Tasks by the hundred thousand, as the append path would have left them, but in minutes: one task is saved through the
//! server, and copied by plain SQL. A column that does not differ between two such tasks is copied as it is, so a new one
//! needs a line in [`EXPRESSIONS`] only where it does.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::data::{STEPS, Tasks};
use super::saves;
use super::seed::{BATCH_BEFORE, task};
use super::taskwire::Taskwire;
use super::{Bench, load};
use crate::{Error, Result};

/// Tasks of each user that one transaction makes.
const CHUNK: usize = 200;
/// Chunks from one CHECKPOINT to the next.
const CHECKPOINT: usize = 5;
/// Whose one task is copied.
const TEMPLATE: &str = "template";

/// What differs, by table and column. `k` counts a user's tasks and `u` the users, both from 0; `t` is the row that is
/// copied. Times rise with the position, by a microsecond each; ids rise with time, as the server's own do.
const EXPRESSIONS: [(&str, &str, &str); 24] = [
    ("task_record", "id", "nextval('task_record_id')"),
    ("task_record", "user_id", "USER"),
    ("task_record", "task_id", "TASK"),
    ("task_record", "position", "k * STEPS + t.position"),
    ("task_record", "recorded_at", "AT(t.position)"),
    ("task_record", "timestamp", "AT(t.position)"),
    ("task_record", "record_id", "ID(t.position)"),
    ("task", "user_id", "USER"),
    ("task", "task_id", "TASK"),
    ("task", "position", "k * STEPS + t.position"),
    ("task", "moved_position", "k * STEPS + t.moved_position"),
    ("task", "steps_from_position", "k * STEPS + t.steps_from_position"),
    ("task", "moved_at", "AT(t.moved_position)"),
    ("task", "steps_from_at", "AT(t.steps_from_position)"),
    ("task", "created_at", "AT(1)"),
    ("task", "updated_at", "AT(t.position)"),
    ("task", "started_at", "AT(1)"),
    ("task", "finished_at", "AT(t.position)"),
    ("task", "record_id", "ID(t.position)"),
    ("task_order", "user_id", "USER"),
    ("task_order", "task_id", "TASK"),
    ("task_order", "position", "k * STEPS + t.position"),
    ("task_order", "updated_at", "AT(t.position)"),
    ("task_order", "xid", "pg_current_xact_id()"),
];
/// Those of `task_order` that are `task`'s own.
const AS_IN_TASK: [&str; 2] = ["started_at", "finished_at"];

/// What is not as it has to be, of one user; nothing but the append path keeps these together.
const WRONG: &str = "
    SELECT (SELECT count(*) FROM task t WHERE t.user_id = h.user_id AND NOT EXISTS (
               SELECT FROM task_record r WHERE r.user_id = t.user_id AND r.task_id = t.task_id AND r.position = t.position
                   AND r.recorded_at = t.updated_at AND r.record_id = t.record_id))
         + (SELECT count(*) FROM task t WHERE t.user_id = h.user_id AND NOT EXISTS (
               SELECT FROM task_order o WHERE o.user_id = t.user_id AND o.position = t.position AND o.task_id = t.task_id
                   AND o.status = t.status AND o.updated_at = t.updated_at AND o.finished_at = t.finished_at))
         + (SELECT count(*) FROM task_record r WHERE r.user_id = h.user_id) - h.position
         + (SELECT count(*) FROM task_order o WHERE o.user_id = h.user_id AND o.position > h.position)
    FROM feed_head h WHERE h.user_id = 'user_0'";

/// Fills an empty database of Taskwire's with so many tasks of so many users, named as the reads look for them.
pub(super) async fn fill(bench: &Bench, taskwire: &Taskwire, database: &str, tasks: usize, users: usize) -> Result<()> {
    let each = tasks / users;
    let bar = bench.progress.counted(&format!("grown: {tasks} tasks of {STEPS} records"), tasks)?;
    let mut body = BATCH_BEFORE.to_vec();
    task(TEMPLATE, TEMPLATE, &mut body);
    load::Connection::open(&taskwire.request("\"savedCount\":")).await?.ask(&body).await?;
    let mut session = bench.cluster.session(database).await?;
    session.execute("SET work_mem = '128MB'; SET jit = off").await?;
    let mut statements = Vec::new();
    for table in ["task_record", "task", "task_order"] {
        statements.push(copy_of(&mut session, table, users).await?);
    }
    let mut from = 0;
    while from < each {
        let to = (from + CHUNK).min(each);
        let mut transaction = session.begin().await?;
        for sql in &statements {
            let sql = sql.replace("FROM_K", &from.to_string()).replace("TO_K", &(to - 1).to_string());
            transaction.execute(AssertSqlSafe(sql)).await?;
        }
        transaction.execute(AssertSqlSafe(heads(from, to, users))).await?;
        transaction.commit().await?;
        bar.inc(u64::try_from((to - from) * users)?);
        from = to;
        // Or its log would take as much room as the tables.
        if (from / CHUNK).is_multiple_of(CHECKPOINT) {
            bench.cluster.checkpoint().await?;
        }
    }
    let wrong: i64 = session.fetch_one(WRONG).await?.try_get(0)?;
    if wrong != 0 {
        return Err(format!("{wrong} places of the tasks made by SQL are not as the append path leaves them").into());
    }
    bench.progress.step("grown: VACUUM ANALYZE")?;
    taskwire.analyze(&bench.cluster).await
}

/// The INSERT of a table, from its columns.
async fn copy_of(session: &mut PgConnection, table: &'static str, users: usize) -> Result<String> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped \
               AND attgenerated = '' ORDER BY attnum";
    let rows = sqlx::query(sql).bind(table).fetch_all(session).await?;
    let columns = rows.iter().map(|row| Ok::<String, Error>(row.try_get(0)?)).collect::<Result<Vec<_>>>()?;
    let expression = |column: &String| {
        let by = if AS_IN_TASK.contains(&column.as_str()) { "task" } else { table };
        let own = EXPRESSIONS.iter().find(|(table, name, _)| *table == by && name == column);
        expanded(&own.map_or_else(|| format!("t.\"{column}\""), |(_, _, expression)| (*expression).to_owned()), users)
    };
    let expressions: Vec<String> = columns.iter().map(expression).collect();
    // By time, as they would have come.
    Ok(format!(
        "INSERT INTO {table} (\"{}\") SELECT {} FROM generate_series(FROM_K, TO_K) k, generate_series(0, {}) u, {table} t \
         WHERE t.user_id = 'user_{TEMPLATE}' ORDER BY k, u, t.position",
        columns.join("\", \""),
        expressions.join(", "),
        users - 1
    ))
}

/// The heads of all users after their first `to` tasks.
fn heads(from: usize, to: usize, users: usize) -> String {
    let last = to * STEPS as usize;
    let values = format!(
        "SELECT USER, {last}, AT({STEPS}), ID({STEPS}), ID({STEPS}), pg_current_xact_id() \
         FROM generate_series(0, {}) u, (VALUES ({})) k (k), \
         (SELECT moved_at AS recorded_at FROM task WHERE user_id = 'user_{TEMPLATE}') t",
        users - 1,
        to - 1
    );
    let values = expanded(&values, users);
    if from == 0 {
        return format!(
            "INSERT INTO feed_head (user_id, position, recorded_at, record_id, highest_record_id, xid) {values}"
        );
    }
    format!(
        "UPDATE feed_head h SET position = v.position, recorded_at = v.recorded_at, record_id = v.record_id, \
         highest_record_id = v.highest_record_id, xid = v.xid \
         FROM ({values}) v (user_id, position, recorded_at, record_id, highest_record_id, xid) WHERE h.user_id = v.user_id"
    )
}

/// With what the words in capitals stand for.
fn expanded(expression: &str, users: usize) -> String {
    let mut text = expression.replace("USER", "'user_' || u").replace("TASK", &format!("'seed_' || (k * {users} + u)"));
    for (word, before, after) in [
        // From the moment in which the task that is copied was saved.
        (
            "AT(",
            "(SELECT moved_at FROM task WHERE user_id = 'user_template') + interval '1 microsecond' * (k * STEPS + ",
            ")",
        ),
        ("ID(", "('01900000-0000-7000-8000-' || lpad(to_hex((k * USERS_ + u) * STEPS + ", "), 12, '0'))::uuid"),
    ] {
        while let Some((head, rest)) = text.split_once(word) {
            let (argument, tail) = rest.split_once(')').unwrap_or((rest, ""));
            text = format!("{head}{before}{argument}{after}{tail}");
        }
    }
    text.replace("USERS_", &users.to_string()).replace("STEPS", &STEPS.to_string())
}

/// The saves of a round, of the same users.
pub(super) fn savers(clients: usize, prefix: &str) -> Vec<load::Bodies> {
    (0..clients).map(|client| saves::source(Tasks::new(format!("{prefix}_{client}"), 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_by_what_they_stand_for() {
        assert_eq!(expanded("USER", 100), "'user_' || u");
        assert_eq!(expanded("k * STEPS + t.position", 100), "k * 10 + t.position");
        let at = expanded("AT(t.position)", 100);
        assert!(at.ends_with("interval '1 microsecond' * (k * 10 + t.position)"), "{at}");
        assert!(expanded("ID(10)", 100).contains("(k * 100 + u) * 10 + 10), 12, '0'))::uuid"));
        assert!(!expanded("AT(1), ID(2)", 100).contains("STEPS"));
    }
}
