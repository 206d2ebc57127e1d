//! What wakes a subscription: notifications of others, and the check where one was lost; and what an outage does to it.

use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::*;
use crate::support::TestDatabase;

const SOON: Duration = Duration::from_millis(500);

/// The backends that listen: what they last did is that, or telling that they are there.
const LISTENERS: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND (query LIKE 'LISTEN %' OR query = 'SELECT 1')";

#[tokio::test]
async fn what_psql_or_another_server_writes_arrives_without_the_check() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let other = Server::start(&database.url, NO_CHECK).await;
    let mut session = database.session().await;
    let mut events = server.events("u", None).await;
    let mut changes = server.changes(Some("u"), None, None).await;
    let mut all = server.changes(None, None, None).await;
    assert!(next(&mut changes).await.unwrap().task().is_none());
    assert!(next(&mut all).await.unwrap().task().is_none());
    for position in (1..=10).step_by(2) {
        let began = Instant::now();
        insert(&mut session, "u", "a").await;
        let seen = next(&mut events).await.unwrap().record().position;
        let merged = next(&mut changes).await.unwrap().task().unwrap().position;
        let told = next(&mut all).await.unwrap().task().unwrap().position;
        assert!(began.elapsed() < SOON, "psql: {:?}", began.elapsed());
        assert_eq!([seen, merged, told], [position; 3]);

        let began = Instant::now();
        other.save("u", &["a"]).await;
        let seen = next(&mut events).await.unwrap().record().position;
        let merged = next(&mut changes).await.unwrap().task().unwrap().position;
        let told = next(&mut all).await.unwrap().task().unwrap().position;
        assert!(began.elapsed() < SOON, "the other server: {:?}", began.elapsed());
        assert_eq!([seen, merged, told], [position + 1; 3]);
    }
    assert_eq!(server.telemetry.recovered_by_check.get(), 0);
}

#[tokio::test]
async fn what_this_server_commits_costs_no_read_however_many_watch() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut watchers = Vec::new();
    for _ in 0..50 {
        watchers.push(server.events("u", None).await);
    }
    let reads = server.telemetry.feed_reads.get();
    server.save("u", &["a", "b", "a"]).await;
    server.save("u", &["b"]).await;
    for events in &mut watchers {
        assert_eq!(positions(events, 4).await, [1, 2, 3, 4]);
    }
    assert_eq!(server.telemetry.feed_reads.get(), reads);
    assert_eq!(server.telemetry.subscriptions.get(), 50);

    // What somebody else commits costs one.
    insert(&mut database.session().await, "u", "a").await;
    for events in &mut watchers {
        assert_eq!(positions(events, 1).await, [5]);
    }
    assert_eq!(server.telemetry.feed_reads.get(), reads + 1);
    drop(watchers);
    assert_eq!(server.telemetry.subscriptions.get(), 0);
}

#[tokio::test]
async fn an_own_commit_that_was_not_handed_in_is_read_all_the_same() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut events = server.events("u", None).await;
    server.save("u", &["a"]).await;
    assert_eq!(positions(&mut events, 1).await, [1]);
    // By the same pool, as when the answer to a commit is lost and the repeat finds a duplicate.
    let silent = Store::new(server.database.connection.clone(), StoreSettings::default(), Arc::new(|_| {}));
    for position in 2..5 {
        let began = Instant::now();
        silent.save_batch([record("u", "a")]).await.unwrap();
        assert_eq!(positions(&mut events, 1).await, [position]);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    assert_eq!(server.telemetry.recovered_by_check.get(), 0);
}

