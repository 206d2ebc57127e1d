//! PostgreSQL goes away and comes back while the server lives: callers are told to try again, and by what code; no
//! subscription ends; nothing is lost.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    check,
    client::{Client, Fault, Report},
    eventually,
    load::{self, Ids, Load, Outcome},
    server::Server,
    socket::{Heard, Seen, Socket, Subscriber},
};

const WORKERS: usize = 8;
const USERS: usize = 3;
const A_WHILE: u64 = 150;
/// How soon callers are to know that the database is away: that it refuses connections, or that it says nothing.
const TOLD: Duration = Duration::from_secs(8);
const TOLD_OF_SILENCE: Duration = Duration::from_secs(12);

const QUERY: &str = "query($user: ID!) { tasks(userId: $user, first: 5) { nodes { taskId status steps { nodes { step } } \
                     history(first: 2) { nodes { position } } } } }";

fn subscribers(server: &Server) -> Vec<Subscriber> {
    (0..USERS).map(|number| Subscriber::start(server.address(), &load::user(number))).collect()
}

/// Somebody who asks all the time, until told to stop; says which errors came.
struct Asker {
    stop: oneshot::Sender<()>,
    errors: JoinHandle<Vec<Fault>>,
}

impl Asker {
    fn start(server: &Server) -> Self {
        let client = Client::new(server.address());
        let (stop, mut stopped) = oneshot::channel();
        let errors = tokio::spawn(async move {
            let mut errors = Vec::new();
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                match client.ask(QUERY, json!({ "user": load::user(0) })).await {
                    Ok(data) => assert!(data["tasks"]["nodes"].is_array(), "{data}"),
                    Err(fault) => errors.push(fault),
                }
                sleep(Duration::from_millis(10)).await;
            }
            errors
        });
        Self { stop, errors }
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        for fault in self.errors.await.unwrap() {
            assert_retryable(&fault);
        }
    }
}

fn assert_retryable(fault: &Fault) {
    let Fault::Told { code, is_retryable, whole, .. } = fault else {
        panic!("the server let go of a caller: {fault:?}")
    };
    assert!(["DATABASE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"].contains(&code.as_str()), "{whole}");
    assert!(is_retryable, "{whole}");
}

/// What has to be true after every outage.
fn assert_only_delayed(outcome: &Outcome, seen: Vec<Seen>) {
    let known = ["DATABASE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"];
    assert!(outcome.faults.keys().all(|code| known.contains(&code.as_str())), "{:?}", outcome.faults);
    for seen in seen {
        assert_eq!((seen.subscribed, seen.completed, seen.refused), (1, 0, vec![]), "an outage ended a subscription");
    }
}

/// What a newcomer is told while the database is away. Returns the save that was not acknowledged.
async fn assert_told(server: &Server, within: Duration) -> Report {
    let since = Instant::now();
    let subscription = async {
        let mut socket = Socket::open(server.address(), "new", None).await.unwrap();
        match socket.next().await {
            Heard::Refused(code) => assert_eq!(code, "DATABASE_UNAVAILABLE"),
            other => panic!("not refused: {other:?}"),
        }
        assert!(matches!(socket.next().await, Heard::Complete), "an error without its end");
        println!("a subscription is refused after {:?}", since.elapsed());
    };
    let client = Client::new(server.address());
    let query = async {
        let fault = client.ask(QUERY, json!({ "user": "new" })).await.expect_err("an answer without a database");
        assert_eq!(fault.code(), Some("DATABASE_UNAVAILABLE"), "{fault:?}");
        assert_retryable(&fault);
        println!("a query is told after {:?}", since.elapsed());
    };
    let feed = async {
        let query = "query($user: ID!) { feed(userId: $user) { position } }";
        let fault = client.ask(query, json!({ "user": "new" })).await.expect_err("an answer without a database");
        assert_eq!(fault.code(), Some("DATABASE_UNAVAILABLE"), "{fault:?}");
        println!("a query of the feed is told after {:?}", since.elapsed());
    };
    let save = async {
        let report = Report {
            user_id: load::user(0),
            task_id: "told".to_owned(),
            step: 0,
            message: String::new(),
            record_id: None,
        };
        let fault = client.save(&report).await.expect_err("saved without a database");
        assert_eq!(fault.code(), Some("DATABASE_UNAVAILABLE"), "{fault:?}");
        assert_retryable(&fault);
        println!("a save is told after {:?}", since.elapsed());
        let Fault::Told { record_id: Some(record_id), .. } = fault else {
            panic!("no record to repeat: {fault:?}");
        };
        Report { record_id: Some(record_id), ..report }
    };
    let told = timeout(within, async { tokio::join!(subscription, query, feed, save) }).await;
    told.unwrap_or_else(|_| panic!("not told within {within:?}")).3
}

