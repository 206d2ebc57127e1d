//! JSON of others, as values: whatever comes from a client, a token, a notification or a stored record, and is read by us as a
//! [`Value`], is read here. (A token's header is read by the library, too, of 8 KiB at the most.) And how long a text is as JSON.
//!
//! `serde_json`'s own `Value` takes an object whose first key is the crate's mark for raw text for such text, and reads that
//! in turn, at depth 0: so a quarter of a megabyte nests twenty thousand levels, and the stack ends, and with it the
//! program. Here an object is an object, and nothing nests deeper than `serde_json`'s 127 levels. (Where a struct of our own
//! names its fields, without `flatten`, and in GraphQL's values there is no such mark.)

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value of somebody else's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plain(pub(crate) Value);

/// Reads a value, and nothing behind it.
pub(crate) fn read(text: impl AsRef<[u8]>) -> serde_json::Result<Value> {
    serde_json::from_slice(text.as_ref()).map(|Plain(value)| value)
}

/// How long a text is as JSON, in its quotes, without writing it.
pub(crate) fn text_bytes(text: &str) -> usize {
    // Mostly nothing is escaped: to count what is takes many bytes in one instruction.
    let escaped = text.bytes().filter(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\').count();
    if escaped == 0 {
        return text.len() + 2;
    }
    // By a letter behind a backslash; what is not, by four digits and two more.
    let is_short = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C);
    let short = text.bytes().filter(is_short).count();
    text.len() + 2 + short + 5 * (escaped - short)
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Plain(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Plain(value))) = items.next_entry()? {
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_what_serde_json_reads() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            r#"{"b":[1,-2,1.5,31.245270191439438,18446744073709551615,-9223372036854775808,1e308],"a":{"é\n\u0000":"\ud834\udd1e"}}"#,
            r#"{"a":1,"a":2}"#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for text in ["", "1 2", "1e400", "[1,]", "{\"a\"}", "nul", &"[".repeat(200)] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_length_of_a_text_is_told_without_writing_it() {
        for text in ["", "a", "é😀", "\"\\/", "\n\r\t\u{8}\u{c}", "\u{0}\u{1}\u{1f}\u{7f}", "a\u{1b}\nb"] {
            assert_eq!(text_bytes(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_raw_text_is_an_object() {
        let mut value = json!({ "$serde_json::private::RawValue": "[1, 2]" });
        for _ in 0..3 {
            assert_eq!(read(value.to_string()).unwrap(), value);
            value = json!([{ "$serde_json::private::RawValue": value.to_string() }]);
        }
    }
}
