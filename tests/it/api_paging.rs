//! Connections forward and backward, and global ids: whatever is handed out is found again.

use serde_json::{Value, json};

use super::api_server::ApiServer;

/// Walks a connection to its end and gives each page's nodes; checks what every page says of itself on the way.
async fn walk(server: &ApiServer, connection: &str, node: &str, size: usize, backward: bool) -> Vec<Vec<Value>> {
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let (count, from) = if backward { ("last", "before") } else { ("first", "after") };
        let from = cursor.as_ref().map(|cursor| format!(", {from}: \"{cursor}\"")).unwrap_or_default();
        let fields = format!(
            "edges {{ cursor node {{ {node} }} }} nodes {{ {node} }} pageInfo {{ \
             hasNextPage hasPreviousPage startCursor endCursor }}"
        );
        let query = connection.replace("ARGS", &format!("{count}: {size}{from}")).replace("FIELDS", &fields);
        let mut data = server.data(&query, json!({})).await;
        while data.get("edges").is_none() {
            data = data.as_object().unwrap().values().next().unwrap().clone();
        }
        let (edges, info) = (data["edges"].as_array().unwrap().clone(), data["pageInfo"].clone());
        let nodes: Vec<Value> = edges.iter().map(|edge| edge["node"].clone()).collect();
        assert_eq!(data["nodes"], json!(nodes));
        if let (Some(first), Some(last)) = (edges.first(), edges.last()) {
            assert_eq!((&info["startCursor"], &info["endCursor"]), (&first["cursor"], &last["cursor"]));
        }
        let (more, behind) =
            if backward { ("hasPreviousPage", "hasNextPage") } else { ("hasNextPage", "hasPreviousPage") };
        assert_eq!(info[behind], json!(cursor.is_some()), "{query}");
        let has_more = info[more] == true;
        assert!(!has_more || nodes.len() == size, "{query}");
        pages.push(nodes);
        if !has_more {
            return pages;
        }
        cursor = info[if backward { "startCursor" } else { "endCursor" }].as_str().map(str::to_owned);
        assert!(pages.len() < 20);
    }
}

/// A list walked in pages of every size, both ways, is the list itself.
async fn same_both_ways(server: &ApiServer, connection: &str, node: &str, expected: &[Value]) {
    for size in [1, 2, 3, expected.len(), expected.len() + 1] {
        let forward = walk(server, connection, node, size, false).await;
        assert_eq!(forward.concat(), expected, "{connection}");
        let mut backward = walk(server, connection, node, size, true).await;
        backward.reverse();
        assert_eq!(backward.concat(), expected, "{connection}");
    }
}

#[tokio::test]
async fn tasks_are_paged_in_each_order_both_ways() {
    let server = ApiServer::start().await;
    for number in 0..7 {
        server.save("u", &format!("t{number}"), 1, "RUNNING", json!({})).await;
        server.save("v", &format!("t{number}"), 1, "RUNNING", json!({})).await;
    }
    for number in [3, 0] {
        server.save("u", &format!("t{number}"), 2, "RUNNING", json!({})).await;
    }
    let ids = |numbers: &[i32]| numbers.iter().map(|id| json!({ "taskId": format!("t{id}") })).collect::<Vec<_>>();
    for (order, expected) in [
        ("CREATED_ASC", ids(&[0, 1, 2, 3, 4, 5, 6])),
        ("CREATED_DESC", ids(&[6, 5, 4, 3, 2, 1, 0])),
        ("UPDATED_ASC", ids(&[1, 2, 4, 5, 6, 3, 0])),
        ("UPDATED_DESC", ids(&[0, 3, 6, 5, 4, 2, 1])),
    ] {
        let connection = format!("{{ tasks(userId: \"u\", orderBy: {order}, ARGS) {{ FIELDS }} }}");
        same_both_ways(&server, &connection, "taskId", &expected).await;
        let everyone = format!("{{ tasks(orderBy: {order}, ARGS) {{ FIELDS }} }}");
        let all = walk(&server, &everyone, "userId taskId", 4, false).await.concat();
        assert_eq!(all.len(), 14);
        let mut back = walk(&server, &everyone, "userId taskId", 4, true).await;
        back.reverse();
        assert_eq!(back.concat(), all, "{order}");
    }
    let filtered =
        r#"{ tasks(userId: "u", filter: { taskIds: ["t1", "t5", "t6"] }, orderBy: CREATED_ASC, ARGS) { FIELDS } }"#;
    same_both_ways(&server, filtered, "taskId", &ids(&[1, 5, 6])).await;
}

