//! `disconnectUser`: whatever a user has open is closed, on every server.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::session::Session;

/// Who is to be disconnected.
#[derive(InputObject)]
pub(crate) struct DisconnectUserInput {
    /// Whose sockets are closed.
    user_id: ID,
}

/// Counted on the server that answers; the others close theirs within a second.
#[derive(SimpleObject)]
pub(crate) struct DisconnectUserPayload {
    /// How many connections were closed on this server.
    closed_connections: i32,
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct DisconnectUserMutation;

#[Object]
impl DisconnectUserMutation {
    /// Closes every socket of a user, as after revoking the tokens: a token that was issued before opens none any more.
    /// Admins only.
    async fn disconnect_user(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose sockets are to be closed.")] input: DisconnectUserInput,
    ) -> Answer<DisconnectUserPayload> {
        Some(Box::pin(disconnect(context, input.user_id)).await)
    }
}

async fn disconnect(context: &Context<'_>, user_id: ID) -> Result<DisconnectUserPayload, ApiError> {
    let session = Session::of(context)?;
    let closed = session.service.disconnect_user(&session.viewer, user_id.0).await?;
    Ok(DisconnectUserPayload { closed_connections: i32::try_from(closed).unwrap_or(i32::MAX) })
}
