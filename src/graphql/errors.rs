//! What a failed field tells: the service's error with its code in `extensions`, and codes for what the library itself
//! refuses. No resolver makes an error by hand.
//!
//! Resolvers return [`ApiError`], which cannot be made from just anything that prints: an error without its code does not
//! compile.

use std::time::Duration;

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions as _, ServerError, Value};
use uuid::Uuid;

use crate::service::error::{ErrorKind, Met, Unsettled};
use crate::service::{ServiceError, Unreadable};

/// How deep the library's parser goes.
const PARSER_LEVELS: usize = 64;
/// What a JavaScript number can hold.
const SAFE: u64 = (1 << 53) - 1;

/// Why a field failed. Becomes an entry of `errors`.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(Error);

/// A nullable field that can fail by itself: `Option` outside, `Result` inside. The other way round a failure would null
/// the parent too.
pub(crate) type Answer<T> = Option<Result<T, ApiError>>;

impl ApiError {
    /// A stored value that cannot be shown: the field is null, the rest of its parent stands.
    pub(crate) fn unreadable(why: Unreadable) -> Self {
        let id = Uuid::now_v7();
        tracing::warn!(%id, "a stored value cannot be shown");
        Self(Error::new(why.to_string()).extend_with(|_, extensions| {
            extensions.set("code", "INTERNAL_SERVER_ERROR");
            extensions.set("id", id.to_string());
        }))
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        Self(Error::new(error.to_string()).extend_with(|_, extensions| extend(extensions, &error)))
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        error.0
    }
}

fn extend(extensions: &mut ErrorExtensionValues, error: &ServiceError) {
    extensions.set("code", error.code());
    if error.is_retryable() {
        extensions.set("retryable", true);
    }
    match error.unsettled() {
        Unsettled::Nothing => {}
        Unsettled::One(record_id) => extensions.set("recordId", record_id.to_string()),
        Unsettled::Batch(record_ids) => {
            extensions.set("recordIds", record_ids.iter().map(Uuid::to_string).map(Value::from).collect::<Vec<_>>());
        }
    }
    match error.kind() {
        ErrorKind::BadUserInput { field, limit, value } => {
            extensions.set("field", field.as_str());
            set_some(extensions, "limit", *limit);
            set_some(extensions, "value", *value);
        }
        ErrorKind::CursorExpired { oldest_position } => {
            extensions.set("oldestPosition", oldest_position.map_or(Value::Null, Value::from));
        }
        ErrorKind::Overloaded { retry_after, met } => {
            extensions.set("retryAfterMs", milliseconds(*retry_after));
            set_met(extensions, met.as_ref());
        }
        ErrorKind::RateLimited { retry_after, met } => {
            extensions.set("retryAfterMs", milliseconds(*retry_after));
            set_met(extensions, Some(met));
        }
        ErrorKind::Timeout { limit: Some(limit) } => {
            extensions.set("limit", "operation time");
            extensions.set("maxMs", milliseconds(*limit));
        }
        ErrorKind::Internal { id } => extensions.set("id", id.to_string()),
        ErrorKind::Forbidden
        | ErrorKind::DatabaseUnavailable
        | ErrorKind::SlowQueriesUnavailable
        | ErrorKind::Timeout { limit: None } => {}
    }
}

