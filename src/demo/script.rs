//! What happens in a task, made up from the seed and the task's number alone: the same numbers give the same task,
//! whatever else goes on.

use fastrand::Rng;
use serde_json::{Value, json};

/// A sort of work: what its tasks are called, their tags and steps.
struct Work {
    slug: &'static str,
    name: &'static str,
    tags: &'static [&'static str],
    steps: &'static [&'static str],
    /// How it fails: code and words.
    trouble: (&'static str, &'static str),
}

const WORKS: [Work; 5] = [
    Work {
        slug: "import",
        name: "Import customers",
        tags: &["import", "nightly"],
        steps: &["Fetch the file", "Check the rows", "Write the rows", "Send the report"],
        trouble: ("BAD_ROW", "row 4711 has no e-mail address"),
    },
    Work {
        slug: "video",
        name: "Render a video",
        tags: &["media"],
        steps: &["Decode", "Scale", "Encode", "Upload", "Tell the user"],
        trouble: ("NO_SPACE", "no space left for the scaled frames"),
    },
    Work {
        slug: "invoices",
        name: "Monthly invoices",
        tags: &["billing", "monthly"],
        steps: &["Collect the orders", "Compute the totals", "Write the letters", "Mail them"],
        trouble: ("MAIL_REFUSED", "the mail server refused the sender"),
    },
    Work {
        slug: "backup",
        name: "Back up the files",
        tags: &["nightly"],
        steps: &["List the files", "Copy what is new", "Verify"],
        trouble: ("CHECKSUM", "a copy differs from its file"),
    },
    Work {
        slug: "search",
        name: "Rebuild the search index",
        tags: &["search", "media"],
        steps: &[
            "Read the documents",
            "Split the words",
            "Sort",
            "Write the index",
            "Switch over",
            "Remove the old one",
        ],
        trouble: ("OUT_OF_MEMORY", "the sorter ran out of memory"),
    },
];

/// Statuses as the API spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    TimedOut,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

/// What a worker answers once it hears that its task is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heed {
    Stopped,
    FinishedFirst,
    CannotStop,
}

impl Heed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::FinishedFirst => "FINISHED_FIRST",
            Self::CannotStop => "CANNOT_STOP",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Stopped => "stopped, and cleaned up",
            Self::FinishedFirst => "the work was done already",
            Self::CannotStop => "too far gone to be stopped",
        }
    }
}

/// A report to send.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) step: usize,
    pub(super) step_name: &'static str,
    pub(super) status: Status,
    pub(super) progress: Option<f64>,
    pub(super) message: String,
    pub(super) result: Option<Value>,
    pub(super) error: Option<(&'static str, &'static str)>,
    /// The task starts again with it.
    pub(super) restart: bool,
    /// It tries a failed step once more.
    pub(super) is_retry: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// The worker reports.
    Report(Report),
    /// The user cancels, for this reason.
    Cancel(&'static str),
}

/// A task from its beginning to its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script {
    /// Whose task it is: a number for the list of users.
    pub(super) user: usize,
    /// The beginning of its id.
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) tags: &'static [&'static str],
    pub(super) total_steps: usize,
    pub(super) acts: Vec<Act>,
    /// What the worker does when it hears of a cancellation.
    pub(super) heed: Heed,
}

/// How a task goes.
enum Outcome {
    Completes,
    /// A step fails and is tried again: itself, or the whole task from the start.
    FailsOnce {
        restart: bool,
    },
    Fails,
    TimesOut,
    /// The user cancels on the way.
    Cancelled,
    /// The user cancels when all is done.
    CancelledTooLate,
}

