//! Every limit on what comes in, in one table: the checks read it, and `docs/limits.md` is made from it (a test compares
//! the two). To add a limit: a constant, a row in [`TABLE`], the check in `input`.

use std::time::Duration;

use crate::auth::{Role, Viewer};
use crate::config::GraphqlConfig;
use crate::config::SocketConfig;

/// Characters of a userId or taskId, at least 1.
pub const ID_CHARACTERS: usize = 255;
/// Characters of a task's or step's name.
pub const NAME_CHARACTERS: usize = 255;
/// Tags of a task.
pub const TAGS: usize = 32;
/// Characters of a tag, at least 1.
pub const TAG_CHARACTERS: usize = 64;
/// Bytes of a message or errorMessage.
pub const MESSAGE_BYTES: usize = 16 * 1024;
/// Characters of an errorCode.
pub const ERROR_CODE_CHARACTERS: usize = 64;
/// Characters of a reason, or of the message of an acknowledgement.
pub const REASON_CHARACTERS: usize = 1_000;
/// The highest step.
pub const STEP: i32 = 1_000_000;
/// The highest totalSteps, at least 1.
pub const TOTAL_STEPS: i32 = 1_000_000;
/// The longest that a report may be due after the one before: 365 days.
pub const REPORT_WITHIN_SECONDS: i32 = 31_536_000;
/// Bytes of a result, as the JSON text that comes back.
pub const RESULT_BYTES: usize = 256 * 1024;
/// Levels of a result.
pub const RESULT_LEVELS: usize = 64;
/// The largest number in a result, either side of zero.
pub const RESULT_NUMBER: f64 = 1e308;
/// How far ahead of the server's clock a timestamp may be.
pub const TIMESTAMP_AHEAD_SECONDS: i64 = 300;
/// Entries of a page.
pub const PAGE_SIZE: i32 = 500;
/// Entries of a page where none is asked for.
pub const DEFAULT_PAGE_SIZE: i32 = 50;
/// Records of one batch, at least 1.
pub const BATCH_RECORDS: usize = 10_000;
/// Entries of a list in a filter.
pub const FILTER_VALUES: usize = 500;
/// The highest count.
pub const COUNT: i32 = 10_000;
/// Tasks that one bulk cancellation takes, at least 1.
pub const CANCEL_TASKS: i32 = 10_000;
/// The highest `daysOld`, at least 1.
pub const DAYS_OLD: u32 = crate::config::MOST_DAYS;
/// Ids that `nodes` takes.
pub const NODES: usize = 100;
/// Bytes of a user's request's body.
pub const USER_REQUEST_BYTES: usize = 1024 * 1024;
/// Bytes of a worker's or an admin's request's body.
pub const REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// Characters of a cursor: one of a list of tasks holds both ids as JSON, which spells out a control character in six
/// bytes, and base64 makes four characters of three bytes.
pub const CURSOR_CHARACTERS: usize = 6_000;
/// Characters of a `FeedCursor`.
pub const FEED_CURSOR_CHARACTERS: usize = 300;
/// Fields and fragments of a document, with its fragments in place.
pub const SELECTIONS: usize = 10_000;
/// Fragments within each other that hang on a condition or a type, with the fields around them.
pub const FRAGMENT_LEVELS: usize = 48;
/// Brackets of a document within each other: as many as the deepest fields and fragments that may be asked for have, and a
/// result of as many levels as it may.
pub const NESTING: usize = 200;
/// Errors of an answer without data.
pub const REFUSAL_ERRORS: usize = 100;
/// What is written into the arguments of a document, fragments in place, in bytes; some for each value besides its text.
pub const ARGUMENT_BYTES: usize = 1 << 20;
/// Bytes of the variables that an operation uses more than once, each as often as it does: the library copies one each time.
pub const REPEATED_BYTES: usize = 1 << 20;
/// Lists of introspection that may stand within each other and lead in circles; graphql-js draws the line there too.
pub const CIRCULAR_LISTS: u64 = 2;
/// Tasks that a page or a count under a filter looks at.
pub const LOOKED_AT: u64 = crate::store::LOOKED_AT;
/// Buckets of `taskStatistics`.
pub const STATISTICS_POINTS: i64 = 1_500;
/// For so long an answer of `taskStatistics` is given to whoever asks the same.
pub const STATISTICS_KEPT_SECONDS: u64 = 5;
/// Statistics of everybody that are counted at the same time.
pub const STATISTICS_AT_ONCE: usize = 2;
/// Statistics of one user that are counted at the same time.
pub const OWN_STATISTICS_AT_ONCE: usize = 4;
/// Tasks, the latest, that `taskFacets` is of.
pub const FACETED: u64 = crate::store::FACETED;

