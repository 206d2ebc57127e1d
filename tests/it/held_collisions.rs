//! Collisions of writers while somebody is stuck: whoever is held anew is waited for in the database all the same, and has not
//! to hope for the moment in which it is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use taskwire::store::{LaneSettings, Lanes, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio::task::{JoinHandle, JoinSet};

use super::support::write::store_with;
use super::support::{TestDatabase, eventually, record};

/// A wait is 50 ms long: the database itself looks out for it.
const SOMEBODY_WAITS: &str = "DO $$ BEGIN
    FOR look IN 1..3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock') THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    RAISE 'nobody waits';
END $$";
/// Records; a transaction takes 500.
const MANY: usize = 2_000;
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

fn patient_lanes(database: &TestDatabase) -> Lanes {
    let settings = StoreSettings { hold_timeout: Duration::from_mins(1), ..StoreSettings::default() };
    Lanes::start(store_with(database, settings), LaneSettings::default(), Telemetry::new())
}

/// A session that holds a user of whom there is something.
async fn hold(database: &TestDatabase, lanes: &Lanes, user: &str) -> PgConnection {
    lanes.save(record(user, "t", 0)).await.unwrap();
    let mut holder = database.session().await;
    let hold = format!("BEGIN; SELECT FROM feed_head WHERE user_id = '{user}' FOR UPDATE");
    holder.execute(AssertSqlSafe(hold)).await.unwrap();
    holder
}

/// Saves for a held user; whether somebody waited for it in the database. When this returns nobody does any more.
async fn is_waited_for(database: &TestDatabase, lanes: &Lanes, user: &str) -> (bool, JoinHandle<()>) {
    let (mut looker, saver, user) = (database.session().await, lanes.clone(), user.to_owned());
    let save = tokio::spawn(async move { drop(saver.save(record(&user, "t", 1)).await.unwrap()) });
    let seen = looker.execute(SOMEBODY_WAITS).await.is_ok();
    eventually("nobody waits any more", async || {
        let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&mut looker).await.unwrap();
        (waiting == 0).then_some(())
    })
    .await;
    (seen, save)
}

/// Holders, and the saves that they hold up.
type Held = Vec<(PgConnection, JoinHandle<()>)>;

/// Saves for one held user after the other; for which of them somebody waited in the database.
async fn collide(database: &TestDatabase, lanes: &Lanes, users: &[&str]) -> (Vec<bool>, Held) {
    let (mut seen, mut held) = (Vec::new(), Vec::new());
    for user in users {
        let holder = hold(database, lanes, user).await;
        let (waited, save) = is_waited_for(database, lanes, user).await;
        seen.push(waited);
        held.push((holder, save));
    }
    (seen, held)
}

async fn let_go(held: Held) {
    for (mut holder, save) in held {
        holder.execute("COMMIT").await.unwrap();
        save.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collision_is_waited_for_though_somebody_is_stuck() {
    let database = TestDatabase::new().await;
    let lanes = patient_lanes(&database);
    // The first one is stuck from then on.
    let (seen, held) = collide(&database, &lanes, &["ann", "bob", "cat", "dan"]).await;
    let_go(held).await;
    assert!(seen[0] && seen[1..].contains(&true), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_stuck_and_is_busy_again_keeps_nobody_waiting() {
    let database = TestDatabase::new().await;
    let lanes = patient_lanes(&database);
    let mut holder = hold(&database, &lanes, "ann").await;
    let (waited, save) = is_waited_for(&database, &lanes, "ann").await;
    assert!(waited);
    // More than one transaction takes, and as many again as were saved: there is always another one while some are written.
    let stop = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn({
        let (lanes, stop) = (lanes.clone(), Arc::clone(&stop));
        async move {
            let mut saves = JoinSet::new();
            while !stop.load(Ordering::SeqCst) {
                if lanes.queued().0 < MANY {
                    let lanes = lanes.clone();
                    saves.spawn(async move { lanes.save(record("ann", "t", 1)).await });
                }
                tokio::task::yield_now().await;
            }
            saves.join_all().await.into_iter().map(Result::unwrap).count()
        }
    });
    eventually("so many wait", async || (lanes.queued().0 >= MANY).then_some(())).await;
    holder.execute("COMMIT").await.unwrap();
    save.await.unwrap();
    let (seen, held) = collide(&database, &lanes, &["bob", "cat", "dan"]).await;
    stop.store(true, Ordering::SeqCst);
    let_go(held).await;
    assert!(busy.await.unwrap() > MANY, "she was saved all along");
    assert!(seen.contains(&true), "{seen:?}");
}
