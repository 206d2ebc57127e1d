//! What may be wrong with a token, and with the keys that a start is given.

/// Why a token is not taken. Each text is for the client: it says what to do about the token and nothing about the
/// server. What is told of a token's content is told only after its signature was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Larger than anybody's token.
    #[error("The token is larger than 8 KiB.")]
    TooLarge,
    /// Not three parts of base64url with JSON in them.
    #[error("The token is no JSON Web Token.")]
    Malformed,
    /// Signed in a way that the keys here are not for; unsigned, too.
    #[error("The token is signed by an algorithm that is not taken here.")]
    Algorithm,
    /// Its key id is none of ours.
    #[error("The token is signed by a key that is not known here.")]
    UnknownKey,
    /// Somebody else signed it, or changed it.
    #[error("The token's signature is not valid.")]
    Signature,
    /// Its `exp` has passed.
    #[error("The token has expired.")]
    Expired,
    /// Its `nbf` is still to come.
    #[error("The token is not valid yet.")]
    NotYetValid,
    /// A claim is missing, or is not what such a claim is.
    #[error("The token's claim {0:?} is missing or not usable.")]
    Claim(&'static str),
    /// Made by another issuer.
    #[error("The token is by another issuer.")]
    Issuer,
    /// Made for another service.
    #[error("The token is for another audience.")]
    Audience,
    /// Neither user nor worker nor admin.
    #[error("The token's role is not known here: it must be user, worker or admin.")]
    Role,
    /// The keys could not be had so far.
    #[error("Tokens cannot be checked at present: the keys could not be had. Try again in a moment.")]
    NoKeys,
}

impl AuthError {
    /// The code in the extensions of the error that a client gets.
    pub const CODE: &str = "UNAUTHENTICATED";

    /// Whether a new token is all that is needed.
    #[must_use]
    pub fn is_expired(self) -> bool {
        self == Self::Expired
    }
}

/// Why the keys that the configuration names cannot be used. One line that names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SetupError {
    /// The flag.
    pub setting: &'static str,
    /// What is wrong.
    pub problem: String,
}
