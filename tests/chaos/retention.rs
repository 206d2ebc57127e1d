//! Removing what is old, beside load and under faults. Sizes of the issue:
//! `CHAOS_PILE=1000000 cargo test --test chaos retention:: -- --nocapture` (five weeks of so many records each).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{
    client::{Client, Report},
    eventually,
    server::Server,
};

/// Five weeks of records, the fifth of them the week of 30 days ago and all of it older than that: 1,000 users and what stands
/// in {per} for each week, ten records a task. Loaded before the indexes are there.
const PILE: &str = "
    DO $$
    DECLARE
        v_per     integer := {per} / 1000;
        v_cutoff  timestamptz := now() - interval '30 days 10 minutes';
        v_divided timestamptz := taskwire_bound(v_cutoff, 'week');
        v_start   timestamptz;
        v_span    interval;
    BEGIN
        SET LOCAL timezone = 'UTC';
        ALTER TABLE task_record DETACH PARTITION task_record_before;
        EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_before FOR VALUES FROM (MINVALUE) TO (%L)',
            v_divided - interval '4 weeks');
        CREATE TABLE pile (k integer, start timestamptz, span interval);
        FOR k IN 0..8 LOOP
            v_start := v_divided + (k - 4) * interval '1 week';
            EXIT WHEN v_start >= taskwire_bound(now(), 'week');
            v_span := CASE k WHEN 4 THEN v_cutoff - v_start ELSE interval '6 days' END;
            EXECUTE format('CREATE TABLE %I (LIKE task_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', taskwire_partition_name(v_start));
            IF k <= 4 THEN
                INSERT INTO pile VALUES (k, v_start, v_span);
                EXECUTE format($sql$
                    INSERT INTO %I (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
                    SELECT 'pile' || u, 't' || (%3$s * %2$s + j) / 10, j, '{\"step\": \"s\", \"message\": \"\"}', at, 'running',
                           %3$s * %2$s + j + 1, at, gen_random_uuid()
                    FROM generate_series(0, %2$s - 1) j, generate_series(1, 1000) u,
                         LATERAL (SELECT %4$L::timestamptz + %5$L::interval * j / %2$s) a (at)
                $sql$, taskwire_partition_name(v_start), v_per, k, v_start, v_span);
            END IF;
            EXECUTE format('ALTER TABLE task_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                taskwire_partition_name(v_start), v_start, v_start + interval '1 week');
        END LOOP;
        INSERT INTO task (position, moved_position, moved_at, steps_from_position, steps_from_at, created_at, updated_at, record_id,
                          step, highest_step, user_id, task_id, status, step_status, finished_at)
            SELECT last + 1, last + 1, at, last + 1, at, at, at, gen_random_uuid(), 1, 1, 'pile' || u, 't' || t, 'completed', 'completed', at
            FROM generate_series(1, 1000) u, generate_series(0, (v_per * 5 - 1) / 10) t,
                 LATERAL (SELECT least(t * 10 + 9, v_per * 5 - 1)) l (last), pile p,
                 LATERAL (SELECT p.start + p.span * (last - p.k * v_per) / v_per) a (at)
            WHERE p.k = last / v_per;
        INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, finished_at)
            SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id(), finished_at FROM task WHERE user_id LIKE 'pile%';
        INSERT INTO feed_head (user_id, position, recorded_at, record_id)
            SELECT user_id, max(position), max(updated_at), gen_random_uuid() FROM task WHERE user_id LIKE 'pile%' GROUP BY user_id;
        DROP TABLE pile;
    END
    $$";

async fn pile_up(psql: &mut PgConnection, per_week: i64) {
    psql.execute(AssertSqlSafe(PILE.replace("{per}", &per_week.to_string()))).await.unwrap();
    psql.execute("VACUUM ANALYZE").await.unwrap();
    psql.execute("CHECKPOINT").await.unwrap();
}

async fn count(psql: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(psql).await.unwrap()
}

/// `cleanupOldTasks` by this server, however long it takes.
async fn cleanup(address: std::net::SocketAddr, days: i64) -> Value {
    let query = "mutation($input: CleanupOldTasksInput!) { cleanupOldTasks(input: $input) { deletedRecords deletedTasks droppedPartitions hasMore } }";
    let body = json!({ "query": query, "variables": { "input": { "daysOld": days } } });
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(format!("http://{address}/graphql"));
    request.json(&body).send().await.unwrap().json().await.unwrap()
}

const HOLES: &str = "SELECT count(*) FROM (SELECT r.user_id FROM task_record r JOIN feed_head h USING (user_id) \
    GROUP BY r.user_id HAVING max(r.position) - min(r.position) + 1 <> count(*) OR max(r.position) <> min(h.position)) x";

/// Who was stopped for longer than its lease and wakes up does nothing beside its successor, nor after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_stopped_does_nothing_more_when_it_wakes_up() {
    let host = Server::start(&[]).await;
    let other = Server::start_beside(&host, &[]).await;
    let mut psql = host.psql().await;
    pile_up(&mut psql, 60_000).await;
    let address = other.address();
    let stopped = tokio::spawn(async move { cleanup(address, 30).await });
    let divided = "SELECT count(*) FROM task_record";
    eventually("it is in the middle of it", async || {
        let left = count(&mut psql, divided).await;
        (left < 59_000 && left > 0).then_some(())
    })
    .await;
    other.signal(Signal::STOP);
    let left = count(&mut psql, divided).await;
    assert!(left > 2_000, "it was through before it was stopped");
    let begin = Instant::now();
    let done = cleanup(host.address(), 30).await;
    assert_eq!(done["data"]["cleanupOldTasks"]["hasMore"], false, "{done}");
    assert!(begin.elapsed() > Duration::from_secs(12), "it did not wait for the lease: {:?}", begin.elapsed());
    assert_eq!(count(&mut psql, divided).await, 0);
    assert_eq!(count(&mut psql, "SELECT count(*) FROM task").await, 0);

    // What the one that was stopped would go on with: older than its cut-off, and behind the place where it was.
    let bait = "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id) \
        SELECT 'zz' || u, 't', 1, '{}', now(), 'running', p, now() - interval '31 days', gen_random_uuid() \
        FROM generate_series(1, 100) u, generate_series(1, 10) p; \
        INSERT INTO task (position, moved_position, moved_at, steps_from_position, steps_from_at, created_at, updated_at, record_id, step, \
                          highest_step, user_id, task_id, status, step_status, finished_at) \
        SELECT 10, 10, at, 1, at, at, at, gen_random_uuid(), 1, 1, 'zz' || u, 't', 'completed', 'completed', at \
        FROM generate_series(1, 100) u, (SELECT now() - interval '31 days') a (at); \
        INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, finished_at) \
        SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id(), finished_at FROM task; \
        INSERT INTO feed_head (user_id, position, recorded_at) SELECT user_id, position, updated_at FROM task";
    psql.execute(bait).await.unwrap();
    other.signal(Signal::CONT);
    let woken = stopped.await.unwrap();
    let told = &woken["data"]["cleanupOldTasks"];
    assert!(told["hasMore"] == true || woken["errors"][0]["extensions"]["retryable"] == true, "{woken}");
    assert_eq!(count(&mut psql, divided).await, 1_000, "it went on beside its successor: {woken}");
    assert_eq!(count(&mut psql, "SELECT count(*) FROM task").await, 100);
    // It is in order again, and may do it in its turn.
    let done = cleanup(other.address(), 30).await;
    assert_eq!(done["data"]["cleanupOldTasks"]["deletedTasks"], 100, "{done}");
    assert_eq!(count(&mut psql, divided).await, 0);
}

