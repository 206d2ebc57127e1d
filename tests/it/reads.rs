//! Lists of tasks, histories and steps, page by page, against the same lists made in Rust.

use chrono::{DateTime, Utc};
use entity::{CancellationOutcome, TaskStatus, task};
use fastrand::Rng;
use sqlx::Executor;
use taskwire::auth::Viewer;
use taskwire::service::{Page, PageArgs, Service, StoredStepResult, TaskQuery};
use taskwire::store::{
    CancelTerms, NewAcknowledgement, NewCancellation, NewRecord, Store, TaskDetails, TaskFilter, TaskOrder,
};
use uuid::Uuid;

use super::support::{TestDatabase, record, record_of, service_of, store_of};

const ORDERS: [TaskOrder; 4] =
    [TaskOrder::UpdatedDesc, TaskOrder::UpdatedAsc, TaskOrder::CreatedDesc, TaskOrder::CreatedAsc];
const USERS: [&str; 3] = ["ann", "bob", "Zoe"];
const NAMES: [&str; 3] = ["import", "export", "100%_done"];
const TAGS: [&str; 3] = ["red", "green", "blue"];
const CODES: [&str; 2] = ["E1", "E2"];

fn pick<T: Clone>(random: &mut Rng, from: &[T]) -> T {
    random.choice(from).unwrap().clone()
}

/// Some of these, often none.
fn some(random: &mut Rng, from: &[&str]) -> Vec<String> {
    from.iter().filter(|_| random.u8(..4) == 0).map(|&text| text.to_owned()).collect()
}

/// Tasks of three users in many states; those of one append have the same moments.
async fn many_tasks(store: &Store, random: &mut Rng) -> Vec<task::Model> {
    let keys: Vec<(String, String)> = (0..120)
        .map(|number| (pick(random, &USERS).to_owned(), format!("{}-{}", pick(random, &["t", "T", "t%", "é"]), number)))
        .collect();
    for _ in 0..60 {
        let batch: Vec<NewRecord> = (0..random.usize(1..12))
            .map(|_| {
                let (user_id, task_id) = pick(random, &keys);
                let mut one = record_of(&user_id, &task_id, random.i32(0..4), pick(random, &TaskStatus::ALL));
                one.error_code = some(random, &CODES).first().cloned().unwrap_or_default();
                one.details = Some(TaskDetails {
                    name: Some(pick(random, &NAMES).to_owned()).filter(|_| random.bool()),
                    tags: Some(some(random, &TAGS)).filter(|_| random.bool()),
                    total_steps: Some(random.i32(1..4)).filter(|_| random.u8(..4) == 0),
                    restart: random.u8(..10) == 0,
                    report_within_seconds: None,
                    report_within_default: None,
                });
                one
            })
            .collect();
        store.save_batch(batch).await.unwrap();
        let (user_id, task_id) = pick(random, &keys);
        if random.bool() {
            let item =
                NewCancellation { user_id: user_id.clone(), task_id: task_id.clone(), record_id: Uuid::now_v7() };
            let terms =
                CancelTerms { reason: None, requested_by: None, force: false, settle: std::time::Duration::ZERO };
            store.cancel(&[item], &terms).await.unwrap();
        }
        if random.u8(..4) == 0 {
            let answer = NewAcknowledgement {
                user_id,
                task_id,
                record_id: Uuid::now_v7(),
                outcome: CancellationOutcome::CannotStop,
                message: None,
                reported_by: None,
            };
            store.acknowledge(&answer).await.unwrap();
        }
    }
    store.tasks_by_key(keys).await.unwrap()
}

fn any_filter(random: &mut Rng, tasks: &[task::Model]) -> TaskFilter {
    let one = pick(random, tasks);
    let rarely = |random: &mut Rng| random.u8(..6) == 0;
    let moment = |random: &mut Rng| {
        let other = pick(random, tasks);
        pick(random, &[Some(other.created_at), Some(other.updated_at), other.finished_at])
            .filter(|_| random.u8(..8) == 0)
    };
    TaskFilter {
        statuses: TaskStatus::ALL.into_iter().filter(|_| rarely(random)).collect(),
        is_finished: Some(random.bool()).filter(|_| rarely(random)),
        names: if rarely(random) { some(random, &NAMES) } else { Vec::new() },
        task_ids: if rarely(random) { vec![one.task_id.clone(), "nothing".to_owned()] } else { Vec::new() },
        task_id_prefix: Some(pick(random, &["t", "T-1", "t%", "é", ""]).to_owned()).filter(|_| rarely(random)),
        tags: if rarely(random) { some(random, &TAGS) } else { Vec::new() },
        error_codes: if rarely(random) { some(random, &CODES) } else { Vec::new() },
        created_from: moment(random),
        created_before: moment(random),
        updated_from: moment(random),
        updated_before: moment(random),
        finished_from: moment(random),
        finished_before: moment(random),
        cancellation_pending: Some(random.bool()).filter(|_| rarely(random)),
    }
}

