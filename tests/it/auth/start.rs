//! The settings of authentication, and `taskwire token`.

use std::time::Duration;

use taskwire::auth::{Authenticator, NewToken, Role, make_token};
use taskwire::clock::Clock;
use taskwire::config::{AuthConfig, AuthFlags, Config, ConfigError, Flags, HttpFlags, KeyConfig};

use super::keys::SECRET;
use crate::support::{
    Folder,
    process::{run, taskwire},
};

fn load(auth: AuthFlags, listen: Option<&str>) -> Result<Config, ConfigError> {
    let listen = listen.map(|listen| listen.parse().unwrap());
    Config::load(Flags { auth, http: HttpFlags { listen, ..HttpFlags::default() }, ..Flags::default() }, |_| None)
}

fn refused(auth: AuthFlags) -> (String, String) {
    let ConfigError { setting, problem } = load(auth, None).unwrap_err();
    (setting, problem)
}

fn secret() -> AuthFlags {
    AuthFlags { jwt_secret: Some(SECRET.into()), ..AuthFlags::default() }
}

#[test]
fn nobody_is_let_in_from_elsewhere_without_a_key() {
    for here in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(load(AuthFlags::default(), Some(here)).is_ok(), "{here}");
    }
    for everywhere in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"] {
        let error = load(AuthFlags::default(), Some(everywhere)).unwrap_err();
        assert_eq!(error.setting, "--listen");
        assert!(error.problem.contains("--jwt-secret-file") && error.problem.contains("--insecure"), "{error}");
        assert!(load(secret(), Some(everywhere)).is_ok(), "{everywhere}");
        let insecure = AuthFlags { insecure: true, ..AuthFlags::default() };
        assert!(load(insecure, Some(everywhere)).is_ok(), "{everywhere}");
    }
}

#[test]
fn contradictions_and_half_settings_are_refused() {
    let file = || Some("/nowhere".into());
    let url = || Some("https://login.example.com/jwks.json".to_owned());
    let both = [
        AuthFlags { jwt_secret_file: file(), ..secret() },
        AuthFlags { jwks_file: file(), ..secret() },
        AuthFlags { jwks_url: url(), ..secret() },
        AuthFlags { jwks_url: url(), jwks_file: file(), ..AuthFlags::default() },
    ];
    for flags in both {
        assert!(refused(flags).1.contains("contradicts --j"));
    }
    for short in ["", "31 bytes are not enough, are the"] {
        let short = &short[..short.len().min(31)];
        let (setting, problem) = refused(AuthFlags { jwt_secret: Some(short.into()), ..AuthFlags::default() });
        assert_eq!(setting, "--jwt-secret");
        assert!(problem.contains(&format!("has {} bytes but needs 32", short.len())), "{problem}");
        assert!(short.is_empty() || !problem.contains(short));
    }
    let needs_key = [
        AuthFlags { jwt_issuer: Some("us".into()), ..AuthFlags::default() },
        AuthFlags { jwt_audiences: vec!["tasks".into()], ..AuthFlags::default() },
    ];
    for flags in needs_key {
        assert!(refused(flags).1.contains("means nothing without a key"));
    }
    for wrong in [
        "",
        "http://login.example.com/",
        "ftp://localhost/",
        "localhost",
        "https://me:pw@a.example/",
        "http://127.0.0.1.evil.example/",
    ] {
        let (setting, problem) = refused(AuthFlags { jwks_url: Some(wrong.into()), ..AuthFlags::default() });
        assert_eq!(setting, "--jwks-url", "{wrong}");
        assert!(!problem.contains("pw"));
    }
    for right in ["https://login.example.com/a?b=c", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]:9/"] {
        assert!(load(AuthFlags { jwks_url: Some(right.into()), ..AuthFlags::default() }, None).is_ok(), "{right}");
    }
    assert_eq!(refused(AuthFlags { jwt_role_claim: Some("sub".into()), ..secret() }).0, "--jwt-role-claim");
    assert_eq!(refused(AuthFlags { jwt_leeway: Some(Duration::from_mins(6)), ..secret() }).0, "--jwt-leeway");
    assert_eq!(refused(AuthFlags { jwt_issuer: Some(" ".into()), ..secret() }).0, "--jwt-issuer");
    assert_eq!(refused(AuthFlags { jwks_file: Some("".into()), ..AuthFlags::default() }).0, "--jwks-file");
}

