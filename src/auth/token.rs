//! Tokens for development. In production somebody else makes them: the system where people sign in.

use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{Role, crypto, is_id};
use crate::{
    clock::Clock,
    config::{AuthConfig, KeyConfig},
};

/// Longer is no token for development.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose.
    pub sub: String,
    /// As what.
    pub role: Role,
    /// For how long.
    pub ttl: Duration,
}

/// Why no token was made. One line that says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key at all.
    #[error(
        "there is no secret to sign with: give the server's by --jwt-secret-file (TASKWIRE_JWT_SECRET_FILE) or TASKWIRE_JWT_SECRET"
    )]
    NoSecret,
    /// Public keys.
    #[error(
        "a JWKS has public keys, which sign nothing: have your issuer make the token, or use --jwt-secret-file (TASKWIRE_JWT_SECRET_FILE) for development"
    )]
    PublicKeys,
    /// No user id.
    #[error("--sub: must be 1 to 255 characters without NUL")]
    Sub,
    /// Too short or too long.
    #[error("--ttl: must be 1s to 366d")]
    Ttl,
    /// The library's.
    #[error("the token could not be signed")]
    Signing,
}

/// Makes a token that a server with this configuration takes.
pub fn make_token(config: &AuthConfig, token: &NewToken, clock: &Clock) -> Result<String, TokenError> {
    let secret = match &config.key {
        KeyConfig::Secret(secret) => secret,
        KeyConfig::None => return Err(TokenError::NoSecret),
        KeyConfig::JwksFile(_) | KeyConfig::JwksUrl(_) => return Err(TokenError::PublicKeys),
    };
    if !is_id(&token.sub) {
        return Err(TokenError::Sub);
    }
    if token.ttl < Duration::from_secs(1) || token.ttl > LONGEST {
        return Err(TokenError::Ttl);
    }
    let now = clock.now();
    let end = now + TimeDelta::from_std(token.ttl).map_err(|_| TokenError::Ttl)?;
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(token.sub));
    claims.insert(config.role_claim.clone(), json!(token.role.as_str()));
    claims.insert("iat".into(), json!(now.timestamp()));
    claims.insert("exp".into(), json!(end.timestamp()));
    let mut say = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            claims.insert(name.into(), Value::from(value.as_str()));
        }
    };
    say("iss", config.issuer.as_ref());
    say("aud", config.audiences.first());
    crypto::install();
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|_| TokenError::Signing)
}
