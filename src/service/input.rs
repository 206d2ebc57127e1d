//! Checks of what came in, each against its row in [`limits`]. Every error names the field, the limit and the remedy. The
//! field is put together for an error alone: a save has a dozen that are as they should be.

use std::fmt::Display;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use super::{ServiceError, TaskDetails, TaskFilter, limits};
use crate::json::text_bytes;

/// A userId or taskId.
pub(super) fn id(field: impl Display + Copy, value: &str) -> Result<(), ServiceError> {
    if value.is_empty() {
        return Err(ServiceError::bad_input(field.to_string(), format!("{field} must not be empty.")));
    }
    characters(field, value, limits::ID_CHARACTERS)
}

/// A text of at most so many characters, without NUL.
pub(super) fn characters(field: impl Display + Copy, value: &str, limit: usize) -> Result<(), ServiceError> {
    let count = value.chars().count();
    if count > limit {
        return Err(beyond(field, "characters", limit, count));
    }
    no_nul(field, value)
}

/// A text of at most so many bytes, without NUL.
pub(super) fn bytes(field: impl Display + Copy, value: &str, limit: usize) -> Result<(), ServiceError> {
    if value.len() > limit {
        return Err(beyond(field, "bytes", limit, value.len()));
    }
    no_nul(field, value)
}

fn no_nul(field: impl Display + Copy, value: &str) -> Result<(), ServiceError> {
    if value.contains('\0') {
        return Err(ServiceError::bad_input(
            field.to_string(),
            format!("{field} holds a NUL character, which PostgreSQL cannot store. Leave it out."),
        ));
    }
    Ok(())
}

/// A whole number within bounds.
pub(super) fn between(field: impl Display + Copy, value: i64, least: i64, most: i64) -> Result<(), ServiceError> {
    if value < least {
        return Err(ServiceError::beyond_limit(
            field.to_string(),
            format!("{field} must be {least} to {most}."),
            least,
            value,
        ));
    }
    if value > most {
        return Err(ServiceError::beyond_limit(
            field.to_string(),
            format!("{field} must be {least} to {most}."),
            most,
            value,
        ));
    }
    Ok(())
}

/// A list of at most so many entries.
pub(super) fn entries(field: impl Display + Copy, count: usize, limit: usize) -> Result<(), ServiceError> {
    if count > limit { Err(beyond(field, "entries", limit, count)) } else { Ok(()) }
}

/// How far something is.
pub(super) fn fraction(field: impl Display + Copy, value: f64) -> Result<(), ServiceError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(ServiceError::bad_input(field.to_string(), format!("{field} must be 0 to 1.")))
}

/// When something happened, by the reporter's clock.
pub(super) fn timestamp(
    field: impl Display + Copy,
    value: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), ServiceError> {
    let ahead = (value - now).num_seconds();
    if ahead > limits::TIMESTAMP_AHEAD_SECONDS {
        return Err(ServiceError::beyond_limit(
            field.to_string(),
            format!("{field} is more than {} seconds ahead. Check the clock.", limits::TIMESTAMP_AHEAD_SECONDS),
            limits::TIMESTAMP_AHEAD_SECONDS,
            ahead,
        ));
    }
    if value.year() < 1 {
        return Err(ServiceError::bad_input(field.to_string(), format!("{field} must not be before the year 1.")));
    }
    Ok(())
}

/// Facts about a task.
pub(super) fn details(field: impl Display + Copy, details: &TaskDetails) -> Result<(), ServiceError> {
    if let Some(name) = &details.name {
        characters(format_args!("{field}.name"), name, limits::NAME_CHARACTERS)?;
    }
    if let Some(all) = &details.tags {
        tags(format_args!("{field}.tags"), all, limits::TAGS)?;
    }
    if let Some(total) = details.total_steps {
        between(format_args!("{field}.totalSteps"), total.into(), 1, limits::TOTAL_STEPS.into())?;
    }
    if let Some(within) = details.report_within_seconds {
        between(format_args!("{field}.reportWithinSeconds"), within.into(), 0, limits::REPORT_WITHIN_SECONDS.into())?;
    }
    Ok(())
}

fn tags(field: impl Display + Copy, tags: &[String], limit: usize) -> Result<(), ServiceError> {
    entries(field, tags.len(), limit)?;
    for (index, tag) in tags.iter().enumerate() {
        if tag.is_empty() {
            let field = format!("{field}[{index}]");
            let message = format!("{field} must not be empty.");
            return Err(ServiceError::bad_input(field, message));
        }
        characters(format_args!("{field}[{index}]"), tag, limits::TAG_CHARACTERS)?;
    }
    Ok(())
}

/// A worker's own value: its levels, its numbers, its texts, and the length of its JSON text with numbers spelt out, as
/// the view `task_history` gives it back: what jsonb refuses would keep the view from showing the record.
pub(super) fn result(field: impl Display + Copy, value: &Value, limit: usize) -> Result<(), ServiceError> {
    let bytes = spelt_out(field, value, 1)?;
    if bytes > limit {
        return Err(beyond(field, "bytes of JSON text", limit, bytes));
    }
    Ok(())
}

fn spelt_out(field: impl Display + Copy, value: &Value, level: usize) -> Result<usize, ServiceError> {
    let is_nested = value.is_array() || value.is_object();
    if is_nested && level > limits::RESULT_LEVELS {
        return Err(beyond(field, "levels", limits::RESULT_LEVELS, level));
    }
    Ok(match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() => {
                if double.abs() > limits::RESULT_NUMBER {
                    let message =
                        format!("{field} holds a number beyond ±{:e}. Send it as text.", limits::RESULT_NUMBER);
                    return Err(ServiceError::bad_input(field.to_string(), message));
                }
                double.to_string().len() + 2
            }
            _ => 20,
        },
        Value::String(text) => text_length(field, text)?,
        Value::Array(items) => {
            let mut length = 2;
            for item in items {
                length += spelt_out(field, item, level + 1)? + 2;
            }
            length
        }
        Value::Object(items) => {
            let mut length = 2;
            for (key, item) in items {
                length += text_length(field, key)? + 2 + spelt_out(field, item, level + 1)? + 2;
            }
            length
        }
    })
}

fn text_length(field: impl Display + Copy, text: &str) -> Result<usize, ServiceError> {
    no_nul(field, text)?;
    Ok(text_bytes(text))
}

/// What a list asks for.
pub(super) fn filter(field: impl Display + Copy, filter: &TaskFilter) -> Result<(), ServiceError> {
    let lists = [("names", &filter.names), ("taskIds", &filter.task_ids), ("errorCodes", &filter.error_codes)];
    for (name, values) in lists {
        entries(format_args!("{field}.{name}"), values.len(), limits::FILTER_VALUES)?;
        for (index, value) in values.iter().enumerate() {
            characters(format_args!("{field}.{name}[{index}]"), value, limits::ID_CHARACTERS)?;
        }
    }
    tags(format_args!("{field}.tags"), &filter.tags, limits::TAGS)?;
    if let Some(prefix) = &filter.task_id_prefix {
        characters(format_args!("{field}.taskIdPrefix"), prefix, limits::ID_CHARACTERS)?;
    }
    Ok(())
}

fn beyond(field: impl Display + Copy, unit: &str, limit: usize, value: usize) -> ServiceError {
    let whole = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let message = format!("{field} has {value} {unit}; at most {limit} are allowed.");
    ServiceError::beyond_limit(field.to_string(), message, whole(limit), whole(value))
}
