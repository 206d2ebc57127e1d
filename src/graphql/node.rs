//! Global ids: what `node` takes and every [`Node`](super::types::Node) gives.
//!
//! An id is the base64url of the type's letter and its key's parts, NUL between them (no part can hold one). One thing
//! has one id: what does not encode back to itself is malformed. To add a type: a variant here, its arm in
//! [`resolve`], a variant of `Node`.

use async_graphql::ID;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entity::{task, task_record};

use super::errors::ApiError;
use super::session::Session;
use super::types::Node;
use crate::service::error::ErrorKind;
use crate::service::{ServiceError, TaskStep, limits, recorded_at};

/// The longest id that can be one: 255 characters of four bytes for either part of a key, in base64, and some digits.
const MAX_LENGTH: usize = 3_000;

/// What a global id stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A task.
    Task {
        /// Whose.
        user_id: String,
        /// Which.
        task_id: String,
    },
    /// A step of a task.
    Step {
        /// Whose.
        user_id: String,
        /// Of which task.
        task_id: String,
        /// Its number.
        step: i32,
    },
    /// An entry of a user's history.
    Record {
        /// Whose.
        user_id: String,
        /// Its number in the user's feed.
        position: i64,
        /// When it was appended: it says in which partition it lies.
        recorded_at: DateTime<Utc>,
    },
    /// Somebody who has tasks.
    User {
        /// Who.
        user_id: String,
    },
}

impl Key {
    /// The global id of this key.
    pub(crate) fn encode(&self) -> ID {
        let text = match self {
            Self::Task { user_id, task_id } => format!("t\0{user_id}\0{task_id}"),
            Self::Step { user_id, task_id, step } => format!("s\0{user_id}\0{task_id}\0{step}"),
            Self::Record { user_id, position, recorded_at } => {
                format!("r\0{user_id}\0{position}\0{}", recorded_at.timestamp_micros())
            }
            Self::User { user_id } => format!("u\0{user_id}"),
        };
        ID(URL_SAFE_NO_PAD.encode(text))
    }

    /// None for what is malformed.
    pub(crate) fn decode(id: &ID) -> Option<Self> {
        if id.len() > MAX_LENGTH {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_bytes()).ok()?).ok()?;
        let parts: Vec<&str> = text.split('\0').collect();
        let key = match parts[..] {
            ["t", user, task] => Self::Task { user_id: user.to_owned(), task_id: task.to_owned() },
            ["s", user, task, step] => {
                Self::Step { user_id: user.to_owned(), task_id: task.to_owned(), step: step_number(step)? }
            }
            ["r", user, position, micros] => Self::Record {
                user_id: user.to_owned(),
                position: position.parse().ok()?,
                recorded_at: recorded_at(micros.parse().ok()?)?,
            },
            ["u", user] => Self::User { user_id: user.to_owned() },
            _ => return None,
        };
        (key.encode() == *id).then_some(key)
    }
}

/// None for what no step can have.
fn step_number(text: &str) -> Option<i32> {
    text.parse().ok().filter(|step| (0..=limits::STEP).contains(step))
}

impl From<&task::Model> for Key {
    fn from(task: &task::Model) -> Self {
        Self::Task { user_id: task.user_id.clone(), task_id: task.task_id.clone() }
    }
}

impl From<&task_record::Model> for Key {
    fn from(record: &task_record::Model) -> Self {
        Self::Record { user_id: record.user_id.clone(), position: record.position, recorded_at: record.recorded_at }
    }
}

impl From<&TaskStep> for Key {
    fn from(step: &TaskStep) -> Self {
        let record = &step.record;
        Self::Step { user_id: record.user_id.clone(), task_id: record.task_id.clone(), step: step.step }
    }
}

/// What stands behind an id: none for what is malformed, not there, or not the viewer's.
pub(crate) async fn resolve(session: &Session, id: &ID) -> Result<Option<Node>, ApiError> {
    let Some(key) = Key::decode(id) else { return Ok(None) };
    match find(session, key).await {
        // The parts are in place, but no task can have such a key.
        Err(error) if matches!(error.kind(), ErrorKind::BadUserInput { .. }) => Ok(None),
        found => Ok(found?),
    }
}

async fn find(session: &Session, key: Key) -> Result<Option<Node>, ServiceError> {
    let (service, viewer) = (&session.service, &session.viewer);
    Ok(match key {
        Key::Task { user_id, task_id } => {
            service.task(viewer, Some(user_id), task_id).await?.map(|task| Node::Task(task.into()))
        }
        Key::Step { user_id, task_id, step } => {
            service.step(viewer, user_id, task_id, step).await?.map(|step| Node::TaskStep(step.into()))
        }
        Key::Record { user_id, position, recorded_at } => {
            let record = service.record(viewer, user_id, position, recorded_at).await?;
            record.map(|record| Node::TaskRecord(record.into()))
        }
        Key::User { user_id } => service.user(viewer, user_id).await?.map(|user| Node::User(user.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        let (user_id, task_id) = ("\u{1F980}".repeat(255), "a/b:\u{1F980}".repeat(60));
        vec![
            Key::Task { user_id: user_id.clone(), task_id: task_id.clone() },
            Key::Step { user_id: user_id.clone(), task_id, step: 1_000_000 },
            Key::User { user_id: user_id.clone() },
            Key::Record { user_id, position: i64::MAX, recorded_at: DateTime::UNIX_EPOCH },
        ]
    }

    #[test]
    fn an_id_gives_its_key_back() {
        for key in keys() {
            assert_eq!(Key::decode(&key.encode()), Some(key));
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        let text = |text: &str| ID(URL_SAFE_NO_PAD.encode(text));
        let bad = [
            ID(String::new()),
            ID("*".to_owned()),
            ID("A".repeat(100_000)),
            ID(URL_SAFE_NO_PAD.encode([0xff])),
            text("t\0u"),
            text("t\0u\0t\0"),
            text("x\0u\0t"),
            text("u"),
            text("u\0u\0"),
            text("s\0u\0t\0one"),
            text("s\0u\0t\0+1"),
            text("s\0u\0t\0-1"),
            text("s\0u\0t\x001000001"),
            text("s\0u\0t\0-2147483648"),
            text("s\0u\0t\x002147483647"),
            text("s\0u\0t\x0001"),
            text("r\0u\x001"),
            text("r\0u\x001\x0099999999999999999999"),
            text("r\0u\x001\0-370000000000000000"),
            text("r\0u\x001\x00370000000000000000"),
            ID(format!("{}=", text("t\0u\0t").0)),
        ];
        for id in bad {
            assert_eq!(Key::decode(&id), None, "{id:?}");
        }
    }
}
