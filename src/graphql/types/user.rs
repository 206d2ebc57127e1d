//! `User`: somebody who has tasks, and the pages of them.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::Feed;
use super::connections::PageInfo;
use crate::graphql::errors::ApiError;
use crate::graphql::node::Key;
use crate::graphql::session::Session;
use crate::service::{PageArgs, UserHead};

/// A user as the service found it.
pub(crate) struct User(UserHead);

impl From<UserHead> for User {
    fn from(user: UserHead) -> Self {
        Self(user)
    }
}

/// Somebody who has tasks.
#[Object]
impl User {
    /// Global and opaque: for `node` and for caches.
    pub(crate) async fn id(&self) -> ID {
        Key::User { user_id: self.0.user_id.clone() }.encode()
    }

    /// What this user's tasks are found by.
    async fn user_id(&self) -> ID {
        ID(self.0.user_id.clone())
    }

    /// Where the user's feed stood when the user was read.
    async fn feed(&self) -> Feed {
        Feed::of_user(&self.0)
    }
}

/// One user in a list, and where it stands there.
#[derive(SimpleObject)]
pub(crate) struct UserEdge {
    /// For `after` and `before` of the same list, with the same prefix.
    cursor: String,
    /// The user who stands there.
    node: User,
}

/// A page of those who have tasks.
pub(crate) struct UserConnection {
    info: PageInfo,
    edges: Vec<UserEdge>,
}

impl UserConnection {
    /// Reads a page.
    pub(crate) async fn of(context: &Context<'_>, prefix: Option<String>, page: PageArgs) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        let page = session.service.users(&session.viewer, prefix, page).await?;
        let info = PageInfo::of(&page);
        let edges = page.edges.into_iter().map(|edge| UserEdge { cursor: edge.cursor(), node: edge.node.into() });
        Ok(Self { info, edges: edges.collect() })
    }
}

/// A page of those who have tasks, by their id.
#[Object]
impl UserConnection {
    /// The entries of the page, in the list's order.
    async fn edges(&self) -> &[UserEdge] {
        &self.edges
    }

    /// The users of the page, for who needs no cursors.
    async fn nodes(&self) -> Vec<&User> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page stands within the list.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }
}
