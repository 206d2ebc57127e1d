//! Documents that are asked for by name: automatic persisted queries, and those that the operator trusts.

use std::collections::HashMap;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use reqwest::header::{ALLOW, CONTENT_TYPE};
use serde_json::{Value, json};
use taskwire::config::{Config, ConfigError, DocumentsConfig, DocumentsFlags, Flags};
use tokio_tungstenite::tungstenite::Message;

use super::api_server::ApiServer;
use super::support::Folder;
use super::support::process::{run, taskwire};

const ME: &str = "{ viewer { role } }";
const CANCEL: &str = r#"mutation { cancelTask(input: { userId: "u", taskId: "t" }) { outcome } }"#;

fn hash(document: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, document.as_bytes());
    hash.as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn persisted(document: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash(document) } })
}

async fn post(server: &ApiServer, body: Value) -> (StatusCode, Value) {
    let request = server.client.post(server.url()).json(&body).header("accept", "application/graphql-response+json");
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

fn me() -> (StatusCode, Value) {
    (StatusCode::OK, json!({ "data": { "viewer": { "role": "ADMIN" } } }))
}

#[tokio::test]
async fn a_query_that_was_sent_once_is_asked_for_by_its_hash() {
    let server = ApiServer::start().await;
    let by_hash = json!({ "extensions": persisted(ME) });
    for _ in 0..2 {
        let (status, answer) = post(&server, by_hash.clone()).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "PERSISTED_QUERY_NOT_FOUND"));
        assert_eq!(answer["errors"][0]["message"], "PersistedQueryNotFound");
        assert!(answer.get("data").is_none());
    }
    assert_eq!(post(&server, json!({ "query": ME, "extensions": persisted(ME) })).await, me());
    assert_eq!(post(&server, by_hash).await, me());
    let extensions = persisted(ME).to_string();
    let url = reqwest::Url::parse_with_params(&server.url(), [("extensions", extensions.as_str())]).unwrap();
    let got = server.client.get(url).send().await.unwrap();
    assert_eq!((got.status(), got.json::<Value>().await.unwrap()), me());
}

#[tokio::test]
async fn a_hash_is_held_to_its_document() {
    let server = ApiServer::start().await;
    for extensions in [
        persisted("{ viewer { userId } }"),
        json!({ "persistedQuery": { "version": 1, "sha256Hash": 7 } }),
        json!({ "persistedQuery": { "version": 2, "sha256Hash": hash(ME) } }),
        json!({ "persistedQuery": {} }),
    ] {
        let (status, answer) = post(&server, json!({ "query": ME, "extensions": extensions })).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "BAD_USER_INPUT"), "{extensions}");
    }
    let (_, answer) = post(&server, json!({ "extensions": persisted("{ viewer { userId } }") })).await;
    assert_eq!(code(&answer), "PERSISTED_QUERY_NOT_FOUND", "a wrong pair was kept");
    let broken = "{ viewer {";
    let (_, answer) = post(&server, json!({ "query": broken, "extensions": persisted(broken) })).await;
    assert_eq!(code(&answer), "GRAPHQL_PARSE_FAILED");
    let (_, answer) = post(&server, json!({ "extensions": persisted(broken) })).await;
    assert_eq!(code(&answer), "PERSISTED_QUERY_NOT_FOUND", "a broken document was kept");
}

#[tokio::test]
async fn a_document_beyond_a_limit_is_refused_by_it_and_not_remembered() {
    let server = ApiServer::start().await;
    let tokens = format!("{{ viewer {{ {} }} }}", "role ".repeat(9_996));
    let long = format!("{{ viewer {{ role }} }}{}", " ".repeat(512 << 10));
    for (document, limit) in [(tokens, "tokens"), (long, "documentBytes")] {
        let (status, answer) = post(&server, json!({ "query": document, "extensions": persisted(&document) })).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "LIMIT_EXCEEDED"));
        assert_eq!(answer["errors"][0]["extensions"]["limit"], limit);
        let (_, answer) = post(&server, json!({ "extensions": persisted(&document) })).await;
        assert_eq!(code(&answer), "PERSISTED_QUERY_NOT_FOUND", "a document beyond {limit} was kept");
    }
}

