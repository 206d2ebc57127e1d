//! The recent entries of every watched user, so that many subscribers cost one read. Bounded in bytes all together: who
//! came in first goes first, whosever it is, and a reader that needs it asks the table.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::store::Committed;

/// One ring a user, each without a hole, positions rising by one.
#[derive(Debug)]
pub(super) struct Rings {
    by_user: HashMap<Arc<str>, VecDeque<Arc<Committed>>>,
    /// Every entry in the order in which they came; may name some that are gone.
    order: VecDeque<(Arc<str>, i64)>,
    entries: usize,
    bytes: usize,
    limit: usize,
}

/// About what an entry takes in memory.
fn bytes_of(entry: &Committed) -> usize {
    let (record, task) = (&entry.record, &entry.task);
    1024 + 2 * (record.user_id.len() + record.task_id.len())
        + record.result.len()
        + task.message.len()
        + task.tags.iter().map(|tag| 24 + tag.len()).sum::<usize>()
}

impl Rings {
    pub(super) fn new(limit: usize) -> Self {
        Self { by_user: HashMap::new(), order: VecDeque::new(), entries: 0, bytes: 0, limit }
    }

    /// Adds an entry at the end of the user's ring; one that does not continue it begins it anew.
    pub(super) fn push(&mut self, user: &Arc<str>, entry: Arc<Committed>) {
        let position = entry.record.position;
        if self.by_user.get(user).and_then(VecDeque::back).is_some_and(|last| last.record.position + 1 != position) {
            self.clear(user);
        }
        self.bytes += bytes_of(&entry);
        self.entries += 1;
        self.by_user.entry(Arc::clone(user)).or_default().push_back(entry);
        self.order.push_back((Arc::clone(user), position));
        while self.bytes > self.limit
            && let Some((owner, position)) = self.order.pop_front()
        {
            self.drop_front(&owner, position);
        }
        if self.order.len() > 2 * self.entries + 1024 {
            let rings = &self.by_user;
            self.order.retain(|(owner, position)| {
                rings.get(owner).and_then(VecDeque::front).is_some_and(|front| front.record.position <= *position)
            });
        }
    }

    fn drop_front(&mut self, user: &Arc<str>, position: i64) {
        let Some(ring) = self.by_user.get_mut(user) else { return };
        if let Some(entry) = ring.pop_front_if(|front| front.record.position == position) {
            self.bytes = self.bytes.saturating_sub(bytes_of(&entry));
            self.entries = self.entries.saturating_sub(1);
        }
    }

    /// Forgets a user's entries.
    pub(super) fn clear(&mut self, user: &str) {
        if let Some(ring) = self.by_user.remove(user) {
            self.entries = self.entries.saturating_sub(ring.len());
            self.bytes = self.bytes.saturating_sub(ring.iter().map(|entry| bytes_of(entry)).sum());
        }
    }

    /// The entries just after a position, if the ring has the next one.
    pub(super) fn after(&self, user: &str, position: i64, limit: usize) -> Option<Vec<Arc<Committed>>> {
        let ring = self.by_user.get(user)?;
        let first = ring.front()?.record.position;
        let skip = usize::try_from(position.checked_add(1)?.checked_sub(first)?).ok()?;
        (skip < ring.len()).then(|| ring.iter().skip(skip).take(limit).cloned().collect())
    }

