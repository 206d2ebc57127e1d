//! The root of mutations: one a file, with its input, its payload and its resolver in that order.
//!
//! In an input null is the same as leaving the field out. To add one: a file like its neighbours, a line in [`Mutation`].

mod acknowledge;
mod cancel;
mod cancel_many;
mod cleanup;
mod disconnect_user;
mod erase_user;
mod optimize_storage;
mod report_alive;
mod save;
mod save_batch;

use async_graphql::MergedObject;

/// What can be changed. A payload is null where the mutation failed; the reason is in `errors`.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    save::SaveMutation,
    save_batch::SaveBatchMutation,
    report_alive::ReportAliveMutation,
    cancel::CancelMutation,
    cancel_many::CancelManyMutation,
    acknowledge::AcknowledgeMutation,
    erase_user::EraseUserMutation,
    cleanup::CleanupMutation,
    optimize_storage::OptimizeStorageMutation,
    disconnect_user::DisconnectUserMutation,
);
