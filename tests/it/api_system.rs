//! `system`: what an operator is told of the server and its database.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};
use taskwire::app::App;
use taskwire::config::{Config, DatabaseConfig, DatabaseSource, HttpConfig};
use taskwire::telemetry::Telemetry;

use super::api_server::ApiServer;
use super::support::{TestDatabase, eventually};

async fn system(server: &ApiServer, fields: &str) -> Value {
    server.data(&format!("{{ system {{ {fields} }} }}"), json!({})).await["system"].take()
}

#[tokio::test]
async fn a_server_tells_of_itself() {
    let server = ApiServer::start().await;
    // Once the listener is connected, and the machine is not too busy to answer soon.
    let health = eventually("it is well", async || {
        let health = system(&server, "health { state database feed detail roundTripMs }").await["health"].take();
        (health["state"] == "HEALTHY").then_some(health)
    })
    .await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let told = system(
        &server,
        "serverId version startedAt
        connectionPool { size idle active waiting minSize maxSize usage }
        feed { subscriptions connections recoveredByCheck reconnects deliveryLatencyMs { p50 } }
        database { queries failedQueries queryMs { p50 p99 max } }
        retention { keepDays schedule lastRunAt lastDeletedRecords failure }",
    )
    .await;
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["serverId"].as_str().unwrap().len() > 9, "{told}");
    let started: chrono::DateTime<chrono::Utc> = told["startedAt"].as_str().unwrap().parse().unwrap();
    assert!((0..60).contains(&(chrono::Utc::now() - started).num_seconds()), "{started}");
    let well = ["state", "database", "feed", "detail"].map(|name| &health[name]);
    assert_eq!(well, [&json!("HEALTHY"), &json!("HEALTHY"), &json!("HEALTHY"), &Value::Null]);
    let round_trip = health["roundTripMs"].as_f64().unwrap();
    assert!(round_trip > 0.0 && round_trip < 10_000.0, "{round_trip}");
    let pool = &told["connectionPool"];
    let whole = |name: &str| pool[name].as_i64().unwrap();
    assert_eq!([whole("minSize"), whole("maxSize"), whole("waiting")], [1, 8, 0]);
    assert!((1..=8).contains(&whole("size")) && whole("idle") + whole("active") == whole("size"), "{pool}");
    assert!((pool["usage"].as_f64().unwrap() - f64::from(i32::try_from(whole("active")).unwrap()) / 8.0).abs() < 1e-9);
    let feed = json!({ "subscriptions": 0, "connections": 0, "recoveredByCheck": 0, "reconnects": 0, "deliveryLatencyMs": null });
    assert_eq!(told["feed"], feed);
    let database = &told["database"];
    assert!(database["queries"].as_i64().unwrap() >= 2 && database["failedQueries"] == 0, "{database}");
    let [p50, p99, max] = ["p50", "p99", "max"].map(|share| database["queryMs"][share].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max && max < 10_000.0, "{database}");
    let retention =
        r#"{"keepDays":30,"schedule":"0 2 * * *","lastRunAt":null,"lastDeletedRecords":null,"failure":null}"#;
    assert_eq!(told["retention"], serde_json::from_str::<Value>(retention).unwrap());
}

#[tokio::test]
async fn a_watched_save_shows_in_the_feeds_figures() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    let answer = server.ask("{ tasks(userId: \"u\", first: 1) { feedCursor } }", json!({})).await;
    let events =
        r#"subscription($after: FeedCursor) { taskEvents(userId: "u", after: $after) { record { position } } }"#;
    socket.subscribe("1", events, json!({ "after": answer["data"]["tasks"]["feedCursor"] })).await;
    eventually("it is subscribed", async || {
        let feed = system(&server, "feed { subscriptions connections }").await["feed"].take();
        (feed == json!({ "subscriptions": 1, "connections": 1 })).then_some(())
    })
    .await;
    // The first may come before it stands, and is read from the table; the second is live for certain.
    for step in 1..=2 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
        let message = socket.next().await;
        assert_eq!(message["payload"]["data"]["taskEvents"]["record"]["position"], step, "{message}");
    }
    let latency = eventually("its time is known", async || {
        let latency =
            system(&server, "feed { deliveryLatencyMs { p50 p99 max } }").await["feed"]["deliveryLatencyMs"].take();
        (!latency.is_null()).then_some(latency)
    })
    .await;
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max && max < 10_000.0, "{latency}");
}

