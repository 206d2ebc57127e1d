//! What many get alike is executed and written once, and nobody gets what is somebody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use taskwire::auth::Role;
use tokio::time::timeout;

use super::api_server::{ApiServer, token};
use super::socket_client::{Client, LEGACY, TRANSPORT};
use super::stream_body::Body;

pub(crate) const EVENTS: &str = "subscription($user: ID!, $after: FeedCursor, $start: Boolean) { \
    taskEvents(userId: $user, after: $after, fromStart: $start) { \
    feedCursor isReplay record { position message status } task { status result errorMessage } } }";

/// A socket with these subscriptions, each of which has told its first event.
pub(crate) async fn subscribed(
    server: &ApiServer,
    protocol: &str,
    payload: Value,
    operations: &[(&str, Value)],
) -> Client {
    let mut client = Client::init(server, protocol, payload).await;
    let kind = if protocol == LEGACY {
        client.message().await;
        "start"
    } else {
        "subscribe"
    };
    for (number, (query, variables)) in operations.iter().enumerate() {
        let payload = json!({ "query": query, "variables": variables });
        client.send(json!({ "id": format!("op{number}"), "type": kind, "payload": payload })).await;
        let first = client.message().await;
        assert_eq!(first["id"], format!("op{number}"), "{first}");
        assert!(first["payload"]["data"].is_object(), "{first}");
    }
    client
}

pub(crate) async fn save(server: &ApiServer, token: Option<&str>, user: &str, step: i32) {
    let query = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { record { position } } }";
    let result =
        json!({ "stepName": "s", "status": "RUNNING", "message": format!("m{step}"), "result": { "n": step } });
    let input = json!({ "userId": user, "taskId": "t", "step": step, "stepResult": result });
    let mut request =
        server.client.post(server.url()).json(&json!({ "query": query, "variables": { "input": input } }));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer.get("errors").is_none(), "{answer}");
}

