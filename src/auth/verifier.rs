//! One verifier for tokens, wherever they come from.

use std::{collections::HashMap, fmt, slice, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{AuthError, Role, SetupError, Viewer, crypto, is_id, jwks::Jwks, keys::Key};
use crate::{
    clock::Clock,
    config::{AuthConfig, KeyConfig},
    json::Plain,
};

/// Nobody's token is this large, and nobody is to make us read one that is.
const LARGEST: usize = 8 << 10;
/// The last second that has a year of four digits.
const LAST_SECOND: i64 = 253_402_300_799;

type Claims = HashMap<String, Plain>;

/// Tells by a token who is calling. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    keys: Keys,
    issuer: Option<String>,
    audiences: Vec<String>,
    role_claim: String,
    leeway: TimeDelta,
    clock: Clock,
}

enum Keys {
    /// Everybody is an admin.
    Open,
    Secret(Key),
    Jwks(Arc<Jwks>),
}

/// What is needed of a token's header to choose a key; what else it says (`jku`, `jwk`, `x5u` …) is never looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Authenticator {
    /// Takes the keys that the configuration names. A file is read; a URL is asked beside the rest of the start.
    pub async fn new(config: &AuthConfig, clock: Clock) -> Result<Self, SetupError> {
        crypto::install();
        let keys = match &config.key {
            KeyConfig::None => Keys::Open,
            KeyConfig::Secret(secret) => Keys::Secret(Key {
                id: None,
                algorithm: Algorithm::HS256,
                verifier: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            }),
            KeyConfig::JwksFile(path) => Keys::Jwks(Jwks::open(path, clock.clone()).await?),
            KeyConfig::JwksUrl(url) => Keys::Jwks(Jwks::at(url, clock.clone())?),
        };
        Ok(Self(Arc::new(Inner {
            keys,
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            role_claim: config.role_claim.clone(),
            leeway: TimeDelta::from_std(config.leeway).unwrap_or(TimeDelta::MAX),
            clock,
        })))
    }

    /// Whether nobody has to sign in: no key is configured, and everybody is an admin.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.0.keys, Keys::Open)
    }

    /// Who comes with this token. Where nobody has to sign in it is not looked at.
    pub async fn authenticate(&self, token: &str) -> Result<Viewer, AuthError> {
        if self.is_open() {
            return Ok(Viewer::admin());
        }
        let viewer = self.0.check(token).await;
        if let Err(error) = &viewer {
            // The reason alone: neither the token nor anything out of it.
            tracing::debug!(%error, "refused a token");
        }
        viewer
    }

    /// How long it is until a viewer's token is not taken any more, leeway included; none for one without a token.
    #[must_use]
    pub fn remaining(&self, viewer: &Viewer) -> Option<Duration> {
        let inner = &self.0;
        viewer.token_expires_at.map(|end| (end + inner.leeway - inner.clock.now()).to_std().unwrap_or_default())
    }
}

/// Without any key.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.keys {
            Keys::Open => "Authenticator(open)",
            Keys::Secret(_) => "Authenticator(secret)",
            Keys::Jwks(_) => "Authenticator(JWKS)",
        })
    }
}

impl Inner {
    async fn check(&self, token: &str) -> Result<Viewer, AuthError> {
        if token.len() > LARGEST {
            return Err(AuthError::TooLarge);
        }
        let header = header(token)?;
        let claims = match &self.keys {
            Keys::Open => return Ok(Viewer::admin()),
            Keys::Secret(key) => verify(token, &header, slice::from_ref(key)),
            Keys::Jwks(jwks) => self.check_by_jwks(token, &header, jwks).await,
        }?;
        self.viewer(&claims)
    }

    async fn check_by_jwks(&self, token: &str, header: &Header, jwks: &Arc<Jwks>) -> Result<Claims, AuthError> {
        // Before any reading of keys: no JWKS has a key for these.
        if !["RS256", "ES256", "EdDSA"].contains(&header.alg.as_str()) {
            return Err(AuthError::Algorithm);
        }
        let found = choose(&jwks.keys(), header.kid.as_deref());
        let found = if found.is_empty() { choose(&jwks.refreshed().await, header.kid.as_deref()) } else { found };
        if found.is_empty() {
            return Err(if jwks.keys().is_empty() { AuthError::NoKeys } else { AuthError::UnknownKey });
        }
        verify(token, header, &found)
    }

