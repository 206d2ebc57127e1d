//! Subscriptions over WebSocket: what a client is told, and how one ends that cannot go on.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::support::eventually;

const EVENTS: &str = "subscription($user: ID, $task: ID, $after: FeedCursor, $fromStart: Boolean) { \
    taskEvents(userId: $user, taskId: $task, after: $after, fromStart: $fromStart) { \
    feedCursor isReplay record { position taskId } task { position status } } }";
const CHANGES: &str = "subscription($user: ID, $task: ID, $after: FeedCursor, $filter: TaskFilter) { \
    taskChanged(userId: $user, taskId: $task, after: $after, filter: $filter) { \
    feedCursor isReplay matchesFilter task { taskId status position result } } }";
const CANCELLATIONS: &str = "subscription($user: ID, $filter: TaskFilter) { \
    cancellationRequested(userId: $user, filter: $filter) { isReplay task { taskId cancellation { reason } } } }";

#[tokio::test]
async fn how_long_a_live_event_took_is_measured_for_every_subscription() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    let cancel = "mutation($task: ID!) { cancelTask(input: { userId: \"u\", taskId: $task }) { __typename } }";
    for task in ["t", "before"] {
        server.save("u", task, 1, "RUNNING", json!({})).await;
    }
    server.data(cancel, json!({ "task": "before" })).await;
    socket.subscribe("events", EVENTS, json!({ "user": "u", "fromStart": true })).await;
    for _ in 0..3 {
        socket.event("events").await;
    }
    for (id, variables) in
        [("all", json!({})), ("user", json!({ "user": "u" })), ("task", json!({ "user": "u", "task": "t" }))]
    {
        socket.subscribe(id, CHANGES, variables).await;
        // Until the one without a task.
        while !socket.event(id).await["taskChanged"]["task"].is_null() {}
    }
    socket.subscribe("cancellations", CANCELLATIONS, json!({ "user": "u" })).await;
    assert_eq!(socket.event("cancellations").await["cancellationRequested"]["task"]["taskId"], "before");
    let measured = || {
        let text = server.app.telemetry().text();
        let line = text.lines().find_map(|line| line.strip_prefix("taskwire_delivery_seconds_count "));
        line.unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(measured(), 0, "what was there before is not live");
    server.save("u", "t", 2, "RUNNING", json!({})).await;
    eventually("four took it", async || (measured() == 4).then_some(())).await;
    server.data(cancel, json!({ "task": "t" })).await;
    eventually("five took that", async || (measured() == 9).then_some(())).await;
}

#[tokio::test]
async fn an_event_beyond_the_size_of_answers_ends_its_stream_at_once() {
    let server = ApiServer::configured(|config| config.graphql.max_answer_bytes = 1_000).await;
    let events = EVENTS.replace("record { position taskId }", "record { position message }");
    let mut socket = server.socket().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    socket.subscribe("1", &events, json!({ "user": "u", "fromStart": true })).await;
    assert_eq!(socket.event("1").await["taskEvents"]["record"]["position"], 1);
    server.save("u", "t", 2, "RUNNING", json!({ "stepResult": { "message": "x".repeat(2_000) } })).await;
    // Nothing more happens on this feed, and yet it is complete.
    let error = socket.failure("1").await;
    assert_eq!(
        (&error["extensions"]["code"], &error["extensions"]["limit"]),
        (&json!("LIMIT_EXCEEDED"), &json!("answerBytes"))
    );
}

