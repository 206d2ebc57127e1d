//! Which setting counts. The environment is handed in, so nothing here changes the process's own.

use std::{collections::HashMap, time::Duration};

use taskwire::config::{
    Config, ConfigError, DatabaseFlags, DatabaseSource, Flags, HttpFlags,
    Origin::{self, CommandLine, Environment},
};

use crate::support::process::{run, taskwire};

fn load(flags: Flags, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Config::load(flags, |name| variables.get(name).map(|value| (*value).to_owned()))
}

fn database(url: Option<&str>, url_by: Origin, embedded: Option<Origin>) -> Flags {
    Flags {
        database: DatabaseFlags {
            database_url: url.map(Into::into),
            database_url_origin: url_by,
            embedded: embedded.is_some(),
            embedded_origin: embedded.unwrap_or_default(),
            ..DatabaseFlags::default()
        },
        ..Flags::default()
    }
}

fn source(flags: Flags, variables: &[(&str, &str)]) -> Result<Option<(String, String)>, ConfigError> {
    load(flags, variables).map(|config| match config.database.url {
        DatabaseSource::Url { url, setting } => Some((url, setting)),
        DatabaseSource::Embedded => None,
    })
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load(Flags::default(), &[]).unwrap();
    assert!(matches!(config.database.url, DatabaseSource::Embedded));
    assert_eq!((config.database.min_connections, config.database.max_connections), (10, 20));
    assert_eq!(config.database.acquire_timeout, Duration::from_mins(1));
    assert_eq!(config.database.command_timeout, Duration::from_mins(1));
    assert_eq!(config.database.statement_timeout, None);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.data_dir.path.to_str(), Some("./data"));
    assert!(!config.data_dir.chosen);
    assert_eq!(config.feed.check_interval, Duration::from_millis(1500));
    assert_eq!(config.feed.ring_bytes, 64 << 20);
    assert_eq!((config.write.lanes, config.write.queue_bytes, config.write.queue_records), (2, 64 << 20, 20_000));
    assert_eq!(config.write.hold_timeout, Duration::from_secs(5));
    assert_eq!(config.task.settle, Duration::from_mins(5));
}

#[test]
fn the_weightier_setting_counts() {
    let shell = [("DATABASE_URL", "postgres://shell/a"), ("DB_HOST", "old")];
    let found = |url: &str, setting: &str| Ok(Some((url.to_owned(), setting.to_owned())));
    let flag = || database(Some("postgres://flag/a"), CommandLine, None);
    let ours = || database(Some("postgresql://ours/a"), Environment, None);
    assert_eq!(source(flag(), &shell), found("postgres://flag/a", "--database-url"));
    assert_eq!(source(ours(), &shell), found("postgresql://ours/a", "TASKWIRE_DATABASE_URL"));
    assert_eq!(source(Flags::default(), &shell), found("postgres://shell/a", "DATABASE_URL"));
    assert_eq!(source(Flags::default(), &shell[1..]), found("postgres://postgres@old:5432/aiecs", "DB_HOST"));
    // Empty, as compose files leave them, is as good as not there.
    assert_eq!(source(database(Some(""), Environment, None), &[("DATABASE_URL", " "), ("DB_HOST", "")]), Ok(None));

    let embedded = |by| database(None, Environment, Some(by));
    assert_eq!(source(embedded(Environment), &shell), Ok(None));
    assert_eq!(source(embedded(CommandLine), &shell), Ok(None));
    assert_eq!(source(database(Some("postgres://ours/a"), Environment, Some(CommandLine)), &shell), Ok(None));
    assert_eq!(
        source(database(Some("postgres://flag/a"), CommandLine, Some(Environment)), &shell),
        found("postgres://flag/a", "--database-url")
    );
    for both in [Environment, CommandLine] {
        let error = source(database(Some("postgres://a/a"), both, Some(both)), &[]).unwrap_err();
        assert_eq!(error.setting, "--embedded");
    }
}

#[test]
fn the_replaced_systems_variables_are_read() {
    let all = [
        ("DB_HOST", "db.example.com"),
        ("DB_PORT", "6000"),
        ("DB_NAME", "tasks & more"),
        ("DB_USER", "me@home"),
        ("DB_PASSWORD", "p:/@?#%ß"),
        ("DB_MIN_SIZE", "3"),
        ("DB_MAX_SIZE", "30"),
        ("DB_COMMAND_TIMEOUT", "1.5"),
    ];
    let config = load(Flags::default(), &all).unwrap();
    let DatabaseSource::Url { url, .. } = &config.database.url else { panic!("not read") };
    assert_eq!(url, "postgres://me%40home:p%3A%2F%40%3F%23%25%C3%9F@db.example.com:6000/tasks%20%26%20more");
    assert_eq!((config.database.min_connections, config.database.max_connections), (3, 30));
    assert_eq!(config.database.command_timeout, Duration::from_millis(1500));
    assert!(!format!("{config:?}").contains("p%3A"), "a password in a log line");

    // A port or a password alone names no place.
    assert_eq!(source(Flags::default(), &[("DB_PORT", "6000"), ("DB_PASSWORD", "x")]), Ok(None));
    let named = source(Flags::default(), &[("DB_NAME", "tasks")]).unwrap();
    assert_eq!(named, Some(("postgres://postgres@localhost:5432/tasks".into(), "DB_NAME".into())));
    let six = source(Flags::default(), &[("DB_HOST", "::1")]).unwrap().unwrap().0;
    assert_eq!(six, "postgres://postgres@[::1]:5432/aiecs");
    let socket = source(Flags::default(), &[("DB_HOST", "/run/postgresql")]).unwrap().unwrap().0;
    assert_eq!(socket, "postgres://postgres@%2Frun%2Fpostgresql:5432/aiecs");
    let python = source(Flags::default(), &[("DATABASE_URL", "postgresql+asyncpg://h/a")]).unwrap().unwrap().0;
    assert_eq!(python, "postgres://h/a");

    for (name, value) in
        [("DB_PORT", "70000"), ("DB_MIN_SIZE", "many"), ("DB_MAX_SIZE", "-1"), ("DB_COMMAND_TIMEOUT", "1 min")]
    {
        let error = load(Flags::default(), &[("DB_HOST", "h"), (name, value)]).unwrap_err();
        assert_eq!(error.setting, name);
    }
}

