//! One execution and one serialisation for all who get the same.
//!
//! What an event of `taskEvents` or `taskChanged` looks like depends on the event and on the [`Shape`] of the subscription, which leaves out
//! its root's arguments: who resumes from a cursor is told the same as who was there all the time. The library starts each
//! subscription as ever, with its rights, limits and errors; then the stream behind it is taken out of its hands
//! ([`Relay::HandOver`]), and each event is put back into a request of its own ([`Relay::Render`]), once for all
//! subscribers of a shape. So the answers are the library's, byte for byte.
//!
//! Shared is only what came without any error, live, and is not long. Everything else is told to each by itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_graphql::{Name, Request, Response, Variables};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::document::Document;
use super::session::Session;
use crate::auth::{Role, Viewer};
use crate::service::ServiceError;
use crate::service::watch::{Events, TaskChange, TaskEvent};

/// A longer answer is told to each by itself.
const MOST_BYTES: usize = 64 << 10;
/// About what an answer takes beside its bytes.
const OVERHEAD: u64 = 128;
/// How many answers the cache makes room for at first.
const ANSWERS: usize = 256;
/// With fewer shapes none is looked for that is gone.
const FEW_SHAPES: usize = 64;

/// An answer of a stream.
#[derive(Debug)]
pub enum Answer {
    /// `{"data":…}` as JSON, without any error: the same for many.
    Shared(Arc<[u8]>),
    /// One client's own.
    Own(Box<Response>),
}

type Told<T> = Result<T, ServiceError>;

/// What a root tells.
pub(super) trait Event: Clone + Send + Sync + 'static {
    /// Where it stands; none where it is each one's own.
    fn place(&self) -> Option<Place>;
}

/// Where an event stands in the feed of its user. For one shape two at the same place look alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The id tells apart what stood at this position before the table went back.
    record: (i64, Uuid),
    /// What is told beside it.
    beside: Option<Beside>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Beside {
    matches_filter: bool,
    /// Where the cursor stands, if there is one.
    end: Option<(i64, Uuid)>,
}

/// Not replays, which may show what was read long after the event.
impl Event for TaskEvent {
    fn place(&self) -> Option<Place> {
        let record = (self.record().position, self.record().record_id);
        (!self.is_replay()).then_some(Place { record, beside: None })
    }
}

impl Event for TaskChange {
    fn place(&self) -> Option<Place> {
        let task = self.task().filter(|_| !self.is_replay())?;
        let end = self.end().map(|end| (end.position, end.record_id));
        let beside = Some(Beside { matches_filter: self.matches_filter(), end });
        Some(Place { record: (task.position, task.record_id), beside })
    }
}

/// In a request's data: what its root does other than to stream events.
pub(super) enum Relay<T> {
    /// Gives its stream away.
    HandOver(Arc<Mutex<Option<Events<T>>>>),
    /// Tells this one event.
    Render(Told<T>),
}

impl<T: Event> Relay<T> {
    /// The one event that is to be told.
    pub(super) fn event(&self) -> Option<BoxStream<'static, Told<T>>> {
        match self {
            Self::HandOver(_) => None,
            Self::Render(event) => Some(stream::iter([event.clone()]).boxed()),
        }
    }

    /// What the root streams itself: nothing, where its stream is taken. A position is of one user, so that everybody's
    /// changes are told to each.
    pub(super) fn own(relay: Option<&Self>, events: Events<T>) -> BoxStream<'static, Told<T>> {
        match relay {
            Some(Self::HandOver(slot)) if events.user_id.is_some() => {
                *lock(slot) = Some(events);
                stream::empty().boxed()
            }
            _ => events.events,
        }
    }
}

/// All that an event's answer depends on beside the event.
pub(super) struct Shape {
    number: u64,
    pub(super) document: Arc<Document>,
    pub(super) operation_name: Option<String>,
    /// Those of the first who asked: the others' may differ only at the root.
    pub(super) variables: Variables,
    /// Of the first; the others have the same rights.
    pub(super) session: Session,
}

/// The same, to be compared.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// Its place in memory: as long as a shape lives, it keeps its document.
    document: usize,
    operation_name: Option<String>,
    /// As Rust writes them.
    inner_variables: String,
    viewer: (Option<String>, Role),
    user_id: String,
}

