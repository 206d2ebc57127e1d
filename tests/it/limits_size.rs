//! What one operation may ask for: each limit just under and just over, by its name, its maximum and the value; and the
//! probes of graphql-cop, larger than they are there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taskwire::config::GraphqlConfig;

use super::api_server::{ApiServer, SAVE, report};

/// Of an operation that is refused: the limit, its maximum, the value.
async fn refused(server: &ApiServer, query: &str, variables: Value) -> (String, u64, u64) {
    let answer = server.ask(query, variables).await;
    let error = &answer["errors"][0];
    let extensions = &error["extensions"];
    assert_eq!(extensions["code"], "LIMIT_EXCEEDED", "{answer}");
    assert!(answer.get("data").is_none(), "{answer}");
    let limit = extensions["limit"].as_str().unwrap();
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    (limit.to_owned(), extensions["max"].as_u64().unwrap(), extensions["value"].as_u64().unwrap())
}

fn found(limit: &str, max: u64, value: u64) -> (String, u64, u64) {
    (limit.to_owned(), max, value)
}

fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(" ")
}

async fn small() -> ApiServer {
    ApiServer::configured(|config| {
        config.graphql = GraphqlConfig {
            max_depth: 4,
            max_complexity: 300,
            max_aliases: 3,
            max_directives: 3,
            max_root_fields: 3,
            max_tokens: 60,
            max_document_bytes: 1_000,
            max_variables_bytes: 100,
            max_answer_bytes: 400,
            ..GraphqlConfig::default()
        };
    })
    .await
}

#[tokio::test]
async fn each_limit_holds_just_over_it_and_not_just_under() {
    let server = small().await;
    let none = || json!({});
    // Depth, in fragments too.
    server.data("{ tasks(userId: \"u\") { nodes { cancellation { reason } } } }", none()).await;
    let deep =
        "{ tasks(userId: \"u\") { ...F } } fragment F on TaskConnection { edges { node { cancellation { reason } } } }";
    assert_eq!(refused(&server, deep, none()).await, found("depth", 4, 5));
    // Aliases, directives, root fields: by themselves, and by a fragment that is mentioned again.
    let aliases = |count| format!("{{ viewer {{ {} }} }}", many(count, |n| format!("a{n}: role")));
    server.data(&aliases(3), none()).await;
    assert_eq!(refused(&server, &aliases(4), none()).await, found("aliases", 3, 4));
    let twice = "{ viewer { ...F ...F } } fragment F on Viewer { a: role b: role }";
    assert_eq!(refused(&server, twice, none()).await, found("aliases", 3, 4));
    let directives = |count| format!("{{ viewer {{ {} }} }}", many(count, |_| "role @include(if: true)".into()));
    server.data(&directives(3), none()).await;
    assert_eq!(refused(&server, &directives(4), none()).await, found("directives", 3, 4));
    let roots = |count| format!("{{ {} }}", many(count, |_| "__typename".into()));
    server.data(&roots(3), none()).await;
    assert_eq!(refused(&server, &roots(4), none()).await, found("rootFields", 3, 4));
    // The document: 6 tokens and more.
    let tokens = |count: usize| format!("{{ viewer {{ {} }} }}", many(count - 5, |_| "role".into()));
    server.data(&tokens(60), none()).await;
    assert_eq!(refused(&server, &tokens(61), none()).await, found("tokens", 60, 61));
    let long = |length: usize| format!("{:length$}", "{ viewer { role } }");
    server.data(&long(1_000), none()).await;
    assert_eq!(refused(&server, &long(1_001), none()).await, found("documentBytes", 1_000, 1_001));
    // The variables: {"t":"…"}.
    let named = "query($t: ID!) { taskStatus(userId: \"u\", taskId: $t) }";
    server.data(named, json!({ "t": "x".repeat(100 - 8) })).await;
    let over = refused(&server, named, json!({ "t": "x".repeat(101 - 8) })).await;
    assert_eq!(over, found("variablesBytes", 100, 101));
}

#[tokio::test]
async fn an_answer_has_its_size() {
    let server = ApiServer::configured(|config| config.graphql.max_answer_bytes = 70).await;
    let ask = async |length: usize| {
        let id = "x".repeat(length);
        let query = format!("{{ viewer {{ role }} __typename {id}: __typename }}");
        server.ask(&query, json!({})).await
    };
    // {"viewer":{"role":"ADMIN"},"__typename":"Query","…":"Query"}
    assert!(ask(11).await.get("errors").is_none());
    let query = format!("{{ viewer {{ role }} __typename {}: __typename }}", "x".repeat(30));
    let (limit, max, value) = refused(&server, &query, json!({})).await;
    assert_eq!((limit.as_str(), max), ("answerBytes", 70));
    let whole = r#"{"viewer":{"role":"ADMIN"},"__typename":"Query","":"Query"}"#.len() as u64 + 30;
    assert_eq!(value, whole);
}

