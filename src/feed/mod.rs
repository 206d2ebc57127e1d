//! The feed: listener, hub, cursor.

pub mod cursor;

pub use cursor::FeedCursor;

/// Placeholder for the hub's handle.
#[derive(Clone)]
pub struct Hub;
