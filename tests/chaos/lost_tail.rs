//! The database comes back without the last of what was acknowledged: an asynchronous standby was promoted, or a copy of
//! the data folder put back. Who stands on what is lost is told `CURSOR_EXPIRED`, also once as many new records stand in its
//! place; everybody else goes on.

use std::{fs, process::Command, time::Duration};

use serde_json::json;
use uuid::Uuid;

use crate::{
    client::{Client, Fault, Record, Report},
    eventually,
    postgres::{self, Node},
    room::Room,
    server::Server,
    socket::{Event, Heard, Socket},
};

/// Records of a user that are kept, and that are lost.
const KEPT: i64 = 6;
const LOST: i64 = 20;
const SOON: Duration = Duration::from_secs(20);
const BATCH: &str = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { records { \
                     recordId position userId taskId step message } } }";
const CHANGES: &str = "subscription($user: ID) { taskChanged(userId: $user) { task { userId position } } }";

async fn save(client: &Client, user: &str, message: &str) -> Record {
    let report = Report {
        user_id: user.to_owned(),
        task_id: "task".to_owned(),
        step: 0,
        message: message.to_owned(),
        record_id: Some(Uuid::new_v4()),
    };
    client.save_for_sure(&report, |_| ()).await
}

/// Writes so many in one transaction, which waits in the server and is the first that another database gets to see: what
/// stands in the place of what is lost, and what comes after it, is there before anybody has looked.
async fn write_anew(client: &Client, count: i64) -> Vec<Record> {
    let records: Vec<_> = (0..count)
        .map(|number| {
            let result = json!({ "stepName": "s", "status": "RUNNING", "message": format!("new {number}") });
            json!({ "userId": "hit", "taskId": "task", "step": 0, "recordId": Uuid::new_v4(), "stepResult": result })
        })
        .collect();
    let input = json!({ "input": { "records": records } });
    eventually("a batch is written", async || match client.ask(BATCH, input.clone()).await {
        Ok(data) => {
            Some(data["saveTaskHistoryBatch"]["records"].as_array().unwrap().iter().map(Record::read).collect())
        }
        Err(Fault::Told { is_retryable: true, .. }) => None,
        Err(other) => panic!("not to be tried again: {other:?}"),
    })
    .await
}

/// Live on one server: on events of two users, and on the changes of one and of all.
struct Watchers {
    hit: Socket,
    spared: Socket,
    changes: Socket,
    everybody: Socket,
}

impl Watchers {
    async fn on(server: &Server) -> Self {
        let address = server.address();
        let (hit, everyone) = (json!({ "user": "hit" }), json!({ "user": null }));
        Self {
            hit: Socket::open(address, "hit", None).await.unwrap(),
            spared: Socket::open(address, "spared", None).await.unwrap(),
            changes: Socket::subscribe(address, CHANGES, &hit).await.unwrap(),
            everybody: Socket::subscribe(address, CHANGES, &everyone).await.unwrap(),
        }
    }

    /// Reads what was saved so far of both users.
    async fn read(&mut self, from: i64, to: i64) -> Vec<Event> {
        let mut events = Vec::new();
        for position in from..=to {
            events.push(self.hit.event_within(SOON).await);
            assert_eq!(events.last().unwrap().record.position, position);
        }
        // These may merge.
        for socket in [&mut self.changes, &mut self.everybody] {
            while position_of(socket).await != Some(to) {}
        }
        events
    }
}

/// Of the next change of the user who is hit.
async fn position_of(socket: &mut Socket) -> Option<i64> {
    match tokio::time::timeout(SOON, socket.data()).await {
        Ok(Ok(data)) if data["taskChanged"]["task"]["userId"] == "hit" => {
            data["taskChanged"]["task"]["position"].as_i64()
        }
        Ok(Ok(_)) => None,
        other => panic!("no change: {other:?}"),
    }
}

/// What is lost is told and read, by all who watch.
struct Lost {
    servers: [Server; 2],
    watchers: [Watchers; 2],
    kept: Event,
    gone: Vec<Event>,
}