#[tokio::test]
async fn who_begins_to_watch_while_a_batch_is_written_misses_nothing() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut holder = database.session().await;
    run(&mut holder, "INSERT INTO feed_head (user_id) VALUES ('u'); BEGIN; SELECT FROM feed_head FOR UPDATE").await;
    let (store, batch) = (server.store.clone(), [record("u", "a"), record("u", "b")]);
    let saving = tokio::spawn(async move { store.count_batch(batch).await });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut looking = database.session().await;
    eventually("the batch to wait", async || {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut looking).await.unwrap();
        (waiting == 1).then_some(())
    })
    .await;
    // Nobody watched when it began.
    let mut events = server.events("u", None).await;
    let mut all = server.changes(None, None, None).await;
    assert!(next(&mut all).await.unwrap().task().is_none());
    run(&mut holder, "COMMIT").await;
    let saved = saving.await.unwrap().unwrap();
    assert_eq!((saved.saved, saved.tasks), (2, Vec::new()), "nothing is given to anybody by memory");
    assert_eq!(positions(&mut events, 2).await, [1, 2]);
    for task in ["a", "b"] {
        assert_eq!(next(&mut all).await.unwrap().task().unwrap().task_id, task);
    }
    assert_eq!(server.telemetry.recovered_by_check.get(), 0);
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for_and_counted() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, Duration::from_secs(1)).await;
    let mut events = server.events("u", None).await;
    let mut all = server.changes(None, None, None).await;
    assert!(next(&mut all).await.unwrap().task().is_none());
    let mut session = database.session().await;
    insert(&mut session, "u", "a").await;
    assert_eq!(positions(&mut events, 1).await, [1]);
    next(&mut all).await.unwrap();

    for round in 1..=3 {
        let reconnects = server.telemetry.listener_reconnects.get();
        // The commit comes when the listener is gone, and at once: before it is back.
        let sql = format!(
            "DO $$ DECLARE v_listeners integer[]; BEGIN
                 v_listeners := ARRAY({LISTENERS} AND pid <> pg_backend_pid());
                 INSERT INTO task_history (user_id, task_id, step, result, status) VALUES ('u', 'a', 0, '{{}}', 'running');
                 PERFORM pg_terminate_backend(pid) FROM unnest(v_listeners) pid;
                 WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY (v_listeners)) LOOP
                     PERFORM pg_stat_clear_snapshot();
                 END LOOP;
             END $$"
        );
        run(&mut session, &sql).await;
        assert_eq!(positions(&mut events, 1).await, [round + 1]);
        assert_eq!(next(&mut all).await.unwrap().task().unwrap().position, round + 1);
        eventually("it is counted", async || {
            (server.telemetry.recovered_by_check.get() == round.unsigned_abs()).then_some(())
        })
        .await;
        eventually("the listener is back", async || server.hub.is_connected().then_some(())).await;
        assert_eq!(server.telemetry.listener_reconnects.get(), reconnects + 1);
    }
    // And what was told is not counted.
    insert(&mut session, "u", "a").await;
    assert_eq!(positions(&mut events, 1).await, [5]);
    assert_eq!(server.telemetry.recovered_by_check.get(), 3);
}

#[tokio::test]
async fn without_any_notification_the_check_finds_it() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, Duration::from_millis(200)).await;
    let mut events = server.events("u", None).await;
    let mut quiet = server.events("quiet", None).await;
    let mut all = server.changes(None, None, None).await;
    assert!(next(&mut all).await.unwrap().task().is_none());
    let mut session = database.session().await;
    // Nobody is told any more, as where the queue for notifications is full.
    run(&mut session, "CREATE OR REPLACE FUNCTION taskwire_notify(p_users text[]) RETURNS void LANGUAGE sql AS ''")
        .await;
    for position in 1..=5 {
        insert(&mut session, "u", "a").await;
        assert_eq!(positions(&mut events, 1).await, [position]);
        assert_eq!(next(&mut all).await.unwrap().task().unwrap().position, position);
    }
    // A commit that is in WAL, and seen only after a check has looked: it is not passed over.
    let mut slow = database.session().await;
    run(&mut slow, "BEGIN").await;
    insert(&mut slow, "quiet", "a").await;
    let checks = server.telemetry.feed_reads.get();
    insert(&mut session, "u", "a").await;
    assert_eq!(positions(&mut events, 1).await, [6]);
    assert!(server.telemetry.feed_reads.get() > checks);
    run(&mut slow, "COMMIT").await;
    assert_eq!(positions(&mut quiet, 1).await, [1]);
    eventually("all are counted", async || (server.telemetry.recovered_by_check.get() == 7).then_some(())).await;
}