    fn viewer(&self, claims: &Claims) -> Result<Viewer, AuthError> {
        let now = self.clock.now();
        let expires_at = moment(present(claims, "exp")).ok_or(AuthError::Claim("exp"))?;
        if now >= expires_at + self.leeway {
            return Err(AuthError::Expired);
        }
        if let Some(not_before) = present(claims, "nbf") {
            let not_before = moment(Some(not_before)).ok_or(AuthError::Claim("nbf"))?;
            if not_before > now + self.leeway {
                return Err(AuthError::NotYetValid);
            }
        }
        if let Some(issuer) = &self.issuer
            && present(claims, "iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(AuthError::Issuer);
        }
        self.check_audience(present(claims, "aud"))?;
        let user_id = present(claims, "sub").and_then(Value::as_str).filter(|sub| is_id(sub));
        let user_id = user_id.ok_or(AuthError::Claim("sub"))?;
        let role = match present(claims, &self.role_claim) {
            None => Role::default(),
            Some(role) => role.as_str().and_then(|role| role.parse().ok()).ok_or(AuthError::Role)?,
        };
        // Only ever compared with when a user was disconnected; what cannot be read says nothing.
        Ok(Viewer::new(user_id, role).until(expires_at).since(moment(present(claims, "iat"))))
    }

    /// One of ours must be named; and a token that names somebody is for nobody else (RFC 7519, 4.1.3), so one with an
    /// audience is refused where none is configured.
    fn check_audience(&self, claim: Option<&Value>) -> Result<(), AuthError> {
        let named = match claim {
            None => &[],
            Some(Value::Array(named)) => named.as_slice(),
            Some(named) => slice::from_ref(named),
        };
        let is_ours = |name: &Value| name.as_str().is_some_and(|name| self.audiences.iter().any(|ours| ours == name));
        let is_for_all = named.is_empty() && self.audiences.is_empty();
        if is_for_all || named.iter().any(is_ours) { Ok(()) } else { Err(AuthError::Audience) }
    }
}

fn header(token: &str) -> Result<Header, AuthError> {
    let (header, rest) = token.split_once('.').ok_or(AuthError::Malformed)?;
    if rest.matches('.').count() != 1 {
        return Err(AuthError::Malformed);
    }
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| AuthError::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| AuthError::Malformed)?;
    // Who marks an extension as critical wants tokens refused where it is not known, and none is known here.
    if header.crit.is_some() { Err(AuthError::Malformed) } else { Ok(header) }
}

/// The keys that may have signed: those of this id; those without an id may be anybody's.
fn choose(keys: &[Key], id: Option<&str>) -> Vec<Key> {
    let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
    let found: Vec<Key> = keys.iter().filter(named).cloned().collect();
    if found.is_empty() { keys.iter().filter(|key| key.id.is_none()).cloned().collect() } else { found }
}

/// The claims, if one of the keys signed them by the key's own algorithm.
fn verify(token: &str, header: &Header, keys: &[Key]) -> Result<Claims, AuthError> {
    let mut reason = AuthError::Algorithm;
    for Key { algorithm, verifier, .. } in keys {
        // The header's word is compared, never followed.
        if header.alg != format!("{algorithm:?}") {
            continue;
        }
        let mut validation = Validation::new(*algorithm);
        // The claims are looked at by `viewer`, by the clock that was passed in.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        match decode::<Claims>(token, verifier, &validation) {
            Ok(token) => return Ok(token.claims),
            Err(error) => {
                reason = match error.kind() {
                    ErrorKind::InvalidSignature => AuthError::Signature,
                    _ => AuthError::Malformed,
                }
            }
        }
    }
    Err(reason)
}

/// A claim that says something; `null` says nothing.
fn present<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).map(|Plain(claim)| claim).filter(|claim| !claim.is_null())
}

/// A `NumericDate`: seconds, whole or not. What is before 1970 is as good as 1970, and nothing is after the year 9999.
fn moment(claim: Option<&Value>) -> Option<DateTime<Utc>> {
    let claim = claim?;
    let seconds = match claim.as_i64() {
        Some(seconds) => seconds.clamp(0, LAST_SECOND),
        None => Duration::try_from_secs_f64(claim.as_f64()?.clamp(0.0, 253_402_300_799.0))
            .ok()
            .and_then(|seconds| i64::try_from(seconds.as_secs()).ok())?,
    };
    DateTime::from_timestamp(seconds, 0)
}
