//! The whole step result as it is stored, taken apart again.

use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The value was stored, but it cannot be read back as JSON: a number beyond a double, or nesting too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The stored value cannot be shown: it holds a number beyond an IEEE double, or is nested too deeply.")]
pub struct Unreadable;

/// A record's step result, taken apart. Whatever is stored stays readable: what is missing is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredStepResult {
    /// Empty where the record gives none.
    pub step_name: String,
    /// As sent.
    pub completed: bool,
    /// Empty where the record gives none.
    pub message: String,
    /// The worker's own value as JSON text, which has been read; none for null.
    pub result: Result<Option<Arc<str>>, Unreadable>,
    /// The worker's code for the error.
    pub error_code: Option<String>,
    /// The error in words.
    pub error_message: Option<String>,
}

/// Each field by itself, unread: what is wrong with one hides no other.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    step: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completed: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_message: Option<&'a RawValue>,
}

impl StoredStepResult {
    /// Takes apart what a record holds. Strangers store what they like: text where the server writes text counts,
    /// everything else reads as empty; what is no object at all is the result itself.
    #[must_use]
    pub fn parse(stored: &str) -> Self {
        let text =
            |raw: Option<&RawValue>| serde_json::from_str::<String>(raw?.get()).ok().filter(|text| !text.is_empty());
        // A list would fill the fields one by one.
        let is_object = stored.trim_start().starts_with('{');
        match serde_json::from_str::<Fields<'_>>(stored) {
            Ok(fields) if is_object => Self {
                step_name: text(fields.step).unwrap_or_default(),
                completed: fields.completed.is_some_and(|raw| raw.get() == "true"),
                message: text(fields.message).unwrap_or_default(),
                result: fields.result.map_or(Ok(None), |raw| read(raw.get())),
                error_code: text(fields.error_code),
                error_message: text(fields.error_message),
            },
            _ => Self {
                step_name: String::new(),
                completed: false,
                message: String::new(),
                result: read(stored),
                error_code: None,
                error_message: None,
            },
        }
    }
}

fn read(json: &str) -> Result<Option<Arc<str>>, Unreadable> {
    let Readable = serde_json::from_str(json).map_err(|_| Unreadable)?;
    let json = json.trim();
    Ok((json != "null").then(|| json.into()))
}

/// What can be read as JSON: every number is a double's, and nothing is nested too deeply. Nothing of it is kept, so a
/// history of large values is checked without a copy of them.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_entry::<IgnoredAny, Self>()?.is_some() {}
        Ok(self)
    }
}
