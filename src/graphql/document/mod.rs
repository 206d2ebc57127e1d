//! Documents, before they are executed: read, measured, and with each key asked for once; kept, so that this is done once
//! for a document and not once for a request.
//!
//! - [`Documents`]: the cache · [`Document`]: one document, and whether it has passed validation · `merge`: each key once
//! - `measure`, `cost`: how large it is · `tokens`: how long and how nested, before it is read · `variables`: what may differ each time, and
//!   how much of it is kept
//! - `shown`: what the log shows of one · `types`: what all of this has to know of the schema
//!
//! A kept document behaves like a fresh one: what validation says depends on the document alone, but for the variables,
//! and these are looked at each time. To add a measure: a field of [`Measure`], and its limit in `graphql/limits.rs`.

mod cost;
mod measure;
pub(super) mod merge;
mod shown;
mod tokens;
mod types;
mod variables;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
};
use async_graphql::{Name, ServerError, Value, Variables};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

pub(crate) use measure::Measure;
pub(crate) use shown::shown;
pub(crate) use tokens::Extent;
pub(crate) use types::Types;

use super::errors::{code_parse_error, several_subscriptions, too_deep, too_many_selections};
use super::limits::{self, OperationLimits};
use crate::telemetry::{self, Name as Label, Root};
use measure::{Measurer, TooDeep, root_names};
use merge::{MOST_SELECTIONS, Stop};
use variables::Place;

/// What a kept document is taken to weigh for each byte of its text. An estimate on the safe side, not a measurement.
const WEIGHT: u64 = 40;
/// Mutations that may take `--maintenance-time`: their statements go over sessions of their own, which `--command-timeout`
/// and `--statement-timeout` do not bound.
const MAINTENANCE: [&str; 3] = ["cleanupOldTasks", "optimizeStorage", "eraseUser"];
/// How many documents the cache makes room for at first.
const DOCUMENTS: usize = 1_000;

/// The documents that were read before, by their text.
pub(crate) struct Documents {
    types: Types,
    kept: Option<Cache<String, Arc<Document>, ByText>>,
}

#[derive(Clone)]
struct ByText;

impl Weighter<String, Arc<Document>> for ByText {
    fn weight(&self, text: &String, _: &Arc<Document>) -> u64 {
        u64::try_from(text.len()).unwrap_or(u64::MAX / WEIGHT).saturating_add(32).saturating_mul(WEIGHT)
    }
}

/// A document that can be read and is not too large.
pub(crate) struct Document {
    merged: ExecutableDocument,
    operations: Vec<Arc<Operation>>,
    places: Vec<Place>,
    /// Variables that are used more than once, and how often.
    repeated: Vec<(Name, u64)>,
    is_valid: AtomicBool,
}

/// One of a document's operations.
pub(crate) struct Operation {
    pub(crate) name: Option<String>,
    /// What metrics call it.
    pub(crate) label: telemetry::Operation,
    pub(crate) ty: OperationType,
    pub(crate) measure: Measure,
    /// Maintenance and nothing else, which may take its time.
    pub(crate) is_maintenance: bool,
    /// What it costs, where that does not depend on variables.
    cost: Option<u64>,
    /// That its events may be shared.
    pub(crate) shares: Option<Shares>,
}

/// An operation whose events may be shared.
pub(crate) struct Shares {
    pub(crate) root: SharedRoot,
    /// By all for whom these variables have the same values.
    pub(crate) inner_variables: Box<[Name]>,
}

/// Which field is at its root.
#[derive(Clone, Copy)]
pub(crate) enum SharedRoot {
    TaskEvents,
    TaskChanged,
}

impl Documents {
    /// Room for documents of a schema; 0 bytes keep none.
    pub(crate) fn new(types: Types, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self { types, kept: (bytes > 0).then(|| Cache::with_weighter(DOCUMENTS, bytes, ByText)) }
    }

    /// The document of this text: kept, or read now.
    pub(crate) fn get(&self, text: &str, limits: &OperationLimits) -> Result<Arc<Document>, ServerError> {
        if let Some(known) = self.kept.as_ref().and_then(|kept| kept.get(text)) {
            return Ok(known);
        }
        limits.check_text(text.len(), |most| tokens::extent(text, most))?;
        let document = Arc::new(Document::read(text, limits, &self.types)?);
        if let Some(kept) = &self.kept {
            kept.insert(text.to_owned(), Arc::clone(&document));
        }
        Ok(document)
    }

    /// Whether this document would certainly pass validation with these variables.
    pub(crate) fn is_valid(&self, document: &Document, variables: &Variables) -> bool {
        document.is_valid.load(Ordering::Relaxed) && variables::fit(&document.places, variables, &self.types)
    }

    /// Makes the variables take no more memory than they have to, as long as the operation goes on.
    pub(crate) fn condense(&self, document: &Document, operation: &Operation, variables: &mut Variables) {
        if let Some(definition) = document.definition(operation) {
            variables::condense(definition, variables, &self.types);
        }
    }