/// What a limit is for, its value, and what happens beyond it.
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// As people read it.
    pub value: String,
    /// The answer beyond it.
    pub beyond: &'static str,
}

fn row(what: &'static str, value: impl ToString, beyond: &'static str) -> Limit {
    Limit { what, value: value.to_string(), beyond }
}

/// The table of `docs/limits.md`.
#[must_use]
pub fn table() -> Vec<Limit> {
    const REFUSED: &str = "BAD_USER_INPUT naming the field";
    const TOO_LARGE: &str = "LIMIT_EXCEEDED naming the body, HTTP 413";
    let listen = crate::config::ListenConfig::default();
    vec![
        row("`userId`, `taskId`: characters", format!("1 to {ID_CHARACTERS}"), REFUSED),
        row("`name`, `stepName`: characters", format!("up to {NAME_CHARACTERS}"), REFUSED),
        row("`tags`", format!("up to {TAGS}, each of 1 to {TAG_CHARACTERS} characters"), REFUSED),
        row("`message`, `errorMessage`: bytes", MESSAGE_BYTES, REFUSED),
        row("`errorCode`: characters", ERROR_CODE_CHARACTERS, REFUSED),
        row("`reason`, `message` of an acknowledgement: characters", REASON_CHARACTERS, REFUSED),
        row("`step`", format!("0 to {STEP}"), REFUSED),
        row("`totalSteps`", format!("1 to {TOTAL_STEPS}"), REFUSED),
        row("`progress`", "0 to 1", REFUSED),
        row("`reportWithinSeconds`", format!("0 (off) to {REPORT_WITHIN_SECONDS}"), REFUSED),
        row("`result`: bytes of its JSON text, numbers spelt out (`--max-result-bytes`)", RESULT_BYTES, REFUSED),
        row("`result`: levels of nesting", RESULT_LEVELS, REFUSED),
        row("`result`: numbers", format!("between -{RESULT_NUMBER:e} and {RESULT_NUMBER:e}"), REFUSED),
        row("Any text", "no NUL character", REFUSED),
        row("`timestamp`: seconds ahead of the server's clock", TIMESTAMP_AHEAD_SECONDS, REFUSED),
        row("`timestamp`: year", "1 or later", REFUSED),
        row(
            "`first`, `last` (`--max-page-size`)",
            format!("0 to {PAGE_SIZE}, {DEFAULT_PAGE_SIZE} if left out; of `taskFacets` 20, of `slowQueries` 10"),
            REFUSED,
        ),
        row("Records of a batch (`--max-batch-records`)", format!("1 to {BATCH_RECORDS}"), REFUSED),
        row("Entries of a list in a filter", FILTER_VALUES, REFUSED),
        row("`count(limit:)`", format!("0 to {COUNT}"), REFUSED),
        row("`cancelTasks(limit:)`", format!("1 to {CANCEL_TASKS}"), REFUSED),
        row("`cleanupOldTasks(daysOld:)`", format!("1 to {DAYS_OLD}"), REFUSED),
        row("`nodes(ids:)`", NODES, REFUSED),
        row("A page's cursor: characters", CURSOR_CHARACTERS, REFUSED),
        row("A `FeedCursor`: characters", FEED_CURSOR_CHARACTERS, REFUSED),
        row(
            "Tasks that a page or count under a filter looks at",
            LOOKED_AT,
            "it ends early: hasNextPage, or not isExact",
        ),
        row(
            "Results of a page of records or steps as they are stored, one at least: bytes",
            crate::store::PAGE_RESULT_BYTES,
            "it ends early: hasNextPage; reading backward, hasPreviousPage",
        ),
        row("Buckets of `taskStatistics`", STATISTICS_POINTS, REFUSED),
        row(
            "Age of an answer of `taskStatistics`: seconds",
            STATISTICS_KEPT_SECONDS,
            "who asks the same sooner gets the same answer",
        ),
        row("`taskStatistics(name:)`: characters", NAME_CHARACTERS, REFUSED),
        row("Statistics of everybody that are counted at the same time", STATISTICS_AT_ONCE, "they wait"),
        row("Statistics of one user that are counted at the same time", OWN_STATISTICS_AT_ONCE, "they wait"),
        row("A statement in `slowQueries`: characters", crate::store::SLOW_QUERY_CHARACTERS, "its beginning"),
        row("Tasks that `taskFacets` counts: the latest", FACETED, "older ones are not counted"),
        row("`taskFacets(prefix:)`: characters", NAME_CHARACTERS, REFUSED),
        row("`users(userIdPrefix:)`: characters", ID_CHARACTERS, REFUSED),
        row("A user's request's body: bytes (`--user-body-limit`)", USER_REQUEST_BYTES, TOO_LARGE),
        row("A worker's or an admin's request's body: bytes (`--body-limit`)", REQUEST_BYTES, TOO_LARGE),
        row("Connections at the same time", listen.connections, "closed at once"),
        row("Requests at the same time on an HTTP/2 connection", 100, "they wait, or are refused by HTTP/2's means"),
        row("A token: bytes", 8 << 10, "UNAUTHENTICATED"),
        row("A request's header: bytes", listen.header_bytes, "HTTP 431"),
        row("A request's header: seconds to send it", listen.header_timeout.as_secs(), "closed"),
        row("A request's body: seconds to send it", listen.body_timeout.as_secs(), "TIMEOUT, HTTP 408"),
        row("An answer: seconds until it begins", listen.handler_timeout.as_secs(), "TIMEOUT, HTTP 503"),
        row("An answer: seconds in which nothing of it is taken", listen.answer_stall_timeout.as_secs(), "closed"),
        row("A connection without a request: seconds", listen.idle_timeout.as_secs(), "closed"),
        row("TLS' handshake: seconds", listen.tls_handshake_timeout.as_secs(), "closed"),
        row(
            "Automatic persisted queries: bytes of all (`--persisted-queries`), a 64th for each",
            8 << 20,
            "the oldest are forgotten, a larger one is not kept: PERSISTED_QUERY_NOT_FOUND, send the document again",
        ),
        row("Saves that wait: records", crate::store::LaneSettings::default().queue_records, "OVERLOADED, try again"),
        row("Saves that wait: bytes", crate::store::LaneSettings::default().queue_bytes, "OVERLOADED, try again"),
        row(
            "A save whose user is held by somebody's open transaction: seconds",
            crate::store::StoreSettings::default().hold_timeout.as_secs(),
            "TIMEOUT, try again",
        ),
    ]
    .into_iter()
    .chain(of_operations())
    .chain(connections())
    .collect()
}

