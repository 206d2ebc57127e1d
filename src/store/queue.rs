//! What waits for the lanes: one queue a user, taken round robin; whose records are being written has no turn meanwhile;
//! and aside from them the users who are held.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::pending::Pending;

/// Users for whom the busy lanes may be writing when a further one starts at once, where commits are quick: whoever comes
/// one by one does not wait for the commit before. (1,000 saves a second: half of them reach their subscriber in 1.45 ms, in
/// 1.65 otherwise.)
const FEW_USERS: usize = 4;
/// Users who must have a turn for each further lane to start beside the busy ones otherwise, and for each lane where all of
/// them take shares. (20 callers never are so many, and are better served by one lane: 5,900 saves/s, 5,400 with both.)
const USERS_FOR_ANOTHER_LANE: usize = 16;

#[derive(Default)]
pub(super) struct Queue {
    /// What waits, by user, oldest first.
    waiting: HashMap<String, VecDeque<Pending>>,
    /// Users whose turn it will be; each once.
    turns: VecDeque<String>,
    /// Users of whom a lane is writing records: the next ones wait until these are settled.
    writing: HashSet<String>,
    /// How many lanes are writing.
    busy_lanes: usize,
    /// How long the lanes' commits take.
    pace: Pace,
    /// Users who were held when a lane wrote for them last, but not before.
    refused_once: HashSet<String>,
    /// Users held by somebody's open transaction: they have no turn.
    held: HashSet<String>,
    /// Held users with records that are not being written just now.
    held_turns: VecDeque<String>,
    /// Held users who were waited for in vain, and those of them with records that are not being written just now.
    stuck: HashSet<String>,
    stuck_turns: VecDeque<String>,
}

impl Queue {
    /// Adds a record; true where its user is held.
    pub(super) fn push(&mut self, pending: Pending) -> bool {
        let user_id = pending.record.user_id.clone();
        let queue = self.waiting.entry(user_id.clone()).or_default();
        queue.push_back(pending);
        let is_first = queue.len() == 1;
        let is_held = self.held.contains(&user_id);
        if is_first && self.stuck.contains(&user_id) {
            self.stuck_turns.push_back(user_id);
        } else if is_first && is_held {
            self.held_turns.push_back(user_id);
        } else if is_first && !self.writing.contains(&user_id) {
            self.turns.push_back(user_id);
        }
        is_held
    }

    /// Whether those who have a turn are worth a lane beside the busy ones: where these write for few, and the database is at
    /// ease; or where many wait. Otherwise a larger transaction afterwards serves them better than one more now.
    pub(super) fn is_worth_a_lane(&self) -> bool {
        let at_once = self.writing.len() <= FEW_USERS && !self.pace.is_slow();
        let worth = if at_once || self.busy_lanes == 0 { 1 } else { self.busy_lanes * USERS_FOR_ANOTHER_LANE };
        self.turns.len() >= worth
    }

