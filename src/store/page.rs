//! Keyset paging: which page is asked for, what a page holds, what large results leave of it, and how values are hidden from
//! the planner.

use std::fmt::{self, Write};

use sea_orm::Value;
use sea_orm::sea_query::{PostgresQueryBuilder, QueryBuilder, SelectStatement, SqlWriter, SqlWriterValues};

/// What the stored results of a page of records or steps come to, in bytes: it ends before the one that would go beyond, and
/// has one at least.
pub const PAGE_RESULT_BYTES: usize = 4 << 20;

/// Rows of the first part of a page of records or steps.
const FIRST_PART: u64 = 50;

/// Which side of a key a page lies on, and how many rows it may have.
#[derive(Clone, Debug)]
pub struct Keyset<K> {
    /// Only rows behind this key, in the list's order.
    pub after: Option<K>,
    /// Only rows before this key.
    pub before: Option<K>,
    /// At most so many.
    pub limit: u64,
    /// From the end of the range rather than from its beginning.
    pub backward: bool,
}

impl<K: Clone> Keyset<K> {
    /// The rows that it begins with: how large their results are tells how many more to ask for.
    pub(super) fn first_part(&self) -> Self {
        Self { limit: self.limit.min(FIRST_PART), ..self.clone() }
    }
}

/// The rows of a page, in the list's order, and whether there are more in the direction that was read.
#[derive(Clone, Debug)]
pub struct Rows<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// Behind the last one (reading backward: before the first one).
    pub has_more: bool,
}

/// What a page, or a part of one, has room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    result_bytes: usize,
    /// So many rows, however large.
    least: usize,
}

impl Room {
    /// Of a whole page.
    pub(super) const PAGE: Self = Self { result_bytes: PAGE_RESULT_BYTES, least: 1 };
}

/// Rows as they come, the nearest first: what comes when the room is full is let go.
pub(super) struct Coming<T> {
    rows: Vec<T>,
    room: Room,
    result_bytes: usize,
    is_full: bool,
}

impl<T> Coming<T> {
    pub(super) fn new(room: Room) -> Self {
        Self { rows: Vec::new(), room, result_bytes: 0, is_full: false }
    }

    /// One more, whose result has so many bytes.
    pub(super) fn push(&mut self, row: T, result_bytes: usize) {
        self.result_bytes += result_bytes;
        self.is_full |= self.result_bytes > self.room.result_bytes && self.rows.len() >= self.room.least;
        if !self.is_full {
            self.rows.push(row);
        }
    }

    /// The same rows, read; none where there is nothing in one.
    pub(super) fn read<U>(
        self,
        read: impl FnMut(&T) -> Result<Option<U>, sqlx::Error>,
    ) -> Result<Coming<U>, sqlx::Error> {
        let rows = self.rows.iter().map(read).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(Coming { rows, room: self.room, result_bytes: self.result_bytes, is_full: self.is_full })
    }

    /// The first part of a page, in the list's order, and its second, where there are more and room for them: as many as
    /// would fill it if they are as large. So not much more is sent than is taken.
    pub(super) fn begin<K: Copy + Ord>(
        self,
        page: &Keyset<K>,
        key_of: impl Fn(&T) -> K,
    ) -> (Rows<T>, Option<(Keyset<K>, Room)>) {
        let (is_full, taken) = (self.is_full, self.result_bytes.max(1));
        let first = page.first_part();
        let rows = self.part(&first, &key_of);
        let left = PAGE_RESULT_BYTES.saturating_sub(taken);
        let like_these = u64::try_from(left.saturating_mul(rows.rows.len()) / taken).unwrap_or(u64::MAX);
        let limit = (page.limit - first.limit).min(like_these);
        let ends = rows.rows.first().zip(rows.rows.last()).filter(|_| limit > 0 && rows.has_more && !is_full);
        let second = ends.map(|(lowest, highest)| {
            let (after, before) =
                if page.backward { (page.after, Some(key_of(lowest))) } else { (Some(key_of(highest)), page.before) };
            (Keyset { after, before, limit, backward: page.backward }, Room { result_bytes: left, least: 0 })
        });
        (rows, second)
    }

    /// The whole page, of which this is the second part.
    pub(super) fn end<K: Ord>(self, mut page: Rows<T>, second: &Keyset<K>, key_of: impl Fn(&T) -> K) -> Rows<T> {
        let Rows { rows, has_more } = self.part(second, key_of);
        let at = if second.backward { 0 } else { page.rows.len() };
        page.rows.splice(at..at, rows);
        Rows { has_more, ..page }
    }

    /// The part that was asked for, in the list's order.
    fn part<K: Ord>(mut self, part: &Keyset<K>, key_of: impl Fn(&T) -> K) -> Rows<T> {
        self.rows.sort_by_key(key_of);
        let cut = cut(self.rows, part);
        Rows { has_more: cut.has_more || self.is_full, ..cut }
    }
}

/// The page itself, without the row that tells of more. The rows are in order; read backward, the extra one is the first.
pub(super) fn cut<T, K>(mut rows: Vec<T>, page: &Keyset<K>) -> Rows<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    if has_more {
        if page.backward { drop(rows.drain(..rows.len() - limit)) } else { rows.truncate(limit) }
    }
    Rows { rows, has_more }
}

