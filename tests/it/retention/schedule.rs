//! By the schedule, in a running server: what was missed is made up for, and what fails is told and tried again.

use serde_json::Value;
use taskwire::app::App;
use taskwire::config::{Config, DatabaseConfig, DatabaseSource, HttpConfig};
use taskwire::db;
use taskwire::telemetry::Telemetry;

use super::*;
use crate::support::{TestDatabase, eventually};

/// A server over this database, by this URL.
async fn server(url: &str, change: impl FnOnce(&mut Config)) -> App {
    let mut config = Config {
        database: DatabaseConfig {
            url: DatabaseSource::Url { url: url.to_owned(), setting: "the test".into() },
            min_connections: 1,
            max_connections: 8,
            ..DatabaseConfig::default()
        },
        http: HttpConfig { listen: "127.0.0.1:0".parse().unwrap(), ..HttpConfig::default() },
        ..Config::default()
    };
    change(&mut config);
    App::start(config, Telemetry::new()).await.unwrap()
}

async fn retention(app: &App) -> Value {
    let query = "{ system { retention { keepDays schedule lastRunAt lastDeletedRecords nextRunAt failure } } }";
    let body = serde_json::json!({ "query": query });
    let url = format!("http://{}/graphql", app.address());
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    answer["data"]["system"]["retention"].take()
}

/// As if no server had been there for two days.
const MISSED: &str = "UPDATE storage_upkeep SET scheduled_for = now() - interval '2 days'";

#[tokio::test]
async fn what_nobody_was_there_for_is_made_up_for_once() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    session.execute(MISSED).await.unwrap();
    let (one, other) = tokio::join!(server(&database.url, |_| ()), server(&database.url, |_| ()));
    let told =
        eventually("it ran", async || Some(retention(&one).await).filter(|told| told["lastRunAt"].is_string())).await;
    assert!(told["failure"].is_null() && told["lastDeletedRecords"].as_i64().unwrap() > 150, "{told}");
    assert_eq!((&told["keepDays"], &told["schedule"]), (&30.into(), &"0 2 * * *".into()));
    let next: DateTime<Utc> = told["nextRunAt"].as_str().unwrap().parse().unwrap();
    assert!(next > Utc::now() && next.format("%T").to_string() == "02:00:00", "{next}");
    assert_eq!(retention(&other).await, told, "both tell the same");
    let runs = one.telemetry().retention.runs.get() + other.telemetry().retention.runs.get();
    assert_eq!(runs, 1, "one of them did it");
    assert!(oldest(&mut session).await.unwrap() < Utc::now() - TimeDelta::days(30), "only whole partitions");
    assert_no_holes(&mut session).await;
    assert_whole(&mut session).await;
    tokio::join!(one.stop(), other.stop());
}

#[tokio::test]
async fn zero_days_keep_everything() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    session.execute(MISSED).await.unwrap();
    let app = server(&database.url, |config| config.retention.keep_days = 0).await;
    let told = retention(&app).await;
    assert_eq!((&told["keepDays"], &told["schedule"], &told["nextRunAt"]), (&0.into(), &"".into(), &Value::Null));
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 450);
    app.stop().await;
}

/// A role that owns everything but one old partition may take that off and not drop it.
#[tokio::test]
async fn without_the_right_to_drop_it_fails_aloud_and_succeeds_after_the_grant() {
    let database = TestDatabase::empty().await;
    let mut session = database.session().await;
    let (keeper, owner) = (format!("keeper_{}", database.name), format!("owner_{}", database.name));
    for sql in [
        format!("CREATE ROLE {keeper} LOGIN"),
        format!("CREATE ROLE {owner}"),
        format!("GRANT ALL ON SCHEMA public TO {keeper}, {owner}"),
    ] {
        session.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let url = database.url.replacen("taskwire@", &format!("{keeper}@"), 1);
    assert_ne!(url, database.url);
    db::migrate(&db::connect_options(&url, "the test").unwrap(), "the test").await.unwrap();
    session.execute(AssertSqlSafe(format!("SET ROLE {keeper}"))).await.unwrap();
    nine_weeks(&mut session).await;
    session.execute(MISSED).await.unwrap();
    // Nobody does it before the right is gone.
    session.execute("UPDATE maintenance_lease SET holder = 'the test', renewed_at = now()").await.unwrap();
    let app = server(&url, |_| ()).await;
    session.execute("RESET ROLE").await.unwrap();
    let oldest: String =
        sqlx::query_scalar("SELECT min(relname)::text FROM pg_class WHERE relname ~ '^task_record_[0-9]{8}$'")
            .fetch_one(&mut session)
            .await
            .unwrap();
    session.execute(AssertSqlSafe(format!("ALTER TABLE {oldest} OWNER TO {owner}"))).await.unwrap();
    session.execute("UPDATE maintenance_lease SET holder = NULL").await.unwrap();

    let told =
        eventually("it fails", async || Some(retention(&app).await).filter(|told| told["failure"].is_string())).await;
    let failure = told["failure"].as_str().unwrap();
    assert!(failure.contains(&oldest) && failure.contains("owner"), "{failure}");
    let next: DateTime<Utc> = told["nextRunAt"].as_str().unwrap().parse().unwrap();
    assert!(next - Utc::now() < TimeDelta::seconds(30), "{next}");
    let text = app.telemetry().text();
    assert!(
        text.contains("taskwire_retention_failing 1") && text.contains("taskwire_retention_failures_total 1"),
        "{text}"
    );
    // The pauses grow.
    let pause = "SELECT extract(epoch FROM retry_at - now())::bigint FROM storage_upkeep WHERE failures = 2";
    let second = eventually("it fails again", async || {
        let pause: Option<i64> = sqlx::query_scalar(pause).fetch_optional(&mut session).await.unwrap();
        pause
    })
    .await;
    assert!((6..=10).contains(&second), "{second}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 450, "it removed something all the same");

    session.execute(AssertSqlSafe(format!("GRANT {owner} TO {keeper}"))).await.unwrap();
    let told =
        eventually("it succeeds", async || Some(retention(&app).await).filter(|told| told["failure"].is_null())).await;
    assert!(told["lastDeletedRecords"].as_i64().unwrap() > 150, "{told}");
    assert!(app.telemetry().text().contains("taskwire_retention_failing 0"));
    assert_no_holes(&mut session).await;
    assert_no_gap(&mut session).await;
    app.stop().await;
}
