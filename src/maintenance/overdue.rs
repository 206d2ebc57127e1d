//! Notices reports that did not come in time, and records them once, whichever server is first: the append path decides
//! under the user's lock. So all servers do this, and none needs to be the chosen one.
//!
//! Each round says that this server is there to take reports, and learns whether there was a gap in which none was. After
//! one every due time begins anew: all of them are looked at once, and a due time that a stopped server has left behind is
//! moved when its turn comes.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::store::{DueReport, ReportClock, Store, StoreError};

/// How often it looks while some task awaits a report, and while none does: a report is noticed to be overdue within a
/// second.
const EVERY: Duration = Duration::from_millis(500);
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Tasks that one transaction looks at: few, so that no writer waits long for the heads it holds.
const TASKS: u32 = 200;
/// Who is held by other writers without a pause is waited for, so many users a round, each so long.
const USERS_WAITED_FOR: usize = 8;
const PATIENCE: Duration = Duration::from_millis(100);
/// Later than any report can be due.
const EVER: TimeDelta = TimeDelta::days(3_660);

pub(super) async fn run(store: Store, within: Option<i32>, token: CancellationToken) {
    let mut rounds = Rounds { store, within, seen_at: None, started: Some(Instant::now()), is_anew: false };
    let (mut pause, mut is_failing) = (Duration::ZERO, false);
    loop {
        let round = async {
            sleep(pause).await;
            Box::pin(rounds.next()).await
        };
        match token.run_until_cancelled(round).await {
            None => return,
            Some(Ok(has_due)) => (pause, is_failing) = (if has_due { EVERY } else { IDLE_EVERY }, false),
            Some(Err(error)) => {
                if !is_failing {
                    tracing::warn!(%error, "overdue reports cannot be looked for; tried again");
                }
                (pause, is_failing) = (EVERY, true);
            }
        }
    }
}

struct Rounds {
    store: Store,
    /// The server's own setting, in seconds.
    within: Option<i32>,
    /// When this server was last there, by the database's clock.
    seen_at: Option<DateTime<Utc>>,
    /// When it began, until it has asked: what was reported in between came after the gap.
    started: Option<Instant>,
    /// There was a gap, and not all due times have been looked at since.
    is_anew: bool,
}

/// What one look has come to.
#[derive(Default)]
struct Looked {
    recorded: usize,
    held: Vec<DueReport>,
}

impl Rounds {
    /// Tells whether any report is due, now or later.
    async fn next(&mut self) -> Result<bool, StoreError> {
        let clock = self.clock().await?;
        if !clock.has_due {
            self.is_anew = false;
            return Ok(false);
        }
        if self.is_anew {
            tracing::info!("no server could take reports for a while: every due time begins anew");
            self.look(clock.asked_at + EVER).await?;
            self.is_anew = false;
        }
        let looked = self.look(clock.asked_at).await?;
        let recorded = looked.recorded + self.wait_for(looked.held).await?;
        if recorded > 0 {
            tracing::info!(tasks = recorded, "reports are overdue");
        }
        Ok(true)
    }

    async fn clock(&mut self) -> Result<ReportClock, StoreError> {
        let here_for = self.started.take().map_or(Duration::ZERO, |started| started.elapsed());
        let clock = self.store.report_clock(self.seen_at, here_for).await?;
        self.seen_at = Some(clock.asked_at);
        self.is_anew |= clock.is_gap;
        Ok(clock)
    }

    /// Looks at all tasks whose report is due until then.
    async fn look(&mut self, until: DateTime<Utc>) -> Result<Looked, StoreError> {
        let (mut looked, mut after) = (Looked::default(), None);
        loop {
            let due = self.store.due_reports(until, after.as_ref(), TASKS).await?;
            if due.is_empty() {
                return Ok(looked);
            }
            let overdue = self.store.record_overdue(&due, self.within, None).await?;
            looked.recorded += overdue.recorded;
            looked.held.extend(overdue.held);
            after = due.into_iter().next_back();
            // What takes long is work, and no gap.
            self.clock().await?;
        }
    }

    /// Waits for some users who were passed over, whoever they are; those who are held for longer have to wait for the next
    /// round. Tells how many reports were overdue.
    async fn wait_for(&self, held: Vec<DueReport>) -> Result<usize, StoreError> {
        let mut users: HashMap<String, Vec<DueReport>> = HashMap::new();
        for due in held {
            users.entry(due.user_id.clone()).or_default().push(due);
        }
        let mut recorded = 0;
        for due in users.into_values().take(USERS_WAITED_FOR) {
            match self.store.record_overdue(&due, self.within, Some(PATIENCE)).await {
                Ok(overdue) => recorded += overdue.recorded,
                Err(StoreError::Timeout) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(recorded)
    }
}
