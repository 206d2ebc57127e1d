//! What a caller is told when a verb fails: a stable code, and for bad input the field, the limit and the remedy.
//! Internals go to the log under an id; the caller gets the id alone.

use std::time::Duration;

use uuid::Uuid;

use crate::store::StoreError;

/// A verb that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    kind: ErrorKind,
    message: String,
    unsettled: Unsettled,
}

/// The records whose outcome is unknown after a failure. With their ids the caller can repeat the save safely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unsettled {
    /// None, or it was no save.
    #[default]
    Nothing,
    /// That of a single save.
    One(Uuid),
    /// Those of a batch, in the order of its input.
    Batch(Vec<Uuid>),
}

/// A limit of the server's or the operator's, and what has met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its name, as docs/limits.md has it.
    pub limit: &'static str,
    /// How much there may be.
    pub max: u64,
    /// How much this would have made.
    pub value: u64,
}

/// What sort of failure it is, with what its code carries.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorKind {
    /// The role may not do this at all, or the feed is somebody else's.
    Forbidden,
    /// A value that breaks a rule.
    BadUserInput {
        /// Path into the arguments, as `input.records[3].step`.
        field: String,
        /// The limit at fault.
        limit: Option<i64>,
        /// The value that met it.
        value: Option<i64>,
    },
    /// Retention has passed the cursor, or its record is not there.
    CursorExpired {
        /// The oldest position still kept.
        oldest_position: Option<i64>,
    },
    /// The queues are full.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
        /// Which limit says so, where it is not that of a queue.
        met: Option<Met>,
    },
    /// The viewer asks more often, or for more, than the operator grants.
    RateLimited {
        /// When to try again.
        retry_after: Duration,
        /// Which rate.
        met: Met,
    },
    /// No connection to the database.
    DatabaseUnavailable,
    /// The database does not count its statements.
    SlowQueriesUnavailable,
    /// It took too long.
    Timeout {
        /// How long it may take, where that is the operation's own time.
        limit: Option<Duration>,
    },
    /// A fault of ours.
    Internal {
        /// As in the log.
        id: Uuid,
    },
}

