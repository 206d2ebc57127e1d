//! Look-ups that are shared across requests (`store/lookups.rs`, ADR 14).

use entity::{TaskStatus, task_record};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use taskwire::auth::Viewer;
use taskwire::db::Database;
use taskwire::service::{Page, PageArgs};
use taskwire::store::{HistoryQuery, Keyset, Scope, TaskFilter, TaskOrder};

use super::support::{TestDatabase, pool, record, service_of, store_of, store_over};

const USERS: [&str; 3] = ["ann", "bob", "Zoe"];

/// Each gets its own, and what was saved before it asked, however many ask at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_at_once_is_nobody_elses_and_not_old() {
    let database = TestDatabase::new().await;
    let (store, service) = (store_of(&database), service_of(&database));
    let workers = (0..64).map(|worker: usize| {
        let (store, service) = (store.clone(), service.clone());
        tokio::spawn(async move {
            let (user, task) = (USERS[worker % 3], format!("task-{worker}"));
            let admin = Viewer::admin();
            for step in 0..8 {
                store.save_batch([record(user, &task, step)]).await.unwrap();
                let stranger = format!("{task}-{step}");
                let last = PageArgs { last: Some(1), ..PageArgs::default() };
                let (found, nothing, all, last) = tokio::join!(
                    service.task(&admin, Some(user.to_owned()), task.clone()),
                    service.task(&admin, Some(user.to_owned()), stranger),
                    service.history(&admin, Some(user.to_owned()), task.clone(), PageArgs::default()),
                    service.history(&admin, Some(user.to_owned()), task.clone(), last),
                );
                let found = found.unwrap().unwrap();
                assert_eq!((found.user_id.as_str(), &found.task_id, found.step), (user, &task, step));
                assert!(nothing.unwrap().is_none());
                let steps = |page: &Page<task_record::Model>| -> Vec<(String, i32)> {
                    page.edges.iter().map(|edge| (edge.node.task_id.clone(), edge.node.step)).collect()
                };
                let expected: Vec<(String, i32)> = (0..=step).map(|step| (task.clone(), step)).collect();
                assert_eq!(steps(&all.unwrap()), expected);
                assert_eq!(steps(&last.unwrap()), expected[expected.len() - 1..]);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

/// One that comes alone is not planned anew each time, over as many partitions as a year's and more.
#[tokio::test]
async fn a_lone_look_up_keeps_its_plan() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    session.execute("SELECT taskwire_divide_partitions(now(), 60)").await.unwrap();
    let one = pool(&database.url, 1).await;
    let store = store_over(&one);
    store.save_batch([record("ann", "t", 1)]).await.unwrap();
    for _ in 0..10 {
        assert!(store.task("ann", "t").await.unwrap().is_some());
        let query = HistoryQuery { user_id: "ann".to_owned(), task_id: "t".to_owned() };
        let page = Keyset { after: None, before: None, limit: 50, backward: false };
        assert_eq!(store.history(&query, &page).await.unwrap().0.rows.len(), 1);
    }
    let plans = "SELECT statement, generic_plans FROM pg_prepared_statements WHERE statement LIKE '%AS place%'";
    let plans = one.connection.get_postgres_connection_pool().fetch_all(plans).await.unwrap();
    assert_eq!(plans.len(), 2);
    for plan in plans {
        assert_eq!(plan.get::<i64, _>("generic_plans"), 5, "{}", plan.get::<String, _>("statement"));
    }
}

/// A page or a count is not planned anew each time, however many tasks its user has, and however common what it asks for.
#[tokio::test]
async fn a_page_of_a_long_list_keeps_its_plan() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    // Of ten tasks one has failed, of five thousand one has the tag.
    session.execute(AssertSqlSafe(tasks("'ann'", 50_000))).await.unwrap();
    session.execute(ORDER).await.unwrap();
    session.execute("VACUUM ANALYZE task, task_order").await.unwrap();
    let user = Scope::User("ann".to_owned());
    let page = Keyset { after: None, before: None, limit: 50, backward: false };
    let failed = TaskFilter { statuses: vec![TaskStatus::Failed], ..TaskFilter::default() };
    let both = TaskFilter { is_finished: Some(true), ..TaskFilter::default() };
    let tagged = TaskFilter { tags: vec!["rare".to_owned()], ..TaskFilter::default() };
    for filter in [TaskFilter::default(), failed, both, tagged] {
        for order in [TaskOrder::UpdatedDesc, TaskOrder::CreatedDesc] {
            let one = pool(&database.url, 1).await;
            let store = store_over(&one);
            for _ in 0..10 {
                let list = store.list_tasks(&user, &filter, order, &page).await.unwrap();
                assert!(!list.page.rows.is_empty());
                store.count_tasks(&user, &filter, 1000).await.unwrap();
            }
            // The page, the count, and where the look at the list ended.
            let plans =
                "SELECT statement, generic_plans FROM pg_prepared_statements WHERE statement ~ '\"task(_order)?\"'";
            let plans = one.connection.get_postgres_connection_pool().fetch_all(plans).await.unwrap();
            assert!(plans.len() >= 2, "{} statements", plans.len());
            for plan in &plans {
                assert!(plan.get::<i64, _>(1) >= 5, "{filter:?}, {order:?}: {}", plan.get::<String, _>(0));
            }
            // A count goes through places alone where an index finds all of them.
            let count =
                plans.iter().map(|plan| plan.get::<String, _>(0)).find(|plan| plan.contains("COUNT(*)")).unwrap();
            assert_eq!(count.contains("\"task\""), !filter.tags.is_empty(), "{count}");
        }
    }
}

/// The plan that is kept is made with users in mind who have few tasks: it walks the list of one who has very many, too, and
/// does not read and sort all of it.
#[tokio::test]
async fn a_kept_plan_walks_a_list_that_is_much_longer_than_others() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    // A thousand users of fifty tasks, and one of fifty thousand, mixed.
    let users = "CASE WHEN r % 2 = 0 THEN 'ann' ELSE 'u' || r % 2000 END";
    session.execute(AssertSqlSafe(tasks(users, 100_000))).await.unwrap();
    session.execute(ORDER).await.unwrap();
    session.execute("VACUUM ANALYZE task, task_order").await.unwrap();
    let one = pool(&database.url, 1).await;
    let store = store_over(&one);
    let ann = Scope::User("ann".to_owned());
    let rare = TaskFilter { names: vec!["rare".to_owned()], ..TaskFilter::default() };
    let failed = TaskFilter { statuses: vec![TaskStatus::Failed], ..TaskFilter::default() };
    let both = TaskFilter { statuses: vec![TaskStatus::Failed, TaskStatus::Completed], ..TaskFilter::default() };
    // Which list, in which order, a page of how many, and how many of its tasks are looked at.
    for (filter, order, limit, looked_at) in [
        (TaskFilter::default(), TaskOrder::UpdatedDesc, 50, 51),
        (TaskFilter::default(), TaskOrder::CreatedDesc, 50, 51),
        (TaskFilter::default(), TaskOrder::UpdatedAsc, 500, 501),
        (failed, TaskOrder::UpdatedDesc, 50, 51),
        (both, TaskOrder::UpdatedDesc, 50, 102),
        (rare, TaskOrder::UpdatedDesc, 50, 20_001),
    ] {
        let page = Keyset { after: None, before: None, limit, backward: false };
        // Often enough that one plan for all is made; to it, a user is one with a hundred tasks.
        for _ in 0..7 {
            store.list_tasks(&ann, &filter, order, &page).await.unwrap();
        }
        let before = read(&one, "^task(_order)?$").await;
        store.list_tasks(&ann, &filter, order, &page).await.unwrap();
        let read = read(&one, "^task(_order)?$").await - before;
        assert!(read <= 3 * looked_at + 10, "{order:?}, {limit}: {read} rows were read");
    }
}

/// A page of a long history reads its own records, wherever it begins and whichever way, and whatever is known of the tables.
#[tokio::test]
async fn a_page_of_a_long_history_reads_its_own_records() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    session.execute("SELECT taskwire_divide_partitions(now(), 40)").await.unwrap();
    let one = pool(&database.url, 1).await;
    let store = store_over(&one);
    // Beside one task of three thousand records, six hundred of one.
    for batch in 0..6 {
        let long = (0..500).map(|step| record("ann", "long", batch * 500 + step));
        let short = (0..100).map(|task| record("ann", &format!("short-{batch}-{task}"), 0));
        store.save_batch(long.chain(short).collect::<Vec<_>>()).await.unwrap();
    }
    let query = HistoryQuery { user_id: "ann".to_owned(), task_id: "long".to_owned() };
    for analyze in ["SELECT", "VACUUM ANALYZE"] {
        session.execute(analyze).await.unwrap();
        for (after, before) in [(None, None), (Some(1_500), None), (None, Some(1_500)), (Some(1_000), Some(2_000))] {
            for backward in [false, true] {
                let page = Keyset { after, before, limit: 50, backward };
                // Often enough that one plan for all is made.
                for _ in 0..7 {
                    store.history(&query, &page).await.unwrap();
                }
                let earlier = read(&one, "^task_record").await;
                assert_eq!(store.history(&query, &page).await.unwrap().0.rows.len(), 50);
                let read = read(&one, "^task_record").await - earlier;
                assert!((50..=60).contains(&read), "{analyze}, {page:?}: {read} rows were read");
            }
        }
    }
}

/// So many tasks, of the users that this is of the task's number `r`.
fn tasks(user: &str, count: usize) -> String {
    format!(
        "INSERT INTO task (user_id, task_id, position, record_id, status, tags, step, highest_step, step_status, moved_position,
            moved_at, steps_from_position, steps_from_at, created_at, updated_at)
        SELECT {user}, 't' || r, r, gen_random_uuid(), CASE WHEN r % 10 = 0 THEN 'failed' ELSE 'completed' END,
               CASE WHEN r % 5000 = 0 THEN '{{rare}}'::text[] ELSE '{{}}' END, 0, 0, 'completed', r, at, r, at, at, at
        FROM generate_series(1, {count}) r, LATERAL (SELECT now() + r * interval '1 millisecond' AS at) x"
    )
}

/// Their places in the lists.
const ORDER: &str = "INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, tags)
    SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id(), nullif(tags, '{}') FROM task";

/// Rows that PostgreSQL has read from these tables, by an index or not.
async fn read(one: &Database, tables: &str) -> i64 {
    let pool = one.connection.get_postgres_connection_pool();
    pool.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let sql = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables \
               WHERE relname ~ $1";
    sqlx::query_scalar(sql).bind(tables).fetch_one(pool).await.unwrap()
}
