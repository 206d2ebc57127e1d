//! What each duty of a batch costs: the same load over a database whose append path leaves one of them out. What is left out
//! is written here as a change of the function's text, and each change has to be found there, so that none goes stale.

use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::batches;
use super::report::{Claim, Round};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::Result;

const DATABASE: &str = "duties";
const APPEND: &str = "taskwire_append_v1";

/// A database without one or more of the duties.
struct Without {
    name: &'static str,
    /// In the append function: this, and what stands there instead.
    changes: &'static [(&'static str, &'static str)],
    /// Before the load.
    sql: &'static str,
}

/// Neither by the heads nor by a look.
const NO_LOOK_UP: (&str, &str) = ("v_may_know := v_heads.all_new IS NOT TRUE", "v_may_know := false");
const NO_IDS: (&str, &str) = ("taskwire_lock_heads(p_heads, p_lowest,", "taskwire_lock_heads(p_heads, NULL,");
const NO_HIGHEST: (&str, &str) = ("greatest(h.highest_record_id, p_highest[p_head_of[f.ord]])", "h.highest_record_id");
const NO_BEGUN: (&str, &str) = ("WHERE f.is_last AND f.stored_at IS NULL", "WHERE false");
const NO_MOVED: (&str, &str) = ("WHERE f.is_last AND t.ctid = f.stored_at", "WHERE false");
const NO_LEFT: (&str, &str) = ("WHERE f.is_last AND o.user_id = f.user_id", "WHERE false AND o.user_id = f.user_id");
const NO_ENTERED: (&str, &str) = ("FROM folded f WHERE f.is_last\n", "FROM folded f WHERE false\n");
const NO_NOTIFY: (&str, &str) = ("IF p_notify THEN", "IF false THEN");
/// All but the unique ones, which the append needs. The other indexes of records are the partitions' too.
const NO_RECORD_INDEX: &str = "DROP INDEX task_record_by_task";
const NO_LIST_INDEX: &str =
    "DROP INDEX task_by_user_created, task_by_created, task_order_by_status, task_order_by_updated";
const NO_BOTH: &str = "DROP INDEX task_record_by_task, task_record_by_record_id, task_by_user_created, task_by_created, \
                       task_order_by_status, task_order_by_updated";

const WITHOUT: [Without; 8] = [
    Without { name: "all duties", changes: &[], sql: "" },
    Without { name: "without the look for duplicates", changes: &[NO_LOOK_UP, NO_IDS, NO_HIGHEST], sql: "" },
    Without { name: "without the task's row", changes: &[NO_BEGUN, NO_MOVED], sql: "" },
    Without { name: "without its place in the lists", changes: &[NO_LEFT, NO_ENTERED], sql: "" },
    Without { name: "without the notification", changes: &[NO_NOTIFY], sql: "" },
    Without { name: "without the index of a task's records", changes: &[], sql: NO_RECORD_INDEX },
    Without { name: "without the lists' further indexes", changes: &[], sql: NO_LIST_INDEX },
    Without {
        name: "records, positions and heads alone",
        changes: &[NO_LOOK_UP, NO_IDS, NO_HIGHEST, NO_BEGUN, NO_MOVED, NO_LEFT, NO_ENTERED, NO_NOTIFY],
        sql: NO_BOTH,
    },
];

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(round(bench, key, number).await));
    }
    // It has no target: it says where the time of a batch goes.
    let claims: Vec<Claim> = Vec::new();
    let notes = vec![
        "Batches as in the row of that name, each time over a database that leaves some of the work out: what is saved of a \
         record's time is what that duty costs. (What several duties share is in none of the lines but the last.)"
            .to_owned(),
    ];
    Ok(Row { title: "What the duties of a batch cost".into(), notes, rounds, claims })
}

async fn round(bench: &Bench, key: Key, number: usize) -> Result<Round> {
    let mut round = Round::default();
    let mut all = None;
    for without in &WITHOUT {
        bench.tell(key, number, without.name)?;
        let taskwire = Taskwire::start(&bench.arguments.server, &bench.cluster, DATABASE).await?;
        leave_out(bench, without).await?;
        bench.cluster.checkpoint().await?;
        let mut own = Round::default();
        let a_second = batches::drive(bench, &taskwire, number, &mut own).await?;
        taskwire.stop().await?;
        let each = 1e6 / a_second;
        let whole = *all.get_or_insert(each);
        round.add(without.name, a_second, "/s");
        round.add(format!("{}: of a record's time", without.name), whole - each, "µs");
    }
    Ok(round)
}

async fn leave_out(bench: &Bench, without: &Without) -> Result<()> {
    let mut session = bench.cluster.session(DATABASE).await?;
    let sql = "SELECT pg_get_functiondef($1::regproc)";
    let mut text: String = sqlx::query(sql).bind(APPEND).fetch_one(&mut session).await?.try_get(0)?;
    for (found, instead) in without.changes {
        if text.matches(found).count() != 1 {
            return Err(
                format!("{APPEND} has changed: {found:?} stands there {} times", text.matches(found).count()).into()
            );
        }
        text = text.replace(found, instead);
    }
    session.execute(AssertSqlSafe(text)).await?;
    session.execute(AssertSqlSafe(without.sql)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stands_in_the_append_path() {
        let text = include_str!("../../../migration/sql/append.sql");
        let (_, text) = text.split_once(&format!("CREATE FUNCTION {APPEND}(")).unwrap();
        for without in &WITHOUT {
            for (found, _) in without.changes {
                assert_eq!(text.matches(found).count(), 1, "{}: {found}", without.name);
            }
        }
        let tables = include_str!("../../../migration/sql/tables.sql");
        for name in NO_BOTH.trim_start_matches("DROP INDEX ").split(',').map(str::trim) {
            assert!(tables.contains(&format!("CREATE INDEX {name} ")), "{name}");
        }
    }
}