    /// What an operation costs with these variables.
    pub(crate) fn cost(&self, document: &Document, operation: &Operation, variables: &Variables) -> u64 {
        operation.cost.unwrap_or_else(|| {
            document
                .definition(operation)
                .map_or(0, |definition| cost::of(definition, &document.merged.fragments, &self.types, variables))
        })
    }
}

impl Document {
    fn read(text: &str, limits: &OperationLimits, types: &Types) -> Result<Self, ServerError> {
        let parsed = parse_query(text).map_err(|error| {
            let mut error = ServerError::from(error);
            code_parse_error(&mut error, limits.depth());
            error
        })?;
        let measures = measure(&parsed).map_err(|TooDeep| too_deep(limits.depth(), merge::MOST_LEVELS + 1))?;
        let selections = measures.iter().map(|measure| measure.selections).fold(0, u64::saturating_add);
        if selections > MOST_SELECTIONS as u64 {
            return Err(too_many_selections(MOST_SELECTIONS, selections));
        }
        limits::check_arguments(measures.iter().map(|measure| measure.argument_bytes))?;
        measures.iter().try_for_each(|measure| limits.check(measure))?;
        variables::check_defaults(&parsed, types)?;
        let mut merged = match merge::merge(&parsed, types) {
            Ok(merged) => merged,
            Err(Stop::TooDeep) => return Err(too_deep(limits.depth(), merge::MOST_LEVELS + 1)),
            Err(Stop::TooLarge) => return Err(too_many_selections(MOST_SELECTIONS, MOST_SELECTIONS as u64 + 1)),
        };
        // Lists grow by doubling, and this one stays.
        shrink(&mut merged);
        check_subscriptions(&merged)?;
        let places = variables::places(&merged, types);
        let operations = parsed.operations.iter().zip(&measures).map(|((name, operation), measure)| {
            let mut operation = Operation {
                name: name.map(ToString::to_string),
                label: label(&parsed, &operation.node, types),
                ty: operation.node.ty,
                measure: *measure,
                is_maintenance: is_maintenance(&parsed, &operation.node),
                cost: None,
                shares: None,
            };
            operation.shares = definition(&merged, &operation).and_then(|definition| shares(&merged, definition));
            if places.is_empty() {
                let definition = definition(&merged, &operation);
                let none = Variables::default();
                operation.cost = definition.map(|definition| cost::of(definition, &merged.fragments, types, &none));
            }
            Arc::new(operation)
        });
        let operations = operations.collect();
        let repeated = variables::repeated(&places);
        Ok(Self { operations, places, repeated, merged, is_valid: AtomicBool::new(false) })
    }

    /// The operation that is meant; none where the library will say that there is no such one.
    pub(crate) fn operation(&self, name: Option<&str>) -> Option<&Arc<Operation>> {
        match (name, self.operations.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), all) => all.iter().find(|operation| operation.name.as_deref() == Some(name)),
        }
    }

    /// The variables that an operation uses more than once, each with how often it does: the library copies one each time.
    pub(crate) fn repeated<'a>(
        &'a self,
        operation: &Operation,
        variables: &'a Variables,
    ) -> impl Iterator<Item = (&'a Value, u64)> {
        let declared = self.definition(operation).map_or(&[][..], |operation| &operation.variable_definitions);
        self.repeated.iter().filter_map(move |(name, times)| {
            let default = || declared.iter().find(|one| one.node.name.node == *name)?.node.default_value();
            Some((variables.get(name).or_else(default)?, *times))
        })
    }

    /// For one execution, which takes it.
    pub(crate) fn copy(&self) -> ExecutableDocument {
        self.merged.clone()
    }

    /// The library has validated it, and found nothing.
    pub(crate) fn has_passed(&self) {
        self.is_valid.store(true, Ordering::Relaxed);
    }

    fn definition(&self, operation: &Operation) -> Option<&OperationDefinition> {
        definition(&self.merged, operation)
    }
}

fn definition<'a>(document: &'a ExecutableDocument, operation: &Operation) -> Option<&'a OperationDefinition> {
    let is_it = |name: Option<&async_graphql::Name>| name.map(async_graphql::Name::as_str) == operation.name.as_deref();
    document.operations.iter().find(|(name, _)| is_it(*name)).map(|(_, definition)| &definition.node)
}

/// The library would run a stream for each field of a subscription, and all of them would count as one operation. The
/// specification has one field, and what is merged by now has each once.
fn check_subscriptions(merged: &ExecutableDocument) -> Result<(), ServerError> {
    let mut measurer = Measurer::new(merged);
    let subscriptions = merged.operations.iter().map(|(_, operation)| &operation.node);
    for operation in subscriptions.filter(|operation| operation.ty == OperationType::Subscription) {
        let fields = measurer.operation(operation).map_or(u64::MAX, |measure| measure.root_fields);
        if fields > 1 || root_names(merged, operation).iter().any(|name| name.starts_with("__")) {
            return Err(several_subscriptions());
        }
    }
    Ok(())
}

