//! The one door to the schema, for HTTP and sockets alike: holds each request to its limits, puts the caller's session
//! into it, and gives every error its code.
//!
//! The schema is there twice. One validates everything, and an extension of the library notes which document has passed;
//! an extension makes the library look up every field of every answer, so it is on that one alone. The other executes what
//! has passed before.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Executor, Request, Response, SchemaBuilder, ServerError, ValidationMode, ValidationResult};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::document::{Document, Documents, Types};
use super::errors::{code_library_error, introspection_disabled, whole_request};
use super::limits::OperationLimits;
use super::session::Session;
use super::{Schema, schema};
use crate::auth::Viewer;
use crate::config::GraphqlConfig;
use crate::service::limits::FRAGMENT_LEVELS;
use crate::service::rate::Rates;
use crate::service::{Service, ServiceError};

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
    limits: OperationLimits,
    introspection: bool,
    operation_timeout: Duration,
    maintenance_time: Duration,
    rates: Rates,
    running: Semaphore,
    service: Service,
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
            strict,
            limits: OperationLimits::new(config),
            introspection: config.introspection,
            operation_timeout: config.operation_timeout,
            maintenance_time: config.maintenance_time,
            rates: Rates::new(config),
            running: Semaphore::new(running.min(Semaphore::MAX_PERMITS)),
            service,
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
        let session = Session::new(self.0.service.clone(), viewer);
        Caller { shared: Arc::clone(&self.0), session, is_admitted: false }
    }

    /// What sort of operation a request asks for; none where it names one that its document does not have.
    pub fn operation_type(&self, request: &Request) -> Result<Option<OperationType>, ServerError> {
        self.0.operation_type(request)
    }
}

impl Shared {
    fn operation_type(&self, request: &Request) -> Result<Option<OperationType>, ServerError> {
        let document = self.documents.get(&request.query, &self.limits)?;
        Ok(document.operation(request.operation_name.as_deref()).map(|operation| operation.ty))
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
}

/// A request that may be executed.
struct Prepared {
    request: Request,
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

    /// What sort of operation a request asks for; none where it names one that its document does not have.
    pub fn operation_type(&self, request: &Request) -> Result<Option<OperationType>, ServerError> {
        self.shared.operation_type(request)
    }

    /// The request within its limits, with its document and its session; or why it is refused.
    fn prepare(&self, mut request: Request) -> Result<Prepared, ServerError> {
        let shared = &*self.shared;
        if !self.is_admitted {
            shared.rates.admit_operation(&self.session.viewer).map_err(whole_request)?;
        }
        shared.limits.check_variables(&request.variables)?;
        let document = shared.documents.get(&request.query, &shared.limits)?;
        // One that is not there is the library's to refuse.
        let operation = document.operation(request.operation_name.as_deref());
        if operation.is_some_and(|operation| operation.measure.introspects) && !shared.introspection {
            return Err(introspection_disabled());
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
        let request = if is_valid { request } else { request.data(document) };
        Ok(Prepared { request, ty, is_valid, deadline, limit })
    }

    fn schema(&self, prepared: &Prepared) -> &Schema {
        if prepared.is_valid { &self.shared.trusting } else { &self.shared.strict }
    }

    async fn answer(&self, prepared: Prepared) -> Result<Response, ServerError> {
        let shared = &*self.shared;
        let Ok(_running) = shared.running.try_acquire() else {
            return Err(whole_request(ServiceError::overloaded(RETRY_AFTER)));
        };
        let (schema, deadline, limit) = (self.schema(&prepared), prepared.deadline + GRACE, prepared.limit);
        // Boxed, as the resolvers' verbs are: every layer around copies a future as large as all that may run in it.
        let answer = timeout_at(deadline, Box::pin(schema.execute(prepared.request))).await;
        let answer = answer.map_err(|_| whole_request(ServiceError::timeout(limit)))?;
        shared.limits.check_answer(&answer.data)?;
        Ok(coded(answer))
    }
}

impl Executor for Caller {
    async fn execute(&self, request: Request) -> Response {
        let answer = match self.prepare(request) {
            Ok(prepared) => self.answer(prepared).await,
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(refused)
    }

    fn execute_stream(&self, request: Request, session_data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let prepared = match self.prepare(request) {
            Ok(prepared) => prepared,
            Err(error) => return stream::iter([refused(error)]).boxed(),
        };
        if prepared.ty != Some(OperationType::Subscription) {
            let caller = self.clone();
            return stream::once(async move { caller.answer(prepared).await.unwrap_or_else(refused) }).boxed();
        }
        let shared = Arc::clone(&self.shared);
        let answers =
            self.schema(&prepared).execute_stream_with_session_data(prepared.request, session_data.unwrap_or_default());
        // What is behind an answer that is refused is dropped with it: nobody waits for another event to hear of the end.
        let bounded = stream::unfold(Some(answers), move |answers| {
            let shared = Arc::clone(&shared);
            async move {
                let mut answers = answers?;
                let answer = coded(answers.next().await?);
                Some(match shared.limits.check_answer(&answer.data) {
                    Ok(()) => (answer, Some(answers)),
                    Err(error) => (refused(error), None),
                })
            }
        });
        bounded.boxed()
    }
}

fn refused(error: ServerError) -> Response {
    Response::from_errors(vec![error])
}

fn coded(mut response: Response) -> Response {
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