fn set_met(extensions: &mut ErrorExtensionValues, met: Option<&Met>) {
    if let Some(Met { limit, max, value }) = met {
        extensions.set("limit", *limit);
        extensions.set("max", *max);
        extensions.set("value", *value);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn set_some(extensions: &mut ErrorExtensionValues, name: &str, value: Option<i64>) {
    if let Some(value) = value {
        extensions.set(name, value);
    }
}

/// The document is not GraphQL: or nested so deeply that the parser gives up.
pub(crate) fn code_parse_error(error: &mut ServerError, max_depth: u32) {
    if error.message.contains("recursion") {
        *error = too_deep(max_depth, PARSER_LEVELS + 1);
    } else {
        set_code(error, "GRAPHQL_PARSE_FAILED");
    }
}

/// The document is not GraphQL, and the parser is not asked.
pub(crate) fn endless_text() -> ServerError {
    let mut error = ServerError::new("A text in the document has no end.", None);
    set_code(&mut error, "GRAPHQL_PARSE_FAILED");
    error
}

/// The document speaks of a type that nobody can give.
pub(crate) fn unknown_input(name: &str) -> ServerError {
    let mut error = ServerError::new(format!("Unknown type \"{name}\" of a variable"), None);
    set_code(&mut error, "GRAPHQL_VALIDATION_FAILED");
    error
}

/// Nested so deeply that nobody has counted to the end.
pub(crate) fn too_deep(max: u32, levels: usize) -> ServerError {
    limit_exceeded("depth", max.into(), u64::try_from(levels).unwrap_or(u64::MAX))
}

/// The document asks for too much at once.
pub(crate) fn too_many_selections(max: usize, value: u64) -> ServerError {
    limit_exceeded("selections", u64::try_from(max).unwrap_or(u64::MAX), value)
}

/// The specification's rule, which the library does not know.
pub(crate) fn several_subscriptions() -> ServerError {
    let message = "A subscription asks for one field, and not for `__typename`. Start one operation for each.";
    let mut error = ServerError::new(message, None);
    set_code(&mut error, "GRAPHQL_VALIDATION_FAILED");
    error
}

/// The operation, or its answer, is beyond a limit.
pub(crate) fn limit_exceeded(limit: &'static str, max: u64, value: u64) -> ServerError {
    let mut error = ServerError::new(format!("The limit {limit} is {max}; this is {value}."), None);
    set_code(&mut error, "LIMIT_EXCEEDED");
    set(&mut error, "limit", limit);
    set(&mut error, "max", max.min(SAFE));
    set(&mut error, "value", value.min(SAFE));
    error
}

/// The operator has switched it off.
pub(crate) fn introspection_disabled() -> ServerError {
    let mut error = ServerError::new("This server does not tell its schema (--introspection off).", None);
    set_code(&mut error, "INTROSPECTION_DISABLED");
    error
}

/// A failure of the service, of the whole request.
pub(crate) fn whole_request(error: ServiceError) -> ServerError {
    let Error { message, extensions, .. } = ApiError::from(error).0;
    let mut error = ServerError::new(message, None);
    error.extensions = extensions;
    error
}

/// Every code that there is.
const CODES: [&str; 16] = [
    "BAD_USER_INPUT",
    "CURSOR_EXPIRED",
    "DATABASE_UNAVAILABLE",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "INTERNAL_SERVER_ERROR",
    "INTROSPECTION_DISABLED",
    "LIMIT_EXCEEDED",
    "OPERATION_RESOLUTION_FAILURE",
    "OVERLOADED",
    "PERSISTED_QUERY_NOT_FOUND",
    "RATE_LIMITED",
    "SLOW_QUERIES_UNAVAILABLE",
    "TIMEOUT",
    "UNAUTHENTICATED",
];

/// An error's code, as a label of metrics and in the log.
pub(crate) fn code_of(error: &ServerError) -> &'static str {
    let code = match error.extensions.as_ref().and_then(|extensions| extensions.get("code")) {
        Some(Value::String(code)) => CODES.into_iter().find(|known| known == code),
        _ => None,
    };
    code.unwrap_or("OTHER")
}

/// Gives the library's own refusals a code. The library tells them apart by their text alone: a test holds these texts.
pub(crate) fn code_library_error(error: &mut ServerError) {
    if error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some()) {
        return;
    }
    if let Some(rest) = error.message.strip_prefix("Invalid value for argument \"") {
        let field = rest.split_once('"').map(|(path, _)| argument_path(path));
        set_code(error, "BAD_USER_INPUT");
        if let Some(field) = field {
            set(error, "field", field);
        }
    } else if error.message.starts_with("Unknown operation named")
        || error.message.starts_with("Operation name required")
    {
        set_code(error, "OPERATION_RESOLUTION_FAILURE");
    } else if error.message.starts_with("The recursion depth of the query") {
        // Fragments within fragments: fields were counted before.
        let max = error.message.rsplit('`').nth(1).and_then(|max| max.parse().ok()).unwrap_or_default();
        *error = limit_exceeded("fragmentDepth", max, max + 1);
    } else if error.message.starts_with("Subscriptions are not supported on this transport") {
        set_code(error, "OPERATION_RESOLUTION_FAILURE");
    } else if error.path.is_empty() {
        set_code(error, "GRAPHQL_VALIDATION_FAILED");
    } else {
        // An argument that passed validation and could not be read: an Int beyond 32 bits.
        set_code(error, "BAD_USER_INPUT");
    }
}

/// `input.records.3.step`, as the library writes it, becomes `input.records[3].step`.
fn argument_path(path: &str) -> String {
    let mut told = String::with_capacity(path.len() + 2);
    for segment in path.split('.') {
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            told.push('[');
            told.push_str(segment);
            told.push(']');
        } else {
            if !told.is_empty() {
                told.push('.');
            }
            told.push_str(segment);
        }
    }
    told
}

fn set_code(error: &mut ServerError, code: &str) {
    set(error, "code", code);
}

fn set(error: &mut ServerError, name: &str, value: impl Into<Value>) {
    error.extensions.get_or_insert_default().set(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_a_list_has_brackets() {
        assert_eq!(argument_path("input.records.3.step"), "input.records[3].step");
        assert_eq!(argument_path("ids.0"), "ids[0]");
        assert_eq!(argument_path("first"), "first");
    }
}
