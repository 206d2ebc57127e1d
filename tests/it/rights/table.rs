//! Who gets what: a row for each way to ask each field, with the answer written in it. A field of a root, a field with
//! arguments, and a type behind `node` need rows: [`coverage`](super::coverage) counts.
//!
//! An answer is the root field's JSON, or the code of the error. In both, `{task}` is the cell's own task of Anna's,
//! `{taskNode}`, `{stepNode}`, `{recordNode}` and `{userNode}` are global ids of Anna's, `{head}` is where her feed stood before the first
//! row, and `{start}` where that of an unknown user of her name would stand.

/// A question, and what each of the five is told.
pub(crate) struct Row {
    /// What it is about, as `Query.task` or `node:Task`.
    pub(crate) about: &'static str,
    /// What is there before.
    pub(crate) before: Before,
    /// The document.
    pub(crate) ask: &'static str,
    /// Nobody, Anna, Ben, a worker, an admin.
    pub(crate) answers: [&'static str; 5],
}

/// What a cell's own task is, before it is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// There is none.
    Nothing,
    /// Anna's, at its first step.
    Running,
    /// The same, cancelled.
    Cancelled,
}
use Before::{Cancelled, Nothing, Running};

pub(super) const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
pub(super) const FORBIDDEN: &str = "FORBIDDEN";
/// Who acts for everyone has to say for whom.
pub(super) const NAME_ONE: &str = "BAD_USER_INPUT";
/// Nothing is asked for.
const EMPTY: &str = "BAD_USER_INPUT";

