//! The whole step result as it is stored, taken apart again.

use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json;

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

fn read(text: &str) -> Result<Option<Arc<str>>, Unreadable> {
    let Readable { has_long_number } = serde_json::from_str(text).map_err(|_| Unreadable)?;
    if has_long_number {
        let value = json::read(text).map_err(|_| Unreadable)?;
        return Ok(Some(value.to_string().into()));
    }
    let text = text.trim();
    Ok((text != "null").then(|| text.into()))
}

/// Numbers that jsonb, in which strangers hand them in, spells out with more digits than a double has: 1e308 in 309 of them.
/// They are written anew.
fn is_long(number: f64) -> bool {
    let size = number.abs();
    size >= 1e17 || (size > 0.0 && size < 1e-5)
}

/// What can be read as JSON: every number is a double's, and nothing is nested too deeply. It is checked without a copy.
#[derive(Default)]
struct Readable {
    has_long_number: bool,
}

impl Readable {
    fn and(&mut self, other: &Self) {
        self.has_long_number |= other.has_long_number;
    }
}

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self::default())
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

    fn visit_f64<E>(self, number: f64) -> Result<Self, E> {
        Ok(Self { has_long_number: is_long(number) })
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(item) = items.next_element::<Self>()? {
            self.and(&item);
        }
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some((IgnoredAny, item)) = items.next_entry::<IgnoredAny, Self>()? {
            self.and(&item);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_postgresql_spells_out_is_written_as_a_double() {
        let result = |result: &str| StoredStepResult::parse(&format!(r#"{{"result": {result}}}"#)).result;
        let spelt_out = format!("1{}", "0".repeat(308));
        for (stored, told) in [
            (spelt_out.as_str(), "1e+308"),
            ("100000000000000000000", "1e+20"),
            ("[0.00000000000000000001]", "[1e-20]"),
            (r#"{"a": [1, 2.5, -9223372036854775808]}"#, r#"{"a": [1, 2.5, -9223372036854775808]}"#),
        ] {
            let told: Arc<str> = told.into();
            let same = |told: Option<Arc<str>>| told.map(|told| told.replace("e+", "e"));
            assert_eq!(result(stored).map(same), Ok(Some(told.replace("e+", "e"))), "{stored}");
        }
        assert_eq!(result("null"), Ok(None));
        // What serde_json would take for a text to be read is written as what it is.
        let mark = r#"[1e20,{"$serde_json::private::RawValue":"[1]"}]"#;
        assert_eq!(result(mark), Ok(Some(mark.replace("1e20", "1e+20").into())));
        assert_eq!(result("1e400"), Err(Unreadable));
    }
}
