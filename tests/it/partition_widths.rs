//! Partitions of a day, a week or a month, one width after the other; and a record has a place whatever the clock does.

use sqlx::{Executor as _, PgConnection};
use taskwire::store::Width;

use super::support::{TestDatabase, record, store_of};

/// Lower and upper bounds in order, as dates.
async fn bounds(session: &mut PgConnection) -> Vec<(Option<String>, Option<String>)> {
    session.execute("SET timezone = 'UTC'").await.unwrap();
    let sql = "SELECT left((regexp_match(b, $re$FROM \\('([^']+)'\\)$re$))[1], 10),
            left((regexp_match(b, $re$TO \\('([^']+)'\\)$re$))[1], 10)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) b
        WHERE i.inhparent = 'task_record'::regclass ORDER BY 1 NULLS FIRST";
    let all: Vec<(Option<String>, Option<String>)> = sqlx::query_as(sql).fetch_all(session).await.unwrap();
    assert_eq!((&all[0].0, &all[all.len() - 1].1), (&None, &None));
    for pair in all.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "{all:?}");
    }
    all
}

async fn divide(session: &mut PgConnection, at: &str, ahead: i32, width: &str) -> i32 {
    sqlx::query_scalar("SELECT taskwire_divide_partitions($1::text::timestamptz, $2, $3)")
        .bind(at)
        .bind(ahead)
        .bind(width)
        .fetch_one(session)
        .await
        .unwrap()
}

#[tokio::test]
async fn one_width_follows_the_other_without_a_gap() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let before = bounds(&mut session).await.len();
    // Far from what the migration made: its last week ends in a gap of weeks, which is divided too.
    let last = bounds(&mut session).await.pop().unwrap().0.unwrap();
    let day = |n: i64| {
        let date: chrono::NaiveDate = last.parse().unwrap();
        (date + chrono::TimeDelta::days(n)).to_string()
    };
    assert_eq!(divide(&mut session, &format!("{} 12:00+00", day(2)), 1, "day").await, 4);
    let all = bounds(&mut session).await;
    assert_eq!(all.len(), before + 4);
    assert_eq!(all[all.len() - 2], (Some(day(3)), Some(day(4))));
    // From a Friday on, a week ends on the next Monday.
    assert_eq!(divide(&mut session, &format!("{} 12:00+00", day(4)), 1, "week").await, 2);
    let all = bounds(&mut session).await;
    assert_eq!(all[all.len() - 3], (Some(day(4)), Some(day(7))));
    assert_eq!(all[all.len() - 2], (Some(day(7)), Some(day(14))));
    let made = divide(&mut session, &format!("{} 12:00+00", day(14)), 2, "month").await;
    assert_eq!(made, 3);
    let all = bounds(&mut session).await;
    for (_, until) in &all[all.len() - 4..all.len() - 1] {
        assert!(until.as_ref().unwrap().ends_with("-01"), "{all:?}");
    }
    assert_eq!(divide(&mut session, &format!("{} 12:00+00", day(14)), 2, "month").await, 0);
    let store = store_of(&database);
    for width in [Width::Day, Width::Week, Width::Month] {
        assert_eq!(store.divide_partitions_by(width, 1).await.unwrap(), 0, "it is divided that far");
    }
    store.save_batch([record("u", "t", 1)]).await.unwrap();
}

/// The clock jumps by a year, records come, partitions are divided, and it jumps back.
#[tokio::test]
async fn a_record_has_a_place_when_the_clock_jumps_by_a_year_and_back() {
    for width in ["day", "week", "month"] {
        let database = TestDatabase::new().await;
        let store = store_of(&database);
        let mut session = database.session().await;
        store.save_batch([record("u", "t", 1)]).await.unwrap();
        // Time does not go back for a user: so the next record comes when this one would have.
        let jump = "UPDATE feed_head SET recorded_at = now() + interval '1 year'";
        session.execute(jump).await.unwrap();
        store.save_batch([record("u", "t", 2)]).await.unwrap();
        let ahead: i64 =
            sqlx::query_scalar("SELECT count(*) FROM task_record_after").fetch_one(&mut session).await.unwrap();
        assert_eq!(ahead, 1, "nobody has divided that far");
        let sql = "SELECT taskwire_divide_partitions(now() + interval '1 year', 4, $1)";
        let made: i32 = sqlx::query_scalar(sql).bind(width).fetch_one(&mut session).await.unwrap();
        assert!((2..=61).contains(&made), "{width}: {made}");
        bounds(&mut session).await;
        // Back again: others write now, the one goes on in the year to come.
        assert_eq!(store.divide_partitions(4).await.unwrap(), 0);
        store.save_batch([record("other", "t", 1), record("u", "t", 3)]).await.unwrap();
        // And far back, where nobody has been.
        session.execute("UPDATE task_record SET recorded_at = '2001-01-01' WHERE user_id = 'other'").await.unwrap();
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM task_record").fetch_one(&mut session).await.unwrap();
        assert_eq!(found, 4);
    }
}

/// Where nothing came for a year, that year is one partition and not hundreds.
#[tokio::test]
async fn an_empty_year_is_one_partition() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let before = bounds(&mut session).await.len();
    let sql = "SELECT taskwire_divide_partitions(now() + interval '1 year', 7, 'day')";
    let made: i32 = sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap();
    assert_eq!(made, 9, "the year, that day and the seven next");
    assert_eq!(bounds(&mut session).await.len(), before + 9);
    store_of(&database).save_batch([record("u", "t", 1)]).await.unwrap();
}
