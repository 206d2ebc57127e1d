//! The streams of changes and of cancellations, and who may watch what.

use std::collections::{BTreeMap, HashMap};

use entity::CancellationOutcome;
use taskwire::service::TaskFilter;
use taskwire::service::watch::CancellationRequest;
use taskwire::store::{CancelTerms, NewAcknowledgement, NewCancellation};

use super::*;
use crate::support::TestDatabase;

type Requests = Pin<Box<dyn Stream<Item = Result<CancellationRequest, ServiceError>> + Send>>;

async fn requests(server: &Server, user: Option<&str>) -> Requests {
    let user = user.map(str::to_owned);
    Box::pin(server.service.cancellation_requested(&Viewer::admin(), user, None).await.unwrap())
}

async fn cancel(server: &Server, user: &str, task: &str) {
    let item = NewCancellation { user_id: user.into(), task_id: task.into(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::ZERO };
    server.store.cancel(&[item], &terms).await.unwrap();
}

async fn acknowledge(server: &Server, user: &str, task: &str) {
    let answer = NewAcknowledgement {
        user_id: user.into(),
        task_id: task.into(),
        record_id: Uuid::now_v7(),
        outcome: CancellationOutcome::Stopped,
        message: None,
        reported_by: None,
    };
    server.store.acknowledge(&answer).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_state_of_every_task_arrives_however_often_the_stream_is_cut() {
    let database = TestDatabase::new().await;
    let server = Arc::new(Server::start(&database.url, NO_CHECK).await);
    let other = Server::start(&database.url, NO_CHECK).await;
    for seed in 0..6 {
        let user = format!("u{seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let writer = {
            let (server, user, mut random) = (Arc::clone(&server), user.clone(), random.fork());
            let mut session = database.session().await;
            tokio::spawn(async move {
                for _ in 0..60 {
                    let tasks: Vec<String> =
                        (0..random.usize(1..20)).map(|_| format!("t{}", random.u8(0..30))).collect();
                    if random.bool() {
                        server.save(&user, &tasks.iter().map(String::as_str).collect::<Vec<_>>()).await;
                    } else {
                        insert(&mut session, &user, &tasks[0]).await;
                    }
                }
                server.save(&user, &["the end"]).await;
            })
        };
        // A client: it keeps the latest state of each task and the last cursor, and loses its connection now and then.
        let mut states: HashMap<String, i64> = HashMap::new();
        let mut cursor = FeedCursor::new(&user, &Head::START).to_string();
        while !states.contains_key("the end") {
            let from = if random.bool() { &server } else { &other };
            let mut changes = from.changes(Some(&user), None, Some(cursor.clone())).await;
            let mut is_live = false;
            for _ in 0..random.usize(1..80) {
                let change = next(&mut changes).await.unwrap();
                assert_eq!(change.is_replay(), !is_live && change.task().is_some());
                assert!(change.matches_filter());
                cursor = change.feed_cursor().unwrap_or(cursor);
                match change.task().cloned() {
                    Some(task) => {
                        let known = states.entry(task.task_id).or_default();
                        *known = task.position.max(*known);
                    }
                    None => assert!(!std::mem::replace(&mut is_live, true), "it goes live once"),
                }
                if states.contains_key("the end") {
                    break;
                }
            }
        }
        writer.await.unwrap();
        // Whoever resumes gets the rest of its last page.
        let mut changes = server.changes(Some(&user), None, Some(cursor)).await;
        while let Some(task) = next(&mut changes).await.unwrap().task().cloned() {
            let known = states.entry(task.task_id).or_default();
            *known = task.position.max(*known);
        }
        let truth = server.store.tasks_changed(&user, 0, 1_000).await.unwrap().tasks;
        let truth: BTreeMap<_, _> = truth.into_iter().map(|task| (task.task_id, task.position)).collect();
        assert_eq!(states.into_iter().collect::<BTreeMap<_, _>>(), truth, "seed {seed}");
    }
}

#[tokio::test]
async fn a_reader_far_behind_gets_each_task_once() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut changes = server.changes(Some("u"), None, None).await;
    assert!(next(&mut changes).await.unwrap().task().is_none());
    for _ in 0..20 {
        server.save("u", &["a", "b", "c"].repeat(10)).await;
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let change = next(&mut changes).await.unwrap();
        seen.push((change.task().unwrap().position, change.feed_cursor().is_some()));
    }
    // Only the last of a page carries its end.
    assert_eq!(seen, [(598, false), (599, false), (600, true)]);
    // What a list showed is covered by its cursor: nothing comes again.
    let mut changes = server.changes(Some("u"), None, Some(server.cursor("u", 600).await)).await;
    assert!(next(&mut changes).await.unwrap().task().is_none());
    server.save("u", &["b"]).await;
    assert_eq!(next(&mut changes).await.unwrap().task().unwrap().position, 601);
}

#[tokio::test]
async fn one_task_is_told_at_once_and_waited_for() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut later = server.changes(Some("u"), Some("later"), None).await;
    let event = next(&mut later).await.unwrap();
    assert!(event.task().is_none() && !event.is_replay() && event.feed_cursor().is_some());
    server.save("u", &["a", "a"]).await;
    let mut changes = server.changes(Some("u"), Some("a"), None).await;
    let event = next(&mut changes).await.unwrap();
    assert_eq!((event.task().map(|task| task.position), event.is_replay()), (Some(2), true));
    assert!(next(&mut changes).await.unwrap().task().is_none());
    server.save("u", &["b", "later", "a", "b"]).await;
    let event = next(&mut changes).await.unwrap();
    assert_eq!((event.task().map(|task| task.position), event.is_replay()), (Some(5), false));
    assert_eq!(next(&mut later).await.unwrap().task().unwrap().position, 4);
    // From its cursor on, only what came after.
    let after = event.feed_cursor();
    drop(changes);
    insert(&mut database.session().await, "u", "a").await;
    let mut changes = server.changes(Some("u"), Some("a"), after).await;
    assert_eq!(next(&mut changes).await.unwrap().task().unwrap().position, 7);
    assert!(next(&mut changes).await.unwrap().task().is_none());
}

