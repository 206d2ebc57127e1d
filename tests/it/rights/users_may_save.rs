//! What is answered differently where users save for themselves.

use super::table::Before::{Cancelled, Nothing, Running};
use super::table::{FORBIDDEN, NAME_ONE, Row, UNAUTHENTICATED, on, row};

/// What changes where users may save: for themselves alone.
pub(crate) const USERS_MAY_SAVE: &[Row] = &[
    row(
        "Query.viewer",
        "{ viewer { maySave } }",
        [UNAUTHENTICATED, r#"{"maySave":true}"#, r#"{"maySave":true}"#, r#"{"maySave":true}"#, r#"{"maySave":true}"#],
    ),
    on(
        "Mutation.saveTaskHistory",
        Running,
        r#"mutation { saveTaskHistory(input: { userId: "anna", taskId: "{task}", step: 2,
            stepResult: { stepName: "s", status: RUNNING } }) { record { userId step } } }"#,
        [
            UNAUTHENTICATED,
            r#"{"record":{"userId":"anna","step":2}}"#,
            FORBIDDEN,
            r#"{"record":{"userId":"anna","step":2}}"#,
            r#"{"record":{"userId":"anna","step":2}}"#,
        ],
    ),
    on(
        "Mutation.saveTaskHistory",
        Nothing,
        r#"mutation { saveTaskHistory(input: { taskId: "{task}", step: 1,
            stepResult: { stepName: "s", status: RUNNING } }) { record { userId } } }"#,
        [UNAUTHENTICATED, r#"{"record":{"userId":"anna"}}"#, r#"{"record":{"userId":"ben"}}"#, NAME_ONE, NAME_ONE],
    ),
    on(
        "Mutation.saveTaskHistory",
        Nothing,
        r#"mutation { saveTaskHistory(input: { userId: "nobody", taskId: "{task}", step: 1,
            stepResult: { stepName: "s", status: RUNNING } }) { record { userId } } }"#,
        [
            UNAUTHENTICATED,
            FORBIDDEN,
            FORBIDDEN,
            r#"{"record":{"userId":"nobody"}}"#,
            r#"{"record":{"userId":"nobody"}}"#,
        ],
    ),
    on(
        "Mutation.saveTaskHistoryBatch",
        Running,
        r#"mutation { saveTaskHistoryBatch(input: { records: [
            { taskId: "x", step: 1, stepResult: { stepName: "s", status: RUNNING } },
            { userId: "anna", taskId: "{task}", step: 2, stepResult: { stepName: "s", status: RUNNING } }] }) { savedCount } }"#,
        [UNAUTHENTICATED, r#"{"savedCount":2}"#, FORBIDDEN, NAME_ONE, NAME_ONE],
    ),
    on(
        "Mutation.acknowledgeCancellation",
        Cancelled,
        r#"mutation { acknowledgeCancellation(input: { userId: "anna", taskId: "{task}", outcome: STOPPED }) { outcome } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, r#"{"outcome":"ACKNOWLEDGED"}"#, r#"{"outcome":"ACKNOWLEDGED"}"#],
    ),
];
