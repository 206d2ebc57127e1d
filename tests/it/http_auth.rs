//! Who is let in where a key is configured: by which token, on which road; and what the others are told.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use taskwire::auth::Role;
use tokio_tungstenite::tungstenite::Message;

use super::api_server::{ApiServer, token};

const ME: &str = "{ viewer { userId role } }";

/// Status, challenge and answer of a query with these `Authorization` headers.
async fn ask(server: &ApiServer, authorization: &[&str]) -> (StatusCode, String, Value) {
    let mut request = server.client.post(server.url()).json(&json!({ "query": ME }));
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    let response = request.send().await.unwrap();
    let challenge = response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    (response.status(), challenge.unwrap_or_default(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_token_says_who_is_calling() {
    let server = ApiServer::with_key().await;
    for (sub, role, told) in
        [("anna", Role::User, "USER"), ("w1", Role::Worker, "WORKER"), ("root", Role::Admin, "ADMIN")]
    {
        for scheme in ["Bearer", "bearer"] {
            let (status, challenge, answer) = ask(&server, &[&format!("{scheme} {}", token(sub, role))]).await;
            assert_eq!((status, challenge.as_str()), (StatusCode::OK, ""));
            assert_eq!(answer, json!({ "data": { "viewer": { "userId": sub, "role": told } } }));
        }
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_good_token() {
    let server = ApiServer::with_key().await;
    let good = format!("Bearer {}", token("anna", Role::User));
    let (start, _) = good.rsplit_once('.').unwrap();
    let (unsigned, forged) = (format!("{start}."), format!("{start}.AAAA"));
    let basic = good.replace("Bearer", "Basic");
    for wrong in
        [&["Bearer x"][..], &[&unsigned], &[&forged], &[&basic], &["Bearer"], &[""], &[&good, &good], &["Bearer a b"]]
    {
        let (status, challenge, answer) = ask(&server, wrong).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(challenge, r#"Bearer realm="taskwire", error="invalid_token""#);
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        assert!(answer.get("data").is_none());
        assert!(!answer.to_string().contains(start), "the token comes back: {answer}");
    }
    let (status, challenge, answer) = ask(&server, &[]).await;
    assert_eq!((status, challenge.as_str()), (StatusCode::UNAUTHORIZED, r#"Bearer realm="taskwire""#));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_token_in_the_url_is_taken_of_an_event_source_alone() {
    let server = ApiServer::with_key().await;
    let token = token("anna", Role::User);
    let url = reqwest::Url::parse_with_params(&server.url(), [("query", ME), ("access_token", &token)]).unwrap();
    for accept in ["application/json", "*/*"] {
        let response = server.client.get(url.clone()).header(ACCEPT, accept).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{accept}");
        assert!(!response.text().await.unwrap().contains(&token));
    }
    let posted = server.client.post(url.clone()).header(ACCEPT, "text/event-stream").json(&json!({ "query": ME }));
    assert_eq!(posted.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let events = server.client.get(url).header(ACCEPT, "text/event-stream").send().await.unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    let text = events.text().await.unwrap();
    assert!(text.contains(r#"data: {"data":{"viewer":{"userId":"anna","role":"USER"}}}"#), "{text}");
}

/// What a socket answers to a query after this `connection_init`: none where it is closed.
async fn on_a_socket(server: &ApiServer, payload: Value) -> Option<Value> {
    let mut socket = server.upgrade("graphql-transport-ws", None).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": payload });
    let ask = json!({ "type": "subscribe", "id": "1", "payload": { "query": ME } });
    let _ = socket.send(Message::text(init.to_string())).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "connection_ack" {
            let _ = socket.send(Message::text(ask.to_string())).await;
        } else if message["id"] == "1" {
            return Some(message);
        }
    }
    None
}

#[tokio::test]
async fn a_socket_signs_in_by_its_first_message() {
    let server = ApiServer::with_key().await;
    let token = token("anna", Role::User);
    let bearer = format!("Bearer {token}");
    for payload in [json!({ "Authorization": bearer }), json!({ "authorization": bearer }), json!({ "token": token })] {
        let answer = on_a_socket(&server, payload).await.unwrap();
        assert_eq!(answer["payload"]["data"]["viewer"]["userId"], "anna");
    }
    let (start, _) = token.rsplit_once('.').unwrap();
    for payload in [json!(null), json!({}), json!({ "token": 7 }), json!({ "token": "" }), json!({ "token": start })] {
        assert_eq!(on_a_socket(&server, payload.clone()).await, None, "{payload}");
    }
}

#[tokio::test]
async fn without_a_key_everybody_is_an_admin_whatever_they_send() {
    let server = ApiServer::start().await;
    for headers in [&[][..], &["Bearer x"], &["Basic x"]] {
        let (status, _, answer) = ask(&server, headers).await;
        assert_eq!((status, &answer["data"]["viewer"]["role"]), (StatusCode::OK, &json!("ADMIN")));
    }
}
