//! The contract's own scalars. Each is a newtype, so that what leaves the server is spelt in one way only.
//!
//! A scalar's `is_valid` does the whole work of `parse`: a bad value is then refused before anything runs. To add one:
//! the newtype, its `#[Scalar]` with a description and, where a standard exists, `specified_by_url`.

use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::{InputValueError, InputValueResult, Name, Number, Scalar, ScalarType, Value};
use async_graphql_value::RAW_VALUE_TOKEN;
use chrono::{SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::json;

/// A moment in UTC, to the microsecond, as `PostgreSQL` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DateTime(pub(crate) chrono::DateTime<Utc>);

impl DateTime {
    /// Any offset is taken; what is finer than a microsecond is cut off. Years outside four digits would not sort as
    /// text.
    fn read(text: &str) -> Option<Self> {
        let moment = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        let moment = chrono::DateTime::from_timestamp_micros(moment.timestamp_micros())?;
        (0..=9999).contains(&chrono::Datelike::year(&moment)).then_some(Self(moment))
    }
}

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(moment: chrono::DateTime<Utc>) -> Self {
        Self(moment)
    }
}

/// A moment in UTC by RFC 3339, given with `Z` and exactly six decimals, so that moments sort as text. In an input any
/// offset is taken.
#[Scalar(name = "DateTime", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Self::read(text)
                .ok_or_else(|| InputValueError::custom("not a moment like 2026-01-31T12:00:00.000000Z (RFC 3339)")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if Self::read(text).is_some())
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// A JSON value of more values than this is kept as text while its operation goes on.
const FEW_VALUES: usize = 16;

/// Any JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// Taken apart.
    Value(serde_json::Value),
    /// As it is stored: text that has been read as JSON, and goes out as it is.
    Stored(Arc<str>),
}

impl Json {
    /// The value, wherever it is from.
    pub(crate) fn into_value(self) -> serde_json::Value {
        match self {
            Self::Value(value) => value,
            Self::Stored(text) => json::read(text.as_bytes()).unwrap_or_default(),
        }
    }

    /// Makes text of a large value, which [`Self::parse`] takes apart again: of many small parts it takes some fifty times as
    /// much memory as its text. No client can send bytes, so whatever is given as such is this text.
    pub(crate) fn condense(value: &mut Value) {
        if values_within(value, FEW_VALUES).is_none()
            && let Ok(text) = serde_json::to_vec(&Sent(value))
        {
            *value = Value::Binary(text.into_boxed_slice().into());
        }
    }
}

/// A value that a client has sent, as JSON. (The library's own way would take an object with the one key by which it knows
/// text that goes out as it is for such text.)
struct Sent<'a>(&'a Value);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Boolean(yes) => serializer.serialize_bool(*yes),
            Value::Enum(name) => serializer.serialize_str(name),
            Value::Binary(bytes) => serializer.serialize_bytes(bytes),
            Value::List(values) => serializer.collect_seq(values.iter().map(Sent)),
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name.as_str(), Sent(value))))
            }
        }
    }
}

/// How many of these are left over by a value and those in it; none where they are too few.
fn values_within(value: &Value, left: usize) -> Option<usize> {
    let left = left.checked_sub(1)?;
    match value {
        Value::List(values) => values.iter().try_fold(left, |left, value| values_within(value, left)),
        Value::Object(fields) => fields.values().try_fold(left, |left, value| values_within(value, left)),
        _ => Some(left),
    }
}

/// Any JSON value. It comes back equal, numbers as IEEE doubles or 64-bit integers; the order of an object's keys is not
/// kept.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        to_json(value).map(Self::Value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        // The library's way to hand on text as it is.
        let text = match self {
            Self::Value(value) => value.to_string(),
            Self::Stored(text) => text.to_string(),
        };
        Value::Object(IndexMap::from_iter([(Name::new(RAW_VALUE_TOKEN), Value::String(text))]))
    }
}

/// The same in JSON. (The library's own way copies everything, and heeds that key, too.) What [`Json::condense`] made text of
/// may stand within it: a variable in a document's own object.
fn to_json(value: Value) -> serde_json::Result<serde_json::Value> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Number(number) => serde_json::Value::Number(number),
        Value::String(text) => serde_json::Value::String(text),
        Value::Boolean(yes) => serde_json::Value::Bool(yes),
        Value::Enum(name) => serde_json::Value::String(name.to_string()),
        Value::Binary(text) => json::read(&text)?,
        Value::List(values) => values.into_iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| Ok((name.to_string(), to_json(value)?)))
            .collect::<serde_json::Result<_>>()?,
    })
}

/// A whole number that a JavaScript number can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SafeInt(i64);

impl SafeInt {
    /// 2^53 - 1.
    const MAX: i64 = (1 << 53) - 1;

    fn read(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        number.as_i64().filter(|value| (-Self::MAX..=Self::MAX).contains(value)).map(Self)
    }
}

