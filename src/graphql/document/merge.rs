//! A document, before it is executed: what is asked for twice under one key is asked for once.
//!
//! The specification collects the fields of a selection and of its fragments by their key and resolves each once. The
//! library resolves each mention and merges the answers: a query costs more, and a mutation that two fragments mention
//! would run twice. So fragments are put in place where they always apply, and equal fields are joined. What hangs on
//! `@skip`, `@include` or a type that is only known later stays as it is; what is against the rules stays as well, and the
//! library refuses it as ever.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, FragmentSpread, InlineFragment,
    OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned};

use super::types::{Types, root};

/// Selections of a document with all its fragments in place. Aliases in fragments double them with each level.
pub(crate) const MOST_SELECTIONS: usize = crate::service::limits::SELECTIONS;

/// The library refuses what is nested deeper than 32; a fragment that mentions itself further down never ends.
pub(super) const MOST_LEVELS: usize = 64;

type Items = Vec<Positioned<Selection>>;
type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// Why a document was not merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It can stay as it is: the library refuses it.
    TooDeep,
    /// It must not be executed.
    TooLarge,
}

/// The document with each key asked for once.
pub(crate) fn merge(document: &ExecutableDocument, types: &Types) -> Result<ExecutableDocument, Stop> {
    let mut merger = Merger {
        types,
        fragments: &document.fragments,
        room: MOST_SELECTIONS,
        levels: MOST_LEVELS,
        in_place: HashSet::new(),
    };
    let operations = match &document.operations {
        DocumentOperations::Single(operation) => DocumentOperations::Single(merger.operation(operation)?),
        DocumentOperations::Multiple(all) => {
            let operations = all.iter().map(|(name, one)| Ok((name.clone(), merger.operation(one)?)));
            DocumentOperations::Multiple(operations.collect::<Result<_, Stop>>()?)
        }
    };
    let fragments = document.fragments.iter().map(|(name, one)| Ok((name.clone(), merger.fragment(name, one)?)));
    let mut fragments = fragments.collect::<Result<Fragments, Stop>>()?;
    let in_place = merger.in_place;
    let mentioned = mentioned(&operations, &fragments);
    fragments.retain(|name, _| mentioned.contains(name) || !in_place.contains(name));
    Ok(ExecutableDocument { operations, fragments })
}

struct Merger<'a> {
    types: &'a Types,
    fragments: &'a Fragments,
    /// How many more selections may be looked at.
    room: usize,
    /// How much deeper it may go.
    levels: usize,
    /// Fragments that have been put in place somewhere.
    in_place: HashSet<Name>,
}