impl ServiceError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), unsettled: Unsettled::Nothing }
    }

    /// The caller may not.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(ErrorKind::Forbidden, "You may not do this.")
    }

    /// A value that breaks a rule; `message` names the rule and the remedy.
    #[must_use]
    pub fn bad_input(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadUserInput { field: field.into(), limit: None, value: None }, message)
    }

    /// A value beyond a limit.
    #[must_use]
    pub fn beyond_limit(field: impl Into<String>, message: impl Into<String>, limit: i64, value: i64) -> Self {
        Self::new(ErrorKind::BadUserInput { field: field.into(), limit: Some(limit), value: Some(value) }, message)
    }

    /// The feed cannot go on from this cursor without a hole.
    #[must_use]
    pub fn cursor_expired(oldest_position: Option<i64>) -> Self {
        Self::new(
            ErrorKind::CursorExpired { oldest_position },
            "The feed cannot go on from this cursor: retention has passed it, or its record is not there. \
             Read the page anew and start from its feedCursor.",
        )
    }

    /// More is going on than this server takes.
    #[must_use]
    pub fn overloaded(retry_after: Duration) -> Self {
        Self::new(ErrorKind::Overloaded { retry_after, met: None }, "The server is busy. Try again later.")
    }

    /// As many are going on as this server takes.
    #[must_use]
    pub fn too_many(met: Met, retry_after: Duration) -> Self {
        let message = format!("The server is busy: the limit {} is {}. Try again later.", met.limit, met.max);
        Self::new(ErrorKind::Overloaded { retry_after, met: Some(met) }, message)
    }

    /// The viewer asks more often, or for more, than the operator grants.
    #[must_use]
    pub fn rate_limited(message: &str, met: Met, retry_after: Duration) -> Self {
        let message = format!("{message} (the limit {} is {}). Try again later.", met.limit, met.max);
        Self::new(ErrorKind::RateLimited { retry_after, met }, message)
    }

    /// The extension is missing that counts what statements take.
    #[must_use]
    pub fn slow_queries_unavailable() -> Self {
        Self::new(
            ErrorKind::SlowQueriesUnavailable,
            "PostgreSQL does not count what its statements take: the extension pg_stat_statements is missing. Name it in \
             shared_preload_libraries, restart PostgreSQL, and CREATE EXTENSION pg_stat_statements in this database.",
        )
    }

    /// It took longer than an operation may take.
    #[must_use]
    pub fn timeout(limit: Duration) -> Self {
        let message = format!("This took longer than the {limit:?} that an operation may take.");
        Self::new(ErrorKind::Timeout { limit: Some(limit) }, message)
    }

    /// A fault of ours: logged with its details, told by its id alone.
    #[must_use]
    pub fn internal(details: &dyn std::fmt::Display) -> Self {
        let id = Uuid::now_v7();
        tracing::error!(%id, error = %details, "internal error");
        Self::new(ErrorKind::Internal { id }, format!("Something went wrong on the server. It is in the log as {id}."))
    }

    /// Names the records whose outcome is unknown, where it is, so that the caller can repeat the save safely.
    #[must_use]
    pub fn with(mut self, unsettled: Unsettled) -> Self {
        if self.is_retryable() {
            self.unsettled = unsettled;
        }
        self
    }

    /// The same failure, told of another field.
    #[must_use]
    pub(super) fn at(mut self, path: impl Into<String>) -> Self {
        if let ErrorKind::BadUserInput { field, .. } = &mut self.kind {
            *field = path.into();
        }
        self
    }

    /// The field at fault, where it is the input.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match &self.kind {
            ErrorKind::BadUserInput { field, .. } => Some(field),
            _ => None,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            ErrorKind::Forbidden => "FORBIDDEN",
            ErrorKind::BadUserInput { .. } => "BAD_USER_INPUT",
            ErrorKind::CursorExpired { .. } => "CURSOR_EXPIRED",
            ErrorKind::Overloaded { .. } => "OVERLOADED",
            ErrorKind::RateLimited { .. } => "RATE_LIMITED",
            ErrorKind::DatabaseUnavailable => "DATABASE_UNAVAILABLE",
            ErrorKind::SlowQueriesUnavailable => "SLOW_QUERIES_UNAVAILABLE",
            ErrorKind::Timeout { .. } => "TIMEOUT",
            ErrorKind::Internal { .. } => "INTERNAL_SERVER_ERROR",
        }
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Safe and sensible to repeat (a save only with the ids of its [`unsettled`](Self::unsettled) records).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{DatabaseUnavailable, Overloaded, RateLimited, Timeout};
        matches!(self.kind, Overloaded { .. } | RateLimited { .. } | DatabaseUnavailable | Timeout { .. })
    }

    /// The records whose outcome is unknown.
    #[must_use]
    pub fn unsettled(&self) -> &Unsettled {
        &self.unsettled
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(details) => {
                tracing::warn!(error = details, "the database cannot be reached");
                Self::new(ErrorKind::DatabaseUnavailable, "The database cannot be reached. Try again.")
            }
            StoreError::Timeout => {
                Self::new(ErrorKind::Timeout { limit: None }, "The database did not answer in time. Try again.")
            }
            StoreError::Overloaded { retry_after } => {
                let kind = ErrorKind::Overloaded { retry_after, met: None };
                Self::new(kind, "Too many writes are waiting. Try again later.")
            }
            StoreError::Conflict { index } => Self::bad_input(
                format!("input.records[{index}].recordId"),
                "This recordId stands for another task or step of the user. Give every record an id of its own.",
            ),
            StoreError::Unstorable { index: Some(index), message } => {
                tracing::warn!(index, error = message, "a record was refused by the database");
                Self::bad_input(format!("input.records[{index}]"), "The database cannot store this record.")
            }
            other => Self::internal(&other),
        }
    }
}
