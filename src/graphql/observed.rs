//! What is told of an operation when it is over: its metrics, and a line of the log (around which stands the request's id).
//! One that took long has its document told, without what the client has put into it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_graphql::ServerError;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use tracing::Span;

use super::document::{Operation, shown};
use super::errors::code_of;
use super::shared::Answer;
use crate::auth::Viewer;
use crate::telemetry::{self, Code, Name, Root, Telemetry, spans};

/// An operation, from its beginning until this is dropped.
pub(super) struct Observed {
    telemetry: Telemetry,
    viewer: Viewer,
    slow: Option<Duration>,
    begun: Instant,
    /// None for what could not be read.
    operation: Option<Arc<Operation>>,
    document: String,
    /// What it has come to so far.
    code: &'static str,
    span: Span,
}

impl Observed {
    /// It begins now.
    pub(super) fn new(telemetry: Telemetry, viewer: Viewer, slow: Option<Duration>, span: Span) -> Self {
        let (begun, code) = (Instant::now(), "GONE");
        Self { telemetry, viewer, slow, begun, operation: None, document: String::new(), code, span }
    }

    /// For what belongs to it.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// It is this one.
    pub(super) fn is(&mut self, operation: Option<&Arc<Operation>>, document: String) {
        self.operation = operation.cloned();
        if let Some(operation) = operation {
            spans::is(&self.span, &operation.label, operation.name.as_deref());
        }
        if self.root() == Root::Subscription {
            // It may be ended whenever somebody likes.
            self.code = "OK";
        } else if self.slow.is_some() {
            self.document = document;
        }
    }

    /// These are its errors.
    pub(super) fn answered(&mut self, errors: &[ServerError]) {
        self.code = errors.first().map_or("OK", code_of);
    }

    /// Observes what comes of it, one after the other.
    pub(super) fn watch(self, answers: BoxStream<'static, Answer>) -> BoxStream<'static, Answer> {
        Watched { answers, observed: self }.boxed()
    }

    fn root(&self) -> Root {
        self.operation.as_ref().map_or(Root::Unknown, |operation| operation.label.kind)
    }

    fn tell(&self, label: &telemetry::Operation, took: Duration) {
        let (kind, field, code) = (label.kind.as_str(), label.field.as_str(), self.code);
        let name = self.operation.as_ref().and_then(|operation| operation.name.as_deref());
        let name = name.map(spans::short);
        let (viewer, role) = (self.viewer.user_id.as_deref(), self.viewer.role.as_str());
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        if label.kind != Root::Subscription && self.slow.is_some_and(|slow| took > slow) {
            self.telemetry.slow_operations.inc();
            let document = shown(&self.document);
            tracing::warn!(target: TARGET, kind, field, name, viewer, role, ms, code, document, "slow operation");
        } else {
            tracing::info!(target: TARGET, kind, field, name, viewer, role, ms, code, "operation");
        }
    }
}

/// What to name in a filter: `--log info,taskwire::operation=warn` tells of slow ones alone.
const TARGET: &str = "taskwire::operation";

impl Drop for Observed {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let label = self.operation.as_ref().map(|operation| operation.label.clone());
        let label = label.unwrap_or_else(|| telemetry::Operation { kind: Root::Unknown, field: Name::new("unknown") });
        self.tell(&label, took);
        spans::came_to(&self.span, self.code);
        let is_timed = matches!(label.kind, Root::Query | Root::Mutation);
        self.telemetry.operated(label, Code { code: self.code }, is_timed.then_some(took));
    }
}

/// A stream of answers, and what is told when it is over.
struct Watched {
    answers: BoxStream<'static, Answer>,
    observed: Observed,
}

impl Stream for Watched {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let span = self.observed.span.clone();
        let next = span.in_scope(|| self.answers.poll_next_unpin(context));
        if let Poll::Ready(Some(Answer::Own(answer))) = &next {
            self.observed.answered(&answer.errors);
        }
        next
    }
}
