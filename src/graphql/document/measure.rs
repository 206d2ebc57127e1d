//! How large an operation is with its fragments in place. Each fragment is measured once, however often it is mentioned,
//! so a document that doubles itself with each fragment costs no more than its length.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    Directive, ExecutableDocument, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned};
use async_graphql_value::Value;

use super::merge::MOST_LEVELS;

/// What a value counts as besides its text: what an error about it costs is of that order.
const VALUE_BYTES: u64 = 16;
/// Lists of introspection that can lead back to where they began, as graphql-js knows them too.
const CIRCULAR: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];

/// The size of an operation or a part of one. Nothing overflows: what is too large stays the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Levels of fields.
    pub(crate) depth: u64,
    pub(crate) aliases: u64,
    pub(crate) directives: u64,
    /// Fields of the first level.
    pub(crate) root_fields: u64,
    /// Fields and fragments.
    pub(crate) selections: u64,
    /// What is written into arguments, wherever they stand: bytes of texts and names, and some for each value.
    pub(crate) argument_bytes: u64,
    /// Lists of introspection within each other that can lead back to where they began.
    pub(crate) circular_lists: u64,
    /// Whether it asks for the schema.
    pub(crate) introspects: bool,
}

/// Nested deeper than anybody can walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// Measures the operations of a document.
pub(super) struct Measurer<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    /// None while it is being measured: a fragment that mentions itself is left for the library to refuse.
    known: HashMap<&'a str, Option<Measure>>,
    levels: usize,
}

impl<'a> Measurer<'a> {
    pub(super) fn new(document: &'a ExecutableDocument) -> Self {
        Self { fragments: &document.fragments, known: HashMap::new(), levels: MOST_LEVELS }
    }

    pub(super) fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Measure, TooDeep> {
        let mut measure = self.set(&operation.selection_set.node)?;
        let variables = operation.variable_definitions.iter().map(|variable| variable.node.directives.len());
        measure.directives = measure
            .directives
            .saturating_add(count(operation.directives.len()))
            .saturating_add(count(variables.sum::<usize>()));
        measure.argument_bytes = measure.argument_bytes.saturating_add(of_directives(&operation.directives));
        Ok(measure)
    }

    fn set(&mut self, set: &'a SelectionSet) -> Result<Measure, TooDeep> {
        self.levels = self.levels.checked_sub(1).ok_or(TooDeep)?;
        let mut all = Measure::default();
        for item in &set.items {
            let mut one = match &item.node {
                Selection::Field(field) => {
                    let inner = self.set(&field.node.selection_set.node)?;
                    let name = field.node.name.node.as_str();
                    Measure {
                        depth: inner.depth + 1,
                        aliases: inner.aliases.saturating_add(u64::from(field.node.alias.is_some())),
                        root_fields: 1,
                        argument_bytes: inner.argument_bytes.saturating_add(of_arguments(&field.node.arguments)),
                        circular_lists: inner.circular_lists + u64::from(CIRCULAR.contains(&name)),
                        introspects: inner.introspects || matches!(name, "__schema" | "__type"),
                        ..inner
                    }
                }
                Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
            };
            one.selections = one.selections.saturating_add(1);
            one.directives = one.directives.saturating_add(count(item.node.directives().len()));
            one.argument_bytes = one.argument_bytes.saturating_add(of_directives(item.node.directives()));
            all.join(&one);
        }
        self.levels += 1;
        Ok(all)
    }

    fn fragment(&mut self, name: &'a Name) -> Result<Measure, TooDeep> {
        if let Some(known) = self.known.get(name.as_str()) {
            return Ok(known.unwrap_or_default());
        }
        let Some(fragment) = self.fragments.get(name) else { return Ok(Measure::default()) };
        self.known.insert(name, None);
        let mut measure = self.set(&fragment.node.selection_set.node)?;
        measure.directives = measure.directives.saturating_add(count(fragment.node.directives.len()));
        measure.argument_bytes = measure.argument_bytes.saturating_add(of_directives(&fragment.node.directives));
        self.known.insert(name, Some(measure));
        Ok(measure)
    }

    /// Fragments that no operation has led to: the library goes through them before it refuses them.
    pub(super) fn unused(&mut self) -> Result<Vec<Measure>, TooDeep> {
        let mut unused = Vec::new();
        for name in self.fragments.keys() {
            if !self.known.contains_key(name.as_str()) {
                // Nobody knows of which type they would be the root.
                unused.push(Measure { root_fields: 0, ..self.fragment(name)? });
            }
        }
        Ok(unused)
    }
}