    /// No lane is writing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.busy_lanes == 0
    }

    /// Nothing waits, held or free.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty() && self.writing.is_empty()
    }

    /// Takes records of free users, one of each in turn, if they are worth a lane. Of many users it takes its share alone:
    /// whom it took has to wait for the flush of its transaction, and meanwhile another lane can write for the others
    /// (docs/adr/0008 has the figures).
    pub(super) fn take_free(&mut self, lanes: usize, records: usize, bytes: usize) -> Vec<Pending> {
        if !self.is_worth_a_lane() {
            return Vec::new();
        }
        let all = self.turns.len();
        let others = self.turns.split_off(if all < lanes * USERS_FOR_ANOTHER_LANE { all } else { all.div_ceil(lanes) });
        let batch = take(&mut self.turns, &mut self.waiting, records, bytes);
        self.turns.extend(others);
        self.busy_lanes += usize::from(!batch.is_empty());
        self.writing.extend(batch.iter().map(|pending| pending.record.user_id.clone()));
        let writing = &self.writing;
        self.turns.retain(|user_id| !writing.contains(user_id));
        batch
    }

    /// After a lane's batch: its users take turns again. Who was refused for being held has the next turn: another server's
    /// lane, which it mostly was, is through when a transaction of ours that wrote for others is. Refused a second time, that
    /// user moves to the side. Returns whether anybody did.
    pub(super) fn settled(&mut self, users: Vec<String>, refused: Vec<Pending>) -> bool {
        self.busy_lanes -= 1;
        let (held, again): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|pending| self.refused_once.contains(&pending.record.user_id));
        let is_side_wanted = !held.is_empty();
        let next: HashSet<String> = again.iter().map(|pending| pending.record.user_id.clone()).collect();
        self.held.extend(held.iter().map(|pending| pending.record.user_id.clone()));
        for pending in again.into_iter().rev() {
            self.waiting.entry(pending.record.user_id.clone()).or_default().push_front(pending);
        }
        for user_id in users {
            if !self.writing.remove(&user_id) {
                continue;
            }
            if next.contains(&user_id) {
                self.refused_once.insert(user_id.clone());
                self.turns.push_front(user_id);
                continue;
            }
            self.refused_once.remove(&user_id);
            if !self.held.contains(&user_id) && self.waiting.contains_key(&user_id) {
                self.turns.push_back(user_id);
            }
        }
        self.put_in_front(held);
        is_side_wanted
    }

    /// A lane's transaction has committed.
    pub(super) fn committed(&mut self, records: usize, took: Duration) {
        if records <= FEW_USERS {
            self.pace.took(took, Instant::now());
        }
    }

    /// Takes those records of held users that have waited too long.
    pub(super) fn take_overdue(&mut self, too_long: Duration) -> Vec<Pending> {
        let mut overdue = Vec::new();
        for user_id in self.held_turns.iter().chain(&self.stuck_turns) {
            if let Some(queue) = self.waiting.get_mut(user_id) {
                while queue.front().is_some_and(|pending| pending.is_overdue(too_long)) {
                    overdue.extend(queue.pop_front());
                }
            }
        }
        let (waiting, held, stuck) = (&mut self.waiting, &mut self.held, &mut self.stuck);
        for turns in [&mut self.held_turns, &mut self.stuck_turns] {
            turns.retain(|user_id| {
                let is_empty = waiting.get(user_id).is_none_or(VecDeque::is_empty);
                if is_empty {
                    waiting.remove(user_id);
                    held.remove(user_id);
                    stuck.remove(user_id);
                }
                !is_empty
            });
        }
        overdue
    }

    /// Takes records of held users for whom nobody has waited yet.
    pub(super) fn take_held(&mut self, records: usize, bytes: usize) -> Vec<Pending> {
        take(&mut self.held_turns, &mut self.waiting, records, bytes)
    }

    /// Takes records of held users who were waited for in vain.
    pub(super) fn take_stuck(&mut self, records: usize, bytes: usize) -> Vec<Pending> {
        take(&mut self.stuck_turns, &mut self.waiting, records, bytes)
    }

    /// Whether somebody was waited for in vain who is still held.
    pub(super) fn has_stuck(&self) -> bool {
        !self.stuck_turns.is_empty()
    }

    /// After a try on the side for these users: who is still held is stuck, everybody else takes turns again.
    pub(super) fn put_back(&mut self, tried: HashSet<String>, still_held: Vec<Pending>) {
        let still: HashSet<String> = still_held.iter().map(|pending| pending.record.user_id.clone()).collect();
        // More may have come meanwhile: wherever that put them, each of them has one place.
        self.held_turns.retain(|user_id| !tried.contains(user_id));
        self.stuck_turns.retain(|user_id| !tried.contains(user_id));
        for user_id in tried {
            if still.contains(&user_id) {
                self.stuck.insert(user_id);
                continue;
            }
            self.held.remove(&user_id);
            self.stuck.remove(&user_id);
            if self.waiting.contains_key(&user_id) {
                self.turns.push_back(user_id);
            }
        }
        self.put_in_front(still_held);
    }

    fn put_in_front(&mut self, refused: Vec<Pending>) {
        for pending in refused.into_iter().rev() {
            let user_id = pending.record.user_id.clone();
            self.waiting.entry(user_id.clone()).or_default().push_front(pending);
            let is_stuck = self.stuck.contains(&user_id);
            let turns = if is_stuck { &mut self.stuck_turns } else { &mut self.held_turns };
            if !turns.contains(&user_id) {
                turns.push_back(user_id);
            }
        }
    }
}

