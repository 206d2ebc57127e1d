//! `/health/live` and `/health/ready`: what orchestrators go by.

use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::api_server::ApiServer;
use super::support::cluster::cluster;
use super::support::eventually;

async fn told(server: &ApiServer, path: &str) -> (u16, String) {
    let url = format!("http://{}/health/{path}", server.address);
    let answer = server.client.get(url).header("host", "balancer.example").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn told_in_time(server: &ApiServer, wanted: (u16, &str)) {
    let say = format!("{wanted:?}");
    eventually(&say, async || {
        let (status, text) = told(server, "ready").await;
        ((status, text.as_str()) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_ready_lives_and_who_lives_need_not_be_ready() {
    let server = ApiServer::start().await;
    told_in_time(&server, (200, "ok")).await;

    // The pool's connections stay; the listener finds no way back.
    let name = &server.database.name;
    let mut outside = cluster().cluster.connect_options("postgres").connect().await.unwrap();
    let mut run = async |sql: String| outside.execute(AssertSqlSafe(sql)).await.unwrap();
    let end =
        |what: &str| format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' {what}");
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    run(end("AND query LIKE 'LISTEN %'")).await;
    told_in_time(&server, (503, "the feed's listener is not connected")).await;
    run(end("")).await;
    told_in_time(&server, (503, "no database")).await;
    assert_eq!(told(&server, "live").await, (200, "ok".to_owned()));
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    told_in_time(&server, (200, "ok")).await;
}

#[tokio::test]
async fn a_database_that_lacks_a_migration_is_not_ours() {
    let server = ApiServer::start().await;
    told_in_time(&server, (200, "ok")).await;
    let mut session = server.database.session().await;
    let why = "the database lacks a migration: restart the server, or run taskwire migrate";
    session.execute("ALTER TABLE taskwire_migration RENAME TO gone").await.unwrap();
    told_in_time(&server, (503, why)).await;
    // Steps that a newer server has taken are none of ours.
    session.execute("ALTER TABLE gone RENAME TO taskwire_migration").await.unwrap();
    session.execute("INSERT INTO taskwire_migration VALUES ('m99991231_000001_later', 0)").await.unwrap();
    told_in_time(&server, (200, "ok")).await;
    session.execute("DELETE FROM taskwire_migration WHERE version < 'm9'").await.unwrap();
    told_in_time(&server, (503, why)).await;
}
