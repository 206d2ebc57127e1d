//! Secrets in files of their own, as Docker, Kubernetes and systemd hand them out.

use std::{fs::File, io::Read, path::Path};

use secrecy::zeroize::Zeroizing;

use super::ConfigError;

/// Larger is no secret.
const FILE_BYTES: u64 = 64 << 10;

/// Reads a secret; a line feed at its end is not part of it. `setting` named the file.
pub(super) fn read(setting: &str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let wrong = |problem: String| ConfigError::new(setting, format!("{}: {problem}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES {
        return Err(wrong("is larger than 64KiB".into()));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.trim().is_empty() {
        return Err(wrong("is empty".into()));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}
