//! What all workers share: the pace, the counters, and the lines that people read.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) tasks: u64,
    pub(super) reports: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) unfinished: u64,
    pub(super) stopped: u64,
    pub(super) finished_first: u64,
    pub(super) cannot_stop: u64,
    pub(super) too_late: u64,
    pub(super) retries: u64,
    pub(super) repeated_requests: u64,
    pub(super) refused: u64,
}

/// Where the workers play.
pub(super) struct Stage {
    begun: Instant,
    /// The end of this run's task ids, so that no run goes on with another one's tasks.
    run: String,
    is_chatty: bool,
    stop: CancellationToken,
    period: Duration,
    /// When the next report may go.
    next_report: Mutex<Instant>,
    next_task: Mutex<u64>,
    tally: Mutex<Tally>,
}

impl Stage {
    pub(super) fn new(rate: f64, is_chatty: bool, stop: CancellationToken) -> Self {
        let begun = Instant::now();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            begun,
            run: format!("{seconds:x}"),
            is_chatty,
            stop,
            period: Duration::from_secs_f64(1.0 / rate),
            next_report: Mutex::new(begun),
            next_task: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Nothing new begins any more.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether each report gets a line.
    pub(super) fn is_chatty(&self) -> bool {
        self.is_chatty
    }

    /// The number of the next task, from 0.
    pub(super) fn next_task(&self) -> u64 {
        let mut next = lock(&self.next_task);
        *next += 1;
        *next - 1
    }

    /// The id of a task of this run.
    pub(super) fn task_id(&self, slug: &str, number: u64) -> String {
        format!("{slug}-{}-{}", number + 1, self.run)
    }

    /// Waits for a report's turn; false where the play is over.
    pub(super) async fn turn(&self) -> bool {
        let turn = {
            let mut next = lock(&self.next_report);
            // After a pause the pace goes on; it does not catch up.
            let turn = (*next).max(Instant::now().checked_sub(self.period).unwrap_or(*next));
            *next = turn + self.period;
            turn
        };
        if timeout_at(turn, self.stop.cancelled()).await.is_ok() {
            return false;
        }
        sleep_until(turn).await;
        !self.is_over()
    }

    /// The counters.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Says something about a task, where people can read as fast.
    pub(super) fn tell(&self, user: &str, task_id: &str, what: impl Display) {
        if self.is_chatty {
            self.say(&format!("{user:<10} {task_id:<22} {what}"));
        }
    }

    /// Says something. Where nobody reads standard output any more, the play is over.
    pub(super) fn say(&self, line: &str) {
        if writeln!(io::stdout(), "{line}").is_err() {
            self.stop();
        }
    }

    /// One line in the place of many.
    pub(super) fn say_progress(&self) {
        let line = {
            let tally = self.tally();
            format!(
                "{:>6} s  {} reports, {} tasks begun, {} completed, {} cancelled",
                self.begun.elapsed().as_secs(),
                tally.reports,
                tally.tasks,
                tally.completed,
                tally.cancelled
            )
        };
        self.say(&line);
    }

    /// What it came to.
    pub(super) fn sum_up(&self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let text = self.tally().sum_up(seconds);
        self.say(&text);
    }
}

impl Tally {
    #[expect(clippy::cast_precision_loss, reason = "a number for people")]
    fn sum_up(&self, seconds: f64) -> String {
        let unfinished = match self.unfinished {
            0 => String::new(),
            count => format!("\n  left unfinished {count}: taskwire demo --clean cancels such tasks"),
        };
        format!(
            "\n{} tasks, {} reports in {seconds:.0} s ({:.1} a second)\n  completed {}, failed {}, timed out {}, cancelled \
             {}\n  cancellations answered: STOPPED {}, FINISHED_FIRST {}, CANNOT_STOP {}; too late {}\n  retries of failed \
             steps {}, requests sent again {}, refused {}{unfinished}",
            self.tasks,
            self.reports,
            self.reports as f64 / seconds.max(0.001),
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.stopped,
            self.finished_first,
            self.cannot_stop,
            self.too_late,
            self.retries,
            self.repeated_requests,
            self.refused,
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