#[tokio::test]
async fn a_listener_that_was_cut_off_is_told_of() {
    let server = ApiServer::start().await;
    let listening = async || system(&server, "feed { listenerConnected reconnects }").await["feed"].take();
    let connected = |reconnects: i32| json!({ "listenerConnected": true, "reconnects": reconnects });
    eventually("it listens", async || (listening().await == connected(0)).then_some(())).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')";
    server.database.session().await.execute(cut).await.unwrap();
    eventually("it listens again", async || (listening().await == connected(1)).then_some(())).await;
}

fn config_of(database: &TestDatabase) -> Config {
    Config {
        database: DatabaseConfig {
            url: DatabaseSource::Url { url: database.url.clone(), setting: "the test".into() },
            min_connections: 1,
            ..DatabaseConfig::default()
        },
        http: HttpConfig { listen: ([127, 0, 0, 1], 0).into(), ..HttpConfig::default() },
        ..Config::default()
    }
}

/// A sign of life that is under way at the end must not come after the good-bye: the server would be told of for a minute.
#[tokio::test]
async fn a_sign_of_life_that_is_under_way_does_not_outlive_its_server() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let slow =
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.15); RETURN NEW; END';
        CREATE TRIGGER slow BEFORE INSERT ON server_heartbeat FOR EACH ROW EXECUTE FUNCTION slow()";
    session.execute(slow).await.unwrap();
    let app = App::start(config_of(&database), Telemetry::new()).await.unwrap();
    let mut count =
        async |sql: &str| -> i64 { sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut session).await.unwrap() };
    let under_way =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    while count(under_way).await == 0 {}
    app.stop().await;
    while count(under_way).await > 0 {}
    assert_eq!(count("SELECT count(*) FROM server_heartbeat").await, 0);
}

#[tokio::test]
async fn the_servers_over_a_database_know_of_each_other() {
    let server = ApiServer::start().await;
    let mine = system(&server, "serverId version startedAt").await;
    let servers = async || {
        let told = system(&server, "servers { serverId version startedAt seenAt state connections }").await;
        told["servers"].as_array().unwrap().clone()
    };
    let first = eventually("the first sign of life", async || servers().await.first().cloned()).await;
    for name in ["serverId", "version", "startedAt"] {
        assert_eq!(first[name], mine[name]);
    }
    assert_eq!(first["connections"], 0);
    let begun = Instant::now();
    eventually("it does well", async || (servers().await.first()?["state"] == "HEALTHY").then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "only with the next sign of life: {:?}", begun.elapsed());
    let second = App::start(config_of(&server.database), Telemetry::new()).await.unwrap();
    let both = eventually("the second one's sign of life", async || {
        Some(servers().await).filter(|servers| servers.len() == 2)
    })
    .await;
    assert_eq!(both[0]["serverId"], mine["serverId"], "the oldest comes first");
    assert_ne!(both[1]["serverId"], mine["serverId"]);
    second.stop().await;
    // Within a second: else it would be told of for a minute.
    eventually("it said good-bye", async || (servers().await.len() == 1).then_some(())).await;
    // One that was killed is told of for a minute.
    let mut session = server.database.session().await;
    let of_old =
        "INSERT INTO server_heartbeat VALUES ('killed', '0.1.0', now(), now() - interval '50 seconds', 'degraded', 7),
        ('forgotten', '0.1.0', now(), now() - interval '61 seconds', 'healthy', 7)";
    session.execute(of_old).await.unwrap();
    let told = servers().await;
    let named: Vec<&Value> = told.iter().map(|server| &server["serverId"]).collect();
    assert_eq!(named, [&mine["serverId"], &json!("killed")]);
    assert_eq!((&told[1]["state"], &told[1]["connections"]), (&json!("DEGRADED"), &json!(7)));
}