#[tokio::test]
async fn a_persisted_mutation_still_needs_a_post() {
    let server = ApiServer::start().await;
    let done = json!({ "data": { "cancelTask": { "outcome": "NOT_FOUND" } } });
    let sent = post(&server, json!({ "query": CANCEL, "extensions": persisted(CANCEL) })).await;
    assert_eq!(sent, (StatusCode::OK, done.clone()));
    let extensions = persisted(CANCEL).to_string();
    let url = reqwest::Url::parse_with_params(&server.url(), [("extensions", extensions.as_str())]).unwrap();
    let got = server.client.get(url).send().await.unwrap();
    assert_eq!((got.status(), got.headers()[ALLOW].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    assert_eq!(post(&server, json!({ "extensions": persisted(CANCEL) })).await, (StatusCode::OK, done));
}

#[tokio::test]
async fn nothing_is_remembered_where_there_is_no_room_for_it() {
    let documents = DocumentsConfig { persisted_bytes: 0, ..DocumentsConfig::default() };
    let server = ApiServer::with_config(Config { documents, ..Config::default() }).await;
    assert_eq!(post(&server, json!({ "query": ME, "extensions": persisted(ME) })).await, me());
    let (_, answer) = post(&server, json!({ "extensions": persisted(ME) })).await;
    assert_eq!(code(&answer), "PERSISTED_QUERY_NOT_FOUND");
}

async fn trusting(only: bool) -> ApiServer {
    let trusted = HashMap::from([(hash(ME), ME.to_owned()), ("cancel-1".to_owned(), CANCEL.to_owned())]);
    let documents = DocumentsConfig { trusted, trusted_only: only, ..DocumentsConfig::default() };
    ApiServer::with_config(Config { documents, ..Config::default() }).await
}

#[tokio::test]
async fn trusted_documents_are_asked_for_by_hash_or_id() {
    for only in [false, true] {
        let server = trusting(only).await;
        for asked in [
            json!({ "extensions": persisted(ME) }),
            json!({ "documentId": hash(ME) }),
            json!({ "documentId": format!("sha256:{}", hash(ME)) }),
            json!({ "query": ME, "documentId": hash(ME) }),
        ] {
            assert_eq!(post(&server, asked.clone()).await, me(), "{asked}");
        }
        let url = reqwest::Url::parse_with_params(&server.url(), [("documentId", hash(ME))]).unwrap();
        let got = server.client.get(url).send().await.unwrap();
        assert_eq!((got.status(), got.json::<Value>().await.unwrap()), me());
        let url = reqwest::Url::parse_with_params(&server.url(), [("documentId", "cancel-1")]).unwrap();
        assert_eq!(server.client.get(url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
        let (_, answer) = post(&server, json!({ "documentId": "cancel-1" })).await;
        assert_eq!(answer["data"]["cancelTask"]["outcome"], "NOT_FOUND");
        let (status, answer) = post(&server, json!({ "documentId": "cancel-2" })).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "PERSISTED_QUERY_NOT_FOUND"));
        let (_, answer) = post(&server, json!({ "query": "{ __typename }", "documentId": hash(ME) })).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT");
    }
}

#[tokio::test]
async fn nothing_but_trusted_documents_runs_where_the_operator_says_so() {
    let server = trusting(true).await;
    for asked in [
        json!({ "query": ME }),
        json!({ "query": "{ __typename }" }),
        json!({ "query": "{ __typename }", "extensions": persisted("{ __typename }") }),
        json!({ "extensions": persisted("{ __typename }") }),
        json!({ "query": "{ __typename }", "extensions": { "documentId": "x" } }),
        json!({ "query": "{ __typename }", "extensions": { "persistedQuery": null } }),
    ] {
        let (status, answer) = post(&server, asked.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{asked}: {answer}");
        assert!(["FORBIDDEN", "PERSISTED_QUERY_NOT_FOUND"].contains(&code(&answer)), "{asked}: {answer}");
        assert!(answer.get("data").is_none());
    }
    let url = reqwest::Url::parse_with_params(&server.url(), [("query", ME)]).unwrap();
    let got: Value = server.client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(code(&got), "FORBIDDEN");
}

#[tokio::test]
async fn sockets_are_no_way_around_trusted_documents() {
    let server = trusting(true).await;
    let mut socket = server.upgrade("graphql-transport-ws", None).await.unwrap();
    let ask = |id: &str, payload: Value| json!({ "type": "subscribe", "id": id, "payload": payload });
    socket.send(Message::text(json!({ "type": "connection_init" }).to_string())).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("connection_ack"));
    for message in [ask("1", json!({ "query": ME })), ask("2", json!({ "query": ME, "extensions": persisted(ME) }))] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    let (mut refused, mut answered) = (false, false);
    while !(refused && answered) {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the socket was closed") };
        let message: Value = serde_json::from_str(&text).unwrap();
        match message["id"].as_str() {
            Some("1") if message["type"] != "complete" => {
                assert!(text.contains("FORBIDDEN") && !text.contains("ADMIN"), "{text}");
                refused = true;
            }
            Some("2") if message["type"] != "complete" => {
                assert_eq!(message["payload"]["data"]["viewer"]["role"], "ADMIN", "{text}");
                answered = true;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn requests_that_a_page_may_send_unasked_change_nothing() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let form = [("query", CANCEL)];
    let encoded = reqwest::Url::parse_with_params("http://x", form).unwrap().query().unwrap().to_owned();
    let part = format!(
        "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--b--\r\n",
        json!({ "query": CANCEL })
    );
    for (kind, body) in [
        ("application/x-www-form-urlencoded", encoded.clone()),
        ("text/plain", json!({ "query": CANCEL }).to_string()),
        ("text/plain; application/json", json!({ "query": CANCEL }).to_string()),
        ("multipart/form-data; boundary=b", part),
    ] {
        let request = server.client.post(server.url()).header(CONTENT_TYPE, kind).body(body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let bare = server.client.post(server.url()).body(json!({ "query": CANCEL }).to_string());
    assert_eq!(bare.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let in_the_url = server.client.post(format!("{}?{encoded}", server.url()));
    assert!(in_the_url.send().await.unwrap().status().is_client_error());
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let request = server.client.request(method, format!("{}?{encoded}", server.url()));
        assert_eq!(request.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let told = server.data(r#"{ taskStatus(userId: "u", taskId: "t") }"#, json!({})).await;
    assert_eq!(told, json!({ "taskStatus": "RUNNING" }));
}

#[test]
fn the_file_of_trusted_documents_comes_in_two_forms() {
    let folder = Folder::new();
    let path = folder.join("documents.json");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let documents = DocumentsFlags { trusted_documents: Some(path.clone()), ..DocumentsFlags::default() };
        Config::load(Flags { documents, ..Flags::default() }, |_| None).map(|config| config.documents.trusted)
    };
    let apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [
        { "id": hash(ME), "name": "Me", "type": "query", "body": ME } ] });
    let expected = HashMap::from([(hash(ME), ME.to_owned())]);
    assert_eq!(load(&apollo.to_string()).unwrap(), expected);
    assert_eq!(load(&json!({ hash(ME): ME }).to_string()).unwrap(), expected);
    for wrong in [
        "",
        "[]",
        "{}",
        r#"{"a":1}"#,
        r#"{"format":"other","version":1,"operations":[]}"#,
        r#"{"format":"apollo-persisted-query-manifest","version":2,"operations":[]}"#,
    ] {
        let ConfigError { setting, problem } = load(wrong).unwrap_err();
        assert_eq!(setting, "--trusted-documents", "{wrong}");
        assert!(problem.contains("documents.json") && problem.lines().count() == 1, "{problem}");
    }
    let only = DocumentsFlags { trusted_documents_only: true, ..DocumentsFlags::default() };
    let error = Config::load(Flags { documents: only, ..Flags::default() }, |_| None).unwrap_err();
    assert_eq!(error.setting, "--trusted-documents-only");
}

#[tokio::test]
async fn a_trusted_document_that_is_not_graphql_stops_the_start() {
    let folder = Folder::new();
    let path = folder.join("documents.json");
    std::fs::write(&path, r#"{"a":"{ viewer {"}"#).unwrap();
    let mut command = taskwire(&[], ["serve", "--listen", "127.0.0.1:0", "--embedded", "--data-dir"]);
    command.arg(folder.join("data")).arg("--trusted-documents").arg(&path);
    let (code, _, error) = run(command).await;
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("taskwire: --trusted-documents: the document \"a\" is not GraphQL: "), "{error}");
    assert!(!folder.join("data").exists());
}
