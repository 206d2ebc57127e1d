//! `cleanupOldTasks`, and what a client sees of it.

use serde_json::{Value, json};
use taskwire::maintenance::cleanup::clean;

use super::*;
use crate::api_server::ApiServer;
use crate::support::{TestDatabase, eventually, record, store_of};

const CLEANUP: &str = "mutation($input: CleanupOldTasksInput!) { cleanupOldTasks(input: $input) { \
     cutoff deletedRecords deletedTasks droppedPartitions hasMore } }";

async fn cleanup(server: &ApiServer, input: Value) -> Value {
    server.data(CLEANUP, json!({ "input": input })).await["cleanupOldTasks"].take()
}

#[tokio::test]
async fn what_is_too_old_goes_to_the_very_moment_and_nothing_else() {
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    nine_weeks(&mut session).await;
    let before = count(&mut session, "SELECT count(*) FROM task_record").await;
    let old =
        count(&mut session, "SELECT count(*) FROM task_record WHERE recorded_at < now() - interval '30 days'").await;
    let finished =
        "SELECT count(*) FROM task WHERE updated_at < now() - interval '30 days' AND finished_at IS NOT NULL";
    let finished = count(&mut session, finished).await;
    assert!(before == 450 && old > 200 && finished > 30, "{before} {old} {finished}");

    let dry = cleanup(&server, json!({ "dryRun": true })).await;
    assert_eq!([&dry["deletedRecords"], &dry["deletedTasks"]], [&json!(old), &json!(finished)], "{dry}");
    let partitions = dry["droppedPartitions"].as_array().unwrap().len();
    assert!((4..=6).contains(&partitions), "{dry}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, before, "a dry run removed something");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task").await, 90);

    let told = cleanup(&server, json!({})).await;
    for field in ["deletedRecords", "deletedTasks", "droppedPartitions", "hasMore"] {
        assert_eq!(told[field], dry[field], "{field}");
    }
    let cutoff: DateTime<Utc> = told["cutoff"].as_str().unwrap().parse().unwrap();
    assert!((Utc::now() - cutoff - TimeDelta::days(30)).num_seconds().abs() < 30, "{cutoff}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, before - old);
    assert!(oldest(&mut session).await.unwrap() >= cutoff);
    assert_eq!(assert_no_holes(&mut session).await, 3);
    assert_whole(&mut session).await;
    assert_no_gap(&mut session).await;
    // The unfinished ones stay as rows, with what they last said.
    let open = "query($id: ID!) { task(userId: \"u1\", taskId: $id) { status message result history { nodes { position } } } }";
    let open = server.data(open, json!({ "id": "t4" })).await;
    let expected = json!({ "status": "RUNNING", "message": "last words", "result": null, "history": { "nodes": [] } });
    assert_eq!(open["task"], expected);
    assert_eq!(
        server.data("{ task(userId: \"u1\", taskId: \"t3\") { status } }", json!({})).await["task"],
        Value::Null
    );

    // Once more: nothing is left to do.
    let again = cleanup(&server, json!({})).await;
    let nothing = json!([0, 0, [], false]);
    let told = ["deletedRecords", "deletedTasks", "droppedPartitions", "hasMore"].map(|field| again[field].clone());
    assert_eq!(json!(told), nothing);
    let retention = server.data("{ system { retention { lastRunAt lastDeletedRecords failure } } }", json!({})).await;
    let retention = &retention["system"]["retention"];
    assert!(
        retention["lastRunAt"].is_string() && retention["lastDeletedRecords"] == 0 && retention["failure"].is_null()
    );
    // Positions go on where they were.
    assert_eq!(server.save("u1", "new", 1, "RUNNING", json!({})).await["record"]["position"], 151);
}

#[tokio::test]
async fn unfinished_tasks_go_too_where_they_are_not_kept() {
    let server = ApiServer::configured(|config| config.retention.keep_unfinished = false).await;
    let mut session = server.database.session().await;
    nine_weeks(&mut session).await;
    let old = count(&mut session, "SELECT count(*) FROM task WHERE updated_at < now() - interval '20 days'").await;
    assert_eq!(cleanup(&server, json!({ "daysOld": 20 })).await["deletedTasks"], json!(old));
    assert_eq!(count(&mut session, "SELECT count(*) FROM task").await, 90 - old);
    assert_whole(&mut session).await;
}

