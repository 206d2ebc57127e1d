//! `TaskFacets`: values for a filter's menus.

use async_graphql::SimpleObject;

use super::int;
use crate::service;

/// What the latest tasks are called, tagged with and fail by: values for a filter's menus, most frequent first.
#[derive(SimpleObject)]
pub(crate) struct TaskFacets {
    /// Their names; tasks without one count nowhere.
    names: Vec<FacetValue>,
    /// Their tags; a task counts for each of its own.
    tags: Vec<FacetValue>,
    /// The error codes that they stand at now.
    error_codes: Vec<FacetValue>,
}

/// One value of a menu.
#[derive(SimpleObject)]
pub(crate) struct FacetValue {
    /// As a filter takes it.
    value: String,
    /// How many of the latest tasks have it.
    count: i32,
}

impl From<service::TaskFacets> for TaskFacets {
    fn from(facets: service::TaskFacets) -> Self {
        let list = |values: Vec<service::FacetValue>| {
            values.into_iter().map(|facet| FacetValue { value: facet.value, count: int(facet.count) }).collect()
        };
        Self { names: list(facets.names), tags: list(facets.tags), error_codes: list(facets.error_codes) }
    }
}
