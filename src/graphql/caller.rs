//! The one door to the schema, for HTTP and sockets alike: puts the caller's session into each request and gives every
//! error its code.
//!
//! Not an extension of the library: one extension alone makes it look up every field of every answer.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Executor, Request, Response, ServerError};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::document::{Stop, Types, merge};
use super::errors::{code_library_error, code_parse_error, too_many_selections};
use super::session::Session;
use super::{Schema, schema};
use crate::auth::Viewer;
use crate::service::Service;

/// The schema over a service. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    schema: Schema,
    types: Arc<Types>,
    service: Service,
}

impl Api {
    /// The schema over this service.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let schema = schema();
        let types = Arc::new(Types::of(&schema.sdl()));
        Self { schema, types, service }
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The schema as this viewer may use it.
    #[must_use]
    pub fn caller(&self, viewer: Viewer) -> Caller {
        Caller {
            schema: self.schema.clone(),
            types: Arc::clone(&self.types),
            session: Session::new(self.service.clone(), viewer),
        }
    }
}

/// What sort of operation a request asks for; none where it names one that its document does not have.
pub fn operation_type(request: &mut Request) -> Result<Option<OperationType>, ServerError> {
    let name = request.operation_name.clone();
    let document = request.parsed_query().map_err(|mut error| {
        code_parse_error(&mut error);
        error
    })?;
    let asked = document.operations.iter().find(|(known, _)| match (&name, known) {
        (Some(name), Some(known)) => known.as_str() == name,
        (Some(_), None) => false,
        (None, _) => true,
    });
    Ok(asked.map(|(_, operation)| operation.node.ty))
}

/// Executes the requests of one viewer.
#[derive(Clone)]
pub struct Caller {
    schema: Schema,
    types: Arc<Types>,
    session: Session,
}

impl Caller {
    /// The request, parsed, each key asked for once, and with its session; or the answer to what does not parse.
    fn prepare(&self, mut request: Request) -> Result<Request, Box<Response>> {
        let refused = |error| Box::new(Response::from_errors(vec![error]));
        let document = request.parsed_query().map_err(|mut error| {
            code_parse_error(&mut error);
            refused(error)
        })?;
        match merge(document, &self.types) {
            Ok(merged) => request.set_parsed_query(merged),
            Err(Stop::TooDeep) => {}
            Err(Stop::TooLarge) => return Err(refused(too_many_selections())),
        }
        Ok(request.data(self.session.clone()))
    }
}

impl Executor for Caller {
    async fn execute(&self, request: Request) -> Response {
        match self.prepare(request) {
            Ok(request) => coded(self.schema.execute(request).await),
            Err(refused) => *refused,
        }
    }

    fn execute_stream(&self, request: Request, session_data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        match self.prepare(request) {
            Ok(request) => {
                let answers = self.schema.execute_stream_with_session_data(request, session_data.unwrap_or_default());
                answers.map(coded).boxed()
            }
            Err(refused) => stream::iter([*refused]).boxed(),
        }
    }
}

fn coded(mut response: Response) -> Response {
    response.errors.iter_mut().for_each(code_library_error);
    response
}
