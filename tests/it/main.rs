//! The integration tests, one binary: a room a topic.

mod schema;
