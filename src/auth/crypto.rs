//! ring, which sqlx and rustls bring anyway, behind `jsonwebtoken`. Its own two choices would each bring a second
//! cryptographic library: aws-lc (a C build of minutes), or `RustCrypto` with an `rsa` that has an open advisory.
//!
//! Only what is needed: HS256, RS256, ES256, EdDSA to verify; HS256 to sign.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, Result, new_error},
};
use ring::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use signature::{Signer, Verifier};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| signer(*algorithm, key),
    verifier_factory: |algorithm, key| verifier(*algorithm, key),
    // For thumbprints and for making JWKs of private keys, which nobody does here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring what `jsonwebtoken` works with in this process. Has to come before anything is verified or signed.
pub(super) fn install() {
    // Fails where it has been done already.
    let _ = RING.install_default();
}

fn signer(algorithm: Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if algorithm != Algorithm::HS256 || key.family() != algorithm.family() {
        return Err(unsupported());
    }
    Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))))
}

fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    // A key is only ever used for what it was made for: an RSA key's bytes are no HMAC secret.
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(match (algorithm, key.kind()) {
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
            Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)))
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            // ring takes numbers without leading zeros; some makers of JWKS write one.
            Box::new(Rs256(PublicKeyComponents { n: without_zeros(n), e: without_zeros(e) }))
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => public(algorithm, &ECDSA_P256_SHA256_FIXED, point),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => public(algorithm, &ED25519, point),
        _ => return Err(unsupported()),
    })
}

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct Rs256(PublicKeyComponents<Vec<u8>>);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

/// A point on a curve.
struct Public {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

fn public(algorithm: Algorithm, by: &'static dyn VerificationAlgorithm, point: &[u8]) -> Box<dyn JwtVerifier> {
    Box::new(Public { algorithm, key: UnparsedPublicKey::new(by, point.to_vec()) })
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        self.key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
