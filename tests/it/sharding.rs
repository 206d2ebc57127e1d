//! Saving, status, history and the feed stay with their user: over copies of the tables that are hash-partitioned by
//! `user_id`, no statement visits more than one partition of a table. What a statement visits is what `auto_explain` says,
//! statements inside functions included. (docs/scaling.md, stage 6)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};
use taskwire::store::{Head, HistoryQuery, Keyset, LaneSettings, Lanes, Scope, TaskFilter, TaskOrder};
use taskwire::telemetry::Telemetry;

use super::support::{POOL, TestDatabase, cluster::cluster, pool, record, store_of, store_over};

const TABLES: &str = include_str!("../../migration/sql/tables.sql");
const STATUS_RULES: &str = include_str!("../../migration/sql/status_rules.sql");
const APPEND: &str = include_str!("../../migration/sql/append.sql");
const CANCEL: &str = include_str!("../../migration/sql/cancel.sql");
const USERS: usize = 300;

/// The tables divided by their user instead.
const DIVIDED: [(&str, &str); 4] = [
    (") WITH (fillfactor = 50);", ") PARTITION BY HASH (user_id);"),
    (") WITH (fillfactor = 70);", ") PARTITION BY HASH (user_id);"),
    (
        "tags        text[]\n);\nCREATE INDEX task_order_by_status",
        "tags        text[]\n) PARTITION BY HASH (user_id);\nCREATE INDEX task_order_by_status",
    ),
    (") PARTITION BY RANGE (recorded_at);", ") PARTITION BY HASH (user_id);"),
];

fn divided(tables: &str) -> String {
    DIVIDED.iter().fold(tables.to_owned(), |sql, (from, to)| {
        assert_eq!(sql.matches(from).count(), 1, "not once there any more: {from}");
        sql.replace(from, to)
    })
}

fn page<K>() -> Keyset<K> {
    Keyset { after: None, before: None, limit: 20, backward: false }
}

/// What `auto_explain` has said since: of each statement, which partitions of which table it has visited.
fn visited(log: &str) -> Vec<(String, BTreeMap<String, BTreeSet<String>>)> {
    let mut all = Vec::new();
    for entry in log.split(" plan:\n").skip(1) {
        let mut plans = serde_json::Deserializer::from_str(entry).into_iter::<Value>();
        let Some(Ok(plan)) = plans.next() else { continue };
        let mut tables = BTreeMap::new();
        walk(&plan["Plan"], &mut tables);
        all.push((plan["Query Text"].as_str().unwrap_or_default().to_owned(), tables));
    }
    all
}

fn walk(node: &Value, tables: &mut BTreeMap<String, BTreeSet<String>>) {
    let is_visited = node["Actual Loops"].as_f64().is_some_and(|loops| loops > 0.0);
    let shard = node["Relation Name"].as_str().and_then(|name| name.rsplit_once("_shard"));
    if let Some((table, shard)) = shard.filter(|_| is_visited && node["Node Type"] != "ModifyTable") {
        tables.entry(table.to_owned()).or_default().insert(shard.to_owned());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, tables);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_one_user_visits_another_ones_partition() {
    let database = TestDatabase::empty().await;
    let mut session = database.session().await;
    session.execute(AssertSqlSafe(divided(TABLES))).await.unwrap();
    for table in ["feed_head", "task", "task_order", "task_record"] {
        for shard in 0..4 {
            let sql = format!(
                "CREATE TABLE {table}_shard{shard} PARTITION OF {table} FOR VALUES WITH (MODULUS 4, REMAINDER {shard})"
            );
            session.execute(AssertSqlSafe(sql)).await.unwrap();
        }
    }
    for sql in [STATUS_RULES, APPEND, CANCEL] {
        session.execute(sql).await.unwrap();
    }

    let store = store_of(&database);
    for step in 0..4 {
        let records = (0..USERS).flat_map(|user| ["a", "b"].map(|task| record(&format!("u{user}"), task, step)));
        store.save_batch(records.collect::<Vec<_>>()).await.unwrap();
    }
    session.execute("ANALYZE").await.unwrap();

    // From here on every statement of this database is explained.
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_format = 'json'",
        // The tables are small here; these are the plans of large ones.
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
    ] {
        let sql = format!("ALTER DATABASE {} SET {setting}", database.name);
        session.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let log = cluster().cluster.data_dir().join("postgres.log");
    let before = fs::read_to_string(&log).unwrap().len();
    let explained = pool(&database.url, POOL).await;
    let store = store_over(&explained);
    let lanes = Lanes::start(store.clone(), LaneSettings::default(), Telemetry::new());
    let user = "u7".to_owned();
    // Often enough that a plan for any user would be taken.
    for step in 4..12 {
        let one = record(&user, "a", step);
        store.save_batch(vec![one.clone()]).await.unwrap();
        // What is there already is looked for.
        assert!(store.save_batch(vec![one]).await.unwrap()[0].is_duplicate);
        lanes.save(record(&user, "a", step)).await.unwrap();
        let task = store.task(&user, "a").await.unwrap().unwrap();
        store.tasks_by_key(vec![(user.clone(), "a".to_owned())]).await.unwrap();
        let scope = Scope::User(user.clone());
        store.list_tasks(&scope, &TaskFilter::default(), TaskOrder::UpdatedDesc, &page()).await.unwrap();
        let query = HistoryQuery { user_id: user.clone(), task_id: "a".to_owned() };
        store.history(&query, &page()).await.unwrap();
        store.steps(&task, &page()).await.unwrap();
        let head = store.heads(std::slice::from_ref(&user)).await.unwrap()[&user];
        store.feed_page(&user, None, Head::START, 50).await.unwrap();
        store.feed_page(&user, Some("a"), Head::START, 50).await.unwrap();
        store.new_records(&[(user.clone(), Head { position: 1, ..head })], 50).await.unwrap();
        store.changed_heads(std::slice::from_ref(&user), "0").await.unwrap();
        store.tasks_changed(&user, 2, 50).await.unwrap();
        store.task_and_head(&user, "a").await.unwrap();
        store.record_at(&user, head.position, head.recorded_at).await.unwrap();
        store.standing(&[(user.clone(), head)]).await.unwrap();
        store.oldest_record(&user).await.unwrap();
    }
    lanes.close().await;
    explained.connection.close_by_ref().await.unwrap();

    let said = fs::read_to_string(&log).unwrap();
    let statements = visited(&said[before..]);
    let of_ours = statements.iter().filter(|(_, tables)| !tables.is_empty()).count();
    assert!(of_ours > 100, "only {of_ours} of {} statements were seen to read our tables", statements.len());
    let wide: BTreeSet<String> = statements
        .iter()
        .filter(|(_, tables)| tables.values().any(|shards| shards.len() > 1))
        .map(|(text, tables)| format!("{tables:?}: {text}"))
        .collect();
    assert!(
        wide.is_empty(),
        "more than one partition for one user:\n{}",
        wide.into_iter().collect::<Vec<_>>().join("\n")
    );
    // The measure itself: a statement that names no user.
    let shards =
        sqlx::query_scalar::<_, i64>("SELECT count(DISTINCT tableoid) FROM task").fetch_one(&mut session).await;
    assert_eq!(shards.unwrap(), 4);
}
