//! The feed: listener, hub, cursor.
