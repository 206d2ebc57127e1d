//! Many workers at once, each with a few tasks and one save in flight.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{sync::watch, task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::{
    PATIENCE,
    client::{Client, Fault, Record, Report},
};

/// Tasks that a worker reports of in turn.
const TASKS: u64 = 3;

/// Who makes up the records' ids.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ids {
    Worker,
    /// Every other worker leaves it to the server.
    Mixed,
}

/// Workers that save until they are told to stop.
pub(crate) struct Load {
    workers: JoinSet<Vec<Record>>,
    acknowledged: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    faults: Arc<Mutex<HashMap<String, u64>>>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) acknowledged: Vec<Record>,
    /// How often each error code was told, or `connection` seen.
    pub(crate) faults: HashMap<String, u64>,
}

/// The users of a load, by number.
pub(crate) fn user(number: usize) -> String {
    format!("user-{number}")
}

impl Load {
    /// Workers over so many users; worker `i` works for user `i % users`.
    pub(crate) fn start(address: SocketAddr, workers: usize, users: usize, ids: Ids) -> Self {
        let (count, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let faults = Arc::<Mutex<HashMap<String, u64>>>::default();
        let mut all = JoinSet::new();
        for worker in 0..workers {
            let (count, stopped, faults) = (count.clone(), stopped.clone(), Arc::clone(&faults));
            all.spawn(async move {
                let client = Client::new(address);
                let own_ids = matches!(ids, Ids::Worker) || worker % 2 == 0;
                let mut records = Vec::new();
                for turn in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    let report = Report {
                        user_id: user(worker % users),
                        task_id: format!("task-{worker}-{}", turn % TASKS),
                        step: i64::try_from(turn / TASKS).unwrap(),
                        message: format!("{worker}/{turn}"),
                        record_id: own_ids.then(Uuid::new_v4),
                    };
                    let seen = |fault: &Fault| {
                        let code = fault.code().unwrap_or("connection").to_owned();
                        *faults.lock().unwrap().entry(code).or_default() += 1;
                    };
                    let record = client.save_for_sure(&report, seen).await;
                    assert!(
                        record.message == report.message
                            && record.task_id == report.task_id
                            && record.user_id == report.user_id
                            && record.step == report.step
                            && report.record_id.is_none_or(|id| id == record.id),
                        "{report:?} was acknowledged as {record:?}"
                    );
                    records.push(record);
                    count.send_modify(|count| *count += 1);
                }
                records
            });
        }
        Self { workers: all, acknowledged, stop, faults }
    }

    /// Returns when so many more were acknowledged.
    pub(crate) async fn goes_on(&mut self, more: u64) {
        let from = *self.acknowledged.borrow_and_update();
        let waited = timeout(PATIENCE, self.acknowledged.wait_for(|count| *count >= from + more)).await;
        waited.expect("the load stands still").expect("the workers have gone");
    }

    /// Lets every worker finish what it is at.
    pub(crate) async fn finish(mut self) -> Outcome {
        self.stop.send_replace(true);
        let mut acknowledged = Vec::new();
        while let Some(records) = self.workers.join_next().await {
            acknowledged.extend(records.unwrap());
        }
        let faults = self.faults.lock().unwrap().clone();
        Outcome { acknowledged, faults }
    }
}