#[tokio::test]
async fn a_filter_tells_what_is_in_it_and_what_is_not() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let filter = TaskFilter { statuses: vec![TaskStatus::Running], ..TaskFilter::default() };
    for user in [Some("u"), None] {
        let named = user.map(str::to_owned);
        let admin = Viewer::admin();
        let changes = server.service.task_changed(&admin, named, None, Some(filter.clone()), None).await;
        let mut changes = changes.unwrap().events;
        assert!(next(&mut changes).await.unwrap().task().is_none());
        let task = user.unwrap_or("all");
        server.save("u", &[task]).await;
        assert!(next(&mut changes).await.unwrap().matches_filter());
        cancel(&server, "u", task).await;
        let change = next(&mut changes).await.unwrap();
        assert_eq!(
            (change.task().map(|task| task.status), change.matches_filter()),
            (Some(TaskStatus::Cancelled), false)
        );
        assert_eq!(change.feed_cursor().is_some(), user.is_some());
    }
}

#[tokio::test]
async fn waiting_cancellations_come_first_then_each_new_one_once() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let other = Server::start(&database.url, NO_CHECK).await;
    server.save("u", &["a", "b", "c", "d"]).await;
    server.save("v", &["a"]).await;
    for (user, task) in [("u", "b"), ("v", "a"), ("u", "a"), ("u", "c")] {
        cancel(&server, user, task).await;
    }
    acknowledge(&server, "u", "a").await;
    run(
        &mut database.session().await,
        "UPDATE task SET cancel_requested_at = now() - interval '25 hours' WHERE task_id = 'c'",
    )
    .await;
    let mut of_user = requests(&server, Some("u")).await;
    let mut of_all = requests(&server, None).await;
    let name = |request: CancellationRequest| (request.task.user_id + "/" + &request.task.task_id, request.is_replay);
    assert_eq!(name(next(&mut of_user).await.unwrap()), ("u/b".into(), true));
    assert_eq!(name(next(&mut of_all).await.unwrap()), ("u/b".into(), true));
    assert_eq!(name(next(&mut of_all).await.unwrap()), ("v/a".into(), true));

    // By this server, by another, and by an old client; what is merely saved says nothing.
    server.save("u", &["e", "f", "b"]).await;
    cancel(&server, "u", "d").await;
    for requests in [&mut of_user, &mut of_all] {
        assert_eq!(name(next(requests).await.unwrap()), ("u/d".into(), false));
    }
    cancel(&other, "u", "e").await;
    for requests in [&mut of_user, &mut of_all] {
        assert_eq!(name(next(requests).await.unwrap()), ("u/e".into(), false));
    }
    acknowledge(&server, "u", "e").await;
    run(
        &mut database.session().await,
        "UPDATE task_history SET status = 'cancelled' WHERE user_id = 'u' AND task_id = 'f'",
    )
    .await;
    for requests in [&mut of_user, &mut of_all] {
        assert_eq!(name(next(requests).await.unwrap()), ("u/f".into(), false));
    }
}

