//! What the variables of all queries and mutations at work may take together. The library holds on to them, taken apart, until
//! each is answered, and of many small values they take far more memory than their text. (What is still being read takes none
//! yet: there is as much of it as there are threads.)

use std::time::Duration;

use async_graphql::{ServerError, Value, Variables};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::errors::{limit_exceeded, whole_request};
use crate::service::ServiceError;
use crate::service::error::Met;

/// As docs/limits.md has it.
const NAME: &str = "variablesMemory";
/// When somebody is to try again for whom there was no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is counted at once: a semaphore counts to 32 bits.
const PIECE: usize = 1 << 10;
/// Variables that take no more than this need no room: how many operations there may be bounds them.
const SMALL: usize = 64 << 10;
/// What an object takes besides its entries, and an entry besides its name and its value: by the size of what a map of the
/// library's allocates at first, and of what a name does.
const OBJECT: usize = 256;
const ENTRY: usize = 64;

/// The room that they share.
pub(super) struct VariablesRoom {
    pieces: Semaphore,
    all: u32,
}

impl VariablesRoom {
    pub(super) fn new(bytes: usize) -> Self {
        let all = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX).max(1);
        Self { pieces: Semaphore::new(whole(all).min(Semaphore::MAX_PERMITS)), all }
    }

    /// Takes room for these, until what it gives is dropped; none is needed for small ones.
    pub(super) fn take(&self, variables: &Variables) -> Result<Option<SemaphorePermit<'_>>, ServerError> {
        let bytes = variables.iter().map(|(name, value)| ENTRY + name.len() + memory(value)).sum::<usize>();
        if bytes <= SMALL {
            return Ok(None);
        }
        let told = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let all = whole(self.all);
        let max = told(all * PIECE);
        let Some(pieces) = u32::try_from(bytes.div_ceil(PIECE)).ok().filter(|pieces| *pieces <= self.all) else {
            return Err(limit_exceeded(NAME, max, told(bytes)));
        };
        self.pieces.try_acquire_many(pieces).map(Some).map_err(|_| {
            let taken = all.saturating_sub(self.pieces.available_permits()) * PIECE;
            let met = Met { limit: NAME, max, value: told(taken + bytes) };
            whole_request(ServiceError::too_many(met, RETRY_AFTER))
        })
    }
}

fn whole(pieces: u32) -> usize {
    usize::try_from(pieces).unwrap_or(usize::MAX)
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
