//! Whose tasks a viewer may see and change. Not yours looks exactly like not there: a read of somebody else's task finds
//! nothing; only what a role may not do at all is FORBIDDEN, and what has no "not there": a subscription to another user,
//! and a save for one.
//!
//! | | own tasks | everybody's | who has tasks | saves | acknowledges, gives signs of life | maintenance |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | user | reads, watches, cancels | – | – | own, if `--users-may-save` | – | – |
//! | worker | | reads, watches, cancels | yes | everybody's | everybody's | – |
//! | admin | | reads, watches, cancels | yes | everybody's | everybody's | yes |
//!
//! To add a verb: one of these functions first thing in it, and its rows in `tests/it/rights/`, which fail without.

use std::fmt::Display;

use super::{Service, ServiceError, input};
use crate::auth::{Role, Viewer};
use crate::store::Scope;

/// Whose task a read is about: the one named, or the caller's own. None where it is not the viewer's to see.
pub(super) fn readable_user(viewer: &Viewer, user_id: Option<String>) -> Result<Option<String>, ServiceError> {
    match (viewer.role, user_id) {
        (Role::User, None) => Ok(viewer.user_id.clone()),
        (Role::User, Some(user_id)) => {
            input::id("userId", &user_id)?;
            Ok(Some(user_id).filter(|user_id| viewer.user_id.as_ref() == Some(user_id)))
        }
        (Role::Worker | Role::Admin, Some(user_id)) => {
            input::id("userId", &user_id)?;
            Ok(Some(user_id))
        }
        (Role::Worker | Role::Admin, None) => Err(must_name_user("userId")),
    }
}

/// Whose tasks a list spans: one user's, or everybody's for those who may see them. None where nothing is to be seen.
pub(super) fn readable_scope(viewer: &Viewer, user_id: Option<String>) -> Result<Option<Scope>, ServiceError> {
    match (viewer.role, user_id) {
        (Role::Worker | Role::Admin, None) => Ok(Some(Scope::Everyone)),
        (_, user_id) => Ok(readable_user(viewer, user_id)?.map(Scope::User)),
    }
}

/// Whose feed a subscription follows: another user's is FORBIDDEN, whether or not there is one.
pub(super) fn watchable_scope(viewer: &Viewer, user_id: Option<String>) -> Result<Scope, ServiceError> {
    readable_scope(viewer, user_id)?.ok_or_else(ServiceError::forbidden)
}

/// What is everybody's: for those who act for everyone.
pub(super) fn everyones_readers_only(viewer: &Viewer) -> Result<(), ServiceError> {
    if viewer.role == Role::User { Err(ServiceError::forbidden()) } else { Ok(()) }
}

/// Whether the viewer may see this user's records.
pub(super) fn may_read(viewer: &Viewer, user_id: &str) -> bool {
    // The hole that `tests/hole` has to find; no server is built with this feature.
    cfg!(feature = "planted-hole") || viewer.role != Role::User || viewer.user_id.as_deref() == Some(user_id)
}

impl Service {
    /// Whether the viewer may save reports: workers and admins; users where the operator lets them.
    #[must_use]
    pub fn may_save(&self, viewer: &Viewer) -> bool {
        viewer.role != Role::User || self.users_may_save
    }

    /// Whom a report is for. Workers and admins report for everyone and must say for whom; a user reports for itself. That
    /// there is such a task, or such a user, makes no difference to who may not.
    pub(super) fn savable_user(
        &self,
        viewer: &Viewer,
        field: impl Display + Copy,
        user_id: Option<String>,
    ) -> Result<String, ServiceError> {
        match viewer.role {
            Role::Worker | Role::Admin => named_user(field, user_id),
            Role::User if self.users_may_save => {
                let user_id = user_id.or_else(|| viewer.user_id.clone());
                user_id.filter(|user_id| may_read(viewer, user_id)).ok_or_else(ServiceError::forbidden)
            }
            Role::User => Err(ServiceError::forbidden()),
        }
    }
}

/// Whose task a worker tells of: its answer to a cancellation, a sign of life. Workers and admins do, for everyone.
pub(super) fn attended_user(
    viewer: &Viewer,
    field: impl Display + Copy,
    user_id: Option<String>,
) -> Result<String, ServiceError> {
    match viewer.role {
        Role::Worker | Role::Admin => named_user(field, user_id),
        Role::User => Err(ServiceError::forbidden()),
    }
}

/// What admins do alone: maintenance, and whatever concerns the server.
pub(super) fn admins_only(viewer: &Viewer) -> Result<(), ServiceError> {
    if viewer.role == Role::Admin { Ok(()) } else { Err(ServiceError::forbidden()) }
}

/// Whose task a cancellation is about: the own, or anybody's for workers and admins. None where it is not the viewer's.
pub(super) fn cancellable_user(viewer: &Viewer, user_id: Option<String>) -> Result<Option<String>, ServiceError> {
    readable_user(viewer, user_id)
        .map_err(|error| if error.field() == Some("userId") { error.at("input.userId") } else { error })
}

fn named_user(field: impl Display + Copy, user_id: Option<String>) -> Result<String, ServiceError> {
    let user_id = user_id.ok_or_else(|| must_name_user(field))?;
    input::id(field, &user_id)?;
    Ok(user_id)
}

fn must_name_user(field: impl Display + Copy) -> ServiceError {
    ServiceError::bad_input(field.to_string(), "Name the user: a worker or an admin acts for everyone.")
}
