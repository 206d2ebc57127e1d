//! The feed: listener, hub, cursor.

/// Placeholder for the hub's handle.
#[derive(Clone)]
pub struct Hub;