#[test]
fn the_secret_may_come_from_a_file_and_is_never_shown() {
    let folder = Folder::new();
    let path = folder.join("secret");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load(AuthFlags { jwt_secret_file: Some(path.clone()), ..AuthFlags::default() }, None)
    };
    let token = |config: &AuthConfig| {
        let token = NewToken { sub: "anna".into(), role: Role::User, ttl: Duration::from_secs(9) };
        make_token(config, &token, &Clock::standing_at(super::moment(super::NOW))).unwrap()
    };
    let by_flag = load(secret(), None).unwrap();
    for text in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        assert_eq!(token(&read(&text).unwrap().auth), token(&by_flag.auth));
    }
    assert_ne!(token(&read(&format!("{SECRET} ")).unwrap().auth), token(&by_flag.auth));
    let short = read("too short\n").unwrap_err().to_string();
    assert!(short.contains("has 9 bytes") && !short.contains("too short"), "{short}");
    assert!(read(&"x".repeat(70_000)).is_err());
    let missing = AuthFlags { jwt_secret_file: Some(folder.join("missing")), ..AuthFlags::default() };
    assert_eq!(refused(missing).0, "--jwt-secret-file");

    for shown in [format!("{:?}", secret()), format!("{by_flag:?}")] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn a_token_for_development_is_one_that_the_server_takes() {
    let ask = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = taskwire(&[], [&["token"], arguments].concat());
        command.envs(variables.iter().copied());
        run(command).await
    };
    let by_variable = [("TASKWIRE_JWT_SECRET", SECRET)];
    let arguments = ["--sub", "w1", "--role", "worker", "--ttl", "5min", "--jwt-issuer", "us", "--jwt-audience", "a,b"];
    let (code, token, errors) = ask(&arguments, &by_variable).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(token.lines().count(), 1);
    let config = AuthConfig {
        key: KeyConfig::Secret(SECRET.into()),
        issuer: Some("us".into()),
        audiences: vec!["b".into(), "a".into()],
        ..AuthConfig::default()
    };
    let authenticator = Authenticator::new(&config, Clock::system()).await.unwrap();
    let viewer = authenticator.authenticate(token.trim_end()).await.unwrap();
    assert_eq!((viewer.user_id.as_deref(), viewer.role), (Some("w1"), Role::Worker));
    let left = authenticator.remaining(&viewer).unwrap();
    assert!(left > Duration::from_mins(4) && left < Duration::from_mins(6), "{left:?}");

    let (code, token, _) = ask(&["--sub", "anna"], &by_variable).await;
    assert_eq!((code, token.matches('.').count()), (Some(0), 2));

    let url = ("TASKWIRE_JWKS_URL", "https://login.example.com/jwks.json");
    let (nothing, secret, short) = (("LANG", "C"), by_variable[0], ("TASKWIRE_JWT_SECRET", "short"));
    let wrong = [
        ("--sub a", nothing, "there is no secret"),
        ("--sub a", url, "public keys"),
        ("--sub ", secret, "--sub"),
        ("--sub a --ttl 1ms", secret, "--ttl"),
        ("--sub a --role root", secret, "user, worker or admin"),
        ("--sub a", short, "needs 32"),
    ];
    for (arguments, variable, reason) in wrong {
        let (code, token, error) = ask(&arguments.split(' ').collect::<Vec<_>>(), &[variable]).await;
        assert_eq!((code, token.as_str()), (Some(2), ""), "{reason}");
        assert!(error.contains(reason) && !error.contains(SECRET), "{error}");
    }
}

#[tokio::test]
async fn an_open_server_refuses_to_be_reached_from_elsewhere() {
    let folder = Folder::new();
    let data_dir = folder.join("data");
    let serve = |more: &[&str]| {
        let mut command = taskwire(&[], ["serve", "--listen", "0.0.0.0:0", "--data-dir"]);
        command.arg(&data_dir).args(more);
        run(command)
    };
    let (code, _, error) = serve(&[]).await;
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("taskwire: --listen: 0.0.0.0"), "{error}");
    let (code, _, error) = serve(&["--jwks-file", "/nowhere/jwks.json"]).await;
    assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("taskwire: --jwks-file: /nowhere/jwks.json: "), "{error}");
    assert!(!data_dir.exists());
    let help = run(taskwire(&[], ["--help"])).await.1;
    assert!(help.contains("--jwt-secret-file <FILE>"));
    let mut command = taskwire(&[], ["--help"]);
    command.env("TASKWIRE_JWT_SECRET", SECRET);
    assert!(!run(command).await.1.contains(SECRET));
}
