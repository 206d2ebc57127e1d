//! Every query: its answer as it comes, and its bad inputs one by one.

use serde_json::{Value, json};

use super::api_server::ApiServer;

#[tokio::test]
async fn the_viewer_is_an_admin_as_long_as_nobody_signs_in() {
    let server = ApiServer::start().await;
    let query =
        "{ viewer { userId role tokenExpiresAt maySave limits { pageSize batchRecords resultBytes requestBytes } } }";
    let limits = r#"{"pageSize":500,"batchRecords":10000,"resultBytes":262144,"requestBytes":16777216}"#;
    let viewer = format!(r#"{{"userId":null,"role":"ADMIN","tokenExpiresAt":null,"maySave":true,"limits":{limits}}}"#);
    assert_eq!(server.raw(query, json!({})).await, format!(r#"{{"data":{{"viewer":{viewer}}}}}"#));
}

#[tokio::test]
async fn what_is_not_there_is_null_or_empty() {
    let server = ApiServer::start().await;
    let query = r#"{ taskStatus(userId: "u", taskId: "t") task(userId: "u", taskId: "t") { id } node(id: "x") { id }
        nodes(ids: ["", "x"]) { id } taskHistory(userId: "u", taskId: "t") { edges { cursor } nodes { id }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }
        tasks { nodes { id } feedCursor count { value isExact } } feed(userId: "u") { position oldestPosition } }"#;
    let info = r#"{"hasNextPage":false,"hasPreviousPage":false,"startCursor":null,"endCursor":null}"#;
    let history = format!(r#"{{"edges":[],"nodes":[],"pageInfo":{info}}}"#);
    let tasks = r#"{"nodes":[],"feedCursor":null,"count":{"value":0,"isExact":true}}"#;
    let feed = r#"{"position":0,"oldestPosition":null}"#;
    let expected = format!(
        r#"{{"data":{{"taskStatus":null,"task":null,"node":null,"nodes":[null,null],"taskHistory":{history},"tasks":{tasks},"feed":{feed}}}}}"#
    );
    assert_eq!(server.raw(query, json!({})).await, expected);
}

#[tokio::test]
async fn a_task_its_steps_and_its_history_are_told() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({ "stepResult": { "stepName": "load" } })).await;
    server.save("u", "t", 1, "COMPLETED", json!({})).await;
    server.save("u", "t", 2, "FAILED", json!({ "stepResult": { "errorCode": "E", "errorMessage": "why" } })).await;
    let query = r#"{ status: taskStatus(userId: "u", taskId: "t")
        task(userId: "u", taskId: "t") {
            isFinished step errorCode errorMessage position
            steps { nodes { step name status recordCount record { position errorMessage } } }
            history { nodes { position step status } } }
        taskHistory(userId: "u", taskId: "t", last: 1) { nodes { position } pageInfo { hasPreviousPage } } }"#;
    let expected = json!({
        "status": "FAILED",
        "task": {
            "isFinished": true, "step": 2, "errorCode": "E", "errorMessage": "why", "position": 3,
            "steps": { "nodes": [
                { "step": 1, "name": "load", "status": "COMPLETED", "recordCount": 2,
                  "record": { "position": 2, "errorMessage": null } },
                { "step": 2, "name": "", "status": "FAILED", "recordCount": 1,
                  "record": { "position": 3, "errorMessage": "why" } },
            ] },
            "history": { "nodes": [
                { "position": 1, "step": 1, "status": "RUNNING" },
                { "position": 2, "step": 1, "status": "COMPLETED" },
                { "position": 3, "step": 2, "status": "FAILED" },
            ] },
        },
        "taskHistory": { "nodes": [{ "position": 3 }], "pageInfo": { "hasPreviousPage": true } },
    });
    assert_eq!(server.data(query, json!({})).await, expected);
}

