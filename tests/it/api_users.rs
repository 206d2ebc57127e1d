//! `users`: who has tasks, page by page, and `node` of one.

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::api_server::{ApiServer, token};
use taskwire::auth::Role;

const PAGE: &str = "query($prefix: String, $first: Int, $after: String, $last: Int, $before: String) {
    users(userIdPrefix: $prefix, first: $first, after: $after, last: $last, before: $before) {
        nodes { userId } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

async fn page(server: &ApiServer, variables: Value) -> (Vec<String>, Value) {
    let users = server.data(PAGE, variables).await["users"].take();
    let ids = users["nodes"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned());
    (ids.collect(), users["pageInfo"].clone())
}

#[tokio::test]
async fn those_who_have_tasks_are_told_by_their_id_with_their_feeds() {
    let server = ApiServer::start().await;
    for (user, task) in [("ben", "t"), ("anna", "t"), ("anna", "s"), ("Zoe", "t"), ("anna", "t")] {
        server.save(user, task, 1, "RUNNING", json!({})).await;
    }
    let query =
        "{ users { nodes { id userId feed { position cursor oldestPosition } } edges { cursor node { userId } } } }";
    let users = server.data(query, json!({})).await["users"].clone();
    let feed = r#"{ anna: feed(userId: "anna") { position cursor oldestPosition } ben: feed(userId: "ben") { position cursor
        oldestPosition } Zoe: feed(userId: "Zoe") { position cursor oldestPosition } }"#;
    let feeds = server.data(feed, json!({})).await;
    assert_eq!(feeds["anna"]["position"], 3);
    assert_eq!(feeds["anna"]["oldestPosition"], 1);
    let names = ["Zoe", "anna", "ben"];
    for (number, name) in names.into_iter().enumerate() {
        let node = &users["nodes"][number];
        assert_eq!(node["userId"], name);
        assert_eq!(node["feed"], feeds[name], "{name}");
        assert_eq!(users["edges"][number]["node"]["userId"], name);
        let again = "query($id: ID!) { node(id: $id) { id ... on User { userId feed { position } } } }";
        let told = server.data(again, json!({ "id": node["id"] })).await["node"].clone();
        let position = &feeds[name]["position"];
        assert_eq!(told, json!({ "id": node["id"], "userId": name, "feed": { "position": position } }));
    }
    assert_eq!(users["nodes"].as_array().unwrap().len(), names.len());
}

#[tokio::test]
async fn pages_of_users_go_forward_and_backward() {
    let server = ApiServer::start().await;
    for user in ["a", "b", "ba", "bb", "b\u{10FFFF}", "c"] {
        for task in ["1", "2", "3"] {
            server.save(user, task, 1, "RUNNING", json!({})).await;
        }
    }
    for (size, prefix, expected) in [
        (2, "", &["a", "b", "ba", "bb", "b\u{10FFFF}", "c"][..]),
        (3, "b", &["b", "ba", "bb", "b\u{10FFFF}"]),
        (1, "bb", &["bb"]),
        (2, "d", &[]),
        (2, "B", &[]),
    ] {
        let (mut forward, mut after) = (Vec::new(), Value::Null);
        loop {
            let (ids, info) = page(&server, json!({ "prefix": prefix, "first": size, "after": after })).await;
            assert_eq!(info["hasPreviousPage"], !forward.is_empty(), "{prefix}");
            forward.extend(ids);
            after = info["endCursor"].clone();
            if info["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(forward, expected, "{prefix}");
        let (mut backward, mut before) = (Vec::new(), Value::Null);
        loop {
            let (ids, info) = page(&server, json!({ "prefix": prefix, "last": size, "before": before })).await;
            backward.splice(0..0, ids);
            before = info["startCursor"].clone();
            if info["hasPreviousPage"] == false {
                break;
            }
        }
        assert_eq!(backward, expected, "{prefix}");
    }
    let (ids, info) = page(&server, json!({ "first": 0 })).await;
    assert_eq!((ids.len(), &info["hasNextPage"]), (0, &json!(true)));
}

#[tokio::test]
async fn who_has_no_task_any_more_is_not_told() {
    let server = ApiServer::start().await;
    for user in ["anna", "ben", "carl"] {
        server.save(user, "t", 1, "RUNNING", json!({})).await;
    }
    let ben = server.data(r#"{ users(userIdPrefix: "ben") { nodes { id } } }"#, json!({})).await;
    let gone = "DELETE FROM task WHERE user_id = 'ben'";
    server.database.session().await.execute(gone).await.unwrap();
    assert_eq!(page(&server, json!({})).await.0, ["anna", "carl"]);
    let id = &ben["users"]["nodes"][0]["id"];
    let node = server.data("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await;
    assert_eq!(node, json!({ "node": null }));
}

#[tokio::test]
async fn what_users_cannot_take_is_named() {
    let server = ApiServer::start().await;
    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    let (_, info) = page(&server, json!({ "prefix": "a" })).await;
    for (variables, field) in [
        (json!({ "prefix": "x".repeat(256) }), "userIdPrefix"),
        (json!({ "prefix": "\u{0}" }), "userIdPrefix"),
        (json!({ "first": -1 }), "first"),
        (json!({ "first": 501 }), "first"),
        (json!({ "last": 501 }), "last"),
        (json!({ "first": 1, "last": 1 }), "last"),
        (json!({ "after": "x" }), "after"),
        // Of the list with another prefix.
        (json!({ "prefix": "b", "after": info["endCursor"] }), "after"),
        (json!({ "before": info["endCursor"] }), "before"),
    ] {
        let error = server.error(PAGE, variables).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
        assert_eq!(error["extensions"]["field"], field, "{error}");
    }
    page(&server, json!({ "prefix": "x".repeat(255), "first": 500 })).await;
}

#[tokio::test]
async fn an_id_of_oneself_is_found_and_that_of_another_looks_like_none() {
    let server = ApiServer::with_key().await;
    let ask = async |role, sub: &str, query: &str, variables: Value| {
        let body = json!({ "query": query, "variables": variables });
        let request = server.client.post(server.url()).bearer_auth(token(sub, role)).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let save = "mutation($user: ID!) { saveTaskHistory(input: { userId: $user, taskId: \"t\", step: 1,
        stepResult: { stepName: \"s\", status: RUNNING } }) { isDuplicate } }";
    for user in ["anna", "ben"] {
        ask(Role::Worker, "hand", save, json!({ "user": user })).await;
    }
    let users = ask(Role::Worker, "hand", "{ users { nodes { id } } }", json!({})).await;
    let id = &users["data"]["users"]["nodes"][0]["id"];
    let node = "query($id: ID!) { node(id: $id) { ... on User { userId } } }";
    let told = json!({ "node": { "userId": "anna" } });
    assert_eq!(ask(Role::User, "anna", node, json!({ "id": id })).await["data"], told);
    assert_eq!(ask(Role::User, "ben", node, json!({ "id": id })).await["data"], json!({ "node": null }));
}
