//! Who watches what is written here: asked before, so that nothing is read for nobody.

use std::sync::Arc;

/// What is called with users, who may be named more than once.
pub(super) type ForUsers<T> = Arc<dyn Fn(&[&str]) -> T + Send + Sync>;

/// The feed, as writers see it.
#[derive(Clone)]
pub struct Audience {
    /// Whether any of these users is watched on this server.
    pub is_watching: ForUsers<bool>,
    /// Something of these users was committed that nobody watched when it began: whoever does by now has to read it.
    pub look_at: ForUsers<()>,
}
