//! A request's query string or body becomes GraphQL's request.
//!
//! A mutation comes by POST with `application/json` alone: anything else a web page can send without being asked first.

use async_graphql::parser::types::OperationType;
use async_graphql::{Extensions, Request, Variables};
use axum::body::Body;
use axum::extract::Query;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt as _;
use serde::Deserialize;

use super::answer::Refusal;
use super::persisted::{self, DOCUMENT_ID, Persisted};
use crate::graphql::Api;

/// What a body may hold, or the payload of a `subscribe`. What else it holds is ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Params {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Variables>,
    extensions: Option<Extensions>,
    document_id: Option<String>,
}

impl Params {
    /// The request, with its document: the one that came along, or the one that it asks for by name.
    pub(super) fn into_request(self, persisted: &Persisted) -> Result<Request, Refusal> {
        let mut request = self.unresolved().unwrap_or_else(|| Request::new(""));
        if request.query.trim().is_empty() && !persisted::is_asked(&request) {
            return Err(Refusal::bad_request("There is no `query` in the request.").with("field", "query"));
        }
        persisted.resolve(&mut request).map_err(Refusal::of)?;
        Ok(request)
    }

    /// The request as it came: nothing must be executed before [`Persisted::resolve`] has seen it. None where it neither
    /// brings its document nor names it.
    pub(super) fn unresolved(self) -> Option<Request> {
        let has_query = self.query.is_some();
        let mut request = Request::new(self.query.unwrap_or_default()).variables(self.variables.unwrap_or_default());
        request.operation_name = self.operation_name.filter(|name| !name.is_empty());
        request.extensions = self.extensions.unwrap_or_default();
        if let Some(id) = self.document_id.filter(|id| !id.is_empty()) {
            request.extensions.insert(DOCUMENT_ID.into(), id.into());
        }
        (has_query || persisted::is_asked(&request)).then_some(request)
    }
}

/// What a query string may hold: an empty value is none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Got {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
    document_id: Option<String>,
}

/// A request, and what sort of operation it asks for: none where its document has no such one.
pub(super) type Asked = (Request, Option<OperationType>);

/// Of a GET: a query, never a mutation.
pub(super) fn from_query_string(uri: &Uri, persisted: &Persisted, api: &Api) -> Result<Asked, Refusal> {
    let Query(got) = Query::<Got>::try_from_uri(uri)
        .map_err(|error| Refusal::bad_request(format!("The query string cannot be read: {error}")))?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let params = Params {
        query: given(got.query),
        operation_name: given(got.operation_name),
        variables: parse("variables", given(got.variables))?,
        extensions: parse("extensions", given(got.extensions))?,
        document_id: got.document_id,
    };
    let request = params.into_request(persisted)?;
    match api.operation_type(&request).map_err(Refusal::of)? {
        Some(OperationType::Mutation) => {
            Err(Refusal::method_not_allowed("POST", "A mutation is sent by POST, with application/json."))
        }
        operation => Ok((request, operation)),
    }
}

/// Of a POST.
pub(super) async fn from_body(
    request: axum::extract::Request,
    limit: u64,
    persisted: &Persisted,
    api: &Api,
) -> Result<Asked, Refusal> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BAD_USER_INPUT",
            "The request's Content-Type must be application/json.",
        ));
    }
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BAD_USER_INPUT",
            "Bodies are taken as they are, without a Content-Encoding.",
        ));
    }
    let body = read(&parts.headers, body, limit).await?;
    // Without this an array would be taken for the fields in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Refusal::bad_request("The body must be one JSON object with a `query`; batches are not taken."));
    }
    let params: Params = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(format!("The body is not a GraphQL request in JSON: {error}")))?;
    let request = params.into_request(persisted)?;
    // A document that cannot be read is refused here: it is not kept, and would only be read once more.
    let operation = api.operation_type(&request).map_err(Refusal::of)?;
    Ok((request, operation))
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, text: Option<String>) -> Result<Option<T>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(&text).map_err(|error| {
        Refusal::bad_request(format!("`{name}` is not an object in JSON: {error}")).with("field", name)
    })
}

/// The body, as far as this caller may send one. The length that it announces is enough to be refused.
async fn read(headers: &HeaderMap, mut body: Body, limit: u64) -> Result<Vec<u8>, Refusal> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(told) = told.filter(|told| *told > limit) {
        return Err(too_large(limit, told));
    }
    // A client may announce much and send nothing: room is made as it comes.
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = u64::try_from(read.len() + data.len()).unwrap_or(u64::MAX);
        if length > limit {
            return Err(too_large(limit, length));
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

fn too_large(limit: u64, value: u64) -> Refusal {
    let message = format!(
        "The body is larger than the {limit} bytes that this caller may send at once. Send fewer records, or shorter ones."
    );
    let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED", message);
    refusal.with("limit", "body").with("max", limit).with("value", value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    // Text in any other encoding would be read as UTF-8.
    is_json && parts.all(|part| !part.to_ascii_lowercase().starts_with("charset=") || is_utf8(part))
}

fn is_utf8(charset: &str) -> bool {
    let name = charset.get("charset=".len()..).unwrap_or_default().trim_matches('"');
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}
