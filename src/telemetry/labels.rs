//! What metrics are told apart by. Every label has few values, known before anybody asks: those of the schema, of HTTP, of
//! our own codes. What somebody sends is none.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// A method of HTTP as it is told: anybody may make one up.
#[must_use]
pub fn method(method: &str) -> &'static str {
    ["GET", "POST", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method).unwrap_or("other")
}

/// One of the few names that a label may have and that are not known when the program is built: a field of the schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Of an operation that does not ask for one field of the schema: that cannot be read, or asks for several.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// What sort of operation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// It could not be read.
    Unknown,
    /// A query.
    Query,
    /// A mutation.
    Mutation,
    /// A subscription.
    Subscription,
}

impl Root {
    /// As GraphQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

impl EncodeLabelValue for Root {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// What an operation asks for: its sort, and the field at its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    /// Its sort.
    pub kind: Root,
    /// The field at its root; `several`, or `unknown`.
    pub field: Name,
}

/// What it came to: `OK`, or the code of its first error; `GONE` where nobody waited for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// The code.
    pub code: &'static str,
}

/// An answer over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Exchange {
    /// Which part of the server was asked.
    pub route: &'static str,
    /// GET, POST, OPTIONS, HEAD, or `other`.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
}

/// One of our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// All records, in partitions.
    TaskRecord,
    /// A row for each task, and its place in the lists.
    Task,
}

impl EncodeLabelValue for Table {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        let name = match self {
            Self::TaskRecord => "task_record",
            Self::Task => "task",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}
