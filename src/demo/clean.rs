//! Ends what a demo has left unfinished. There is no erasing in the API yet: finished tasks and all history stay.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::json;

use super::{
    DemoError,
    client::{CallError, Client},
};

const CANCEL: &str = "mutation Clean($input: CancelTasksInput!) {
  cancelTasks(input: $input) { cancelledCount hasMore }
}";
const PENDING: &str = "query Pending($userId: ID!, $after: String) {
  tasks(userId: $userId, filter: { cancellationPending: true }, first: 100, after: $after) {
    nodes { taskId }
    pageInfo { hasNextPage endCursor }
  }
}";
const ACKNOWLEDGE: &str = "mutation Acknowledge($input: AcknowledgeCancellationInput!) {
  acknowledgeCancellation(input: $input) { outcome }
}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelData {
    cancel_tasks: Cancelled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    cancelled_count: u64,
    has_more: bool,
}

#[derive(Deserialize)]
struct PendingData {
    tasks: Tasks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tasks {
    nodes: Vec<Task>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    task_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// Cancels the unfinished tasks of these users, and answers their open cancellations in the place of the workers that
/// have gone.
pub(super) async fn clean(client: &Client, users: &[&str]) -> Result<(), DemoError> {
    let (mut cancelled, mut answered) = (0, 0);
    for user in users {
        cancelled += cancel(client, user).await?;
        answered += answer(client, user).await?;
    }
    // Where nobody reads standard output, there is nobody to tell.
    let _ = writeln!(
        io::stdout(),
        "cancelled {cancelled} unfinished tasks of {}, answered {answered} cancellations; finished tasks and the history \
         stay",
        users.join(", ")
    );
    Ok(())
}

async fn cancel(client: &Client, user: &str) -> Result<u64, CallError> {
    let input = json!({
        "input": { "userId": user, "filter": { "isFinished": false }, "reason": "the demo was cleaned up" }
    });
    let mut cancelled = 0;
    loop {
        let CancelData { cancel_tasks } = client.call_until_known(CANCEL, &input, |_| {}).await?;
        cancelled += cancel_tasks.cancelled_count;
        if !cancel_tasks.has_more {
            return Ok(cancelled);
        }
    }
}

async fn answer(client: &Client, user: &str) -> Result<u64, CallError> {
    let mut answered = 0;
    let mut after: Option<String> = None;
    loop {
        let variables = json!({ "userId": user, "after": after });
        let PendingData { tasks } = client.call_until_known(PENDING, &variables, |_| {}).await?;
        for task in tasks.nodes {
            let input = json!({
                "input": { "userId": user, "taskId": task.task_id, "outcome": "STOPPED", "message": "the demo has ended" }
            });
            let _: serde_json::Value = client.call_until_known(ACKNOWLEDGE, &input, |_| {}).await?;
            answered += 1;
        }
        if !tasks.page_info.has_next_page {
            return Ok(answered);
        }
        after = tasks.page_info.end_cursor;
    }
}