impl Merger<'_> {
    fn operation(&mut self, one: &Positioned<OperationDefinition>) -> Result<Positioned<OperationDefinition>, Stop> {
        let mut merged = one.clone();
        self.merge_set(&mut merged.node.selection_set, Some(root(one.node.ty)), &mut Vec::new())?;
        Ok(merged)
    }

    fn fragment(
        &mut self,
        name: &Name,
        one: &Positioned<FragmentDefinition>,
    ) -> Result<Positioned<FragmentDefinition>, Stop> {
        let mut merged = one.clone();
        let condition = one.node.type_condition.node.on.node.as_str();
        self.merge_set(&mut merged.node.selection_set, Some(condition), &mut vec![name.clone()])?;
        Ok(merged)
    }

    /// `open` are the fragments that this set stands in: one that mentions itself is left for the library to refuse.
    fn merge_set(
        &mut self,
        set: &mut Positioned<SelectionSet>,
        ty: Option<&str>,
        open: &mut Vec<Name>,
    ) -> Result<(), Stop> {
        let items = std::mem::take(&mut set.node.items);
        let mut merged = Merged::default();
        self.gather(items, ty, &mut merged, open)?;
        self.levels = self.levels.checked_sub(1).ok_or(Stop::TooDeep)?;
        for item in &mut merged.items {
            match &mut item.node {
                Selection::Field(field) => {
                    let ty = self.types.of_field(ty, &field.node.name.node);
                    self.merge_set(&mut field.node.selection_set, ty, open)?;
                }
                Selection::InlineFragment(inline) => {
                    let condition = condition(&inline.node).map(str::to_owned);
                    self.merge_set(&mut inline.node.selection_set, condition.as_deref().or(ty), open)?;
                }
                Selection::FragmentSpread(_) => {}
            }
        }
        self.levels += 1;
        set.node.items = merged.items;
        Ok(())
    }

    /// Collects the fields of a set and of the fragments that always apply in it, in the order of their first mention.
    fn gather(
        &mut self,
        items: Items,
        ty: Option<&str>,
        merged: &mut Merged,
        open: &mut Vec<Name>,
    ) -> Result<(), Stop> {
        self.levels = self.levels.checked_sub(1).ok_or(Stop::TooDeep)?;
        for item in items {
            self.room = self.room.checked_sub(1).ok_or(Stop::TooLarge)?;
            match item.node {
                Selection::Field(field) => merged.add(field),
                Selection::InlineFragment(inline) if self.always_applies(&inline.node, ty) => {
                    self.gather(inline.node.selection_set.node.items, ty, merged, open)?;
                }
                Selection::FragmentSpread(spread) => match self.to_put_in_place(&spread.node, ty, open) {
                    Some(fragment) => {
                        let name = spread.node.fragment_name.node;
                        if !merged.fragments.insert(name.clone()) {
                            continue;
                        }
                        open.push(name.clone());
                        self.gather(fragment.selection_set.node.items.clone(), ty, merged, open)?;
                        open.pop();
                        self.in_place.insert(name);
                    }
                    None => merged.items.push(Positioned::new(Selection::FragmentSpread(spread), item.pos)),
                },
                inline @ Selection::InlineFragment(_) => merged.items.push(Positioned::new(inline, item.pos)),
            }
        }
        self.levels += 1;
        Ok(())
    }

    fn always_applies(&self, inline: &InlineFragment, ty: Option<&str>) -> bool {
        inline.directives.is_empty() && condition(inline).is_none_or(|that| self.types.is_always(ty, that))
    }

    fn to_put_in_place(&self, spread: &FragmentSpread, ty: Option<&str>, open: &[Name]) -> Option<&FragmentDefinition> {
        let fragment = &self.fragments.get(&spread.fragment_name.node)?.node;
        let is_always = self.types.is_always(ty, &fragment.type_condition.node.on.node);
        let is_plain = spread.directives.is_empty() && fragment.directives.is_empty();
        (is_always && is_plain && !open.contains(&spread.fragment_name.node)).then_some(fragment)
    }
}

/// A set in the making.
#[derive(Default)]
struct Merged {
    items: Items,
    /// Where the fields without directives stand.
    at: HashMap<Name, usize>,
    /// What has been put in place: a second time would add nothing.
    fragments: HashSet<Name>,
}

impl Merged {
    /// Joins a field to one of the same key, name and arguments, or puts it at the end.
    fn add(&mut self, field: Positioned<Field>) {
        let key = field.node.response_key().node.clone();
        let known = self.at.get(&key).and_then(|index| self.items.get_mut(*index));
        if let Some(Positioned { node: Selection::Field(known), .. }) = known
            && is_same(&known.node, &field.node)
        {
            known.node.selection_set.node.items.extend(field.node.selection_set.node.items);
            return;
        }
        if field.node.directives.is_empty() {
            self.at.entry(key).or_insert(self.items.len());
        }
        let pos = field.pos;
        self.items.push(Positioned::new(Selection::Field(field), pos));
    }
}

/// Whether two fields of one key can be joined. Of two of which one alone has fields below, one is wrong.
fn is_same(one: &Field, other: &Field) -> bool {
    let is_leaf = |field: &Field| field.selection_set.node.items.is_empty();
    one.name == other.name
        && one.arguments == other.arguments
        && other.directives.is_empty()
        && is_leaf(one) == is_leaf(other)
}

fn condition(inline: &InlineFragment) -> Option<&str> {
    inline.type_condition.as_ref().map(|condition| condition.node.on.node.as_str())
}

