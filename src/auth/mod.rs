//! Who is calling: a token becomes a [`Viewer`]. No axum here: tokens come by header and by `connection_init`, and there
//! is one verifier for both, the [`Authenticator`].
//!
//! `verifier.rs` holds it: keys first, then the claims. `keys.rs` reads a JWKS, `jwks.rs` keeps one fresh from a file or
//! a URL, `crypto.rs` is ring behind `jsonwebtoken`, `token.rs` makes tokens for development, `error.rs` says what may
//! be wrong with a token. To take another algorithm: a line in `keys.rs` (which key means it) and in `crypto.rs`. To
//! check another claim: a check in `verifier.rs` and a variant in `error.rs`.

mod crypto;
mod error;
mod jwks;
mod keys;
mod token;
mod verifier;

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

pub use error::{AuthError, SetupError};
pub use token::{NewToken, TokenError, make_token};
pub use verifier::Authenticator;

/// Characters of a user id, as everywhere.
const ID_CHARACTERS: usize = 255;

/// Who the server takes the caller for. Every verb of the service takes one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The caller's own id, whatever the role; none where nobody signs in.
    pub user_id: Option<String>,
    /// What the caller may do.
    pub role: Role,
    /// When the caller's token runs out; none without one.
    pub token_expires_at: Option<DateTime<Utc>>,
    /// When it was issued; none without a token, or where it does not say.
    pub token_issued_at: Option<DateTime<Utc>>,
}

impl Viewer {
    /// Who may do everything: everybody, as long as no key is configured.
    #[must_use]
    pub fn admin() -> Self {
        Self { user_id: None, role: Role::Admin, token_expires_at: None, token_issued_at: None }
    }

    /// Somebody with an id.
    #[must_use]
    pub fn new(user_id: impl Into<String>, role: Role) -> Self {
        Self { user_id: Some(user_id.into()), role, token_expires_at: None, token_issued_at: None }
    }

    /// A user.
    #[must_use]
    pub fn user(user_id: impl Into<String>) -> Self {
        Self::new(user_id, Role::User)
    }

    /// A worker.
    #[must_use]
    pub fn worker(user_id: impl Into<String>) -> Self {
        Self::new(user_id, Role::Worker)
    }

    /// The same, until then.
    #[must_use]
    pub fn until(self, token_expires_at: DateTime<Utc>) -> Self {
        Self { token_expires_at: Some(token_expires_at), ..self }
    }

    /// The same, with a token of that moment.
    #[must_use]
    pub fn since(self, token_issued_at: Option<DateTime<Utc>>) -> Self {
        Self { token_issued_at, ..self }
    }
}

/// What a caller may do. Closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees and cancels the own tasks.
    #[default]
    User,
    /// Reports, sees and cancels for everyone.
    Worker,
    /// All that, and maintenance.
    Admin,
}

impl Role {
    /// As tokens say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Worker => "worker",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::User, Self::Worker, Self::Admin].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A word that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is user, worker or admin")]
pub struct UnknownRole;

/// Whether this can be a user's id: of some length, and something that `PostgreSQL` can keep.
fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0') && text.chars().count() <= ID_CHARACTERS
}
