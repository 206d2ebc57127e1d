//! Keyset paging: which page is asked for, what a page holds, and how a statement says its size.

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

/// A statement's SQL and its values. Its limits and offsets, which are all that is `u64`, stand in the SQL: behind a parameter
/// `PostgreSQL` takes any limit for a tenth of the rows there are, so that a plan for all values looks dear, and a large
/// list's page would be planned anew each time, which takes as long as to run it.
pub(super) fn with_sizes(select: &SelectStatement) -> (String, Vec<Value>) {
    let (placeholder, numbered) = PostgresQueryBuilder.placeholder();
    let mut sql = Sized(SqlWriterValues::new(placeholder, numbered));
    select.build_collect_into(PostgresQueryBuilder, &mut sql);
    let (sql, values) = sql.0.into_parts();
    (sql, values.into_iter().collect())
}

struct Sized(SqlWriterValues);

impl Write for Sized {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}

impl fmt::Display for Sized {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl SqlWriter for Sized {
    fn push_param<T: QueryBuilder>(&mut self, value: Value, builder: &T) {
        match value {
            Value::BigUnsigned(Some(size)) => _ = write!(self.0, "{size}"),
            other => self.0.push_param(other, builder),
        }
    }

    fn as_writer(&mut self) -> &mut dyn Write {
        self
    }
}
