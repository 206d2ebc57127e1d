//! Many single look-ups of records become one read.
//!
//! A task's result and error stand in the record that last moved it. A list that asks for them would read one record a
//! task; so whoever comes first waits until everybody who is polled in the same turn has asked, then reads for all.
//! Nothing is kept: a loader may live as long as a socket and serves no stale rows. There is no task of its own behind
//! it, so none that could fail apart from its callers; a caller that goes away takes its own question with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entity::task_record;
use tokio::sync::oneshot;

use crate::auth::Viewer;
use crate::service::{RecordKey, Service, ServiceError};

type Found = Result<Option<Arc<task_record::Model>>, ServiceError>;
type Waiting = Vec<(RecordKey, oneshot::Sender<Found>)>;

/// Batches the look-ups of one viewer.
#[derive(Default)]
pub(crate) struct RecordLoader {
    waiting: Mutex<Waiting>,
}

impl RecordLoader {
    /// The record at this place; none where it is not there, or not the viewer's to see.
    pub(crate) async fn load(&self, service: &Service, viewer: &Viewer, key: RecordKey) -> Found {
        loop {
            let (sender, receiver) = oneshot::channel();
            let first = {
                let mut waiting = self.waiting();
                waiting.push((key.clone(), sender));
                waiting.len() == 1
            };
            if first {
                self.read_for_all(service, viewer).await;
            }
            // No answer: whoever came first has gone away. Ask again.
            if let Ok(found) = receiver.await {
                return found;
            }
        }
    }

    async fn read_for_all(&self, service: &Service, viewer: &Viewer) {
        let abandoned = Abandon(self);
        tokio::task::yield_now().await;
        let waiting = std::mem::take(&mut *self.waiting());
        std::mem::forget(abandoned);
        let mut keys: Vec<RecordKey> = waiting.iter().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable_by(|a, b| (&a.user_id, a.position).cmp(&(&b.user_id, b.position)));
        keys.dedup();
        let found = service.records_at(viewer, &keys).await;
        answer(waiting, found);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(waiting: Waiting, found: Result<HashMap<RecordKey, task_record::Model>, ServiceError>) {
    let found = found
        .map(|records| records.into_iter().map(|(key, record)| (key, Arc::new(record))).collect::<HashMap<_, _>>());
    for (key, sender) in waiting {
        let one = match &found {
            Ok(records) => Ok(records.get(&key).cloned()),
            Err(error) => Err(error.clone()),
        };
        // Who has gone away needs no answer.
        let _ = sender.send(one);
    }
}

/// Empties the list when the first one goes away before having read: the others then see their channel closed and one of
/// them becomes the first.
struct Abandon<'a>(&'a RecordLoader);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.waiting().clear();
    }
}
