//! `schema.graphql` is what the code exports, promises what the contract says, and describes everything.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    FieldDefinition, InputValueDefinition, ServiceDocument, TypeDefinition, TypeKind, TypeSystemDefinition,
};

use super::support::left_out;

const SCHEMA: &str = include_str!("../../schema.graphql");
const CONTRACT: &str = include_str!("../contract.graphql");

/// What we add to the contract: optional things only, as the lines that `facts` makes of them.
const ADDED: [&str; 1] = ["RetentionStatus.failure: String"];

#[test]
fn schema_graphql_is_what_the_code_exports() {
    let exported = taskwire::graphql::sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"), &exported).expect("schema.graphql");
    }
    assert!(exported == SCHEMA, "schema.graphql is out of date: taskwire schema > schema.graphql");
}

#[test]
fn the_schema_keeps_the_contract() {
    let (ours, promised) = (facts(&types(SCHEMA)), facts(&types(CONTRACT)));
    let missing: Vec<_> = promised.difference(&ours).collect();
    let added: Vec<_> = ours.difference(&promised).map(String::as_str).collect();
    assert!(missing.is_empty(), "missing: {missing:#?}");
    assert_eq!(added, ADDED, "more than promised");
}

#[test]
fn a_broken_promise_is_seen() {
    let spoil = |from: &str, to: &str| {
        assert!(SCHEMA.contains(from), "{from}");
        facts(&types(&SCHEMA.replacen(from, to, 1))) != facts(&types(SCHEMA))
    };
    assert!(spoil("isFinished: Boolean!", "isFinished: Boolean"), "nullability");
    assert!(spoil("orderBy: TaskOrder! = UPDATED_DESC", "orderBy: TaskOrder! = UPDATED_ASC"), "default");
    assert!(spoil("orderBy: TaskOrder! = UPDATED_DESC", "orderBy: TaskOrder!"), "no default");
    assert!(spoil("type Task implements Node", "type Task"), "interface");
    assert!(spoil("scalar UUID @specifiedBy", "scalar UUID @other"), "@specifiedBy");
    assert!(spoil("  TIMED_OUT\n", "  LATE\n"), "enum value");
    assert!(spoil("restart: Boolean! = false", "restart: Boolean = false"), "input field");
}

#[test]
fn the_contract_here_is_the_one_that_is_shared() {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/contract.graphql");
    match std::fs::read_to_string(shared) {
        Ok(shared) => assert!(shared == CONTRACT, "tests/contract.graphql differs from ../shared/contract.graphql"),
        Err(_) => left_out("there is no ../shared/contract.graphql beside this clone"),
    }
}

#[test]
fn everything_is_described_in_words_of_its_own() {
    let schema = types(SCHEMA);
    let mut poor = Vec::new();
    for (name, ty) in &schema {
        check_description(&mut poor, name.clone(), name, ty.description.as_ref().map(|text| text.node.as_str()));
        for (member, description) in descriptions(ty) {
            let own_name = member.rsplit(['.', '(']).next().unwrap_or_default();
            check_description(&mut poor, format!("{name}.{member}"), own_name, description.as_deref());
        }
    }
    assert!(schema.len() > 30);
    assert!(poor.is_empty(), "no description, its own name, or under 12 characters: {poor:#?}");
}

fn check_description(poor: &mut Vec<String>, place: String, name: &str, description: Option<&str>) {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let text = description.unwrap_or_default().trim();
    if text.chars().count() < 12 || letters(text) == letters(name) {
        poor.push(place);
    }
}

/// The document's own types.
fn types(text: &str) -> BTreeMap<String, TypeDefinition> {
    let ServiceDocument { definitions } = parse_schema(text).expect("a schema");
    definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(ty) => Some((ty.node.name.node.to_string(), ty.node)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        })
        .collect()
}

fn fields(ty: &TypeDefinition) -> Vec<&FieldDefinition> {
    match &ty.kind {
        TypeKind::Object(object) => object.fields.iter().map(|field| &field.node).collect(),
        TypeKind::Interface(interface) => interface.fields.iter().map(|field| &field.node).collect(),
        _ => Vec::new(),
    }
}

fn input_fields(ty: &TypeDefinition) -> Vec<&InputValueDefinition> {
    match &ty.kind {
        TypeKind::InputObject(input) => input.fields.iter().map(|field| &field.node).collect(),
        _ => Vec::new(),
    }
}

/// Every promise of a schema, one a line: names, arguments, types, nullability, defaults, interfaces, @specifiedBy.
fn facts(types: &BTreeMap<String, TypeDefinition>) -> BTreeSet<String> {
    types.iter().flat_map(|(name, ty)| type_facts(name, ty)).collect()
}

fn type_facts(name: &str, ty: &TypeDefinition) -> Vec<String> {
    let mut facts = Vec::new();
    match &ty.kind {
        TypeKind::Scalar => {
            let by = ty.directives.iter().find(|directive| directive.node.name.node == "specifiedBy");
            let url = by.and_then(|by| by.node.get_argument("url")).map(|url| url.node.to_string());
            facts.push(format!("scalar {name} @specifiedBy {url:?}"));
        }
        TypeKind::Object(object) => {
            facts.push(format!("type {name}"));
            facts.extend(object.implements.iter().map(|interface| format!("{name} implements {}", interface.node)));
        }
        TypeKind::Interface(_) => facts.push(format!("interface {name}")),
        TypeKind::Union(_) => facts.push(format!("union {name}")),
        TypeKind::Enum(values) => {
            facts.push(format!("enum {name}"));
            facts.extend(values.values.iter().map(|value| format!("{name} has {}", value.node.value.node)));
        }
        TypeKind::InputObject(_) => facts.push(format!("input {name}")),
    }
    for field in fields(ty) {
        let path = format!("{name}.{}", field.name.node);
        facts.push(format!("{path}: {}", field.ty.node));
        facts.extend(field.arguments.iter().map(|argument| format!("{path}({})", input_value(&argument.node))));
    }
    facts.extend(input_fields(ty).into_iter().map(|field| format!("{name}.{}", input_value(field))));
    facts
}

fn input_value(value: &InputValueDefinition) -> String {
    let default = value.default_value.as_ref().map(|default| format!(" = {}", default.node)).unwrap_or_default();
    format!("{}: {}{default}", value.name.node, value.ty.node)
}

/// Every member of a type with its description: `field`, `field(argument`, `VALUE`.
fn descriptions(ty: &TypeDefinition) -> Vec<(String, Option<String>)> {
    let mut members = Vec::new();
    for field in fields(ty) {
        let name = field.name.node.to_string();
        for argument in &field.arguments {
            let description = argument.node.description.as_ref().map(|text| text.node.clone());
            members.push((format!("{name}({}", argument.node.name.node), description));
        }
        members.push((name, field.description.as_ref().map(|text| text.node.clone())));
    }
    for field in input_fields(ty) {
        members.push((field.name.node.to_string(), field.description.as_ref().map(|text| text.node.clone())));
    }
    if let TypeKind::Enum(values) = &ty.kind {
        for value in &values.values {
            let description = value.node.description.as_ref().map(|text| text.node.clone());
            members.push((value.node.value.node.to_string(), description));
        }
    }
    members
}
