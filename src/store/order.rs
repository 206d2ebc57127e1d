//! In which order the records of an append are sent: by user and task, as `PostgreSQL` finds and sorts them soonest, with what
//! it needs to number them as they were given. (`taskwire_numbered` does the same for who sends no numbers.)

use std::collections::HashMap;

use uuid::Uuid;

use super::record::NewRecord;

/// An order, and what goes with it place by place.
pub(super) struct Order {
    /// Which record stands there.
    pub(super) sent: Vec<usize>,
    /// Its number among its user's, from 1, in the order given.
    pub(super) numbers: Vec<i32>,
    /// With the last of each user's, the highest id of version 7 that they have; nil where none has one.
    pub(super) highest: Vec<Option<Uuid>>,
}

/// What is known of a user while the records are counted.
#[derive(Default)]
struct Counted {
    records: i32,
    last: usize,
    highest: Uuid,
}

impl Order {
    pub(super) fn of(records: &[&NewRecord]) -> Self {
        let mut users: HashMap<&str, Counted> = HashMap::new();
        let mut numbers = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let user = users.entry(&record.user_id).or_default();
            user.records += 1;
            user.last = index;
            user.highest = user.highest.max(rising(record.record_id));
            numbers.push(user.records);
        }
        let mut sent: Vec<usize> = (0..records.len()).collect();
        // Stable: the records of a task stay as they are.
        sent.sort_by_key(|&index| (&records[index].user_id, &records[index].task_id));
        let highest = |&index: &usize| {
            let user = users.get(records[index].user_id.as_str())?;
            (user.last == index).then_some(user.highest)
        };
        Self {
            numbers: sent.iter().map(|&index| numbers[index]).collect(),
            highest: sent.iter().map(highest).collect(),
            sent,
        }
    }
}

/// The id where it is of version 7, which rises with time: a random one among the highest would leave none that is higher.
fn rising(id: Uuid) -> Uuid {
    if id.get_version_num() == 7 { id } else { Uuid::nil() }
}

#[cfg(test)]
mod tests {
    use entity::TaskStatus;

    use super::*;

    fn record(user: &str, task: &str, record_id: Uuid) -> NewRecord {
        NewRecord {
            user_id: user.to_owned(),
            task_id: task.to_owned(),
            step: 0,
            status: TaskStatus::Running,
            result: "{}".to_owned(),
            step_name: String::new(),
            message: String::new(),
            error_code: String::new(),
            progress: None,
            timestamp: None,
            record_id,
            reported_by: None,
            details: None,
        }
    }

    #[test]
    fn records_are_sent_by_user_and_task_and_numbered_as_they_were_given() {
        let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
        let records = [
            record("bob", "t", ids[1]),
            record("ann", "u", ids[3]),
            record("bob", "t", ids[0]),
            record("ann", "t", ids[2]),
            record("eve", "t", Uuid::from_u128(u128::MAX)),
        ];
        let order = Order::of(&records.iter().collect::<Vec<_>>());
        assert_eq!(order.sent, [3, 1, 0, 2, 4]);
        assert_eq!(order.numbers, [2, 1, 1, 2, 1]);
        assert_eq!(order.highest, [Some(ids[3]), None, None, Some(ids[1]), Some(Uuid::nil())]);
    }
}
