//! SIGTERM with work in flight: what was accepted is finished, everything ends, and soon.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    check,
    client::{Client, Fault, Record, Report},
    eventually, load,
    load::{Ids, Load},
    room::Room,
    server::Server,
    socket::{Heard, Socket},
};

/// The word.
const END: Duration = Duration::from_secs(10);

/// What of it is PostgreSQL's, whatever else was slow.
const FOR_POSTGRESQL: Duration = Duration::from_millis(1800);

/// Saves at once, each once.
struct Flight {
    answers: JoinSet<(Report, Result<Record, Fault>)>,
    /// Each save that was acknowledged.
    first: Arc<Notify>,
}

impl Flight {
    fn start(server: &Server, saves: usize, user: impl Fn(usize) -> String) -> Self {
        let (client, first) = (Client::new(server.address()), Arc::new(Notify::new()));
        let mut answers = JoinSet::new();
        for number in 0..saves {
            let report = Report {
                user_id: user(number),
                task_id: format!("task-{number}"),
                step: 1,
                message: number.to_string(),
                record_id: Some(Uuid::new_v4()),
            };
            let (client, first) = (client.clone(), Arc::clone(&first));
            answers.spawn(async move {
                let answer = client.save(&report).await;
                if answer.is_ok() {
                    first.notify_one();
                }
                (report, answer)
            });
        }
        Self { answers, first }
    }

    async fn landed(self) -> Vec<(Report, Result<Record, Fault>)> {
        self.answers.join_all().await
    }
}

/// Who was answered is in the table; who was not, is not. Returns how many were answered.
async fn answered_or_not_there(server: &Server, answers: &[(Report, Result<Record, Fault>)]) -> usize {
    let stored = check::stored(&mut server.psql().await).await;
    check::dense(&stored);
    let mut answered = 0;
    for (report, answer) in answers {
        let found = stored
            .get(&report.user_id)
            .and_then(|records| records.iter().find(|record| Some(record.id) == report.record_id));
        match answer {
            Ok(record) => {
                assert_eq!(found, Some(record), "acknowledged, and not there");
                answered += 1;
            }
            Err(fault) => assert_eq!(found, None, "not acknowledged ({fault:?}), and there"),
        }
    }
    answered
}

/// Waits for the end after a signal, which must not take too long, and leave nothing behind.
async fn ends_cleanly(server: &mut Server, since: Instant) {
    let status = server.ended().await;
    let took = since.elapsed();
    assert_eq!(server.room().processes(), [], "something lives on");
    assert_eq!(status.code(), Some(0));
    assert!(took < END, "it took {took:?}");
    println!("ended after {took:?}");
    let log = server.room().postgres_log();
    assert!(log.trim_end().ends_with("database system is shut down"), "PostgreSQL was not stopped cleanly:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_saves_in_flight() {
    let mut server = Server::start(&[]).await;
    let mut socket = Socket::open(server.address(), &load::user(0), None).await.unwrap();
    let flight = Flight::start(&server, 500, |number| load::user(number % 20));
    flight.first.notified().await;
    let since = Instant::now();
    server.signal(Signal::TERM);

    let mut events = Vec::new();
    let mut end = Vec::new();
    loop {
        match timeout(END, socket.next()).await.expect("the subscription does not end") {
            Heard::Event(event) => events.push(event.record),
            heard @ (Heard::Complete | Heard::Refused(_)) => end.push(heard),
            last => {
                end.push(last);
                break;
            }
        }
    }
    ends_cleanly(&mut server, since).await;
    // No `complete`: to a client library that is the subscription's own end, after which it starts none elsewhere.
    assert!(matches!(end[..], [Heard::Closed(Some(1001))]), "no proper end: {end:?}");

    let answers = flight.landed().await;
    let before = server.room().postgres_log().len();
    server.restart().await;
    let log = server.room().postgres_log().split_off(before);
    assert!(log.contains("database system was shut down at"), "it had to recover:\n{log}");
    let answered = answered_or_not_there(&server, &answers).await;
    println!("{answered} of {} were answered", answers.len());
    assert!(answered > 0);

    // The subscriber had everything that was written before the end.
    let stored = check::stored(&mut server.psql().await).await;
    assert_eq!(stored.get(&load::user(0)).map_or(&[][..], Vec::as_slice), events);
}

/// Holds a user, as somebody's open transaction does.
async fn hold(server: &Server, user: &str) -> PgConnection {
    hold_by(server, user, "SELECT 1 FROM feed_head WHERE user_id = $1 FOR UPDATE").await
}

/// The same for its task, for which a save waits where it passes over a head that is held.
async fn hold_task(server: &Server, user: &str) -> PgConnection {
    hold_by(server, user, "SELECT 1 FROM task WHERE user_id = $1 FOR UPDATE").await
}

async fn hold_by(server: &Server, user: &str, lock: &'static str) -> PgConnection {
    let report = Report {
        user_id: user.to_owned(),
        task_id: "first".to_owned(),
        step: 0,
        message: String::new(),
        record_id: None,
    };
    Client::new(server.address()).save(&report).await.unwrap();
    let mut session = server.psql().await;
    session.execute("BEGIN").await.unwrap();
    sqlx::query(lock).bind(user).fetch_one(&mut session).await.unwrap();
    session
}

/// Returns when so many wait for locks inside PostgreSQL.
async fn locks_waited_for(looker: &mut PgConnection, enough: impl Fn(i64) -> bool) {
    eventually("they wait for locks, or do not any more", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *looker).await.unwrap();
        enough(count).then_some(())
    })
    .await;
}

