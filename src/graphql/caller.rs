//! The one door to the schema, for HTTP and sockets alike: holds each request to its limits, puts the caller's session
//! into it, and gives every error its code.
//!
//! The schema is there twice. One validates everything, and an extension of the library notes which document has passed;
//! an extension makes the library look up every field of every answer, so it is on that one alone. The other executes what
//! has passed before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::parser::types::OperationType;
use async_graphql::{
    Data, Executor, Request, Response, SchemaBuilder, ServerError, ValidationMode, ValidationResult, Value,
};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::document::{Document, Documents, SharedRoot, Types};
use super::errors::{code_library_error, introspection_disabled, whole_request};
use super::limits::{OperationLimits, check_repeated};
use super::observed::Observed;
use super::room::VariablesRoom;
use super::session::Session;
use super::shared::{Answer, Event, Relay, Rendered, Shape, SharedAnswers, bytes_of, lock};
use super::{Schema, schema};
use crate::auth::Viewer;
use crate::config::GraphqlConfig;
use crate::service::error::Met;
use crate::service::limits::{FRAGMENT_LEVELS, REFUSAL_ERRORS};
use crate::service::rate::Rates;
use crate::service::watch::{Events, TaskChange, TaskEvent};
use crate::service::{Service, ServiceError};
use crate::telemetry::{RemoteSpan, spans};

/// When somebody is to try again who came while everything was busy.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A field that has to stop in time says more than we do: it gets so much longer to say it.
const GRACE: Duration = Duration::from_millis(100);

/// The schema over a service. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    /// Validates everything.
    strict: Schema,
    /// For what has passed validation.
    trusting: Schema,
    documents: Documents,
    answers: SharedAnswers,
    limits: OperationLimits,
    introspection: bool,
    operation_timeout: Duration,
    maintenance_time: Duration,
    slow_operation: Option<Duration>,
    rates: Rates,
    running: Semaphore,
    variables: VariablesRoom,
    service: Arc<Service>,
}

impl Api {
    /// The schema over this service, with these limits.
    #[must_use]
    pub fn new(service: Service, config: &GraphqlConfig) -> Self {
        let build = || {
            let builder = schema().limit_recursive_depth(FRAGMENT_LEVELS);
            if config.introspection { builder } else { without_introspection(builder) }
        };
        let strict = build().extension(NotePassed).finish();
        let documents = Documents::new(Types::of(&strict.sdl()), config.document_cache);
        let running = usize::try_from(config.max_concurrent_operations).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            trusting: build().validation_mode(ValidationMode::Fast).finish(),
            documents,
            answers: SharedAnswers::new(config.shared_answers),
            strict,
            limits: OperationLimits::new(config),
            introspection: config.introspection,
            operation_timeout: config.operation_timeout,
            maintenance_time: config.maintenance_time,
            slow_operation: config.slow_operation,
            rates: Rates::new(config),
            running: Semaphore::new(running.min(Semaphore::MAX_PERMITS)),
            variables: VariablesRoom::new(config.variables_memory),
            service: Arc::new(service),
        }))
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// The schema as this viewer may use it.
    #[must_use]
    pub fn caller(&self, viewer: Viewer) -> Caller {
        let session = Session::new(Arc::clone(&self.0.service), viewer);
        Caller { shared: Arc::clone(&self.0), session, is_admitted: false, remote: None }
    }

    /// What sort of operation a request asks for; none where it names one that its document does not have.
    pub fn operation_type(&self, request: &Request) -> Result<Option<OperationType>, ServerError> {
        let document = self.0.documents.get(&request.query, &self.0.limits)?;
        Ok(document.operation(request.operation_name.as_deref()).map(|operation| operation.ty))
    }
}

impl Shared {
    fn schema(&self, is_valid: bool) -> &Schema {
        if is_valid { &self.trusting } else { &self.strict }
    }