/// The whole list, as the contract describes it.
fn expected(tasks: &[task::Model], query: &TaskQuery) -> Vec<task::Model> {
    let mut list: Vec<task::Model> = tasks
        .iter()
        .filter(|task| query.user_id.as_ref().is_none_or(|user_id| task.user_id == *user_id))
        .filter(|task| query.filter.matches(task))
        .cloned()
        .collect();
    list.sort_by_key(|task| {
        let is_by_update = matches!(query.order, TaskOrder::UpdatedDesc | TaskOrder::UpdatedAsc);
        let at = if is_by_update { task.updated_at } else { task.created_at };
        // Of one user: the order of the feed.
        let position = if is_by_update && query.user_id.is_some() { task.position } else { 0 };
        (at, position, task.user_id.clone(), task.task_id.clone())
    });
    if matches!(query.order, TaskOrder::UpdatedDesc | TaskOrder::CreatedDesc) {
        list.reverse();
    }
    list
}

/// Walks through a list, and says what it saw, in the list's order.
async fn walk(service: &Service, query: &TaskQuery, size: i32, backward: bool) -> Vec<task::Model> {
    let mut seen: Vec<task::Model> = Vec::new();
    let mut cursor = None;
    for _ in 0..1000 {
        let args = if backward {
            PageArgs { last: Some(size), before: cursor.clone(), ..PageArgs::default() }
        } else {
            PageArgs { first: Some(size), after: cursor.clone(), ..PageArgs::default() }
        };
        let page = service.tasks(&Viewer::admin(), query, args).await.unwrap();
        assert!(page.edges.len() <= usize::try_from(size).unwrap());
        let is_first = cursor.is_none();
        assert_eq!(if backward { page.has_next } else { page.has_previous }, !is_first);
        let nodes = page.edges.into_iter().map(|edge| edge.node);
        if backward {
            seen.splice(0..0, nodes);
        } else {
            seen.extend(nodes);
        }
        let (goes_on, next) =
            if backward { (page.has_previous, page.start_cursor) } else { (page.has_next, page.end_cursor) };
        if !goes_on {
            return seen;
        }
        assert!(next.is_some() && next != cursor, "no way on");
        cursor = next;
    }
    panic!("the list has no end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_is_what_its_filter_and_order_say() {
    let database = TestDatabase::new().await;
    let (store, service) = (store_of(&database), service_of(&database));
    let mut random = Rng::with_seed(7);
    let tasks = many_tasks(&store, &mut random).await;
    let mut was_selective = 0;
    for round in 0..250 {
        let query = TaskQuery {
            user_id: Some(pick(&mut random, &USERS).to_owned()).filter(|_| round % 2 == 0),
            filter: if round < 8 { TaskFilter::default() } else { any_filter(&mut random, &tasks) },
            order: ORDERS[round / 2 % 4],
        };
        let list = expected(&tasks, &query);
        was_selective += usize::from(!list.is_empty() && list.len() < tasks.len() / 4);
        let size = random.i32(1..9);
        assert_eq!(walk(&service, &query, size, false).await, list, "forward {query:?}");
        assert_eq!(walk(&service, &query, size, true).await, list, "backward {query:?}");
        let count = service.count_tasks(&Viewer::admin(), &query, 1000).await.unwrap();
        assert_eq!((count.value, count.is_exact), (i64::try_from(list.len()).unwrap(), true), "{query:?}");
        let few = service.count_tasks(&Viewer::admin(), &query, 3).await.unwrap();
        assert_eq!(
            (few.value, few.is_exact),
            (i64::try_from(list.len().min(3)).unwrap(), list.len() <= 3),
            "{query:?}"
        );
        // A window between two cursors, from either end.
        if list.len() > 4 {
            let all = service
                .tasks(&Viewer::admin(), &query, PageArgs { first: Some(500), ..PageArgs::default() })
                .await
                .unwrap();
            let (from, to) = (random.usize(0..2), list.len() - 1 - random.usize(0..2));
            let window = |first, last| PageArgs {
                first,
                last,
                after: Some(all.edges[from].cursor()),
                before: Some(all.edges[to].cursor()),
            };
            let inside = &list[from + 1..to];
            let forward = service.tasks(&Viewer::admin(), &query, window(Some(2), None)).await.unwrap();
            assert_eq!(nodes(&forward), inside[..inside.len().min(2)]);
            let backward = service.tasks(&Viewer::admin(), &query, window(None, Some(2))).await.unwrap();
            assert_eq!(nodes(&backward), inside[inside.len().saturating_sub(2)..]);
        }
    }
    assert!(was_selective > 50, "the filters let through all or nothing: {was_selective}");
}

fn nodes<T: Clone>(page: &Page<T>) -> Vec<T> {
    page.edges.iter().map(|edge| edge.node.clone()).collect()
}

/// 20,100 tasks of one user, the first the latest; those at some ranks are failed, or have a name.
pub(super) async fn very_many_tasks(database: &TestDatabase) {
    let mut session = database.session().await;
    let sql = "INSERT INTO task (user_id, task_id, position, record_id, status, step, highest_step, step_status, moved_position, moved_at,
            steps_from_position, steps_from_at, created_at, updated_at, name)
        SELECT 'ann', 't' || r, 20101 - r, gen_random_uuid(), s, 0, 0, s, 20101 - r, at, 20101 - r, at, at, at,
            CASE WHEN r IN (7, 20050) THEN 'rare' WHEN r % 2 = 0 THEN 'even' END
        FROM generate_series(1, 20100) r, LATERAL (SELECT now() - r * interval '1 second' AS at,
            CASE WHEN r IN (5, 7, 20020, 20050) THEN 'failed' WHEN r % 2 = 0 THEN 'running' ELSE 'pending' END AS s) x";
    session.execute(sql).await.unwrap();
    session
        .execute("INSERT INTO feed_head (user_id, position, recorded_at) VALUES ('ann', 20100, now())")
        .await
        .unwrap();
    let order =
        "INSERT INTO task_order SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id() FROM task";
    session.execute(order).await.unwrap();
    session.execute("ANALYZE task, task_order").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_looks_at_20_000_tasks_and_goes_on_from_its_end_cursor() {
    let database = TestDatabase::new().await;
    very_many_tasks(&database).await;
    let service = service_of(&database);
    let admin = Viewer::admin();
    let failed = vec![TaskStatus::Failed];
    let rare = vec!["rare".to_owned()];
    let filters = [
        (TaskFilter { names: rare.clone(), ..TaskFilter::default() }, vec!["t7", "t20050"], false),
        (TaskFilter { statuses: failed.clone(), ..TaskFilter::default() }, vec!["t5", "t7", "t20020", "t20050"], true),
        (
            TaskFilter { statuses: failed.clone(), names: rare.clone(), ..TaskFilter::default() },
            vec!["t7", "t20050"],
            true,
        ),
        (
            TaskFilter {
                statuses: vec![TaskStatus::Failed, TaskStatus::Running, TaskStatus::Pending],
                names: rare,
                ..TaskFilter::default()
            },
            vec!["t7", "t20050"],
            false,
        ),
        (TaskFilter { statuses: vec![TaskStatus::TimedOut], ..TaskFilter::default() }, vec![], true),
        (TaskFilter { statuses: failed, is_finished: Some(false), ..TaskFilter::default() }, vec![], true),
    ];
    for (filter, ids, is_found_by_index) in filters {
        for order in ORDERS {
            for user_id in [Some("ann".to_owned()), None] {
                let is_by_update = matches!(order, TaskOrder::UpdatedDesc | TaskOrder::UpdatedAsc);
                let is_descending = matches!(order, TaskOrder::UpdatedDesc | TaskOrder::CreatedDesc);
                let query = TaskQuery { user_id: user_id.clone(), filter: filter.clone(), order };
                let mut ids = ids.clone();
                if !is_descending {
                    ids.reverse();
                }
                for backward in [false, true] {
                    let seen: Vec<String> =
                        walk(&service, &query, 3, backward).await.into_iter().map(|task| task.task_id).collect();
                    assert_eq!(seen, ids, "{query:?} backward: {backward}");
                }
                let page =
                    service.tasks(&admin, &query, PageArgs { first: Some(10), ..PageArgs::default() }).await.unwrap();
                let is_complete = is_found_by_index && is_by_update && user_id.is_some();
                if !filter.statuses.is_empty() && filter.is_finished.is_some() {
                    continue;
                }
                assert_eq!(page.has_next, !is_complete, "{query:?}");
                if !is_complete {
                    assert!(page.edges.len() < ids.len() || ids.is_empty());
                    assert!(page.end_cursor.is_some());
                }
                if order == TaskOrder::UpdatedDesc {
                    let count = service.count_tasks(&admin, &query, 10_000).await.unwrap();
                    assert_eq!(count.is_exact, is_complete, "{query:?}");
                }
            }
        }
    }
    let all = TaskQuery { user_id: Some("ann".to_owned()), ..TaskQuery::default() };
    let count = service.count_tasks(&admin, &all, 10_000).await.unwrap();
    assert_eq!((count.value, count.is_exact), (10_000, false));
    let nothing = service.tasks(&admin, &all, PageArgs { first: Some(0), ..PageArgs::default() }).await.unwrap();
    assert!(nothing.edges.is_empty() && nothing.has_next);
}

#[tokio::test]
async fn pages_carry_the_first_feed_cursor_and_a_cursor_belongs_to_its_list() {
    let database = TestDatabase::new().await;
    let (store, service) = (store_of(&database), service_of(&database));
    let admin = Viewer::admin();
    let batch: Vec<NewRecord> = (0..6).map(|number| record("ann", &format!("t{number}"), 0)).collect();
    store.save_batch(batch).await.unwrap();
    let ann = TaskQuery { user_id: Some("ann".to_owned()), ..TaskQuery::default() };
    let two = |after: Option<String>| PageArgs { first: Some(2), after, ..PageArgs::default() };
    let first = service.tasks(&admin, &ann, two(None)).await.unwrap();
    store.save_batch([record("ann", "t0", 1)]).await.unwrap();
    let second = service.tasks(&admin, &ann, two(first.end_cursor.clone())).await.unwrap();
    let third = service
        .tasks(&admin, &ann, PageArgs { last: Some(2), before: second.start_cursor.clone(), ..PageArgs::default() })
        .await
        .unwrap();
    assert!(first.feed_cursor.is_some());
    assert_eq!(first.feed_cursor, second.feed_cursor);
    assert_eq!(first.feed_cursor, third.feed_cursor);
    let anew = service.tasks(&admin, &ann, two(None)).await.unwrap();
    assert_ne!(first.feed_cursor, anew.feed_cursor);
    assert!(service.tasks(&admin, &TaskQuery::default(), two(None)).await.unwrap().feed_cursor.is_none());
    // A user without records has one, too.
    let nobody = TaskQuery { user_id: Some("nobody".to_owned()), ..TaskQuery::default() };
    assert!(service.tasks(&admin, &nobody, two(None)).await.unwrap().feed_cursor.is_some());

    let cursor = first.end_cursor.clone();
    let others = [
        TaskQuery { order: TaskOrder::UpdatedAsc, ..ann.clone() },
        TaskQuery { filter: TaskFilter { is_finished: Some(false), ..TaskFilter::default() }, ..ann.clone() },
        TaskQuery { user_id: Some("bob".to_owned()), ..ann.clone() },
        TaskQuery { user_id: None, ..ann.clone() },
    ];
    for other in others {
        let error = service.tasks(&admin, &other, two(cursor.clone())).await.unwrap_err();
        assert_eq!((error.code(), error.field()), ("BAD_USER_INPUT", Some("after")));
    }
    for garbage in ["", "garbage", "AAAA", &"x".repeat(3000)] {
        let error = service.tasks(&admin, &ann, two(Some(garbage.to_owned()))).await.unwrap_err();
        assert_eq!((error.code(), error.field()), ("BAD_USER_INPUT", Some("after")), "{garbage:.20}");
    }
    let error = service.history(&admin, Some("ann".to_owned()), "t0".to_owned(), two(cursor)).await.unwrap_err();
    assert_eq!(error.field(), Some("after"));
    let history = service.history(&admin, Some("ann".to_owned()), "t0".to_owned(), two(None)).await.unwrap();
    let error =
        service.history(&admin, Some("ann".to_owned()), "t1".to_owned(), two(history.end_cursor)).await.unwrap_err();
    assert_eq!(error.field(), Some("after"));
    for (first, last, field) in
        [(Some(-1), None, "first"), (Some(501), None, "first"), (None, Some(501), "last"), (Some(1), Some(1), "last")]
    {
        let error = service.tasks(&admin, &ann, PageArgs { first, last, ..PageArgs::default() }).await.unwrap_err();
        assert_eq!((error.code(), error.field()), ("BAD_USER_INPUT", Some(field)));
    }
}

/// A step, as the contract describes it, from its records.
#[derive(Debug, PartialEq)]
struct Summary {
    step: i32,
    name: String,
    status: TaskStatus,
    reported_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    record_count: i64,
    latest: i64,
}

#[tokio::test]
async fn histories_and_steps_are_what_the_records_say() {
    let database = TestDatabase::new().await;
    let (store, service) = (store_of(&database), service_of(&database));
    let admin = Viewer::admin();
    let mut random = Rng::with_seed(11);
    let mut saved = Vec::new();
    for round in 0..40 {
        for task_id in ["t", "other"] {
            let mut one = record_of("ann", task_id, random.i32(0..7), pick(&mut random, &TaskStatus::ALL[..4]));
            let name = pick(&mut random, &["", "load", "store"]);
            one.result = serde_json::json!({ "step": name, "message": "", "status": one.status.as_str() }).to_string();
            one.step_name = name.to_owned();
            one.details = Some(TaskDetails { restart: round == 8, ..TaskDetails::default() });
            saved.extend(store.save_batch([one]).await.unwrap().into_iter().map(|saved| saved.record));
        }
    }
    let item = NewCancellation { user_id: "ann".to_owned(), task_id: "t".to_owned(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: true, settle: std::time::Duration::ZERO };
    store.cancel(&[item], &terms).await.unwrap();
    let records: Vec<_> = saved.into_iter().filter(|record| record.task_id == "t").collect();

    for size in [1, 3, 50] {
        for backward in [false, true] {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let args = if backward {
                    PageArgs { last: Some(size), before: cursor, ..PageArgs::default() }
                } else {
                    PageArgs { first: Some(size), after: cursor, ..PageArgs::default() }
                };
                let page = service.history(&admin, Some("ann".to_owned()), "t".to_owned(), args).await.unwrap();
                let part = page.edges.into_iter().map(|edge| edge.node.position);
                if backward {
                    seen.splice(0..0, part);
                } else {
                    seen.extend(part);
                }
                cursor = if backward { page.start_cursor } else { page.end_cursor };
                if !(if backward { page.has_previous } else { page.has_next }) {
                    break;
                }
            }
            let expected: Vec<i64> = records.iter().map(|record| record.position).chain([81]).collect();
            assert_eq!(seen, expected, "{size} {backward}");
        }
    }

    // Steps count from the restart on; a cancellation is none.
    let since: Vec<_> = records.iter().skip(8).collect();
    let mut summaries = Vec::new();
    for step in 0..7 {
        let own: Vec<_> = since.iter().filter(|record| record.step == step).collect();
        let Some(latest) = own.last() else { continue };
        let names = own.iter().rev().map(|record| StoredStepResult::parse(&record.result).step_name);
        summaries.push(Summary {
            step,
            name: names.clone().find(|name| !name.is_empty()).unwrap_or_default(),
            status: latest.status,
            reported_at: own[0].recorded_at,
            started_at: own.iter().find(|record| record.status == TaskStatus::Running).map(|record| record.recorded_at),
            finished_at: Some(latest.recorded_at).filter(|_| latest.status.is_finished()),
            record_count: i64::try_from(own.len()).unwrap(),
            latest: latest.position,
        });
    }
    let task = service.task(&admin, Some("ann".to_owned()), "t".to_owned()).await.unwrap().unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = service
            .steps(&admin, &task, PageArgs { first: Some(2), after: cursor, ..PageArgs::default() })
            .await
            .unwrap();
        seen.extend(page.edges.into_iter().map(|edge| Summary {
            step: edge.node.step,
            name: edge.node.name,
            status: edge.node.status,
            reported_at: edge.node.reported_at,
            started_at: edge.node.started_at,
            finished_at: edge.node.finished_at,
            record_count: edge.node.record_count,
            latest: edge.node.record.position,
        }));
        cursor = page.end_cursor;
        if !page.has_next {
            break;
        }
    }
    assert_eq!(seen, summaries);
    let page = service.steps(&admin, &task, PageArgs { last: Some(2), ..PageArgs::default() }).await.unwrap();
    assert_eq!(nodes(&page).iter().map(|step| step.step).collect::<Vec<_>>(), [5, 6]);
    assert!(page.has_previous && !page.has_next);
    let one = service.step(&admin, "ann".to_owned(), "t".to_owned(), 3).await.unwrap().unwrap();
    assert_eq!(one.step, 3);
    assert!(service.step(&admin, "ann".to_owned(), "t".to_owned(), 9).await.unwrap().is_none());
}