#[tokio::test]
async fn who_may_watch_whom() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let user = Viewer::user("u");
    let worker = Viewer::worker("w");
    let service = &server.service;
    let code =
        |result: Result<(), ServiceError>| result.err().map(|error| (error.code(), error.field().map(str::to_owned)));
    let forbidden = Some(("FORBIDDEN", None));
    let bad = |field: &str| Some(("BAD_USER_INPUT", Some(field.to_owned())));
    let (own, others) = (Some("u".to_owned()), Some("v".to_owned()));

    for named in [None, own.clone()] {
        assert_eq!(code(service.task_events(&user, named.clone(), None, None, false).await.map(drop)), None);
        assert_eq!(code(service.task_changed(&user, named.clone(), None, None, None).await.map(drop)), None);
        assert_eq!(code(service.cancellation_requested(&user, named, None).await.map(drop)), None);
    }
    assert_eq!(code(service.task_events(&user, others.clone(), None, None, false).await.map(drop)), forbidden);
    assert_eq!(code(service.task_changed(&user, others.clone(), None, None, None).await.map(drop)), forbidden);
    assert_eq!(code(service.cancellation_requested(&user, others.clone(), None).await.map(drop)), forbidden);

    assert_eq!(code(service.task_events(&worker, None, None, None, false).await.map(drop)), bad("userId"));
    let task = Some("a".to_owned());
    assert_eq!(code(service.task_changed(&worker, None, task.clone(), None, None).await.map(drop)), bad("userId"));
    let after = Some(FeedCursor::new("v", &Head::START).to_string());
    assert_eq!(code(service.task_changed(&worker, None, None, None, after.clone()).await.map(drop)), bad("after"));
    assert_eq!(code(service.task_changed(&worker, others.clone(), task, None, after.clone()).await.map(drop)), None);
    let empty = Some(String::new());
    assert_eq!(code(service.task_events(&worker, others.clone(), empty, None, false).await.map(drop)), bad("taskId"));
    assert_eq!(code(service.task_events(&worker, others, None, after, true).await.map(drop)), bad("fromStart"));
}

#[tokio::test]
async fn the_stop_of_the_server_ends_streams_without_an_error() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut events = server.events("u", None).await;
    let mut changes = server.changes(None, None, None).await;
    let mut waiting = requests(&server, None).await;
    assert!(next(&mut changes).await.unwrap().task().is_none());
    server.token.cancel();
    assert!(timeout(PATIENCE, events.next()).await.unwrap().is_none());
    assert!(timeout(PATIENCE, changes.next()).await.unwrap().is_none());
    assert!(timeout(PATIENCE, waiting.next()).await.unwrap().is_none());
}
