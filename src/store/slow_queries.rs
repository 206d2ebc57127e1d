//! The statements that take long, as the extension `pg_stat_statements` has counted them.

use sea_orm::{ConnectionTrait as _, DbErr, QueryResult};

use super::error::sqlstate;
use super::feed::statement;
use super::{Store, StoreError};

/// Characters of a statement that are told.
pub const SLOW_QUERY_CHARACTERS: u32 = 4_000;

/// A statement, with places instead of its values, and what it took since the counters were set back.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowQuery {
    /// Its text, or the beginning of it.
    pub query: String,
    /// How often.
    pub calls: i64,
    /// Milliseconds, on average.
    pub mean_ms: f64,
    /// Milliseconds in all.
    pub total_ms: f64,
    /// How many rows it gave or changed, in all.
    pub rows: i64,
}

/// Where the extension's things are: it may be in any schema.
const EXTENSION: &str = "SELECT quote_ident(n.nspname) AS schema FROM pg_extension e \
    JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";

impl Store {
    /// The slowest statements of this database, the slowest on average first; none where the extension is missing.
    pub async fn slow_queries(&self, limit: u64) -> Result<Option<Vec<SlowQuery>>, StoreError> {
        let rows = self.query_all(EXTENSION, Vec::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let schema: String = row.try_get("", "schema")?;
        // Of other people's statements we may not see the text.
        let sql = format!(
            "SELECT left(query, {SLOW_QUERY_CHARACTERS}) AS query, calls, mean_exec_time, total_exec_time, rows
            FROM {schema}.pg_stat_statements
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL AND query !~* 'password'
            ORDER BY mean_exec_time DESC, calls DESC, queryid LIMIT $1"
        );
        let values = [i64::try_from(limit).unwrap_or(i64::MAX).into()];
        let found = self.within_time(self.connection().query_all_raw(statement(&sql, values))).await?;
        match found {
            Err(error) if is_not_loaded(&error) => Ok(None),
            found => Ok(Some(found?.iter().map(SlowQuery::from_row).collect::<Result<_, _>>()?)),
        }
    }
}

/// There, but not in `shared_preload_libraries`.
fn is_not_loaded(error: &DbErr) -> bool {
    sqlstate(error).is_some_and(|(code, _)| code == "55000")
}

impl SlowQuery {
    fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            query: row.try_get("", "query")?,
            calls: row.try_get("", "calls")?,
            mean_ms: row.try_get("", "mean_exec_time")?,
            total_ms: row.try_get("", "total_exec_time")?,
            rows: row.try_get("", "rows")?,
        })
    }
}
