//! The schema, asked for: what tools send is answered, what only costs is refused, and all of it can be switched off.

use serde_json::{Value, json};

use super::api_server::ApiServer;

/// As graphql-js writes them (`getIntrospectionQuery`), which Apollo's, Relay's and GraphiQL's tools send: with every
/// option, and with none.
const FULL: &str = include_str!("../graphql-js/introspection_full.graphql");
const PLAIN: &str = include_str!("../graphql-js/introspection.graphql");

fn code(error: &Value) -> (&str, &str) {
    let extensions = &error["extensions"];
    (extensions["code"].as_str().unwrap_or_default(), extensions["limit"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn the_tools_queries_and_the_documents_of_readme_pass() {
    let server = ApiServer::start().await;
    for query in [FULL, PLAIN] {
        let schema = server.data(query, json!({})).await;
        assert!(schema["__schema"]["types"].as_array().unwrap().len() > 30);
    }
    let mut seen = 0;
    for page in ["README.md", "docs/ARCHITECTURE.md", "docs/limits.md"] {
        let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let quoted =
            text.lines().filter_map(|line| Some(line.trim().strip_prefix("\"query\": \"")?.replace("\\\"", "\"")));
        let quoted = quoted.map(|line| line.trim_end_matches(',').trim_end_matches('"').to_owned());
        let templates = text.split("const query = `").skip(1).map(|rest| rest.split('`').next().unwrap().to_owned());
        for document in quoted.chain(templates) {
            let answer = server.ask(&document, json!({ "userId": "u" })).await;
            let refused = answer["errors"].as_array().into_iter().flatten().map(code).find(|(code, _)| {
                ["LIMIT_EXCEEDED", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"].contains(code)
            });
            assert_eq!(refused, None, "{page}: {document}: {answer}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "the pages' documents are not found any more: {seen}");
}

#[tokio::test]
async fn circles_of_introspection_are_cut_off() {
    let server = ApiServer::start().await;
    let circle = "{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }";
    let error = server.error(circle, json!({})).await;
    assert_eq!(code(&error), ("LIMIT_EXCEEDED", "introspectionDepth"), "{error}");
    assert_eq!((&error["extensions"]["max"], &error["extensions"]["value"]), (&json!(2), &json!(3)));
    let two = "{ __schema { types { fields { type { fields { name } } } } } }";
    server.data(two, json!({})).await;
    let hidden = "{ __type(name: \"Task\") { ...F } } fragment F on __Type { fields { type { ...G } } } \
         fragment G on __Type { inputFields { type { ...H } } } fragment H on __Type { possibleTypes { name } }";
    assert_eq!(code(&server.error(hidden, json!({})).await).1, "introspectionDepth");
}

#[tokio::test]
async fn introspection_off_tells_neither_the_schema_nor_what_was_nearly_right() {
    let server = ApiServer::configured(|config| config.graphql.introspection = false).await;
    for query in [
        PLAIN,
        "{ ...F } fragment F on Query { __type(name: \"Task\") { name } }",
        "{ a: __schema { types { name } } }",
    ] {
        let error = server.error(query, json!({})).await;
        assert_eq!(code(&error).0, "INTROSPECTION_DISABLED", "{error}");
    }
    assert_eq!(server.data("{ __typename viewer { __typename } }", json!({})).await["__typename"], "Query");
    let misspelt = "{ viewr { role } }";
    let error = server.error(misspelt, json!({})).await;
    assert!(!error["message"].as_str().unwrap().contains("viewer"), "{error}");
    let open = ApiServer::start().await.error(misspelt, json!({})).await;
    assert!(open["message"].as_str().unwrap().contains("viewer"), "nothing is suggested any more: {open}");
}