    /// What an event looks like; or why it cannot be told, with which its stream ends.
    async fn render<T: Event>(&self, shape: &Shape, event: Result<T, ServiceError>) -> Result<Response, Response> {
        self.service.telemetry().rendered_events.inc();
        let (document, deadline) = (&shape.document, Instant::now() + self.operation_timeout);
        let mut request = Request::new("").variables(shape.variables.clone());
        request.operation_name.clone_from(&shape.operation_name);
        request.set_parsed_query(document.copy());
        let is_valid = self.documents.is_valid(document, &shape.variables);
        let ends = event.is_err();
        let request = request.data(shape.session.until(deadline, self.operation_timeout)).data(Relay::Render(event));
        let mut answers = self.schema(is_valid).execute_stream(request);
        let Ok(Some(answer)) = timeout_at(deadline + GRACE, answers.next()).await else {
            return Err(refused(whole_request(ServiceError::timeout(self.operation_timeout))));
        };
        self.limits.check_answer(&answer.data).map_err(refused)?;
        if ends { Err(coded(answer)) } else { Ok(coded(answer)) }
    }

    /// The same, for all who have the same shape.
    async fn tell<T: Event>(&self, shape: &Arc<Shape>, event: T) -> Result<Answer, Response> {
        let mut mine = None;
        let render = async {
            let answer = self.render(shape, Ok(event.clone())).await;
            let rendered = answer.as_ref().ok().and_then(bytes_of).map_or(Rendered::Own, Rendered::Shared);
            mine = Some(answer);
            rendered
        };
        match self.answers.rendered(shape, &event, render).await {
            Rendered::Shared(bytes) => Ok(Answer::Shared(bytes)),
            Rendered::Own => match mine {
                Some(answer) => answer,
                None => self.render(shape, Ok(event)).await,
            }
            .map(own),
        }
    }
}

fn without_introspection<Q, M, S>(builder: SchemaBuilder<Q, M, S>) -> SchemaBuilder<Q, M, S> {
    builder.disable_introspection().disable_suggestions()
}

/// Executes the requests of one viewer.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
    session: Session,
    /// Its next operation has been counted.
    is_admitted: bool,
    /// Whose trace its operations belong to, where that is not the span around them.
    remote: Option<RemoteSpan>,
}

/// A request that may be executed.
struct Prepared {
    request: Request,
    document: Arc<Document>,
    ty: Option<OperationType>,
    /// Its document has passed validation, and would pass it again.
    is_valid: bool,
    deadline: Instant,
    /// How long that is.
    limit: Duration,
}

impl Caller {
    /// The caller of one operation that is counted now, before anything has been read of it; or why there may be none.
    pub fn admitted(self) -> Result<Self, ServerError> {
        self.shared.rates.admit_operation(&self.session.viewer).map_err(whole_request)?;
        Ok(Self { is_admitted: true, ..self })
    }

    /// The same, whose operations belong to this trace.
    #[must_use]
    pub fn within(self, remote: Option<RemoteSpan>) -> Self {
        Self { remote, ..self }
    }

    /// The request within its limits, with its document and its session; or why it is refused.
    fn prepare(&self, mut request: Request, observed: &mut Observed) -> Result<Prepared, ServerError> {
        let shared = &*self.shared;
        if !self.is_admitted {
            shared.rates.admit_operation(&self.session.viewer).map_err(whole_request)?;
        }
        shared.limits.check_variables(&request.variables)?;
        let document = shared.documents.get(&request.query, &shared.limits)?;
        // One that is not there is the library's to refuse.
        let operation = document.operation(request.operation_name.as_deref());
        observed.is(operation, std::mem::take(&mut request.query));
        if operation.is_some_and(|operation| operation.measure.introspects) && !shared.introspection {
            return Err(introspection_disabled());
        }
        if let Some(operation) = operation {
            check_repeated(document.repeated(operation, &request.variables))?;
            shared.documents.condense(&document, operation, &mut request.variables);
        }
        let cost = operation.map_or(1, |operation| shared.documents.cost(&document, operation, &request.variables));
        shared.limits.check_cost(cost)?;
        shared.rates.admit_cost(&self.session.viewer, cost).map_err(whole_request)?;
        let ty = operation.map(|operation| operation.ty);
        let is_valid = operation.is_some() && shared.documents.is_valid(&document, &request.variables);
        request.set_parsed_query(document.copy());
        let is_maintenance = operation.is_some_and(|operation| operation.is_maintenance);
        let limit = if is_maintenance { shared.maintenance_time } else { shared.operation_timeout };
        let deadline = Instant::now() + limit;
        let request = request.data(self.session.until(deadline, limit));
        let request = if is_valid { request } else { request.data(Arc::clone(&document)) };
        Ok(Prepared { request, document, ty, is_valid, deadline, limit })
    }

