//! What every server must do about a user: a row, told by a notification on `taskwire_control`, which is a hint as all
//! are.

use sea_orm::prelude::DateTimeUtc;

use super::feed::no_row;
use super::{Store, StoreError};

/// Writes the row and tells every server. The server's clock is the database's.
const DISCONNECT: &str = "
    WITH control AS (
        INSERT INTO user_control (user_id, disconnected_at) VALUES ($1, clock_timestamp())
        ON CONFLICT (user_id) DO UPDATE SET disconnected_at = greatest(user_control.disconnected_at, EXCLUDED.disconnected_at)
        RETURNING user_id, disconnected_at
    )
    SELECT disconnected_at, pg_notify('taskwire_control', json_build_array(user_id)::text)::text FROM control";

/// A row may become visible a little after its own time; a minute is plenty. Who reads remembers what it has done.
const DISCONNECTED: &str = "
    SELECT now() AS at, c.user_id, c.disconnected_at
    FROM (SELECT) AS one LEFT JOIN user_control c ON c.disconnected_at > coalesce($1, now()) - interval '1 minute'";

/// The users who were disconnected of late, and when.
#[derive(Clone, Debug)]
pub struct Disconnections {
    /// The database's clock: where the next question begins.
    pub at: DateTimeUtc,
    /// Who, and when.
    pub users: Vec<(String, DateTimeUtc)>,
}

impl Store {
    /// Has every server close what this user has open. Returns when that was decided.
    pub async fn disconnect(&self, user_id: &str) -> Result<DateTimeUtc, StoreError> {
        let rows = self.query_all(DISCONNECT, vec![user_id.into()]).await?;
        let row = rows.first().ok_or_else(no_row)?;
        Ok(row.try_get("", "disconnected_at")?)
    }

    /// Who was disconnected since a minute before that; or in the last minute.
    pub async fn disconnections(&self, since: Option<DateTimeUtc>) -> Result<Disconnections, StoreError> {
        let rows = self.query_all(DISCONNECTED, vec![since.into()]).await?;
        let at = rows.first().ok_or_else(no_row)?.try_get("", "at")?;
        let mut users = Vec::new();
        for row in &rows {
            if let Some(user_id) = row.try_get::<Option<String>>("", "user_id")? {
                users.push((user_id, row.try_get("", "disconnected_at")?));
            }
        }
        Ok(Disconnections { at, users })
    }

    /// When this user was last disconnected.
    pub async fn disconnected_at(&self, user_id: &str) -> Result<Option<DateTimeUtc>, StoreError> {
        let sql = "SELECT disconnected_at FROM user_control WHERE user_id = $1";
        let rows = self.query_all(sql, vec![user_id.into()]).await?;
        Ok(rows.first().map(|row| row.try_get("", "disconnected_at")).transpose()?)
    }
}