/// Those of one operation, which the operator can move.
fn of_operations() -> Vec<Limit> {
    const EXCEEDED: &str = "LIMIT_EXCEEDED naming limit, max and value";
    let config = GraphqlConfig::default();
    vec![
        row("Levels of fields (`depth`)", config.max_depth, EXCEEDED),
        row(
            "Cost of an operation (`complexity`): its fields, each as often as the pages around it are long",
            config.max_complexity,
            EXCEEDED,
        ),
        row("Aliases (`aliases`)", config.max_aliases, EXCEEDED),
        row("Directives (`directives`)", config.max_directives, EXCEEDED),
        row("Fields at the root (`rootFields`)", config.max_root_fields, EXCEEDED),
        row("Fields and fragments, with the fragments in place (`selections`)", SELECTIONS, EXCEEDED),
        row(
            "Levels of fields and of fragments that hang on a condition or a type (`fragmentDepth`)",
            FRAGMENT_LEVELS,
            EXCEEDED,
        ),
        row("Tokens of a document (`tokens`)", config.max_tokens, EXCEEDED),
        row("Brackets of a document within each other (`nesting`)", NESTING, EXCEEDED),
        row(
            "Bytes of a document's arguments, with the fragments in place, 16 more for each value (`argumentBytes`)",
            ARGUMENT_BYTES,
            EXCEEDED,
        ),
        row("A document's bytes (`documentBytes`)", config.max_document_bytes, EXCEEDED),
        row("Bytes of the variables as JSON (`variablesBytes`)", config.max_variables_bytes, EXCEEDED),
        row(
            "The same of those that an operation uses more than once, each as often as it does (`repeatedVariablesBytes`)",
            REPEATED_BYTES,
            EXCEEDED,
        ),
        row(
            "Memory for the variables of all queries and mutations at work, where one's take more than 64 KiB (`variablesMemory`): bytes",
            config.variables_memory,
            "OVERLOADED, try again",
        ),
        row("Errors of an answer without data", REFUSAL_ERRORS, "the others are not told"),
        row("Bytes of an answer as JSON (`answerBytes`)", config.max_answer_bytes, EXCEEDED),
        row(
            "Lists of introspection within each other: `fields`, `inputFields`, … (`introspectionDepth`)",
            CIRCULAR_LISTS,
            EXCEEDED,
        ),
        row(
            "An operation; of a subscription, its start and each shared event: seconds",
            config.operation_timeout.as_secs(),
            "TIMEOUT, try again",
        ),
        row("A maintenance mutation: seconds", config.maintenance_time.as_secs(), "TIMEOUT, try again"),
        row(
            "Queries and mutations at the same time (`concurrentOperations`)",
            config.max_concurrent_operations,
            "OVERLOADED, try again",
        ),
        row(
            "Operations of one viewer in a second (`operationsPerSecond`)",
            "no limit until set",
            "RATE_LIMITED, try again",
        ),
        row(
            "Cost of one viewer's operations in a second (`costPerSecond`)",
            "no limit until set",
            "RATE_LIMITED, try again",
        ),
    ]
}