#[test]
fn one_end_of_the_pool_moves_the_other_ends_default() {
    let pool = |variables: &[(&str, &str)]| {
        let database = load(Flags::default(), variables).unwrap().database;
        (database.min_connections, database.max_connections)
    };
    assert_eq!(pool(&[("DB_MAX_SIZE", "6")]), (6, 6));
    assert_eq!(pool(&[("DB_MIN_SIZE", "40")]), (40, 40));
    let both = [("DB_MIN_SIZE", "9"), ("DB_MAX_SIZE", "8")];
    assert_eq!(load(Flags::default(), &both).unwrap_err().setting, "--min-connections");
}

#[test]
fn hosts_and_origins_are_tidied_and_checked() {
    let http = |hosts: &[&str], origins: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let http = HttpFlags { public_hosts: owned(hosts), allow_origins: owned(origins), ..HttpFlags::default() };
        load(Flags { http, ..Flags::default() }, &[])
    };
    let config = http(&["Tasks.Example.com", " b "], &["https://App.example.com/"]).unwrap();
    assert_eq!(config.http.public_hosts, ["tasks.example.com", "b"]);
    assert_eq!(config.http.allow_origins, ["https://app.example.com"]);
    assert_eq!(http(&["https://tasks.example.com"], &[]).unwrap_err().setting, "--public-host");
    for wrong in ["app.example.com", "https://", "*", "https://*.example.com", "https://a/b"] {
        assert_eq!(http(&[], &[wrong]).unwrap_err().setting, "--allow-origin", "{wrong}");
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let refused = |change: fn(&mut Flags)| {
        let mut flags = Flags::default();
        change(&mut flags);
        load(flags, &[]).unwrap_err().setting
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(refused(|flags| flags.listen.handler_timeout = Some(Duration::from_mins(10))), "--handler-timeout");
    assert_eq!(refused(|flags| flags.graphql.maintenance_time = Some(Duration::from_mins(11))), "--handler-timeout");
    assert_eq!(refused(|flags| flags.graphql.maintenance_time = Some(Duration::from_secs(9))), "--maintenance-time");
    assert_eq!(refused(|flags| flags.http.user_body_limit = Some(32 << 20)), "--user-body-limit");
    let mut flags = Flags::default();
    flags.listen.handler_timeout = seconds(61);
    flags.graphql.maintenance_time = seconds(60);
    flags.http.body_limit = Some(1 << 20);
    assert!(load(flags, &[]).is_ok());

    let mut flags = Flags::default();
    flags.graphql.max_page_size = Some(20);
    flags.graphql.max_batch_records = Some(2);
    flags.graphql.max_result_bytes = Some(100);
    let sizes = load(flags, &[]).unwrap().graphql;
    assert_eq!((sizes.max_page_size, sizes.max_batch_records, sizes.max_result_bytes), (20, 2, 100));
    assert_eq!(refused(|flags| flags.graphql.max_page_size = Some(501)), "--max-page-size");
    assert_eq!(refused(|flags| flags.graphql.max_batch_records = Some(0)), "--max-batch-records");
    assert_eq!(refused(|flags| flags.graphql.max_result_bytes = Some(1 << 20)), "--max-result-bytes");
}

#[tokio::test]
async fn help_names_every_variable_and_a_wrong_value_its_option() {
    let (code, help, _) = run(taskwire(&[], ["--help"])).await;
    assert_eq!(code, Some(0));
    for name in
        ["TASKWIRE_LISTEN", "TASKWIRE_DATABASE_URL", "TASKWIRE_DATA_DIR", "TASKWIRE_SETTLE", "DB_COMMAND_TIMEOUT"]
    {
        assert!(help.contains(name), "{name} is not in the help");
    }
    let mut command = taskwire(&[], ["serve", "--help"]);
    command.env("TASKWIRE_DATABASE_URL", "postgres://me:hunter2@h/a");
    assert!(!run(command).await.1.contains("hunter2"), "a password in the help");
    let mut command = taskwire(&[], ["migrate"]);
    command.env("TASKWIRE_ACQUIRE_TIMEOUT", "5 parsecs");
    let (code, _, error) = run(command).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("--acquire-timeout") && error.contains("1500ms"), "{error}");
    let (code, version, _) = run(taskwire(&[], ["--version"])).await;
    assert_eq!(code, Some(0));
    assert!(version.starts_with(&format!("taskwire {} (", env!("CARGO_PKG_VERSION"))), "{version}");
}
