//! Schema and resolvers.