/// The same event for the same shape.
type Same = (u64, Place);

/// What became of an event for a shape.
#[derive(Clone)]
pub(super) enum Rendered {
    /// For everybody.
    Shared(Arc<[u8]>),
    /// Everybody has to do it again.
    Own,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Same, Rendered> for ByBytes {
    fn weight(&self, _: &Same, rendered: &Rendered) -> u64 {
        match rendered {
            Rendered::Shared(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX / 2) + OVERHEAD,
            Rendered::Own => OVERHEAD,
        }
    }
}

/// The shapes that are subscribed to, and their latest answers.
pub(super) struct SharedAnswers {
    shapes: Mutex<Shapes>,
    kept: Option<Cache<Same, Rendered, ByBytes>>,
}

#[derive(Default)]
struct Shapes {
    by_key: HashMap<Key, Weak<Shape>>,
    last: u64,
    /// With so many those that are gone are taken out.
    sweep_at: usize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedAnswers {
    /// With so many bytes of answers; 0 keep none, and each is told by itself.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let kept = (bytes > 0).then(|| Cache::with_weighter(ANSWERS, bytes, ByBytes));
        Self { shapes: Mutex::default(), kept }
    }

    /// The shape of a subscription, which others may have, too.
    pub(super) fn shape(
        &self,
        document: &Arc<Document>,
        inner_variables: &[Name],
        request: &Request,
        session: &Session,
        user_id: String,
    ) -> Arc<Shape> {
        let Viewer { user_id: own_id, role, .. } = &session.viewer;
        // One that is not given is not the same as null.
        let given = inner_variables.iter().filter_map(|name| Some((name, request.variables.get(name)?)));
        let given: Vec<_> = given.collect();
        let key = Key {
            document: Arc::as_ptr(document).addr(),
            operation_name: request.operation_name.clone(),
            // Not as JSON: what a client sends may look there like text that goes out as it is.
            inner_variables: format!("{given:?}"),
            viewer: (own_id.clone(), *role),
            user_id,
        };
        let mut shapes = lock(&self.shapes);
        if let Some(shape) = shapes.by_key.get(&key).and_then(Weak::upgrade) {
            return shape;
        }
        shapes.last += 1;
        let shape = Arc::new(Shape {
            number: shapes.last,
            document: Arc::clone(document),
            operation_name: request.operation_name.clone(),
            variables: request.variables.clone(),
            session: session.clone(),
        });
        shapes.by_key.insert(key, Arc::downgrade(&shape));
        if shapes.by_key.len() >= shapes.sweep_at {
            shapes.by_key.retain(|_, shape| shape.strong_count() > 0);
            shapes.sweep_at = FEW_SHAPES.max(2 * shapes.by_key.len());
        }
        shape
    }

    /// What others were told of an event, or what `render` makes of it now, once for all who ask meanwhile. Nothing is kept
    /// of what is each one's own, nor where nobody else would ask.
    pub(super) async fn rendered(
        &self,
        shape: &Arc<Shape>,
        event: &impl Event,
        render: impl Future<Output = Rendered>,
    ) -> Rendered {
        let is_alone = Arc::strong_count(shape) == 1;
        let place = event.place().filter(|_| !is_alone);
        let (Some(kept), Some(place)) = (&self.kept, place) else { return render.await };
        let same = (shape.number, place);
        let made = kept.get_or_insert_async(&same, async { Ok::<_, Infallible>(render.await) });
        made.await.unwrap_or(Rendered::Own)
    }

    /// What others were told of an event.
    pub(super) fn known(&self, shape: &Shape, event: &impl Event) -> Option<Arc<[u8]>> {
        match self.kept.as_ref()?.get(&(shape.number, event.place()?))? {
            Rendered::Shared(bytes) => Some(bytes),
            Rendered::Own => None,
        }
    }
}

/// An answer as bytes for everybody, if it is one for everybody.
pub(super) fn bytes_of(answer: &Response) -> Option<Arc<[u8]>> {
    if !answer.errors.is_empty() || !answer.extensions.is_empty() {
        return None;
    }
    let mut text = br#"{"data":"#.to_vec();
    serde_json::to_writer(&mut text, &answer.data).ok()?;
    text.push(b'}');
    (text.len() <= MOST_BYTES).then(|| text.into())
}