/// Two servers; some records of two users that will be kept, `cut`, then some of one user that will be lost.
async fn write_what_is_lost(url: &str, cut: impl AsyncFnOnce()) -> Lost {
    let arguments = ["--database-url", url];
    let servers =
        [Server::start_in(Room::empty(), &arguments).await, Server::start_in(Room::empty(), &arguments).await];
    let client = Client::new(servers[0].address());
    let mut watchers = [Watchers::on(&servers[0]).await, Watchers::on(&servers[1]).await];
    for _ in 0..KEPT {
        save(&client, "hit", "kept").await;
    }
    save(&client, "spared", "kept").await;
    let mut kept = Vec::new();
    for watchers in &mut watchers {
        kept = watchers.read(1, KEPT).await;
        watchers.spared.event_within(SOON).await;
    }
    cut().await;
    for _ in 0..LOST {
        save(&client, "hit", "lost").await;
    }
    let mut lost = Vec::new();
    for watchers in &mut watchers {
        lost = watchers.read(KEPT + 1, KEPT + LOST).await;
    }
    Lost { servers, watchers, kept: kept.pop().unwrap(), gone: lost }
}

/// `replace` lets another PostgreSQL come up without it; as many records as were lost and `more` are written there.
async fn assert_told(lost: Lost, more: i64, replace: impl AsyncFnOnce()) {
    let Lost { servers, mut watchers, kept, gone } = lost;
    let client = Client::new(servers[0].address());
    let (written, ()) = tokio::join!(write_anew(&client, LOST + more), replace());
    let positions = written.iter().map(|record| record.position);
    assert!(positions.eq(KEPT + 1..=KEPT + LOST + more), "the tail was not lost: {written:?}");
    let spared = save(&client, "spared", "new").await;
    for watchers in &mut watchers {
        // Nothing of what stands in its place now is told as if it came after what was lost.
        match tokio::time::timeout(SOON, watchers.hit.next()).await {
            Ok(Heard::Refused(code)) => assert_eq!(code, "CURSOR_EXPIRED"),
            other => panic!("who stands on what is lost goes on: {other:?}"),
        }
        for socket in [&mut watchers.changes, &mut watchers.everybody] {
            assert_eq!(refusal(socket).await, "CURSOR_EXPIRED");
        }
        assert_eq!(watchers.spared.event_within(SOON).await.record, spared);
    }
    for server in &servers {
        for event in &gone {
            let mut socket = Socket::open(server.address(), "hit", Some(&event.cursor)).await.unwrap();
            match tokio::time::timeout(SOON, socket.next()).await {
                Ok(Heard::Refused(code)) => assert_eq!(code, "CURSOR_EXPIRED"),
                other => panic!("{} goes on from what is lost: {other:?}", event.record.position),
            }
        }
        // Who stands before it goes on, without a gap.
        let mut socket = Socket::open(server.address(), "hit", Some(&kept.cursor)).await.unwrap();
        for record in &written {
            assert_eq!(socket.event_within(SOON).await.record, *record);
        }
    }
}

/// Changes of others, and of the time before this was noticed, may come first.
async fn refusal(socket: &mut Socket) -> String {
    loop {
        let told = tokio::time::timeout(SOON, socket.data()).await.expect("nobody told of what is lost");
        if let Err(code) = told {
            return code;
        }
    }
}

async fn promoted(more: i64) {
    let first = Node::primary().await;
    let second = Node::standby_of(&first, "second").await;
    let url = postgres::url(&[&first, &second]);
    let lost = write_what_is_lost(&url, async || {
        let position: String = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text")
            .fetch_one(&mut first.psql().await)
            .await
            .unwrap();
        second.says("true", &format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::text")).await;
        // From here on nothing reaches it.
        second.run("ALTER SYSTEM SET primary_conninfo = ''").await;
        second.run("SELECT pg_reload_conf()").await;
        second.says("0", "SELECT count(*)::text FROM pg_stat_wal_receiver").await;
        first.says("0", "SELECT count(*)::text FROM pg_stat_replication").await;
    })
    .await;
    first.kill().await;
    assert_told(lost, more, async || second.promote().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_is_promoted_without_the_tail_and_as_much_is_written() {
    promoted(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_is_promoted_without_the_tail_and_more_is_written() {
    promoted(7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_data_folder_is_put_back() {
    let node = Node::primary().await;
    let url = postgres::url(&[&node]);
    let (data, copy) = (node.cluster(), node.cluster().with_file_name("copy"));
    let lost = write_what_is_lost(&url, async || {
        node.stop().await;
        let copied = Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap();
        assert!(copied.success());
        node.start().await;
    })
    .await;
    node.kill().await;
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    assert_told(lost, 3, async || node.start().await).await;
}
