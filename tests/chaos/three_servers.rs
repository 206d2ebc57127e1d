//! Three servers over one database, each killed and restarted in turn under load: nothing acknowledged is lost, and no
//! subscriber of any of them misses anything.

use crate::{
    check,
    load::{self, Ids, Load},
    postgres::{self, Node},
    room::Room,
    server::Server,
    socket::Subscriber,
};

const A_WHILE: u64 = 60;
const USERS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_killed_and_restarted_in_turn() {
    let node = Node::primary().await;
    let url = postgres::url(&[&node]);
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start_in(Room::empty(), &["--database-url", &url]).await);
    }
    // Each server has subscribers to users that are written to by all of them.
    let mut subscribers: Vec<Subscriber> = servers
        .iter()
        .flat_map(|server| (0..USERS).map(|number| Subscriber::start(server.address(), &load::user(number))))
        .collect();
    let mut loads: Vec<Load> =
        servers.iter().map(|server| Load::start(server.address(), 3, USERS, Ids::Worker)).collect();
    for _ in 0..2 {
        for killed in 0..3 {
            loads[killed].goes_on(A_WHILE).await;
            servers[killed].kill();
            for other in (0..3).filter(|other| *other != killed) {
                loads[other].goes_on(A_WHILE).await;
            }
            servers[killed].restart().await;
        }
    }
    let mut outcomes = Vec::new();
    for mut load in loads {
        load.goes_on(A_WHILE).await;
        outcomes.push(load.finish().await);
    }
    assert!(outcomes.iter().all(|outcome| outcome.faults.contains_key("connection")), "a load was not hit");
    let mut outcome = outcomes.pop().unwrap();
    for other in outcomes {
        assert!(other.faults.keys().all(|fault| fault == "connection"), "{:?}", other.faults);
        outcome.acknowledged.extend(other.acknowledged);
    }
    let seen = check::over(&mut node.psql().await, &outcome, &mut subscribers).await;
    assert!(seen.iter().all(|seen| seen.subscribed >= 3 && seen.completed == 0), "{seen:?}");
}
