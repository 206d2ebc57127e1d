//! Who may call: the keys that tokens are checked with, and what the tokens must say.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args,
    builder::{FalseyValueParser, StringValueParser, TypedValueParser},
};
use http::Uri;
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, humane, secret};

/// HS256 has 256 bits; a shorter secret can be found by trying, by whoever has one token.
const SECRET_BYTES: usize = 32;
/// Claims that have a meaning of their own.
const CLAIMS: [&str; 7] = ["sub", "exp", "nbf", "iat", "iss", "aud", "jti"];

/// Flags of authentication.
#[derive(Debug, Clone, Default, Args)]
pub struct AuthFlags {
    /// Secret that tokens are signed with (HS256), of 32 bytes or more. Other users of this machine can read command
    /// lines: prefer the variable or --jwt-secret-file
    #[arg(
        long = "jwt-secret",
        env = "TASKWIRE_JWT_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        value_parser = hidden(),
        help_heading = "Authentication"
    )]
    pub jwt_secret: Option<SecretString>,
    /// File that holds this secret; a line feed at its end is not part of it
    #[arg(
        long = "jwt-secret-file",
        env = "TASKWIRE_JWT_SECRET_FILE",
        value_name = "FILE",
        help_heading = "Authentication"
    )]
    pub jwt_secret_file: Option<PathBuf>,
    /// File with the public keys that tokens are signed with (JWKS: RS256, ES256, EdDSA)
    #[arg(long = "jwks-file", env = "TASKWIRE_JWKS_FILE", value_name = "FILE", help_heading = "Authentication")]
    pub jwks_file: Option<PathBuf>,
    /// Where the issuer publishes these keys, as in <https://login.example.com/.well-known/jwks.json>
    #[arg(
        long = "jwks-url",
        env = "TASKWIRE_JWKS_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Authentication"
    )]
    pub jwks_url: Option<String>,
    /// Issuer that tokens must name (claim iss) [default: none, and any will do]
    #[arg(long = "jwt-issuer", env = "TASKWIRE_JWT_ISSUER", value_name = "NAME", help_heading = "Authentication")]
    pub jwt_issuer: Option<String>,
    /// Audience that tokens must name (claim aud), one of them; can be repeated or comma separated [default: none,
    /// and tokens that name one are refused]
    #[arg(
        long = "jwt-audience",
        env = "TASKWIRE_JWT_AUDIENCE",
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Authentication"
    )]
    pub jwt_audiences: Vec<String>,
    /// Claim that says user, worker or admin; a token without it is a user's [default: role]
    #[arg(
        long = "jwt-role-claim",
        env = "TASKWIRE_JWT_ROLE_CLAIM",
        value_name = "NAME",
        help_heading = "Authentication"
    )]
    pub jwt_role_claim: Option<String>,
    /// How far the issuer's clock may be off [default: 10s]
    #[arg(long = "jwt-leeway", env = "TASKWIRE_JWT_LEEWAY", value_name = "DURATION", value_parser = humane::duration, help_heading = "Authentication")]
    pub jwt_leeway: Option<Duration>,
    /// Let users save reports of their own tasks, as workers do for everyone
    #[arg(long = "users-may-save", env = "TASKWIRE_USERS_MAY_SAVE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Authentication")]
    pub users_may_save: bool,
    /// Listen beyond this machine without any key: everybody who can reach the server may then do everything
    #[arg(long, env = "TASKWIRE_INSECURE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Authentication")]
    pub insecure: bool,
}

/// What tokens are checked with.
#[derive(Debug, Clone, Default)]
pub enum KeyConfig {
    /// Nothing: nobody signs in, and everybody is an admin.
    #[default]
    None,
    /// A secret (HS256).
    Secret(SecretString),
    /// Public keys in a file.
    JwksFile(PathBuf),
    /// Public keys at a URL, https or on this machine.
    JwksUrl(String),
}

impl KeyConfig {
    /// Whether nobody signs in.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// What tokens are checked with.
    pub key: KeyConfig,
    /// The issuer that they must name.
    pub issuer: Option<String>,
    /// The audiences of which they must name one.
    pub audiences: Vec<String>,
    /// The claim that holds the role.
    pub role_claim: String,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Whether users save reports of their own tasks.
    pub users_may_save: bool,
    /// Whether the server may be reached from beyond this machine though nobody signs in.
    pub insecure: bool,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            key: KeyConfig::None,
            issuer: None,
            audiences: Vec::new(),
            role_claim: "role".into(),
            leeway: Duration::from_secs(10),
            users_may_save: false,
            insecure: false,
        }
    }
}