#[tokio::test]
async fn what_fails_is_counted_and_takes_nothing_with_it() {
    let server = ApiServer::start().await;
    let failed =
        async || system(&server, "database { failedQueries }").await["database"]["failedQueries"].as_i64().unwrap();
    assert_eq!(failed().await, 0);
    server.database.session().await.execute("DROP TABLE server_heartbeat").await.unwrap();
    let answer = server.ask("{ system { servers { serverId } storage { tasks } version } }", json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{answer}");
    assert_eq!(answer["errors"][0]["path"], json!(["system", "servers"]), "{answer}");
    let system = &answer["data"]["system"];
    assert_eq!((&system["servers"], &system["version"]), (&Value::Null, &json!(env!("CARGO_PKG_VERSION"))));
    assert!(failed().await >= 1);
}

#[tokio::test]
async fn storage_is_told_by_partition_and_by_day() {
    let server = ApiServer::start().await;
    for step in 1..=3 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
    }
    server.save("u", "s", 1, "RUNNING", json!({})).await;
    let mut session = server.database.session().await;
    // Two of yesterday, one of 29 days ago, one of the day before that.
    let older =
        "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
        SELECT 'v', 't', 1, '{}'::json, now(), 'running', row_number() OVER (),
               date_trunc('day', now(), 'UTC') - ago, gen_random_uuid()
        FROM unnest(ARRAY['1 microsecond', '1 day', '29 days', '696 hours 1 microsecond']::interval[]) ago";
    session.execute(older).await.unwrap();
    session.execute("ANALYZE task, task_order, task_record").await.unwrap();
    let storage = system(
        &server,
        "storage { historyBytes taskBytes records tasks recordsPerDay { day records }
            partitions { name start end bytes estimatedRecords } }",
    )
    .await["storage"]
        .take();
    assert_eq!((&storage["records"], &storage["tasks"]), (&json!(8), &json!(2)));
    let sizes = "SELECT (SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
            WHERE inhparent = 'task_record'::regclass), pg_total_relation_size('task') + pg_total_relation_size('task_order')";
    let (history, tasks): (i64, i64) = sqlx::query_as(sizes).fetch_one(&mut session).await.unwrap();
    assert_eq!((&storage["historyBytes"], &storage["taskBytes"]), (&json!(history), &json!(tasks)));
    let days = storage["recordsPerDay"].as_array().unwrap();
    let counts: Vec<i64> = days.iter().map(|day| day["records"].as_i64().unwrap()).collect();
    let mut expected = vec![0; 30];
    (expected[0], expected[28], expected[29]) = (1, 2, 4);
    assert_eq!(counts, expected);
    assert_eq!(days[29]["day"], format!("{}T00:00:00.000000Z", chrono::Utc::now().format("%Y-%m-%d")));
    let partitions = storage["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 7);
    assert_eq!(
        (&partitions[0]["name"], &partitions[0]["start"]),
        (&json!("task_record_before"), &json!("0001-01-01T00:00:00.000000Z"))
    );
    assert_eq!(
        (&partitions[6]["name"], &partitions[6]["end"]),
        (&json!("task_record_after"), &json!("9999-12-31T23:59:59.999999Z"))
    );
    assert!(partitions.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]), "{partitions:#?}");
    let sum = |field: &str| partitions.iter().map(|partition| partition[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("bytes"), sum("estimatedRecords")), (history, 8));
}

#[tokio::test]
async fn the_growth_of_a_large_partition_is_estimated() {
    let server = ApiServer::start().await;
    // 1,800 pages of this week and the last: 30,000 on the first two days of it, 60,000 on the third.
    let many =
        "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
        SELECT 'u', 't', 1, '{}', now(), 'running', n, date_trunc('day', now(), 'UTC') - interval '20 days'
               + least(n / 15000, 2) * interval '1 day', gen_random_uuid() FROM generate_series(0, 89999) n";
    server.database.session().await.execute(many).await.unwrap();
    let storage = system(&server, "storage { recordsPerDay { records } }").await["storage"].take();
    let counts: Vec<i64> =
        storage["recordsPerDay"].as_array().unwrap().iter().map(|day| day["records"].as_i64().unwrap()).collect();
    for (day, count) in counts.into_iter().enumerate() {
        let exact = match day {
            9 | 10 => 15_000,
            11 => 60_000,
            _ => 0,
        };
        assert!((count - exact).abs() <= exact / 5, "{count} on day {day} instead of about {exact}");
    }
}
