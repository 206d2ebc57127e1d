//! What can go wrong between the store and `PostgreSQL`, sorted by what the caller can do about it.

use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

/// A failed read or write.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or one that was lost: try again. A write's outcome may be unknown; its `record_id` makes it safe.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// It took too long: try again.
    #[error("the database did not answer in time")]
    Timeout,
    /// The queues for writes are full: try again later.
    #[error("too many writes are waiting")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// This record's `record_id` stands for another task or step of the user. Nothing was written.
    #[error("the record_id of record {index} stands for another task or step")]
    Conflict {
        /// Of the record in the call, from 0.
        index: usize,
    },
    /// `PostgreSQL` refused the value of a record. Nothing was written.
    #[error("the database refused the data: {message}")]
    Unstorable {
        /// Of the record in the call, from 0, where it is known.
        index: Option<usize>,
        /// What `PostgreSQL` said: for the log, never for the client.
        message: String,
    },
    /// Another server has taken over what only one may do at a time.
    #[error("another server has taken over")]
    LeaseLost,
    /// Anything else: a fault of ours.
    #[error(transparent)]
    Database(DbErr),
}

/// The SQLSTATE and text that `PostgreSQL` gave, if it was `PostgreSQL` that failed.
pub(super) fn sqlstate(error: &DbErr) -> Option<(String, String)> {
    let (DbErr::Conn(RuntimeErr::SqlxError(inner))
    | DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))) = error
    else {
        return None;
    };
    let database = inner.as_database_error()?;
    Some((database.code()?.into_owned(), database.message().to_owned()))
}

/// 54000 of a NOTIFY, by its text: the code alone also means other limits.
pub(super) fn is_full_queue(message: &str) -> bool {
    message.contains("NOTIFY queue")
}

/// What a fresh connection may not suffer from: an old primary that came back as a standby (25006), a cached plan or a
/// prepared statement that a migration or a pooler took away (0A000, 26000).
pub(super) fn is_of_the_connection(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "25006" | "0A000" | "26000"))
}

/// A cached plan or prepared statement that a migration or a pooler took away: once more, on a fresh connection.
pub(super) fn is_stale_plan(error: &DbErr) -> bool {
    sqlstate(error).is_some_and(|(code, _)| matches!(code.as_str(), "0A000" | "26000"))
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let Some((code, message)) = sqlstate(&error) {
            return match (code.get(..2).unwrap_or_default(), code.as_str()) {
                // Lock time-out, statement time-out.
                (_, "55P03" | "57014") => Self::Timeout,
                // Of `taskwire_hold_lease`.
                (_, "TWL01") => Self::LeaseLost,
                // Connections, operator's intervention, too few resources, deadlocks and serialization; an old primary.
                ("08" | "57" | "53" | "40", _) | (_, "25006") => Self::Unavailable(message),
                // The value itself: data exceptions, constraints, limits.
                ("22" | "23" | "54", _) => Self::Unstorable { index: None, message },
                _ => Self::Database(error),
            };
        }
        match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(error.to_string()),
            DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner)) => match &**inner {
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_)
                | sqlx::Error::Tls(_) => Self::Unavailable(inner.to_string()),
                _ => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }
}