#[tokio::test]
async fn moments_are_told_with_z_and_six_decimals() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "COMPLETED", json!({ "task": { "totalSteps": 1 } })).await;
    let query = r#"{ task(userId: "u", taskId: "t") { createdAt startedAt updatedAt finishedAt
        history { nodes { timestamp recordedAt } } steps { nodes { reportedAt finishedAt startedAt } } } }"#;
    let task = server.data(query, json!({})).await["task"].clone();
    let record = &task["history"]["nodes"][0];
    let step = &task["steps"]["nodes"][0];
    let moments =
        [&task["createdAt"], &task["startedAt"], &task["updatedAt"], &task["finishedAt"], &record["timestamp"]];
    for moment in moments.into_iter().chain([&record["recordedAt"], &step["reportedAt"], &step["finishedAt"]]) {
        let text = moment.as_str().unwrap();
        assert!(text.len() == 27 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    }
    assert_eq!(task["createdAt"], record["recordedAt"]);
    assert_eq!(step["startedAt"], Value::Null);
}

#[tokio::test]
async fn a_filter_holds_in_all_that_it_says() {
    let server = ApiServer::start().await;
    let named = json!({ "task": { "name": "Import", "tags": ["a", "b"] } });
    server.save("u", "one%", 1, "RUNNING", named).await;
    server.save("u", "two", 1, "FAILED", json!({ "stepResult": { "errorCode": "E" } })).await;
    server.save("u", "three", 1, "PENDING", json!({})).await;
    server.save("v", "one%", 1, "RUNNING", json!({})).await;
    server.data(r#"mutation { cancelTask(input: { userId: "u", taskId: "three" }) { outcome } }"#, json!({})).await;
    for (filter, expected) in [
        (json!({}), &["one%", "two", "three"][..]),
        (json!(null), &["one%", "two", "three"]),
        (json!({ "statuses": [], "names": [], "tags": null }), &["one%", "two", "three"]),
        (json!({ "statuses": ["FAILED", "PENDING"] }), &["two"]),
        (json!({ "isFinished": true }), &["two", "three"]),
        (json!({ "isFinished": false }), &["one%"]),
        (json!({ "names": ["Import", "x"] }), &["one%"]),
        (json!({ "taskIds": ["two", "three", "two"] }), &["two", "three"]),
        (json!({ "taskIdPrefix": "one%" }), &["one%"]),
        (json!({ "taskIdPrefix": "%" }), &[]),
        (json!({ "taskIdPrefix": "t" }), &["two", "three"]),
        (json!({ "tags": ["a", "b"] }), &["one%"]),
        (json!({ "tags": ["a", "c"] }), &[]),
        (json!({ "errorCodes": ["E"] }), &["two"]),
        (json!({ "cancellationPending": true }), &["three"]),
        (json!({ "cancellationPending": false }), &["one%", "two"]),
        (
            json!({ "createdFrom": "2020-01-01T00:00:00Z", "updatedBefore": "2999-01-01T00:00:00Z" }),
            &["one%", "two", "three"],
        ),
        (json!({ "createdBefore": "2020-01-01T00:00:00Z" }), &[]),
        (json!({ "finishedFrom": "2020-01-01T00:00:00Z" }), &["two", "three"]),
        (json!({ "isFinished": true, "errorCodes": ["E"], "taskIdPrefix": "t" }), &["two"]),
    ] {
        let query = r#"query($filter: TaskFilter) { tasks(userId: "u", orderBy: CREATED_ASC, filter: $filter) {
            nodes { taskId } count { value isExact } } }"#;
        let tasks = server.data(query, json!({ "filter": filter })).await["tasks"].clone();
        let ids: Vec<_> = tasks["nodes"].as_array().unwrap().iter().map(|task| task["taskId"].clone()).collect();
        assert_eq!(ids, expected, "{filter}");
        assert_eq!(tasks["count"], json!({ "value": expected.len(), "isExact": true }), "{filter}");
    }
    let everyone =
        server.data(r"{ tasks(first: 0) { nodes { id } feedCursor count(limit: 3) { value isExact } } }", json!({}));
    let told = json!({ "nodes": [], "feedCursor": null, "count": { "value": 3, "isExact": false } });
    assert_eq!(everyone.await["tasks"], told);
}