impl AuthConfig {
    pub(super) fn from_flags(flags: AuthFlags) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            issuer: flags.jwt_issuer.clone(),
            audiences: flags.jwt_audiences.iter().map(|name| name.trim().to_owned()).collect(),
            role_claim: flags.jwt_role_claim.clone().unwrap_or(default.role_claim),
            leeway: flags.jwt_leeway.unwrap_or(default.leeway),
            users_may_save: flags.users_may_save,
            insecure: flags.insecure,
            key: key(flags)?,
        })
    }

    /// Whether tokens can be checked as it says.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // An empty variable must not leave a server open whose operator wanted it closed.
        if let KeyConfig::Secret(secret) = &self.key
            && secret.expose_secret().len() < SECRET_BYTES
        {
            return Err(ConfigError::new(
                "--jwt-secret",
                format!(
                    "has {} bytes but needs {SECRET_BYTES} or more: make one by `openssl rand -base64 48`",
                    secret.expose_secret().len()
                ),
            ));
        }
        if let KeyConfig::JwksFile(path) = &self.key
            && path.as_os_str().is_empty()
        {
            return Err(ConfigError::new("--jwks-file", "is empty: name a file, or leave the setting out"));
        }
        if let KeyConfig::JwksUrl(url) = &self.key
            && !is_safe(url)
        {
            return Err(ConfigError::new(
                "--jwks-url",
                "must be an https URL without a user name, or http to this machine (localhost, 127.0.0.1, [::1])",
            ));
        }
        for (setting, names) in
            [("--jwt-issuer", self.issuer.as_slice()), ("--jwt-audience", self.audiences.as_slice())]
        {
            if names.iter().any(|name| name.trim().is_empty()) {
                return Err(ConfigError::new(setting, "is empty: name one, or leave the setting out"));
            }
            if self.key.is_none() && !names.is_empty() {
                return Err(ConfigError::new(
                    setting,
                    "means nothing without a key: give --jwt-secret-file, --jwks-file or --jwks-url",
                ));
            }
        }
        if self.role_claim.trim().is_empty() || CLAIMS.contains(&self.role_claim.as_str()) {
            return Err(ConfigError::new(
                "--jwt-role-claim",
                format!("must be a claim other than {}", CLAIMS.join(", ")),
            ));
        }
        if self.leeway > Duration::from_mins(5) {
            return Err(ConfigError::new("--jwt-leeway", "must be at most 5min"));
        }
        Ok(())
    }

    /// Whether a server that listens there may leave everybody in: on this machine alone, or where somebody insists.
    pub(super) fn validate_reach(&self, listen: IpAddr) -> Result<(), ConfigError> {
        if self.key.is_none() && !self.insecure && !listen.to_canonical().is_loopback() {
            return Err(ConfigError::new(
                "--listen",
                format!(
                    "{listen} can be reached from other machines, and nobody has to sign in: give a key \
                     (--jwt-secret-file, --jwks-file, --jwks-url), listen on 127.0.0.1, or say --insecure"
                ),
            ));
        }
        Ok(())
    }
}

fn key(flags: AuthFlags) -> Result<KeyConfig, ConfigError> {
    let given: Vec<&str> = [
        ("--jwt-secret", flags.jwt_secret.is_some()),
        ("--jwt-secret-file", flags.jwt_secret_file.is_some()),
        ("--jwks-file", flags.jwks_file.is_some()),
        ("--jwks-url", flags.jwks_url.is_some()),
    ]
    .into_iter()
    .filter_map(|(flag, is_given)| is_given.then_some(flag))
    .collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(ConfigError::new(
            *second,
            format!("contradicts {first}: tokens are checked with one or the other"),
        ));
    }
    if let Some(secret) = flags.jwt_secret {
        return Ok(KeyConfig::Secret(secret));
    }
    if let Some(path) = flags.jwt_secret_file {
        return Ok(KeyConfig::Secret(read_secret(path)?));
    }
    let file = flags.jwks_file.map(KeyConfig::JwksFile);
    Ok(file.or(flags.jwks_url.map(KeyConfig::JwksUrl)).unwrap_or_default())
}

fn read_secret(path: PathBuf) -> Result<SecretString, ConfigError> {
    let secret = secret::read("--jwt-secret-file", &path)?;
    if secret.len() < SECRET_BYTES {
        let problem = format!(
            "{}: has {} bytes but needs {SECRET_BYTES} to 65536: make one by `openssl rand -base64 48`",
            path.display(),
            secret.len()
        );
        return Err(ConfigError::new("--jwt-secret-file", problem));
    }
    Ok(secret.as_str().into())
}

/// Keys that came over an open network could be anybody's.
fn is_safe(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let Some(authority) = url.authority() else { return false };
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&authority.host());
    let scheme = url.scheme_str();
    !authority.as_str().contains('@') && (scheme == Some("https") || scheme == Some("http") && is_here)
}

/// Takes anything, and keeps it where no `Debug` shows it.
fn hidden() -> impl TypedValueParser<Value = SecretString> {
    StringValueParser::new().map(SecretString::from)
}
