//! Public keys from a file or a URL: which are taken, and when they are read again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use taskwire::auth::{AuthError, Authenticator, Viewer};
use taskwire::config::{AuthConfig, Config, KeyConfig, ListenConfig};
use taskwire::http::{Listening, Tls};
use taskwire::telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::keys::{TestKey, jwks};
use super::{NOW, authenticator, claims, moment};
use crate::accept_tls::{files, write_pair};
use crate::api_server::ApiServer;
use crate::socket_client::{Client, Got, LEGACY, TRANSPORT};
use crate::support::process::Logging;
use crate::support::{Folder, TestDatabase, eventually};

/// An issuer on this machine.
#[derive(Clone, Default)]
struct Issuer {
    answer: Arc<Mutex<(u16, String)>>,
    pause: Arc<Mutex<Duration>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: String) -> (Self, AuthConfig) {
        let issuer = Self::default();
        issuer.answers(200, answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json?key=hidden", listener.local_addr().unwrap());
        let router = Router::new().route("/jwks.json", get(Self::answer)).with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (issuer, AuthConfig { key: KeyConfig::JwksUrl(url), ..AuthConfig::default() })
    }

    async fn answer(State(issuer): State<Self>) -> (StatusCode, [(&'static str, &'static str); 1], String) {
        issuer.asked.fetch_add(1, Ordering::SeqCst);
        let pause = *issuer.pause.lock().unwrap();
        tokio::time::sleep(pause).await;
        let (status, text) = issuer.answer.lock().unwrap().clone();
        (StatusCode::from_u16(status).unwrap(), [("location", "/jwks.json")], text)
    }

    fn answers(&self, status: u16, text: String) {
        *self.answer.lock().unwrap() = (status, text);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn is_taken(authenticator: &Authenticator, key: &TestKey, id: &str) -> Result<(), AuthError> {
    let viewer = authenticator.authenticate(&key.token_by(id, &claims(json!({})))).await?;
    assert_eq!(viewer, Viewer::user("anna").until(moment(NOW + 60)));
    Ok(())
}

#[tokio::test]
async fn a_new_key_is_picked_up_and_nobody_makes_us_hammer_the_issuer() {
    let (old, new) = (TestKey::ed(), TestKey::ec());
    let (issuer, config) = Issuer::start(jwks(&[old.jwk("old")])).await;
    let (authenticator, clock) = authenticator(&config).await;
    assert_eq!(is_taken(&authenticator, &old, "old").await, Ok(()));
    assert_eq!(issuer.asked(), 1);

    // Invented ids cost one read in 30 s, however many there are.
    issuer.answers(200, jwks(&[old.jwk("old"), new.jwk("new")]));
    clock.advance(Duration::from_secs(31));
    let tokens = (0..200).map(|n| new.token_by(&format!("invented {n}"), &claims(json!({}))));
    let refused = tokens.map(|token| {
        let authenticator = authenticator.clone();
        tokio::spawn(async move { authenticator.authenticate(&token).await })
    });
    for refused in refused.collect::<Vec<_>>() {
        assert_eq!(refused.await.unwrap(), Err(AuthError::UnknownKey));
    }
    assert_eq!(issuer.asked(), 2);
    assert_eq!(is_taken(&authenticator, &new, "new").await, Ok(()));
    assert_eq!(is_taken(&authenticator, &new, "old").await, Err(AuthError::Algorithm));

    // Rotation: the old key goes with the next read, the newer one comes.
    let newer = TestKey::rsa();
    issuer.answers(200, jwks(&[new.jwk("new"), newer.jwk("newer")]));
    clock.advance(Duration::from_secs(29));
    let token = newer.token_by("newer", &claims(json!({ "exp": NOW + 3600 })));
    assert_eq!(authenticator.authenticate(&token).await, Err(AuthError::UnknownKey));
    assert_eq!(issuer.asked(), 2);
    clock.advance(Duration::from_secs(2));
    assert!(authenticator.authenticate(&token).await.is_ok());
    assert_eq!(issuer.asked(), 3);
    let token = old.token_by("old", &claims(json!({ "exp": NOW + 3600 })));
    assert_eq!(authenticator.authenticate(&token).await, Err(AuthError::UnknownKey));
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn what_cannot_be_read_takes_nothing_away() {
    let (key, other) = (TestKey::ed(), TestKey::ed());
    let (issuer, config) = Issuer::start(jwks(&[key.jwk("key")])).await;
    let (authenticator, clock) = authenticator(&config).await;
    assert_eq!(is_taken(&authenticator, &key, "key").await, Ok(()));
    let wrong = [
        (503, "away".to_owned()),
        (302, jwks(&[other.jwk("other")])),
        (404, jwks(&[other.jwk("other")])),
        (200, String::new()),
        (200, "<html>".into()),
        (200, jwks(&[])),
        (200, jwks(&[TestKey::secret().jwk("other")])),
        (200, format!("{}{}", jwks(&[other.jwk("other")]), " ".repeat(300_000))),
    ];
    for (n, (status, text)) in wrong.into_iter().enumerate() {
        issuer.answers(status, text);
        clock.advance(Duration::from_secs(31));
        let token = |key: &TestKey, id| key.token_by(id, &claims(json!({ "exp": NOW + 3600 })));
        let refused = authenticator.authenticate(&token(&other, "other")).await;
        assert_eq!(refused, Err(AuthError::UnknownKey), "answer {n}");
        assert_eq!(issuer.asked(), n + 2, "answer {n}");
        assert!(authenticator.authenticate(&token(&key, "key")).await.is_ok(), "answer {n}");
    }
}

#[tokio::test]
async fn old_keys_are_read_again_beside_the_work() {
    let (old, new) = (TestKey::ed(), TestKey::ed());
    let (issuer, config) = Issuer::start(jwks(&[old.jwk("key")])).await;
    let (authenticator, clock) = authenticator(&config).await;
    assert_eq!(is_taken(&authenticator, &old, "key").await, Ok(()));
    issuer.answers(200, jwks(&[new.jwk("key")]));
    clock.advance(Duration::from_mins(11));
    let token = old.token_by("key", &claims(json!({ "exp": NOW + 3600 })));
    // Nobody waits for it; when it is done the withdrawn key counts no more.
    assert!(authenticator.authenticate(&token).await.is_ok());
    eventually("the withdrawn key is gone", async || {
        (authenticator.authenticate(&token).await == Err(AuthError::Signature)).then_some(())
    })
    .await;
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_keeps_nobody_from_starting() {
    let key = TestKey::ed();
    let (issuer, config) = Issuer::start("later".into()).await;
    let (authenticator, clock) = authenticator(&config).await;
    assert_eq!(is_taken(&authenticator, &key, "key").await, Err(AuthError::NoKeys));
    issuer.answers(200, jwks(&[key.jwk("key")]));
    clock.advance(Duration::from_secs(2));
    assert_eq!(is_taken(&authenticator, &key, "key").await, Ok(()));
    assert_eq!(issuer.asked(), 2);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let config = AuthConfig { key: KeyConfig::JwksUrl(url), ..AuthConfig::default() };
    let (nobody_there, _) = super::authenticator(&config).await;
    assert_eq!(is_taken(&nobody_there, &key, "key").await, Err(AuthError::NoKeys));
}

#[tokio::test]
async fn a_socket_is_told_to_come_back_while_there_are_no_keys() {
    let key = TestKey::ed();
    let (issuer, auth) = Issuer::start("later".into()).await;
    let server = ApiServer::with_config(Config { auth, ..Config::default() }).await;
    let token = key.token_by("key", &json!({ "sub": "anna", "exp": chrono::Utc::now().timestamp() + 600 }));
    let init = json!({ "type": "connection_init", "payload": { "Authorization": token } });
    for protocol in [TRANSPORT, LEGACY] {
        let mut client = Client::open(&server, protocol).await;
        client.send(init.clone()).await;
        assert!(matches!(client.next().await, Got::Closed(Some(1013), reason) if reason.contains("Try again")));
    }
    // The very same token, when there are.
    issuer.answers(200, jwks(&[key.jwk("key")]));
    eventually("the keys are there", async || {
        let mut client = Client::open(&server, TRANSPORT).await;
        client.send(init.clone()).await;
        (client.next().await == Got::Message(json!({ "type": "connection_ack" }))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_issuer_with_https_is_read_where_its_certificate_is_trusted() {
    let (folder, database, key) = (Folder::new(), TestDatabase::new().await, TestKey::ed());
    write_pair(&folder);
    let keys = jwks(&[key.jwk("key")]);
    let router = Router::new().route("/jwks.json", get(|| async { keys }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/jwks.json", listener.local_addr().unwrap().port());
    let (tls, stop) = (Tls::load(&files(&folder)).unwrap(), CancellationToken::new());
    let _issuer =
        Listening::start(listener, router, &ListenConfig::default(), Some(tls), &Telemetry::new(), stop.clone());
    let token = key.token_by("key", &json!({ "sub": "anna", "exp": chrono::Utc::now().timestamp() + 600 }));
    let certificate = folder.join("cert.pem").display().to_string();
    for (trusted, status) in [(Some(("SSL_CERT_FILE", certificate.as_str())), 200), (None, 503)] {
        let variables: Vec<_> = [("TASKWIRE_LOG", "warn")].into_iter().chain(trusted).collect();
        let server = Logging::start(&database.url, &["--jwks-url", &url], &variables).await;
        let asked = reqwest::Client::new().post(format!("http://{}/graphql", server.address)).bearer_auth(&token);
        let answer = asked.json(&json!({ "query": "{ viewer { userId } }" })).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        if status == 200 {
            assert_eq!(answer.json::<Value>().await.unwrap()["data"]["viewer"]["userId"], "anna");
        } else {
            // Nobody's token is bad for that.
            assert_eq!(answer.headers()["retry-after"], "2");
            let answer = answer.json::<Value>().await.unwrap();
            assert_eq!(answer["errors"][0]["extensions"]["retryable"], true, "{answer}");
            assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer}");
            server.told("cannot read the keys").await;
        }
        server.end().await;
    }
    stop.cancel();
}

#[tokio::test]
async fn who_hangs_up_does_not_cut_the_read_short() {
    let (old, new) = (TestKey::ed(), TestKey::ed());
    let (issuer, config) = Issuer::start(jwks(&[old.jwk("old")])).await;
    let (authenticator, clock) = authenticator(&config).await;
    assert_eq!(is_taken(&authenticator, &old, "old").await, Ok(()));
    issuer.answers(200, jwks(&[new.jwk("new")]));
    *issuer.pause.lock().unwrap() = Duration::from_millis(300);
    clock.advance(Duration::from_secs(31));
    let hasty = tokio::time::timeout(Duration::from_millis(50), is_taken(&authenticator, &new, "new")).await;
    assert!(hasty.is_err());
    // The read that the hasty one began is the one that serves this one.
    assert_eq!(authenticator.authenticate(&new.token_by("new", &claims(json!({})))).await.map(drop), Ok(()));
    assert_eq!(issuer.asked(), 2);
}

async fn by_file(folder: &Folder, keys: &[Value]) -> Result<Authenticator, String> {
    let path = folder.join("jwks.json");
    std::fs::write(&path, jwks(keys)).unwrap();
    let config = AuthConfig { key: KeyConfig::JwksFile(path), ..AuthConfig::default() };
    let clock = taskwire::clock::Clock::standing_at(moment(NOW));
    Authenticator::new(&config, clock).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_file_is_read_at_the_start_and_again_for_a_new_key() {
    let folder = Folder::new();
    let (old, new) = (TestKey::rsa(), TestKey::ec());
    let authenticator = by_file(&folder, &[old.jwk("old")]).await.unwrap();
    assert_eq!(is_taken(&authenticator, &old, "old").await, Ok(()));
    assert_eq!(is_taken(&authenticator, &old, "other").await, Err(AuthError::UnknownKey));

    let config = AuthConfig { key: KeyConfig::JwksFile(folder.join("jwks.json")), ..AuthConfig::default() };
    let (authenticator, clock) = super::authenticator(&config).await;
    std::fs::write(folder.join("jwks.json"), jwks(&[new.jwk("new")])).unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(is_taken(&authenticator, &new, "new").await, Ok(()));
    std::fs::remove_file(folder.join("jwks.json")).unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(is_taken(&authenticator, &old, "old").await, Err(AuthError::UnknownKey));
    assert_eq!(is_taken(&authenticator, &new, "new").await, Ok(()));
}

#[tokio::test]
async fn only_usable_keys_count() {
    let folder = Folder::new();
    let (rsa, ed) = (TestKey::rsa(), TestKey::ed());
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    let useless = [
        TestKey::secret().jwk("a"),
        with(rsa.jwk("a"), "use", json!("enc")),
        with(rsa.jwk("a"), "alg", json!("RS512")),
        with(rsa.jwk("a"), "alg", json!("HS256")),
        with(rsa.jwk("a"), "key_ops", json!(["sign"])),
        with(rsa.jwk("a"), "n", json!("AQAB")),
        with(rsa.jwk("a"), "n", json!("AA".repeat(171) + "AQAB")),
        with(ed.jwk("a"), "crv", json!("X25519")),
        with(ed.jwk("a"), "x", json!("AAAA")),
        with(TestKey::ec().jwk("a"), "crv", json!("P-384")),
        json!({ "kty": "AKP", "kid": "a", "alg": "ML-DSA-44", "pub": "AAAA" }),
        with(rsa.jwk("a"), "use", json!({})),
        with(rsa.jwk("a"), "key_ops", json!([["verify"]])),
        // What serde_json's own values would take for text, to be read in turn.
        json!({ "kty": "AKP", "kid": "a", "more": { "$serde_json::private::RawValue": "no JSON" } }),
        json!({ "kid": "a" }),
        json!("a"),
    ];
    for key in &useless {
        let refused = by_file(&folder, std::slice::from_ref(key)).await.unwrap_err();
        assert!(refused.starts_with("--jwks-file: ") && refused.contains("no key to verify"), "{key}: {refused}");
    }
    // They spoil nothing either.
    let more = with(ed.jwk("ed"), "more", json!({ "than": ["is", { "known": 1 }] }));
    let all: Vec<Value> = useless.into_iter().chain([more]).collect();
    let authenticator = by_file(&folder, &all).await.unwrap();
    assert_eq!(is_taken(&authenticator, &ed, "ed").await, Ok(()));
    assert_eq!(is_taken(&authenticator, &ed, "a").await, Err(AuthError::UnknownKey));

    // A key without an id is anybody's; a token without one may be any key's.
    let mut nameless = ed.jwk("");
    nameless.as_object_mut().unwrap().remove("kid");
    let authenticator = by_file(&folder, &[rsa.jwk("rsa"), nameless]).await.unwrap();
    assert_eq!(is_taken(&authenticator, &ed, "whatever").await, Ok(()));
    for key in [&rsa, &ed] {
        assert!(authenticator.authenticate(&key.token(&claims(json!({})))).await.is_ok());
    }
    let many: Vec<Value> = (0..65).map(|n| ed.jwk(&n.to_string())).collect();
    assert!(by_file(&folder, &many).await.unwrap_err().contains("65 keys"));
}
