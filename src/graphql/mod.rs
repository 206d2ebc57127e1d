//! The GraphQL schema: what the contract promises, over the service's verbs.
//!
//! - [`Api`], [`Caller`]: the one door, for HTTP and sockets · `session`: who is asking
//! - `shared`: an event that many get alike is executed and written once
//! - `query`, `mutation/`, `subscription`: the three roots · `types/`: what they give · `filter`: what they take
//! - `observed`: what is told of each operation when it is over
//! - `scalars`, `node` (global ids), `errors` (codes), `loader` (many look-ups, one read), `defaults` (of arguments),
//!   `document/` (read once, measured, each key asked for once), `limits` (what one operation may ask for), `room` (what all of them may hold)
//!
//! To add a field: its resolver in the type's room, 5 to 15 lines around one verb; a description for it and each of its
//! arguments; then `taskwire schema > schema.graphql`. Nothing here decides who may, checks a length or knows SQL. A verb that
//! goes to the database is boxed: async-graphql gives each field of an answer a future as large as the largest of its type.

mod caller;
mod defaults;
mod document;
mod errors;
mod filter;
#[cfg(test)]
mod graphql_js;
mod limits;
mod loader;
mod mutation;
mod node;
mod observed;
mod query;
mod room;
mod scalars;
mod session;
mod shared;
mod subscription;
mod types;

use async_graphql::SDLExportOptions;

pub use caller::{Api, Caller};
pub use shared::Answer;

/// The schema. It holds no state: that comes with each request's session.
type Schema = async_graphql::Schema<query::Query, mutation::Mutation, subscription::Subscription>;

type SchemaBuilder = async_graphql::SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription>;

fn schema() -> SchemaBuilder {
    Schema::build(query::Query, mutation::Mutation::default(), subscription::Subscription)
}

/// The schema as text, as `schema.graphql` holds it.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new().include_specified_by().use_space_ident().indent_width(2);
    let text = schema().finish().sdl_with_options(options);
    format!("{}\n", text.trim_end())
}