pub(super) const fn row(about: &'static str, ask: &'static str, answers: [&'static str; 5]) -> Row {
    Row { about, before: Nothing, ask, answers }
}

pub(super) const fn on(about: &'static str, before: Before, ask: &'static str, answers: [&'static str; 5]) -> Row {
    Row { about, before, ask, answers }
}

/// Anna's, by whoever may see everybody's; Ben is told what he would be told if there were none.
const fn hers(about: &'static str, ask: &'static str, there: &'static str, not_there: &'static str) -> Row {
    row(about, ask, [UNAUTHENTICATED, there, not_there, there, there])
}

pub(crate) const TABLE: &[Row] = &[
    row(
        "Query.viewer",
        "{ viewer { userId role maySave } }",
        [
            UNAUTHENTICATED,
            r#"{"userId":"anna","role":"USER","maySave":false}"#,
            r#"{"userId":"ben","role":"USER","maySave":false}"#,
            r#"{"userId":"hand","role":"WORKER","maySave":true}"#,
            r#"{"userId":"root","role":"ADMIN","maySave":true}"#,
        ],
    ),
    hers("Query.task", r#"{ task(userId: "anna", taskId: "t") { name } }"#, r#"{"name":"Anna's"}"#, "null"),
    hers("Query.task", r#"{ task(userId: "anna", taskId: "no") { name } }"#, "null", "null"),
    row(
        "Query.task",
        r#"{ task(taskId: "t") { name } }"#,
        [UNAUTHENTICATED, r#"{"name":"Anna's"}"#, r#"{"name":"Ben's"}"#, NAME_ONE, NAME_ONE],
    ),
    hers("Query.taskStatus", r#"{ taskStatus(userId: "anna", taskId: "t") }"#, r#""RUNNING""#, "null"),
    row(
        "Query.taskStatus",
        r#"{ taskStatus(taskId: "t") }"#,
        [UNAUTHENTICATED, r#""RUNNING""#, r#""COMPLETED""#, NAME_ONE, NAME_ONE],
    ),
    hers(
        "Query.taskHistory",
        r#"{ taskHistory(userId: "anna", taskId: "t") { nodes { step } feedCursor pageInfo { hasNextPage endCursor } } }"#,
        r#"{"nodes":[{"step":1},{"step":2}],"feedCursor":"{head}","pageInfo":{"hasNextPage":false,"endCursor":"*"}}"#,
        r#"{"nodes":[],"feedCursor":"{start}","pageInfo":{"hasNextPage":false,"endCursor":null}}"#,
    ),
    row(
        "Query.taskHistory",
        r#"{ taskHistory(taskId: "t") { nodes { step } } }"#,
        [UNAUTHENTICATED, r#"{"nodes":[{"step":1},{"step":2}]}"#, r#"{"nodes":[{"step":1}]}"#, NAME_ONE, NAME_ONE],
    ),
    hers(
        "Query.tasks",
        r#"{ tasks(userId: "anna") { nodes { taskId } feedCursor pageInfo { hasNextPage } } }"#,
        r#"{"nodes":[{"taskId":"stop"},{"taskId":"t"}],"feedCursor":"{head}","pageInfo":{"hasNextPage":false}}"#,
        r#"{"nodes":[],"feedCursor":"{start}","pageInfo":{"hasNextPage":false}}"#,
    ),
    row(
        "Query.tasks",
        "{ tasks { nodes { userId taskId } } }",
        [
            UNAUTHENTICATED,
            r#"{"nodes":[{"userId":"anna","taskId":"stop"},{"userId":"anna","taskId":"t"}]}"#,
            r#"{"nodes":[{"userId":"ben","taskId":"t"}]}"#,
            r#"{"nodes":[{"userId":"anna","taskId":"stop"},{"userId":"ben","taskId":"t"},{"userId":"anna","taskId":"t"}]}"#,
            r#"{"nodes":[{"userId":"anna","taskId":"stop"},{"userId":"ben","taskId":"t"},{"userId":"anna","taskId":"t"}]}"#,
        ],
    ),
    hers(
        "Task.cancellation",
        r#"{ task(userId: "anna", taskId: "stop") { cancellation { requestedAt } } }"#,
        r#"{"cancellation":{"requestedAt":"*"}}"#,
        "null",
    ),
    hers(
        "TaskStep.record",
        r#"{ task(userId: "anna", taskId: "t") { steps(first: 1) { nodes { record { step } } } } }"#,
        r#"{"steps":{"nodes":[{"record":{"step":1}}]}}"#,
        "null",
    ),
    hers(
        "TaskConnection.count",
        r#"{ tasks(userId: "anna", first: 0) { count { value isExact } } }"#,
        r#"{"count":{"value":2,"isExact":true}}"#,
        r#"{"count":{"value":0,"isExact":true}}"#,
    ),
    row(
        "TaskConnection.count",
        "{ tasks(first: 0) { count { value } } }",
        [
            UNAUTHENTICATED,
            r#"{"count":{"value":2}}"#,
            r#"{"count":{"value":1}}"#,
            r#"{"count":{"value":3}}"#,
            r#"{"count":{"value":3}}"#,
        ],
    ),
    hers(
        "Task.steps",
        r#"{ task(userId: "anna", taskId: "t") { steps { nodes { step } } } }"#,
        r#"{"steps":{"nodes":[{"step":1},{"step":2}]}}"#,
        "null",
    ),
    hers(
        "Task.history",
        r#"{ task(userId: "anna", taskId: "t") { history { nodes { step } } } }"#,
        r#"{"history":{"nodes":[{"step":1},{"step":2}]}}"#,
        "null",
    ),
    hers(
        "Query.feed",
        r#"{ feed(userId: "anna") { position cursor oldestPosition } }"#,
        r#"{"position":4,"cursor":"{head}","oldestPosition":1}"#,
        r#"{"position":0,"cursor":"{start}","oldestPosition":null}"#,
    ),
    row(
        "Query.feed",
        "{ feed { position } }",
        [UNAUTHENTICATED, r#"{"position":4}"#, r#"{"position":1}"#, NAME_ONE, NAME_ONE],
    ),
    hers(
        "Query.taskFacets",
        r#"{ taskFacets(userId: "anna") { names { value count } tags { value } errorCodes { value } } }"#,
        r#"{"names":[{"value":"Anna's","count":1}],"tags":[],"errorCodes":[]}"#,
        r#"{"names":[],"tags":[],"errorCodes":[]}"#,
    ),
    row(
        "Query.taskFacets",
        "{ taskFacets { names { value } } }",
        [
            UNAUTHENTICATED,
            r#"{"names":[{"value":"Anna's"}]}"#,
            r#"{"names":[{"value":"Ben's"}]}"#,
            r#"{"names":[{"value":"Anna's"},{"value":"Ben's"}]}"#,
            r#"{"names":[{"value":"Anna's"},{"value":"Ben's"}]}"#,
        ],
    ),
    hers(
        "Query.taskStatistics",
        r#"{ taskStatistics(userId: "anna") { total byStatus { status count } } }"#,
        r#"{"total":2,"byStatus":[{"status":"PENDING","count":0},{"status":"RUNNING","count":1},{"status":"COMPLETED","count":0},
            {"status":"FAILED","count":0},{"status":"CANCELLED","count":1},{"status":"TIMED_OUT","count":0}]}"#,
        r#"{"total":0,"byStatus":[{"status":"PENDING","count":0},{"status":"RUNNING","count":0},{"status":"COMPLETED","count":0},
            {"status":"FAILED","count":0},{"status":"CANCELLED","count":0},{"status":"TIMED_OUT","count":0}]}"#,
    ),
    row(
        "Query.taskStatistics",
        "{ taskStatistics { total } }",
        [UNAUTHENTICATED, r#"{"total":2}"#, r#"{"total":1}"#, r#"{"total":3}"#, r#"{"total":3}"#],
    ),
    row(
        "Query.system",
        "{ system { retention { keepDays } } }",
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, r#"{"retention":{"keepDays":30}}"#],
    ),
    row(
        "System.slowQueries",
        "{ system { slowQueries(first: 0) { query } } }",
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, "SLOW_QUERIES_UNAVAILABLE"],
    ),
    row(
        "System.queryPlan",
        r#"{ system { queryPlan(query: STEPS, userId: "anna", taskId: "no") } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, r#"{"queryPlan":null}"#],
    ),
    row(
        "Query.users",
        "{ users { nodes { userId feed { position oldestPosition } } } }",
        [
            UNAUTHENTICATED,
            FORBIDDEN,
            FORBIDDEN,
            r#"{"nodes":[{"userId":"anna","feed":{"position":4,"oldestPosition":1}},{"userId":"ben","feed":{"position":1,"oldestPosition":1}}]}"#,
            r#"{"nodes":[{"userId":"anna","feed":{"position":4,"oldestPosition":1}},{"userId":"ben","feed":{"position":1,"oldestPosition":1}}]}"#,
        ],
    ),
    row(
        "Query.users",
        r#"{ users(userIdPrefix: "anna") { nodes { userId } } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, r#"{"nodes":[{"userId":"anna"}]}"#, r#"{"nodes":[{"userId":"anna"}]}"#],
    ),
    hers(
        "node:User",
        r#"{ node(id: "{userNode}") { ... on User { userId feed { position oldestPosition } } } }"#,
        r#"{"userId":"anna","feed":{"position":4,"oldestPosition":1}}"#,
        "null",
    ),
    hers("Query.node", r#"{ node(id: "{taskNode}") { __typename } }"#, r#"{"__typename":"Task"}"#, "null"),
    hers(
        "node:Task",
        r#"{ node(id: "{taskNode}") { ... on Task { name history { nodes { step } } } } }"#,
        r#"{"name":"Anna's","history":{"nodes":[{"step":1},{"step":2}]}}"#,
        "null",
    ),
    hers("node:TaskStep", r#"{ node(id: "{stepNode}") { ... on TaskStep { step } } }"#, r#"{"step":1}"#, "null"),
    hers(
        "node:TaskRecord",
        r#"{ node(id: "{recordNode}") { ... on TaskRecord { position } } }"#,
        r#"{"position":1}"#,
        "null",
    ),
    hers(
        "Query.nodes",
        r#"{ nodes(ids: ["{taskNode}", "{stepNode}", "{recordNode}", "x"]) { __typename } }"#,
        r#"[{"__typename":"Task"},{"__typename":"TaskStep"},{"__typename":"TaskRecord"},null]"#,
        "[null,null,null,null]",
    ),
    row(
        "Subscription.taskEvents",
        r#"subscription { taskEvents(userId: "anna", fromStart: true) { record { userId position } } }"#,
        [
            UNAUTHENTICATED,
            r#"{"record":{"userId":"anna","position":1}}"#,
            FORBIDDEN,
            r#"{"record":{"userId":"anna","position":1}}"#,
            r#"{"record":{"userId":"anna","position":1}}"#,
        ],
    ),
    row(
        "Subscription.taskEvents",
        r#"subscription { taskEvents(userId: "nobody", fromStart: true) { isReplay } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, "SILENCE", "SILENCE"],
    ),
    row(
        "Subscription.taskEvents",
        "subscription { taskEvents(fromStart: true) { record { userId } } }",
        [UNAUTHENTICATED, r#"{"record":{"userId":"anna"}}"#, r#"{"record":{"userId":"ben"}}"#, NAME_ONE, NAME_ONE],
    ),
    row(
        "Subscription.taskChanged",
        r#"subscription { taskChanged(userId: "anna", taskId: "t") { task { name } } }"#,
        [
            UNAUTHENTICATED,
            r#"{"task":{"name":"Anna's"}}"#,
            FORBIDDEN,
            r#"{"task":{"name":"Anna's"}}"#,
            r#"{"task":{"name":"Anna's"}}"#,
        ],
    ),
    row(
        "Subscription.taskChanged",
        r#"subscription { taskChanged(userId: "anna") { feedCursor } }"#,
        [
            UNAUTHENTICATED,
            r#"{"feedCursor":"{head}"}"#,
            FORBIDDEN,
            r#"{"feedCursor":"{head}"}"#,
            r#"{"feedCursor":"{head}"}"#,
        ],
    ),
    row(
        "Subscription.taskChanged",
        "subscription { taskChanged { task { name } feedCursor } }",
        [
            UNAUTHENTICATED,
            r#"{"task":null,"feedCursor":"{head}"}"#,
            r#"{"task":null,"feedCursor":"*"}"#,
            r#"{"task":null,"feedCursor":null}"#,
            r#"{"task":null,"feedCursor":null}"#,
        ],
    ),
    row(
        "Subscription.taskChanged",
        r#"subscription { taskChanged(taskId: "t") { task { name } } }"#,
        [UNAUTHENTICATED, r#"{"task":{"name":"Anna's"}}"#, r#"{"task":{"name":"Ben's"}}"#, NAME_ONE, NAME_ONE],
    ),
    row(
        "Subscription.cancellationRequested",
        r#"subscription { cancellationRequested(userId: "anna") { task { taskId } } }"#,
        [
            UNAUTHENTICATED,
            r#"{"task":{"taskId":"stop"}}"#,
            FORBIDDEN,
            r#"{"task":{"taskId":"stop"}}"#,
            r#"{"task":{"taskId":"stop"}}"#,
        ],
    ),
    row(
        "Subscription.cancellationRequested",
        "subscription { cancellationRequested { task { taskId } } }",
        [
            UNAUTHENTICATED,
            r#"{"task":{"taskId":"stop"}}"#,
            "SILENCE",
            r#"{"task":{"taskId":"stop"}}"#,
            r#"{"task":{"taskId":"stop"}}"#,
        ],
    ),
    // From here on there is more of Anna's with every row.
    on(
        "Mutation.saveTaskHistory",
        Running,
        r#"mutation { saveTaskHistory(input: { userId: "anna", taskId: "{task}", step: 2,
            stepResult: { stepName: "s", status: RUNNING } }) { record { step reportedBy } } }"#,
        [
            UNAUTHENTICATED,
            FORBIDDEN,
            FORBIDDEN,
            r#"{"record":{"step":2,"reportedBy":"hand"}}"#,
            r#"{"record":{"step":2,"reportedBy":"root"}}"#,
        ],
    ),
    on(
        "Mutation.saveTaskHistory",
        Nothing,
        r#"mutation { saveTaskHistory(input: { taskId: "{task}", step: 1,
            stepResult: { stepName: "s", status: RUNNING } }) { isDuplicate } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, NAME_ONE, NAME_ONE],
    ),
    on(
        "Mutation.saveTaskHistoryBatch",
        Running,
        r#"mutation { saveTaskHistoryBatch(input: { records: [{ userId: "anna", taskId: "{task}", step: 2,
            stepResult: { stepName: "s", status: RUNNING } }] }) { savedCount } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, r#"{"savedCount":1}"#, r#"{"savedCount":1}"#],
    ),
    on(
        "Mutation.saveTaskHistoryBatch",
        Running,
        "mutation { saveTaskHistoryBatch(input: { records: [] }) { savedCount } }",
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, EMPTY, EMPTY],
    ),
    on(
        "Mutation.cancelTask",
        Running,
        r#"mutation { cancelTask(input: { userId: "anna", taskId: "{task}" }) { outcome task { status } } }"#,
        [
            UNAUTHENTICATED,
            r#"{"outcome":"CANCELLED","task":{"status":"CANCELLED"}}"#,
            r#"{"outcome":"NOT_FOUND","task":null}"#,
            r#"{"outcome":"CANCELLED","task":{"status":"CANCELLED"}}"#,
            r#"{"outcome":"CANCELLED","task":{"status":"CANCELLED"}}"#,
        ],
    ),
    on(
        "Mutation.cancelTask",
        Running,
        r#"mutation { cancelTask(input: { taskId: "{task}", force: true }) { outcome } }"#,
        [UNAUTHENTICATED, r#"{"outcome":"CANCELLED"}"#, r#"{"outcome":"NOT_FOUND"}"#, NAME_ONE, NAME_ONE],
    ),
    on(
        "Mutation.cancelTasks",
        Running,
        r#"mutation { cancelTasks(input: { userId: "anna", filter: { taskIds: ["{task}"] } }) {
            matched { value } cancelledCount tasks { taskId } hasMore } }"#,
        [
            UNAUTHENTICATED,
            r#"{"matched":{"value":1},"cancelledCount":1,"tasks":[{"taskId":"{task}"}],"hasMore":false}"#,
            r#"{"matched":{"value":0},"cancelledCount":0,"tasks":[],"hasMore":false}"#,
            r#"{"matched":{"value":1},"cancelledCount":1,"tasks":[{"taskId":"{task}"}],"hasMore":false}"#,
            r#"{"matched":{"value":1},"cancelledCount":1,"tasks":[{"taskId":"{task}"}],"hasMore":false}"#,
        ],
    ),
    on(
        "Mutation.cancelTasks",
        Running,
        r#"mutation { cancelTasks(input: { filter: { taskIds: ["{task}"] } }) { cancelledCount } }"#,
        [
            UNAUTHENTICATED,
            r#"{"cancelledCount":1}"#,
            r#"{"cancelledCount":0}"#,
            r#"{"cancelledCount":1}"#,
            r#"{"cancelledCount":1}"#,
        ],
    ),
    on(
        "Mutation.acknowledgeCancellation",
        Cancelled,
        r#"mutation { acknowledgeCancellation(input: { userId: "anna", taskId: "{task}", outcome: STOPPED }) { outcome } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, r#"{"outcome":"ACKNOWLEDGED"}"#, r#"{"outcome":"ACKNOWLEDGED"}"#],
    ),
    on(
        "Mutation.acknowledgeCancellation",
        Nothing,
        r#"mutation { acknowledgeCancellation(input: { taskId: "{task}", outcome: STOPPED }) { outcome } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, NAME_ONE, NAME_ONE],
    ),
    on(
        "Mutation.reportAlive",
        Cancelled,
        r#"mutation { reportAlive(input: { userId: "anna", taskId: "{task}" }) { cancellationRequested } }"#,
        [
            UNAUTHENTICATED,
            FORBIDDEN,
            FORBIDDEN,
            r#"{"cancellationRequested":true}"#,
            r#"{"cancellationRequested":true}"#,
        ],
    ),
    row(
        "Mutation.reportAlive",
        r#"mutation { reportAlive(input: { userId: "anna", taskId: "no" }) { reportDueAt } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, "null", "null"],
    ),
    row(
        "Mutation.reportAlive",
        r#"mutation { reportAlive(input: { taskId: "t" }) { reportDueAt } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, NAME_ONE, NAME_ONE],
    ),
    row(
        "Mutation.eraseUser",
        r#"mutation { eraseUser(input: { userId: "carl", confirm: "carl" }) { deletedRecords deletedTasks hasMore } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, r#"{"deletedRecords":0,"deletedTasks":0,"hasMore":false}"#],
    ),
    row(
        "Mutation.disconnectUser",
        r#"mutation { disconnectUser(input: { userId: "carl" }) { closedConnections } }"#,
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, r#"{"closedConnections":0}"#],
    ),
    row(
        "Mutation.cleanupOldTasks",
        "mutation { cleanupOldTasks(input: {}) { deletedRecords deletedTasks droppedPartitions hasMore } }",
        [
            UNAUTHENTICATED,
            FORBIDDEN,
            FORBIDDEN,
            FORBIDDEN,
            r#"{"deletedRecords":0,"deletedTasks":0,"droppedPartitions":[],"hasMore":false}"#,
        ],
    ),
    row(
        "Mutation.optimizeStorage",
        "mutation { optimizeStorage(input: {}) { reindexed } }",
        [UNAUTHENTICATED, FORBIDDEN, FORBIDDEN, FORBIDDEN, r#"{"reindexed":[]}"#],
    ),
];