#[tokio::test]
async fn a_condition_takes_its_variables_default_where_that_is_left_out() {
    let server = ApiServer::start().await;
    for (condition, is_there) in [("@include(if: $yes)", true), ("@skip(if: $yes)", false)] {
        for place in ["role CONDITION", "... CONDITION { role }", "...F CONDITION", "... { ... CONDITION { role } }"] {
            let selection = place.replace("CONDITION", condition);
            let fragment = if place.contains("...F") { "fragment F on Viewer { role }" } else { "" };
            let query = |default| {
                format!("query($yes: Boolean{default}) {{ viewer {{ mayAsk: maySave {selection} }} }} {fragment}")
            };
            for (query, variables, is_there) in [
                (query(" = true"), json!({}), is_there),
                (query("! = true"), json!({}), is_there),
                (query(" = false"), json!({}), !is_there),
                (query(" = true"), json!({ "yes": false }), !is_there),
                (query("!"), json!({ "yes": true }), is_there),
            ] {
                let data = server.data(&query, variables.clone()).await;
                assert_eq!(data["viewer"].get("role").is_some(), is_there, "{query} {variables}");
            }
        }
    }
}

#[tokio::test]
async fn arguments_with_a_default_take_it_where_left_out_and_refuse_null() {
    let server = ApiServer::start().await;
    for task in ["a", "b"] {
        server.save("u", task, 1, "RUNNING", json!({})).await;
    }
    let query = r#"query($order: TaskOrder, $limit: Int) { tasks(userId: "u", orderBy: $order) {
        nodes { taskId } count(limit: $limit) { value } } }"#;
    let told = json!({ "tasks": { "nodes": [{ "taskId": "b" }, { "taskId": "a" }], "count": { "value": 2 } } });
    assert_eq!(server.data(query, json!({})).await, told);
    for (variables, field) in [(json!({ "order": null }), "orderBy"), (json!({ "limit": null }), "limit")] {
        let error = server.error(query, variables).await;
        assert_eq!(error["extensions"], json!({ "code": "BAD_USER_INPUT", "field": field }));
    }
}