impl Script {
    /// Makes up a task.
    pub(super) fn plan(seed: u64, number: u64, users: usize) -> Self {
        // An odd factor with its bits well spread: neighbouring numbers begin far from each other.
        let mut rng = Rng::with_seed(seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let work = &WORKS[rng.usize(..WORKS.len())];
        let outcome = match rng.u8(..100) {
            ..58 => Outcome::Completes,
            58..72 => Outcome::FailsOnce { restart: rng.u8(..3) == 0 },
            72..77 => Outcome::Fails,
            77..82 => Outcome::TimesOut,
            82..97 => Outcome::Cancelled,
            _ => Outcome::CancelledTooLate,
        };
        let heed = match rng.u8(..10) {
            ..7 => Heed::Stopped,
            7 => Heed::FinishedFirst,
            _ => Heed::CannotStop,
        };
        let user = rng.usize(..users);
        let acts = Writer { rng, work, acts: Vec::new() }.write(&outcome);
        Self { user, slug: work.slug, name: work.name, tags: work.tags, total_steps: work.steps.len(), acts, heed }
    }
}

/// Writes the acts down.
struct Writer {
    rng: Rng,
    work: &'static Work,
    acts: Vec<Act>,
}

impl Writer {
    fn write(mut self, outcome: &Outcome) -> Vec<Act> {
        let last = self.work.steps.len();
        let turn = self.rng.usize(1..=last);
        if self.rng.bool() {
            self.report(1, Status::Pending, None, "waits for its turn");
        }
        match outcome {
            Outcome::Completes => self.complete(1..=last),
            Outcome::FailsOnce { restart } => {
                self.complete(1..=turn - 1);
                self.fail(turn);
                let from = if *restart { 1 } else { turn };
                let mark = self.acts.len();
                self.complete(from..=last);
                if let Some(Act::Report(report)) = self.acts.get_mut(mark) {
                    report.is_retry = true;
                    report.restart = *restart;
                    report.message = String::from(if *restart { "starts again" } else { "tries again" });
                }
            }
            Outcome::Fails => {
                self.complete(1..=turn - 1);
                self.fail(turn);
            }
            Outcome::TimesOut => {
                self.complete(1..=turn - 1);
                self.report(turn, Status::Running, None, "");
                self.report(turn, Status::TimedOut, Some(("TIMEOUT", "no answer within its time")), "gave up waiting");
            }
            Outcome::Cancelled => {
                self.complete(1..=turn - 1);
                self.report(turn, Status::Running, None, "");
                self.cancel();
                // What the worker meant to do: it hears of the cancellation with the first of these reports.
                self.complete(turn..=last);
            }
            Outcome::CancelledTooLate => {
                self.complete(1..=last);
                self.cancel();
            }
        }
        self.acts
    }

    fn cancel(&mut self) {
        const REASONS: [&str; 4] =
            ["started by mistake", "no longer needed", "takes too long", "the wrong file was picked"];
        self.acts.push(Act::Cancel(REASONS[self.rng.usize(..REASONS.len())]));
    }

    fn complete(&mut self, steps: std::ops::RangeInclusive<usize>) {
        for step in steps {
            self.report(step, Status::Running, None, "");
            if self.rng.u8(..3) == 0 {
                let half = f64::from(self.rng.u8(20..80)) / 100.0;
                self.report(step, Status::Running, None, "on its way");
                if let Some(Act::Report(report)) = self.acts.last_mut() {
                    report.progress = Some(half);
                }
            }
            let items = self.rng.u32(10..5_000);
            self.report(step, Status::Completed, None, &format!("{items} done"));
            if let Some(Act::Report(report)) = self.acts.last_mut() {
                report.result = Some(json!({ "items": items, "bytes": u64::from(items) * 1_187 }));
            }
        }
    }

    fn fail(&mut self, step: usize) {
        self.report(step, Status::Running, None, "");
        self.report(step, Status::Failed, Some(self.work.trouble), "did not work");
    }

    fn report(&mut self, step: usize, status: Status, error: Option<(&'static str, &'static str)>, message: &str) {
        let step_name = self.work.steps[step - 1];
        self.acts.push(Act::Report(Report {
            step,
            step_name,
            status,
            progress: None,
            message: message.to_owned(),
            result: None,
            error,
            restart: false,
            is_retry: false,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(script: &Script) -> impl Iterator<Item = &Report> {
        script.acts.iter().filter_map(|act| match act {
            Act::Report(report) => Some(report),
            Act::Cancel(_) => None,
        })
    }

    #[test]
    fn the_same_numbers_give_the_same_task() {
        for number in 0..50 {
            assert_eq!(Script::plan(7, number, 5), Script::plan(7, number, 5));
        }
        assert!((0..50).any(|number| Script::plan(7, number, 5) != Script::plan(8, number, 5)));
    }

    #[test]
    fn everything_that_can_happen_happens() {
        let scripts: Vec<Script> = (0..400).map(|number| Script::plan(1, number, 5)).collect();
        let some = |what: &str, is: &dyn Fn(&Script) -> bool| assert!(scripts.iter().any(is), "no task {what}");
        let ends = |script: &Script| reports(script).last().map(|report| report.status);
        some("completes", &|script| ends(script) == Some(Status::Completed));
        some("fails", &|script| ends(script) == Some(Status::Failed));
        some("times out", &|script| ends(script) == Some(Status::TimedOut));
        some("is tried again", &|script| reports(script).any(|report| report.is_retry && !report.restart));
        some("starts again", &|script| reports(script).any(|report| report.restart));
        some("is cancelled on its way", &|script| {
            script.acts.iter().rev().skip(1).any(|act| matches!(act, Act::Cancel(_)))
        });
        some("is cancelled too late", &|script| matches!(script.acts.last(), Some(Act::Cancel(_))));
        for heed in [Heed::Stopped, Heed::FinishedFirst, Heed::CannotStop] {
            some(heed.name(), &|script| script.heed == heed);
        }
        for user in 0..5 {
            some("of each user", &|script| script.user == user);
        }
        for script in &scripts {
            assert!(reports(script).all(|report| (1..=script.total_steps).contains(&report.step)));
        }
    }
}
