//! `taskwire demo` against the real server.

use std::net::{Ipv4Addr, TcpListener};

use sqlx::{Executor, Row};
use taskwire::{
    app::App,
    auth::Role,
    config::{Config, DatabaseSource},
    telemetry::Telemetry,
};

use crate::api_server::{ApiServer, token};
use crate::support::{
    TestDatabase,
    process::{run, taskwire},
};

async fn demo(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(taskwire(&[], ["demo", "--url", url].iter().chain(arguments))).await
}

/// The number before this word.
fn number(text: &str, word: &str) -> i64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|other| *other == word).unwrap_or_else(|| panic!("no {word} in {text}"));
    words[at - 1].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_counts_is_in_the_table_and_clean_leaves_nothing_open() {
    let database = TestDatabase::new().await;
    let mut config = Config::default();
    config.database.url = DatabaseSource::Url { url: database.url.clone(), setting: "the test".into() };
    config.http.listen.set_port(0);
    let server = App::start(config, Telemetry::new()).await.unwrap();
    let url = format!("http://{}/graphql", server.address());
    let (code, stdout, stderr) = demo(&url, &["--rate", "200", "--seconds", "3", "--seed", "3"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let summary = stdout.split("\n\n").last().unwrap();
    let reports = number(summary, "reports");
    assert!(reports > 0 && summary.contains("requests sent again 0, refused 0"), "{summary}");

    let pool = database.database.connection.get_postgres_connection_pool();
    let count = async |sql: &'static str| pool.fetch_one(sql).await.unwrap().get::<i64, _>(0);
    assert_eq!(count("SELECT count(*) FROM task_record WHERE kind = 'step'").await, reports, "{summary}");
    assert_eq!(count("SELECT count(*) FROM task").await, number(summary, "tasks,"), "{summary}");
    let left = "SELECT count(*) FROM task WHERE finished_at IS NULL
                   OR cancel_requested_at IS NOT NULL AND cancel_acknowledged_at IS NULL";
    assert!(count(left).await > 0, "{summary}");

    let (code, stdout, stderr) = demo(&url, &["--clean"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(count(left).await, 0, "{stdout}");
    server.stop().await;
}

#[tokio::test]
async fn where_people_sign_in_it_plays_with_a_token() {
    let server = ApiServer::with_key().await;
    let play = async |token: Option<&str>| {
        let mut command = taskwire(&[], ["demo", "--url", &server.url(), "--rate", "50", "--seconds", "1"]);
        command.envs(token.map(|token| ("TASKWIRE_DEMO_TOKEN", token)));
        run(command).await
    };
    let worker = token("demo", Role::Worker);
    let (code, stdout, stderr) = play(Some(&worker)).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(number(stdout.split("\n\n").last().unwrap(), "reports") > 0, "{stdout}");
    for wrong in [None, Some("nonsense")] {
        let (code, _, stderr) = play(wrong).await;
        assert_eq!(code, Some(2));
        assert!(stderr.contains("TASKWIRE_DEMO_TOKEN") && stderr.lines().count() == 1, "{stderr}");
        assert!(!stderr.contains("nonsense"), "{stderr}");
    }
    let user = token("anna", Role::User);
    let (code, _, stderr) = play(Some(&user)).await;
    assert!(code == Some(2) && stderr.contains("--role worker"), "{stderr}");
}

#[tokio::test]
async fn without_a_server_it_says_so_in_one_line() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (code, stdout, stderr) = demo(&format!("http://{nobody}/graphql"), &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with("taskwire: no server answers at") && stderr.lines().count() == 1, "{stderr}");
}
