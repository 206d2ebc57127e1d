//! Questions and saves over HTTP. A worker that gets no answer, or one that says `retryable`, sends the same record again
//! until it is acknowledged.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::PATIENCE;

const SAVE: &str = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { isDuplicate record { \
                    recordId position userId taskId step message } } }";

/// Talks to one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection was refused, reset or closed, or nothing came in time.
    Connection(#[expect(dead_code, reason = "read by whoever reads why a test failed")] String),
    /// The server said so: the first entry of `errors`.
    Told { code: String, is_retryable: bool, record_id: Option<Uuid>, whole: Value },
}

/// A record as a client gets to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) position: i64,
    pub(crate) user_id: String,
    pub(crate) task_id: String,
    pub(crate) step: i64,
    pub(crate) message: String,
}

/// What a worker reports.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) user_id: String,
    pub(crate) task_id: String,
    pub(crate) step: i64,
    pub(crate) message: String,
    /// None: the server gives one.
    pub(crate) record_id: Option<Uuid>,
}

impl Fault {
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Connection(_) => None,
            Self::Told { code, .. } => Some(code),
        }
    }
}

impl Record {
    pub(crate) fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned();
        let number = |name: &str| value[name].as_i64().unwrap_or_else(|| panic!("{name} in {value}"));
        Self {
            id: text("recordId").parse().unwrap(),
            position: number("position"),
            user_id: text("userId"),
            task_id: text("taskId"),
            step: number("step"),
            message: text("message"),
        }
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { http, url: format!("http://{address}/graphql") }
    }

    /// The `data` of an answer.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Result<Value, Fault> {
        let connection = |error: reqwest::Error| Fault::Connection(format!("{error:?}"));
        let request = self.http.post(&self.url).json(&json!({ "query": query, "variables": variables }));
        let answer: Value = request.send().await.map_err(connection)?.json().await.map_err(connection)?;
        let Some(error) = answer["errors"].get(0) else { return Ok(answer["data"].clone()) };
        let extensions = &error["extensions"];
        Err(Fault::Told {
            code: extensions["code"].as_str().unwrap_or_default().to_owned(),
            is_retryable: extensions["retryable"] == json!(true),
            record_id: extensions["recordId"].as_str().map(|id| id.parse().unwrap()),
            whole: answer,
        })
    }

    /// Saves once.
    pub(crate) async fn save(&self, report: &Report) -> Result<Record, Fault> {
        let input = json!({
            "userId": report.user_id, "taskId": report.task_id, "step": report.step, "recordId": report.record_id,
            "stepResult": { "stepName": "chaos", "status": "RUNNING", "message": report.message },
        });
        let data = self.ask(SAVE, json!({ "input": input })).await?;
        Ok(Record::read(&data["saveTaskHistory"]["record"]))
    }

    /// Saves until it is acknowledged; `fault` sees what came in between. Where the server gave the record its id, that
    /// is the one to repeat.
    pub(crate) async fn save_for_sure(&self, report: &Report, mut fault: impl FnMut(&Fault)) -> Record {
        let mut report = report.clone();
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(5);
        loop {
            let met = match self.save(&report).await {
                Ok(record) => return record,
                Err(met) => met,
            };
            fault(&met);
            match &met {
                Fault::Connection(_) => assert!(report.record_id.is_some(), "nobody knows what to repeat: {met:?}"),
                Fault::Told { is_retryable, record_id, .. } => {
                    assert!(*is_retryable, "{met:?}");
                    assert!(record_id.is_some(), "an error without the record's id: {met:?}");
                    assert!(report.record_id.is_none() || report.record_id == *record_id, "another id: {met:?}");
                    report.record_id = *record_id;
                }
            }
            assert!(Instant::now() < until, "never acknowledged: {report:?}, at last {met:?}");
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}
