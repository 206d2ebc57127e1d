//! In which order the records of an append are sent: by user and task, as `PostgreSQL` finds and sorts them soonest, with what
//! it needs to number them as they were given. (`taskwire_numbered` does the same for who sends no numbers.)

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

impl Order {
    pub(super) fn of(records: &[&NewRecord]) -> Self {
        let mut sent: Vec<usize> = (0..records.len()).collect();
        // Stable, as below: what is of one user, or of one task, stays in the order given.
        sent.sort_by_key(|&index| &records[index].user_id);
        let (mut numbers, mut highest) = (vec![0; records.len()], vec![None; records.len()]);
        for own in sent.chunk_by_mut(|&one, &next| records[one].user_id == records[next].user_id) {
            for (number, &index) in (1..).zip(&*own) {
                numbers[index] = number;
            }
            if let Some(&last) = own.last() {
                highest[last] = own.iter().map(|&index| rising(records[index].record_id)).max();
            }
            own.sort_by_key(|&index| &records[index].task_id);
        }
        Self {
            numbers: sent.iter().map(|&index| numbers[index]).collect(),
            highest: sent.iter().map(|&index| highest[index]).collect(),
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
    use super::*;

    #[test]
    fn records_are_sent_by_user_and_task_and_numbered_as_they_were_given() {
        let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
        let records = [
            NewRecord::of("bob", "t", ids[1]),
            NewRecord::of("ann", "u", ids[3]),
            NewRecord::of("bob", "t", ids[0]),
            NewRecord::of("ann", "t", ids[2]),
            NewRecord::of("eve", "t", Uuid::from_u128(u128::MAX)),
        ];
        let order = Order::of(&records.iter().collect::<Vec<_>>());
        assert_eq!(order.sent, [3, 1, 0, 2, 4]);
        assert_eq!(order.numbers, [2, 1, 1, 2, 1]);
        assert_eq!(order.highest, [Some(ids[3]), None, None, Some(ids[1]), Some(Uuid::nil())]);
    }
}
