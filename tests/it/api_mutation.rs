//! Every mutation: its answer as it comes, and its bad inputs one by one.

use serde_json::{Value, json};

use super::api_server::{ApiServer, SAVE, report};

const ID: &str = "019aa000-0000-7000-8000-000000000001";

fn text(characters: usize) -> String {
    "\u{1F980}".repeat(characters)
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// The error that a save answers to this report.
async fn refused(server: &ApiServer, more: Value) -> Value {
    let error = server.error(SAVE, json!({ "input": report("u", "t", 1, "RUNNING", more) })).await;
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
    error["extensions"].clone()
}

#[tokio::test]
async fn a_save_is_answered_in_the_order_asked() {
    let server = ApiServer::start().await;
    let query = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { isDuplicate \
        record { position kind userId taskId step stepName status completed progress message result errorCode \
        errorMessage reportedBy isLate recordId timestamp } \
        task { userId taskId name tags status isFinished position step totalSteps progress message result errorCode \
        errorMessage finishedAt cancellation { reason } } cancellationRequested } }";
    let more = json!({
        "recordId": ID, "timestamp": "2020-02-29T12:00:00.5+02:00",
        "stepResult": { "stepName": "load", "progress": 0.5, "message": "half", "result": { "n": [1, 2.5, null] } },
        "task": { "name": "Import", "tags": ["b", "a"], "totalSteps": 4 },
    });
    let input = report("u", "t", 1, "RUNNING", more);
    let record = |result: &str| {
        format!(
            r#""record":{{"position":1,"kind":"STEP","userId":"u","taskId":"t","step":1,"stepName":"load","status":"RUNNING","completed":false,"progress":0.5,"message":"half","result":{result},"errorCode":null,"errorMessage":null,"reportedBy":null,"isLate":false,"recordId":"019aa000-0000-7000-8000-000000000001","timestamp":"2020-02-29T10:00:00.500000Z"}}"#
        )
    };
    let task = |result: &str| {
        format!(
            r#""task":{{"userId":"u","taskId":"t","name":"Import","tags":["b","a"],"status":"RUNNING","isFinished":false,"position":1,"step":1,"totalSteps":4,"progress":0.125,"message":"half","result":{result},"errorCode":null,"errorMessage":null,"finishedAt":null,"cancellation":null}}"#
        )
    };
    let answer = |duplicate: bool, record: &str, task: &str| {
        format!(
            r#"{{"data":{{"saveTaskHistory":{{"isDuplicate":{duplicate},{record},{task},"cancellationRequested":false}}}}}}"#
        )
    };
    // What was read is spelt as what was sent.
    let (record, task) = (record(r#"{"n":[1,2.5,null]}"#), task(r#"{"n":[1,2.5,null]}"#));
    let first = server.raw(query, json!({ "input": input.clone() })).await;
    assert_eq!(first, answer(false, &record, &task));
    assert_eq!(server.raw(query, json!({ "input": input })).await, answer(true, &record, &task));
}

/// However it comes, of few values or of many, and every double with all its digits.
#[tokio::test]
async fn a_result_comes_back_as_it_was_sent() {
    const RECORD: &str = "{ record { result } }";
    const BATCH: &str = "mutation($records: [SaveTaskHistoryInput!]!) { saveTaskHistoryBatch(input: { records: $records }) \
        { records { result } } }";
    let server = ApiServer::start().await;
    let input = |result: &str| {
        format!(
            "{{ userId: \"u\", taskId: \"t\", step: 1, stepResult: {{ stepName: \"\", status: RUNNING, result: {result} }} }}"
        )
    };
    for parts in [1, 5, 100] {
        let list = vec![r#"31.245270191439438,{"a":null}"#; parts].join(",");
        let sent = format!(r#"{{"list":[{list}],"text":"ü\""}}"#);
        let value: Value = serde_json::from_str(&sent).unwrap();
        let report = report("u", "t", 1, "RUNNING", json!({ "stepResult": { "result": &value } }));
        let by_itself = format!("mutation($it: JSON) {{ saveTaskHistory(input: {}) {RECORD} }}", input("$it"));
        let by_parts = by_itself.replace("$it: JSON", "$list: JSON, $text: JSON");
        let by_parts = by_parts.replace("$it", "{ list: $list, text: $text }");
        let literal = sent.replace("\"list\"", "list").replace("\"text\"", "text").replace("\"a\"", "a");
        let in_the_document = format!("mutation {{ saveTaskHistory(input: {}) {RECORD} }}", input(&literal));
        let within = format!("mutation($input: SaveTaskHistoryInput!) {{ saveTaskHistory(input: $input) {RECORD} }}");
        for (way, query, variables, times) in [
            ("in the input", within.as_str(), json!({ "input": &report }), 1),
            ("in a batch", BATCH, json!({ "records": [&report, &report] }), 2),
            ("in variables", by_parts.as_str(), value.clone(), 1),
            ("in a variable", by_itself.as_str(), json!({ "it": &value }), 1),
            ("in the document", in_the_document.as_str(), json!({}), 1),
        ] {
            // The second time the document is known.
            for _ in 0..2 {
                let answer = server.raw(query, variables.clone()).await;
                assert_eq!(answer.matches(&format!("\"result\":{sent}")).count(), times, "{way}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_task_shows_result_and_error_of_the_record_that_last_moved_it() {
    let server = ApiServer::start().await;
    let failure = json!({ "stepResult": { "errorCode": "E7", "errorMessage": "no disk", "result": [7] } });
    server.save("u", "t", 1, "FAILED", failure).await;
    for number in 0..60 {
        server.save("u", &format!("n{number}"), 1, "COMPLETED", json!({ "stepResult": { "result": number } })).await;
    }
    let query = r#"{ tasks(userId: "u", orderBy: CREATED_ASC, first: 100) {
        nodes { taskId result errorCode errorMessage } } }"#;
    let nodes = server.data(query, json!({})).await["tasks"]["nodes"].clone();
    let failed = json!({ "taskId": "t", "result": [7], "errorCode": "E7", "errorMessage": "no disk" });
    assert_eq!(nodes[0], failed);
    for number in 0..60 {
        assert_eq!(nodes[number + 1]["result"], json!(number));
        assert_eq!(nodes[number + 1]["errorMessage"], Value::Null);
    }
}

#[tokio::test]
async fn null_is_the_same_as_leaving_out_and_the_empty_value_clears() {
    let server = ApiServer::start().await;
    let details = json!({ "task": { "name": "Import", "tags": ["a"], "totalSteps": 3 } });
    server.save("u", "t", 1, "RUNNING", details).await;
    let nulls = json!({
        "recordId": null, "timestamp": null, "task": { "name": null, "tags": null, "totalSteps": null },
        "stepResult": { "completed": null, "progress": null, "message": null, "result": null, "errorCode": null },
    });
    server.save("u", "t", 1, "RUNNING", nulls).await;
    let read = r#"{ task(userId: "u", taskId: "t") { name tags totalSteps } }"#;
    let kept = json!({ "name": "Import", "tags": ["a"], "totalSteps": 3 });
    assert_eq!(server.data(read, json!({})).await["task"], kept);
    server.save("u", "t", 1, "RUNNING", json!({ "task": { "name": "", "tags": [] } })).await;
    let task = server.data(read, json!({})).await["task"].clone();
    assert_eq!((&task["tags"], &task["totalSteps"]), (&json!([]), &json!(3)));
    assert!(task["name"] == Value::Null || task["name"] == "", "{task}");
    let error =
        server.error(SAVE, json!({ "input": report("u", "t", 1, "RUNNING", json!({ "task": { "restart": null } })) }));
    let error = error.await["extensions"].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!("BAD_USER_INPUT"), &json!("input.task.restart")));
}

#[tokio::test]
async fn each_limit_of_a_save_holds_just_there() {
    let server = ApiServer::start().await;
    let largest = [
        json!({ "userId": text(255), "taskId": text(255) }),
        json!({ "step": 0 }),
        json!({ "step": 1_000_000 }),
        json!({ "stepResult": { "stepName": text(255), "message": "m".repeat(16_384) } }),
        json!({ "stepResult": { "errorCode": text(64), "errorMessage": "m".repeat(16_384), "progress": 1 } }),
        json!({ "stepResult": { "result": "r".repeat(262_142), "progress": 0.0 } }),
        json!({ "stepResult": { "result": nested(64) } }),
        json!({ "stepResult": { "result": [9_007_199_254_740_993_i64, -9_223_372_036_854_775_808_i64, 1e308] } }),
        json!({ "task": { "name": text(255), "totalSteps": 1_000_000, "tags": vec![text(64); 32] } }),
    ];
    for more in largest {
        let input = report("u", "t", 1, "RUNNING", more);
        let answer = server.ask(SAVE, json!({ "input": input })).await;
        assert!(answer.get("errors").is_none(), "{answer}");
    }
    for (more, field, limit, value) in [
        (json!({ "userId": text(256) }), "input.userId", 255, 256),
        (json!({ "taskId": text(256) }), "input.taskId", 255, 256),
        (json!({ "step": -1 }), "input.step", 0, -1),
        (json!({ "step": 1_000_001 }), "input.step", 1_000_000, 1_000_001),
        (json!({ "stepResult": { "stepName": text(256) } }), "input.stepResult.stepName", 255, 256),
        (json!({ "stepResult": { "message": "m".repeat(16_385) } }), "input.stepResult.message", 16_384, 16_385),
        (json!({ "stepResult": { "errorCode": text(65) } }), "input.stepResult.errorCode", 64, 65),
        (
            json!({ "stepResult": { "errorMessage": "m".repeat(16_385) } }),
            "input.stepResult.errorMessage",
            16_384,
            16_385,
        ),
        (json!({ "stepResult": { "result": "r".repeat(262_143) } }), "input.stepResult.result", 262_144, 262_145),
        (json!({ "stepResult": { "result": nested(65) } }), "input.stepResult.result", 64, 65),
        (json!({ "task": { "name": text(256) } }), "input.task.name", 255, 256),
        (json!({ "task": { "totalSteps": 0 } }), "input.task.totalSteps", 1, 0),
        (json!({ "task": { "totalSteps": 1_000_001 } }), "input.task.totalSteps", 1_000_000, 1_000_001),
        (json!({ "task": { "tags": vec!["t"; 33] } }), "input.task.tags", 32, 33),
        (json!({ "task": { "tags": ["t", text(65)] } }), "input.task.tags[1]", 64, 65),
    ] {
        let extensions = refused(&server, more).await;
        assert_eq!(extensions["field"], field);
        assert_eq!((&extensions["limit"], &extensions["value"]), (&json!(limit), &json!(value)), "{field}");
    }
}

#[tokio::test]
async fn what_a_save_cannot_take_is_named() {
    let server = ApiServer::start().await;
    let ahead = chrono::Utc::now() + chrono::TimeDelta::minutes(6);
    for (more, field) in [
        (json!({ "userId": null }), "input.userId"),
        (json!({ "userId": "" }), "input.userId"),
        (json!({ "taskId": "" }), "input.taskId"),
        (json!({ "taskId": "a\u{0}b" }), "input.taskId"),
        (json!({ "timestamp": ahead.to_rfc3339() }), "input.timestamp"),
        (json!({ "timestamp": "yesterday" }), "input.timestamp"),
        (json!({ "recordId": "7" }), "input.recordId"),
        (json!({ "stepResult": { "progress": 1.1 } }), "input.stepResult.progress"),
        (json!({ "stepResult": { "progress": -0.1 } }), "input.stepResult.progress"),
        (json!({ "stepResult": { "status": "DONE" } }), "input.stepResult.status"),
        (json!({ "stepResult": { "status": null } }), "input.stepResult.status"),
        (json!({ "stepResult": { "message": "\u{0}" } }), "input.stepResult.message"),
        (json!({ "stepResult": { "result": { "\u{0}": 1 } } }), "input.stepResult.result"),
        (json!({ "stepResult": { "result": 1.5e308 } }), "input.stepResult.result"),
        (json!({ "step": "one" }), "input.step"),
        (json!({ "task": { "tags": [""] } }), "input.task.tags[0]"),
        (json!({ "task": { "tags": ["a", null] } }), "input.task.tags[1]"),
    ] {
        assert_eq!(refused(&server, more).await["field"], field);
    }
    let extensions = refused(&server, json!({ "step": 3_000_000_000_u32 })).await;
    assert_eq!(extensions["code"], "BAD_USER_INPUT");
    let answer = server.ask(SAVE, json!({ "input": report("u", "t", 1, "RUNNING", json!({ "more": 1 })) })).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    let history = r#"{ taskHistory(userId: "u", taskId: "t") { nodes { step } } }"#;
    assert_eq!(server.data(history, json!({})).await["taskHistory"]["nodes"], json!([]));
}

#[tokio::test]
async fn a_record_id_stands_for_one_step_of_one_task() {
    let server = ApiServer::start().await;
    let with_id = json!({ "recordId": ID });
    assert_eq!(server.save("u", "t", 1, "RUNNING", with_id.clone()).await["isDuplicate"], false);
    let again = server.save("u", "t", 1, "COMPLETED", with_id.clone()).await;
    assert_eq!((&again["isDuplicate"], &again["task"]["status"]), (&json!(true), &json!("RUNNING")));
    assert_eq!(server.save("v", "t", 1, "RUNNING", with_id.clone()).await["isDuplicate"], false);
    for (task, step) in [("other", 1), ("t", 2)] {
        let input = report("u", task, step, "RUNNING", with_id.clone());
        let error = server.error(SAVE, json!({ "input": input })).await;
        assert_eq!(error["extensions"], json!({ "code": "BAD_USER_INPUT", "field": "input.recordId" }));
    }
}

/// Records are read where somebody asked for them, however that is written.
#[tokio::test]
async fn a_batch_gives_its_records_to_who_selects_them() {
    const FRAGMENTS: &str = "fragment P on SaveTaskHistoryBatchPayload { savedCount ...R } \
                             fragment R on SaveTaskHistoryBatchPayload { records { step } }";
    let server = ApiServer::start().await;
    let mut step = 0;
    for (selection, records) in [
        ("savedCount", None),
        ("savedCount duplicateCount cancelledTasks { taskId }", None),
        ("records { step } savedCount", Some("records")),
        ("all: records { step } savedCount", Some("all")),
        ("savedCount ... on SaveTaskHistoryBatchPayload { records { step } }", Some("records")),
        ("savedCount ... { ... @include(if: $yes) { records { step } } }", Some("records")),
        ("savedCount records @include(if: $yes) { step }", Some("records")),
        ("savedCount records @skip(if: $yes) { step }", None),
        ("...P", Some("records")),
    ] {
        step += 2;
        let reports = [step, step + 1].map(|step| report("u", "t", step, "RUNNING", json!({})));
        let fragments = if selection == "...P" { FRAGMENTS } else { "" };
        let variable = if selection.contains("$yes") { ", $yes: Boolean = true" } else { "" };
        let batch = format!(
            "mutation($records: [SaveTaskHistoryInput!]!{variable}) {{ saveTaskHistoryBatch(input: {{ records: $records }}) \
             {{ {selection} }} }} {fragments}"
        );
        let data = server.data(&batch, json!({ "records": reports })).await;
        let payload = &data["saveTaskHistoryBatch"];
        assert_eq!(payload["savedCount"], 2, "{selection}");
        let wanted = json!([{ "step": step }, { "step": step + 1 }]);
        match records {
            Some(name) => assert_eq!(payload[name], wanted, "{selection}"),
            None => assert!(payload.get("records").is_none(), "{selection}"),
        }
    }
}

#[tokio::test]
async fn a_batch_is_saved_whole_or_not_at_all() {
    let server = ApiServer::start().await;
    let batch = "mutation($records: [SaveTaskHistoryInput!]!) { saveTaskHistoryBatch(input: { records: $records }) { \
        savedCount duplicateCount records { position taskId step } cancelledTasks { taskId } } }";
    let save = |step: i32| report("u", "t", step, "COMPLETED", json!({}));
    let with_id = |step: i32| report("u", "t", step, "COMPLETED", json!({ "recordId": ID }));
    let saved = server.raw(batch, json!({ "records": [save(1), with_id(2), with_id(2), save(3)] })).await;
    let records = r#"[{"position":1,"taskId":"t","step":1},{"position":2,"taskId":"t","step":2},{"position":2,"taskId":"t","step":2},{"position":3,"taskId":"t","step":3}]"#;
    let payload = format!(r#"{{"savedCount":3,"duplicateCount":1,"records":{records},"cancelledTasks":[]}}"#);
    assert_eq!(saved, format!(r#"{{"data":{{"saveTaskHistoryBatch":{payload}}}}}"#));
    let bad = server.error(batch, json!({ "records": [save(4), save(-1)] })).await;
    assert_eq!(bad["extensions"]["field"], "input.records[1].step");
    assert_eq!(bad["path"], json!(["saveTaskHistoryBatch"]));
    let bad = server.error(batch, json!({ "records": [save(4), report("u", "t", 5, "NO", json!({}))] })).await;
    assert_eq!(bad["extensions"]["code"], "BAD_USER_INPUT");
    let none = server.error(batch, json!({ "records": [] })).await;
    assert_eq!(none["extensions"]["field"], "input.records");
    let many: Vec<Value> = vec![save(1); 10_001];
    let many = server.error(batch, json!({ "records": many })).await["extensions"].clone();
    let told = json!({ "code": "BAD_USER_INPUT", "field": "input.records", "limit": 10_000, "value": 10_001 });
    assert_eq!(many, told);
    let feed = server.data(r#"{ feed(userId: "u") { position } }"#, json!({})).await;
    assert_eq!(feed["feed"]["position"], 3, "nothing of a refused batch is there");
}

#[tokio::test]
async fn a_cancellation_goes_its_way() {
    let server = ApiServer::start().await;
    let cancel = async |input: Value| {
        let query = "mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome task { status \
            cancellation { requestedBy reason deliveredAt acknowledgedAt outcome message } } } }";
        server.data(query, json!({ "input": input })).await["cancelTask"].clone()
    };
    let acknowledge = async |input: Value| {
        let query = "mutation($input: AcknowledgeCancellationInput!) { acknowledgeCancellation(input: $input) { \
            outcome task { cancellation { outcome message } } } }";
        server.data(query, json!({ "input": input })).await["acknowledgeCancellation"].clone()
    };
    let which = json!({ "userId": "u", "taskId": "t" });
    let stopped = json!({ "userId": "u", "taskId": "t", "outcome": "STOPPED", "message": "gone" });
    assert_eq!(cancel(which.clone()).await, json!({ "outcome": "NOT_FOUND", "task": null }));
    assert_eq!(acknowledge(stopped.clone()).await, json!({ "outcome": "NOT_FOUND", "task": null }));
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    assert_eq!(acknowledge(stopped.clone()).await["outcome"], "NOT_REQUESTED");
    let cancelled = cancel(json!({ "userId": "u", "taskId": "t", "reason": "enough" })).await;
    let open = json!({ "requestedBy": null, "reason": "enough", "deliveredAt": null, "acknowledgedAt": null,
        "outcome": null, "message": null });
    let expected = json!({ "outcome": "CANCELLED", "task": { "status": "CANCELLED", "cancellation": open } });
    assert_eq!(cancelled, expected);
    assert_eq!(cancel(which.clone()).await["outcome"], "ALREADY_CANCELLED");
    let late = server.save("u", "t", 2, "RUNNING", json!({})).await;
    assert_eq!((&late["cancellationRequested"], &late["task"]["status"]), (&json!(true), &json!("CANCELLED")));
    let answered = acknowledge(stopped.clone()).await;
    assert_eq!(answered["outcome"], "ACKNOWLEDGED");
    assert_eq!(answered["task"]["cancellation"], json!({ "outcome": "STOPPED", "message": "gone" }));
    assert_eq!(acknowledge(stopped).await["outcome"], "ALREADY_ACKNOWLEDGED");
    assert_eq!(server.save("u", "t", 3, "RUNNING", json!({})).await["cancellationRequested"], false);
    server.save("u", "failed", 1, "FAILED", json!({})).await;
    let finished = json!({ "userId": "u", "taskId": "failed" });
    assert_eq!(cancel(finished).await["outcome"], "ALREADY_FINISHED");
    let forced = json!({ "userId": "u", "taskId": "failed", "force": true });
    assert_eq!(cancel(forced).await["outcome"], "CANCELLED");
}

#[tokio::test]
async fn many_tasks_are_cancelled_by_a_filter() {
    let server = ApiServer::start().await;
    for number in 0..5 {
        server.save("u", &format!("a{number}"), 1, "RUNNING", json!({})).await;
    }
    server.save("u", "a-done", 1, "FAILED", json!({})).await;
    server.save("u", "b", 1, "RUNNING", json!({})).await;
    let cancel = async |more: &str| {
        let input = format!(r#"{{ userId: "u", filter: {{ taskIdPrefix: "a" }}{more} }}"#);
        let query = format!(
            "mutation {{ cancelTasks(input: {input}) {{ matched {{ value isExact }} cancelledCount tasks {{ status }} hasMore }} }}"
        );
        server.data(&query, json!({})).await["cancelTasks"].clone()
    };
    let told = |matched: i32, cancelled: i32, tasks: usize, status: &str, more: bool| {
        json!({ "matched": { "value": matched, "isExact": true }, "cancelledCount": cancelled,
            "tasks": vec![json!({ "status": status }); tasks], "hasMore": more })
    };
    assert_eq!(cancel(", dryRun: true").await, told(5, 0, 5, "RUNNING", false));
    assert_eq!(cancel(", limit: 2").await, told(5, 2, 2, "CANCELLED", true));
    assert_eq!(cancel("").await, told(3, 3, 3, "CANCELLED", false));
    assert_eq!(cancel("").await, told(0, 0, 0, "", false));
}

#[tokio::test]
async fn what_a_cancellation_cannot_take_is_named() {
    let server = ApiServer::start().await;
    let reason = text(1_001);
    for (mutation, field) in [
        (r#"cancelTask(input: { taskId: "t" }) { outcome }"#.to_owned(), "input.userId"),
        (r#"cancelTask(input: { userId: "u", taskId: "" }) { outcome }"#.to_owned(), "input.taskId"),
        (r#"cancelTask(input: { userId: "", taskId: "t" }) { outcome }"#.to_owned(), "input.userId"),
        (r#"cancelTask(input: { userId: "u", taskId: "t", force: null }) { outcome }"#.to_owned(), "input.force"),
        (
            format!(r#"cancelTask(input: {{ userId: "u", taskId: "t", reason: "{reason}" }}) {{ outcome }}"#),
            "input.reason",
        ),
        (r"cancelTasks(input: { filter: {} }) { hasMore }".to_owned(), "input.filter"),
        (r"cancelTasks(input: { filter: { names: [] } }) { hasMore }".to_owned(), "input.filter"),
        (r"cancelTasks(input: { filter: { isFinished: false }, limit: 0 }) { hasMore }".to_owned(), "input.limit"),
        (r"cancelTasks(input: { filter: { isFinished: false }, limit: 10001 }) { hasMore }".to_owned(), "input.limit"),
        (r#"cancelTasks(input: { filter: { tags: [""] } }) { hasMore }"#.to_owned(), "input.filter.tags[0]"),
        (r#"acknowledgeCancellation(input: { taskId: "t", outcome: STOPPED }) { outcome }"#.to_owned(), "input.userId"),
        (
            r#"acknowledgeCancellation(input: { userId: "u", taskId: "", outcome: STOPPED }) { outcome }"#.to_owned(),
            "input.taskId",
        ),
        (
            format!(
                r#"acknowledgeCancellation(input: {{ userId: "u", taskId: "t", outcome: STOPPED, message: "{reason}" }}) {{ outcome }}"#
            ),
            "input.message",
        ),
        (
            r#"acknowledgeCancellation(input: { userId: "u", taskId: "t", outcome: MAYBE }) { outcome }"#.to_owned(),
            "input.outcome",
        ),
    ] {
        let error = server.error(&format!("mutation {{ {mutation} }}"), json!({})).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{mutation}: {error}");
        assert_eq!(error["extensions"]["field"], field, "{mutation}: {error}");
    }
}

#[tokio::test]
async fn a_mutation_that_fails_leaves_its_neighbours_standing() {
    let server = ApiServer::start().await;
    let query = r#"mutation {
        first: cancelTask(input: { userId: "u", taskId: "t" }) { outcome }
        second: cancelTask(input: { userId: "", taskId: "t" }) { outcome }
        third: cancelTask(input: { userId: "u", taskId: "t" }) { outcome } }"#;
    let answer = server.ask(query, json!({})).await;
    let not_found = json!({ "outcome": "NOT_FOUND" });
    assert_eq!(answer["data"], json!({ "first": not_found, "second": null, "third": not_found }));
    assert_eq!(answer["errors"][0]["path"], json!(["second"]));
}

#[tokio::test]
async fn a_mutation_that_two_fragments_mention_runs_once() {
    let server = ApiServer::start().await;
    let query = "mutation($input: SaveTaskHistoryInput!) { ...A ...B } \
        fragment A on Mutation { saveTaskHistory(input: $input) { record { position } } } \
        fragment B on Mutation { saveTaskHistory(input: $input) { task { position } } }";
    let answer = server.raw(query, json!({ "input": report("u", "t", 1, "RUNNING", json!({})) })).await;
    assert_eq!(answer, r#"{"data":{"saveTaskHistory":{"record":{"position":1},"task":{"position":1}}}}"#);
    let feed = server.data(r#"{ feed(userId: "u") { position } }"#, json!({})).await;
    assert_eq!(feed["feed"]["position"], 1);
}
