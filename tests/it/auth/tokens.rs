//! What may be wrong with a token, one by one.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use taskwire::auth::{AuthError, Authenticator, Role, Viewer};
use taskwire::config::{AuthConfig, KeyConfig};

use super::keys::{SECRET, TestKey, jwks};
use super::{NOW, authenticator, claims, moment};
use crate::support::Folder;

fn by_secret() -> AuthConfig {
    AuthConfig { key: KeyConfig::Secret(SECRET.into()), ..AuthConfig::default() }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn told(authenticator: &Authenticator, others: Value) -> Result<Viewer, AuthError> {
    authenticator.authenticate(&TestKey::secret().token(&claims(others))).await
}

#[tokio::test]
async fn without_a_key_everybody_is_an_admin() {
    let (open, _) = authenticator(&AuthConfig::default()).await;
    assert!(open.is_open());
    assert_eq!(open.authenticate("whatever").await, Ok(Viewer::admin()));
    assert_eq!(open.remaining(&Viewer::admin()), None);
    assert!(!authenticator(&by_secret()).await.0.is_open());
}

#[tokio::test]
async fn a_right_token_tells_who_is_calling() {
    let (authenticator, clock) = authenticator(&by_secret()).await;
    let until = moment(NOW + 60);
    assert_eq!(told(&authenticator, json!({})).await, Ok(Viewer::user("anna").until(until)));
    for (said, role) in [("user", Role::User), ("worker", Role::Worker), ("admin", Role::Admin)] {
        let viewer = told(&authenticator, json!({ "role": said })).await.unwrap();
        assert_eq!((viewer.role, viewer.user_id.as_deref()), (role, Some("anna")));
    }
    assert_eq!(told(&authenticator, json!({ "role": null })).await.unwrap().role, Role::User);
    let longest = "ä".repeat(255);
    assert_eq!(told(&authenticator, json!({ "sub": longest })).await.unwrap().user_id, Some(longest));
    // Fractions, and a time that no calendar of ours has.
    assert!(told(&authenticator, json!({ "exp": 1_800_000_059.5 })).await.is_ok());
    let far = told(&authenticator, json!({ "exp": 1e15 })).await.unwrap().token_expires_at.unwrap();
    assert_eq!(far.to_string(), "9999-12-31 23:59:59 UTC");
    // The leeway counts for a socket that waits for the end, too.
    let viewer = told(&authenticator, json!({})).await.unwrap();
    assert_eq!(authenticator.remaining(&viewer), Some(Duration::from_secs(70)));
    clock.advance(Duration::from_secs(100));
    assert_eq!(authenticator.remaining(&viewer), Some(Duration::ZERO));
}

#[tokio::test]
async fn times_are_checked_with_leeway() {
    let (authenticator, clock) = authenticator(&by_secret()).await;
    let exp = |exp: Value| told(&authenticator, json!({ "exp": exp }));
    assert!(exp(json!(NOW - 9)).await.is_ok());
    for expired in [json!(NOW - 10), json!(0), json!(-1), json!(-1e300)] {
        assert_eq!(exp(expired.clone()).await, Err(AuthError::Expired), "{expired}");
    }
    for unusable in [json!(null), json!("soon"), json!(true), json!("1800000060")] {
        assert_eq!(exp(unusable.clone()).await, Err(AuthError::Claim("exp")), "{unusable}");
    }
    let without = TestKey::secret().token(&json!({ "sub": "anna" }));
    assert_eq!(authenticator.authenticate(&without).await, Err(AuthError::Claim("exp")));

    assert!(told(&authenticator, json!({ "nbf": NOW + 10 })).await.is_ok());
    assert_eq!(told(&authenticator, json!({ "nbf": NOW + 11 })).await, Err(AuthError::NotYetValid));
    assert_eq!(told(&authenticator, json!({ "nbf": "now" })).await, Err(AuthError::Claim("nbf")));

    let token = TestKey::secret().token(&claims(json!({})));
    assert!(authenticator.authenticate(&token).await.is_ok());
    clock.advance(Duration::from_secs(70));
    let refused = authenticator.authenticate(&token).await.unwrap_err();
    assert!(refused.is_expired());
}

#[tokio::test]
async fn subjects_and_roles_must_be_usable() {
    let (authenticator, _) = authenticator(&by_secret()).await;
    for sub in [json!(null), json!(""), json!(7), json!("a\0b"), json!("x".repeat(256)), json!(true)] {
        assert_eq!(told(&authenticator, json!({ "sub": sub })).await, Err(AuthError::Claim("sub")), "{sub}");
    }
    let without = TestKey::secret().token(&json!({ "exp": NOW + 60 }));
    assert_eq!(authenticator.authenticate(&without).await, Err(AuthError::Claim("sub")));
    for role in [json!("root"), json!("ADMIN"), json!(""), json!(" admin"), json!(["admin"]), json!(1), json!(true)] {
        assert_eq!(told(&authenticator, json!({ "role": role })).await, Err(AuthError::Role), "{role}");
    }
}

#[tokio::test]
async fn the_roles_claim_can_be_another() {
    let config = AuthConfig { role_claim: "https://example.com/taskwire".into(), ..by_secret() };
    let (authenticator, _) = authenticator(&config).await;
    let role = async |others| told(&authenticator, others).await.unwrap().role;
    assert_eq!(role(json!({ "https://example.com/taskwire": "worker" })).await, Role::Worker);
    assert_eq!(role(json!({ "role": "admin" })).await, Role::User);
}

#[tokio::test]
async fn issuer_and_audience_must_be_ours() {
    let config = AuthConfig { issuer: Some("us".into()), audiences: vec!["tasks".into(), "all".into()], ..by_secret() };
    let (strict, _) = authenticator(&config).await;
    for audience in [json!("tasks"), json!(["other", "all"])] {
        assert!(told(&strict, json!({ "iss": "us", "aud": audience })).await.is_ok(), "{audience}");
    }
    for issuer in [json!("them"), json!(null), json!(["us"]), json!("us ")] {
        assert_eq!(told(&strict, json!({ "iss": issuer, "aud": "all" })).await, Err(AuthError::Issuer), "{issuer}");
    }
    for audience in [json!("other"), json!([]), json!(null), json!(["other"]), json!(7), json!({ "all": 1 })] {
        let told = told(&strict, json!({ "iss": "us", "aud": audience })).await;
        assert_eq!(told, Err(AuthError::Audience), "{audience}");
    }
    // A token for somebody else is not for us only because we have no name.
    let (nameless, _) = authenticator(&by_secret()).await;
    assert!(told(&nameless, json!({ "iss": "anybody" })).await.is_ok());
    assert!(told(&nameless, json!({ "aud": [] })).await.is_ok());
    assert_eq!(told(&nameless, json!({ "aud": "other" })).await, Err(AuthError::Audience));
}

#[tokio::test]
async fn what_somebody_else_signed_is_refused() {
    let (authenticator, _) = authenticator(&by_secret()).await;
    let (key, claims) = (TestKey::secret(), claims(json!({ "role": "admin" })));
    let other = TestKey::Secret(b"another secret that is long enough for it".to_vec());
    assert_eq!(authenticator.authenticate(&other.token(&claims)).await, Err(AuthError::Signature));
    // Another one's claims under our signature, and ours without its end.
    let (ours, theirs) = (key.token(&claims), key.token(&json!({ "sub": "eve", "exp": NOW + 60 })));
    let [ours, theirs] = [&ours, &theirs].map(|token| token.split('.').collect::<Vec<_>>());
    let mixed = [ours[0], theirs[1], ours[2]].join(".");
    assert_eq!(authenticator.authenticate(&mixed).await, Err(AuthError::Signature));
    let cut = [ours[0], ours[1], &ours[2][..20]].join(".");
    assert_eq!(authenticator.authenticate(&cut).await, Err(AuthError::Signature));
    assert_eq!(authenticator.authenticate(&[ours[0], ours[1], ""].join(".")).await, Err(AuthError::Signature));
}

#[tokio::test]
async fn the_algorithm_is_never_the_tokens_choice() {
    let folder = Folder::new();
    let (rsa, ec, ed) = (TestKey::rsa(), TestKey::ec(), TestKey::ed());
    std::fs::write(folder.join("jwks"), jwks(&[rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk("ed")])).unwrap();
    let by_keys = AuthConfig { key: KeyConfig::JwksFile(folder.join("jwks")), ..AuthConfig::default() };
    let (by_secret, by_keys) = (authenticator(&by_secret()).await.0, authenticator(&by_keys).await.0);
    let claims = claims(json!({ "role": "admin" }));
    for key in [&rsa, &ec, &ed] {
        assert!(by_keys.authenticate(&key.token(&claims)).await.is_ok());
    }

    for none in ["none", "None", "NONE", "nOnE", ""] {
        for kid in [Value::Null, json!("rsa")] {
            let header = json!({ "alg": none, "typ": "JWT", "kid": kid });
            for token in [TestKey::None, TestKey::secret()].map(|key| key.token_of(&header, &claims)) {
                for authenticator in [&by_secret, &by_keys] {
                    assert_eq!(authenticator.authenticate(&token).await, Err(AuthError::Algorithm), "{none:?}");
                }
            }
        }
    }
    // Key confusion: everybody has the public keys; none of them is a secret.
    let pem =
        format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(rsa.public()));
    let jwk = rsa.jwk("rsa").to_string().into_bytes();
    for known in [rsa.public(), rsa.modulus(), ec.public(), ed.public(), pem.into_bytes(), jwk, Vec::new()] {
        let key = TestKey::Secret(known);
        for kid in ["rsa", "ec", "ed", "unknown"] {
            assert_eq!(by_keys.authenticate(&key.token_by(kid, &claims)).await, Err(AuthError::Algorithm));
            // Signed by HMAC, but saying otherwise.
            for alg in ["RS256", "ES256", "EdDSA"] {
                let token = key.token_of(&json!({ "alg": alg, "kid": kid }), &claims);
                let refused = by_keys.authenticate(&token).await.unwrap_err();
                let expected = match (kid, alg) {
                    ("unknown", _) => AuthError::UnknownKey,
                    ("rsa", "RS256") | ("ec", "ES256") | ("ed", "EdDSA") => AuthError::Signature,
                    _ => AuthError::Algorithm,
                };
                assert_eq!(refused, expected, "{kid} {alg}");
            }
        }
    }
    // One key's signature under another key's name, and an algorithm that nobody configured.
    assert_eq!(by_keys.authenticate(&rsa.token_by("ec", &claims)).await, Err(AuthError::Algorithm));
    assert_eq!(by_keys.authenticate(&TestKey::ec().token_by("ec", &claims)).await, Err(AuthError::Signature));
    for alg in ["HS384", "HS512", "PS256", "RS512", "ES384", "HS256 "] {
        let token = TestKey::secret().token_of(&json!({ "alg": alg }), &claims);
        assert_eq!(by_secret.authenticate(&token).await, Err(AuthError::Algorithm), "{alg}");
        assert_eq!(by_keys.authenticate(&token).await, Err(AuthError::Algorithm), "{alg}");
    }
    for key in [&rsa, &ec, &ed] {
        assert_eq!(by_secret.authenticate(&key.token(&claims)).await, Err(AuthError::Algorithm));
    }
    // A key that comes with the token is nobody's.
    let eve = TestKey::ed();
    let header = json!({ "alg": "EdDSA", "jwk": eve.jwk("eve"), "jku": "https://eve.example/jwks", "kid": "ed" });
    assert_eq!(by_keys.authenticate(&eve.token_of(&header, &claims)).await, Err(AuthError::Signature));
    // Extensions that must be understood are not.
    let header = json!({ "alg": "HS256", "crit": ["b64"], "b64": true });
    assert_eq!(by_secret.authenticate(&TestKey::secret().token_of(&header, &claims)).await, Err(AuthError::Malformed));
}

