//! Which names, tags and error codes there are among the latest tasks: what a filter's menus offer.

use super::{Scope, Store, StoreError};

/// How many tasks the facets are of.
pub const FACETED: u64 = 10_000;

/// A value, and how many tasks have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetValue {
    /// As the tasks have it.
    pub value: String,
    /// How many of them.
    pub count: i64,
}

/// The values of the latest tasks, each list most frequent first and then by value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFacets {
    /// Of `name`.
    pub names: Vec<FacetValue>,
    /// Of `tags`.
    pub tags: Vec<FacetValue>,
    /// Of `error_code`.
    pub error_codes: Vec<FacetValue>,
}

impl Store {
    /// The facets of the 10,000 tasks that changed last: of each kind at most `limit` values that begin with `prefix`.
    pub async fn task_facets(&self, scope: &Scope, prefix: &str, limit: u64) -> Result<TaskFacets, StoreError> {
        let mut values = vec![prefix.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
        let (whose, order) = match scope {
            Scope::User(user_id) => {
                values.push(user_id.as_str().into());
                ("WHERE user_id = $3", "position DESC")
            }
            Scope::Everyone => ("", "updated_at DESC, user_id DESC, task_id DESC"),
        };
        let sql = format!(
            "WITH latest AS MATERIALIZED (
                -- LIMIT 1 keeps the planner from reading all of a large `task` for these.
                SELECT t.* FROM (SELECT user_id, task_id FROM task_order {whose} ORDER BY {order} LIMIT {FACETED}) o
                CROSS JOIN LATERAL (SELECT name, tags, error_code FROM task
                                    WHERE user_id = o.user_id AND task_id = o.task_id LIMIT 1) t
            ), counted AS (
                SELECT kind, value, count(*) AS count,
                       row_number() OVER (PARTITION BY kind ORDER BY count(*) DESC, value COLLATE \"C\") AS place
                FROM (
                    SELECT 'name' AS kind, name AS value FROM latest
                    UNION ALL SELECT 'tag', unnest(tags) FROM latest
                    UNION ALL SELECT 'error_code', error_code FROM latest
                ) all_values
                WHERE value <> '' AND starts_with(value, $1)
                GROUP BY kind, value
            )
            SELECT kind, value, count FROM counted WHERE place <= $2 ORDER BY kind, place"
        );
        let mut facets = TaskFacets::default();
        for row in &self.query_all(&sql, values).await? {
            let value = FacetValue { value: row.try_get("", "value")?, count: row.try_get("", "count")? };
            match row.try_get::<String>("", "kind")?.as_str() {
                "name" => facets.names.push(value),
                "tag" => facets.tags.push(value),
                _ => facets.error_codes.push(value),
            }
        }
        Ok(facets)
    }
}
