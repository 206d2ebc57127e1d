//! What stands in strings: SQL's wildcards and quotes mean nothing in any of them, and a cursor opens nobody else's data.

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::rights::World;

/// What SQL, JSON, LIKE, regular expressions or format strings would make something of.
const HOSTILE: [&str; 12] =
    ["%", "_", "a%", "\\", "\\%", "'", "''; DROP TABLE task; --", "\"", "$1", "{}", "' OR '1'='1", "\u{202e}\u{1f980}"];

async fn found(server: &ApiServer, filter: Value) -> Vec<String> {
    let query =
        "query($filter: TaskFilter) { tasks(userId: \"u\", filter: $filter) { nodes { taskId } count { value } } }";
    let tasks = server.data(query, json!({ "filter": filter })).await["tasks"].take();
    let ids: Vec<String> =
        tasks["nodes"].as_array().unwrap().iter().map(|node| node["taskId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tasks["count"]["value"], ids.len(), "{filter}");
    ids
}

#[tokio::test]
async fn a_prefix_is_a_prefix_whatever_it_holds() {
    let server = ApiServer::start().await;
    let ids = ["a", "ab", "a%b", "a_b", "a\\b", "%", "_", "%a", "_a", "\\", "\\%", "'", "'a", "b"];
    for id in ids {
        server.save("u", id, 1, "RUNNING", json!({})).await;
    }
    for prefix in ["a", "a%", "a_", "a\\", "%", "_", "\\", "\\%", "'", "%%", "__", ".*", "^a", "A"] {
        let mut told = found(&server, json!({ "taskIdPrefix": prefix })).await;
        told.sort();
        let mut expected: Vec<_> = ids.into_iter().filter(|id| id.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(told, expected, "{prefix}");
    }
}

#[tokio::test]
async fn every_string_argument_takes_every_string_for_what_it_is() {
    let server = ApiServer::start().await;
    server.save("u", "plain", 1, "RUNNING", json!({ "task": { "name": "plain", "tags": ["plain"] } })).await;
    for text in HOSTILE {
        // Nothing of that name is there yet, and nothing matches by accident.
        for filter in [
            json!({ "taskIds": [text] }),
            json!({ "names": [text] }),
            json!({ "tags": [text] }),
            json!({ "errorCodes": [text] }),
            json!({ "taskIdPrefix": text }),
        ] {
            assert_eq!(found(&server, filter.clone()).await, Vec::<String>::new(), "{filter}");
        }
        let asked = server
            .data(
                "query($x: ID!) { task(userId: $x, taskId: $x) { taskId } taskStatus(userId: $x, taskId: $x) \
                 node(id: $x) { id } tasks(userId: $x) { nodes { taskId } } taskHistory(userId: $x, taskId: $x) { nodes { step } } \
                 feed(userId: $x) { position } }",
                json!({ "x": text }),
            )
            .await;
        assert_eq!(
            asked,
            json!({ "task": null, "taskStatus": null, "node": null, "tasks": { "nodes": [] },
                "taskHistory": { "nodes": [] }, "feed": { "position": 0 } }),
            "{text}"
        );
    }
    for text in HOSTILE {
        let more = json!({
            "stepResult": { "stepName": text, "message": text, "errorCode": text, "errorMessage": text, "result": { text: text } },
            "task": { "name": text, "tags": [text] },
        });
        server.save(text, text, 1, "FAILED", more).await;
        server
            .save(
                "u",
                text,
                1,
                "FAILED",
                json!({ "task": { "name": text, "tags": [text] }, "stepResult": { "errorCode": text } }),
            )
            .await;
    }
    for text in HOSTILE {
        for filter in [
            json!({ "taskIds": [text] }),
            json!({ "names": [text] }),
            json!({ "tags": [text] }),
            json!({ "errorCodes": [text] }),
        ] {
            assert_eq!(found(&server, filter.clone()).await, [text], "{filter}");
        }
        let query = "query($x: ID!) { task(userId: $x, taskId: $x) { taskId userId name tags message errorCode errorMessage result \
                     history { nodes { stepName } } } }";
        let task = server.data(query, json!({ "x": text })).await["task"].take();
        let expected = json!({ "taskId": text, "userId": text, "name": text, "tags": [text], "message": text,
            "errorCode": text, "errorMessage": text, "result": { text: text }, "history": { "nodes": [{ "stepName": text }] } });
        assert_eq!(task, expected);
        let cancel = "mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome task { cancellation { reason } } } }";
        let input = json!({ "userId": text, "taskId": text, "reason": text, "force": true });
        let cancelled = server.data(cancel, json!({ "input": input })).await["cancelTask"].take();
        assert_eq!(cancelled, json!({ "outcome": "CANCELLED", "task": { "cancellation": { "reason": text } } }));
        let answer = "mutation($input: AcknowledgeCancellationInput!) { acknowledgeCancellation(input: $input) { outcome \
                      task { cancellation { message } } } }";
        let input = json!({ "userId": text, "taskId": text, "outcome": "STOPPED", "message": text });
        let answered = server.data(answer, json!({ "input": input })).await["acknowledgeCancellation"].take();
        assert_eq!(answered, json!({ "outcome": "ACKNOWLEDGED", "task": { "cancellation": { "message": text } } }));
        let disconnect = "mutation($x: ID!) { disconnectUser(input: { userId: $x }) { closedConnections } }";
        server.data(disconnect, json!({ "x": text })).await;
        for argument in ["after", "before"] {
            let query =
                format!("query($x: String) {{ tasks(userId: \"u\", {argument}: $x) {{ nodes {{ taskId }} }} }}");
            let error = server.error(&query, json!({ "x": text })).await;
            assert_eq!(
                (&error["extensions"]["code"], &error["extensions"]["field"]),
                (&json!("BAD_USER_INPUT"), &json!(argument))
            );
        }
    }
    assert_eq!(found(&server, json!({ "taskIds": ["plain"] })).await, ["plain"]);
}

#[tokio::test]
async fn a_cursor_of_one_user_opens_nothing_of_another() {
    let world = Box::pin(World::new(false)).await;
    for step in 2..=4 {
        world.save("ben", "t", step, "RUNNING", json!({})).await;
    }
    let ask = async |who: usize, query: String| world.answer(who, &query).await.1;
    let hers = ask(1, "{ tasks(first: 1) { pageInfo { endCursor } } taskHistory(taskId: \"t\", first: 1) { pageInfo { endCursor } } }".into()).await;
    let (tasks, history) = (
        hers["data"]["tasks"]["pageInfo"]["endCursor"].clone(),
        hers["data"]["taskHistory"]["pageInfo"]["endCursor"].clone(),
    );
    for who in [2, 3, 4] {
        // In one's own list, in hers by her name, and in one of nobody's, a foreign cursor is refused alike.
        for user in ["ben", "nobody"] {
            let answer =
                ask(who, format!("{{ tasks(userId: \"{user}\", after: {tasks}) {{ nodes {{ taskId }} }} }}")).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
            let answer = ask(
                who,
                format!(
                    "{{ taskHistory(userId: \"{user}\", taskId: \"t\", after: {history}) {{ nodes {{ step }} }} }}"
                ),
            )
            .await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
        }
    }
    // Hers in hers tells Ben no more than any text would.
    let foreign = ask(2, format!("{{ tasks(userId: \"anna\", after: {tasks}) {{ nodes {{ taskId }} }} }}")).await;
    assert!(!foreign.to_string().contains("stop") && !foreign.to_string().contains("taskId"), "{foreign}");
    let foreign =
        ask(2, format!("{{ taskHistory(userId: \"anna\", taskId: \"t\", after: {history}) {{ nodes {{ step }} }} }}"))
            .await;
    assert!(!foreign.to_string().contains("step"), "{foreign}");
}

#[tokio::test]
async fn a_feed_cursor_of_another_user_is_refused_as_expired() {
    let world = Box::pin(World::new(false)).await;
    let hers = world.answer(1, "{ feed { cursor } }").await.1["data"]["feed"]["cursor"].clone();
    for field in ["taskEvents", "taskChanged"] {
        let own = format!("subscription {{ {field}(after: {hers}) {{ isReplay }} }}");
        assert_eq!(world.event(2, &own).await, "CURSOR_EXPIRED");
        let foreign = format!("subscription {{ {field}(userId: \"anna\", after: {hers}) {{ isReplay }} }}");
        assert_eq!(world.event(2, &foreign).await, "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_record_id_of_another_user_is_just_another_record_id() {
    let world = Box::pin(World::new(true)).await;
    let id = "0190aaaa-0000-7000-8000-000000000001";
    world.save("anna", "secret", 7, "RUNNING", json!({ "recordId": id })).await;
    let save = |more: &str| {
        format!(
            r#"mutation {{ saveTaskHistory(input: {{ taskId: "mine", step: 1, recordId: "{id}", {more}
                stepResult: {{ stepName: "s", status: RUNNING }} }}) {{ isDuplicate record {{ userId taskId }} }} }}"#
        )
    };
    let saved = world.answer(2, &save("")).await.1;
    assert_eq!(
        saved["data"]["saveTaskHistory"],
        json!({ "isDuplicate": false, "record": { "userId": "ben", "taskId": "mine" } })
    );
    let foreign = world.answer(2, &save(r#"userId: "anna","#)).await.1;
    assert_eq!(foreign["errors"][0]["extensions"]["code"], "FORBIDDEN", "not a conflict: {foreign}");
}

/// The probes of graphql-cop that concern rights: what a page without a token could do, and what is told to anybody.
#[tokio::test]
async fn nobody_learns_or_changes_anything_by_the_known_probes() {
    let world = Box::pin(World::new(false)).await;
    let server = &world.server;
    let probes = [
        "{ __schema { types { name } } }",
        "{ __typename }",
        "{ __type(name: \"Task\") { fields { name } } }",
        "{ taskz { id } }",
        "query { a: viewer { role } b: viewer { role } }",
        "mutation { disconnectUser(input: { userId: \"anna\" }) { closedConnections } }",
        "{",
    ];
    for probe in probes {
        let answer = world.answer(0, probe).await;
        assert_eq!(
            (answer.0, &answer.1["errors"][0]["extensions"]["code"]),
            (401, &json!("UNAUTHENTICATED")),
            "{probe}"
        );
        assert!(answer.1.get("data").is_none() && !answer.1.to_string().contains("Did you mean"), "{answer:?}");
    }
    let get = server.client.get(format!("{}?query=%7B__typename%7D", server.url())).send().await.unwrap();
    assert_eq!(get.status(), 401);
    let form = server.client.post(server.url()).header("content-type", "application/x-www-form-urlencoded");
    assert!(form.body("query=%7B__typename%7D").send().await.unwrap().status().is_client_error());
    // A token in a URL is no token, and a header for a debugger changes nothing.
    let traced =
        server.client.post(server.url()).header("x-apollo-tracing", "1").json(&json!({ "query": "{ __typename }" }));
    assert_eq!(traced.send().await.unwrap().status(), 401);
}