fn of_directives(directives: &[Positioned<Directive>]) -> u64 {
    directives.iter().map(|directive| of_arguments(&directive.node.arguments)).fold(0, u64::saturating_add)
}

fn of_arguments(arguments: &[(Positioned<Name>, Positioned<Value>)]) -> u64 {
    let each = arguments.iter().map(|(name, value)| count(name.node.len()).saturating_add(of_value(&value.node)));
    each.fold(0, u64::saturating_add)
}

fn of_value(value: &Value) -> u64 {
    let inner = match value {
        Value::String(text) => count(text.len()),
        Value::Variable(name) | Value::Enum(name) => count(name.len()),
        Value::List(values) => values.iter().map(of_value).fold(0, u64::saturating_add),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| count(name.len()).saturating_add(of_value(value)))
            .fold(0, u64::saturating_add),
        Value::Null | Value::Number(_) | Value::Boolean(_) | Value::Binary(_) => 0,
    };
    inner.saturating_add(VALUE_BYTES)
}

impl Measure {
    fn join(&mut self, other: &Self) {
        self.depth = self.depth.max(other.depth);
        self.circular_lists = self.circular_lists.max(other.circular_lists);
        self.introspects |= other.introspects;
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.root_fields = self.root_fields.saturating_add(other.root_fields);
        self.selections = self.selections.saturating_add(other.selections);
        self.argument_bytes = self.argument_bytes.saturating_add(other.argument_bytes);
    }
}

/// The names of an operation's first fields, wherever they stand; those of a fragment once, however often it is mentioned.
pub(super) fn root_names<'a>(document: &'a ExecutableDocument, operation: &'a OperationDefinition) -> Vec<&'a str> {
    let (mut names, mut seen, mut sets) = (Vec::new(), HashSet::new(), vec![&operation.selection_set.node]);
    while let Some(set) = sets.pop() {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => names.push(field.node.name.node.as_str()),
                Selection::InlineFragment(inline) => sets.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = document.fragments.get(name).filter(|_| seen.insert(name));
                    sets.extend(fragment.map(|fragment| &fragment.node.selection_set.node));
                }
            }
        }
    }
    names
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn measure(source: &str) -> Result<Measure, TooDeep> {
        let document = parse_query(source).unwrap();
        let operation = document.operations.iter().next().unwrap().1;
        Measurer::new(&document).operation(&operation.node)
    }

    #[test]
    fn fragments_count_wherever_they_are_mentioned() {
        let found = measure(
            "query @d { x: a { ...F } ... @include(if: true) { b { ...F } } } fragment F on A { y: c @skip(if: true) d { e } }",
        )
        .unwrap();
        let expected =
            Measure { depth: 3, aliases: 3, directives: 4, root_fields: 2, selections: 11, ..Measure::default() };
        // Each of the three conditions is "if" and a value.
        assert_eq!(found, Measure { argument_bytes: 3 * 18, ..expected });
        let twice = "{ a { ...F } b { ...F } } fragment F on A { c(d: [$e, \"four\"]) }";
        assert_eq!(measure(twice).unwrap().argument_bytes, 2 * (1 + 16 + 17 + 20));
        assert!(measure("{ ...F } fragment F on Query { __schema { types { name } } }").unwrap().introspects);
        let circle = "{ __type(name: \"A\") { fields { type { ...T } } } } fragment T on __Type { possibleTypes { fields { name } } }";
        assert_eq!(measure(circle).unwrap().circular_lists, 3);
    }

    #[test]
    fn a_bomb_is_measured_in_the_time_of_its_length() {
        let bomb = |condition: &str, count: usize| {
            let one = |n: usize| {
                let next = n + 1;
                format!("fragment F{n} on A {{ ...F{next} {condition} ...F{next} {condition} x: a {{ ...F{next} }} }} ")
            };
            let all: String = (0..count).map(one).collect();
            measure(&format!("{{ a {{ ...F0 }} }} {all} fragment F{count} on A {{ id }}"))
        };
        for condition in ["", "@include(if: $x)"] {
            assert!(bomb(condition, 20).unwrap().aliases > 1_000_000_000, "{condition}");
        }
        assert_eq!(bomb("", 5_000), Err(TooDeep));
    }

    #[test]
    fn a_circle_ends() {
        for source in [
            "{ ...F } fragment F on A { a ...F ...G } fragment G on A { ...F b { ...G } }",
            "{ ...F } fragment F on A { a { ...F } }",
        ] {
            assert!(measure(source).unwrap().selections < 20);
        }
    }
}