#[tokio::test]
async fn garbage_and_giants_are_refused() {
    let (authenticator, _) = authenticator(&by_secret()).await;
    let right = TestKey::secret().token(&claims(json!({})));
    let part = right.split('.').next().unwrap();
    let garbage = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        "Bearer x".into(),
        "\0\0\0".into(),
        "ÄÖÜ.ß.€".into(),
        format!("{right}."),
        format!(".{right}"),
        format!(" {right}"),
        format!("{right}\n"),
        format!("{part}.{part}"),
        format!("{part}.!.{part}"),
        TestKey::secret().token_of(&json!([]), &claims(json!({}))),
        TestKey::secret().token_of(&json!({ "alg": 256 }), &claims(json!({}))),
        TestKey::secret().token(&json!("anna")),
        TestKey::secret().token(&claims(json!({ "sub": ["anna"] }))),
        TestKey::secret().token(&claims(json!({ "exp": [NOW + 60] }))),
        TestKey::secret().token(&json!([1, 2])),
    ];
    for token in garbage {
        let refused = authenticator.authenticate(&token).await.unwrap_err();
        assert!(matches!(refused, AuthError::Malformed | AuthError::Signature), "{token:?}: {refused:?}");
    }
    let padded = |size: usize| TestKey::secret().token(&claims(json!({ "pad": "x".repeat(size) })));
    let base = padded(0).len();
    let nearly = (8192 - base) / 4 * 3;
    let under = (nearly - 9..nearly + 9).rev().map(padded).find(|token| token.len() <= 8192).unwrap();
    assert!(under.len() > 8180);
    assert!(authenticator.authenticate(&under).await.is_ok());
    assert_eq!(authenticator.authenticate(&padded(6200)).await, Err(AuthError::TooLarge));
    assert_eq!(authenticator.authenticate(&"x".repeat(8193)).await, Err(AuthError::TooLarge));
    assert_eq!(authenticator.authenticate(&"x.".repeat(10_000_000)).await, Err(AuthError::TooLarge));
}

#[tokio::test]
async fn no_secret_and_no_token_is_ever_shown() {
    let log = Log::default();
    let writer = log.clone();
    let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _quiet_again = tracing::subscriber::set_default(all.finish());
    let config = by_secret();
    let (authenticator, _) = authenticator(&config).await;
    for shown in [format!("{config:?}"), format!("{authenticator:?}"), format!("{:#?}", (&config, &authenticator))] {
        assert!(!shown.contains(SECRET) && !shown.contains(&SECRET[..12]), "{shown}");
    }
    let token = TestKey::Secret(b"another secret that is long enough for it".to_vec()).token(&claims(json!({})));
    let refused = authenticator.authenticate(&token).await.unwrap_err();
    assert_eq!(refused.to_string(), "The token's signature is not valid.");
    assert_eq!(AuthError::CODE, "UNAUTHENTICATED");
    assert!(told(&authenticator, json!({ "role": "secretly" })).await.is_err());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("refused a token"), "{log}");
    for hidden in token.split('.').chain([SECRET, "secretly", "anna"]) {
        assert!(!log.contains(hidden), "{log}");
    }
}
