//! Look-ups that are shared across requests (`store/lookups.rs`, ADR 14).

use entity::task_record;
use sqlx::{Executor as _, Row as _};
use taskwire::auth::Viewer;
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

/// A page is not planned anew each time, however many tasks its user has.
#[tokio::test]
async fn a_page_of_a_long_list_keeps_its_plan() {
    let database = TestDatabase::new().await;
    let one = pool(&database.url, 1).await;
    let store = store_over(&one);
    for batch in 0..20 {
        let tasks = (0..500).map(|task| record("ann", &format!("t{batch}-{task}"), 1));
        store.save_batch(tasks.collect::<Vec<_>>()).await.unwrap();
    }
    database.session().await.execute("VACUUM ANALYZE").await.unwrap();
    let user = Scope::User("ann".to_owned());
    let page = Keyset { after: None, before: None, limit: 50, backward: false };
    for _ in 0..10 {
        let list = store.list_tasks(&user, &TaskFilter::default(), TaskOrder::UpdatedDesc, &page).await.unwrap();
        assert_eq!(list.page.rows.len(), 50);
    }
    let plans = "SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE 'WITH page AS%'";
    let plans = one.connection.get_postgres_connection_pool().fetch_all(plans).await.unwrap();
    assert_eq!(plans.iter().map(|plan| plan.get::<i64, _>(0)).collect::<Vec<_>>(), [5]);
}
