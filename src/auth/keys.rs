//! The public keys of a JWKS, each with the one algorithm that it is used with.

use std::{fmt, ops::RangeInclusive};

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::json::Plain;

/// Keys of one set. Who rotates has two or three.
const MOST: usize = 64;
/// 2048 to 8192 bits: less is broken, more is a way to keep us busy.
const RSA_BYTES: RangeInclusive<usize> = 256..=1024;

/// A key, and what it is used with: never what a token says.
#[derive(Clone)]
pub(super) struct Key {
    /// Its id, by which tokens name it.
    pub(super) id: Option<String>,
    /// What it verifies.
    pub(super) algorithm: Algorithm,
    /// The key.
    pub(super) verifier: DecodingKey,
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Plain>,
}

/// Reads a JWKS. What is in it for other purposes (encryption, other curves) is left out; with nothing usable it is
/// refused, so that a wrong document never takes the place of a right one.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(text)
        .map_err(|_| r#"is no JWKS: it must be JSON as in {"keys": [{"kty": "RSA", "kid": …}]}"#.to_owned())?;
    if set.keys.len() > MOST {
        return Err(format!("has {} keys; at most {MOST} are taken", set.keys.len()));
    }
    let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err("has no key to verify RS256 (2048 bits or more), ES256 or EdDSA (Ed25519) with".into());
    }
    Ok(keys)
}

fn usable(Plain(mut value): Plain) -> Option<Key> {
    // Of a kind that it does not know the library reads everything, with serde_json's own values. Nothing that is known here
    // is nested, so in place of what is stands something that is as wrong where a text is wanted.
    let is_nested = |value: &Value| value.is_object() || value.is_array();
    for member in value.as_object_mut()?.values_mut() {
        if member.is_object() || member.as_array().is_some_and(|all| all.iter().any(is_nested)) {
            *member = Value::Bool(true);
        }
    }
    // One by one: an entry of a kind unknown here must not spoil the others.
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let may_verify =
        common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
            && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let (algorithm, named) = algorithm(&jwk.algorithm)?;
    if !may_verify || common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let verifier = DecodingKey::from_jwk(&jwk).ok()?;
    let is_sized = match (algorithm, verifier.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            RSA_BYTES.contains(&n.iter().skip_while(|byte| **byte == 0).count())
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    };
    is_sized.then(|| Key { id: common.key_id.clone(), algorithm, verifier })
}

/// What a key of this kind is used with. A secret (`oct`) in a JWKS, which is a public document, is none.
fn algorithm(parameters: &AlgorithmParameters) -> Option<(Algorithm, KeyAlgorithm)> {
    match parameters {
        AlgorithmParameters::RSA(_) => Some((Algorithm::RS256, KeyAlgorithm::RS256)),
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
            Some((Algorithm::ES256, KeyAlgorithm::ES256))
        }
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            Some((Algorithm::EdDSA, KeyAlgorithm::EdDSA))
        }
        _ => None,
    }
}