/// A batch and a cancellation of the user `held`, which wait for the lock inside PostgreSQL when this returns.
async fn wait_inside(server: &Server, looker: &mut PgConnection) -> [JoinHandle<Result<Value, Fault>>; 2] {
    let client = Client::new(server.address());
    let result = json!({ "stepName": "s", "status": "RUNNING" });
    let record = json!({ "userId": "held", "taskId": "batch", "step": 1, "stepResult": result });
    let batch = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    let cancel = "mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome } }";
    let calls = [
        (batch, json!({ "input": { "records": [record] } })),
        (cancel, json!({ "input": { "userId": "held", "taskId": "first" } })),
    ];
    let calls = calls.map(|(query, variables)| {
        let client = client.clone();
        tokio::spawn(async move { client.ask(query, variables).await })
    });
    locks_waited_for(looker, |count| count >= 2).await;
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_held_by_somebody_elses_transaction() {
    let mut server = Server::start(&[]).await;
    let stranger = hold(&server, "held").await;
    let held = Flight::start(&server, 20, |_| "held".to_owned());
    let inside = wait_inside(&server, &mut server.psql().await).await;
    let free = Flight::start(&server, 20, load::user).landed().await;
    assert!(free.iter().all(|(_, answer)| answer.is_ok()), "others are held too");
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.line().await, "finishing what was accepted; a second signal ends at once");
    eventually("nothing new is accepted", async || TcpStream::connect(server.address()).await.err()).await;
    ends_cleanly(&mut server, since).await;
    drop(stranger);
    let held = held.landed().await;
    for (_, answer) in &held {
        let fault = answer.as_ref().expect_err("saved past a lock");
        assert_eq!(fault.code(), Some("TIMEOUT"), "not told what became of it: {fault:?}");
    }
    for answer in inside {
        let fault = answer.await.unwrap().expect_err("written past a lock");
        // Who stands in line behind another waits for as long again.
        assert!(matches!(fault.code(), Some("TIMEOUT" | "DATABASE_UNAVAILABLE") | None), "{fault:?}");
    }
    server.restart().await;
    assert_eq!(answered_or_not_there(&server, &held).await, 0);
    assert_eq!(check::stored(&mut server.psql().await).await["held"].len(), 1, "written, and nobody knows");
    assert_eq!(answered_or_not_there(&server, &free).await, free.len());
}

