//! Keys made for the run, and tokens signed with them by hand, so that nothing checks itself.

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rsa::{Generate, pkcs1::EncodeRsaPrivateKey};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret of the tests, long enough for HS256";

/// Something that signs.
pub(crate) enum TestKey {
    Secret(Vec<u8>),
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    /// Signs nothing.
    None,
}

impl TestKey {
    pub(crate) fn secret() -> Self {
        Self::Secret(SECRET.into())
    }

    /// One for the run: they are slow to make.
    pub(crate) fn rsa() -> Self {
        static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
        Self::Rsa(KEY.get_or_init(|| {
            let key = rsa::PrivateKey::generate().to_pkcs1_der().unwrap();
            RsaKeyPair::from_der(key.as_bytes()).unwrap()
        }))
    }

    pub(crate) fn ec() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap())
    }

    pub(crate) fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
            Self::None => "none",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::None => Vec::new(),
        }
    }

    /// A token with this header and these claims.
    pub(crate) fn token_of(&self, header: &Value, claims: &Value) -> String {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&json!({ "alg": self.algorithm(), "typ": "JWT" }), claims)
    }

    /// The same, naming its key.
    pub(crate) fn token_by(&self, id: &str, claims: &Value) -> String {
        self.token_of(&json!({ "alg": self.algorithm(), "kid": id }), claims)
    }

    /// The public key's own bytes, which everybody has.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public_key().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
            Self::Secret(_) | Self::None => Vec::new(),
        }
    }

    /// The RSA modulus alone.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => PublicKeyComponents::<Vec<u8>>::from(key.public()).n,
            _ => Vec::new(),
        }
    }

    /// As it stands in a JWKS.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = self.public();
        let mut jwk = match self {
            Self::Rsa(key) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "use": "sig", "n": text(&parts.n), "e": text(&parts.e) })
            }
            Self::Ec(_) => json!({ "kty": "EC", "crv": "P-256", "x": text(&public[1..33]), "y": text(&public[33..]) }),
            Self::Ed(_) => json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": text(&public) }),
            Self::Secret(secret) => json!({ "kty": "oct", "alg": "HS256", "k": text(secret) }),
            Self::None => json!({}),
        };
        jwk["kid"] = id.into();
        jwk
    }
}

/// A JWKS of these keys.
pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
