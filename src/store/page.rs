//! Keyset paging: which page is asked for, what a page holds, and how values are hidden from the planner.

use std::fmt::{self, Write};

use sea_orm::Value;
use sea_orm::sea_query::{PostgresQueryBuilder, QueryBuilder, SelectStatement, SqlWriter, SqlWriterValues};

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

/// The rows of a page, in the list's order, and whether there are more in the direction that was read.
#[derive(Clone, Debug)]
pub struct Rows<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// Behind the last one (reading backward: before the first one).
    pub has_more: bool,
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