#[tokio::test]
async fn steps_and_history_are_paged_both_ways() {
    let server = ApiServer::start().await;
    for step in [5, 1, 3, 2, 3, 9] {
        server.save("u", "t", step, "RUNNING", json!({})).await;
        server.save("u", "other", step, "RUNNING", json!({})).await;
    }
    let positions: Vec<Value> = [1, 3, 5, 7, 9, 11].iter().map(|position| json!({ "position": position })).collect();
    let steps: Vec<Value> = [1, 2, 3, 5, 9].iter().map(|step| json!({ "step": step })).collect();
    let task = |field: &str| format!("{{ task(userId: \"u\", taskId: \"t\") {{ {field}(ARGS) {{ FIELDS }} }} }}");
    let history = r#"{ taskHistory(userId: "u", taskId: "t", ARGS) { FIELDS } }"#;
    same_both_ways(&server, history, "position", &positions).await;
    same_both_ways(&server, &task("history"), "position", &positions).await;
    same_both_ways(&server, &task("steps"), "step", &steps).await;
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list_order_and_filter() {
    let server = ApiServer::start().await;
    for task in ["a", "b"] {
        server.save("u", task, 1, "RUNNING", json!({})).await;
    }
    let query = r#"{ tasks(userId: "u", first: 1) { pageInfo { endCursor } } }"#;
    let cursor = server.data(query, json!({})).await["tasks"]["pageInfo"]["endCursor"].clone();
    let ask = |connection: &str| format!("query($after: String!) {{ {connection} }}");
    server.data(&ask(r#"tasks(userId: "u", after: $after) { nodes { id } }"#), json!({ "after": cursor })).await;
    for connection in [
        r#"tasks(userId: "v", after: $after) { nodes { id } }"#,
        r"tasks(after: $after) { nodes { id } }",
        r#"tasks(userId: "u", orderBy: CREATED_DESC, after: $after) { nodes { id } }"#,
        r#"tasks(userId: "u", filter: { isFinished: false }, after: $after) { nodes { id } }"#,
        r#"taskHistory(userId: "u", taskId: "a", after: $after) { nodes { id } }"#,
    ] {
        let error = server.error(&ask(connection), json!({ "after": cursor })).await;
        assert_eq!(error["extensions"], json!({ "code": "BAD_USER_INPUT", "field": "after" }), "{connection}");
    }
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_the_clients_fault() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let query = r"{ tasks(first: 1) { pageInfo { endCursor } } }";
    let cursor = server.data(query, json!({})).await["tasks"]["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    let whole: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
    for (part, value) in [
        (0, json!(-370_000_000_000_000_000_i64)),
        (0, json!(i64::MAX)),
        (1, json!("a\0b")),
        (2, json!("a\0b")),
        (3, json!("one")),
    ] {
        let mut other = whole.clone();
        other["k"][part] = value;
        let after = URL_SAFE_NO_PAD.encode(other.to_string());
        let error = server
            .error("query($after: String) { tasks(after: $after) { nodes { id } } }", json!({ "after": after }))
            .await;
        assert_eq!(error["extensions"], json!({ "code": "BAD_USER_INPUT", "field": "after" }), "{other}");
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_the_longest_ids() {
    let server = ApiServer::start().await;
    // In a cursor, a control character takes more room than any other.
    for (user, task) in [("\u{1F980}", "\u{1F980}"), ("\u{1}", "\u{1}"), ("\u{1}", "x")] {
        server.save(&user.repeat(255), &task.repeat(255), 1, "RUNNING", json!({})).await;
    }
    let query = "query($after: String) { tasks(first: 1, after: $after) { nodes { taskId } pageInfo { endCursor } } }";
    let mut after = Value::Null;
    for _ in 0..3 {
        let page = server.data(query, json!({ "after": after })).await["tasks"].clone();
        assert_eq!(page["nodes"].as_array().unwrap().len(), 1);
        after = page["pageInfo"]["endCursor"].clone();
    }
    // Of one user, with the feed's place in it too.
    let query = "query($user: ID, $after: String) { tasks(userId: $user, first: 1, after: $after) { nodes { taskId } \
        pageInfo { endCursor } } }";
    let (user, mut after) = ("\u{1}".repeat(255), Value::Null);
    for _ in 0..2 {
        let page = server.data(query, json!({ "user": user, "after": after })).await["tasks"].clone();
        assert_eq!(page["nodes"].as_array().unwrap().len(), 1);
        after = page["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test]
async fn every_page_of_a_walk_repeats_the_feed_cursor_of_the_first() {
    let server = ApiServer::start().await;
    for task in ["a", "b", "c"] {
        server.save("u", task, 1, "RUNNING", json!({})).await;
    }
    for connection in [r#"tasks(userId: "u""#, r#"taskHistory(userId: "u", taskId: "a""#] {
        let query = format!(
            "{{ page: {connection}, first: 0) {{ feedCursor }} first: {connection}, first: 1) {{ feedCursor \
             pageInfo {{ endCursor }} }} feed(userId: \"u\") {{ cursor }} }}"
        );
        let first = server.data(&query, json!({})).await;
        let cursor = first["first"]["feedCursor"].clone();
        assert_eq!((&first["page"]["feedCursor"], &first["feed"]["cursor"]), (&cursor, &cursor));
        server.save("u", "a", 2, "RUNNING", json!({})).await;
        let next = format!("query($after: String) {{ {connection}, first: 1, after: $after) {{ feedCursor }} }}");
        let after = first["first"]["pageInfo"]["endCursor"].clone();
        let next = server.data(&next, json!({ "after": after })).await;
        assert_eq!(next.as_object().unwrap().values().next().unwrap()["feedCursor"], cursor);
    }
}

#[tokio::test]
async fn every_id_that_is_handed_out_is_found_again() {
    let server = ApiServer::start().await;
    let user = "\u{1F980}/%+ ".repeat(40);
    for step in [1, 2, 2] {
        server.save(&user, "t\u{e9}", step, "RUNNING", json!({})).await;
    }
    let query = "query($user: ID!) { task(userId: $user, taskId: \"t\u{e9}\") { id __typename \
        steps { nodes { id __typename record { id __typename } } } history { nodes { id __typename } } } }";
    let task = server.data(query, json!({ "user": user })).await["task"].clone();
    let mut found = Vec::new();
    collect(&task, &mut found);
    assert_eq!(found.len(), 1 + 2 + 2 + 3);
    let ids: Vec<&Value> = found.iter().map(|node| &node["id"]).collect();
    let nodes = server.data("query($ids: [ID!]!) { nodes(ids: $ids) { id __typename } }", json!({ "ids": ids })).await;
    assert_eq!(nodes["nodes"], json!(found));
    let one = "query($id: ID!) { node(id: $id) { id __typename ... on Task { taskId } ... on TaskStep { step } \
        ... on TaskRecord { position } } }";
    let told = server.data(one, json!({ "id": task["steps"]["nodes"][1]["id"] })).await["node"].clone();
    assert_eq!((&told["__typename"], &told["step"]), (&json!("TaskStep"), &json!(2)));
    let told = server.data(one, json!({ "id": task["history"]["nodes"][2]["id"] })).await["node"].clone();
    assert_eq!((&told["__typename"], &told["position"]), (&json!("TaskRecord"), &json!(3)));
}

/// Every object with an id, itself and below, as `nodes` tells them.
fn collect(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(id) = fields.get("id") {
                found.push(json!({ "id": id, "__typename": fields["__typename"] }));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn an_id_of_nothing_is_null() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let ids = [
        encode("t\0u\0nothing"),
        encode("t\0\0"),
        encode("t\0u\0"),
        encode(&format!("t\0u\0{}", "x".repeat(256))),
        encode("s\0u\0t\x002"),
        encode("s\0u\0t\x00-1"),
        encode("s\0u\0t\x00-2147483648"),
        encode("s\0u\0t\x002147483647"),
        encode("r\0u\x001\x000"),
        encode("r\0u\x009\x001700000000000000"),
        // Years that PostgreSQL does not have.
        encode("r\0u\x001\x00-370000000000000000"),
        encode("r\0u\x001\x008000000000000000000"),
        encode("q\0u\0t"),
        "\u{1F980}".to_owned(),
        "x".repeat(5_000),
    ];
    let nodes = server.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": ids })).await;
    assert_eq!(nodes["nodes"], json!(vec![Value::Null; ids.len()]));
}