/// Takes one record of each user in turn until the batch is full.
fn take(
    turns: &mut VecDeque<String>,
    waiting: &mut HashMap<String, VecDeque<Pending>>,
    records: usize,
    bytes: usize,
) -> Vec<Pending> {
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    while batch.len() < records && (batch_bytes < bytes || batch.is_empty()) {
        let Some(user_id) = turns.pop_front() else { break };
        let Some(queue) = waiting.get_mut(&user_id) else { continue };
        if let Some(pending) = queue.pop_front() {
            batch_bytes += pending.record.bytes();
            batch.push(pending);
        }
        if queue.is_empty() {
            waiting.remove(&user_id);
        } else {
            turns.push_back(user_id);
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue, users: std::ops::Range<usize>) {
        for user in users {
            queue.push(Pending::of_user(&format!("u{user}")));
        }
    }

    fn take(queue: &mut Queue) -> Vec<String> {
        queue.take_free(2, 500, 1 << 20).into_iter().map(|pending| pending.record.user_id).collect()
    }

    const QUICK: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_millis(20);

    /// A lane has written for the user, and is through.
    fn write(queue: &mut Queue, took: Duration) {
        push(queue, 99..100);
        let users = take(queue);
        queue.committed(users.len(), took);
        queue.settled(users, Vec::new());
    }

    #[test]
    fn a_further_lane_starts_beside_few_at_once_where_the_database_is_at_ease() {
        for (took, at_once) in [(QUICK, 1), (LONG, 0)] {
            let mut queue = Queue::default();
            write(&mut queue, QUICK);
            write(&mut queue, took);
            push(&mut queue, 0..1);
            assert_eq!(take(&mut queue).len(), 1, "an idle lane writes at once");
            push(&mut queue, 1..2);
            assert_eq!(take(&mut queue).len(), at_once);
        }
    }

    #[test]
    fn beside_a_slow_one_a_lane_starts_for_many() {
        let mut queue = Queue::default();
        write(&mut queue, QUICK);
        write(&mut queue, LONG);
        push(&mut queue, 0..1);
        take(&mut queue);
        push(&mut queue, 1..USERS_FOR_ANOTHER_LANE);
        assert!(take(&mut queue).is_empty());
        push(&mut queue, USERS_FOR_ANOTHER_LANE..USERS_FOR_ANOTHER_LANE + 1);
        assert_eq!(take(&mut queue).len(), USERS_FOR_ANOTHER_LANE);
    }

    #[test]
    fn who_is_held_has_the_next_turn_and_moves_to_the_side_when_held_again() {
        let mut queue = Queue::default();
        push(&mut queue, 0..3);
        let users = |batch: &[Pending]| batch.iter().map(|one| one.record.user_id.clone()).collect::<Vec<_>>();
        let mut batch = queue.take_free(2, 500, 1 << 20);
        push(&mut queue, 1..4);
        let all = users(&batch);
        // Of u0 and u1 nothing was written.
        batch.truncate(2);
        assert!(!queue.settled(all, batch));
        let batch = queue.take_free(2, 500, 1 << 20);
        assert_eq!(users(&batch), ["u1", "u0", "u3", "u2", "u1"]);
        // Of u1 again nothing.
        let all = users(&batch);
        assert!(queue.settled(all, batch.into_iter().filter(|one| one.record.user_id == "u1").collect()));
        push(&mut queue, 0..2);
        let batch = queue.take_free(2, 500, 1 << 20);
        assert_eq!(users(&batch), ["u0"]);
        let held = queue.take_held(500, 1 << 20);
        assert_eq!(users(&held), ["u1"; 3]);
        // Whoever was written for meanwhile, or is back from the side, has a next turn once more.
        queue.put_back(HashSet::from(["u1".to_owned()]), Vec::new());
        queue.settled(users(&batch), batch);
        push(&mut queue, 1..2);
        let batch = queue.take_free(2, 500, 1 << 20);
        assert_eq!(users(&batch), ["u0", "u1"]);
        assert!(!queue.settled(vec!["u0".to_owned(), "u1".to_owned()], batch.into_iter().skip(1).collect()));
        assert_eq!(take(&mut queue), ["u1"]);
    }
}