/// Positions and counts, which grow by one a record: none comes near the limit within the server's life.
impl From<i64> for SafeInt {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

/// A whole number of up to 53 bits as a JSON number: no JavaScript client rounds it.
#[Scalar(name = "SafeInt", specified_by_url = "https://tc39.es/ecma262/#sec-number.issafeinteger")]
impl ScalarType for SafeInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        Self::read(&value).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn is_valid(value: &Value) -> bool {
        Self::read(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::Number(Number::from(self.0))
    }
}

/// A UUID, given in lower case with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uuid(pub(crate) uuid::Uuid);

/// A UUID by RFC 9562, given in lower case with hyphens; in an input either case, with or without hyphens.
#[Scalar(name = "UUID", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc9562")]
impl ScalarType for Uuid {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => uuid::Uuid::try_parse(text).map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if uuid::Uuid::try_parse(text).is_ok())
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Where a user's feed stands. The service makes and reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedCursor(pub(crate) String);

/// A place in a user's feed, at most 300 characters. Opaque: only ever given back, to a subscription's `after`. It is not
/// a page's cursor.
#[Scalar(name = "FeedCursor")]
impl ScalarType for FeedCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Option<Value> {
        DateTime::parse(Value::String(text.to_owned())).ok().map(|date| date.to_value())
    }

    #[test]
    fn a_moment_is_given_with_z_and_six_decimals() {
        let same = [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
            ("2026-01-31T12:00:00.5+02:00", "2026-01-31T10:00:00.500000Z"),
            ("2026-01-31t12:00:00.123456789z", "2026-01-31T12:00:00.123456Z"),
            ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ];
        for (given, told) in same {
            assert_eq!(date(given), Some(Value::from(told)), "{given}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00+01:00"]
        {
            assert_eq!(date(text), None, "{text}");
            assert!(!DateTime::is_valid(&Value::from(text)), "{text}");
        }
        assert!(!DateTime::is_valid(&Value::from(1_769_860_800)));
    }

    #[test]
    fn a_safe_int_ends_at_53_bits() {
        for (value, good) in [
            (Value::from(9_007_199_254_740_991_i64), true),
            (Value::from(9_007_199_254_740_992_i64), false),
            (Value::from(-9_007_199_254_740_991_i64), true),
            (Value::from(-9_007_199_254_740_992_i64), false),
            (Value::from(1.5), false),
            (Value::from("1"), false),
        ] {
            assert_eq!(SafeInt::is_valid(&value), good, "{value}");
            assert_eq!(SafeInt::parse(value).is_ok(), good);
        }
    }

    #[test]
    fn json_comes_back_equal() {
        let json = serde_json::json!({"a": [1, -9_223_372_036_854_775_808_i64, 1.5, null, {"b": "ü\u{0}"}]});
        let there = serde_json::to_string(&Json::Value(json.clone()).to_value()).unwrap();
        let there: Value = serde_json::from_str(&there).unwrap();
        assert_eq!(Json::parse(there).map(Json::into_value).ok(), Some(json));
    }

    #[test]
    fn json_of_many_parts_is_kept_as_text_and_comes_back_equal() {
        let kept = |json: serde_json::Value| {
            let mut value = Value::from_json(json.clone()).unwrap();
            Json::condense(&mut value);
            let is_text = matches!(value, Value::Binary(_));
            assert_eq!(Json::parse(value).map(Json::into_value).ok(), Some(json));
            is_text
        };
        let many =
            |parts: usize| serde_json::json!({"a": vec![serde_json::json!({"b": 31.245_270_191_439_438}); parts]});
        assert!(!kept(serde_json::json!("x".repeat(10_000))) && !kept(many(7)));
        assert!(kept(many(8)) && kept(many(1_000)));
        let mark = serde_json::json!({ RAW_VALUE_TOKEN: "[1, 2]" });
        assert!(kept(serde_json::Value::Array(vec![mark; 20])));
    }

    #[test]
    fn stored_json_goes_out_as_it_is_and_nothing_that_is_sent_is_taken_for_it() {
        let stored = Json::Stored(r#"{"a": [1, 1e3]}"#.into()).to_value();
        assert_eq!(serde_json::to_string(&stored).unwrap(), r#"{"a": [1, 1e3]}"#);
        let sent = serde_json::json!({ RAW_VALUE_TOKEN: "[1, 2]" });
        let value: Value = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(Json::parse(value).map(Json::into_value).ok(), Some(sent));
    }

    #[test]
    fn a_uuid_is_told_in_one_spelling() {
        let value = Value::from("67E5504410B1426F9247BB680E5FE0C8");
        assert!(Uuid::is_valid(&value));
        let told = Uuid::parse(value).map(|uuid| uuid.to_value()).ok();
        assert_eq!(told, Some(Value::from("67e55044-10b1-426f-9247-bb680e5fe0c8")));
        assert!(!Uuid::is_valid(&Value::from("67e55044")));
    }
}