/// A statement's SQL and its values, of which each is asked of a query of its own, so that `PostgreSQL` does not see them when
/// it plans: it takes a user for one with as many tasks as others, a status for as frequent as others, and a limit for a tenth
/// of the rows. So the plan for one call is the one for all, which it keeps. (Where it saw the limit, or a status, a new plan
/// for each call looked cheaper, and was 30 % of its time for a long list's page.) Limits may not stand in the SQL instead:
/// with a user in mind who has few tasks, it would read and sort all of one who has many.
pub(super) fn with_hidden_values(select: &SelectStatement) -> (String, Vec<Value>) {
    let (placeholder, numbered) = PostgresQueryBuilder.placeholder();
    let mut sql = ValuesHidden(SqlWriterValues::new(placeholder, numbered));
    select.build_collect_into(PostgresQueryBuilder, &mut sql);
    let (sql, values) = sql.0.into_parts();
    (sql, values.into_iter().collect())
}

struct ValuesHidden(SqlWriterValues);

impl Write for ValuesHidden {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}

impl fmt::Display for ValuesHidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl SqlWriter for ValuesHidden {
    fn push_param<T: QueryBuilder>(&mut self, value: Value, builder: &T) {
        let (before, after) = match &value {
            // Of a condition that holds, or does not: there is nothing to hide.
            Value::Bool(_) => ("", ""),
            // Limits and offsets, which alone are unsigned.
            Value::BigUnsigned(_) => ("(SELECT ", "::bigint)"),
            // Of texts all; cast, or `= ANY` would take it for a query's rows.
            Value::Array(..) => ("(SELECT ", ")::text[]"),
            _ => ("(SELECT ", ")"),
        };
        // Writing into a String does not fail.
        let _ = self.0.write_str(before);
        self.0.push_param(value, builder);
        let _ = self.0.write_str(after);
    }

    fn as_writer(&mut self) -> &mut dyn Write {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: u64, backward: bool, rows: &[(i32, usize)]) -> (Vec<i32>, bool) {
        let mut coming = Coming::new(Room::PAGE);
        for &(row, bytes) in rows {
            coming.push(row, bytes);
        }
        let page = coming.part(&Keyset { after: None, before: None, limit, backward }, |row| *row);
        (page.rows, page.has_more)
    }

    #[test]
    fn a_page_ends_before_the_row_that_would_make_it_too_large() {
        let most = PAGE_RESULT_BYTES;
        assert_eq!(page(2, false, &[(1, most / 2), (2, most / 2)]), (vec![1, 2], false));
        assert_eq!(page(2, false, &[(1, 0), (2, 0), (3, 0)]), (vec![1, 2], true));
        assert_eq!(page(9, false, &[(1, most), (2, 1), (3, 0)]), (vec![1], true));
        assert_eq!(page(9, true, &[(3, most - 1), (2, 1), (1, 1)]), (vec![2, 3], true));
        // One at least.
        assert_eq!(page(9, false, &[(1, most + 1), (2, 0)]), (vec![1], true));
        assert_eq!(page(9, false, &[(1, most + 1)]), (vec![1], false));
    }

    /// A page over the rows 1 to `count`, each of so many bytes, and how many each of its parts asked for.
    fn parted(count: i32, bytes: usize, limit: u64, backward: bool) -> (Vec<i32>, bool, Vec<u64>) {
        let read = |part: &Keyset<i32>, room| {
            let mut coming = Coming::new(room);
            let mut rows: Vec<i32> = (part.after.unwrap_or(0) + 1..part.before.unwrap_or(count + 1)).collect();
            if backward {
                rows.reverse();
            }
            for row in rows.into_iter().take(usize::try_from(part.limit).unwrap() + 1) {
                coming.push(row, bytes);
            }
            coming
        };
        let page = Keyset { after: None, before: None, limit, backward };
        let first = page.first_part();
        let (mut rows, second) = read(&first, Room::PAGE).begin(&page, |row| *row);
        let mut parts = vec![first.limit];
        if let Some((second, room)) = second {
            rows = read(&second, room).end(rows, &second, |row| *row);
            parts.push(second.limit);
        }
        (rows.rows, rows.has_more, parts)
    }

    #[test]
    fn a_long_page_asks_for_no_more_than_it_has_room_for() {
        for backward in [false, true] {
            let nearest =
                |count: i32, most| if backward { count - most + 1..=count } else { 1..=most }.collect::<Vec<_>>();
            assert_eq!(parted(40, 10, 500, backward), ((1..=40).collect(), false, vec![50]));
            assert_eq!(parted(400, 10, 500, backward), ((1..=400).collect(), false, vec![50, 450]));
            assert_eq!(parted(400, 10, 300, backward), (nearest(400, 300), true, vec![50, 250]));
            assert_eq!(parted(400, 10, 30, backward), (nearest(400, 30), true, vec![30]));
            // A hundred of them fill a page, and the first part has seen fifty-one.
            let large = PAGE_RESULT_BYTES / 100;
            let (rows, has_more, parts) = parted(400, large, 500, backward);
            assert_eq!((rows, has_more), (nearest(400, 98), true));
            assert_eq!(parts, [50, 48]);
            // Twenty fill it.
            let (rows, has_more, parts) = parted(400, PAGE_RESULT_BYTES / 20, 500, backward);
            assert_eq!((rows, has_more, parts), (nearest(400, 20), true, vec![50]));
        }
    }
}
