//! The library's answers beside those of graphql-js (`tests/graphql-js/`): nulls where the specification puts them, keys
//! in the order asked, defaults. It decides which version of the library we use (`docs/adr/0001-async-graphql-8.md`).

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use async_graphql::{EmptySubscription, Object, Request, Response, Schema, Variables};
use serde::Deserialize;

use super::defaults::{CountLimit, OrDefault};
use super::document::{Types, merge::merge};
use super::errors::{Answer, ApiError, code_library_error};
use crate::service::ServiceError;

const ANSWERS: &str = include_str!("../../tests/graphql-js/answers.json");

/// Where we knowingly differ; each with its reason in the ADR.
const KNOWN_DIFFERENCES: [&str; 1] = ["or the list where entries are non-null"];

#[derive(Deserialize)]
struct Reference {
    answers: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    about: String,
    source: String,
    operation_name: Option<String>,
    answer: Option<String>,
    #[serde(default)]
    paths: Vec<Option<String>>,
}

fn failed<T>() -> Result<T, ApiError> {
    Err(ServiceError::bad_input("nothing", "failed").into())
}

struct Query;
struct Mutation(AtomicI32);
struct Child(&'static str, bool);

#[Object]
impl Query {
    async fn quick(&self) -> Option<&str> {
        Some("quick")
    }
    async fn slow(&self) -> Option<&str> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some("slow")
    }
    async fn failing(&self) -> Answer<&str> {
        Some(failed())
    }
    async fn strict(&self) -> Result<&str, ApiError> {
        failed()
    }
    async fn child(&self) -> Answer<Child> {
        Some(Ok(Child("child", true)))
    }
    async fn must(&self) -> Child {
        Child("must", true)
    }
    async fn children(&self) -> Option<Vec<Answer<Child>>> {
        Some(vec![Some(Ok(Child("first", false))), Some(Ok(Child("second", true)))])
    }
    async fn strict_children(&self) -> Answer<Vec<Child>> {
        Some(Ok(vec![Child("first", false), Child("second", true)]))
    }
    async fn limit(
        &self,
        #[graphql(default_with = "OrDefault::default()")] limit: OrDefault<CountLimit>,
    ) -> Option<i32> {
        Some(limit.get())
    }
    /// The wrong way round, which no resolver of ours uses.
    async fn wrong(&self) -> Result<Option<&str>, ApiError> {
        failed()
    }
}

#[Object]
impl Child {
    async fn name(&self) -> Option<&str> {
        Some(self.0)
    }
    async fn failing(&self) -> Answer<&str> {
        Some(failed())
    }
    async fn strict(&self) -> Result<&str, ApiError> {
        if self.1 { failed() } else { Ok("there") }
    }
}

#[Object]
impl Mutation {
    async fn bump(&self) -> Option<i32> {
        Some(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    async fn failing(&self) -> Answer<&str> {
        Some(failed())
    }
}

async fn ask(source: &str, operation_name: Option<String>) -> Response {
    let schema = Schema::build(Query, Mutation(AtomicI32::new(0)), EmptySubscription).finish();
    let mut request = Request::new(source).variables(Variables::default());
    if let Ok(document) = request.parsed_query()
        && let Ok(merged) = merge(document, &Types::of(&schema.sdl()))
    {
        request.set_parsed_query(merged);
    }
    request.operation_name = operation_name;
    schema.execute(request).await
}

/// As the reference has it: `data`, none for a request that was refused whole, and the sorted paths of the errors.
fn told(response: &Response) -> (Option<String>, Vec<Option<String>>) {
    let refused = !response.errors.is_empty() && response.errors.iter().all(|error| error.path.is_empty());
    let data = (!refused).then(|| serde_json::to_string(&response.data).unwrap_or_default());
    let path = |path: &Vec<_>| (!path.is_empty()).then(|| serde_json::to_string(path).unwrap_or_default());
    let mut paths: Vec<_> = response.errors.iter().map(|error| path(&error.path)).collect();
    paths.sort();
    (data, paths)
}

#[tokio::test]
async fn our_answers_are_those_of_graphql_js() {
    let reference: Reference = serde_json::from_str(ANSWERS).unwrap();
    assert!(reference.answers.len() >= 20);
    for case in reference.answers {
        let response = ask(&case.source, case.operation_name).await;
        let same = told(&response) == (case.answer.clone(), case.paths.clone());
        let known = KNOWN_DIFFERENCES.contains(&case.about.as_str());
        assert!(same != known, "{}: {:?}, graphql-js {:?} {:?}", case.about, told(&response), case.answer, case.paths);
    }
}

#[tokio::test]
async fn a_result_outside_an_option_would_null_the_parent() {
    assert_eq!(told(&ask("{ quick wrong }", None).await).0.as_deref(), Some("null"));
}

#[tokio::test]
async fn what_the_library_refuses_has_a_code() {
    let deep = format!("{{ {} name {} }}", "child { ".repeat(40), "}".repeat(40));
    for (source, operation, code) in [
        ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("{ limit(limit: \"1\") }", None, "BAD_USER_INPUT"),
        ("{ limit(limit: 3000000000) }", None, "BAD_USER_INPUT"),
        ("query A { quick }", Some("B"), "OPERATION_RESOLUTION_FAILURE"),
        ("query A { quick } query B { quick }", None, "OPERATION_RESOLUTION_FAILURE"),
        (&deep, None, "LIMIT_EXCEEDED"),
    ] {
        let mut response = ask(source, operation.map(str::to_owned)).await;
        let error = response.errors.first_mut().expect(source);
        code_library_error(error);
        let told = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
        assert_eq!(told, Some(&code.into()), "{source}: {error:?}");
    }
}
