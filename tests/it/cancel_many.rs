//! Cancelling many tasks among very many, of which a page looks at no more than a part.

use sqlx::Executor;
use taskwire::auth::Viewer;
use taskwire::service::{CancelManyInput, CancelledMany, Service};
use taskwire::store::TaskFilter;

use super::reads::very_many_tasks;
use super::support::{TestDatabase, service_of};

/// 20,100 tasks that have ended, but two that run and are called "rare": the 7th and the 20,050th of the list.
async fn two_that_run() -> TestDatabase {
    let database = TestDatabase::new().await;
    very_many_tasks(&database).await;
    let mut session = database.session().await;
    let sql = "UPDATE task SET status = CASE WHEN name = 'rare' THEN 'running' ELSE 'failed' END";
    session.execute(sql).await.unwrap();
    let same =
        "UPDATE task_order o SET status = t.status FROM task t WHERE (t.user_id, t.task_id) = (o.user_id, o.task_id)";
    session.execute(same).await.unwrap();
    session.execute("ANALYZE task, task_order").await.unwrap();
    database
}

fn rare(user_id: Option<&str>) -> CancelManyInput {
    CancelManyInput {
        user_id: user_id.map(str::to_owned),
        filter: TaskFilter { names: vec!["rare".to_owned()], ..TaskFilter::default() },
        reason: None,
        limit: 1000,
        dry_run: false,
    }
}

async fn cancel(service: &Service, input: CancelManyInput) -> CancelledMany {
    service.cancel_many(&Viewer::admin(), input).await.unwrap()
}

fn ids(cancelled: &CancelledMany) -> Vec<&str> {
    cancelled.tasks.iter().map(|task| task.task_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_cancelled_behind_20_000_tasks_that_have_ended() {
    let database = two_that_run().await;
    let service = service_of(&database);
    let looked = cancel(&service, CancelManyInput { dry_run: true, ..rare(None) }).await;
    assert_eq!((ids(&looked), looked.cancelled_count, looked.has_more), (vec!["t7", "t20050"], 0, false));
    let first = cancel(&service, CancelManyInput { limit: 1, ..rare(None) }).await;
    assert_eq!((ids(&first), first.cancelled_count, first.has_more), (vec!["t7"], 1, true));
    let rest = cancel(&service, rare(None)).await;
    assert_eq!((ids(&rest), rest.cancelled_count, rest.has_more), (vec!["t20050"], 1, false));
    let nothing = cancel(&service, rare(None)).await;
    assert_eq!((nothing.cancelled_count, nothing.has_more), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_user_the_unfinished_ones_are_walked_to_their_end() {
    let database = two_that_run().await;
    let mut session = database.session().await;
    // All of them run: the one asked for is the 20,050th of these.
    session
        .execute(
            "UPDATE task SET status = 'running', name = nullif(name, 'rare') WHERE task_id <> 't20050';
             UPDATE task_order SET status = 'running'",
        )
        .await
        .unwrap();
    let service = service_of(&database);
    let cancelled = cancel(&service, rare(Some("ann"))).await;
    assert_eq!((ids(&cancelled), cancelled.has_more), (vec!["t20050"], false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_moves_to_the_front_meanwhile_is_cancelled_too() {
    let database = two_that_run().await;
    let mut session = database.session().await;
    // The first one's cancellation, after the first look, moves the other one from behind the walk to its front.
    session
        .execute(
            "CREATE FUNCTION move_the_other() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN UPDATE task SET updated_at = clock_timestamp() WHERE task_id = 't20050'; RETURN NULL; END $$;
             CREATE TRIGGER move_the_other AFTER UPDATE ON task FOR EACH ROW WHEN (NEW.task_id = 't7')
             EXECUTE FUNCTION move_the_other();",
        )
        .await
        .unwrap();
    let cancelled = cancel(&service_of(&database), rare(None)).await;
    assert_eq!((ids(&cancelled), cancelled.has_more), (vec!["t7", "t20050"], false));
}
