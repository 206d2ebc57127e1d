//! Where a document uses variables. A document that has passed validation once passes it again with any variables that
//! these places take; where that is not certain the library validates the whole anew, so its refusals are always its own.
//! And what is kept of them while an operation goes on.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, OperationDefinition, Selection, SelectionSet, Type,
};
use async_graphql::{Name, Positioned, ServerError, Value, Variables};
use async_graphql_value::Value as Template;

use super::types::{Types, root};
use crate::graphql::errors::unknown_input;

/// An argument with variables in it, and what it takes, if that is known.
#[derive(Debug)]
pub(super) struct Place {
    ty: Option<Type>,
    value: Template,
}

/// Every such argument of a document.
pub(super) fn places(document: &ExecutableDocument, types: &Types) -> Vec<Place> {
    let mut found = Vec::new();
    for (_, operation) in document.operations.iter() {
        directives(&operation.node.directives, &mut found);
        walk(&operation.node.selection_set.node, Some(root(operation.node.ty)), types, &mut found);
    }
    for fragment in document.fragments.values() {
        directives(&fragment.node.directives, &mut found);
        let condition = fragment.node.type_condition.node.on.node.as_str();
        walk(&fragment.node.selection_set.node, Some(condition), types, &mut found);
    }
    found
}

fn walk(set: &SelectionSet, ty: Option<&str>, types: &Types, found: &mut Vec<Place>) {
    for item in &set.items {
        directives(item.node.directives(), found);
        match &item.node {
            Selection::Field(field) => {
                let field = &field.node;
                let known = types.field(ty, &field.name.node);
                for (name, value) in &field.arguments {
                    add(known.and_then(|known| known.argument(&name.node)).cloned(), &value.node, found);
                }
                walk(&field.selection_set.node, known.map(|known| known.ty.as_str()), types, found);
            }
            Selection::InlineFragment(inline) => {
                let condition = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                walk(&inline.node.selection_set.node, condition.or(ty), types, found);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn directives(all: &[Positioned<Directive>], found: &mut Vec<Place>) {
    for directive in all {
        let is_condition = matches!(directive.node.name.node.as_str(), "skip" | "include");
        let ty = is_condition.then(|| Type::new("Boolean!")).flatten();
        for (_, value) in &directive.node.arguments {
            add(ty.clone(), &value.node, found);
        }
    }
}

fn add(ty: Option<Type>, value: &Template, found: &mut Vec<Place>) {
    if mentions_any(value) {
        found.push(Place { ty, value: value.clone() });
    }
}

/// The variables that these mention more than once, and how often.
pub(super) fn repeated(places: &[Place]) -> Vec<(Name, u64)> {
    let mut times = BTreeMap::new();
    for place in places {
        each_mentioned(&place.value, &mut |name| *times.entry(name.clone()).or_insert(0) += 1);
    }
    times.into_iter().filter(|(_, times)| *times > 1).collect()
}

fn mentions_any(value: &Template) -> bool {
    match value {
        Template::Variable(_) => true,
        Template::List(values) => values.iter().any(mentions_any),
        Template::Object(fields) => fields.values().any(mentions_any),
        _ => false,
    }
}

/// The variables that are used below an operation's root field, and in fragments.
pub(super) fn below_root(document: &ExecutableDocument, root: &SelectionSet) -> Box<[Name]> {
    let mut names = BTreeSet::new();
    mentioned_in(root, &mut names);
    for fragment in document.fragments.values() {
        mentioned_by(&fragment.node.directives, &mut names);
        mentioned_in(&fragment.node.selection_set.node, &mut names);
    }
    names.into_iter().cloned().collect()
}

fn mentioned_in<'a>(set: &'a SelectionSet, names: &mut BTreeSet<&'a Name>) {
    for item in &set.items {
        mentioned_by(item.node.directives(), names);
        match &item.node {
            Selection::Field(field) => {
                field.node.arguments.iter().for_each(|(_, value)| mentioned(&value.node, names));
                mentioned_in(&field.node.selection_set.node, names);
            }
            Selection::InlineFragment(inline) => mentioned_in(&inline.node.selection_set.node, names),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn mentioned_by<'a>(all: &'a [Positioned<Directive>], names: &mut BTreeSet<&'a Name>) {
    let values = all.iter().flat_map(|directive| &directive.node.arguments);
    values.for_each(|(_, value)| mentioned(&value.node, names));
}

fn mentioned<'a>(value: &'a Template, names: &mut BTreeSet<&'a Name>) {
    each_mentioned(value, &mut |name| _ = names.insert(name));
}

fn each_mentioned<'a>(value: &'a Template, tell: &mut impl FnMut(&'a Name)) {
    match value {
        Template::Variable(name) => tell(name),
        Template::List(values) => values.iter().for_each(|value| each_mentioned(value, tell)),
        Template::Object(fields) => fields.values().for_each(|value| each_mentioned(value, tell)),
        _ => {}
    }
}

/// The library comes to a default before it looks whether there is such a type, and panics.
pub(super) fn check_defaults(document: &ExecutableDocument, types: &Types) -> Result<(), ServerError> {
    let declared = document.operations.iter().flat_map(|(_, operation)| &operation.node.variable_definitions);
    let of_unknown = declared
        .filter(|declared| declared.node.default_value.is_some())
        .map(|declared| named(&declared.node.var_type.node))
        .find(|name| !types.is_input(name));
    of_unknown.map_or(Ok(()), |name| Err(unknown_input(name)))
}

fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(entry) => named(entry),
    }
}

/// Whether all of them certainly take what these variables put in. What is not given is not validated by the library
/// either: the resolver, or its default, comes to it.
pub(super) fn fit(places: &[Place], variables: &Variables, types: &Types) -> bool {
    places.iter().all(|place| {
        let Some(ty) = &place.ty else { return false };
        match &place.value {
            Template::Variable(name) => variables.get(name).is_none_or(|value| types.takes(ty, value)),
            template => filled(template, variables).is_none_or(|value| types.takes(ty, &value)),
        }
    })
}

fn filled(template: &Template, variables: &Variables) -> Option<Value> {
    template.clone().into_const_with(|name| variables.get(&name).cloned().ok_or(())).ok()
}

/// Leaves those variables alone that the operation declares, and makes text of the large JSON values among them: the library
/// holds on to all of them until it is over. A truth value that was left out is its default from here on: for `@include` and
/// `@skip` the library would take it as false, whatever its default.
pub(super) fn condense(operation: &OperationDefinition, variables: &mut Variables, types: &Types) {
    let mut given = std::mem::take(&mut **variables);
    for declared in &operation.variable_definitions {
        if let Some((name, mut value)) = given.remove_entry(&declared.node.name.node) {
            types.condense(&declared.node.var_type.node, &mut value);
            variables.insert(name, value);
        } else if let Some(default @ Value::Boolean(_)) = declared.node.default_value() {
            variables.insert(declared.node.name.node.clone(), default.clone());
        }
    }
}
