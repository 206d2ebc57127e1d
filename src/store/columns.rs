//! The columns that a statement of our own names: the entities' own, never `*`, in the order in which `rows` reads them. The tables have more (the sets of
//! steps, `xid`), of types that sqlx does not know, or that only SQL looks at.

use std::sync::LazyLock;

use entity::{task, task_record};
use sea_orm::{IdenStatic, Iterable};

/// Of a task from `from`, which is an alias or a composite value: `t_…`.
pub(super) fn task_columns(from: &str) -> String {
    let column = |column: task::Column| format!(r#"{from}."{0}" AS "t_{0}""#, column.as_str());
    task::Column::iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Of a task from an alias `t`, by their own names: where it stands alone.
pub(super) static LONE_TASK_COLUMNS: LazyLock<String> = LazyLock::new(|| {
    task::Column::iter().map(|column| format!(r#"t."{}""#, column.as_str())).collect::<Vec<_>>().join(", ")
});

/// Of a task from an alias `t`: `t_…`.
pub(super) static TASK_COLUMNS: LazyLock<String> = LazyLock::new(|| task_columns("t"));

/// Of a record of a task that is known, from an alias `r`, by their own names.
pub(super) static KNOWN_TASKS_RECORD_COLUMNS: LazyLock<String> = LazyLock::new(|| {
    let is_known =
        |column: &task_record::Column| matches!(column, task_record::Column::UserId | task_record::Column::TaskId);
    let column = |column: task_record::Column| format!(r#"r."{}""#, column.as_str());
    task_record::Column::iter().filter(|column| !is_known(column)).map(column).collect::<Vec<_>>().join(", ")
});

/// Of any record from an alias `r`, by their own names.
pub(super) static RECORD_COLUMNS: LazyLock<String> =
    LazyLock::new(|| format!("r.user_id, r.task_id, {}", *KNOWN_TASKS_RECORD_COLUMNS));

/// Of a head from an alias `h`: `h_…`.
pub(super) const HEAD_COLUMNS: &str =
    "h.position AS h_position, h.recorded_at AS h_recorded_at, h.record_id AS h_record_id";
