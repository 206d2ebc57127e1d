//! `/graphql` over HTTP: what is answered, and what a web page could send and is refused.

use std::time::Duration;

use reqwest::header::{ALLOW, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};
use sqlx::Executor as _;
use taskwire::config::HttpConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

use super::accept::to_the_end;
use super::api_server::ApiServer;

const ME: &str = "{ viewer { role } }";
const ME_ANSWERED: &str = r#"{"data":{"viewer":{"role":"ADMIN"}}}"#;
const CANCEL: &str = r#"mutation { cancelTask(input: { userId: "u", taskId: "t" }) { outcome } }"#;

async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// The URL with a query string.
fn with(url: String, query: &[(&str, &str)]) -> Url {
    Url::parse_with_params(&url, query).unwrap()
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn queries_are_answered_by_post_and_by_get() {
    let server = ApiServer::start().await;
    assert_eq!(server.raw(ME, json!({})).await, ME_ANSWERED);
    let get = |query: &[(&str, &str)]| server.client.get(with(server.url(), query)).send();
    assert_eq!(get(&[("query", ME)]).await.unwrap().text().await.unwrap(), ME_ANSWERED);
    let two = "query A { viewer { role } } query B($t: ID!) { taskStatus(userId: \"u\", taskId: $t) }";
    let named = [("query", two), ("operationName", "B"), ("variables", r#"{"t":"t"}"#), ("extensions", "")];
    assert_eq!(get(&named).await.unwrap().text().await.unwrap(), r#"{"data":{"taskStatus":null}}"#);
}

#[tokio::test]
async fn the_answer_has_the_type_that_was_asked_for() {
    let server = ApiServer::start().await;
    let kind = async |accept: &str| {
        let request = server.client.post(server.url()).json(&json!({ "query": ME })).header("accept", accept);
        let response: Response = request.send().await.unwrap();
        response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned()
    };
    let graphql = "application/graphql-response+json; charset=utf-8";
    assert_eq!(kind("application/graphql-response+json,application/json;q=0.9").await, graphql);
    assert_eq!(kind("*/*").await, "application/json; charset=utf-8");
}

#[tokio::test]
async fn a_mutation_is_taken_as_json_by_post_alone() {
    let server = ApiServer::start().await;
    let done = json!({"data": {"cancelTask": {"outcome": "NOT_FOUND"}}});
    assert_eq!(server.ask(CANCEL, json!({})).await, done);
    let got = server.client.get(with(server.url(), &[("query", CANCEL)])).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.headers()[ALLOW], "POST");
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let response = server.client.request(method, server.url()).body("{}").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, POST");
    }
    let body = json!({ "query": CANCEL }).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonp",
        "application/json; charset=utf-16",
        "",
    ] {
        let request = server.client.post(server.url()).header(CONTENT_TYPE, kind).body(body.clone());
        let (status, answer) = send(request).await;
        assert_eq!((status, code(&answer)), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT"), "{kind}");
        assert!(message(&answer).contains("application/json"));
    }
    for kind in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/json;charset=utf8"] {
        let request = server.client.post(server.url()).header(CONTENT_TYPE, kind).body(body.clone());
        assert_eq!(send(request).await, (StatusCode::OK, done.clone()), "{kind}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_a_400_with_a_code_and_without_data() {
    let server = ApiServer::start().await;
    for (body, expected) in [
        ("", "BAD_USER_INPUT"),
        ("{", "BAD_USER_INPUT"),
        ("[]", "BAD_USER_INPUT"),
        (r#"[{"query":"{ viewer { role } }"}]"#, "BAD_USER_INPUT"),
        (r#"["{ viewer { role } }"]"#, "BAD_USER_INPUT"),
        ("{}", "BAD_USER_INPUT"),
        (r#"{"query":null}"#, "BAD_USER_INPUT"),
        (r#"{"query":7}"#, "BAD_USER_INPUT"),
        (r#"{"query":"{ viewer { role } }","variables":"x"}"#, "BAD_USER_INPUT"),
        (r#"{"query":"{ viewer { role } }","extensions":[]}"#, "BAD_USER_INPUT"),
        (r#"{"query":"{ viewer { role } }","operationName":[]}"#, "BAD_USER_INPUT"),
    ] {
        let request = server.client.post(server.url()).header(CONTENT_TYPE, "application/json").body(body);
        let (status, answer) = send(request).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, expected), "{body}: {answer}");
        assert!(answer.get("data").is_none(), "{answer}");
    }
    for query in
        [&[][..], &[("query", "")], &[("query", ME), ("variables", "x")], &[("query", ME), ("extensions", "1")]]
    {
        let (status, answer) = send(server.client.get(with(server.url(), query))).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "BAD_USER_INPUT"), "{query:?}");
    }
    let nulls = r#"{"query":"{ viewer { role } }","variables":null,"operationName":null,"extensions":null,"more":1}"#;
    let request = server.client.post(server.url()).header(CONTENT_TYPE, "application/json").body(nulls);
    assert_eq!(send(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_is_not_executed_has_the_status_of_its_media_type_and_no_data() {
    let server = ApiServer::start().await;
    let watch = r#"{"query":"subscription { taskEvents(userId: \"u\") { isReplay } }"}"#;
    for (body, expected) in [
        (r#"{"query":"{ viewer { role "}"#, "GRAPHQL_PARSE_FAILED"),
        (r#"{"query":"{ nobody }"}"#, "GRAPHQL_VALIDATION_FAILED"),
        (r#"{"query":"query A { viewer { role } }","operationName":"B"}"#, "OPERATION_RESOLUTION_FAILURE"),
        (watch, "OPERATION_RESOLUTION_FAILURE"),
    ] {
        for (accept, status) in [("application/json", 200), ("*/*", 200), ("application/graphql-response+json", 400)] {
            let request = server.client.post(server.url()).header(CONTENT_TYPE, "application/json");
            let (got, answer) = send(request.header("accept", accept).body(body)).await;
            assert_eq!((got.as_u16(), code(&answer)), (status, expected), "{body}: {answer}");
            assert!(answer.get("data").is_none(), "{answer}");
        }
    }
    let partly = json!({ "query": "{ viewer { role } tasks(first: -1) { feedCursor } }" });
    let request = server.client.post(server.url()).json(&partly).header("accept", "application/graphql-response+json");
    let (status, answer) = send(request).await;
    assert_eq!((status, code(&answer)), (StatusCode::OK, "BAD_USER_INPUT"));
    assert_eq!(answer["data"], json!({ "viewer": { "role": "ADMIN" }, "tasks": null }));
}

#[tokio::test]
async fn who_could_not_read_the_answer_gets_nothing_done() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let request = server.client.post(server.url()).json(&json!({ "query": CANCEL })).header("accept", "text/html");
    let (status, answer) = send(request).await;
    assert_eq!((status, code(&answer)), (StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT"));
    let told = server.data(r#"{ taskStatus(userId: "u", taskId: "t") }"#, json!({})).await;
    assert_eq!(told, json!({ "taskStatus": "RUNNING" }));
}

#[tokio::test]
async fn a_body_ends_at_16_mib() {
    let server = ApiServer::start().await;
    let limit = 16 * 1024 * 1024;
    let body = |length: usize| {
        let start = format!(r#"{{"query":"{ME}","more":""#);
        let padding = "x".repeat(length - start.len() - 2);
        format!("{start}{padding}\"}}")
    };
    let post = |body: String| server.client.post(server.url()).header(CONTENT_TYPE, "application/json").body(body);
    assert_eq!(send(post(body(limit))).await.0, StatusCode::OK);
    let (status, answer) = send(post(body(limit + 1))).await;
    assert_eq!((status, code(&answer)), (StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED"));
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!((&extensions["limit"], &extensions["max"]), (&json!("body"), &json!(limit)));
    assert_eq!(extensions["value"], json!(limit + 1));
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_by_the_flag_that_would_allow_it() {
    let server = ApiServer::start().await;
    let port = server.address.port();
    let headed = |name: &'static str, value: String| {
        send(server.client.post(server.url()).json(&json!({ "query": ME })).header(name, value))
    };
    for host in ["localhost".to_owned(), format!("localhost:{port}"), "127.0.0.1".into(), format!("[::1]:{port}")] {
        assert_eq!(headed("host", host.clone()).await.0, StatusCode::OK, "{host}");
    }
    let (status, answer) = headed("host", "evil.example".into()).await;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "FORBIDDEN"));
    assert!(message(&answer).contains("--public-host evil.example"), "{answer}");
    assert!(answer.get("data").is_none());
    let own = format!("http://{}", server.address);
    assert_eq!(headed("origin", own).await.0, StatusCode::OK);
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let (status, answer) = headed("origin", origin.into()).await;
        assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "FORBIDDEN"), "{origin}");
        assert!(message(&answer).contains(&format!("--allow-origin {origin}")), "{answer}");
    }
}

#[tokio::test]
async fn hosts_and_origins_that_the_operator_allows_are_answered() {
    let http = HttpConfig {
        public_hosts: vec!["tasks.example".into()],
        allow_origins: vec!["https://app.example".into()],
        ..HttpConfig::default()
    };
    let server = ApiServer::with(http).await;
    let request = |method: Method| {
        let request = server.client.request(method, server.url()).header("host", "tasks.example:443");
        request.header("origin", "https://app.example")
    };
    let response = request(Method::POST).json(&json!({ "query": ME })).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(response.headers()["access-control-expose-headers"], "x-request-id");
    assert_eq!(response.headers().get("access-control-allow-credentials"), None);
    let vary: Vec<_> = response.headers().get_all("vary").iter().map(|vary| vary.to_str().unwrap()).collect();
    assert!(vary.join(", ").contains("Origin"), "{vary:?}");
    let preflight = request(Method::OPTIONS).header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "content-type, accept, authorization, x-request-id"
    );
    let other = server.client.request(Method::OPTIONS, server.url()).header("origin", "https://evil.example");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_that_is_allowed_can_read_every_refusal() {
    const APP: &str = "https://app.example";
    let server = ApiServer::configured(|config| {
        config.http.allow_origins = vec![APP.into()];
        config.listen.body_timeout = Duration::from_millis(300);
        config.listen.handler_timeout = Duration::from_millis(600);
    })
    .await;
    let post = || server.client.post(server.url()).header(CONTENT_TYPE, "application/json");
    for (request, status) in [
        (post().body("{"), 400),
        (server.client.put(server.url()), 405),
        (post().body("x".repeat((16 << 20) + 1)), 413),
        (server.client.post(server.url()).body("{}"), 415),
    ] {
        let answer = request.header("origin", APP).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], APP, "{status}");
    }

    // What the listener answers, where the handler or the rest of the body is waited for in vain.
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let slow = r#"{"query":"{ tasks(userId: \"u\") { nodes { taskId } } }"}"#;
    let mine = format!("access-control-allow-origin: {APP}\r\n");
    for (origin, body, length, status) in [
        (Some(APP), "{", 100, "408"),
        (None, "{", 100, "408"),
        (Some("https://evil.example"), "{", 100, "403"),
        (Some(APP), slow, slow.len(), "503"),
    ] {
        let head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close";
        let named = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("{head}\r\n{named}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = to_the_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let is_told = answer.contains(&mine) && answer.contains("access-control-expose-headers: x-request-id\r\n");
        assert_eq!(is_told, origin == Some(APP), "{answer}");
        assert_eq!(answer.contains("access-control-"), origin == Some(APP), "{answer}");
    }
}

#[tokio::test]
async fn a_socket_asks_for_the_same_and_for_a_protocol() {
    let server = ApiServer::start().await;
    let status = async |protocol: &str, origin: Option<&str>| match server.upgrade(protocol, origin).await {
        Ok(_) => StatusCode::SWITCHING_PROTOCOLS.as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    };
    let own = format!("http://{}", server.address);
    assert_eq!(status("graphql-transport-ws", None).await, 101);
    assert_eq!(status("graphql-ws", Some(&own)).await, 101);
    assert_eq!(status("graphql-transport-ws", Some("https://evil.example")).await, 403);
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let server = ApiServer::start().await;
    let url = format!("http://{}/health", server.address);
    let response = server.client.get(url).header("host", "balancer.example").send().await.unwrap();
    assert_eq!((response.status(), response.text().await.unwrap().as_str()), (StatusCode::OK, "ok"));
}
