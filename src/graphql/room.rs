//! What the variables of all queries and mutations at work may take together. The library holds on to them, taken apart, until
//! each is answered, and of many small values they take far more memory than their text. (What is still being read takes none
//! yet: there is as much of it as there are threads.)

use std::time::Duration;

use async_graphql::{ServerError, Value, Variables};
use tokio::sync::OwnedSemaphorePermit;

use super::errors::{limit_exceeded, whole_request};
use crate::service::ServiceError;
use crate::service::error::Met;
use crate::service::room::Room;

/// As docs/limits.md has it.
const NAME: &str = "variablesMemory";
/// When somebody is to try again for whom there was no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Variables that take no more than this need no room: how many operations there may be bounds them.
const SMALL: usize = 64 << 10;
/// What an object takes besides its entries, and an entry besides its name and its value: by the size of what a map of the
/// library's allocates at first, and of what a name does.
const OBJECT: usize = 256;
const ENTRY: usize = 64;

/// The room that they share.
pub(super) struct VariablesRoom(Room);

impl VariablesRoom {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Room::new(bytes))
    }

    /// Takes room for these, until what it gives is dropped; none is needed for small ones.
    pub(super) fn take(&self, variables: &Variables) -> Result<Option<OwnedSemaphorePermit>, ServerError> {
        let Self(room) = self;
        let bytes = variables.iter().map(|(name, value)| ENTRY + name.len() + memory(value)).sum::<usize>();
        if bytes <= SMALL {
            return Ok(None);
        }
        let told = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let max = told(room.bytes());
        if bytes > room.bytes() {
            return Err(limit_exceeded(NAME, max, told(bytes)));
        }
        room.take(bytes).map(Some).ok_or_else(|| {
            let met = Met { limit: NAME, max, value: told(room.taken().saturating_add(bytes)) };
            whole_request(ServiceError::too_many(met, RETRY_AFTER))
        })
    }
}

/// About how many bytes a value takes.
fn memory(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Number(_) | Value::Boolean(_) => 0,
            Value::String(text) => text.len(),
            Value::Enum(name) => name.len(),
            Value::Binary(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(memory).sum(),
            Value::Object(fields) => {
                OBJECT + fields.iter().map(|(name, value)| ENTRY + name.len() + memory(value)).sum::<usize>()
            }
        }
}
