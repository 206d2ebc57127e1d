//! In which order the records of an append are sent: by user and task, as `PostgreSQL` finds and sorts them soonest, with what
//! it needs to number them as they were given. (`taskwire_numbered` does the same for who sends nothing of it.)

use uuid::Uuid;

use super::record::NewRecord;

/// An order, and what goes with it place by place.
#[derive(Default)]
pub(super) struct Order<'r> {
    /// Which record stands there.
    pub(super) sent: Vec<usize>,
    /// Whose it is: the place among the heads, from 1.
    pub(super) head_of: Vec<i32>,
    /// Its number among its user's, from 1, in the order given.
    pub(super) numbers: Vec<i32>,
    pub(super) heads: Heads<'r>,
}

/// The users of an append, each once, and what goes with them place by place.
#[derive(Default)]
pub(super) struct Heads<'r> {
    pub(super) users: Vec<&'r str>,
    /// Where the last of their records stands, from 1.
    pub(super) lasts: Vec<i32>,
    /// Their lowest id, where all are of version 7 and none comes twice, so that all are new where this one is. Otherwise nil.
    pub(super) lowest: Vec<Uuid>,
    /// Their highest id of version 7, nil where none is.
    pub(super) highest: Vec<Uuid>,
}

impl<'r> Order<'r> {
    pub(super) fn of(records: &[&'r NewRecord]) -> Self {
        let mut order = Self { sent: (0..records.len()).collect(), ..Self::default() };
        // Stable, as below: what is of one user, or of one task, stays in the order given.
        order.sent.sort_by_key(|&index| &records[index].user_id);
        let (mut numbers, mut place) = (vec![0; records.len()], 0);
        let users = order.sent.chunk_by_mut(|&one, &next| records[one].user_id == records[next].user_id);
        for (head, own) in (1..).zip(users) {
            let Some(&last) = own.last() else { continue };
            for (number, &index) in (1..).zip(&*own) {
                numbers[index] = number;
            }
            let (lowest, highest) = bounds(own.iter().map(|&index| records[index].record_id).collect());
            order.heads.users.push(&records[last].user_id);
            order.heads.lowest.push(lowest);
            order.heads.highest.push(highest);
            own.sort_by_key(|&index| &records[index].task_id);
            for &index in &*own {
                place += 1;
                order.head_of.push(head);
                order.numbers.push(numbers[index]);
                if index == last {
                    order.heads.lasts.push(place);
                }
            }
        }
        order
    }
}

/// The lowest and the highest, as [`Heads`] has them.
fn bounds(mut ids: Vec<Uuid>) -> (Uuid, Uuid) {
    // It rises with time: a random one among the highest would leave none that is higher.
    let is_rising = |id: &Uuid| id.get_version_num() == 7;
    ids.sort_unstable();
    let is_each_new = ids.is_sorted_by(|one, next| one < next) && ids.iter().all(is_rising);
    let lowest = ids.first().copied().filter(|_| is_each_new);
    let highest = ids.into_iter().rfind(is_rising);
    (lowest.unwrap_or_default(), highest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_sent_by_user_and_task_and_numbered_as_they_were_given() {
        let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
        let records = [
            NewRecord::of("bob", "t", ids[1]),
            NewRecord::of("ann", "u", ids[3]),
            NewRecord::of("bob", "t", ids[0]),
            NewRecord::of("ann", "t", ids[4]),
            NewRecord::of("ann", "a", ids[2]),
            NewRecord::of("eve", "t", Uuid::from_u128(u128::MAX)),
            NewRecord::of("fay", "u", ids[0]),
            NewRecord::of("fay", "t", ids[3]),
        ];
        let records: Vec<&NewRecord> = records.iter().collect();
        let order = Order::of(&records);
        assert_eq!(order.sent, [4, 3, 1, 0, 2, 5, 7, 6]);
        assert_eq!(order.head_of, [1, 1, 1, 2, 2, 3, 4, 4]);
        assert_eq!(order.numbers, [3, 2, 1, 1, 2, 1, 2, 1]);
        assert_eq!(order.heads.users, ["ann", "bob", "eve", "fay"]);
        assert_eq!(order.heads.lasts, [1, 5, 6, 7]);
        let nil = Uuid::nil();
        assert_eq!(order.heads.lowest, [ids[2], ids[0], nil, ids[0]]);
        assert_eq!(order.heads.highest, [ids[4], ids[1], nil, ids[3]]);
    }

    #[test]
    fn an_id_that_comes_twice_or_is_random_leaves_no_lowest() {
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        assert_eq!(bounds(vec![other, one]), (one, other));
        assert_eq!(bounds(vec![one, other, one]), (Uuid::nil(), other));
        assert_eq!(bounds(vec![one, Uuid::from_u128(u128::MAX)]), (Uuid::nil(), one));
    }
}
