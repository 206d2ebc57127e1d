//! The server, its PostgreSQL, or both are killed by `kill -9` under load.

use rustix::process::Signal;

use crate::{
    check,
    load::{self, Ids, Load},
    server::Server,
    socket::Subscriber,
};

const WORKERS: usize = 8;
const USERS: usize = 3;

/// Acknowledgements between one harm and the next: each run has its own moments.
fn a_while() -> u64 {
    fastrand::u64(100..200)
}

/// How often harm is done; more often where somebody looks for something rare.
fn rounds(usually: u32) -> u32 {
    let wanted = std::env::var("CHAOS_ROUNDS").ok();
    wanted.map_or(usually, |rounds| rounds.parse().expect("CHAOS_ROUNDS is a number"))
}

fn subscribers(server: &Server) -> Vec<Subscriber> {
    (0..4).map(|number| Subscriber::start(server.address(), &load::user(number % USERS))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_killed_again_and_again() {
    let mut server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Worker);
    for _ in 0..rounds(4) {
        load.goes_on(a_while()).await;
        let postmaster = server.room().postmaster();
        server.kill();
        assert_eq!(server.room().postmaster(), postmaster, "PostgreSQL went with its server");
        server.restart().await;
        assert_eq!(server.room().postmaster(), postmaster, "PostgreSQL was not taken over");
    }
    load.goes_on(a_while()).await;
    let outcome = load.finish().await;
    let seen = check::run(&server, &outcome, &mut subscribers).await;
    assert!(seen.iter().all(|seen| seen.subscribed >= 5), "the harm did not reach the subscribers");
    assert!(seen.iter().all(|seen| seen.refused.iter().all(|code| code == "DATABASE_UNAVAILABLE")), "{seen:?}");
}

/// As when a new version is rolled out: callers lose at most an idle connection, and nothing is told of trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_ended_and_started_again_and_again() {
    let mut server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Worker);
    for _ in 0..rounds(3) {
        load.goes_on(a_while()).await;
        server.signal(Signal::TERM);
        assert_eq!(server.ended().await.code(), Some(0));
        server.restart().await;
    }
    load.goes_on(a_while()).await;
    let outcome = load.finish().await;
    assert!(outcome.faults.keys().all(|fault| fault == "connection"), "{:?}", outcome.faults);
    let seen = check::run(&server, &outcome, &mut subscribers).await;
    for seen in seen {
        // It ends with the socket: a `complete` would tell a client library not to come back.
        assert_eq!(seen.completed, 0, "a subscription was told that it is over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_postgresql_killed_again_and_again() {
    let server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Worker);
    for _ in 0..rounds(3) {
        load.goes_on(a_while()).await;
        let killed = server.kill_postmaster();
        server.postmaster_after(killed).await;
    }
    load.goes_on(a_while()).await;
    let outcome = load.finish().await;
    let seen = check::run(&server, &outcome, &mut subscribers).await;
    for seen in seen {
        assert_eq!((seen.subscribed, seen.completed, seen.refused), (1, 0, vec![]), "an outage ended a subscription");
    }
    assert!(!outcome.faults.contains_key("connection"), "the server let go of a caller: {:?}", outcome.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_killed_at_once() {
    let mut server = Server::start(&[]).await;
    let mut subscribers = subscribers(&server);
    let mut load = Load::start(server.address(), WORKERS, USERS, Ids::Worker);
    for _ in 0..rounds(2) {
        load.goes_on(a_while()).await;
        server.kill_postmaster();
        server.kill();
        server.restart().await;
    }
    assert!(
        server.room().postgres_log().contains("automatic recovery in progress"),
        "PostgreSQL had nothing to recover"
    );
    load.goes_on(a_while()).await;
    let outcome = load.finish().await;
    check::run(&server, &outcome, &mut subscribers).await;
}