    async fn answer(&self, prepared: Prepared) -> Result<Response, ServerError> {
        let shared = &*self.shared;
        let Ok(_running) = shared.running.try_acquire() else {
            let max = shared.limits.concurrent_operations();
            let met = Met { limit: "concurrentOperations", max, value: max.saturating_add(1) };
            return Err(whole_request(ServiceError::too_many(met, RETRY_AFTER)));
        };
        let _room = shared.variables.take(&prepared.request.variables)?;
        let (schema, deadline, limit) = (shared.schema(prepared.is_valid), prepared.deadline + GRACE, prepared.limit);
        // Boxed, as the resolvers' verbs are: every layer around copies a future as large as all that may run in it.
        let answer = timeout_at(deadline, Box::pin(schema.execute(prepared.request))).await;
        let answer = answer.map_err(|_| whole_request(ServiceError::timeout(limit)))?;
        shared.limits.check_answer(&answer.data)?;
        Ok(coded(answer))
    }

    /// What will be told of an operation that begins now.
    fn observed(&self) -> Observed {
        let telemetry = self.shared.service.telemetry().clone();
        let span = spans::operation(self.remote.as_ref());
        Observed::new(telemetry, self.session.viewer.clone(), self.shared.slow_operation, span)
    }

    /// What comes of a request, one after the other; what many get alike, as bytes.
    #[must_use]
    pub fn answers(&self, request: Request) -> BoxStream<'static, Answer> {
        let mut observed = self.observed();
        let answers = match self.prepare(request, &mut observed) {
            Ok(prepared) => self.prepared_answers(prepared),
            Err(error) => stream::iter([own(refused(error))]).boxed(),
        };
        observed.watch(answers)
    }

    fn prepared_answers(&self, prepared: Prepared) -> BoxStream<'static, Answer> {
        let operation = prepared.document.operation(prepared.request.operation_name.as_deref());
        match operation.and_then(|operation| operation.shares.as_ref()).map(|shares| shares.root) {
            Some(SharedRoot::TaskEvents) => self.shared_answers::<TaskEvent>(prepared),
            Some(SharedRoot::TaskChanged) => self.shared_answers::<TaskChange>(prepared),
            None => self.responses(prepared, Arc::default()).map(own).boxed(),
        }
    }

    fn shared_answers<T: Event>(&self, mut prepared: Prepared) -> BoxStream<'static, Answer> {
        let request = &prepared.request;
        // Without what it is executed with, to which only the library holds on.
        let mut plain = Request::new("").variables(request.variables.clone());
        plain.operation_name.clone_from(&request.operation_name);
        let (caller, document, slot) = (self.clone(), Arc::clone(&prepared.document), Arc::default());
        prepared.request = prepared.request.data(Relay::<T>::HandOver(Arc::clone(&slot)));
        let answers = self.responses(prepared, Arc::default());
        let starting = Starting { answers, slot, caller, document, request: plain };
        stream::unfold(Sharing::Starting(Box::new(starting)), Sharing::next).boxed()
    }

    fn responses(&self, prepared: Prepared, session_data: Arc<Data>) -> BoxStream<'static, Response> {
        if prepared.ty != Some(OperationType::Subscription) {
            let caller = self.clone();
            return stream::once(async move { caller.answer(prepared).await.unwrap_or_else(refused) }).boxed();
        }
        let schema = self.shared.schema(prepared.is_valid);
        let answers = schema.execute_stream_with_session_data(prepared.request, session_data);
        let state = Some((answers, Arc::clone(&self.shared)));
        // It ends with the answer that was too long, not when there would be another.
        let bounded = stream::unfold(state, async |state| {
            let (mut answers, shared) = state?;
            let answer = answers.next().await?;
            match shared.limits.check_answer(&answer.data) {
                Ok(()) => Some((coded(answer), Some((answers, shared)))),
                Err(error) => Some((refused(error), None)),
            }
        });
        bounded.boxed()
    }
}

impl Executor for Caller {
    async fn execute(&self, request: Request) -> Response {
        let mut observed = self.observed();
        let answer = match self.prepare(request, &mut observed) {
            Ok(prepared) => self.answer(prepared).instrument(observed.span().clone()).await,
            Err(refused) => Err(refused),
        };
        let answer = answer.unwrap_or_else(refused);
        observed.answered(&answer.errors);
        answer
    }

    fn execute_stream(&self, request: Request, session_data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        match self.prepare(request, &mut self.observed()) {
            Ok(prepared) => self.responses(prepared, session_data.unwrap_or_default()),
            Err(error) => stream::iter([refused(error)]).boxed(),
        }
    }
}