#[tokio::test]
async fn a_table_that_went_back_ends_those_whose_place_is_gone_and_no_others() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    server.save("u", &["a", "a", "a", "a", "a"]).await;
    server.save("v", &["a", "a"]).await;
    let third = server.cursor("u", 3).await;
    let mut events = server.events("u", None).await;
    let mut changes = server.changes(Some("u"), None, None).await;
    assert!(next(&mut changes).await.unwrap().task().is_none());
    let mut others = server.events("v", None).await;
    let mut session = database.session().await;
    // As after a failover to a standby that was behind: the last two are lost, and the connections with them.
    run(
        &mut session,
        "DELETE FROM task_record WHERE user_id = 'u' AND position > 3; \
        UPDATE feed_head h SET position = r.position, recorded_at = r.recorded_at, record_id = r.record_id \
        FROM task_record r WHERE r.user_id = 'u' AND r.position = 3 AND h.user_id = 'u'; \
        UPDATE task SET position = 3 WHERE user_id = 'u'; UPDATE task_order SET position = 3 WHERE user_id = 'u'",
    )
    .await;
    run(&mut session, &format!("SELECT pg_terminate_backend(pid) FROM ({LISTENERS} AND pid <> pg_backend_pid()) l"))
        .await;
    ends_with(&mut events, "CURSOR_EXPIRED").await;
    ends_with(&mut changes, "CURSOR_EXPIRED").await;
    let mut again = server.events("u", Some(third)).await;
    insert(&mut session, "u", "a").await;
    insert(&mut session, "v", "a").await;
    assert_eq!(positions(&mut again, 1).await, [4]);
    assert_eq!(positions(&mut others, 1).await, [3]);
}

#[tokio::test]
async fn an_outage_ends_no_subscription_and_refuses_new_ones() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&database).await;
    let server = Server::start(&proxy.url, Duration::from_secs(1)).await;
    let mut session = database.session().await;
    insert(&mut session, "u", "a").await;
    let mut events = server.try_events("u", None, None, true).await.unwrap();
    let mut changes = server.changes(Some("u"), None, None).await;
    let mut all = server.changes(None, None, None).await;
    assert_eq!(positions(&mut events, 1).await, [1]);
    assert!(next(&mut changes).await.unwrap().task().is_none());
    assert!(next(&mut all).await.unwrap().task().is_none());

    let proxy = proxy.stop();
    insert(&mut session, "u", "a").await;
    insert(&mut session, "u", "b").await;
    eventually("the listener knows", async || (!server.hub.is_connected()).then_some(())).await;
    for result in [
        server.try_events("u", None, None, false).await.map(drop),
        server.try_changes(Some("u"), None, None).await.map(drop),
        server.try_changes(None, None, None).await.map(drop),
    ] {
        assert_eq!(result.unwrap_err().code(), "DATABASE_UNAVAILABLE");
    }

    let _proxy = proxy.start_again();
    assert_eq!(positions(&mut events, 2).await, [2, 3]);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(next(&mut changes).await.unwrap().task().unwrap().task_id.clone());
    }
    assert_eq!(seen, ["a", "b"]);
    let mut seen =
        [next(&mut all).await.unwrap(), next(&mut all).await.unwrap()].map(|it| it.task().unwrap().task_id.clone());
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
    insert(&mut session, "u", "a").await;
    assert_eq!(positions(&mut events, 1).await, [4]);
}

/// Something between the server and its database that can go away.
pub(crate) struct Proxy {
    pub(crate) url: String,
    folder: PathBuf,
    target: PathBuf,
    token: CancellationToken,
}

impl Proxy {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        let options = database.connect_options();
        let folder = tempfile::Builder::new().prefix("tw-proxy-").tempdir_in("/tmp").unwrap().keep();
        let port = options.get_port();
        let target = options.get_socket().expect("a socket").join(format!(".s.PGSQL.{port}"));
        let (name, here, user) = (&database.name, folder.display(), options.get_username());
        let url = format!("postgres:///{name}?host={here}&port={port}&user={user}");
        Self { url, folder, target, token: CancellationToken::new() }.start_again()
    }

    pub(crate) fn start_again(self) -> Self {
        let here = self.folder.join(self.target.file_name().unwrap());
        let listener = UnixListener::bind(here).unwrap();
        let (target, token) = (self.target.clone(), self.token.clone());
        tokio::spawn(async move {
            token.clone().run_until_cancelled(accept(listener, &target, &token)).await;
        });
        self
    }

    pub(crate) fn stop(mut self) -> Self {
        std::mem::take(&mut self.token).cancel();
        std::fs::remove_file(self.folder.join(self.target.file_name().unwrap())).unwrap();
        self
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.token.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn accept(listener: UnixListener, target: &Path, token: &CancellationToken) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (target, token) = (target.to_owned(), token.clone());
        tokio::spawn(async move {
            let mut server = UnixStream::connect(target).await.unwrap();
            token.run_until_cancelled(tokio::io::copy_bidirectional(&mut client, &mut server)).await;
        });
    }
}
