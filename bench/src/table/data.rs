//! The records that every system is given: users 100 at random, ten steps a task, a result of about 240 bytes.

use std::io::Write as _;

/// The text in each result.
const TEXT: usize = 200;
pub(crate) const USERS: usize = 100;
/// Steps of a task.
pub(crate) const STEPS: u32 = 10;

/// One step of one task.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    user: usize,
    task: usize,
    number: u32,
}

/// Tasks in progress, whose steps come in order: of one worker, or of a client that gathers those of many.
pub(crate) struct Tasks {
    /// Goes before each task's number, so that no two sources make the same task.
    prefix: String,
    live: Vec<Step>,
    begun: usize,
    random: fastrand::Rng,
}

impl Tasks {
    /// So many in progress at a time.
    pub(crate) fn new(prefix: String, live: usize) -> Self {
        let mut tasks = Self { prefix, live: Vec::new(), begun: 0, random: fastrand::Rng::new() };
        for _ in 0..live.max(1) {
            let begun = tasks.begin();
            tasks.live.push(begun);
        }
        tasks
    }

    fn begin(&mut self) -> Step {
        self.begun += 1;
        Step { user: self.random.usize(..USERS), task: self.begun, number: 0 }
    }

    /// The next step of one of them, whichever.
    pub(crate) fn next(&mut self) -> Step {
        let index = self.random.usize(..self.live.len());
        let current = self.live.get(index).copied().unwrap_or(Step { user: 0, task: 0, number: 0 });
        let next =
            if current.number + 1 < STEPS { Step { number: current.number + 1, ..current } } else { self.begin() };
        if let Some(place) = self.live.get_mut(index) {
            *place = next;
        }
        current
    }

    /// As the input of `saveTaskHistory`.
    pub(crate) fn write_input(&self, step: Step, into: &mut Vec<u8>) {
        input(into, step.user, &format_args!("{}_{}", self.prefix, step.task), step.number, "COMPLETED", "");
    }

    /// As a line of COPY into the old table, with what its own program writes.
    pub(crate) fn write_row(&self, step: Step, into: &mut Vec<u8>) {
        row(into, step.user, &format_args!("{}_{}", self.prefix, step.task), step.number, "completed");
    }

    /// As a row of the old table in JSON, for `PostGraphile`'s create mutation.
    pub(crate) fn write_row_as_json(&self, Step { user, task, number }: Step, into: &mut Vec<u8>) {
        let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f");
        let _ = write!(
            into,
            r#"{{"userId":"user_{user}","taskId":"{}_{task}","step":{number},"result":{{"step":"s","result":{{"processed_rows":1000,"text":"{:x<TEXT$}"}},"completed":true,"message":"m","status":"completed","error_code":null,"error_message":null}},"timestamp":"{now}","status":"completed"}}"#,
            self.prefix, "x"
        );
    }

    /// As the input of the save that a team would write.
    pub(crate) fn write_old_input(&self, Step { user, task, number }: Step, into: &mut Vec<u8>) {
        let _ = write!(
            into,
            r#"{{"userId":"user_{user}","taskId":"{}_{task}","step":{number},"stepResult":{{"step":"s","status":"completed","completed":true,"message":"m","result":{{"processed_rows":1000,"text":"{:x<TEXT$}"}}}}}}"#,
            self.prefix, "x"
        );
    }
}

/// The input of `saveTaskHistory`; `task` is its details as JSON, with a comma before, or empty.
pub(crate) fn input(
    into: &mut Vec<u8>,
    user: impl std::fmt::Display,
    task_id: &dyn std::fmt::Display,
    step: u32,
    status: &str,
    task: &str,
) {
    // Writing into memory does not fail.
    let _ = write!(
        into,
        r#"{{"userId":"user_{user}","taskId":"{task_id}","step":{step},"stepResult":{{"stepName":"s","status":"{status}","message":"m","result":{{"processed_rows":1000,"text":"{:x<TEXT$}"}}}}{task}}}"#,
        "x"
    );
}

/// A line of COPY into the old table.
pub(crate) fn row(
    into: &mut Vec<u8>,
    user: impl std::fmt::Display,
    task_id: &dyn std::fmt::Display,
    step: u32,
    status: &str,
) {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.6f");
    let _ = writeln!(
        into,
        "user_{user}\t{task_id}\t{step}\t{{\"step\":\"s\",\"result\":{{\"processed_rows\":1000,\"text\":\"{:x<TEXT$}\"}},\"completed\":true,\"message\":\"m\",\"status\":\"{status}\",\"error_code\":null,\"error_message\":null}}\t{now}\t{status}",
        "x"
    );
}

/// The old table, and what such a line has of it.
pub(crate) const COLUMNS: &str = "task_history (user_id, task_id, step, result, timestamp, status)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_its_ten_steps_in_order() {
        let mut tasks = Tasks::new("t".into(), 3);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..1_000 {
            let step = tasks.next();
            let expected = seen.entry(step.task).or_insert((step.user, 0));
            assert_eq!((step.user, step.number), *expected);
            expected.1 += 1;
        }
        assert!(seen.values().all(|(_, steps)| *steps <= STEPS));
        assert!(seen.len() >= 100);
    }

    #[test]
    fn a_record_is_what_the_specification_says() {
        let tasks = Tasks::new("t".into(), 1);
        let mut text = Vec::new();
        tasks.write_input(Step { user: 7, task: 1, number: 3 }, &mut text);
        let input: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(input["userId"], "user_7");
        assert_eq!(input["stepResult"]["result"]["text"].as_str().unwrap(), "x".repeat(TEXT));
        assert!(input.get("recordId").is_none() && input.get("task").is_none());

        let mut line = Vec::new();
        tasks.write_row(Step { user: 7, task: 1, number: 3 }, &mut line);
        let line = String::from_utf8(line).unwrap();
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let result: serde_json::Value = serde_json::from_str(fields[3]).unwrap();
        assert_eq!(result["result"], input["stepResult"]["result"]);
        assert_eq!((fields.len(), fields[0], fields[1], fields[2], fields[5]), (6, "user_7", "t_1", "3", "completed"));
    }
}
