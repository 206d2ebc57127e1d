//! The settings file and `taskwire config`, by the real program: what counts, where it comes from, what is refused.

use std::fs;

use tokio::process::Command;

use crate::support::{
    Folder, TestDatabase,
    process::{Logging, run, taskwire},
};

/// `config check` in a folder of its own, with this file in it and these variables.
async fn check(file: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    fs::write(folder.join("taskwire.toml"), file).unwrap();
    let mut command = in_folder(&folder, &["config", "check"]);
    command.args(arguments).envs(variables.iter().copied());
    run(command).await
}

/// The program where the settings file is looked for.
fn in_folder(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = taskwire(&[], arguments);
    command.env_remove("TASKWIRE_CONFIG").env_remove("TASKWIRE_LOG").current_dir(folder.path());
    command
}

/// Value and source of a setting, as `config check` prints them.
fn row(text: &str, key: &str) -> (String, String) {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).skip(1);
    let (value, from) = (columns.next().unwrap(), columns.next().unwrap());
    (value.to_owned(), from.to_owned())
}

#[tokio::test]
async fn the_command_line_weighs_more_than_a_variable_and_that_more_than_the_file() {
    let file = "max-depth = 11\nmax-aliases = 11\nmax-tokens = 11\npublic-host = ['a', 'b']\ninsecure = true\n";
    let variables = [("TASKWIRE_MAX_DEPTH", "12"), ("TASKWIRE_MAX_ALIASES", "12"), ("DB_MAX_SIZE", "31")];
    let (code, out, errors) = check(file, &["--max-depth", "13"], &variables).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    let found = |key| row(&out, key);
    let said = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(found("max-depth"), said("13", "--max-depth"));
    assert_eq!(found("max-aliases"), said("12", "TASKWIRE_MAX_ALIASES"));
    assert_eq!(found("max-tokens"), said("11", "taskwire.toml:3:1"));
    assert_eq!(found("public-host"), said("a,b", "taskwire.toml:4:1"));
    assert_eq!(found("insecure"), said("true", "taskwire.toml:5:1"));
    assert_eq!(found("max-connections"), said("31", "DB_MAX_SIZE"));
    assert_eq!(found("settle"), said("5min", "default"));
    assert_eq!(found("users-may-save"), said("false", "default"));
}

#[tokio::test]
async fn the_server_runs_by_the_file() {
    let (database, folder) = (TestDatabase::new().await, Folder::new());
    let path = folder.join("other.toml");
    fs::write(folder.join("url"), format!("{}\n", database.url)).unwrap();
    let url = folder.join("url").display().to_string();
    fs::write(&path, format!("database-url-file = '{url}'\nlog = 'taskwire=info'\nmax-root-fields = 2\n")).unwrap();
    let config = path.display().to_string();
    // The file's word about the database gives way: the command line names it.
    let variables = [("TASKWIRE_CONFIG", config.as_str())];
    let server = Logging::start(&database.url, &[], &variables).await;
    let body =
        r#"{"query": "{ a: users { nodes { userId } } b: users { nodes { userId } } c: users { nodes { userId } } }"}"#;
    let answer = reqwest::Client::new()
        .post(format!("http://{}/graphql", server.address))
        .header("content-type", "application/json")
        .body(body)
        .send();
    let answer = answer.await.unwrap().text().await.unwrap();
    assert!(answer.contains("rootFields"), "{answer}");
    server.end().await;

    let mut migrate = taskwire(&[], ["migrate", "--config", &config]);
    migrate.env_remove("TASKWIRE_LOG");
    let migrate = run(migrate).await;
    assert_eq!(migrate.0, Some(0), "{migrate:?}");
    assert!(migrate.2.contains("settings read") && migrate.2.contains("other.toml"), "{migrate:?}");
}

#[tokio::test]
async fn everything_wrong_is_told_by_the_check_and_the_first_of_it_by_a_start() {
    let file = "max-dept = 3\nlisten = 'here'\n";
    let (code, out, errors) = check(file, &[], &[]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert_eq!(lines[0], "taskwire: taskwire.toml:1:1: max-dept: there is no such setting; the nearest is max-depth");
    assert!(lines[1].starts_with("taskwire: taskwire.toml:2:1: listen: "), "{errors}");

    let folder = Folder::new();
    fs::write(folder.join("taskwire.toml"), file).unwrap();
    for arguments in [&[][..], &["serve"], &["migrate"], &["token", "--sub", "anna"]] {
        let (code, out, errors) = run(in_folder(&folder, arguments)).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("taskwire.toml:1:1: max-dept: ") && errors.contains("and 1 more"), "{errors}");
    }
    // What needs no setting needs no file.
    assert_eq!(run(in_folder(&folder, &["schema"])).await.0, Some(0));
    assert_eq!(run(in_folder(&folder, &["config", "example"])).await.0, Some(0));

    // Several sections are wrong at once, in what clap has taken.
    let (code, out, errors) = check("max-depth = 99\nsettle = '500d'\n", &["--max-connections", "2"], &[]).await;
    assert_eq!(code, Some(2));
    assert_eq!(row(&out, "max-depth"), ("99".into(), "taskwire.toml:1:1".into()));
    for wrong in
        ["--max-connections: must be", "taskwire.toml:1:1: max-depth: must be", "taskwire.toml:2:1: settle: must be"]
    {
        assert!(errors.lines().any(|line| line.starts_with(&format!("taskwire: {wrong}"))), "{errors}");
    }
    let missing = run(taskwire(&[], ["serve", "--config", "/nowhere/taskwire.toml"])).await;
    assert_eq!(missing.0, Some(2));
    assert!(missing.2.starts_with("taskwire: --config: /nowhere/taskwire.toml: No such file"), "{missing:?}");
}

