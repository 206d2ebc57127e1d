//! A primary with a synchronous standby; the primary dies, the standby is promoted: the servers find it, subscribers
//! notice nothing but a pause, and whatever was acknowledged is there, once.

use tokio::time::Instant;

use crate::{
    check, eventually,
    load::{self, Ids, Load},
    postgres::{self, Node},
    room::Room,
    server::Server,
    socket::Subscriber,
};

const A_WHILE: u64 = 150;
const USERS: usize = 3;
const SYNC_STATE: &str = "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'second'";

fn subscribers(server: &Server) -> Vec<Subscriber> {
    (0..USERS).map(|number| Subscriber::start(server.address(), &load::user(number))).collect()
}

async fn over(url: &str) -> Server {
    Server::start_in(Room::empty(), &["--database-url", url]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_and_nothing_is_lost() {
    let first = Node::primary().await;
    let second = Node::standby_of(&first, "second").await;
    first.run("ALTER SYSTEM SET synchronous_standby_names = 'second'").await;
    first.run("SELECT pg_reload_conf()").await;
    first.says("sync", SYNC_STATE).await;
    // The order of the hosts says nothing.
    let near = over(&postgres::url(&[&first, &second])).await;
    let mut far = over(&postgres::url(&[&second, &first])).await;
    let mut all: Vec<Subscriber> = [&near, &far].into_iter().flat_map(subscribers).collect();
    let mut here = Load::start(near.address(), 4, USERS, Ids::Mixed);
    let mut there = Load::start(far.address(), 4, USERS, Ids::Worker);
    here.goes_on(A_WHILE).await;
    there.goes_on(A_WHILE).await;

    first.says("sync", SYNC_STATE).await;
    first.kill().await;
    second.promote().await;
    let promoted = Instant::now();
    here.goes_on(A_WHILE).await;
    there.goes_on(A_WHILE).await;
    println!("both go on within {:?} of the promotion", promoted.elapsed());

    // The dead one comes back, and takes writes, as when nobody keeps it from that: a server that starts now has to tell
    // which of the two was promoted last.
    first.start().await;
    far.kill();
    far.restart().await;
    there.goes_on(A_WHILE).await;
    here.goes_on(A_WHILE).await;

    let (mut outcome, there) = (here.finish().await, there.finish().await);
    let known = ["DATABASE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"];
    assert!(outcome.faults.keys().all(|code| known.contains(&code.as_str())), "{:?}", outcome.faults);
    outcome.acknowledged.extend(there.acknowledged);
    let seen = check::over(&mut second.psql().await, &outcome, &mut all).await;
    for seen in &seen[..USERS] {
        assert_eq!(
            (seen.subscribed, seen.completed, &seen.refused),
            (1, 0, &vec![]),
            "a failover ended a subscription"
        );
    }
}

/// The primary is away, and the one from before the failover has come back: nobody listens to what it would tell, then or
/// when the primary is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_from_before_the_failover_is_not_listened_to() {
    let first = Node::primary().await;
    let second = Node::standby_of(&first, "second").await;
    let server = over(&postgres::url(&[&first, &second])).await;
    first.has_listeners(1).await;
    first.kill().await;
    second.promote().await;
    second.has_listeners(1).await;

    second.stop().await;
    first.start().await;
    let tried = server.counted("listener_reconnects_total").await;
    eventually("the listener has tried the one that is there, from begin to end", async || {
        (server.counted("listener_reconnects_total").await >= tried + 2).then_some(())
    })
    .await;
    first.has_listeners(0).await;
    second.start().await;
    second.has_listeners(1).await;
}
