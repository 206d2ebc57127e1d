//! `optimizeStorage`: fresh statistics for the planner, and indexes built anew.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::session::Session;
use crate::service::Optimized;

/// What is to be done.
#[derive(InputObject)]
pub(crate) struct OptimizeStorageInput {
    /// Build the indexes anew as well, each beside the old one, which takes room and time.
    #[graphql(default = false)]
    reindex: bool,
}

/// What was done.
#[derive(SimpleObject)]
pub(crate) struct OptimizeStoragePayload {
    /// Tables that the planner has fresh statistics of.
    analyzed: Vec<String>,
    /// Indexes that were built anew.
    reindexed: Vec<String>,
    /// Time ran out (`--maintenance-time`), or somebody's open transaction held something for too long: call again. Building
    /// indexes goes on where it stopped.
    has_more: bool,
}

impl From<Optimized> for OptimizeStoragePayload {
    fn from(Optimized { analyzed, reindexed, has_more }: Optimized) -> Self {
        Self { analyzed, reindexed, has_more }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct OptimizeStorageMutation;

#[Object]
impl OptimizeStorageMutation {
    /// Takes fresh statistics of the tables, and builds their indexes anew where that is asked for. Nobody who writes waits
    /// for it. One server at a time: while another is at it, it waits. Admins only.
    async fn optimize_storage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is to be done.")] input: OptimizeStorageInput,
    ) -> Answer<OptimizeStoragePayload> {
        Some(Box::pin(optimize(context, input.reindex)).await)
    }
}

async fn optimize(context: &Context<'_>, reindex: bool) -> Result<OptimizeStoragePayload, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.optimize_storage(&session.viewer, reindex, session.time_left()).await?.into())
}