#[tokio::test]
async fn complexity_is_fields_by_pages_and_nothing_slips_under_it() {
    let server = ApiServer::configured(|config| config.graphql.max_complexity = 300).await;
    let page = "query($n: Int) { tasks(userId: \"u\", first: $n) { nodes { taskId status } } }";
    // tasks, nodes, and two fields of each of its tasks.
    server.data(page, json!({ "n": 149 })).await;
    assert_eq!(refused(&server, page, json!({ "n": 150 })).await, found("complexity", 300, 302));
    // Out of bounds: put within them for the cost, and refused by the field.
    for wrong in [-1, 0, i64::from(i32::MIN)] {
        let answer = server.ask(page, json!({ "n": wrong })).await;
        assert_ne!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{wrong}: {answer}");
    }
    assert_eq!(refused(&server, page, json!({ "n": 2_000_000_000 })).await, found("complexity", 300, 1_002));
    // Left out it is 50; pages within pages multiply, and backward ones too.
    let nested = "{ tasks(userId: \"u\", first: 500) { nodes { history(last: 500) { nodes { position message } } } } }";
    assert_eq!(refused(&server, nested, json!({})).await.2, 2 + 500 * (2 + 500 * 2));
    let inherited = "{ tasks(userId: \"u\") { nodes { history(first: -5) { nodes { position } } taskId } } }";
    server.data("{ tasks(userId: \"u\") { nodes { taskId name } } }", json!({})).await;
    let answer = server.ask(inherited, json!({})).await;
    assert_ne!(answer["errors"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{answer}");
    // A default, and a fragment that two pages mention.
    let default = "query($n: Int = 500) { tasks(userId: \"u\", first: $n) { nodes { taskId } } }";
    assert_eq!(refused(&server, default, json!({})).await.2, 502);
    let shared = "{ a: tasks(userId: \"u\", first: 100) { ...F } b: tasks(userId: \"u\", first: 200) { ...F } } \
         fragment F on TaskConnection { edges { node { taskId } } }";
    assert_eq!(refused(&server, shared, json!({})).await.2, (2 + 200) + (2 + 400));
}

#[tokio::test]
async fn a_variable_within_an_input_counts_as_much_as_one_of_all_of_it() {
    let server = ApiServer::configured(|config| config.graphql.max_complexity = 300).await;
    let records: Vec<Value> = (0..200).map(|n| report("u", &format!("t{n}"), 1, "RUNNING", json!({}))).collect();
    let save = |variable: &str, input: &str| {
        format!("mutation({variable}) {{ saveTaskHistoryBatch(input: {input}) {{ records {{ id step }} }} }}")
    };
    let whole = save("$input: SaveTaskHistoryBatchInput!", "$input");
    let expected = found("complexity", 300, 402);
    assert_eq!(refused(&server, &whole, json!({ "input": { "records": records } })).await, expected);
    let nested = save("$r: [SaveTaskHistoryInput!]!", "{ records: $r }");
    assert_eq!(refused(&server, &nested, json!({ "r": records })).await, expected);
    server.data(&nested, json!({ "r": records[..149] })).await;
    let cancel = |variable: &str, input: &str| {
        format!("mutation({variable}) {{ cancelTasks(input: {input}) {{ tasks {{ taskId }} }} }}")
    };
    for (query, variables) in [
        (cancel("$input: CancelTasksInput!", "$input"), json!({ "input": { "filter": {}, "limit": 500 } })),
        (cancel("$n: Int", "{ filter: {}, limit: $n }"), json!({ "n": 500 })),
        (cancel("$f: TaskFilter!", "{ filter: $f, limit: 500 }"), json!({ "f": {} })),
    ] {
        assert_eq!(refused(&server, &query, variables).await, found("complexity", 300, 502), "{query}");
    }
}

#[tokio::test]
async fn pages_batches_and_results_are_as_large_as_the_operator_says() {
    let server = ApiServer::configured(|config| {
        config.graphql.max_page_size = 20;
        config.graphql.max_batch_records = 2;
        config.graphql.max_result_bytes = 100;
    })
    .await;
    let told = server.data("{ viewer { limits { pageSize batchRecords resultBytes } } }", json!({})).await;
    assert_eq!(told["viewer"]["limits"], json!({ "pageSize": 20, "batchRecords": 2, "resultBytes": 100 }));
    let over = async |query: &str, variables: Value| {
        let extensions = server.error(query, variables).await["extensions"].clone();
        assert_eq!(extensions["code"], "BAD_USER_INPUT", "{extensions}");
        let number = |name: &str| extensions[name].as_i64().unwrap();
        (extensions["field"].as_str().unwrap().to_owned(), number("limit"), number("value"))
    };
    let pages = "query($n: Int) { tasks(userId: \"u\", first: $n) { nodes { taskId } } }";
    server.data(pages, json!({ "n": 20 })).await;
    assert_eq!(over(pages, json!({ "n": 21 })).await, ("first".into(), 20, 21));
    let batch = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    let records = |count: usize| {
        let record = |n| report("u", &format!("t{n}"), 1, "RUNNING", json!({}));
        json!({ "input": { "records": (0..count).map(record).collect::<Vec<_>>() } })
    };
    server.data(batch, records(2)).await;
    assert_eq!(over(batch, records(3)).await, ("input.records".into(), 2, 3));
    let result = |length: usize| json!({ "stepResult": { "result": "x".repeat(length - 2) } });
    server.save("u", "t", 1, "RUNNING", result(100)).await;
    let large = json!({ "input": report("u", "t", 2, "RUNNING", result(101)) });
    assert_eq!(over(SAVE, large).await, ("input.stepResult.result".into(), 100, 101));
    // Where no size is asked for, a page is no larger either.
    for n in 0..20 {
        server.save("u", &format!("more{n}"), 1, "RUNNING", json!({})).await;
    }
    let left_out = server.data(pages, json!({})).await;
    assert_eq!(left_out["tasks"]["nodes"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn brackets_within_each_other_have_their_depth() {
    let server = ApiServer::start().await;
    // Of the selection and of the arguments, and these.
    let nested = |levels: usize| format!("{{ viewer(a: {}{}) {{ role }} }}", "[".repeat(levels), "]".repeat(levels));
    let error = server.error(&nested(198), json!({})).await;
    assert_eq!(error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{error}");
    assert_eq!(refused(&server, &nested(199), json!({})).await, found("nesting", 200, 201));
}

/// A fragment's arguments are copied to wherever it stands, and each of them may be wrong.
#[tokio::test]
async fn arguments_count_wherever_their_fragment_stands() {
    let server = ApiServer::start().await;
    let spread = |operations: usize, arguments: &str| {
        let fragment = format!("fragment F on Query {{ taskStatus(userId: \"u\", taskId: {arguments}) }} ");
        fragment + &many(operations, |n| format!("query q{n} {{ ...F }}"))
    };
    // userId: "u" is 23, taskId 6 and its value 16 more than its text.
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 23 - 6 - 16));
    let error = server.error(&spread(8, &text(1 << 17)), json!({})).await;
    assert_eq!(error["extensions"]["code"], "OPERATION_RESOLUTION_FAILURE", "{error}");
    let (max, over) = (1 << 20, 8 * ((1 << 17) + 1));
    assert_eq!(refused(&server, &spread(8, &text((1 << 17) + 1)), json!({})).await, found("argumentBytes", max, over));
    let undefined = many(2_000, |n| format!("$a{n}"));
    assert_eq!(refused(&server, &spread(800, &format!("[{undefined}]")), json!({})).await.0, "argumentBytes");
    // What nobody uses is measured, too.
    let unused = format!("{{ viewer {{ role }} }} {}", spread(0, &text((1 << 18) + 1)));
    assert_eq!(server.ask(&unused, json!({})).await["errors"].as_array().unwrap().len(), 1);
    let aliases = many(51, |n| format!("a{n}: role"));
    let unused = format!("{{ viewer {{ role }} }} fragment F on Viewer {{ {aliases} }}");
    assert_eq!(refused(&server, &unused, json!({})).await, found("aliases", 50, 51));
}

#[tokio::test]
async fn a_refusal_tells_no_more_than_a_hundred_errors() {
    let server = ApiServer::start().await;
    let answer = server.ask(&format!("{{ viewer {{ {} }} }}", many(400, |n| format!("no{n}"))), json!({})).await;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 100);
}

/// The library would panic.
#[tokio::test]
async fn a_default_of_an_unknown_type_is_refused() {
    let server = ApiServer::start().await;
    for (ty, default) in [("[Nope]", "[1]"), ("Nope", "1"), ("[[Task!]!]!", "[]")] {
        let error = server.error(&format!("query($x: {ty} = {default}) {{ viewer {{ role }} }}"), json!({})).await;
        assert_eq!(error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{error}");
    }
    server
        .data(
            "query($user: ID = \"u\", $at: DateTime = \"2026-01-01T00:00:00Z\", $s: [TaskStatus!] = [RUNNING]) { \
        tasks(userId: $user, filter: { statuses: $s, createdFrom: $at }) { nodes { taskId } } }",
            json!({}),
        )
        .await;
}

#[tokio::test]
async fn a_variable_that_is_used_often_counts_as_often() {
    let server = ApiServer::start().await;
    let query =
        "query($name: String!) { tasks(userId: \"u\", filter: { names: [$name, $name] }) { nodes { taskId } } }";
    let named = |bytes: usize| json!({ "name": "x".repeat(bytes - 2) });
    let error = server.error(query, named(512 << 10)).await;
    assert_eq!(error["extensions"]["field"], "filter.names[0]", "{error}");
    let over = found("repeatedVariablesBytes", 1 << 20, (1 << 20) + 2);
    assert_eq!(refused(&server, query, named((512 << 10) + 1)).await, over);
    // What the document itself gives it, too.
    let default = format!("String! = \"{}\"", "x".repeat((256 << 10) - 1));
    let query = query.replace("String!", &default).replace("[$name,", "[$name, $name, $name,");
    assert_eq!(refused(&server, &query, json!({})).await, found("repeatedVariablesBytes", 1 << 20, (1 << 20) + 4));
}

#[tokio::test]
async fn fragments_within_each_other_have_their_depth() {
    let server = ApiServer::configured(|config| config.graphql.max_directives = 100).await;
    let nested = |count: usize| {
        let one = |n: usize| format!("fragment F{n} on Viewer {{ ...F{} @include(if: true) }}", n + 1);
        format!("{{ viewer {{ ...F0 }} }} {} fragment F{count} on Viewer {{ role }}", many(count, one))
    };
    server.data(&nested(40), json!({})).await;
    assert_eq!(refused(&server, &nested(52), json!({})).await, found("fragmentDepth", 48, 49));
}

#[tokio::test]
async fn what_graphql_cop_sends_is_refused_soon() {
    let server = ApiServer::start().await;
    let begin = Instant::now();
    let none = || json!({});
    let aliases = format!("{{ {} }}", many(1_000, |n| format!("alias{n}: __typename")));
    assert!(["aliases", "rootFields"].contains(&refused(&server, &aliases, none()).await.0.as_str()));
    let directives = format!("{{ __typename {} }}", "@aa".repeat(1_000));
    assert_eq!(refused(&server, &directives, none()).await, found("directives", 50, 1_000));
    let fields = format!("{{ {} }}", many(1_000, |_| "__typename".into()));
    assert_eq!(refused(&server, &fields, none()).await, found("rootFields", 20, 1_000));
    let circular = "{ __schema { ...A } } fragment A on __Schema { __typename ...B } fragment B on __Schema { ...A }";
    let error = server.error(circular, none()).await;
    assert!(error["extensions"]["code"].is_string(), "{error}");
    let body = json!([{ "query": "{ __typename }" }, { "query": "{ __typename }" }]);
    let batch = server.client.post(server.url()).json(&body).send().await.unwrap();
    assert_eq!(batch.status(), 400);
    // A header for a debugger brings nothing more, to those either who are let in.
    let traced = server.client.post(server.url()).header("x-apollo-tracing", "1");
    let traced = traced.json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
    assert_eq!(traced.json::<Value>().await.unwrap(), json!({ "data": { "__typename": "Query" } }));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn bombs_of_fragments_cost_no_more_than_their_length() {
    let server = ApiServer::start().await;
    let begin = Instant::now();
    for condition in ["", "@include(if: true)", "@skip(if: false)"] {
        let spread = |n: usize| format!("...F{n} {condition} ");
        let bomb = many(30, |n| format!("fragment F{n} on Viewer {{ {} {} }}", spread(n + 1), spread(n + 1)));
        let query = format!("{{ viewer {{ ...F0 }} }} {bomb} fragment F30 on Viewer {{ role }}");
        let (limit, _, value) = refused(&server, &query, json!({})).await;
        assert!(["selections", "directives"].contains(&limit.as_str()), "{limit}");
        assert!(value > 1_000_000, "{value}");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_save_of_the_largest_batch_is_within_the_defaults() {
    let server = ApiServer::start().await;
    let records: Vec<Value> = (0..10_000).map(|n| report("u", &format!("t{n}"), 1, "RUNNING", json!({}))).collect();
    let query = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    let data = server.data(query, json!({ "input": { "records": records } })).await;
    assert_eq!(data["saveTaskHistoryBatch"]["savedCount"], 10_000);
    assert!(server.data(SAVE, json!({ "input": report("u", "t", 1, "RUNNING", json!({})) })).await.is_object());
}
