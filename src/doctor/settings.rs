//! What can be said without a database: whether the settings are usable, who is let in, whom secrets are shown to, and
//! whether the system lets the server have as many connections as it is to have.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit};

use crate::config::{Config, ConfigError};

use super::finding::{Finding, Report};

/// Files that a server has open besides its connections.
const OTHER_FILES: u64 = 100;

/// Settings that cannot be used.
#[must_use]
pub fn unusable(errors: &[ConfigError]) -> Report {
    let finding = |error: &ConfigError| {
        Finding::error(
            "configuration",
            error.to_string(),
            "correct it; `taskwire config check` tells what counts and why",
        )
    };
    Report::new(None, errors.iter().map(finding).collect())
}

/// What is to be said of usable ones. `secrets` are the files that hold some.
pub(super) fn look(config: &Config, secrets: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_reached = !config.http.listen.ip().to_canonical().is_loopback() || !config.http.public_hosts.is_empty();
    if config.auth.key.is_none() && is_reached {
        findings.push(Finding::warning(
            "configuration.open",
            "nobody has to sign in, and the server can be reached from beyond this machine: everybody may do everything",
            "give a key by --jwt-secret-file, --jwks-file or --jwks-url, and leave out --insecure",
        ));
    }
    findings.extend(secrets.iter().filter(|path| is_open(path)).map(|path| {
        let path = path.display();
        Finding::warning(
            "configuration.secret",
            format!("{path} holds a secret, and every user of this machine can read it"),
            format!("chmod o= {path}"),
        )
    }));
    findings.extend(open_files(config));
    if findings.is_empty() {
        findings.push(Finding::ok("configuration", "usable"));
    }
    findings
}

fn is_open(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

fn open_files(config: &Config) -> Option<Finding> {
    let connections = u64::try_from(config.listen.connections).unwrap_or(u64::MAX);
    let wanted = connections.saturating_add(u64::from(config.connections())).saturating_add(OTHER_FILES);
    let allowed = getrlimit(Resource::Nofile).current?;
    (allowed < wanted).then(|| {
        Finding::warning(
            "configuration.files",
            format!("this process may have {allowed} files open, but --http-connections, the pool and the write lanes take {wanted}"),
            format!("ulimit -n {wanted}, LimitNOFILE={wanted} in a systemd unit; or a lower --http-connections"),
        )
    })
}
