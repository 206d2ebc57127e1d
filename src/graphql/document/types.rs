//! What of the schema a document is looked at with: read once, from the schema as text. Its tables hold our own names, and a
//! client only asks them, so their hash need not withstand anybody: each save asks some twenty times.

use async_graphql::ScalarType as _;
use async_graphql::Value;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, OperationType, Type as TypeRef, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Number, Positioned};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::graphql::scalars::{DateTime, FeedCursor, Json, SafeInt, Uuid};

/// The schema's types.
#[derive(Debug, Default)]
pub(crate) struct Types {
    composite: FxHashMap<String, Composite>,
    inputs: FxHashMap<String, Input>,
    scalars: FxHashSet<String>,
}

/// An object or an interface.
#[derive(Debug, Default)]
struct Composite {
    implements: FxHashSet<String>,
    fields: FxHashMap<String, Field>,
}

/// A field of an object or an interface.
#[derive(Debug)]
pub(super) struct Field {
    /// Its named type.
    pub(super) ty: String,
    /// Whether it gives many.
    pub(super) is_list: bool,
    /// Whether it gives a page.
    pub(super) is_page: bool,
    arguments: FxHashMap<String, TypeRef>,
}

#[derive(Debug)]
enum Input {
    Enum(FxHashSet<String>),
    /// The fields, and whether each may be left out.
    Object(FxHashMap<String, (TypeRef, bool)>),
}

/// The root of operations of this sort.
pub(super) fn root(ty: OperationType) -> &'static str {
    match ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    }
}

impl Types {
    /// Of a schema as text. Of what cannot be read nothing is known: then only equal neighbours are joined, and every
    /// document is checked each time.
    pub(crate) fn of(sdl: &str) -> Self {
        let mut types = Self::default();
        for definition in parse_schema(sdl).map(|document| document.definitions).unwrap_or_default() {
            let TypeSystemDefinition::Type(ty) = definition else { continue };
            let name = ty.node.name.node.to_string();
            match ty.node.kind {
                TypeKind::Object(object) => types.add(name, object.fields, object.implements),
                TypeKind::Interface(interface) => types.add(name, interface.fields, interface.implements),
                TypeKind::Enum(kind) => {
                    let values = kind.values.into_iter().map(|value| value.node.value.node.to_string()).collect();
                    types.inputs.insert(name, Input::Enum(values));
                }
                TypeKind::InputObject(object) => {
                    let fields = object.fields.into_iter().map(|field| {
                        let may_miss = field.node.ty.node.nullable || field.node.default_value.is_some();
                        (field.node.name.node.to_string(), (field.node.ty.node, may_miss))
                    });
                    types.inputs.insert(name, Input::Object(fields.collect()));
                }
                TypeKind::Scalar => _ = types.scalars.insert(name),
                TypeKind::Union(_) => {}
            }
        }
        types
    }

    fn add(
        &mut self,
        name: String,
        fields: Vec<Positioned<FieldDefinition>>,
        implements: Vec<Positioned<async_graphql::Name>>,
    ) {
        let fields = fields.into_iter().map(|field| (field.node.name.node.to_string(), Field::of(field.node)));
        let implements = implements.into_iter().map(|name| name.node.to_string()).collect();
        self.composite.insert(name, Composite { implements, fields: fields.collect() });
    }

    /// Whether everything of this type is of that one as well.
    pub(super) fn is_always(&self, ty: Option<&str>, that: &str) -> bool {
        ty.is_some_and(|ty| ty == that || self.composite.get(ty).is_some_and(|known| known.implements.contains(that)))
    }

    pub(super) fn field(&self, parent: Option<&str>, field: &str) -> Option<&Field> {
        self.composite.get(parent?)?.fields.get(field)
    }

    pub(super) fn of_field(&self, parent: Option<&str>, field: &str) -> Option<&str> {
        self.field(parent, field).map(|field| field.ty.as_str())
    }

    /// Whether the library's validation would certainly let this value pass for an argument of this type. Where it is
    /// not certain the library is asked.
    pub(super) fn takes(&self, ty: &TypeRef, value: &Value) -> bool {
        if *value == Value::Null {
            return ty.nullable;
        }
        match (&ty.base, value) {
            (BaseType::List(entry), Value::List(values)) => values.iter().all(|value| self.takes(entry, value)),
            // One value stands for a list of one.
            (BaseType::List(entry), value) => self.takes(entry, value),
            (BaseType::Named(name), value) => self.takes_named(name, value),
        }
    }

    /// Makes text of the large JSON values in what is given for this type.
    pub(super) fn condense(&self, ty: &TypeRef, value: &mut Value) {
        match (&ty.base, value) {
            (BaseType::List(entry), Value::List(values)) => {
                for value in values {
                    self.condense(entry, value);
                }
            }
            (BaseType::List(entry), value) => self.condense(entry, value),
            (BaseType::Named(name), value) if name == "JSON" => Json::condense(value),
            (BaseType::Named(name), Value::Object(given)) => {
                let Some(Input::Object(known)) = self.inputs.get(name.as_str()) else { return };
                for (name, value) in given {
                    if let Some((ty, _)) = known.get(name.as_str()) {
                        self.condense(ty, value);
                    }
                }
            }
            (BaseType::Named(_), _) => {}
        }
    }

    /// Whether a variable may be of this type.
    pub(super) fn is_input(&self, name: &str) -> bool {
        let is_standard = matches!(name, "Int" | "Float" | "String" | "Boolean" | "ID");
        is_standard || self.scalars.contains(name) || self.inputs.contains_key(name)
    }

    fn takes_named(&self, name: &str, value: &Value) -> bool {
        match (name, value) {
            ("String", Value::String(_))
            | ("Boolean", Value::Boolean(_))
            | ("Float", Value::Number(_))
            | ("JSON", _) => true,
            ("ID", value) => matches!(value, Value::String(_)) || is_whole(value),
            ("Int", value) => is_whole(value),
            ("SafeInt", value) => SafeInt::is_valid(value),
            ("UUID", value) => Uuid::is_valid(value),
            ("DateTime", value) => DateTime::is_valid(value),
            ("FeedCursor", value) => FeedCursor::is_valid(value),
            (name, value) => match (self.inputs.get(name), value) {
                (Some(Input::Enum(known)), Value::String(given)) => known.contains(given),
                (Some(Input::Enum(known)), Value::Enum(given)) => known.contains(given.as_str()),
                (Some(Input::Object(known)), Value::Object(given)) => {
                    let all_known = given
                        .iter()
                        .all(|(name, value)| known.get(name.as_str()).is_some_and(|(ty, _)| self.takes(ty, value)));
                    all_known
                        && known.iter().all(|(name, (_, may_miss))| *may_miss || given.contains_key(name.as_str()))
                }
                _ => false,
            },
        }
    }
}

impl Field {
    fn of(field: FieldDefinition) -> Self {
        let ty = field.ty.node;
        Self {
            ty: ty.to_string().trim_matches(['[', ']', '!']).to_owned(),
            is_list: matches!(ty.base, BaseType::List(_)),
            is_page: field.arguments.iter().any(|argument| argument.node.name.node == "first"),
            arguments: field.arguments.into_iter().map(|argument| argument.node).map(named).collect(),
        }
    }

    pub(super) fn argument(&self, name: &str) -> Option<&TypeRef> {
        self.arguments.get(name)
    }
}

fn named(argument: InputValueDefinition) -> (String, TypeRef) {
    (argument.name.node.to_string(), argument.ty.node)
}

fn is_whole(value: &Value) -> bool {
    matches!(value, Value::Number(number) if Number::is_i64(number))
}