#[tokio::test]
async fn an_overtaken_cursor_is_told_the_oldest_position_and_the_others_go_on() {
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    nine_weeks(&mut session).await;
    let history = "{ taskHistory(userId: \"u1\", taskId: \"t0\") { nodes { feedCursor } } \
        last: taskHistory(userId: \"u1\", taskId: \"t28\") { nodes { feedCursor position } } }";
    let cursors = server.data(history, json!({})).await;
    let (overtaken, kept) = (cursors["taskHistory"]["nodes"][1]["feedCursor"].clone(), &cursors["last"]["nodes"][0]);
    let beginning = server.data("{ feed(userId: \"nobody\") { cursor } }", json!({})).await["feed"]["cursor"].take();
    assert!(beginning.is_string());
    cleanup(&server, json!({ "daysOld": 30 })).await;
    let oldest = count(&mut session, "SELECT min(position) FROM task_record WHERE user_id = 'u1'").await;
    assert!(oldest > 50);

    let events =
        "subscription($after: FeedCursor) { taskEvents(userId: \"u1\", after: $after) { record { position } } }";
    let mut socket = server.socket().await;
    socket.subscribe("old", events, json!({ "after": overtaken })).await;
    let failure = socket.failure("old").await;
    assert_eq!(failure["extensions"]["code"], "CURSOR_EXPIRED", "{failure}");
    assert_eq!(failure["extensions"]["oldestPosition"], oldest);
    socket.subscribe("kept", events, json!({ "after": kept["feedCursor"] })).await;
    assert_eq!(socket.event("kept").await["taskEvents"]["record"]["position"], kept["position"].as_i64().unwrap() + 1);
    socket.send(json!({ "id": "kept", "type": "complete" })).await;
    let mut fresh = server.socket().await;
    let from_start = "subscription { taskEvents(userId: \"u1\", fromStart: true) { record { position } } }";
    fresh.subscribe("all", from_start, json!({})).await;
    for position in oldest..=150 {
        assert_eq!(fresh.event("all").await["taskEvents"]["record"]["position"], position);
    }
    let feed = server.data("{ feed(userId: \"u1\") { position oldestPosition } }", json!({})).await;
    assert_eq!(feed["feed"], json!({ "position": 150, "oldestPosition": oldest }));
}

#[tokio::test]
async fn a_user_of_whom_nothing_is_kept_goes_on_at_the_next_position() {
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    weeks_back(&mut session, 10).await;
    Past { name: "gone", users: 2, tasks: 5, records: 4, from: 60.0, to: 40.0 }.make(&mut session).await;
    let cursor = server.data("{ feed(userId: \"gone1\") { cursor } }", json!({})).await["feed"]["cursor"].take();
    let told = cleanup(&server, json!({})).await;
    assert_eq!(told["deletedTasks"], 8, "{told}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 0);
    let feed = server.data("{ feed(userId: \"gone1\") { position oldestPosition cursor } }", json!({})).await;
    assert_eq!(feed["feed"], json!({ "position": 20, "oldestPosition": null, "cursor": cursor }));
    // Who had seen everything has missed nothing.
    let mut socket = server.socket().await;
    let events =
        "subscription($after: FeedCursor) { taskEvents(userId: \"gone1\", after: $after) { record { position } } }";
    socket.subscribe("head", events, json!({ "after": cursor })).await;
    // Once it stands: the record that its cursor names is known by the head alone.
    eventually("it is subscribed", async || {
        let feed =
            server.data("{ system { feed { subscriptions } } feed(userId: \"gone1\") { position } }", json!({})).await;
        (feed["system"]["feed"]["subscriptions"] == 1).then_some(())
    })
    .await;
    server.save("gone1", "t4", 9, "COMPLETED", json!({})).await;
    assert_eq!(socket.event("head").await["taskEvents"]["record"]["position"], 21);
    assert_whole(&mut session).await;
}

#[tokio::test]
async fn days_out_of_range_are_refused_by_name() {
    let server = ApiServer::start().await;
    for (days, limit) in [(0, 1), (-3, 1), (36_526, 36_525)] {
        let error = server.error(CLEANUP, json!({ "input": { "daysOld": days } })).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT");
        assert_eq!(
            [&error["extensions"]["field"], &error["extensions"]["limit"], &error["extensions"]["value"]],
            [&json!("input.daysOld"), &json!(limit), &json!(days)]
        );
    }
}

/// What nobody divided lies in the partition that is open below: it goes like the others, and the end stays open.
#[tokio::test]
async fn the_partition_that_is_open_below_gives_way_too() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    Past { name: "u", users: 2, tasks: 10, records: 5, from: 100.0, to: 20.0 }.make(&mut session).await;
    // It is divided by the cut-off first, then it is older as a whole.
    let done = clean(&store, "test", &older_than(60, 30)).await.unwrap();
    assert!(done.records > 40 && done.partitions.is_empty() && !done.has_more, "{done:?}");
    assert_eq!(assert_no_holes(&mut session).await, 2);
    session.execute("ANALYZE").await.unwrap();
    let done = clean(&store, "test", &older_than(0, 30)).await.unwrap();
    assert_eq!(done.partitions, ["task_record_before"]);
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 0);
    assert_no_gap(&mut session).await;
    store.save_batch([record("u1", "new", 1)]).await.unwrap();
    assert_whole(&mut session).await;
}

/// By the schedule only whole partitions go, and the tasks of which nothing is left.
#[tokio::test]
async fn by_the_schedule_a_divided_partition_stays_whole() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    let cleanup = Cleanup { inside: false, ..older_than(30, 30) };
    let done = clean(&store, "test", &cleanup).await.unwrap();
    assert!(done.partitions.len() >= 4 && !done.has_more, "{done:?}");
    let oldest = oldest(&mut session).await.unwrap();
    assert!(oldest < cleanup.cutoff && oldest >= cleanup.cutoff - TimeDelta::days(7), "{oldest}");
    assert_eq!(assert_no_holes(&mut session).await, 3);
    assert_whole(&mut session).await;
    assert_no_gap(&mut session).await;
    let left = "SELECT count(*) FROM task t WHERE finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM task_record r \
        WHERE r.user_id = t.user_id AND r.position = t.position)";
    assert_eq!(count(&mut session, left).await, 0);
}