/// The fragments that the operations still mention, themselves or through others.
fn mentioned(operations: &DocumentOperations, fragments: &Fragments) -> HashSet<Name> {
    let mut mentioned = HashSet::new();
    let mut sets: Vec<&SelectionSet> = operations.iter().map(|(_, one)| &one.node.selection_set.node).collect();
    while let Some(set) = sets.pop() {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => sets.push(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => sets.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if mentioned.insert(name.clone())
                        && let Some(fragment) = fragments.get(name)
                    {
                        sets.push(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
    mentioned
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str =
        "interface Node { id: ID! } type Query { a: A node: Node } type A implements Node { id: ID! b: Int a: A }
        type Mutation { m: A } schema { query: Query mutation: Mutation }";

    /// The keys of the only operation, and the fragments that are left.
    fn merged(source: &str) -> Result<String, Stop> {
        let merged = merge(&parse_query(source).unwrap(), &Types::of(SDL))?;
        let mut text: Vec<String> =
            merged.operations.iter().map(|(_, one)| keys(&one.node.selection_set.node)).collect();
        let mut fragments: Vec<_> = merged.fragments.keys().map(ToString::to_string).collect();
        fragments.sort();
        text.extend(fragments);
        Ok(text.join(" + "))
    }

    fn keys(set: &SelectionSet) -> String {
        let key = |item: &Positioned<Selection>| match &item.node {
            Selection::Field(field) => {
                format!("{}{}", field.node.response_key().node, keys(&field.node.selection_set.node))
            }
            Selection::InlineFragment(inline) => format!("...{}", keys(&inline.node.selection_set.node)),
            Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name.node),
        };
        if set.items.is_empty() {
            return String::new();
        }
        format!("{{{}}}", set.items.iter().map(key).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_asked_for_twice_is_asked_for_once() {
        for (source, expected) in [
            ("{ a { id } x: a { id } a { b id } }", "{a{id b} x{id}}"),
            ("{ a { ...F ...G } } fragment F on A { id a { id } } fragment G on A { a { b } b }", "{a{id a{id b} b}}"),
            ("{ ...F a { b } } fragment F on Query { a { ...G } } fragment G on Node { id }", "{a{id b}}"),
            ("{ a { ... { id } ... on A { b } ... on Node { id } } }", "{a{id b}}"),
            ("mutation { ...F m { b } } fragment F on Mutation { m { id } }", "{m{id b}}"),
        ] {
            assert_eq!(merged(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_hangs_on_something_stays() {
        for (source, expected) in [
            ("{ a { id } a @skip(if: true) { b } }", "{a{id} a{b}}"),
            ("{ a { ...F @include(if: true) b } } fragment F on A { b }", "{a{...F b}} + F"),
            ("{ node { ...F id } } fragment F on A { b b }", "{node{...F id}} + F"),
            ("{ node { ... on A { b b ... on Node { id } } } }", "{node{...{b id}}}"),
            ("{ __schema { ...F x } } fragment F on __Schema { x }", "{__schema{...F x}} + F"),
        ] {
            assert_eq!(merged(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_against_the_rules_stays_for_the_library_to_refuse() {
        for (source, expected) in [
            ("{ a { id } a(x: 1) { b } }", "{a{id} a{b}}"),
            ("{ x: a { id } x: b }", "{x{id} x}"),
            ("{ a a { id } }", "{a a{id}}"),
            ("{ a { id } } fragment Unused on A { id }", "{a{id}} + Unused"),
            ("{ a { ...Nowhere } }", "{a{...Nowhere}}"),
            ("{ a { ...F } } fragment F on A { id ...F }", "{a{id ...F}} + F"),
            ("{ ...F } fragment F on A { id }", "{...F} + F"),
        ] {
            assert_eq!(merged(source).as_deref(), Ok(expected), "{source}");
        }
        assert_eq!(merged("{ a { ...F } } fragment F on A { a { ...F } }"), Err(Stop::TooDeep));
    }

    #[test]
    fn what_grows_without_end_is_stopped() {
        let grow = |body: &str, count: usize| {
            let one = |n: usize| format!("fragment F{n} on A {{ {} }} ", body.replace('F', &format!("F{}", n + 1)));
            let all: String = (0..count).map(one).collect();
            merged(&format!("{{ a {{ ...F0 }} }} {all} fragment F{count} on A {{ id }}"))
        };
        assert_eq!(grow("...F ...F", 30).as_deref(), Ok("{a{id}}"));
        assert_eq!(grow("x: a { ...F } y: a { ...F }", 30), Err(Stop::TooLarge));
        assert_eq!(grow("...F", 5_000), Err(Stop::TooDeep));
    }
}