/// The field at the root, if there is one alone and it is the schema's: metrics must not have a label of a client's making.
fn label(document: &ExecutableDocument, operation: &OperationDefinition, types: &Types) -> telemetry::Operation {
    let names: HashSet<&str> = root_names(document, operation).into_iter().collect();
    let mut names = names.into_iter();
    let field = match (names.next(), names.next()) {
        (Some(name), None) if name.starts_with("__") => "introspection",
        (Some(name), None) if types.field(Some(types::root(operation.ty)), name).is_some() => name,
        (Some(_), Some(_)) => "several",
        _ => "unknown",
    };
    let kind = match operation.ty {
        OperationType::Query => Root::Query,
        OperationType::Mutation => Root::Mutation,
        OperationType::Subscription => Root::Subscription,
    };
    telemetry::Operation { kind, field: Label::new(field) }
}

fn is_maintenance(document: &ExecutableDocument, operation: &OperationDefinition) -> bool {
    let is_known = |name: &&str| MAINTENANCE.contains(name);
    operation.ty == OperationType::Mutation && root_names(document, operation).iter().all(is_known)
}

/// Only what is one plain `taskEvents` or `taskChanged` can be shared: what else stands at the root may depend on the root's
/// arguments.
fn shares(document: &ExecutableDocument, definition: &OperationDefinition) -> Option<Shares> {
    let [only] = definition.selection_set.node.items.as_slice() else { return None };
    let Selection::Field(field) = &only.node else { return None };
    let is_plain = definition.directives.is_empty() && field.node.directives.is_empty();
    let root = match field.node.name.node.as_str() {
        "taskEvents" => SharedRoot::TaskEvents,
        "taskChanged" => SharedRoot::TaskChanged,
        _ => return None,
    };
    let inner_variables = || variables::below_root(document, &field.node.selection_set.node);
    (is_plain && definition.ty == OperationType::Subscription)
        .then(|| Shares { root, inner_variables: inner_variables() })
}

/// Of each operation, and then of each fragment that none of them uses.
fn measure(document: &ExecutableDocument) -> Result<Vec<Measure>, TooDeep> {
    let mut measurer = Measurer::new(document);
    let operations = document.operations.iter().map(|(_, operation)| measurer.operation(&operation.node));
    let mut all = operations.collect::<Result<Vec<_>, _>>()?;
    all.extend(measurer.unused()?);
    Ok(all)
}

fn shrink(document: &mut ExecutableDocument) {
    match &mut document.operations {
        DocumentOperations::Single(operation) => operation.node.selection_set.node.items.shrink_to_fit(),
        DocumentOperations::Multiple(all) => all.shrink_to_fit(),
    }
    document.fragments.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GraphqlConfig;

    fn read(text: &str) -> Result<Document, ServerError> {
        let types = Types::of("type Query { a: Int } type Mutation { a: Int } type Subscription { a: Int b: Int }");
        Document::read(text, &OperationLimits::new(&GraphqlConfig::default()), &types)
    }

    #[test]
    fn maintenance_and_nothing_else_has_its_own_time() {
        let is_maintenance = |text: &str| read(text).unwrap().operation(None).unwrap().is_maintenance;
        for text in [
            "mutation { eraseUser }",
            "mutation { a: optimizeStorage ...F } fragment F on Mutation { cleanupOldTasks ... { eraseUser } ...F }",
        ] {
            assert!(is_maintenance(text), "{text}");
        }
        for text in [
            "{ eraseUser }",
            "mutation { cancelTasks }",
            "mutation { eraseUser cancelTasks }",
            "mutation { eraseUser: cancelTasks }",
            "mutation { eraseUser ...F } fragment F on Mutation { cancelTasks }",
        ] {
            assert!(!is_maintenance(text), "{text}");
        }
    }

    #[test]
    fn metrics_name_a_field_of_the_schema_or_none() {
        let label = |text: &str| {
            let telemetry::Operation { kind, field } = read(text).unwrap().operation(None).unwrap().label.clone();
            format!("{} {}", kind.as_str(), field.as_str())
        };
        for (text, wanted) in [
            ("{ a }", "query a"),
            ("{ x: a ...F } fragment F on Query { y: a }", "query a"),
            ("mutation { a b }", "mutation several"),
            ("mutation { made_up_by_somebody }", "mutation unknown"),
            ("{ __schema { types { name } } }", "query introspection"),
            ("subscription { b }", "subscription b"),
        ] {
            assert_eq!(label(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_subscription_has_one_field() {
        for text in [
            "subscription { a }",
            "subscription { a a ...F ... { a } } fragment F on Subscription { a }",
            "subscription A { a } subscription B { b } query C { a b }",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in [
            "subscription { a b }",
            "subscription { a x: a }",
            "subscription { a ...F } fragment F on Subscription { b }",
            "subscription($x: Boolean!) { ... @include(if: $x) { a } ... @skip(if: $x) { b } }",
            "subscription { __typename }",
            "subscription { ...F } fragment F on Subscription { __typename }",
            "query A { a } subscription B { a b }",
        ] {
            let error = read(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.message.contains("one field"), "{text}: {error}");
        }
    }
}