#[tokio::test]
async fn variables_that_look_like_ours_are_noted() {
    let (code, _, errors) = check("", &[], &[("TASKWIRE_MAX_DEPHT", "3"), ("TASKWIRE_TOKEN_SUB", "a")]).await;
    assert_eq!(code, Some(0));
    assert_eq!(errors, "taskwire: note: TASKWIRE_MAX_DEPHT is no setting; the nearest is TASKWIRE_MAX_DEPTH\n");
}

#[tokio::test]
async fn secrets_come_from_files_and_are_told_to_nobody() {
    let folder = Folder::new();
    let secret = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let url = secret("url", "postgres://me:hunter2@db.example.com/tasks?password=hunter2\r\n");
    let password = secret("password", "hunter2/@ü\n");
    let empty = secret("empty", "\n");
    let token = "hunter2".repeat(6);
    let shown = async |file: &str, variables: &[(&str, &str)]| {
        let (code, out, errors) = check(file, &[], variables).await;
        assert!(!format!("{out}{errors}").contains("hunter2"), "{out}{errors}");
        (code, if code == Some(0) { row(&out, "database-url") } else { (errors, String::new()) })
    };
    let ok = |value: &str, from: &str| (Some(0), (value.to_owned(), from.to_owned()));
    let place = "postgres://me:…@db.example.com/tasks";
    let written = format!("{place}?…");
    assert_eq!(shown(&format!("database-url-file = '{url}'"), &[]).await, ok(&written, "--database-url-file"));
    assert_eq!(shown("", &[("DATABASE_URL_FILE", &url)]).await, ok(&written, "DATABASE_URL"));
    let bare = "postgres://me@db.example.com/tasks";
    let with = format!("database-url = '{bare}'\ndatabase-password-file = '{password}'\njwt-secret = '{token}'");
    assert_eq!(shown(&with, &[]).await, ok(place, "taskwire.toml:1:1"));
    // A variable's word about the database, whichever it is, weighs more than the file's.
    assert_eq!(shown(&with, &[("DATABASE_URL", bare)]).await, ok(place, "DATABASE_URL"));
    assert_eq!(shown(&with, &[("TASKWIRE_DATABASE_URL", bare)]).await, ok(place, "TASKWIRE_DATABASE_URL"));
    // A password that should have been encoded, a secret that looks like a URL, several URLs.
    for (key, value) in
        [("database-url", "app:hunter2?b@h/x"), ("database-url", "h/x?password=a@hunter2"), ("jwt-secret", &token)]
    {
        shown(&format!("{key} = 'postgres://{value}'"), &[]).await;
    }
    let several = "listen-url = ['postgres://me:hunter2@one/x', 'postgres://me:hunter2@two/x']";
    let (_, out, errors) = check(several, &[], &[]).await;
    assert_eq!(row(&out, "listen-url").0, "postgres://me:…@one/x,postgres://me:…@two/x", "{out}{errors}");
    let old = [("DB_HOST", "db.example.com"), ("DB_USER", "me"), ("DB_NAME", "tasks"), ("DB_PASSWORD_FILE", &password)];
    assert_eq!(shown("", &old).await, ok("postgres://me:…@db.example.com:5432/tasks", "DB_HOST"));

    for (variables, wrong) in [
        (
            vec![("DATABASE_URL_FILE", url.as_str()), ("DATABASE_URL", bare)],
            "DATABASE_URL_FILE: contradicts DATABASE_URL",
        ),
        (
            vec![("DB_HOST", "h"), ("DB_PASSWORD", "x"), ("DB_PASSWORD_FILE", &password)],
            "DB_PASSWORD_FILE: contradicts",
        ),
        (
            vec![("DATABASE_URL_FILE", &url), ("TASKWIRE_DATABASE_PASSWORD_FILE", &password)],
            "--database-password-file: ",
        ),
        (
            vec![("TASKWIRE_DATABASE_URL_FILE", &url), ("TASKWIRE_DATABASE_URL", bare)],
            "--database-url-file: contradicts",
        ),
        (vec![("TASKWIRE_DATABASE_URL_FILE", &empty)], "--database-url-file: "),
        (vec![("TASKWIRE_DATABASE_URL_FILE", "/nowhere")], "--database-url-file: /nowhere: No such file"),
    ] {
        let (code, (errors, _)) = shown("", &variables).await;
        assert_eq!(code, Some(2), "{variables:?}");
        assert!(errors.starts_with(&format!("taskwire: {wrong}")), "{errors}");
    }
    // Passwords in files reach PostgreSQL as they are.
    let config = taskwire::config::Config::load(taskwire::config::Flags::default(), |name| {
        (name == "DB_PASSWORD_FILE").then(|| password.clone()).or((name == "DB_HOST").then(|| "h".into()))
    });
    let taskwire::config::DatabaseSource::Url { url, .. } = config.unwrap().database.url else { panic!("no URL") };
    assert_eq!(url, "postgres://postgres:hunter2%2F%40%C3%BC@h:5432/aiecs");
}