#[tokio::test]
async fn events_come_as_they_happen_and_resume_from_their_cursor() {
    let server = ApiServer::start().await;
    for step in 1..=3 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
    }
    let mut socket = server.socket().await;
    socket.subscribe("1", EVENTS, json!({ "user": "u", "fromStart": true })).await;
    let mut cursors = Vec::new();
    for position in 1..=3 {
        let event = socket.event("1").await["taskEvents"].clone();
        assert_eq!((&event["record"]["position"], &event["isReplay"]), (&json!(position), &json!(true)));
        cursors.push(event["feedCursor"].clone());
    }
    server.save("v", "t", 1, "RUNNING", json!({})).await;
    server.save("u", "other", 1, "COMPLETED", json!({})).await;
    let event = socket.event("1").await["taskEvents"].clone();
    assert_eq!(event["record"], json!({ "position": 4, "taskId": "other" }));
    assert_eq!(event["task"], json!({ "position": 4, "status": "COMPLETED" }));
    assert_eq!(event["isReplay"], false);
    socket.subscribe("2", EVENTS, json!({ "user": "u", "after": cursors[1] })).await;
    for position in [3, 4] {
        assert_eq!(socket.event("2").await["taskEvents"]["record"]["position"], position);
    }
    socket.send(json!({ "id": "1", "type": "complete" })).await;
    server.save("u", "t", 4, "RUNNING", json!({})).await;
    loop {
        // Ending the first races with the save: what comes of it may still be told.
        let message = socket.next().await;
        if message["id"] == "2" {
            assert_eq!(message["payload"]["data"]["taskEvents"]["record"]["position"], 5);
            break;
        }
    }
}

#[tokio::test]
async fn a_list_and_a_subscription_join_without_a_gap() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let list = server.data(r#"{ tasks(userId: "u") { feedCursor nodes { position } } }"#, json!({})).await;
    server.save("u", "t", 2, "RUNNING", json!({})).await;
    server.save("u", "s", 1, "RUNNING", json!({})).await;
    let mut socket = server.socket().await;
    let after = json!({ "user": "u", "after": list["tasks"]["feedCursor"] });
    socket.subscribe("1", EVENTS, after.clone()).await;
    for position in [2, 3] {
        assert_eq!(socket.event("1").await["taskEvents"]["record"]["position"], position);
    }
    let only = json!({ "user": "u", "task": "t", "after": list["tasks"]["feedCursor"] });
    socket.subscribe("2", EVENTS, only).await;
    assert_eq!(socket.event("2").await["taskEvents"]["record"], json!({ "position": 2, "taskId": "t" }));
    socket.subscribe("3", CHANGES, after).await;
    let mut told = Vec::new();
    while let event @ Value::Object(_) = socket.event("3").await["taskChanged"]["task"].clone() {
        told.push(event["taskId"].clone());
    }
    assert_eq!(told, ["t", "s"]);
}

#[tokio::test]
async fn a_tasks_state_comes_at_once_and_after_each_change() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    socket.subscribe("1", CHANGES, json!({ "user": "u", "task": "t" })).await;
    let live = socket.event("1").await["taskChanged"].clone();
    assert_eq!((&live["task"], &live["isReplay"], &live["matchesFilter"]), (&Value::Null, &json!(false), &json!(true)));
    for (step, result) in [(1, json!({ "a": 1 })), (2, json!([2]))] {
        server.save("u", "t", step, "RUNNING", json!({ "stepResult": { "result": result } })).await;
        let change = socket.event("1").await["taskChanged"].clone();
        assert_eq!(change["task"]["result"], result, "no stale result: {change}");
        assert_eq!(change["task"]["position"], step);
    }
    socket.subscribe("2", CHANGES, json!({ "user": "u", "task": "t" })).await;
    let first = socket.event("2").await["taskChanged"].clone();
    assert_eq!((&first["task"]["position"], &first["isReplay"]), (&json!(2), &json!(true)));
    assert_eq!(socket.event("2").await["taskChanged"]["task"], Value::Null);
}

#[tokio::test]
async fn a_filter_tells_what_enters_and_what_leaves() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    socket.subscribe("1", CHANGES, json!({ "user": "u", "filter": { "statuses": ["RUNNING"] } })).await;
    assert_eq!(socket.event("1").await["taskChanged"]["task"], Value::Null);
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let change = socket.event("1").await["taskChanged"].clone();
    assert_eq!((&change["task"]["status"], &change["matchesFilter"]), (&json!("RUNNING"), &json!(true)));
    server.save("u", "t", 2, "FAILED", json!({})).await;
    let change = socket.event("1").await["taskChanged"].clone();
    assert_eq!((&change["task"]["status"], &change["matchesFilter"]), (&json!("FAILED"), &json!(false)));
}