fn pile() -> i64 {
    std::env::var("CHAOS_PILE").map_or(20_000, |size| size.parse().unwrap())
}

/// Saves 500 times a second until `work` is done; what each took from the moment when it was due.
async fn saves_beside<T>(client: &Client, work: impl Future<Output = T>) -> (T, Vec<Duration>) {
    let took = Arc::new(Mutex::new(Vec::new()));
    let mut all = tokio::task::JoinSet::new();
    let mut tick = interval(Duration::from_millis(2));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut work = std::pin::pin!(work);
    let mut number = 0_i64;
    let done = loop {
        let due = tokio::select! {
            biased;
            done = &mut work => break done,
            due = tick.tick() => due,
        };
        let (client, took) = (client.clone(), Arc::clone(&took));
        number += 1;
        let report = Report {
            user_id: format!("user-{}", number % 50),
            task_id: format!("task-{}", number % 1_000),
            step: number % 1_000,
            message: String::new(),
            record_id: Some(Uuid::now_v7()),
        };
        all.spawn(async move {
            client.save(&report).await.unwrap();
            took.lock().unwrap().push(due.elapsed());
        });
    };
    while let Some(saved) = all.join_next().await {
        saved.unwrap();
    }
    let mut took = std::mem::take(&mut *took.lock().unwrap());
    took.sort();
    (done, took)
}