#[tokio::test]
async fn what_a_query_cannot_take_is_named() {
    let server = ApiServer::start().await;
    let (long, ids) = ("x".repeat(256), |count: usize| json!(vec!["x"; count]).to_string());
    let long_filter = |name: &str, count: usize| format!("filter: {{ {name}: {} }}", ids(count));
    for (query, field) in [
        (r#"task(taskId: "t") { id }"#.to_owned(), "userId"),
        (r#"task(userId: "", taskId: "t") { id }"#.to_owned(), "userId"),
        (r#"task(userId: "u", taskId: "") { id }"#.to_owned(), "taskId"),
        (r#"task(userId: "u", taskId: "\u0000") { id }"#.to_owned(), "taskId"),
        (format!(r#"task(userId: "u", taskId: "{long}") {{ id }}"#), "taskId"),
        (r#"taskStatus(taskId: "t")"#.to_owned(), "userId"),
        (r#"taskHistory(taskId: "t") { feedCursor }"#.to_owned(), "userId"),
        (r#"taskHistory(userId: "u", taskId: "t", first: -1) { feedCursor }"#.to_owned(), "first"),
        (r#"taskHistory(userId: "u", taskId: "t", last: 501) { feedCursor }"#.to_owned(), "last"),
        (r#"taskHistory(userId: "u", taskId: "t", after: "x") { feedCursor }"#.to_owned(), "after"),
        (r"feed { position }".to_owned(), "userId"),
        (r"tasks(first: -1) { feedCursor }".to_owned(), "first"),
        (r"tasks(first: 501) { feedCursor }".to_owned(), "first"),
        (r"tasks(last: -2147483648) { feedCursor }".to_owned(), "last"),
        (r"tasks(first: 1, last: 1) { feedCursor }".to_owned(), "last"),
        (r#"tasks(after: "") { feedCursor }"#.to_owned(), "after"),
        (r#"tasks(before: "bm8gY3Vyc29y") { feedCursor }"#.to_owned(), "before"),
        (format!("tasks({}) {{ feedCursor }}", long_filter("taskIds", 501)), "filter.taskIds"),
        (format!("tasks({}) {{ feedCursor }}", long_filter("names", 501)), "filter.names"),
        (format!("tasks({}) {{ feedCursor }}", long_filter("tags", 33)), "filter.tags"),
        (format!(r#"tasks(filter: {{ taskIdPrefix: "{long}" }}) {{ feedCursor }}"#), "filter.taskIdPrefix"),
        (r"tasks(filter: { statuses: [DONE] }) { feedCursor }".to_owned(), "filter.statuses[0]"),
        (r#"tasks(filter: { createdFrom: "2026-02-30T00:00:00Z" }) { feedCursor }"#.to_owned(), "filter.createdFrom"),
        (r"tasks(orderBy: NAME) { feedCursor }".to_owned(), "orderBy"),
        (r"tasks { count(limit: -1) { value } }".to_owned(), "limit"),
        (r"tasks { count(limit: 10001) { value } }".to_owned(), "limit"),
        (format!("nodes(ids: {}) {{ id }}", ids(101)), "ids"),
        (r"nodes(ids: [null]) { id }".to_owned(), "ids[0]"),
    ] {
        let error = server.error(&format!("{{ {query} }}"), json!({})).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{query}: {error}");
        assert_eq!(error["extensions"]["field"], field, "{query}: {error}");
    }
    for query in [
        format!(r#"task(userId: "u", taskId: "{}") {{ id }}"#, "x".repeat(255)),
        "tasks(first: 500) { count(limit: 10000) { value } }".to_owned(),
        "tasks(last: 0) { count(limit: 0) { value } }".to_owned(),
        format!("tasks({}) {{ feedCursor }}", long_filter("taskIds", 500)),
        format!("nodes(ids: {}) {{ id }}", ids(100)),
    ] {
        server.data(&format!("{{ {query} }}"), json!({})).await;
    }
}

#[tokio::test]
async fn a_field_that_fails_is_null_and_its_neighbours_stand() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let query = r#"{ a: task(userId: "u", taskId: "t") { taskId steps(first: -1) { nodes { id } } step }
        b: taskStatus(userId: "", taskId: "t") c: taskStatus(userId: "u", taskId: "t") }"#;
    let raw = server.raw(query, json!({})).await;
    assert!(raw.ends_with(r#""data":{"a":{"taskId":"t","steps":null,"step":1},"b":null,"c":"RUNNING"}}"#), "{raw}");
    let answer: Value = serde_json::from_str(&raw).unwrap();
    let mut paths: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| error["path"].to_string()).collect();
    paths.sort();
    assert_eq!(paths, [r#"["a","steps"]"#, r#"["b"]"#]);
}

#[tokio::test]
async fn the_results_of_a_list_are_read_at_once_and_only_when_asked_for() {
    use sqlx::{Executor as _, Row as _};
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.unwrap();
    for number in 0..100 {
        server.save("u", &format!("t{number}"), 1, "RUNNING", json!({ "stepResult": { "result": number } })).await;
    }
    let mut reads = async |query: &str| {
        session
            .execute("SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()")
            .await
            .unwrap();
        server.data(query, json!({})).await;
        let calls = "SELECT coalesce(sum(calls), 0)::bigint AS calls FROM pg_stat_statements \
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND query ~ 'task_record' AND query !~ 'pg_stat_statements'";
        session.fetch_one(calls).await.unwrap().get::<i64, _>("calls")
    };
    assert_eq!(reads("{ tasks(first: 100) { nodes { taskId message errorCode status } } }").await, 0);
    assert_eq!(reads("{ tasks(first: 100) { nodes { result errorMessage again: result } } }").await, 1);
    let two = r#"{ a: tasks(first: 50) { nodes { result } } t: task(userId: "u", taskId: "t1") { result } }"#;
    assert!(reads(two).await <= 2, "lists that are read at different times may be asked for apart");
}

#[tokio::test]
async fn introspection_answers_what_tools_ask() {
    let server = ApiServer::start().await;
    let query = "query IntrospectionQuery { __schema { description queryType { name kind } mutationType { name } \
        subscriptionType { name } types { ...FullType } directives { name description isRepeatable locations \
        args { ...InputValue } } } } \
        fragment FullType on __Type { kind name description specifiedByURL isOneOf fields(includeDeprecated: true) { \
        name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated \
        deprecationReason } inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef } \
        enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } \
        possibleTypes { ...TypeRef } } \
        fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated \
        deprecationReason } \
        fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind \
        name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } \
        } } } }";
    let schema = server.data(query, json!({})).await["__schema"].clone();
    assert_eq!(schema["subscriptionType"]["name"], "Subscription");
    let types = schema["types"].as_array().unwrap();
    let uuid = types.iter().find(|ty| ty["name"] == "UUID").unwrap();
    assert_eq!(uuid["specifiedByURL"], "https://datatracker.ietf.org/doc/html/rfc9562");
    let node = types.iter().find(|ty| ty["name"] == "Node").unwrap();
    let mut nodes: Vec<_> = node["possibleTypes"].as_array().unwrap().iter().map(|ty| ty["name"].clone()).collect();
    nodes.sort_by_key(Value::to_string);
    assert_eq!(nodes, ["Task", "TaskRecord", "TaskStep", "User"]);
}

#[tokio::test]
async fn a_stored_value_that_cannot_be_read_is_null_with_an_error_and_hides_nothing() {
    use sqlx::Executor as _;
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({ "stepResult": { "stepName": "load", "message": "m" } })).await;
    let poison = "UPDATE task_record SET result = jsonb_set(result::jsonb, '{result}', '1e400')";
    server.database.session().await.execute(poison).await.unwrap();
    let query = r#"{ task(userId: "u", taskId: "t") { message result
        history { nodes { stepName message result position } } } }"#;
    let answer = server.ask(query, json!({})).await;
    let record = json!({ "stepName": "load", "message": "m", "result": null, "position": 1 });
    let task = json!({ "message": "m", "result": null, "history": { "nodes": [record] } });
    assert_eq!(answer["data"]["task"], task, "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert_eq!(error["extensions"]["code"], "INTERNAL_SERVER_ERROR");
        assert_eq!(error["extensions"]["id"].as_str().map(str::len), Some(36));
    }
}

#[tokio::test]
async fn a_document_that_grows_without_end_is_refused() {
    let server = ApiServer::start().await;
    let fragment = |n: usize| {
        format!(
            "fragment F{n} on Query {{ a{n}: node(id: \"\") {{ id }} ...G{n} }} fragment G{n} on Query {{ ...F{} }} ",
            n + 1
        )
    };
    let chain: String = (0..6).map(fragment).collect();
    server
        .data(&format!("{{ ...F0 ...F1 ...F0 }} {chain} fragment F6 on Query {{ viewer {{ role }} }}"), json!({}))
        .await;
    let many = "viewer { role } ".repeat(5_001);
    let error = server.error(&format!("{{ {many} }}"), json!({})).await;
    let told = json!({ "code": "LIMIT_EXCEEDED", "limit": "tokens", "max": 10_000, "value": 10_001 });
    assert_eq!(error["extensions"], told);
}