/// A subscription whose events may be shared.
enum Sharing<T> {
    Starting(Box<Starting<T>>),
    Telling(Telling<T>),
    Over,
}

/// The library starts it, as every operation; what it says meanwhile is the client's own.
struct Starting<T> {
    answers: BoxStream<'static, Response>,
    slot: Arc<Mutex<Option<Events<T>>>>,
    caller: Caller,
    document: Arc<Document>,
    request: Request,
}

/// The library has started it and is gone; its events are told by us.
struct Telling<T> {
    api: Arc<Shared>,
    shape: Arc<Shape>,
    events: BoxStream<'static, Result<T, ServiceError>>,
}

impl<T: Event> Sharing<T> {
    async fn next(self) -> Option<(Answer, Self)> {
        let mut telling = match self {
            Self::Starting(mut starting) => match starting.answers.next().await {
                Some(answer) => return Some((own(answer), Self::Starting(starting))),
                None => starting.started()?,
            },
            Self::Telling(telling) => telling,
            Self::Over => return None,
        };
        let Telling { api, shape, events } = &mut telling;
        let told = match events.next().await? {
            Ok(event) => {
                if let Some(bytes) = api.answers.known(shape, &event) {
                    Ok(Answer::Shared(bytes))
                } else {
                    let (api, shape) = (Arc::clone(api), Arc::clone(shape));
                    match by_itself(async move { api.tell(&shape, event).await }.boxed()).await {
                        Ok(told) => told,
                        Err(error) => Err(refused(whole_request(ServiceError::internal(&error)))),
                    }
                }
            }
            Err(error) => Box::pin(api.render::<T>(shape, Err(error))).await.map(own),
        };
        Some(match told {
            Ok(answer) => (answer, Self::Telling(telling)),
            Err(last) => (own(last), Self::Over),
        })
    }
}

impl<T> Starting<T> {
    /// Nothing where it was refused, or was not given away.
    fn started(self: Box<Self>) -> Option<Telling<T>> {
        let Self { slot, caller: Caller { shared: api, session, .. }, document, request, .. } = *self;
        let Events { user_id, events } = lock(&slot).take()?;
        let shares = document.operation(request.operation_name.as_deref())?.shares.as_ref()?;
        let shape = api.answers.shape(&document, &shares.inner_variables, &request, &session, user_id?);
        Some(Telling { api, shape, events })
    }
}

/// Runs what others may wait for: what takes time must not depend on the turns of who asked first, who may also go away.
async fn by_itself<T: Send + 'static>(mut work: BoxFuture<'static, T>) -> Result<T, JoinError> {
    match work.as_mut().now_or_never() {
        Some(done) => Ok(done),
        None => tokio::spawn(work).await,
    }
}

fn own(answer: Response) -> Answer {
    Answer::Own(Box::new(answer))
}

fn refused(error: ServerError) -> Response {
    Response::from_errors(vec![error])
}

fn coded(mut response: Response) -> Response {
    // The library finds as many as there are: nobody reads more.
    if response.data == Value::Null {
        response.errors.truncate(REFUSAL_ERRORS);
    }
    response.errors.iter_mut().for_each(code_library_error);
    response
}

/// Notes which documents have passed validation.
struct NotePassed;

impl ExtensionFactory for NotePassed {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for NotePassed {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let result = next.run(ctx).await;
        if result.is_ok()
            && let Some(document) = ctx.data_opt::<Arc<Document>>()
        {
            document.has_passed();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// What a function's future takes.
    fn size<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_subscription_at_rest_is_small() {
        // Ten thousand wait like this: what is executed now and then is not kept room for.
        assert!(size(Sharing::<TaskEvent>::next) <= 1024, "{}", size(Sharing::<TaskEvent>::next));
        assert!(size(Sharing::<TaskChange>::next) <= 1024, "{}", size(Sharing::<TaskChange>::next));
    }

    #[tokio::test]
    async fn what_others_wait_for_goes_on_when_nobody_asks() {
        let (begin, waits) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = async move {
            let _ = waits.await;
            let _ = end.send(7);
        };
        let mut work = Box::pin(by_itself(work.boxed()));
        assert!(work.as_mut().now_or_never().is_none());
        // From here on nobody asks.
        begin.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
        assert!(work.await.is_ok());
    }
}