    /// The entry at a position.
    pub(super) fn at(&self, user: &str, position: i64) -> Option<&Arc<Committed>> {
        let ring = self.by_user.get(user)?;
        ring.get(usize::try_from(position.checked_sub(ring.front()?.record.position)?).ok()?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use entity::{RecordKind, TaskStatus, task, task_record};
    use uuid::Uuid;

    use super::*;
    use crate::store::Head;

    /// An entry with little in it.
    pub(crate) fn entry(user: &str, task_id: &str, position: i64) -> Arc<Committed> {
        let at = Head::START.recorded_at;
        let record_id = Uuid::from_u64_pair(position.unsigned_abs(), 0);
        let record = task_record::Model {
            user_id: user.to_owned(),
            position,
            recorded_at: at,
            task_id: task_id.to_owned(),
            step: 0,
            result: "{}".to_owned(),
            timestamp: at,
            status: TaskStatus::Running,
            kind: RecordKind::Step,
            record_id,
            is_late: false,
            reported_by: None,
            progress: None,
        };
        let task = task::Model {
            user_id: user.to_owned(),
            task_id: task_id.to_owned(),
            position,
            record_id,
            name: None,
            tags: Vec::new(),
            status: TaskStatus::Running,
            step: 0,
            step_status: TaskStatus::Running,
            step_progress: None,
            total_steps: None,
            completed_count: 0,
            message: String::new(),
            error_code: None,
            moved_position: position,
            moved_at: at,
            steps_from_position: 1,
            steps_from_at: at,
            created_at: at,
            started_at: None,
            updated_at: at,
            finished_at: None,
            cancel_requested_at: None,
            cancel_requested_by: None,
            cancel_reason: None,
            cancel_delivered_at: None,
            cancel_acknowledged_at: None,
            cancel_outcome: None,
            cancel_message: None,
            report_within_seconds: None,
            report_due_at: None,
        };
        Arc::new(Committed { record: Arc::new(record), task: Arc::new(task) })
    }

    fn positions(rings: &Rings, user: &str, after: i64, limit: usize) -> Option<Vec<i64>> {
        Some(rings.after(user, after, limit)?.iter().map(|entry| entry.record.position).collect())
    }

    #[test]
    fn gives_what_follows_a_position_or_says_that_it_has_it_not() {
        let mut rings = Rings::new(1 << 20);
        let user: Arc<str> = "u".into();
        for position in 5..=9 {
            rings.push(&user, entry("u", "t", position));
        }
        assert_eq!(positions(&rings, "u", 4, 2), Some(vec![5, 6]));
        assert_eq!(positions(&rings, "u", 7, 9), Some(vec![8, 9]));
        for (who, after) in [("u", 3), ("u", 9), ("u", 100), ("u", i64::MAX - 1), ("v", 4)] {
            assert_eq!(positions(&rings, who, after, 9), None, "{who} {after}");
        }
        assert_eq!(rings.at("u", 6).map(|entry| entry.record.position), Some(6));
        assert!(rings.at("u", 4).is_none() && rings.at("u", 10).is_none());
    }

    #[test]
    fn a_hole_begins_the_ring_anew() {
        let mut rings = Rings::new(1 << 20);
        let user: Arc<str> = "u".into();
        rings.push(&user, entry("u", "t", 1));
        rings.push(&user, entry("u", "t", 3));
        assert_eq!(positions(&rings, "u", 0, 9), None);
        assert_eq!(positions(&rings, "u", 2, 9), Some(vec![3]));
        assert_eq!(rings.entries, 1);
    }

    #[test]
    fn all_rings_together_stay_within_their_bytes() {
        let one = bytes_of(&entry("u", "t", 1));
        let mut rings = Rings::new(10 * one);
        let users: Vec<Arc<str>> = vec!["u".into(), "v".into()];
        for position in 1..=5_000 {
            for user in &users {
                rings.push(user, entry(user, "t", position));
                assert!(rings.bytes <= rings.limit);
            }
            if position % 7 == 0 {
                rings.clear("v");
            }
            assert!(rings.order.len() <= 2 * rings.entries + 1025);
        }
        // The oldest went, whosever they were.
        assert_eq!(positions(&rings, "u", 4_990, 9), None);
        assert!(positions(&rings, "u", 4_996, 9).is_some_and(|left| left.last() == Some(&5_000)));
        rings.clear("u");
        rings.clear("v");
        assert_eq!((rings.bytes, rings.entries), (0, 0));
    }
}
