//! What is around an answer: the request's id, compression, limits of the body, caches.

use std::io::Read as _;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Body, StatusCode};
use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::{Config, HttpConfig};

use super::api_server::{ApiServer, token};

const ME: &str = "{ viewer { role limits { requestBytes } } }";

#[tokio::test]
async fn a_request_keeps_the_id_that_it_came_with_and_gets_one_otherwise() {
    let server = ApiServer::start().await;
    let ask = async |query: &str, id: Option<&str>| {
        let request = server.client.post(server.url()).json(&json!({ "query": query }));
        let request = if let Some(id) = id { request.header("x-request-id", id) } else { request };
        let response = request.send().await.unwrap();
        let told = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        (told, response.json::<Value>().await.unwrap())
    };
    let (told, answer) = ask(ME, Some("abc-123")).await;
    assert_eq!((told.as_str(), answer.get("errors")), ("abc-123", None));
    for query in ["{ nobody }", "{", "", r"{ tasks(first: -1) { feedCursor } }"] {
        let (told, answer) = ask(query, Some("abc-123")).await;
        assert_eq!(told, "abc-123");
        assert_eq!(answer["errors"][0]["extensions"]["requestId"], "abc-123", "{answer}");
    }
    let mut seen = std::collections::BTreeSet::new();
    for id in [None, Some(""), Some("two words"), Some("<script>"), Some(&*"x".repeat(129)), None] {
        let (told, answer) = ask("{ nobody }", id).await;
        assert_eq!(told.len(), 36, "{id:?}: {told}");
        assert_eq!(answer["errors"][0]["extensions"]["requestId"], told);
        assert!(seen.insert(told));
    }
    let health = server.client.get(format!("http://{}/health", server.address)).send().await.unwrap();
    assert!(health.headers().contains_key("x-request-id"));
    let refused = server.client.get(server.url()).header("host", "evil.example").header("x-request-id", "r1");
    let refused: Value = refused.send().await.unwrap().json().await.unwrap();
    assert_eq!(refused["errors"][0]["extensions"]["requestId"], "r1");
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_takes_that() {
    let server = ApiServer::start().await;
    let types = "{ __schema { types { name description fields { name description } } } }";
    let ask = async |query: &str, encoding: &str| {
        let request = server.client.post(server.url()).json(&json!({ "query": query }));
        let response = request.header(ACCEPT_ENCODING, encoding).send().await.unwrap();
        let used = response.headers().get(CONTENT_ENCODING).map(|used| used.to_str().unwrap().to_owned());
        (used, response.bytes().await.unwrap())
    };
    let (used, plain) = ask(types, "identity").await;
    assert_eq!(used, None);
    for encoding in ["gzip", "br"] {
        let (used, small) = ask(types, encoding).await;
        assert_eq!(used.as_deref(), Some(encoding));
        assert!(small.len() * 2 < plain.len(), "{encoding}: {} of {}", small.len(), plain.len());
        if encoding == "gzip" {
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&*small).read_to_end(&mut text).unwrap();
            assert_eq!(text, plain);
        }
        assert_eq!(ask(ME, encoding).await.0, None, "a small answer");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_no_answer_is_kept() {
    let server = ApiServer::start().await;
    let request = server.client.post(server.url()).header(CONTENT_TYPE, "application/json");
    let response = request.header(CONTENT_ENCODING, "gzip").body("x").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let response = server.client.post(server.url()).json(&json!({ "query": ME })).send().await.unwrap();
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}

fn padded(length: usize) -> String {
    let start = format!(r#"{{"query":"{ME}","more":""#);
    format!("{start}{}\"}}", "x".repeat(length - start.len() - 2))
}

#[tokio::test]
async fn how_large_a_body_may_be_is_a_matter_of_the_role() {
    let http = HttpConfig { user_body_limit: 2_000, body_limit: 5_000, ..HttpConfig::default() };
    let server = ApiServer::with_config(Config { http, ..ApiServer::key_config() }).await;
    for (role, limit) in [(Role::User, 2_000), (Role::Worker, 5_000), (Role::Admin, 5_000)] {
        let post = async |body: Body| {
            let request = server.client.post(server.url()).header(CONTENT_TYPE, "application/json");
            let request = request.header(AUTHORIZATION, format!("Bearer {}", token("x", role)));
            let response = request.header(ACCEPT, "application/json").body(body).send().await.unwrap();
            (response.status(), response.json::<Value>().await.unwrap())
        };
        let (status, answer) = post(padded(limit).into()).await;
        assert_eq!((status, &answer["data"]["viewer"]["limits"]["requestBytes"]), (StatusCode::OK, &json!(limit)));
        let (status, answer) = post(padded(limit + 1).into()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        let told = &answer["errors"][0]["extensions"];
        assert_eq!((&told["code"], &told["limit"]), (&json!("LIMIT_EXCEEDED"), &json!("body")));
        assert_eq!((&told["max"], &told["value"]), (&json!(limit), &json!(limit + 1)));
        // The length is not told beforehand.
        let body = Full::new(Bytes::from(padded(limit + 1))).map_frame(|frame| frame);
        let (status, answer) = post(Body::wrap(body)).await;
        assert_eq!((status, &answer["errors"][0]["extensions"]["max"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!(limit)));
    }
}