#[tokio::test]
async fn workers_are_told_of_cancellations() {
    let server = ApiServer::start().await;
    for task in ["waiting", "later", "other"] {
        server.save("u", task, 1, "RUNNING", json!({})).await;
    }
    let cancel = async |task: &str| {
        let input = json!({ "userId": "u", "taskId": task, "reason": task });
        let query = "mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome } }";
        server.data(query, json!({ "input": input })).await
    };
    cancel("waiting").await;
    let mut socket = server.socket().await;
    socket.subscribe("1", CANCELLATIONS, json!({ "filter": { "taskIds": ["waiting", "later"] } })).await;
    let told = |task: &str, replay: bool| json!({ "isReplay": replay, "task": { "taskId": task, "cancellation": { "reason": task } } });
    assert_eq!(socket.event("1").await["cancellationRequested"], told("waiting", true));
    cancel("other").await;
    cancel("later").await;
    assert_eq!(socket.event("1").await["cancellationRequested"], told("later", false));
}

#[tokio::test]
async fn what_a_subscription_cannot_take_ends_it_with_a_code() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    server.save("v", "t", 1, "RUNNING", json!({})).await;
    let foreign = server.data(r#"{ feed(userId: "v") { cursor } }"#, json!({})).await["feed"]["cursor"].clone();
    let mut socket = server.socket().await;
    let mut failure = async |query: &str, variables: Value| {
        socket.subscribe("1", query, variables).await;
        socket.failure("1").await
    };
    for (query, variables, field) in [
        (EVENTS, json!({}), "userId"),
        (EVENTS, json!({ "user": "" }), "userId"),
        (EVENTS, json!({ "user": "u", "task": "" }), "taskId"),
        (EVENTS, json!({ "user": "u", "after": "garbage" }), "after"),
        (EVENTS, json!({ "user": "u", "after": "x".repeat(301) }), "after"),
        (EVENTS, json!({ "user": "u", "fromStart": null }), "fromStart"),
        (CHANGES, json!({ "task": "t" }), "userId"),
        (CHANGES, json!({ "user": "u", "filter": { "statuses": ["DONE"] } }), "filter.statuses[0]"),
        (CHANGES, json!({ "user": "u", "filter": { "tags": [""] } }), "filter.tags[0]"),
        (CANCELLATIONS, json!({ "user": "" }), "userId"),
    ] {
        let error = failure(query, variables.clone()).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{variables}: {error}");
        assert_eq!(error["extensions"]["field"], field, "{variables}: {error}");
    }
    let expired = failure(EVENTS, json!({ "user": "u", "after": foreign })).await;
    assert_eq!(expired["extensions"]["code"], "CURSOR_EXPIRED", "{expired}");
    assert_eq!(expired["path"], json!(["taskEvents"]));
    let invalid = failure("subscription { nothing }", json!({})).await;
    assert_eq!(invalid["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    let unparsed = failure("subscription {", json!({})).await;
    assert_eq!(unparsed["extensions"]["code"], "GRAPHQL_PARSE_FAILED");
}

#[tokio::test]
async fn queries_and_mutations_go_over_the_socket_too() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    socket.subscribe("1", "{ viewer { role } }", json!({})).await;
    assert_eq!(socket.event("1").await, json!({ "viewer": { "role": "ADMIN" } }));
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "complete" }));
    socket
        .subscribe(
            "2",
            super::api_server::SAVE,
            json!({ "input": super::api_server::report("u", "t", 1, "RUNNING", json!({})) }),
        )
        .await;
    assert_eq!(socket.event("2").await["saveTaskHistory"]["record"]["position"], 1);
}

#[tokio::test]
async fn a_subscription_may_stand_in_a_fragment() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let mut socket = server.socket().await;
    let query =
        "subscription { ...F } fragment F on Subscription { taskEvents(userId: \"u\", fromStart: true) { isReplay } }";
    socket.subscribe("1", query, json!({})).await;
    assert_eq!(socket.event("1").await, json!({ "taskEvents": { "isReplay": true } }));
}