/// Of sockets and other open connections.
fn connections() -> impl Iterator<Item = Limit> {
    const ALL: &str = "a socket is closed with 1013, a stream refused with 503, LIMIT_EXCEEDED; try again";
    const OF_ONE: &str = "a socket is closed with 1013, a stream refused with 429, LIMIT_EXCEEDED; try again";
    let config = SocketConfig::default();
    let seconds = |time: Duration| time.as_secs();
    [
        row(
            "Open connections with live updates: sockets, server-sent events, multipart (`--live-connections`)",
            config.connections,
            ALL,
        ),
        row(
            "Open connections of a signed-in user (`--live-connections-per-user`)",
            config.connections_per_user,
            OF_ONE,
        ),
        row(
            "Open connections from an address (IPv6: a network of 64 bits) where nobody has signed in \
             (`--live-connections-per-address`)",
            config.connections_per_address,
            OF_ONE,
        ),
        row(
            "Operations on a socket (`operations`, `--socket-operations`)",
            config.operations,
            "LIMIT_EXCEEDED in `error`; the others go on",
        ),
        row(
            "Messages of all operations on a socket: bytes (`operationBytes`, twice `--socket-message`)",
            config.operation_bytes(),
            "LIMIT_EXCEEDED in `error`; the others go on",
        ),
        row(
            "A message on a socket: bytes (`--socket-message`)",
            config.message_bytes,
            "closed with 1009; what is larger goes by HTTP",
        ),
        row(
            "A message on a socket before `connection_ack`: bytes",
            SocketConfig::FIRST_MESSAGE_BYTES,
            "closed with 1009",
        ),
        row("The id of an operation on a socket: bytes", "1 to 255", "closed with 4400"),
        row(
            "`connection_init`: seconds after the handshake (`--socket-init-time`)",
            seconds(config.init_time),
            "closed with 4408",
        ),
        row(
            "A socket without any operation: seconds (`--socket-idle-time`)",
            seconds(config.idle_time),
            "closed with 1000",
        ),
        row("The answer to a ping: seconds (`--socket-pong-time`)", seconds(config.pong_time), "closed with 4499"),
        row(
            "A client that does not read what it was sent: seconds (`--slow-reader-time`)",
            seconds(config.slow_reader_time),
            "a socket is closed with 1013, a stream broken off: resume from the last cursor",
        ),
        row("A socket whose token expires", "then", "closed with 4403"),
    ]
    .into_iter()
}

/// What a client may ask for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of a page.
    pub page_size: i32,
    /// Records of one batch.
    pub batch_records: i32,
    /// Bytes of one result, as JSON text.
    pub result_bytes: i32,
    /// Bytes of one request's body, of a user.
    pub user_request_bytes: i32,
    /// The same, of a worker or an admin.
    pub request_bytes: i32,
}

impl Limits {
    /// The same, with these sizes: of a page, of a batch, and of a result in bytes. None is beyond the constant that stands
    /// for it here.
    #[must_use]
    pub fn sizes(self, page: u32, batch: u32, result: usize) -> Self {
        let of = |asked: u32| i32::try_from(asked).unwrap_or(i32::MAX);
        Self {
            page_size: of(page).min(PAGE_SIZE),
            batch_records: of(batch).min(whole(BATCH_RECORDS)),
            result_bytes: whole(result.min(RESULT_BYTES)),
            ..self
        }
    }

    /// The same, with bodies of so many bytes: a user's, and a worker's or an admin's.
    #[must_use]
    pub fn bodies(self, user: usize, others: usize) -> Self {
        Self { user_request_bytes: whole(user), request_bytes: whole(others), ..self }
    }

    /// Bytes of one request's body of this viewer.
    #[must_use]
    pub fn request_bytes_of(&self, viewer: &Viewer) -> u64 {
        let bytes = match viewer.role {
            Role::User => self.user_request_bytes,
            Role::Worker | Role::Admin => self.request_bytes,
        };
        u64::try_from(bytes).unwrap_or_default()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_size: PAGE_SIZE,
            batch_records: whole(BATCH_RECORDS),
            result_bytes: whole(RESULT_BYTES),
            user_request_bytes: whole(USER_REQUEST_BYTES),
            request_bytes: whole(REQUEST_BYTES),
        }
    }
}

fn whole(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
