//! `eraseUser`: all that is kept of a user goes, for good.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::scalars::SafeInt;
use crate::graphql::session::Session;
use crate::service::Erased;

/// Who is to be erased.
#[derive(InputObject)]
pub(crate) struct EraseUserInput {
    /// Whose tasks and records go, all of them.
    user_id: ID,
    /// The userId again: what is erased does not come back.
    confirm: ID,
}

/// What has gone. What was saved meanwhile is counted, too.
#[derive(SimpleObject)]
pub(crate) struct EraseUserPayload {
    /// How many records.
    deleted_records: SafeInt,
    /// How many tasks.
    deleted_tasks: SafeInt,
    /// True where time ran out: call again, and it goes on where it stopped.
    has_more: bool,
}

impl From<Erased> for EraseUserPayload {
    fn from(erased: Erased) -> Self {
        Self { deleted_records: erased.records.into(), deleted_tasks: erased.tasks.into(), has_more: erased.has_more }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct EraseUserMutation;

#[Object]
impl EraseUserMutation {
    /// Removes all that is kept of a user, for good, in small batches. Subscriptions to the user end with `CURSOR_EXPIRED`,
    /// as old cursors do from then on; whoever saves for the user afterwards begins at position 1. Admins only.
    async fn erase_user(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Who is to be erased.")] input: EraseUserInput,
    ) -> Answer<EraseUserPayload> {
        Some(Box::pin(erase(context, input)).await)
    }
}

async fn erase(context: &Context<'_>, input: EraseUserInput) -> Result<EraseUserPayload, ApiError> {
    let session = Session::of(context)?;
    let time = session.time_left();
    let erased = session.service.erase_user(&session.viewer, input.user_id.0, &input.confirm, time).await?;
    Ok(erased.into())
}
