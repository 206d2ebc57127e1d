//! `taskwire export` and `taskwire erase`: all that is kept of a user, written as JSON lines, or removed.

use serde_json::{Value, json};
use taskwire::store::Head;

use super::api_server::ApiServer;
use super::feed::insert;
use super::support::process::{Server, run, taskwire};
use super::support::{Folder, record, store_of};

/// The lines of an export.
async fn export(url: &str, user: &str) -> Vec<Value> {
    let (code, out, error) = run(taskwire(&[], ["export", "--database-url", url, "--user", user])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_every_task_and_every_record_as_they_are() {
    let server = ApiServer::start().await;
    let user = "anna's \"%_\\ é";
    let result = json!({ "big": 9_007_199_254_740_993_i64, "text": "\u{1F980}\n\"\\", "list": [null, 1.5e300, {}] });
    let more = json!({ "stepResult": { "stepName": "s", "message": "m", "result": result, "errorCode": "E" },
        "task": { "name": "n", "tags": ["a", "b"], "totalSteps": 4, "reportWithinSeconds": 600 } });
    server.save(user, "first", 2, "RUNNING", more).await;
    let cancel = "mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome } }";
    server.data(cancel, json!({ "input": { "userId": user, "taskId": "first", "reason": "enough" } })).await;
    server.save(user, "first", 3, "RUNNING", json!({})).await;
    insert(&mut server.database.session().await, user, "sql").await;
    let store = store_of(&server.database);
    let many: Vec<_> = (0..1_300).map(|number| record(user, &format!("t{}", number % 620), number)).collect();
    store.save_batch(many).await.unwrap();
    store.save_batch(vec![record("ben", "t", 1)]).await.unwrap();

    let lines = export(&server.database.url, user).await;
    let (tasks, records) = (of_type(&lines, "task"), of_type(&lines, "record"));
    assert_eq!(lines.len(), tasks.len() + records.len() + 2);
    assert_eq!((&lines[0]["type"], &lines[0]["userId"]), (&json!("export"), &json!(user)));
    assert_eq!((&lines[0]["position"], &lines[0]["oldestPosition"]), (&json!(1_304), &json!(1)));
    assert_eq!(lines.last().unwrap(), &json!({ "type": "end", "tasks": 622, "records": 1_304 }));
    assert_eq!(tasks.len(), 622);

    // Each record against the table, field by field.
    let stored = store.feed_page(user, None, Head::START, 10_000).await.unwrap().entries;
    assert_eq!(stored.len(), records.len());
    for (line, entry) in records.iter().zip(&stored) {
        let record = &entry.record;
        let time = |at: chrono::DateTime<chrono::Utc>| json!(at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
        let expected = json!({
            "type": "record", "userId": user, "taskId": record.task_id, "position": record.position,
            "kind": record.kind.as_str().to_uppercase(), "step": record.step,
            "status": record.status.as_str().to_uppercase(), "progress": record.progress,
            "reportedBy": record.reported_by, "isLate": record.is_late, "recordId": record.record_id,
            "timestamp": time(record.timestamp), "recordedAt": time(record.recorded_at),
            "stepResult": serde_json::from_str::<Value>(&record.result).unwrap(),
        });
        assert_eq!(**line, expected);
    }
    assert_eq!(records[0]["stepResult"]["result"], result);
    assert_eq!((&records[1]["kind"], &records[2]["isLate"]), (&json!("CANCELLATION_REQUESTED"), &json!(true)));
    let first = tasks.iter().find(|task| task["taskId"] == "first").unwrap();
    assert_eq!(
        [&first["name"], &first["tags"], &first["totalSteps"], &first["status"], &first["reportWithinSeconds"]],
        [&json!("n"), &json!(["a", "b"]), &json!(4), &json!("CANCELLED"), &json!(600)]
    );
    assert_eq!((&first["cancellation"]["reason"], &first["cancellation"]["outcome"]), (&json!("enough"), &Value::Null));
    // Their names are those of the schema.
    let fields = "query($user: ID!) { task(userId: $user, taskId: \"first\") { userId taskId name tags status position step \
         totalSteps progress message errorCode createdAt startedAt updatedAt finishedAt reportDueAt \
         cancellation { requestedAt requestedBy reason deliveredAt acknowledgedAt outcome message } } }";
    let mut asked = server.data(fields, json!({ "user": user })).await["task"].take();
    asked["type"] = json!("task");
    asked["reportWithinSeconds"] = json!(600);
    assert_eq!(asked, **first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_nobody_there_is_nothing_and_no_file_is_written_over() {
    let server = ApiServer::start().await;
    let url = &server.database.url;
    let nothing = export(url, "nobody").await;
    assert_eq!(nothing.len(), 2);
    assert_eq!(
        (&nothing[0]["position"], &nothing[1]),
        (&json!(0), &json!({ "type": "end", "tasks": 0, "records": 0 }))
    );

    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    let folder = Folder::new();
    let file = folder.join("anna.jsonl").display().to_string();
    let to_file = || taskwire(&[], ["export", "--database-url", url, "--user", "anna", "--out", &file]);
    assert_eq!(run(to_file()).await, (Some(0), String::new(), String::new()));
    let written = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[3]), (4, &json!({ "type": "end", "tasks": 1, "records": 1 })));
    let (code, out, error) = run(to_file()).await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains(&file) && error.contains("exists"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    let (code, _, error) = run(taskwire(&[], ["export", "--database-url", url])).await;
    assert!(code == Some(2) && error.contains("--user"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_erases_and_a_running_server_notices() {
    let server = ApiServer::start().await;
    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    server.save("anna", "u", 1, "RUNNING", json!({})).await;
    let mut socket = server.socket().await;
    socket
        .subscribe("e", "subscription { taskEvents(userId: \"anna\", fromStart: true) { isReplay } }", json!({}))
        .await;
    for _ in 0..2 {
        assert_eq!(socket.event("e").await["taskEvents"]["isReplay"], true);
    }
    let command = || taskwire(&[], ["erase", "--database-url", &server.database.url, "--user", "anna"]);
    let (code, out, error) = run(command()).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(out, "erased 2 records and 2 tasks; nothing is left of this user\n");
    assert_eq!(socket.failure("e").await["extensions"]["code"], "CURSOR_EXPIRED");
    let (code, out, _) = run(command()).await;
    assert_eq!((code, out.as_str()), (Some(0), "erased 0 records and 0 tasks; nothing is left of this user\n"));
    let (code, _, error) = run(taskwire(&[], ["erase", "--database-url", &server.database.url])).await;
    assert!(code == Some(2) && error.contains("--user"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_database_is_found_whether_a_server_runs_or_not() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    let save = r#"{"query": "mutation { saveTaskHistory(input: { userId: \"anna\", taskId: \"t\", step: 1, stepResult: { stepName: \"s\", status: RUNNING } }) { isDuplicate } }"}"#;
    assert!(server.ask(save).await.unwrap().contains("\"isDuplicate\":false"));
    let command = |name: &str| taskwire(&[], [name, "--data-dir", data.to_str().unwrap(), "--user", "anna"]);
    let (code, out, error) = run(command("export")).await;
    assert_eq!((code, out.lines().count(), error.as_str()), (Some(0), 4, ""));
    assert!(server.answers().await, "it goes on");
    assert_eq!(server.interrupt().await, Some(0));
    let (code, again, error) = run(command("export")).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(again.lines().skip(1).collect::<Vec<_>>(), out.lines().skip(1).collect::<Vec<_>>());
    assert_eq!(run(command("erase")).await.1, "erased 1 records and 1 tasks; nothing is left of this user\n");
}
