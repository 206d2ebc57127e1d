//! What an operation costs: its fields, each as often as the pages around it are long. Page sizes are taken from the
//! variables; what is out of bounds is put within them, so that nothing is free and nothing overflows.
//!
//! A part of an operation costs `once + each × p`, where `p` is the length of the page that it stands in: like this every
//! fragment is reckoned once, whatever pages mention it.

use std::collections::HashMap;

use async_graphql::parser::types::{Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Name, Positioned, Value, Variables};
use async_graphql_value::Value as Template;

use super::types::{Types, root};
use crate::service::limits::{BATCH_RECORDS, CANCEL_TASKS, DEFAULT_PAGE_SIZE, NODES, PAGE_SIZE};

/// Lists of introspection, and how long they are on the whole.
const INTROSPECTION: [(&str, u64); 8] = [
    ("types", 40),
    ("fields", 6),
    ("args", 2),
    ("inputFields", 4),
    ("enumValues", 5),
    ("possibleTypes", 3),
    ("interfaces", 2),
    ("directives", 5),
];

/// `cancelTasks(limit:)` where it is left out.
const CANCEL_TASKS_LEFT_OUT: i64 = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    once: u64,
    each: u64,
}

impl Cost {
    fn with(self, length: u64) -> u64 {
        self.once.saturating_add(self.each.saturating_mul(length))
    }

    fn add(&mut self, other: Self) {
        self.once = self.once.saturating_add(other.once);
        self.each = self.each.saturating_add(other.each);
    }
}

/// What this operation costs with these variables.
pub(super) fn of(
    operation: &OperationDefinition,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
    types: &Types,
    variables: &Variables,
) -> u64 {
    let mut reckoner = Reckoner { operation, fragments, types, variables, known: HashMap::new() };
    reckoner.set(&operation.selection_set.node, Some(root(operation.ty))).with(1)
}

struct Reckoner<'a> {
    operation: &'a OperationDefinition,
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    types: &'a Types,
    variables: &'a Variables,
    known: HashMap<&'a str, Cost>,
}

impl<'a> Reckoner<'a> {
    fn set(&mut self, set: &'a SelectionSet, ty: Option<&'a str>) -> Cost {
        let mut all = Cost::default();
        for item in &set.items {
            all.add(match &item.node {
                Selection::Field(field) => self.field(&field.node, ty),
                Selection::InlineFragment(inline) => {
                    let condition =
                        inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.set(&inline.node.selection_set.node, condition.or(ty))
                }
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node),
            });
        }
        all
    }

    fn fragment(&mut self, name: &'a Name) -> Cost {
        if let Some(known) = self.known.get(name.as_str()) {
            return *known;
        }
        let Some(fragment) = self.fragments.get(name) else { return Cost::default() };
        // One that mentions itself: the library refuses it.
        self.known.insert(name, Cost::default());
        let condition = fragment.node.type_condition.node.on.node.as_str();
        let cost = self.set(&fragment.node.selection_set.node, Some(condition));
        self.known.insert(name, cost);
        cost
    }

    fn field(&mut self, field: &'a Field, ty: Option<&'a str>) -> Cost {
        let inner = &field.selection_set.node;
        if inner.items.is_empty() {
            return Cost { once: 1, each: 0 };
        }
        let name = field.name.node.as_str();
        if name.starts_with("__") || ty.is_some_and(|ty| ty.starts_with("__")) {
            let length = INTROSPECTION.iter().find(|(known, _)| *known == name).map_or(1, |(_, length)| *length);
            let inner = self.set(inner, Some("__Type")).with(1);
            return Cost { once: inner.saturating_mul(length).saturating_add(1), each: 0 };
        }
        let known = self.types.field(ty, name);
        let (is_list, is_page) = known.map_or((false, false), |known| (known.is_list, known.is_page));
        let inner = self.set(inner, known.map(|known| known.ty.as_str()));
        match (self.length(field, is_page), is_list) {
            (Some(length), true) => Cost { once: inner.with(1).saturating_mul(length).saturating_add(1), each: 0 },
            (Some(length), false) => Cost { once: inner.with(length).saturating_add(1), each: 0 },
            (None, true) => Cost { once: 1, each: inner.with(1) },
            (None, false) => Cost { once: inner.once.saturating_add(1), each: inner.each },
        }
    }

    /// How many entries the field's arguments ask for.
    fn length(&self, field: &Field, is_page: bool) -> Option<u64> {
        let number = |name: &str| field.get_argument(name).and_then(|value| self.number(&value.node));
        if is_page {
            let size = number("first").or_else(|| number("last")).unwrap_or(DEFAULT_PAGE_SIZE.into());
            return Some(within(size, PAGE_SIZE.into()));
        }
        if let Some(ids) = field.get_argument("ids") {
            return Some(within(self.entries(&ids.node)?, whole(NODES)));
        }
        self.input_length(&field.get_argument("input")?.node)
    }

    /// How many entries an `input` brings or asks for. Whether all of it is a variable, some of it, or nothing, makes no
    /// difference.
    fn input_length(&self, input: &Template) -> Option<u64> {
        let (records, has_filter, limit) = match input {
            Template::Object(input) => (
                input.get("records").map(|records| self.entries(records)),
                input.contains_key("filter"),
                input.get("limit").and_then(|limit| self.number(limit)),
            ),
            Template::Variable(name) => {
                let Value::Object(input) = self.variable(name)? else { return None };
                (input.get("records").map(entries), input.contains_key("filter"), input.get("limit").and_then(number))
            }
            _ => return None,
        };
        match records {
            Some(records) => Some(within(records?, whole(BATCH_RECORDS))),
            None if has_filter => Some(within(limit.unwrap_or(CANCEL_TASKS_LEFT_OUT), CANCEL_TASKS.into())),
            None => None,
        }
    }

    fn number(&self, template: &Template) -> Option<i64> {
        match template {
            Template::Number(number) => number.as_i64(),
            Template::Variable(name) => number(self.variable(name)?),
            _ => None,
        }
    }

    fn entries(&self, template: &Template) -> Option<i64> {
        match template {
            Template::List(values) => Some(whole(values.len())),
            Template::Variable(name) => entries(self.variable(name)?),
            _ => None,
        }
    }

    fn variable(&self, name: &str) -> Option<&'a Value> {
        let is_it =
            |known: &&'a Positioned<async_graphql::parser::types::VariableDefinition>| known.node.name.node == name;
        let definition = self.operation.variable_definitions.iter().find(is_it);
        self.variables
            .get(&Name::new(name))
            .or_else(|| definition?.node.default_value.as_ref().map(|value| &value.node))
    }
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Number(number) = value { number.as_i64() } else { None }
}

fn entries(value: &Value) -> Option<i64> {
    if let Value::List(values) = value { Some(whole(values.len())) } else { None }
}

/// At least 1: what asks for nothing, or for less, still costs its look.
fn within(number: i64, most: i64) -> u64 {
    u64::try_from(number.clamp(1, most)).unwrap_or(1)
}

fn whole(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