/// Bytes that wait in the kernel for clients of this port: over loopback none do, unless a client has no room for them.
fn unsent(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let waiting = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let queue = fields[4].split(':').next().unwrap();
        fields[1].ends_with(&local).then(|| u64::from_str_radix(queue, 16).unwrap())
    });
    waiting.sum()
}

/// A request that waits inside PostgreSQL beyond all patience, a socket whose client does not read, and much that is not
/// on disk yet: PostgreSQL still has the time for a proper end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_stuck_request_and_a_stuck_socket() {
    let mut server = Server::start(&["--write-hold-timeout", "60s"]).await;
    let client = Client::new(server.address());
    let message = "x".repeat(16_000);
    let batch = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    for task in 0..4 {
        let record = |step: i32| {
            let result = json!({ "stepName": "s", "status": "RUNNING", "message": message });
            json!({ "userId": "silent", "taskId": format!("task-{task}"), "step": step, "stepResult": result })
        };
        let records: Vec<Value> = (0..500).map(record).collect();
        client.ask(batch, json!({ "input": { "records": records } })).await.unwrap();
    }
    let silent = Socket::open_and_never_read(server.address(), "silent").await;
    eventually("the kernel has more for its client than that takes", async || {
        (unsent(server.address().port()) > 0).then_some(())
    })
    .await;
    let stranger = hold(&server, "held").await;
    let inside = wait_inside(&server, &mut server.psql().await).await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    ends_cleanly(&mut server, since).await;
    // Its end was short, and began when there was time for a longer one.
    assert!(since.elapsed() + FOR_POSTGRESQL < END, "PostgreSQL was told after {:?}", since.elapsed());
    assert!(server.log().contains("some requests did not finish in time"), "no request was stuck");
    assert!(server.log().contains("some sockets did not close in time"), "no socket was stuck");
    let log = server.room().postgres_log();
    assert!(!log.contains("immediate shutdown"), "PostgreSQL was cut short:\n{log}");
    drop((silent, stranger));
    for answer in inside {
        answer.await.unwrap().expect_err("written past a lock");
    }
    let before = log.len();
    server.restart().await;
    let log = server.room().postgres_log().split_off(before);
    assert!(log.contains("database system was shut down at"), "it had to recover:\n{log}");
    assert_eq!(check::stored(&mut server.psql().await).await["held"].len(), 1, "written, and nobody knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&[]).await;
    let stranger = hold(&server, "held").await;
    let held = Flight::start(&server, 1, |_| "held".to_owned());
    Flight::start(&server, 1, load::user).landed().await;
    server.signal(Signal::TERM);
    assert_eq!(server.line().await, "finishing what was accepted; a second signal ends at once");
    let since = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    assert_eq!(status.code(), Some(143));
    eventually("the end of PostgreSQL, which nobody waits for", async || {
        server.room().processes().is_empty().then_some(())
    })
    .await;
    drop(stranger);
    server.restart().await;
    assert_eq!(answered_or_not_there(&server, &held.landed().await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_postgresql_is_being_started_again() {
    let mut server = Server::start(&[]).await;
    let mut load = Load::start(server.address(), 8, 3, Ids::Worker);
    load.goes_on(50).await;
    server.kill_postmaster();
    eventually("its loss is seen", async || server.log().contains("the embedded PostgreSQL has ended").then_some(()))
        .await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert_eq!(server.room().processes(), [], "something lives on");
    assert_eq!(status.code(), Some(0));
    assert!(since.elapsed() < END, "it took {:?}", since.elapsed());
    println!("ended after {:?}", since.elapsed());
    server.restart().await;
    let outcome = load.finish().await;
    check::run(&server, &outcome, &mut []).await;
}

/// Nothing to finish, and PostgreSQL somewhere between its end and its start.
async fn idle_while_starting(has_begun: impl AsyncFn(&Server, Pid)) {
    let mut server = Server::start(&[]).await;
    let killed = server.kill_postmaster();
    has_begun(&server, killed).await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    let took = since.elapsed();
    assert_eq!(server.room().postmaster(), None, "its PostgreSQL lives on");
    // Orphans of the one that was killed here see for themselves that they are.
    eventually("nothing lives on", async || server.room().processes().is_empty().then_some(())).await;
    assert_eq!(status.code(), Some(0));
    assert!(took < END, "it took {took:?}");
    println!("ended after {took:?}");
    server.restart().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_when_its_postgresql_has_just_ended() {
    idle_while_starting(async |server, _| {
        let said = "the embedded PostgreSQL has ended";
        eventually(said, async || server.log().contains(said).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_when_its_postgresql_has_just_begun() {
    idle_while_starting(async |server, killed| {
        let next = async || server.room().postmaster().filter(|pid| *pid != killed);
        eventually("the next postmaster", next).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_over_somebody_elses_database() {
    let host = Server::start(&[]).await;
    let mut server = Server::start_beside(&host, &[]).await;
    let flight = Flight::start(&server, 200, |number| load::user(number % 20));
    flight.first.notified().await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(since.elapsed() < END, "it took {:?}", since.elapsed());
    let mut session = host.psql().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%taskwire_append%' AND state <> 'idle'";
    eventually("its sessions have ended", async || {
        let busy: i64 = sqlx::query_scalar(left).fetch_one(&mut session).await.unwrap();
        (busy <= 1).then_some(())
    })
    .await;
    session.close().await.unwrap();
    assert!(answered_or_not_there(&host, &flight.landed().await).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_is_ready() {
    let mut server = Server::spawn_in(Room::new().await, &[]);
    eventually("PostgreSQL begins", async || server.room().postmaster()).await;
    server.signal(Signal::TERM);
    let status = server.ended().await;
    // Ready sooner than the signal came is no fault.
    assert!([Some(143), Some(0)].contains(&status.code()), "{status}");
    eventually("nothing lives on", async || server.room().processes().is_empty().then_some(())).await;
    server.restart().await;
    let log = server.room().postgres_log();
    assert!(!log.contains("was not properly shut down"), "it had to recover:\n{log}");
}

/// Over somebody else's database: a statement that still waits when its server goes must not write later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_writes_on_after_the_end() {
    let host = Server::start(&[]).await;
    let mut server = Server::start_beside(&host, &["--write-hold-timeout", "60s"]).await;
    let mut stranger = hold(&host, "held").await;
    let mut looker = host.psql().await;
    let inside = wait_inside(&server, &mut looker).await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(since.elapsed() < END, "it took {:?}", since.elapsed());
    locks_waited_for(&mut looker, |count| count == 0).await;
    stranger.execute("COMMIT").await.unwrap();
    for answer in inside {
        answer.await.unwrap().expect_err("written past a lock");
    }
    assert_eq!(check::stored(&mut looker).await["held"].len(), 1, "written, and nobody knows");
}

/// The same of a save, on a lane's own connection, while nothing else is under way: the server ends it, and does not leave it
/// to PostgreSQL to notice some time that nobody is there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lane_writes_on_after_the_end() {
    let host = Server::start(&[]).await;
    let mut server = Server::start_beside(&host, &[]).await;
    let mut stranger = hold_task(&host, "held").await;
    let mut looker = host.psql().await;
    let report = Report {
        user_id: "held".to_owned(),
        task_id: "first".to_owned(),
        step: 1,
        message: String::new(),
        record_id: None,
    };
    let client = Client::new(server.address());
    let save = tokio::spawn(async move { client.save(&report).await });
    locks_waited_for(&mut looker, |count| count == 1).await;
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(since.elapsed() < END, "it took {:?}", since.elapsed());
    locks_waited_for(&mut looker, |count| count == 0).await;
    assert!(host.room().postgres_log().contains("due to administrator command"), "it was left to itself");
    stranger.execute("COMMIT").await.unwrap();
    save.await.unwrap().expect_err("saved past a lock");
    assert_eq!(check::stored(&mut looker).await["held"].len(), 1, "written, and nobody knows");
}
