//! `Viewer`: who the server takes the caller for, and what it may ask for at once.

use async_graphql::{ID, SimpleObject};

use super::Role;
use crate::graphql::scalars::DateTime;
use crate::graphql::session::Session;
use crate::service;

/// Who the server takes the caller for.
#[derive(SimpleObject)]
pub(crate) struct Viewer {
    /// The caller's own id; null for one who acts for everyone.
    user_id: Option<ID>,
    /// What the caller may do.
    role: Role,
    /// When the caller's token runs out; null without one.
    token_expires_at: Option<DateTime>,
    /// Whether the caller may save reports.
    may_save: bool,
    /// What the caller may ask for at once.
    limits: Limits,
}

impl From<&Session> for Viewer {
    fn from(session: &Session) -> Self {
        let viewer = &session.viewer;
        Self {
            user_id: viewer.user_id.clone().map(ID),
            role: viewer.role.into(),
            token_expires_at: viewer.token_expires_at.map(DateTime),
            may_save: session.service.may_save(viewer),
            limits: Limits::of(session.service.limits(), viewer),
        }
    }
}

/// What a client may ask for at once.
#[derive(SimpleObject)]
pub(crate) struct Limits {
    /// Entries of one page of a list.
    page_size: i32,
    /// Records of one batch.
    batch_records: i32,
    /// Bytes of one result, as JSON text.
    result_bytes: i32,
    /// Bytes of one request's body.
    request_bytes: i32,
}

impl Limits {
    fn of(limits: &service::Limits, viewer: &crate::auth::Viewer) -> Self {
        Self {
            page_size: limits.page_size,
            batch_records: limits.batch_records,
            result_bytes: limits.result_bytes,
            request_bytes: i32::try_from(limits.request_bytes_of(viewer)).unwrap_or(i32::MAX),
        }
    }
}
