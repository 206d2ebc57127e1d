//! Plays scripts, one task after the other: reports, hears of cancellations, answers them.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    USERS,
    client::{CallError, Client},
    script::{Act, Heed, Report, Script},
    stage::Stage,
};

const SAVE: &str = "mutation Save($input: SaveTaskHistoryInput!) {
  saveTaskHistory(input: $input) { cancellationRequested record { isLate } task { status isFinished } }
}";
const CANCEL: &str = "mutation Cancel($input: CancelTaskInput!) { cancelTask(input: $input) { outcome } }";
const ACKNOWLEDGE: &str = "mutation Acknowledge($input: AcknowledgeCancellationInput!) {
  acknowledgeCancellation(input: $input) { outcome }
}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaveData {
    save_task_history: Saved,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    cancellation_requested: bool,
    record: SavedRecord,
    task: SavedTask,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedRecord {
    is_late: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedTask {
    status: String,
    is_finished: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelData {
    cancel_task: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AcknowledgeData {
    acknowledge_cancellation: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    outcome: String,
}

/// One worker. It plays until the stage is over, or the server is gone.
pub(super) struct Worker {
    pub(super) client: Arc<Client>,
    pub(super) stage: Arc<Stage>,
    pub(super) seed: u64,
}

/// A task being played.
struct Play<'a> {
    worker: &'a Worker,
    script: Script,
    user: &'static str,
    task_id: String,
    /// The task as the last answer showed it.
    last: Option<SavedTask>,
}

impl Worker {
    pub(super) async fn work(self) -> Result<(), CallError> {
        while self.stage.turn().await {
            let number = self.stage.next_task();
            let script = Script::plan(self.seed, number, USERS.len());
            let task_id = self.stage.task_id(script.slug, number);
            let play = Play { worker: &self, user: USERS[script.user], script, task_id, last: None };
            play.play().await?;
        }
        Ok(())
    }

    /// Sends until it is known what became of it. `None` where the server refused for good: that is told and counted.
    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        play: &Play<'_>,
        query: &str,
        input: Value,
    ) -> Result<Option<T>, CallError> {
        let again = |error: &CallError| {
            self.stage.tally().repeated_requests += 1;
            self.stage.tell(play.user, &play.task_id, format_args!("asks again: {}", error.cause()));
        };
        match self.client.call_until_known(query, &json!({ "input": input }), again).await {
            Ok(data) => Ok(Some(data)),
            Err(error @ (CallError::Lost { .. } | CallError::Strange { .. })) => Err(error),
            // At the end nobody waits for a server any more.
            Err(_) if self.stage.is_over() => Ok(None),
            Err(error) => {
                self.stage.tally().refused += 1;
                self.stage.tell(play.user, &play.task_id, format_args!("was refused: {}", error.cause()));
                Ok(None)
            }
        }
    }
}

impl Play<'_> {
    async fn play(mut self) -> Result<(), CallError> {
        self.worker.stage.tally().tasks += 1;
        let acts = std::mem::take(&mut self.script.acts);
        let mut is_answered = false;
        for (index, act) in acts.iter().enumerate() {
            // The first report's turn was the worker's.
            if index > 0 && !self.worker.stage.turn().await {
                break;
            }
            match act {
                Act::Cancel(reason) => self.cancel(reason).await?,
                Act::Report(report) => {
                    let Some(saved) = self.report(report, index == 0).await? else { break };
                    let is_told = saved.cancellation_requested && !is_answered;
                    self.last = Some(saved.task);
                    if is_told {
                        is_answered = true;
                        self.acknowledge().await?;
                        // Work that cannot be stopped goes on: its reports are kept as late ones.
                        if self.script.heed != Heed::CannotStop {
                            break;
                        }
                    }
                }
            }
        }
        self.count();
        Ok(())
    }

    async fn report(&self, report: &Report, is_first: bool) -> Result<Option<Saved>, CallError> {
        let mut input = json!({
            "userId": self.user,
            "taskId": self.task_id,
            "step": report.step,
            // The same with every attempt: sent twice it is saved once.
            "recordId": Uuid::now_v7(),
            "stepResult": {
                "stepName": report.step_name,
                "status": report.status.name(),
                "message": report.message,
                "progress": report.progress,
                "result": report.result,
                "errorCode": report.error.map(|(code, _)| code),
                "errorMessage": report.error.map(|(_, message)| message),
            },
        });
        if is_first {
            let script = &self.script;
            input["task"] = json!({ "name": script.name, "tags": script.tags, "totalSteps": script.total_steps });
        } else if report.restart {
            input["task"] = json!({ "restart": true });
        }
        let saved = self.worker.send::<SaveData>(self, SAVE, input).await?.map(|data| data.save_task_history);
        if let Some(saved) = &saved {
            let mut tally = self.worker.stage.tally();
            tally.reports += 1;
            tally.retries += u64::from(report.is_retry);
            drop(tally);
            self.worker.stage.tell(self.user, &self.task_id, line(report, saved, self.script.total_steps));
        }
        Ok(saved)
    }

    /// What the user does, not the worker.
    async fn cancel(&self, reason: &str) -> Result<(), CallError> {
        let input = json!({ "userId": self.user, "taskId": self.task_id, "reason": reason });
        let Some(data) = self.worker.send::<CancelData>(self, CANCEL, input).await? else { return Ok(()) };
        let outcome = data.cancel_task.outcome;
        if outcome == "ALREADY_FINISHED" {
            self.worker.stage.tally().too_late += 1;
        }
        self.worker.stage.tell(self.user, &self.task_id, format_args!("the user cancels it ({reason}): {outcome}"));
        Ok(())
    }

    async fn acknowledge(&self) -> Result<(), CallError> {
        let heed = self.script.heed;
        let input = json!({
            "userId": self.user,
            "taskId": self.task_id,
            "outcome": heed.name(),
            "message": heed.message(),
        });
        let Some(data) = self.worker.send::<AcknowledgeData>(self, ACKNOWLEDGE, input).await? else { return Ok(()) };
        let mut tally = self.worker.stage.tally();
        match heed {
            Heed::Stopped => tally.stopped += 1,
            Heed::FinishedFirst => tally.finished_first += 1,
            Heed::CannotStop => tally.cannot_stop += 1,
        }
        drop(tally);
        let outcome = data.acknowledge_cancellation.outcome;
        let told = format_args!("the worker hears of it and answers {}: {outcome}", heed.name()).to_string();
        self.worker.stage.tell(self.user, &self.task_id, told);
        Ok(())
    }

    /// Counts how it ended, by the server's word.
    fn count(&self) {
        let mut tally = self.worker.stage.tally();
        let Some(last) = &self.last else { return };
        match last.status.as_str() {
            "COMPLETED" => tally.completed += 1,
            "FAILED" => tally.failed += 1,
            "TIMED_OUT" => tally.timed_out += 1,
            "CANCELLED" => tally.cancelled += 1,
            _ => {}
        }
        tally.unfinished += u64::from(!last.is_finished);
    }
}

fn line(report: &Report, saved: &Saved, total_steps: usize) -> String {
    let progress = report.progress.map(|progress| format!(" {:.0} %", progress * 100.0)).unwrap_or_default();
    let error = report.error.map(|(code, _)| format!(" {code}")).unwrap_or_default();
    let retry = if report.is_retry { format!(" ({})", report.message) } else { String::new() };
    let task = if saved.record.is_late {
        " (late: the task stays cancelled)".to_owned()
    } else if saved.task.is_finished {
        format!(" -> the task is {}", saved.task.status)
    } else {
        String::new()
    };
    let Report { step, step_name, status, .. } = report;
    format!("{step}/{total_steps} {step_name}: {}{progress}{error}{retry}{task}", status.name())
}
