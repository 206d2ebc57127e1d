//! Those who have tasks. Found by skipping along the primary key of `task` from one user to the next, so that a page costs
//! as many look-ups as it has users, however many tasks each of them has.

use sea_orm::{QueryResult, Value};

use super::columns::HEAD_COLUMNS;
use super::feed::Head;
use super::page::{Keyset, Rows, cut};
use super::{Store, StoreError};

/// Somebody who has tasks, and where the feed stood in the same statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHead {
    /// Who.
    pub user_id: String,
    /// The user's last record.
    pub head: Head,
}

impl UserHead {
    fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self { user_id: row.try_get("", "user_id")?, head: Head::from_row(row)? })
    }
}

impl Store {
    /// A page of those who have tasks and whose id begins with `prefix`, by their id.
    pub async fn list_users(&self, prefix: &str, page: &Keyset<String>) -> Result<Rows<UserHead>, StoreError> {
        let (next, direction) = if page.backward { ("<", "DESC") } else { (">", "ASC") };
        let (from, before) = range(prefix, page);
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let mut values: Vec<Value> = vec![from.into(), limit.into()];
        let below = before.map_or("", |before| {
            values.push(before.into());
            " AND t.user_id < $3"
        });
        let sql = format!(
            "WITH RECURSIVE walk (user_id, number) AS (
                (SELECT t.user_id, 0 FROM task t WHERE t.user_id >= $1{below} ORDER BY t.user_id {direction} LIMIT 1)
                UNION ALL
                SELECT n.user_id, walk.number + 1 FROM walk CROSS JOIN LATERAL (
                    SELECT t.user_id FROM task t WHERE t.user_id {next} walk.user_id AND t.user_id >= $1{below}
                    ORDER BY t.user_id {direction} LIMIT 1
                ) n WHERE walk.number < $2
            )
            SELECT walk.user_id, {HEAD_COLUMNS} FROM walk LEFT JOIN feed_head h ON h.user_id = walk.user_id
            ORDER BY walk.user_id"
        );
        let rows = self.query_all(&sql, values).await?;
        Ok(cut(rows.iter().map(UserHead::from_row).collect::<Result<_, _>>()?, page))
    }

    /// This user, if there are tasks.
    pub async fn user(&self, user_id: &str) -> Result<Option<UserHead>, StoreError> {
        let sql = format!(
            "SELECT t.user_id, {HEAD_COLUMNS} FROM (SELECT user_id FROM task WHERE user_id = $1 LIMIT 1) t
            LEFT JOIN feed_head h ON h.user_id = t.user_id"
        );
        let rows = self.query_all(&sql, vec![user_id.into()]).await?;
        rows.first().map(UserHead::from_row).transpose()
    }
}

/// The first id that a page may hold, and the first behind all of these.
fn range(prefix: &str, page: &Keyset<String>) -> (String, Option<String>) {
    // Nothing fits between a text and the same one with the smallest character behind it: no id holds a NUL.
    let from = page.after.as_ref().map_or_else(|| prefix.to_owned(), |after| format!("{after}\u{1}"));
    let before = page.before.iter().cloned().chain(behind(prefix)).min();
    (from.max(prefix.to_owned()), before)
}

/// The first text behind all that begin with this one; none where they are the last.
fn behind(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // UTF-8 sorts as its characters do; between D7FF and E000 there is none.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn what_begins_with_a_prefix_stands_before_what_is_behind_it() {
        for (prefix, expected) in [
            ("", None),
            ("a", Some("b")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{10FFFF}\u{10FFFF}", None),
            ("x\u{D7FF}", Some("x\u{E000}")),
            ("%", Some("&")),
        ] {
            assert_eq!(behind(prefix).as_deref(), expected, "{prefix:?}");
        }
    }
}
