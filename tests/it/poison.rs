//! Values that would hurt: refused by the service with the field's name; and what is stored anyhow stays readable.

use entity::{CancellationOutcome, TaskStatus};
use serde_json::{Value, json};
use sqlx::Executor;
use taskwire::auth::Viewer;
use taskwire::service::error::ErrorKind;
use taskwire::service::{PageArgs, SaveInput, Service, StepResult, StoredStepResult, TaskDetails, Unreadable};

use super::api_server::ApiServer;
use super::support::{TestDatabase, record, service_of, store_of};

fn input() -> SaveInput {
    SaveInput {
        user_id: Some("ann".to_owned()),
        task_id: "t".to_owned(),
        step: 0,
        step_result: StepResult {
            step_name: "s".to_owned(),
            status: TaskStatus::Running,
            completed: None,
            progress: None,
            message: None,
            result: None,
            error_code: None,
            error_message: None,
        },
        task: None,
        record_id: None,
        timestamp: None,
    }
}

fn with_result(result: Value) -> SaveInput {
    let mut one = input();
    one.step_result.result = Some(result);
    one
}

fn nested(levels: usize, object: bool) -> Value {
    (1..levels).fold(json!([]), |inner, _| if object { json!({ "a": inner }) } else { json!([inner]) })
}

/// An input changed in one place, and the field that is at fault.
fn refused() -> Vec<(&'static str, SaveInput)> {
    let change = |change: &dyn Fn(&mut SaveInput)| {
        let mut one = input();
        change(&mut one);
        one
    };
    let details = |details: TaskDetails| SaveInput { task: Some(details), ..input() };
    let nul = || Some("a\0b".to_owned());
    vec![
        ("stepResult.result", with_result(nested(65, false))),
        ("stepResult.result", with_result(nested(65, true))),
        ("stepResult.result", with_result(json!({ "a": "b\0" }))),
        ("stepResult.result", with_result(json!({ "a\0": 1 }))),
        ("stepResult.result", with_result(json!([f64::MAX]))),
        ("stepResult.result", with_result(json!("x".repeat(262_143)))),
        // Ten bytes each as they come in, 309 as PostgreSQL spells them.
        ("stepResult.result", with_result(json!(vec![1.5e307; 900]))),
        ("stepResult.result", with_result(json!(vec![1e-307; 900]))),
        ("stepResult.result", with_result(json!("\u{1}".repeat(50_000)))),
        ("stepResult.stepName", change(&|one| one.step_result.step_name.push('\0'))),
        ("stepResult.stepName", change(&|one| one.step_result.step_name = "x".repeat(256))),
        ("stepResult.message", change(&|one| one.step_result.message = nul())),
        ("stepResult.message", change(&|one| one.step_result.message = Some("é".repeat(8193)))),
        ("stepResult.errorCode", change(&|one| one.step_result.error_code = nul())),
        ("stepResult.errorCode", change(&|one| one.step_result.error_code = Some("é".repeat(65)))),
        ("stepResult.errorMessage", change(&|one| one.step_result.error_message = nul())),
        ("stepResult.errorMessage", change(&|one| one.step_result.error_message = Some("x".repeat(16_385)))),
        ("stepResult.progress", change(&|one| one.step_result.progress = Some(1.1))),
        ("stepResult.progress", change(&|one| one.step_result.progress = Some(-0.1))),
        ("stepResult.progress", change(&|one| one.step_result.progress = Some(f64::NAN))),
        ("userId", change(&|one| one.user_id = None)),
        ("userId", change(&|one| one.user_id = nul())),
        ("userId", change(&|one| one.user_id = Some(String::new()))),
        ("userId", change(&|one| one.user_id = Some("é".repeat(256)))),
        ("taskId", change(&|one| one.task_id.push('\0'))),
        ("taskId", change(&|one| one.task_id = String::new())),
        ("taskId", change(&|one| one.task_id = "x".repeat(256))),
        ("step", change(&|one| one.step = -1)),
        ("step", change(&|one| one.step = 1_000_001)),
        ("timestamp", change(&|one| one.timestamp = Some(chrono::Utc::now() + chrono::TimeDelta::seconds(310)))),
        ("timestamp", change(&|one| one.timestamp = Some("-0001-01-01T00:00:00Z".parse().unwrap()))),
        ("task.name", details(TaskDetails { name: nul(), ..TaskDetails::default() })),
        ("task.name", details(TaskDetails { name: Some("x".repeat(256)), ..TaskDetails::default() })),
        ("task.tags[1]", details(TaskDetails { tags: Some(vec!["a".into(), "\0".into()]), ..TaskDetails::default() })),
        ("task.tags[0]", details(TaskDetails { tags: Some(vec!["x".repeat(65)]), ..TaskDetails::default() })),
        ("task.tags[0]", details(TaskDetails { tags: Some(vec![String::new()]), ..TaskDetails::default() })),
        ("task.tags", details(TaskDetails { tags: Some(vec!["x".into(); 33]), ..TaskDetails::default() })),
        ("task.totalSteps", details(TaskDetails { total_steps: Some(0), ..TaskDetails::default() })),
        ("task.totalSteps", details(TaskDetails { total_steps: Some(1_000_001), ..TaskDetails::default() })),
    ]
}

