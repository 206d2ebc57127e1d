//! Requests to the server. What may be tried again is tried again with the same variables, so a save with its recordId
//! is written once however often it is sent.

use std::{error::Error, time::Duration};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::DemoError;

/// What one request may take.
const REQUEST: Duration = Duration::from_secs(15);
/// How long a server that was there may stay away.
const PATIENCE: Duration = Duration::from_mins(1);
/// The first pause before another attempt, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Why a request did not bring what was asked for.
#[derive(Debug)]
pub(super) enum CallError {
    /// No answer at all, or half of one: whether it was carried out is not known.
    NoAnswer(String),
    /// An answer that no Taskwire server gives.
    Strange { url: String, answer: String },
    /// A GraphQL error.
    Refused { code: String, message: String, is_retryable: bool, retry_after: Option<Duration> },
    /// The time for other attempts is over.
    Lost { url: String, cause: String },
}

impl CallError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused { is_retryable, .. } => *is_retryable,
            Self::Strange { .. } | Self::Lost { .. } => false,
        }
    }

    /// In one line.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::NoAnswer(cause) | Self::Lost { cause, .. } => cause.clone(),
            Self::Strange { answer, .. } => answer.clone(),
            Self::Refused { code, message, .. } => format!("{code}: {}", message.lines().next().unwrap_or_default()),
        }
    }
}

impl From<CallError> for DemoError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Strange { url, answer } => Self::NotTaskwire { url, answer },
            CallError::Lost { url, cause } => Self::Lost { url, seconds: PATIENCE.as_secs(), cause },
            other => Self::Refused(other.cause()),
        }
    }
}

/// A connection to one server.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    stop: CancellationToken,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    code: Option<String>,
    #[serde(default)]
    retryable: bool,
    retry_after_ms: Option<u64>,
}

impl Client {
    /// For a server's GraphQL address. Once `stop` is cancelled nothing is tried again.
    pub(super) fn new(url: &str, token: Option<&SecretString>, stop: CancellationToken) -> Result<Self, DemoError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| DemoError::System("the token cannot stand in a header".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // The demo plays beside the server: a proxy of the environment has no part in it.
        let http = reqwest::Client::builder()
            .timeout(REQUEST)
            .default_headers(headers)
            .no_proxy()
            .build()
            .map_err(|error| DemoError::System(error.to_string()))?;
        Ok(Self { http, url: url.to_owned(), stop })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks once.
    pub(super) async fn call<T: DeserializeOwned>(&self, query: &str, variables: &Value) -> Result<T, CallError> {
        let no_answer = |error: reqwest::Error| CallError::NoAnswer(innermost(&error));
        let response = self
            .http
            .post(&self.url)
            .header("accept", "application/graphql-response+json, application/json")
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await
            .map_err(no_answer)?;
        let status = response.status();
        let body = response.text().await.map_err(no_answer)?;
        let Ok(answer) = serde_json::from_str::<Answer>(&body) else {
            let line: String = body.lines().next().unwrap_or_default().chars().take(200).collect();
            let answer = format!("HTTP {status} {line}").trim_end().to_owned();
            // A proxy in between says so while the server behind it is away.
            return Err(if status.is_server_error() {
                CallError::NoAnswer(answer)
            } else {
                CallError::Strange { url: self.url.clone(), answer }
            });
        };
        if let Some(refusal) = answer.errors.into_iter().next() {
            let Extensions { code, retryable, retry_after_ms } = refusal.extensions;
            return Err(CallError::Refused {
                code: code.unwrap_or_else(|| "error without a code".to_owned()),
                message: refusal.message,
                is_retryable: retryable,
                retry_after: retry_after_ms.map(Duration::from_millis),
            });
        }
        serde_json::from_value(answer.data.unwrap_or_default())
            .map_err(|error| CallError::Strange { url: self.url.clone(), answer: error.to_string() })
    }

    /// Asks until there is an answer that counts. Every attempt sends the same; `again` hears of each further one.
    pub(super) async fn call_until_known<T: DeserializeOwned>(
        &self,
        query: &str,
        variables: &Value,
        again: impl Fn(&CallError),
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        let (mut pause, longest) = PAUSES;
        loop {
            let error = match self.call(query, variables).await {
                Err(error) if error.is_retryable() && !self.stop.is_cancelled() => error,
                known => return known,
            };
            if begun.elapsed() > PATIENCE {
                return Err(CallError::Lost { url: self.url.clone(), cause: error.cause() });
            }
            again(&error);
            let asked = match &error {
                CallError::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            // Who was refused together should not come back together.
            let wait = pause.max(asked).mul_f64(1.0 + fastrand::f64() / 2.0);
            let _ = timeout(wait, self.stop.cancelled()).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// What the system said, below the layers that only say where it was said.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::post};

    use super::*;

    /// A server that gives these answers in turn, and what it was sent.
    async fn server(answers: Vec<(StatusCode, &'static str)>) -> (Client, Arc<Mutex<Vec<Value>>>) {
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&sent);
        let answer = move |Json(request): Json<Value>| async move {
            heard.lock().unwrap().push(request["variables"].clone());
            answers.lock().unwrap().next().expect("one more request than answers").into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/graphql", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().route("/graphql", post(answer))).await });
        (Client::new(&url, None, CancellationToken::new()).unwrap(), sent)
    }

    #[tokio::test]
    async fn what_may_be_tried_again_is_sent_again_unchanged() {
        let overloaded = r#"{"data": {"a": null}, "errors": [{"message": "Later.", "extensions":
            {"code": "OVERLOADED", "retryable": true, "retryAfterMs": 5}}]}"#;
        let (client, sent) = server(vec![
            (StatusCode::OK, overloaded),
            (StatusCode::BAD_GATEWAY, "bad gateway"),
            (StatusCode::OK, r#"{"data": {"a": 7}}"#),
        ])
        .await;
        let data: Value = client.call_until_known("q", &json!({ "recordId": "r" }), |_| {}).await.unwrap();
        assert_eq!(data, json!({ "a": 7 }));
        assert_eq!(*sent.lock().unwrap(), vec![json!({ "recordId": "r" }); 3]);
    }

    #[tokio::test]
    async fn what_would_fail_again_is_told_at_once() {
        let bad = r#"{"data": null, "errors": [{"message": "No.", "extensions": {"code": "BAD_USER_INPUT"}}]}"#;
        let (client, sent) = server(vec![(StatusCode::OK, bad), (StatusCode::NOT_FOUND, "<html>")]).await;
        let refused = client.call_until_known::<Value>("q", &json!({}), |_| {}).await.unwrap_err();
        assert_eq!(refused.cause(), "BAD_USER_INPUT: No.");
        let strange = client.call_until_known::<Value>("q", &json!({}), |_| {}).await.unwrap_err();
        assert!(matches!(strange, CallError::Strange { .. }), "{strange:?}");
        assert_eq!(sent.lock().unwrap().len(), 2);
    }
}