fn summary(took: &[Duration]) -> (Duration, Duration) {
    (took[took.len() * 99 / 100], *took.last().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_hardly_feel_a_cleanup() {
    let server = Server::start(&[]).await;
    let mut psql = server.psql().await;
    pile_up(&mut psql, pile()).await;
    let client = Client::new(server.address());
    // Connections and plans.
    saves_beside(&client, tokio::time::sleep(Duration::from_secs(3))).await;
    let ((), before) = saves_beside(&client, tokio::time::sleep(Duration::from_secs(6))).await;
    let begin = Instant::now();
    let (done, during) = saves_beside(&client, cleanup(server.address(), 30)).await;
    let ((p99, slowest), (during_p99, during_slowest)) = (summary(&before), summary(&during));
    println!(
        "{} records a week: cleaned up in {:?}: {done}\n  saves before: {} p99 {p99:?} max {slowest:?}\n  saves beside: {} p99 \
         {during_p99:?} max {during_slowest:?}",
        pile(),
        begin.elapsed(),
        before.len(),
        during.len(),
    );
    let told = &done["data"]["cleanupOldTasks"];
    assert_eq!((&told["hasMore"], told["droppedPartitions"].as_array().unwrap().len()), (&json!(false), 4), "{done}");
    assert_eq!(count(&mut psql, "SELECT count(*) FROM task_record WHERE user_id LIKE 'pile%'").await, 0);
    assert_eq!(count(&mut psql, HOLES).await, 0);
    assert!(during_slowest <= Duration::from_millis(250), "a save waited {during_slowest:?}");
    // Where few are counted, a moment of the machine's own decides; at the size that counts nothing is added.
    let least = if pile() < 1_000_000 { Duration::from_millis(25) } else { Duration::ZERO };
    assert!(during_p99 <= (p99 * 2).max(least), "{p99:?} before, {during_p99:?} beside");
}

/// Records in whole partitions are gone at once, however many they are; their tasks follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_partitions_go_at_once() {
    let server = Server::start(&[]).await;
    let mut psql = server.psql().await;
    pile_up(&mut psql, pile()).await;
    let records = count(&mut psql, "SELECT count(*) FROM task_record").await;
    let address = server.address();
    let begin = Instant::now();
    let cleaning = tokio::spawn(async move { cleanup(address, 22).await });
    let partitions = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^task_record_[0-9]{8}$' \
        AND relname < taskwire_partition_name(taskwire_bound(now() - interval '22 days', 'week'))";
    eventually("they are gone", async || (count(&mut psql, partitions).await == 0).then_some(())).await;
    let took = begin.elapsed();
    let done = cleaning.await.unwrap();
    println!(
        "{records} records in whole partitions were gone after {took:?}, their tasks after {:?}: {done}",
        begin.elapsed()
    );
    assert_eq!(count(&mut psql, "SELECT count(*) FROM task_record").await, 0);
    assert_eq!(done["data"]["cleanupOldTasks"]["hasMore"], false, "{done}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