/// What a caller does who was told, once the database is back. Nobody knows before whether his first attempt was heard.
async fn repeat(told: &Report, server: &Server, outcome: &mut Outcome) {
    let record = Client::new(server.address()).save_for_sure(told, assert_retryable).await;
    outcome.acknowledged.push(record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_one_shut_down_under_load() {
    let server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Mixed);
    let asker = Asker::start(&server);
    for signal in [Signal::INT, Signal::QUIT] {
        load.goes_on(A_WHILE).await;
        let postmaster = server.room().postmaster().unwrap();
        kill_process(postmaster, signal).unwrap();
        server.postmaster_after(postmaster).await;
    }
    load.goes_on(A_WHILE).await;
    asker.finish().await;
    let outcome = load.finish().await;
    let seen = check::run(&server, &outcome, &mut subscribers).await;
    assert_only_delayed(&outcome, seen);
}

/// Somebody else's database stays away until callers have been told.
async fn long_outage(go_away: impl AsyncFnOnce(&mut Server)) {
    let mut host = Server::start(&[]).await;
    let server = Server::start_beside(&host, &[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Mixed);
    let asker = Asker::start(&server);
    load.goes_on(A_WHILE).await;
    go_away(&mut host).await;
    let told = assert_told(&server, TOLD).await;
    host.restart().await;
    let since = Instant::now();
    load.goes_on(A_WHILE).await;
    println!("goes on {:?} after the database is back", since.elapsed());
    asker.finish().await;
    let mut outcome = load.finish().await;
    repeat(&told, &server, &mut outcome).await;
    let seen = check::run(&host, &outcome, &mut subscribers).await;
    assert_only_delayed(&outcome, seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_stopped_for_a_while() {
    Box::pin(long_outage(async |host| {
        host.signal(Signal::TERM);
        assert_eq!(host.ended().await.code(), Some(0));
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_killed_for_a_while() {
    Box::pin(long_outage(async |host| {
        host.kill();
        host.kill_postmaster();
        // Until they notice, backends without a postmaster still answer.
        eventually("its last backends end", async || {
            let all = host.room().processes();
            all.iter().all(|(_, line)| !line.starts_with("postgres:")).then_some(())
        })
        .await;
    }))
    .await;
}

/// Neither refused nor answered, as behind a network that swallows everything. What its backends were told they still do
/// when it goes on, although their clients are gone and have said it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_still_for_a_while() {
    let server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Mixed);
    let asker = Asker::start(&server);
    load.goes_on(A_WHILE).await;
    server.room().signal_postgres(Signal::STOP);
    let told = assert_told(&server, TOLD_OF_SILENCE).await;
    server.room().signal_postgres(Signal::CONT);
    let since = Instant::now();
    load.goes_on(A_WHILE).await;
    println!("goes on {:?} after the database is back", since.elapsed());
    asker.finish().await;
    let mut outcome = load.finish().await;
    repeat(&told, &server, &mut outcome).await;
    let seen = check::run(&server, &outcome, &mut subscribers).await;
    assert_only_delayed(&outcome, seen);
}
