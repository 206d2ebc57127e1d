//! What one operation may ask for. Every refusal is `LIMIT_EXCEEDED` and names the limit, its maximum and the value.
//!
//! To add a limit: a setting in `config/graphql.rs`, its check here, its row in `service/limits.rs`, and a test just under
//! and just over it in `tests/it/limits_size.rs`.

use async_graphql::{ServerError, Value, Variables};
use async_graphql_value::RAW_VALUE_TOKEN;

use super::document::{Extent, Measure};
use super::errors::{endless_text, limit_exceeded};
use crate::config::GraphqlConfig;
use crate::json::text_bytes;
use crate::service::limits::{ARGUMENT_BYTES, CIRCULAR_LISTS, NESTING, REPEATED_BYTES};

/// The limits that hold for every operation.
#[derive(Clone, Debug)]
pub(crate) struct OperationLimits(GraphqlConfig);

impl OperationLimits {
    pub(crate) fn new(config: &GraphqlConfig) -> Self {
        Self(config.clone())
    }

    pub(crate) fn depth(&self) -> u32 {
        self.0.max_depth
    }

    pub(crate) fn concurrent_operations(&self) -> u64 {
        self.0.max_concurrent_operations.into()
    }

    /// Before a document is read: its length, and its tokens, which are looked at only where the length is well.
    pub(crate) fn check_text(&self, length: usize, look: impl FnOnce(&Extent) -> Extent) -> Result<(), ServerError> {
        within("documentBytes", whole(length), whole(self.0.max_document_bytes))?;
        let tokens = usize::try_from(self.0.max_tokens).unwrap_or(usize::MAX);
        let found = look(&Extent { tokens, nesting: NESTING, is_broken: false });
        within("tokens", whole(found.tokens), self.0.max_tokens.into())?;
        within("nesting", whole(found.nesting), whole(NESTING))?;
        if found.is_broken { Err(endless_text()) } else { Ok(()) }
    }

    /// Of each operation of a document.
    pub(crate) fn check(&self, measure: &Measure) -> Result<(), ServerError> {
        within("depth", measure.depth, self.0.max_depth.into())?;
        within("rootFields", measure.root_fields, self.0.max_root_fields.into())?;
        within("aliases", measure.aliases, self.0.max_aliases.into())?;
        within("directives", measure.directives, self.0.max_directives.into())?;
        within("introspectionDepth", measure.circular_lists, CIRCULAR_LISTS)
    }

    /// Of the operation that is to be executed.
    pub(crate) fn check_cost(&self, cost: u64) -> Result<(), ServerError> {
        within("complexity", cost, self.0.max_complexity)
    }

    pub(crate) fn check_variables(&self, variables: &Variables) -> Result<(), ServerError> {
        let most = self.0.max_variables_bytes;
        let pairs = variables.iter().map(|(name, value)| name.len() + 4 + json_bytes(value, Raw::AsSent));
        within("variablesBytes", whole(pairs.sum::<usize>() + 2 - comma(variables.len())), whole(most.max(2)))
    }

    pub(crate) fn check_answer(&self, data: &Value) -> Result<(), ServerError> {
        within("answerBytes", whole(json_bytes(data, Raw::GoesOut)), whole(self.0.max_answer_bytes))
    }
}

/// Of all operations of a document together: each has a copy of what stands in the fragments that it uses.
pub(crate) fn check_arguments(bytes: impl Iterator<Item = u64>) -> Result<(), ServerError> {
    within("argumentBytes", bytes.fold(0, u64::saturating_add), whole(ARGUMENT_BYTES))
}

/// Of the variables that an operation uses more than once, each with how often it does.
pub(crate) fn check_repeated<'a>(mut repeated: impl Iterator<Item = (&'a Value, u64)>) -> Result<(), ServerError> {
    let bytes = repeated.try_fold(0_u64, |bytes, (value, times)| {
        bytes.checked_add(whole(json_bytes(value, Raw::AsSent)).checked_mul(times)?)
    });
    within("repeatedVariablesBytes", bytes.unwrap_or(u64::MAX), whole(REPEATED_BYTES))
}

fn within(limit: &'static str, value: u64, max: u64) -> Result<(), ServerError> {
    if value > max { Err(limit_exceeded(limit, max, value)) } else { Ok(()) }
}

fn whole(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Whether an object with the one key for text that goes out as it is stands for such text. What clients send is as they sent it.
#[derive(Clone, Copy)]
enum Raw {
    GoesOut,
    AsSent,
}

/// How long a value is as JSON, without writing it.
fn json_bytes(value: &Value, raw: Raw) -> usize {
    match value {
        Value::Null => 4,
        Value::Boolean(yes) => 5 - usize::from(*yes),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => digits(number),
            (None, Some(number)) => digits(number.unsigned_abs()) + 1,
            (None, None) => number.to_string().len(),
        },
        Value::String(text) => text_bytes(text),
        Value::Enum(name) => name.len() + 2,
        Value::Binary(bytes) => bytes.len() * 4 + 2,
        Value::List(values) => {
            values.iter().map(|value| json_bytes(value, raw) + 1).sum::<usize>() + 2 - comma(values.len())
        }
        Value::Object(fields) => {
            if let (Raw::GoesOut, 1, Some(Value::String(text))) = (raw, fields.len(), fields.get(RAW_VALUE_TOKEN)) {
                return text.len();
            }
            let pairs = fields.iter().map(|(name, value)| name.len() + 4 + json_bytes(value, raw));
            pairs.sum::<usize>() + 2 - comma(fields.len())
        }
    }
}

/// Of so many entries one has no comma after it.
fn comma(entries: usize) -> usize {
    usize::from(entries > 0)
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| usize::try_from(log).unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_json_is_told_without_writing_it() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-1",
            "10",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "[]",
            "[1]",
            "[1,[2,3],{}]",
            r#"{"a":null,"b":[true,false],"c":{"d":"e"}}"#,
            r#""a\"b\\c\n\t\u0001é😀""#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            for raw in [Raw::GoesOut, Raw::AsSent] {
                assert_eq!(json_bytes(&value, raw), serde_json::to_string(&value).unwrap().len(), "{text}");
            }
        }
    }

    #[test]
    fn what_a_client_sends_is_never_taken_for_text_that_goes_out_as_it_is() {
        let sent = |more: &str| -> Value {
            serde_json::from_str(&format!(r#"{{"{RAW_VALUE_TOKEN}": "[1, 2]"{more}}}"#)).unwrap()
        };
        assert_eq!(json_bytes(&sent(""), Raw::GoesOut), "[1, 2]".len());
        assert!(json_bytes(&sent(""), Raw::AsSent) > RAW_VALUE_TOKEN.len());
        let long = sent(&format!(r#", "x": "{}""#, "x".repeat(1000)));
        assert!([Raw::GoesOut, Raw::AsSent].into_iter().all(|raw| json_bytes(&long, raw) > 1000));
    }
}
