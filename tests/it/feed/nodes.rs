//! Several `--listen-url`: what any of the nodes notifies is heard, and what comes while one of them is not heard is made up for.

use super::*;
use crate::support::TestDatabase;

/// A record of which nobody is notified.
const SILENT: &str = "SELECT taskwire_append_v1(ARRAY['u'], ARRAY['t'], ARRAY['step'], ARRAY[1], ARRAY['running'], \
                      ARRAY['{}'::json], NULL, NULL, NULL, ARRAY[NULL::float8], ARRAY[NULL::timestamptz], \
                      ARRAY[gen_random_uuid()], ARRAY[NULL], ARRAY[NULL::jsonb], ARRAY[NULL::bigint], NULL, false, 'last')";
const NOTIFY: &str = r#"NOTIFY taskwire_feed, '["u"]'"#;

#[tokio::test]
async fn what_any_node_notifies_is_heard_and_made_up_for_where_it_was_not() {
    // What another node would say is said in a database of its own: notifications stay where they were sent.
    let (database, other) = (TestDatabase::new().await, TestDatabase::empty().await);
    let nodes = [&database.url, &other.url].map(|url| db::Hosts::parse(url, "--listen-url").unwrap());
    let server = Server::of(pool(&database.url, 5).await.listening_at(nodes.to_vec()), NO_CHECK).await;
    let mut events = server.events("u", None).await;
    let (mut here, mut there) = (database.session().await, other.session().await);
    insert(&mut here, "u", "t").await;
    assert_eq!(positions(&mut events, 1).await, [1]);
    run(&mut here, SILENT).await;
    run(&mut there, NOTIFY).await;
    assert_eq!(positions(&mut events, 1).await, [2]);

    // The other node's listener is lost, and cannot come back: that is seen, and the first node's is heard as before.
    let name = &other.name;
    run(&mut here, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname";
    run(&mut here, &format!("{end} = '{name}'")).await;
    eventually("the loss is seen", async || (!server.hub.is_connected()).then_some(())).await;
    insert(&mut here, "u", "t").await;
    assert_eq!(positions(&mut events, 1).await, [3]);
    // Nobody hears of this one; when the listener is back, it is looked for.
    run(&mut here, SILENT).await;
    run(&mut here, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    assert_eq!(positions(&mut events, 1).await, [4]);
    eventually("it is back", async || server.hub.is_connected().then_some(())).await;
    run(&mut here, SILENT).await;
    run(&mut other.session().await, NOTIFY).await;
    assert_eq!(positions(&mut events, 1).await, [5]);
}