/// The text of the next frame.
async fn text(client: &mut Client) -> String {
    let next = timeout(Duration::from_secs(20), client.stream.next()).await.expect("a frame in time");
    next.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn equal_subscriptions_cost_one_execution_however_they_came() {
    let server = ApiServer::start().await;
    let query = "query { feed(userId: \"u\") { cursor } }";
    let cursor = server.data(query, json!({})).await["feed"]["cursor"].clone();
    save(&server, None, "u", 1).await;
    let (from_start, after) = (json!({ "user": "u", "start": true }), json!({ "user": "u", "after": cursor }));
    let mut clients = Vec::new();
    for index in 0..6 {
        let protocol = [TRANSPORT, LEGACY][index % 2];
        let operations: Vec<_> = (0..30).map(|op| (EVENTS, [&from_start, &after][op % 2].clone())).collect();
        clients.push(subscribed(&server, protocol, Value::Null, &operations).await);
    }
    let mut bodies = Vec::new();
    for index in 0..20 {
        let accept = ["text/event-stream", "multipart/mixed;boundary=graphql;subscriptionSpec=1.0"][index % 2];
        let mut body = Body::post(&server, accept, EVENTS, after.clone()).await;
        body.until(r#""position":1"#).await;
        bodies.push(body);
    }
    let metrics = server.app.telemetry();
    let (rendered, delivered) = (metrics.rendered_events.get(), metrics.events_delivered.get());
    for step in 2..=51 {
        save(&server, None, "u", step).await;
    }
    let mut told: BTreeMap<i64, Value> = BTreeMap::new();
    for client in &mut clients {
        let mut count: BTreeMap<i64, usize> = BTreeMap::new();
        for _ in 0..30 * 50 {
            let payload = client.message().await["payload"].take();
            let position = payload["data"]["taskEvents"]["record"]["position"].as_i64().unwrap();
            *count.entry(position).or_default() += 1;
            assert_eq!(told.entry(position).or_insert_with(|| payload.clone()), &payload);
        }
        assert_eq!(count, (2..=51).map(|position| (position, 30)).collect());
    }
    for (position, payload) in &told {
        let event = &payload["data"]["taskEvents"];
        assert_eq!((&event["isReplay"], &event["task"]["result"]), (&json!(false), &json!({ "n": position })));
    }
    for body in &mut bodies {
        for position in 2..=51 {
            body.until(&format!(r#""position":{position},"message":"m{position}""#)).await;
        }
    }
    assert_eq!(metrics.rendered_events.get() - rendered, 50);
    assert_eq!(metrics.events_delivered.get() - delivered, 200 * 50);
}

#[tokio::test]
async fn who_asks_for_something_else_or_is_somebody_else_gets_it_by_itself() {
    let server = ApiServer::with_key().await;
    let (user, worker, admin) = (token("u", Role::User), token("w", Role::Worker), token("a", Role::Admin));
    save(&server, Some(&worker), "u", 1).await;
    let chosen = "subscription($yes: Boolean!, $n: Int) { taskEvents(userId: \"u\", fromStart: true) { \
        record { position message @include(if: $yes) } task { history(first: $n) { nodes { position } } } } }";
    let two = "subscription A { taskEvents(userId: \"u\", fromStart: true) { isReplay } } \
        subscription B { taskEvents(userId: \"u\", fromStart: true) { isReplay again: isReplay } }";
    let mine = json!({ "user": "u", "start": true });
    let choice = |yes: bool, n: Value| (chosen, json!({ "yes": yes, "n": n }));
    let shapes = [
        (&user, (EVENTS, mine.clone())),
        (&worker, (EVENTS, mine.clone())),
        (&admin, (EVENTS, mine.clone())),
        (&admin, choice(true, json!(1))),
        (&admin, choice(false, json!(1))),
        (&admin, choice(true, json!(2))),
        (&admin, choice(true, json!(null))),
    ];
    let mut clients = Vec::new();
    for (token, operation) in &shapes {
        let payload = json!({ "Authorization": format!("Bearer {token}") });
        for _ in 0..2 {
            clients.push(subscribed(&server, TRANSPORT, payload.clone(), std::slice::from_ref(operation)).await);
        }
    }
    for name in ["A", "B"] {
        for _ in 0..2 {
            let mut client =
                Client::init(&server, TRANSPORT, json!({ "Authorization": format!("Bearer {admin}") })).await;
            let payload = json!({ "query": two, "operationName": name });
            client.send(json!({ "id": "op0", "type": "subscribe", "payload": payload })).await;
            client.message().await;
            clients.push(client);
        }
    }
    let rendered = server.app.telemetry().rendered_events.get();
    for step in 2..=4 {
        save(&server, Some(&worker), "u", step).await;
        let mut events = Vec::new();
        for client in &mut clients {
            events.push(client.message().await["payload"]["data"]["taskEvents"].take());
        }
        for pair in events.chunks(2) {
            assert_eq!(pair[0], pair[1]);
        }
        let nodes = |event: &Value| event["task"]["history"]["nodes"].as_array().map(Vec::len);
        let message = json!(format!("m{step}"));
        assert_eq!((&events[6]["record"]["message"], nodes(&events[6])), (&message, Some(1)));
        assert_eq!((events[8]["record"].get("message"), nodes(&events[8])), (None, Some(1)));
        assert_eq!((&events[10]["record"]["message"], nodes(&events[10])), (&message, Some(2)));
        assert_eq!(nodes(&events[12]), usize::try_from(step).ok());
        assert_eq!(
            (&events[14], &events[16]),
            (&json!({ "isReplay": false }), &json!({ "isReplay": false, "again": false }))
        );
    }
    assert_eq!(server.app.telemetry().rendered_events.get() - rendered, 9 * 3);
}

#[tokio::test]
async fn what_is_shared_is_byte_for_byte_what_the_library_says() {
    let server = ApiServer::start().await;
    save(&server, None, "u", 1).await;
    for (selection, fragments) in [
        ("feedCursor isReplay record { position message recordedAt status }", ""),
        (
            "record { ...r } ... @include(if: true) { task { ...t } }",
            "fragment r on TaskRecord { id result timestamp } \
             fragment t on Task { steps(last: 1) { nodes { step name } } tags progress result }",
        ),
        (
            "__typename a: isReplay b: isReplay record { errorCode result stepName recordId reportedBy } \
             task { cancellation { outcome } }",
            "",
        ),
    ] {
        let document = |directive: &str| {
            let field = "e: taskEvents(userId: \"u\", fromStart: true)";
            format!("subscription {{ {field} {directive} {{ {selection} }} }} {fragments}")
        };
        let (shared, own) = (document(""), document("@include(if: true)"));
        let mut clients = Vec::new();
        for query in [&shared, &shared, &own] {
            clients.push(subscribed_all(&server, query).await);
        }
        let rendered = server.app.telemetry().rendered_events.get();
        save(&server, None, "u", 2).await;
        let mut texts = Vec::new();
        for client in &mut clients {
            texts.push(text(client).await);
        }
        assert!(texts[0].contains(r#""data":{"e":{"#), "{}", texts[0]);
        assert_eq!(texts[0], texts[1]);
        assert_eq!(texts[0], texts[2]);
        assert_eq!(server.app.telemetry().rendered_events.get() - rendered, 1, "one for both, none for the third");
    }
}

/// A socket that has been told all that there is of user "u".
async fn subscribed_all(server: &ApiServer, query: &str) -> Client {
    let feed = server.data("{ feed(userId: \"u\") { position } }", json!({})).await;
    let mut client = Client::ready(server).await;
    client.subscribe("1", query, json!({})).await;
    for _ in 0..feed["feed"]["position"].as_i64().unwrap() {
        let event = client.message().await;
        assert!(event["payload"].get("errors").is_none(), "{event}");
    }
    client
}

#[tokio::test]
async fn an_event_with_an_error_is_each_ones_own_and_the_stream_goes_on() {
    let server = ApiServer::start().await;
    save(&server, None, "u", 1).await;
    let query = "subscription { taskEvents(userId: \"u\", fromStart: true) { \
        record { position } task { history(first: 1) { nodes { result } } } } }";
    let mut clients = [
        subscribed_all(&server, query).await,
        subscribed_all(&server, query).await,
        subscribed_all(&server, query).await,
    ];
    let mut session = server.database.session().await;
    let set =
        |value: &str| format!("UPDATE task_record SET result = jsonb_set(result::jsonb, '{{result}}', '{value}')");
    session.execute(AssertSqlSafe(set("1e400"))).await.unwrap();
    save(&server, None, "u", 2).await;
    let mut ids = Vec::new();
    for client in &mut clients {
        let payload = client.message().await["payload"].take();
        assert_eq!(payload["data"]["taskEvents"]["record"]["position"], 2, "{payload}");
        assert_eq!(payload["errors"].as_array().map(Vec::len), Some(1), "{payload}");
        ids.push(payload["errors"][0]["extensions"]["id"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an error of its own");
    session.execute(AssertSqlSafe(set("7"))).await.unwrap();
    save(&server, None, "u", 3).await;
    for client in &mut clients {
        let payload = client.message().await["payload"].take();
        assert_eq!(payload["data"]["taskEvents"]["task"]["history"]["nodes"][0]["result"], 7, "{payload}");
        assert!(payload.get("errors").is_none(), "{payload}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_ends_its_stream() {
    let server = ApiServer::configured(|config| config.graphql.max_answer_bytes = 1_500).await;
    let history = "task { history { nodes { position message recordedAt feedCursor } } }";
    for (user, root) in [("u", "taskEvents(userId: \"u\", fromStart: true)"), ("v", "taskChanged(userId: \"v\")")] {
        save(&server, None, user, 1).await;
        let mut client = Client::ready(&server).await;
        client.subscribe("1", &format!("subscription {{ {root} {{ {history} }} }}"), json!({})).await;
        let mut step = 2;
        let error = loop {
            let message = client.message().await;
            if message["payload"].get("errors").is_some() {
                break message;
            }
            save(&server, None, user, step).await;
            step += 1;
        };
        assert_eq!(error["payload"]["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{error}");
        assert_eq!(client.message().await, json!({ "id": "1", "type": "complete" }));
        client.is_served().await;
    }
}

/// The statements that read records since the last call, and how often each was run.
async fn record_reads(session: &mut PgConnection) -> Vec<(i64, String)> {
    let calls = "SELECT calls, query FROM pg_stat_statements \
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND query ~ 'FROM task_record' AND query !~ 'pg_stat_statements'";
    let calls = session.fetch_all(calls).await.unwrap();
    let reset = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()";
    session.execute(reset).await.unwrap();
    calls.iter().map(|row| (row.get("calls"), row.get("query"))).collect()
}

#[tokio::test]
async fn two_hundred_subscribers_cost_one_read_a_change_and_none_for_our_own() {
    const CHANGES: &str =
        "subscription { taskChanged(userId: \"u\") { feedCursor task { position result errorMessage } } }";
    let server = ApiServer::start().await;
    save(&server, None, "u", 1).await;
    let mut session = server.database.session().await;
    session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.unwrap();
    let mut events = Vec::new();
    let mut changes = Vec::new();
    for _ in 0..10 {
        let operations = vec![(EVENTS, json!({ "user": "u", "start": true })); 10];
        events.push(subscribed(&server, TRANSPORT, Value::Null, &operations).await);
        changes.push(subscribed(&server, TRANSPORT, Value::Null, &vec![(CHANGES, json!({})); 10]).await);
    }
    record_reads(&mut session).await;
    let mut last = 1;
    for (is_own, most) in [(true, 0), (false, 520)] {
        for step in last + 1..=last + 500 {
            if is_own {
                save(&server, None, "u", step).await;
            } else {
                let sql = "INSERT INTO task_history (user_id, task_id, step, result, \"timestamp\", status) VALUES \
                    ('u', 't', $1, '{\"step\": \"s\", \"message\": \"\", \"result\": 5}', now() AT TIME ZONE 'UTC', 'running')";
                sqlx::query(sql).bind(step).execute(&mut session).await.unwrap();
            }
        }
        for client in &mut events {
            let mut told = 0;
            while told < 10 * 500 {
                let event = client.message().await["payload"]["data"]["taskEvents"].take();
                assert!(!event["task"]["result"].is_null(), "{event}");
                told += 1;
            }
        }
        last += 500;
        for client in &mut changes {
            let mut told = 0;
            while told < 10 {
                let change = client.message().await["payload"]["data"]["taskChanged"].take();
                assert!(!change["task"]["result"].is_null(), "{change}");
                told += i32::from(change["task"]["position"] == last);
            }
        }
        let reads = record_reads(&mut session).await;
        let count: i64 = reads.iter().map(|(calls, _)| calls).sum();
        assert!(count <= most, "own: {is_own}: more than {most}: {reads:?}");
    }
}

#[tokio::test]
async fn equal_changes_cost_one_execution_and_different_ones_are_told_as_they_are() {
    let server = ApiServer::start().await;
    save(&server, None, "u", 1).await;
    let chosen = "subscription($filter: TaskFilter, $after: FeedCursor, $id: ID) { \
        e: taskChanged(userId: \"u\", taskId: $id, filter: $filter, after: $after) { \
        feedCursor isReplay matchesFilter task { position status result } } }";
    let cursor = server.data("{ feed(userId: \"u\") { cursor } }", json!({})).await["feed"]["cursor"].clone();
    let own = chosen.replace("after: $after) {", "after: $after) @include(if: true) {");
    let other = json!({ "filter": { "statuses": ["FAILED"] } });
    // Fifty, of which some resume and some ask for the task: their root differs, and what they are told does not.
    let equal = [json!({}), json!({ "after": cursor }), json!({ "filter": { "statuses": ["RUNNING"] } })];
    let mut clients = Vec::new();
    for variables in equal.iter().cycle().take(50) {
        clients.push(subscribed(&server, TRANSPORT, Value::Null, &[(chosen, variables.clone())]).await);
    }
    let mut outside = Vec::new();
    for _ in 0..10 {
        outside.push(subscribed(&server, LEGACY, Value::Null, &[(chosen, other.clone())]).await);
    }
    let mut alone = subscribed(&server, TRANSPORT, Value::Null, &[(&own, json!({}))]).await;
    let rendered = server.app.telemetry().rendered_events.get();
    for step in 2..=21 {
        save(&server, None, "u", step).await;
        let told = text(&mut alone).await;
        for client in &mut clients {
            assert_eq!(text(client).await, told, "byte for byte what the library says");
        }
        let mut told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["payload"]["data"]["e"]["task"]["result"], json!({ "n": step }));
        told["payload"]["data"]["e"]["matchesFilter"] = json!(false);
        for client in &mut outside {
            assert_eq!(client.message().await["payload"], told["payload"]);
        }
    }
    let rendered = server.app.telemetry().rendered_events.get() - rendered;
    assert_eq!(rendered, 2 * 20, "once for those in the filter, once for the others");
}

#[tokio::test]
async fn changes_of_everybody_are_told_to_each() {
    let server = ApiServer::start().await;
    let query = "subscription { taskChanged { feedCursor task { userId position } } }";
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(subscribed(&server, TRANSPORT, Value::Null, &[(query, json!({}))]).await);
    }
    let rendered = server.app.telemetry().rendered_events.get();
    for user in ["u", "v"] {
        // Both stand at the first position.
        save(&server, None, user, 1).await;
        for client in &mut clients {
            let told = |user: &str| json!({ "feedCursor": null, "task": { "userId": user, "position": 1 } });
            let mut change = client.message().await["payload"]["data"]["taskChanged"].take();
            // The check may tell a state that was told before it had noted that.
            while user == "v" && change == told("u") {
                change = client.message().await["payload"]["data"]["taskChanged"].take();
            }
            assert_eq!(change, told(user));
        }
    }
    assert_eq!(server.app.telemetry().rendered_events.get(), rendered);
}
