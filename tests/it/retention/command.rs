//! `taskwire cleanup` and `taskwire partitions`.

use super::*;
use crate::support::TestDatabase;
use crate::support::process::{run, taskwire};

#[tokio::test]
async fn the_command_counts_removes_and_lists() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    let with = |arguments: &[&str]| {
        let mut command = taskwire(&[], arguments);
        command.args(["--database-url", &database.url]);
        run(command)
    };
    let old =
        count(&mut session, "SELECT count(*) FROM task_record WHERE recorded_at < now() - interval '20 days'").await;
    let (code, said, _) = with(&["cleanup", "--days", "20", "--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("would go:  {old} records")), "{said}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 450);
    let (code, listed, _) = with(&["partitions"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(listed.lines().count(), 1 + 10 + 2 + 5, "{listed}");
    assert!(listed.lines().nth(1).unwrap().starts_with("task_record_before      open"), "{listed}");
    assert!(listed.lines().last().unwrap().contains("open"), "{listed}");

    let (code, said, _) = with(&["cleanup", "--days", "20"]).await;
    assert_eq!(code, Some(0));
    assert!(said.contains(&format!("removed:   {old} records")) && said.contains("task_record_2"), "{said}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 450 - old);
    assert_no_holes(&mut session).await;
    let (_, fewer, _) = with(&["partitions"]).await;
    assert!(fewer.lines().count() < listed.lines().count(), "{fewer}");

    let (code, _, error) = with(&["cleanup", "--days", "0"]).await;
    assert!(code == Some(2) && error.contains("1..=36525"), "{error}");
}

#[tokio::test]
async fn a_database_that_nobody_prepared_is_told_with_the_remedy() {
    let database = TestDatabase::empty().await;
    let mut command = taskwire(&[], ["partitions", "--database-url", &database.url]);
    command.env("TASKWIRE_LOG", "error");
    let (code, _, error) = run(command).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("task_record") && error.contains("taskwire migrate"), "{error}");
}