async fn history(service: &Service) -> Vec<entity::task_record::Model> {
    let page =
        service.history(&Viewer::admin(), Some("ann".to_owned()), "t".to_owned(), PageArgs::default()).await.unwrap();
    page.edges.into_iter().map(|edge| edge.node).collect()
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_by_its_field_and_nothing_is_saved() {
    let database = TestDatabase::new().await;
    let service = service_of(&database);
    let admin = Viewer::admin();
    for (field, bad) in refused() {
        let error = service.save(&admin, bad.clone()).await.map(|_| ()).unwrap_err();
        assert_eq!((error.code(), error.field()), ("BAD_USER_INPUT", Some(format!("input.{field}").as_str())));
        let batch = vec![input(), input(), input(), bad];
        let error = service.save_batch(&admin, batch, true).await.unwrap_err();
        assert_eq!(
            (error.code(), error.field()),
            ("BAD_USER_INPUT", Some(format!("input.records[3].{field}").as_str()))
        );
    }
    let error = service.save(&admin, SaveInput { step: 1_000_001, ..input() }).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::BadUserInput { limit: Some(1_000_000), value: Some(1_000_001), .. }),
        "{error:?}"
    );
    let error = service.save_batch(&admin, Vec::new(), true).await.unwrap_err();
    assert_eq!(error.field(), Some("input.records"));
    assert!(history(&service).await.is_empty());
    assert!(service.task(&admin, Some("ann".to_owned()), "t".to_owned()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_just_keeps_its_limit_comes_back_equal() {
    let database = TestDatabase::new().await;
    let service = service_of(&database);
    let values = [
        nested(64, false),
        nested(64, true),
        json!("x".repeat(262_142)),
        json!([1e308, -1e308, 5e-324, 0.1, -0.0, i64::MIN, u64::MAX]),
        json!({ "": [null, true, "\u{1}\u{7f}\u{2028}𝄞"], "b": {} }),
        json!(vec![1.5e307; 800]),
    ];
    for value in &values {
        service.save(&Viewer::admin(), with_result(value.clone())).await.unwrap();
    }
    let mut largest = input();
    largest.step = 1_000_000;
    largest.user_id = Some("ann".to_owned());
    largest.step_result.message = Some("\u{1}".repeat(16_384));
    largest.step_result.error_message = Some("\u{1}".repeat(16_384));
    largest.step_result.result = Some(json!("x".repeat(262_142)));
    largest.task = Some(TaskDetails { total_steps: Some(1_000_000), ..TaskDetails::default() });
    service.save(&Viewer::admin(), largest).await.unwrap();
    let read = history(&service).await;
    assert_eq!(read.len(), values.len() + 1);
    for (record, value) in read.iter().zip(&values) {
        let result = StoredStepResult::parse(&record.result).result.unwrap();
        let result: Value = result.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        assert_eq!(&result, value);
    }
    // Through the view, too, whose jsonb spells numbers out, and within the length that it takes itself.
    let sql = "SELECT count(result), max(octet_length((result -> 'result')::text)) FROM task_history";
    let (count, longest): (i64, i32) = sqlx::query_as(sql).fetch_one(&mut database.session().await).await.unwrap();
    assert_eq!((count, longest <= 262_144), (7, true), "{longest}");
}

#[tokio::test]
async fn nul_in_reasons_messages_and_filters_is_refused_by_its_field() {
    let database = TestDatabase::new().await;
    let service = service_of(&database);
    let admin = Viewer::admin();
    let (ann, t, nul) = (|| Some("ann".to_owned()), || "t".to_owned(), || Some("\0".to_owned()));
    let error = service.cancel(&admin, ann(), t(), nul(), false).await.unwrap_err();
    assert_eq!(error.field(), Some("input.reason"));
    let error = service.cancel(&admin, nul(), t(), None, false).await.unwrap_err();
    assert_eq!(error.field(), Some("input.userId"));
    let error = service.acknowledge(&admin, ann(), t(), CancellationOutcome::Stopped, nul()).await.unwrap_err();
    assert_eq!(error.field(), Some("input.message"));
    let error = service.task(&admin, ann(), "\0".to_owned()).await.unwrap_err();
    assert_eq!(error.field(), Some("taskId"));
    let filter = taskwire::service::TaskFilter { task_id_prefix: nul(), ..Default::default() };
    let query = taskwire::service::TaskQuery { user_id: ann(), filter, ..Default::default() };
    let error = service.tasks(&admin, &query, PageArgs::default()).await.unwrap_err();
    assert_eq!(error.field(), Some("filter.taskIdPrefix"));
}

#[tokio::test]
async fn what_is_stored_anyhow_stays_readable() {
    let database = TestDatabase::new().await;
    let (store, service) = (store_of(&database), service_of(&database));
    let batch: Vec<_> = (0..6).map(|step| record("ann", "t", step)).collect();
    store.save_batch(batch.clone()).await.unwrap();
    // A superuser can store what we never would.
    let mut session = database.session().await;
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let stored = [
        r#"{"step": "s", "message": "m", "error_code": "E", "result": 1e400, "completed": true}"#.to_owned(),
        format!(r#"{{"step": "s", "message": "m", "error_code": "E", "result": {deep}, "completed": true}}"#),
        r#"{"step": "s", "message": 1e400, "error_code": "E", "result": 17, "completed": true}"#.to_owned(),
        "[1,\n2]".to_owned(),
        "1e400".to_owned(),
        "null".to_owned(),
    ];
    for (step, result) in (0..).zip(&stored) {
        sqlx::query("UPDATE task_record SET result = $2::text::json WHERE step = $1")
            .bind(step)
            .bind(result.as_str())
            .execute(&mut session)
            .await
            .unwrap();
    }
    session.execute("ANALYZE task_record").await.unwrap();
    let records = history(&service).await;
    assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let read: Vec<StoredStepResult> = records.iter().map(|record| StoredStepResult::parse(&record.result)).collect();
    for one in &read[..2] {
        assert_eq!(one.result, Err(Unreadable));
        assert_eq!((one.step_name.as_str(), one.message.as_str(), one.completed), ("s", "m", true));
        assert_eq!(one.error_code.as_deref(), Some("E"));
    }
    // One unreadable field hides no other.
    assert_eq!((read[2].message.as_str(), read[2].result.clone()), ("", Ok(Some("17".into()))));
    assert_eq!((read[2].step_name.as_str(), read[2].error_code.as_deref()), ("s", Some("E")));
    assert_eq!(read[3].result, Ok(Some("[1, 2]".into())), "in one line");
    assert_eq!(read[4].result, Err(Unreadable));
    assert_eq!(read[5].result, Ok(None));
    // Nor is it in the way of steps, or of the next save.
    let task = service.task(&Viewer::admin(), Some("ann".to_owned()), "t".to_owned()).await.unwrap().unwrap();
    assert_eq!(service.steps(&Viewer::admin(), &task, PageArgs::default()).await.unwrap().edges.len(), 6);
    service.save(&Viewer::admin(), input()).await.unwrap();
}

/// Status, code and field: of a body that is no JSON of ours, of a document that is no GraphQL or too deep, and of a value
/// that was read and found wanting.
type Refusal = (u16, &'static str, Option<&'static str>);
const BODY: Refusal = (400, "BAD_USER_INPUT", None);
const PARSE: Refusal = (200, "GRAPHQL_PARSE_FAILED", None);
const DEPTH: Refusal = (200, "LIMIT_EXCEEDED", None);
const FIELD: Refusal = (200, "BAD_USER_INPUT", Some("input.stepResult.result"));

/// How a body with this result, written into it as it is, is answered: the status, and the only error's code and field.
async fn answer(server: &ApiServer, body: String) -> (u16, Value, Value) {
    let request = server.client.post(server.url()).header("content-type", "application/json").body(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("taken: {answer}"));
    assert_eq!(errors.len(), 1, "{answer}");
    assert!(answer["data"]["saveTaskHistory"].is_null(), "{answer}");
    (status, errors[0]["extensions"]["code"].clone(), errors[0]["extensions"]["field"].clone())
}

/// What no JSON value of ours can hold is refused before there is one: by its text, as a variable and as a literal.
#[tokio::test]
async fn poison_in_a_body_is_refused() {
    let server = ApiServer::start().await;
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let query = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { record { position } } }";
    let save = |result: &str| {
        format!(
            r#"{{ "query": "{query}", "variables": {{ "input": {{ "userId": "u", "taskId": "t", "step": 1,
            "stepResult": {{ "stepName": "s", "status": "RUNNING", "result": {result} }} }} }} }}"#
        )
    };
    let literal = |result: &str| {
        let query = format!(
            r#"mutation {{ saveTaskHistory(input: {{ userId: "u", taskId: "t", step: 1, stepResult: {{
            stepName: "s", status: RUNNING, result: {result} }} }}) {{ record {{ position }} }} }}"#
        );
        json!({ "query": query }).to_string()
    };
    for (poison, as_variable, as_literal) in [
        ("1e131071".to_owned(), BODY, PARSE),
        ("-1e400".to_owned(), BODY, PARSE),
        (format!("[{}]", vec!["1e131071"; 1000].join(",")), BODY, PARSE),
        ("1.5e308".to_owned(), FIELD, FIELD),
        (nested(10_000), BODY, DEPTH),
        (nested(65), FIELD, FIELD),
        (r#""\ud800""#.to_owned(), BODY, PARSE),
        (r#""a\udc00b""#.to_owned(), BODY, PARSE),
        (r#""a\u0000b""#.to_owned(), FIELD, FIELD),
    ] {
        let start = std::time::Instant::now();
        let told: String = poison.chars().take(40).collect();
        for (body, (status, code, field)) in [(save(&poison), as_variable), (literal(&poison), as_literal)] {
            assert_eq!(answer(&server, body).await, (status, json!(code), json!(field)), "{told}");
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{told}: {:?}", start.elapsed());
    }
    // And it lives.
    assert_eq!(server.save("u", "t", 1, "RUNNING", json!({})).await["record"]["position"], 1);
}
